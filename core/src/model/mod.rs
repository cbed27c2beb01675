//! The gateway's records as plain data: no behaviour beyond checking itself.

pub mod access;
pub mod audit;
pub mod call;
mod endpoint;
pub mod capability;
mod credential;
mod condition;
pub mod event;
pub mod ids;
pub mod key;
pub mod principal;
mod problem;
pub mod redact;
pub mod registration;
pub mod server;
pub mod tenant;
mod tolerant;

pub use access::Restriction;
pub use audit::{AuditEntry, AuditQuery, AuditRow, ChainReport};
pub use call::{Action, Call, Numbering, Reply, RoutingHints};
pub use capability::{Capability, CapabilityKind, Freshness, Listing, ModernListing};
pub use condition::{Condition, ListSize, ServerState};
pub use credential::{Authorized, Credential, CredentialKind, CredentialsOf, SealedCredential};
pub use endpoint::Endpoint;
pub use event::Event;
pub use ids::{KeyId, ServerId, ServiceName, TenantId};
pub use key::{ApiKey, KeyHash};
pub use principal::{Grant, Principal, Role};
pub use problem::{Problem, ProblemKind};
pub use registration::{Patch, Registration};
pub use server::{
    Affinity, Algorithm, CacheScope, Configuration, Drift, EraWish, HealthCheck, HealthStatus, ProbeKind,
    Server, ServerEndpoint, Sharing, Status, TransportType,
};
pub use tenant::{Tenant, TenantStatus};
