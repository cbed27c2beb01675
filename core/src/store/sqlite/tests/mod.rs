//! Tests of what is SQLite's own; what every store promises is in the contract suite.

mod file;
mod flips;
mod loss;
mod scope;
mod statements;
mod trail;

use super::{SqliteStore, audit, credentials, health, keys, listings, once, servers, trail as audit_trail};
