//! One gateway.

use bytes::Bytes;
use mcp_registry_gateway::facade::{self, Facade, Request};
use pyo3::prelude::*;
use std::time::Duration;

use crate::conversations::{Exchange, Line, Watch};
use crate::failure;
use crate::lease::Lease;
use crate::queue::{Begun, Queue};

/// As what the HTTP surface is mounted: what it serves beside MCP, and whose word for an address of this machine is taken.
#[pyclass(frozen, module = "mcp_registry_gateway._native")]
pub(crate) struct Mount(facade::Mount);

#[pymethods]
impl Mount {
    #[new]
    fn new(expose: Vec<String>, trust: Option<&str>, connected: bool) -> PyResult<Self> {
        facade::Mount::new(expose, trust, connected).map(Self).map_err(|error| failure(&error))
    }
}

/// One gateway, on threads of its own.
#[pyclass(frozen, weakref, module = "mcp_registry_gateway._native")]
pub(crate) struct Gateway(pub(crate) Facade);

#[pymethods]
impl Gateway {
    /// Opens the gateway that a document describes.
    #[staticmethod]
    fn open(py: Python<'_>, document: &[u8]) -> PyResult<Self> {
        py.detach(|| Facade::open(document)).map(Self).map_err(|error| failure(&error))
    }

    /// Tickets for this gateway's work.
    fn queue(&self) -> PyResult<Queue> {
        Queue::of(&self.0)
    }

    /// Begins what a verb says; the outcome is a document.
    fn perform(&self, py: Python<'_>, queue: &Queue, verb: &str, input: &[u8]) -> Begun {
        queue.begin(py, self.0.perform(verb, Bytes::copy_from_slice(input)))
    }

    /// Begins to put a server of this process in place; the outcome is a `Housed`.
    fn register_in_process(&self, py: Python<'_>, queue: &Queue, registration: &[u8]) -> Begun {
        queue.begin(py, self.0.register_in_process(Bytes::copy_from_slice(registration)))
    }

    /// Begins to ask for leave to answer a call; the outcome is an `Admitted`.
    fn admit(&self, py: Python<'_>, queue: &Queue, document: &[u8]) -> Begun {
        queue.begin(py, self.0.admit(Bytes::copy_from_slice(document)))
    }

    /// Picks a server of a service that can take a call now.
    #[pyo3(signature = (service, key=None))]
    fn pick(&self, service: &str, key: Option<&str>) -> PyResult<Lease> {
        self.0.pick(service, key).map(Lease::of).map_err(|error| failure(&error))
    }

    /// Watches changes from now on.
    fn watch(&self) -> PyResult<Watch> {
        self.0.watch().map(Watch).map_err(|error| failure(&error))
    }

    /// Attaches an MCP client of this process.
    fn attach(&self, document: &[u8]) -> PyResult<Line> {
        self.0.attach(document).map(Line).map_err(|error| failure(&error))
    }

    /// Sends an HTTP request to the gateway's HTTP surface.
    #[pyo3(signature = (mount, method, target, headers, peer=None))]
    fn request(
        &self,
        mount: &Mount,
        method: String,
        target: String,
        headers: Vec<(Vec<u8>, Vec<u8>)>,
        peer: Option<String>,
    ) -> PyResult<Exchange> {
        let headers = headers.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let request = Request { method, target, headers, peer, mount: mount.0 };
        self.0.request(&request).map(Exchange).map_err(|error| failure(&error))
    }

    /// Ends the gateway, and waits for that: calls under way may go on for so many seconds, or as long as is configured.
    #[pyo3(signature = (grace_seconds=None))]
    fn end(&self, py: Python<'_>, grace_seconds: Option<f64>) -> PyResult<()> {
        let grace = grace_seconds.map(Duration::from_secs_f64);
        py.detach(|| self.0.end(grace)).map_err(|error| failure(&error))
    }

    /// Whether it was ended.
    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// From now on each child of a fork calls `left_by_fork`.
    fn is_told_of_forks(&self) {
        self.0.is_told_of_forks();
    }

    /// This is the child of a fork.
    fn left_by_fork(&self) {
        self.0.left_by_fork();
    }

    /// What `pick` is measured against: takes and gives what `pick` does, and does nothing.
    #[cfg(feature = "bench")]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the shape of `pick`")]
    #[pyo3(signature = (_service, _key=None))]
    fn nothing(&self, _service: &str, _key: Option<&str>) -> PyResult<crate::bench::Nothing> {
        Ok(crate::bench::Nothing)
    }
}
