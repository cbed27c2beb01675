//! A server that was picked.

use std::sync::{Mutex, PoisonError};

use mcp_registry_gateway::gateway::Picked;
use pyo3::prelude::*;

use crate::exit::Exit;

/// A server that was picked, busy until this is released.
#[pyclass(frozen, module = "mcp_registry_gateway")]
pub(crate) struct Lease(Mutex<Option<Picked>>, std::sync::Arc<mcp_registry_gateway::model::Server>);

impl Lease {
    pub(crate) fn of(picked: Picked) -> Self {
        let server = std::sync::Arc::clone(picked.server());
        Self(Mutex::new(Some(picked)), server)
    }

    fn take(&self) -> Option<Picked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[pymethods]
impl Lease {
    /// The server's id.
    #[getter]
    fn server_id(&self) -> String {
        self.1.id.to_string()
    }

    /// The server's name.
    #[getter]
    fn name(&self) -> &str {
        &self.1.name
    }

    /// Where the server is; `None` for a command.
    #[getter]
    fn endpoint_url(&self) -> Option<&str> {
        self.1.endpoint.url()
    }

    /// Releases the server, which answered.
    fn succeeded(&self) {
        if let Some(mut picked) = self.take() {
            picked.succeeded();
        }
    }

    /// Releases the server, which failed.
    fn failed(&self) {
        if let Some(mut picked) = self.take() {
            picked.failed();
        }
    }

    /// Releases the server, of which nothing is said.
    fn release(&self) {
        drop(self.take());
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        kind: Option<&Bound<'_, PyAny>>,
        _value: Option<Bound<'_, PyAny>>,
        _traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        match Exit::of(py, kind)? {
            Exit::Ended => self.succeeded(),
            Exit::Failed => self.failed(),
            Exit::Cut => self.release(),
        }
        Ok(())
    }
}
