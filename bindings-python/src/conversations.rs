//! What has more than one answer. Each method begins something and gives the ticket under which the queue has its outcome.

use bytes::Bytes;
use mcp_registry_gateway::facade;
use pyo3::prelude::*;

use crate::exit::Exit;
use crate::failure;
use crate::queue::{Begun, Queue};

/// Changes of servers.
#[pyclass(frozen, module = "mcp_registry_gateway._native")]
pub(crate) struct Watch(pub(crate) facade::Watch);

#[pymethods]
impl Watch {
    /// The next change as a document; `None` at the end.
    fn next(&self, py: Python<'_>, queue: &Queue) -> Begun {
        queue.begin(py, self.0.next())
    }
}

/// An MCP client of this process.
#[pyclass(frozen, module = "mcp_registry_gateway._native")]
pub(crate) struct Line(pub(crate) facade::ClientHandle);

#[pymethods]
impl Line {
    /// Takes a message of the client's.
    fn send(&self, py: Python<'_>, queue: &Queue, message: &[u8]) -> Begun {
        queue.begin(py, self.0.send(Bytes::copy_from_slice(message)))
    }

    /// The next message for the client; `None` at the end.
    fn receive(&self, py: Python<'_>, queue: &Queue) -> Begun {
        queue.begin(py, self.0.receive())
    }

    /// Ends the client's session.
    fn end(&self, py: Python<'_>, queue: &Queue) -> Begun {
        queue.begin(py, self.0.end())
    }
}

/// Leave to answer a call, until something is said of how that went.
#[pyclass(frozen, module = "mcp_registry_gateway._native")]
pub(crate) struct Admitted(pub(crate) facade::Admitted);

#[pymethods]
impl Admitted {
    /// Whether the caller may know of what is offered under this name.
    fn sees(&self, kind: &str, name: &str) -> PyResult<bool> {
        self.0.sees(kind, name).map_err(|error| failure(&error))
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
            Exit::Ended => self.0.succeeded(),
            Exit::Failed => self.0.failed(),
            Exit::Cut => self.0.cancelled(),
        }
        Ok(())
    }
}

/// An MCP server of this process, in place as long as this lives.
#[pyclass(frozen, module = "mcp_registry_gateway._native")]
pub(crate) struct Housed(pub(crate) facade::RegisteredServer);

#[pymethods]
impl Housed {
    /// The next link to the server, a `Hosted`; `None` at the end.
    fn receive(&self, py: Python<'_>, queue: &Queue) -> Begun {
        queue.begin(py, self.0.receive())
    }
}

/// One link to a server of this process, open as long as this lives.
#[pyclass(frozen, module = "mcp_registry_gateway._native")]
pub(crate) struct Hosted(pub(crate) facade::Hosted);

#[pymethods]
impl Hosted {
    /// The next message for the server; `None` at the end.
    fn receive(&self, py: Python<'_>, queue: &Queue) -> Begun {
        queue.begin(py, self.0.receive())
    }

    /// Takes a message of the server's.
    fn send(&self, py: Python<'_>, queue: &Queue, message: &[u8]) -> Begun {
        queue.begin(py, self.0.send(Bytes::copy_from_slice(message)))
    }
}

/// An HTTP request under way, cancelled when this goes.
#[pyclass(frozen, module = "mcp_registry_gateway._native")]
pub(crate) struct Exchange(pub(crate) facade::Exchange);

#[pymethods]
impl Exchange {
    /// Adds a piece to the request's body.
    fn push(&self, py: Python<'_>, queue: &Queue, piece: &[u8]) -> Begun {
        queue.begin(py, self.0.push(Bytes::copy_from_slice(piece)))
    }

    /// Ends the request's body.
    fn finish(&self) {
        self.0.finish();
    }

    /// The head of the answer: `(status, headers)`.
    fn head(&self, py: Python<'_>, queue: &Queue) -> Begun {
        queue.begin(py, self.0.head())
    }

    /// The next piece of the answer's body; `None` at the end.
    fn piece(&self, py: Python<'_>, queue: &Queue) -> Begun {
        queue.begin(py, self.0.piece())
    }
}
