//! The gateway for Python: calls in, documents out. What the methods mean is decided in the core's facade.
//!
//! No thread of the gateway ever touches Python. What work comes to that is not over at once is put into a queue, one for each event
//! loop, which wakes the loop through a socket; the loop's own thread takes it out. So the interpreter can end at any moment.

#[cfg(not(unix))]
compile_error!(
    "the gateway for Python wakes the event loop through a Unix socket, and so needs Linux or macOS; on Windows run the program `mcp-gateway`, or this in WSL"
);

#[cfg(feature = "bench")]
mod bench;
mod conversations;
mod exit;
mod gateway;
mod lease;
mod queue;

use mcp_registry_gateway::Error;
use mcp_registry_gateway::facade::error_document;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// The error as Python raises it: what `errors.error_of` makes of its document.
fn failure(error: &Error) -> PyErr {
    Python::attach(|py| {
        let make = py.import("mcp_registry_gateway.errors").and_then(|errors| errors.getattr("error_of"));
        let made = make.and_then(|make| make.call1((PyBytes::new(py, &error_document(error)),)));
        made.map_or_else(|broken| broken, PyErr::from_value)
    })
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    #[cfg(feature = "bench")]
    {
        module.add_function(wrap_pyfunction!(bench::house_echo, module)?)?;
        module.add_function(wrap_pyfunction!(bench::perform_often, module)?)?;
    }
    module.add_class::<queue::Queue>()?;
    module.add_class::<gateway::Gateway>()?;
    module.add_class::<gateway::Mount>()?;
    module.add_class::<lease::Lease>()?;
    module.add_class::<conversations::Admitted>()?;
    module.add_class::<conversations::Watch>()?;
    module.add_class::<conversations::Line>()?;
    module.add_class::<conversations::Housed>()?;
    module.add_class::<conversations::Hosted>()?;
    module.add_class::<conversations::Exchange>()
}
