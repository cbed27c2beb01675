//! What happened: changes that replicas and listeners hear of, and the audit trail.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::{ServerId, TenantId};
use super::server::HealthStatus;

/// A change that has taken effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A server was registered.
    Registered {
        /// Whose.
        tenant_id: TenantId,
        /// Which.
        id: ServerId,
    },
    /// A server's record changed.
    Updated {
        /// Whose.
        tenant_id: TenantId,
        /// Which.
        id: ServerId,
    },
    /// A server was removed.
    Removed {
        /// Whose.
        tenant_id: TenantId,
        /// Which.
        id: ServerId,
    },
    /// What a server offers changed.
    Discovered {
        /// Whose.
        tenant_id: TenantId,
        /// Which.
        id: ServerId,
    },
    /// What was observed of a server changed.
    Health {
        /// Whose.
        tenant_id: TenantId,
        /// Which.
        id: ServerId,
        /// Before.
        from: HealthStatus,
        /// Now.
        to: HealthStatus,
    },
}

/// One line of the audit trail. It has no foreign keys: it outlives what it speaks of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// In which tenant.
    pub tenant_id: TenantId,
    /// Who.
    pub actor: String,
    /// What was done: `server.register`, `server.update`, …
    pub action: String,
    /// To what: an id, or a name where there is none yet.
    pub target: String,
    /// `ok`, or the error's kind.
    pub outcome: String,
    /// Ties it to the request's log lines.
    pub correlation_id: Option<String>,
    /// More, as a JSON object; secrets never.
    pub detail: serde_json::Value,
}
