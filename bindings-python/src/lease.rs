//! A server that was picked.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mcp_registry_gateway::gateway::Picked;
use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;

use crate::exit::Exit;

/// A server that was picked, busy until this is released.
#[pyclass(frozen, module = "mcp_registry_gateway")]
pub(crate) struct Lease(Mutex<Picked>);

impl Lease {
    pub(crate) fn of(picked: Picked) -> Self {
        Self(Mutex::new(picked))
    }

    fn picked(&self) -> MutexGuard<'_, Picked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Lease {
    /// The server's id.
    #[getter]
    fn server_id(&self) -> String {
        self.picked().server().id.to_string()
    }

    /// The server's name.
    #[getter]
    fn name(&self) -> String {
        self.picked().server().name.clone()
    }

    /// Where the server is; `None` for a command.
    #[getter]
    fn endpoint_url(&self) -> Option<String> {
        self.picked().server().endpoint.url().map(str::to_owned)
    }

    /// The headers that requests to the server must have, by name.
    #[getter]
    fn headers(&self) -> BTreeMap<String, String> {
        let picked = self.picked();
        picked
            .server()
            .configuration
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// Releases the server, which answered.
    fn succeeded(&self) {
        let mut picked = self.picked();
        picked.succeeded();
        picked.release();
    }

    /// Releases the server, which failed.
    fn failed(&self) {
        let mut picked = self.picked();
        picked.failed();
        picked.release();
    }

    /// Releases the server, of which nothing is said.
    fn release(&self) {
        self.picked().release();
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __aenter__(this: Py<Self>) -> Ready {
        Ready(Some(this.into_any()))
    }

    fn __aexit__(
        &self,
        py: Python<'_>,
        kind: Option<&Bound<'_, PyAny>>,
        value: Option<Bound<'_, PyAny>>,
        traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Ready> {
        self.__exit__(py, kind, value, traceback)?;
        Ok(Ready(None))
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        kind: Option<&Bound<'_, PyAny>>,
        _value: Option<Bound<'_, PyAny>>,
        _traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        match Exit::of_transport(py, kind)? {
            Exit::Ended => self.succeeded(),
            Exit::Failed => self.failed(),
            Exit::Cut => self.release(),
        }
        Ok(())
    }
}

/// An awaitable that is over at once.
#[pyclass(module = "mcp_registry_gateway")]
pub(crate) struct Ready(Option<Py<PyAny>>);

#[pymethods]
impl Ready {
    fn __await__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(&mut self) -> PyResult<Py<PyAny>> {
        Err(PyStopIteration::new_err((self.0.take(),)))
    }
}
