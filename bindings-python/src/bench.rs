//! For `tests/bench.py`: the same call as Python makes, made in Rust, at a server that is none of Python's; and a call from Python that
//! does nothing.

use bytes::Bytes;
use pyo3::prelude::*;

use crate::failure;
use crate::gateway::Gateway;

/// What a call that does nothing gives.
#[pyclass(frozen, module = "mcp_registry_gateway._native")]
pub(crate) struct Nothing;

/// Puts a server in place that answers in Rust.
#[pyfunction]
pub(crate) fn house_echo(py: Python<'_>, gateway: &Bound<'_, Gateway>, name: &str) -> PyResult<()> {
    let facade = &gateway.get().0;
    py.detach(|| facade.house_echo(name)).map_err(|error| failure(&error))
}

/// Does what a verb says so many times.
#[pyfunction]
pub(crate) fn perform_often(
    py: Python<'_>,
    gateway: &Bound<'_, Gateway>,
    verb: &str,
    document: &[u8],
    times: u32,
) -> PyResult<()> {
    let (facade, document) = (&gateway.get().0, Bytes::copy_from_slice(document));
    py.detach(|| facade.perform_often(verb, &document, times)).map_err(|error| failure(&error))
}
