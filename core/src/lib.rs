//! An embeddable MCP registry and gateway.
//!
//! Register Model Context Protocol servers, discover what they offer, and route calls to them
//! with health checks, circuit breakers and five balancing algorithms. `core/ARCHITECTURE.md`
//! draws the whole.
//!
//! The modules stand in order: each uses only those above it. `tests/architecture` holds that.

pub mod error;
pub mod clock;
pub mod random;
mod striped;
pub mod tasks;
pub mod rpc;
pub mod model;
pub mod transport;
pub mod store;
pub mod registry;
pub mod discovery;
pub mod health;
pub mod breaker;
pub mod balance;
pub mod select;
pub mod auth;
pub mod limit;
pub mod observe;
pub mod config;
pub mod gateway;
mod document;
pub mod own;
#[cfg(feature = "server")]
pub mod server;
pub mod facade;

pub use error::{Error, ErrorKind, Result};
