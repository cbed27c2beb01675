//! Operation: health, readiness, counts, metrics, and the calls under way.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::State;
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::Text;
use super::schema::{Missing, Refused};
use crate::gateway::{Caller, Components, GatewayStats};
use crate::server::AppState;
use crate::server::answer::{Failure, json};
use crate::views::traffic::{ActiveAnswer, MetricsAnswer};

/// Whether the gateway works, part by part.
#[derive(Serialize, ToSchema)]
pub(crate) struct HealthAnswer {
    /// `healthy`, or `unhealthy` if a part is.
    status: &'static str,
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
    /// Of the gateway.
    version: &'static str,
    /// `database`, `registry` and `router`.
    components: BTreeMap<&'static str, Component>,
}

/// One part of the gateway.
#[derive(Serialize, ToSchema)]
pub(crate) struct Component {
    /// `healthy` or `unhealthy`.
    status: &'static str,
    /// The fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

const fn word(healthy: bool) -> &'static str {
    if healthy { "healthy" } else { "unhealthy" }
}

impl HealthAnswer {
    fn new(components: Components, timestamp: Timestamp) -> Self {
        Self {
            status: word(components.iter().all(|(_, problem)| problem.is_none())),
            timestamp,
            version: env!("CARGO_PKG_VERSION"),
            components: components
                .into_iter()
                .map(|(name, message)| (name, Component { status: word(message.is_none()), message }))
                .collect(),
        }
    }
}

/// Liveness probe: the state of the gateway and its components
#[utoipa::path(get, path = "/health", tag = "operation",
    responses((status = 200, description = "Every part works", body = HealthAnswer),
        (status = 503, description = "A part does not work", body = HealthAnswer)))]
pub(crate) async fn health(State(door): State<AppState>) -> Response<Body> {
    let answer = HealthAnswer::new(door.gateway.components().await, door.clock.timestamp());
    let status = if answer.status == word(true) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &answer)
}

/// Whether new calls are taken.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReadyAnswer {
    ready: bool,
}

/// Readiness probe: whether the gateway accepts new calls
#[utoipa::path(get, path = "/ready", tag = "operation",
    responses((status = 200, description = "It does", body = ReadyAnswer),
        (status = 503, description = "It is starting or shutting down", body = ReadyAnswer)))]
pub(crate) async fn ready(State(door): State<AppState>) -> Response<Body> {
    let ready = door.gateway.is_ready();
    json(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &ReadyAnswer { ready })
}

/// Whether the gateway has started.
#[derive(Serialize, ToSchema)]
pub(crate) struct StartupAnswer {
    started: bool,
    /// Servers that were known at the start and were not asked to the end yet what they offer. Their names stand in the REST API, for
    /// callers who may see them.
    awaited_servers: usize,
    /// The reason why the gateway waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// Startup probe: whether the register is loaded and each server in it was asked once for its capabilities
///
/// A server that does not answer is not waited for longer than its question may take. Once this was 200, it stays 200.
#[utoipa::path(get, path = "/startup", tag = "operation",
    responses((status = 200, description = "It has", body = StartupAnswer),
        (status = 503, description = "It waits for the first answers of servers", body = StartupAnswer)))]
pub(crate) async fn startup(State(door): State<AppState>) -> Response<Body> {
    let awaited_servers = door.gateway.awaited_servers();
    let started = awaited_servers == 0;
    let message = (!started).then(|| {
        let servers = if awaited_servers == 1 { "server" } else { "servers" };
        format!(
            "the first discovery of {awaited_servers} {servers} is under way; `/api/v1/servers` lists them"
        )
    });
    json(
        if started { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE },
        &StartupAnswer { started, awaited_servers, message },
    )
}

/// Counts over the register.
#[derive(Serialize, ToSchema)]
pub(crate) struct StatsAnswer {
    total_servers: u64,
    servers_by_status: BTreeMap<&'static str, u64>,
    servers_by_transport: BTreeMap<&'static str, u64>,
    servers_by_health: BTreeMap<&'static str, u64>,
    servers_by_state: BTreeMap<&'static str, u64>,
    /// Client sessions of the tenant that are open.
    sessions: u64,
    /// Calls of the tenant under way.
    active_requests: u64,
    /// Only for administrators of `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<WholeAnswer>,
}

/// Counts over all tenants together.
#[derive(Serialize, ToSchema)]
struct WholeAnswer {
    /// Client sessions that are open.
    sessions: u64,
    /// Calls under way.
    active_requests: u64,
    limits: LimitsAnswer,
    audit: TrailAnswer,
}

