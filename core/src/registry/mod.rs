//! The register of servers: who is registered, as what, and what each offers.

pub mod query;

pub use query::{Filter, Page};
