//! An embeddable MCP registry and gateway.
//!
//! Register Model Context Protocol servers, discover what they offer, and route calls to them
//! with health checks, circuit breakers and five balancing algorithms. `core/ARCHITECTURE.md`
//! draws the whole.
//!
//! A program begins with [`Gateway::builder`]. It registers servers, calls what they offer, watches them and picks among them by the
//! methods of [`Gateway`], each for a [`Caller`]; [`guide`] shows it; [`Gateway::host`] takes a server of the program's own, and `Gateway::service`
//! (feature `server`) is the whole HTTP surface, to be mounted in an application.
//!
//! The modules stand in order: each uses only those above it. `tests/architecture` holds that.

pub mod error;
pub mod clock;
pub mod random;
mod per_thread;
pub mod tasks;
pub mod files;
pub mod rpc;
pub mod model;
pub mod transport;
pub mod store;
pub mod cluster;
pub mod registry;
pub mod discovery;
pub mod health;
pub mod breaker;
pub mod balance;
pub mod select;
pub mod auth;
#[cfg(feature = "oauth")]
pub mod oauth;
pub mod limit;
pub mod observe;
pub mod config;
pub mod gateway;
mod views;
pub mod builtin;
pub mod builder;
#[cfg(feature = "server")]
pub mod server;
pub mod facade;
pub mod guide;

pub use auth::Caller;
pub use balance::{BalanceRequest, Balancer, Entry};
pub use builder::GatewayBuilder;
pub use clock::{Clock, ManualClock, SystemClock};
pub use cluster::Cluster;
pub use config::Config;
pub use error::{Error, ErrorKind, Result};
pub use gateway::{Answer, Events, Gateway, Hosted, McpRequest, Picked};
pub use model::{Configuration, Principal, Registration, Role, Server, TenantId};
pub use registry::Filter;
#[cfg(feature = "sqlite")]
pub use store::SqliteStore;
pub use store::{MemoryStore, Store};
pub use transport::in_process::ServerConnection;
