//! What happened: changes that replicas and listeners hear of.

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
