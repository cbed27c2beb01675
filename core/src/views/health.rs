//! Observations of servers.

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::model::HealthStatus;
use crate::store::HealthRecord;

/// The outcome of a probe.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct HealthCheckAnswer {
    server_id: Uuid,
    health_status: HealthStatus,
    response_time_ms: u64,
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    checked_at: Timestamp,
    /// Why it failed; `null` if it did not.
    error: Option<String>,
}

impl HealthCheckAnswer {
    pub(crate) fn new(server_id: Uuid, record: HealthRecord) -> Self {
        let HealthRecord { at, status, latency_ms, error } = record;
        Self { server_id, health_status: status, response_time_ms: latency_ms, checked_at: at, error }
    }
}

/// How a server was, newest first.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct HealthHistory {
    server_id: Uuid,
    history: Vec<Observation>,
}

/// One observation of a server's health.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct Observation {
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    checked_at: Timestamp,
    health_status: HealthStatus,
    response_time_ms: u64,
    /// Why it failed; `null` if it did not.
    error: Option<String>,
}

impl HealthHistory {
    pub(crate) fn new(server_id: Uuid, records: Vec<HealthRecord>) -> Self {
        let observation = |HealthRecord { at, status, latency_ms, error }| Observation {
            checked_at: at,
            health_status: status,
            response_time_ms: latency_ms,
            error,
        };
        Self { server_id, history: records.into_iter().map(observation).collect() }
    }
}
