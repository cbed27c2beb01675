//! The gateway for Kotlin, Swift, Ruby and Python, by UniFFI.
//!
//! Documents are JSON as text, with the members of the REST API; what decides stands in the core.

mod error;
mod gateway;
mod lease;
mod watching;

pub use error::GatewayError;
pub use gateway::Gateway;
pub use lease::Lease;
pub use watching::{Listener, Watching};

uniffi::setup_scaffolding!("mcp_registry_gateway");