/// The counts of the limits since this process started, and now.
#[derive(Serialize, ToSchema)]
struct LimitsAnswer {
    /// Calls that hold a permit.
    calls: u64,
    /// Permits in all.
    max_calls: u64,
    /// Calls that wait for a permit.
    waiting: u64,
    /// Requests refused because there were too many within a minute.
    rate_refusals: u64,
    /// Requests refused because there were too many at once.
    crowd_refusals: u64,
    /// Callers that were banned.
    bans: u64,
    /// Callers and tenants that are counted now.
    windows: u64,
}

/// The fate of audit rows that belong to no mutation.
#[derive(Serialize, ToSchema)]
struct TrailAnswer {
    written: u64,
    waiting: u64,
    /// Never written; each is in the log.
    lost: u64,
    /// Writes that failed.
    failures: u64,
}

impl From<GatewayStats> for WholeAnswer {
    fn from(stats: GatewayStats) -> Self {
        let (limits, audit) = (stats.limits, stats.audit);
        Self {
            sessions: stats.sessions,
            active_requests: stats.active_requests,
            limits: LimitsAnswer {
                calls: limits.calls,
                max_calls: limits.max_calls,
                waiting: limits.waiting,
                rate_refusals: limits.rate_refusals,
                crowd_refusals: limits.crowd_refusals,
                bans: limits.bans,
                windows: limits.windows,
            },
            audit: TrailAnswer {
                written: audit.written,
                waiting: audit.waiting,
                lost: audit.lost,
                failures: audit.failures,
            },
        }
    }
}

/// Counts servers, sessions and calls
///
/// Those of the caller's tenant.
#[utoipa::path(get, path = "/api/v1/admin/stats", tag = "operation",
    responses((status = 200, description = "The counts", body = StatsAnswer), Refused))]
pub(crate) async fn stats(State(door): State<AppState>, caller: Caller) -> Result<Response<Body>, Failure> {
    let stats = door.gateway.stats(&caller)?;
    let answer = StatsAnswer {
        total_servers: stats.total_servers,
        servers_by_status: stats.servers_by_status,
        servers_by_transport: stats.servers_by_transport,
        servers_by_health: stats.servers_by_health,
        servers_by_state: stats.servers_by_state,
        sessions: stats.sessions,
        active_requests: stats.active_requests,
        gateway: stats.gateway.map(Into::into),
    };
    Ok(json(StatusCode::OK, &answer))
}

/// Shows calls, latency and breaker of each server
#[utoipa::path(get, path = "/api/v1/router/metrics", tag = "operation",
    responses((status = 200, description = "Metrics by server id", body = MetricsAnswer), Refused))]
pub(crate) async fn metrics(State(door): State<AppState>, caller: Caller) -> Result<Response<Body>, Failure> {
    Ok(json(StatusCode::OK, &MetricsAnswer::of(&door.gateway, &caller)?))
}

/// Lists the calls under way
#[utoipa::path(get, path = "/api/v1/proxy/active-requests", tag = "operation",
    responses((status = 200, description = "The calls", body = ActiveAnswer), Refused))]
pub(crate) async fn active(State(door): State<AppState>, caller: Caller) -> Result<Response<Body>, Failure> {
    Ok(json(StatusCode::OK, &ActiveAnswer::of(&door.gateway, &caller)?))
}

/// Cancels a call under way
#[utoipa::path(delete, path = "/api/v1/proxy/requests/{id}", tag = "operation",
    params(("id" = String, Path, description = "Its `request_id`")),
    responses((status = 204, description = "Cancelled"), Refused, Missing))]
pub(crate) async fn cancel(
    State(door): State<AppState>,
    caller: Caller,
    Text(id): Text,
) -> Result<StatusCode, Failure> {
    door.gateway.cancel(&caller, &id)?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_part_that_fails_makes_the_whole_unhealthy_and_says_why() {
        let components =
            vec![("database", Some("disk full".to_owned())), ("registry", None), ("router", None)];
        let answer = HealthAnswer::new(components, Timestamp::UNIX_EPOCH);
        assert_eq!(
            serde_json::to_value(answer).unwrap(),
            serde_json::json!({
                "status": "unhealthy", "timestamp": "1970-01-01T00:00:00Z", "version": env!("CARGO_PKG_VERSION"),
                "components": {
                    "database": {"status": "unhealthy", "message": "disk full"},
                    "registry": {"status": "healthy"}, "router": {"status": "healthy"},
                },
            })
        );
    }
}
