//! How a `with` block ended.

use pyo3::exceptions::{PyException, PyOSError};
use pyo3::prelude::*;
use pyo3::types::PyType;

/// Names of the base classes of transport errors in HTTP clients that do not derive them from `OSError`: httpx and aiohttp.
const TRANSPORT_ERRORS: [&str; 2] = ["TransportError", "ClientConnectionError"];

/// How a `with` block ended, by the type of what was raised in it.
pub(crate) enum Exit {
    /// Nothing was raised.
    Ended,
    /// An exception: a failure of what the block was about.
    Failed,
    /// What only ends the program, or cancels the task: it says nothing of what the block was about.
    Cut,
}

impl Exit {
    pub(crate) fn of(py: Python<'_>, raised: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let Some(raised) = raised else { return Ok(Self::Ended) };
        let is_failure = raised.cast::<PyType>()?.is_subclass(&py.get_type::<PyException>())?;
        Ok(if is_failure { Self::Failed } else { Self::Cut })
    }

    /// As [`Exit::of`], where only a transport error is a failure: other exceptions are the caller's own.
    pub(crate) fn of_transport(py: Python<'_>, raised: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let Some(raised) = raised else { return Ok(Self::Ended) };
        let raised = raised.cast::<PyType>()?;
        let named = |base: Bound<'_, PyAny>| {
            let name = base.cast::<PyType>().ok().and_then(|base| base.name().ok());
            name.is_some_and(|name| TRANSPORT_ERRORS.iter().any(|known| name == *known))
        };
        let is_transport = raised.is_subclass(&py.get_type::<PyOSError>())? || raised.mro().iter().any(named);
        Ok(if is_transport { Self::Failed } else { Self::Cut })
    }
}
