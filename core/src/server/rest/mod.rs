//! The REST API and what stands beside it (metrics, the OpenAPI document, its reference), one file for each resource.

pub(super) mod extract;
pub(super) mod schema;
pub(super) mod tags;
pub(super) mod servers;
pub(super) mod registering;
pub(super) mod discovery;
pub(super) mod events;
pub(super) mod keys;
pub(super) mod tenants;
pub(super) mod credentials;
#[cfg(feature = "oauth")]
pub(super) mod logins;
#[cfg(not(feature = "oauth"))]
#[path = "no_logins.rs"]
pub(super) mod logins;
pub(super) mod audit;
pub(super) mod operation;
pub(super) mod metrics;
pub(super) mod registry_v01;
pub(super) mod openapi;
pub(super) mod docs;
