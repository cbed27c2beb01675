//! The traffic of the gateway: counts by server, calls under way.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::Result;
use crate::gateway::{self, Caller, Gateway};

/// Routing's record of one server since this process started.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct ServerMetrics {
    server_name: String,
    /// Calls in flight.
    active_connections: u64,
    total_requests: u64,
    /// 0 to 1; 1 while there were no calls.
    success_rate: f64,
    /// 0 to 1.
    error_rate: f64,
    /// Mean time to the first byte of the answer.
    avg_response_time_ms: f64,
    /// `closed`, `open` or `half_open`.
    circuit_breaker_state: &'static str,
    /// Failures in a row.
    failure_count: u32,
}

impl From<gateway::RouterMetrics> for ServerMetrics {
    fn from(metrics: gateway::RouterMetrics) -> Self {
        Self {
            server_name: metrics.server_name,
            active_connections: metrics.active_connections,
            total_requests: metrics.total_requests,
            success_rate: metrics.success_rate,
            error_rate: metrics.error_rate,
            avg_response_time_ms: metrics.avg_response_time_ms,
            circuit_breaker_state: metrics.circuit_breaker_state,
            failure_count: metrics.failure_count,
        }
    }
}

/// One call under way.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct ActiveRequest {
    /// Its correlation id.
    request_id: String,
    /// Its MCP method.
    method: String,
    duration_seconds: f64,
    tenant_id: String,
    user_id: String,
}

impl From<gateway::ActiveRequest> for ActiveRequest {
    fn from(active: gateway::ActiveRequest) -> Self {
        let gateway::ActiveRequest { request_id, method, duration_seconds, tenant_id, user_id } = active;
        Self { request_id, method, duration_seconds, tenant_id, user_id }
    }
}

/// Routing's records, by server id.
#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct MetricsAnswer {
    metrics: BTreeMap<String, ServerMetrics>,
}

impl MetricsAnswer {
    /// The metrics of the caller's servers.
    pub(crate) fn of(gateway: &Gateway, caller: &Caller) -> Result<Self> {
        let metrics = gateway.metrics(caller)?.into_iter();
        Ok(Self { metrics: metrics.map(|(id, metrics)| (id.to_string(), metrics.into())).collect() })
    }
}

/// The calls under way.
#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct ActiveAnswer {
    active_request_count: usize,
    requests: Vec<ActiveRequest>,
}

impl ActiveAnswer {
    /// The calls under way of the caller's tenant.
    pub(crate) fn of(gateway: &Gateway, caller: &Caller) -> Result<Self> {
        let requests: Vec<ActiveRequest> = gateway.active(caller)?.into_iter().map(Into::into).collect();
        Ok(Self { active_request_count: requests.len(), requests })
    }
}
