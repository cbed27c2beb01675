//! Changes of servers, as watchers are notified of them.

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::gateway::{Change, Heard};
use crate::model::{HealthStatus, ServerState, Status};

/// One change. The event's name is the `type`.
#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct ServerEvent {
    /// `server.registered`, `server.updated`, `server.removed`, `server.discovered`, `server.state` (its state or
    /// its problems changed), `server.health`, or `lagged`: events were missed, read the list of servers anew.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    timestamp: Timestamp,
    /// Absent for `lagged`.
    #[serde(skip_serializing_if = "Option::is_none")]
    server_id: Option<Uuid>,
    /// The server as it is now; absent if it is gone.
    #[serde(flatten)]
    server: Option<Now>,
    /// For `server.health`: the health before.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<HealthStatus>,
    /// For `server.health`: the health that was observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<HealthStatus>,
}

#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
struct Now {
    name: String,
    service: String,
    status: Status,
    health_status: HealthStatus,
    /// Whether it serves, in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false))]
    state: Option<ServerState>,
    /// Counts changes of the record.
    revision: u64,
}

impl ServerEvent {
    pub(crate) fn lagged(timestamp: Timestamp) -> Self {
        Self { kind: "lagged", timestamp, server_id: None, server: None, from: None, to: None }
    }
}

impl From<Change> for ServerEvent {
    fn from(change: Change) -> Self {
        let server = change.server.map(|server| Now {
            name: server.name.clone(),
            service: server.service.to_string(),
            status: server.status,
            health_status: server.health_status,
            state: change.state,
            revision: server.revision,
        });
        Self {
            kind: change.kind,
            timestamp: change.at,
            server_id: Some(*change.id.as_uuid()),
            server,
            from: change.health.map(|(from, _)| from),
            to: change.health.map(|(_, to)| to),
        }
    }
}

/// The notification of a change; nothing but a sign of life of a silence.
pub(crate) fn told(heard: Heard, now: Timestamp) -> Option<ServerEvent> {
    match heard {
        Heard::Change(change) => Some(change.into()),
        Heard::Lagged(missed) => {
            tracing::debug!(missed, "a watcher of events fell behind");
            Some(ServerEvent::lagged(now))
        }
        Heard::Silence => None,
    }
}
