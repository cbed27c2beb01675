//! Events: changes that replicas and listeners are notified of.

use serde::{Deserialize, Serialize};

use super::ids::{ServerId, TenantId};
use super::server::HealthStatus;

/// A change that has taken effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A server was registered.
    Registered {
        /// The tenant of the server.
        tenant_id: TenantId,
        /// The server.
        id: ServerId,
    },
    /// A server's record changed.
    Updated {
        /// The tenant of the server.
        tenant_id: TenantId,
        /// The server.
        id: ServerId,
    },
    /// A server was removed.
    Removed {
        /// The tenant of the server.
        tenant_id: TenantId,
        /// The server.
        id: ServerId,
    },
    /// The listing of a server changed.
    Discovered {
        /// The tenant of the server.
        tenant_id: TenantId,
        /// The server.
        id: ServerId,
    },
    /// The state of a server changed, or its problems did.
    State {
        /// The tenant of the server.
        tenant_id: TenantId,
        /// The server.
        id: ServerId,
    },
    /// The observed health of a server changed.
    Health {
        /// The tenant of the server.
        tenant_id: TenantId,
        /// The server.
        id: ServerId,
        /// Before.
        from: HealthStatus,
        /// Now.
        to: HealthStatus,
    },
}
