//! The state of routing, kept in step with the registry, with health and with discovery: names, services and their replicas,
//! the snapshot that calls read, and the merged lists.

pub(super) mod names;
pub(super) mod service;
pub(super) mod spellings;
pub(super) mod snapshot;
pub(super) mod endpoint;
pub(super) mod claims;
pub(super) mod router;
pub(super) mod per_caller;
pub(super) mod pages;
pub(super) mod catalog;
pub(super) mod freshness;
pub(super) mod problems;
pub(super) mod condition;
pub(super) mod announce;
pub(super) mod refresh;
mod introductions;
mod answers;
pub(super) mod discover;
