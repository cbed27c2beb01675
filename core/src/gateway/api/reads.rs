//! The current state, for people and programs: searches, counts, metrics, calls under way.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::tenants::sees_all;
use super::visible::{Object, seeing};
use crate::auth::Operation;
use crate::discovery::{Found, Hit};
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{Caller, Core, Gateway};
use crate::limit::LimitStats;
use crate::model::{Capability, CapabilityKind, Principal, Server, ServerId};
use crate::observe::{Active, AuditStats};

/// Counts over the register.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Stats {
    /// Living servers.
    pub total_servers: u64,
    /// By operator state.
    pub servers_by_status: BTreeMap<&'static str, u64>,
    /// By transport.
    pub servers_by_transport: BTreeMap<&'static str, u64>,
    /// By observed health.
    pub servers_by_health: BTreeMap<&'static str, u64>,
    /// By whether they serve.
    pub servers_by_state: BTreeMap<&'static str, u64>,
    /// Client sessions of the tenant that are open.
    pub sessions: u64,
    /// Calls of the tenant under way, and streams that its clients hold open.
    pub active_requests: u64,
    /// The same and more of all tenants together; for administrators of `default`, who govern them.
    pub gateway: Option<GatewayStats>,
}

/// Counts over all tenants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct GatewayStats {
    /// Client sessions that are open.
    pub sessions: u64,
    /// Calls under way, and streams that clients hold open.
    pub active_requests: u64,
    /// Reads that were answered by the fetch of an equal one.
    pub shared_reads: u64,
    /// The refusals and the current holdings of the limits.
    pub limits: LimitStats,
    /// The outcomes of audit rows that belong to no mutation.
    pub audit: AuditStats,
}

/// The routing counters of one server.
#[derive(Clone, Debug, serde::Serialize)]
pub struct RouterMetrics {
    /// The server's name.
    pub server_name: String,
    /// Calls in flight.
    pub active_connections: u64,
    /// Calls since the start of this process.
    pub total_requests: u64,
    /// Share of the calls with a result that did not fail, 0 to 1; 1 while there were none.
    pub success_rate: f64,
    /// Share of the calls with a result that failed, 0 to 1.
    pub error_rate: f64,
    /// Mean time to the answer, in milliseconds.
    pub avg_response_time_ms: f64,
    /// `closed`, `open` or `half_open`.
    pub circuit_breaker_state: &'static str,
    /// Failures in a row.
    pub failure_count: u32,
}

/// One call under way.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ActiveRequest {
    /// Its correlation id.
    pub request_id: String,
    /// Its MCP method; `GET` for an open stream.
    pub method: String,
    /// How long it has been running.
    pub duration_seconds: f64,
    /// The caller's tenant.
    pub tenant_id: String,
    /// The caller.
    pub user_id: String,
}

/// An item that a caller may use: its name on `/mcp`, its server, its definition.
pub type Offered = (String, Arc<Server>, Capability);

/// Whether the parts work: name and `None`, or the fault.
pub type Components = Vec<(&'static str, Option<String>)>;

impl Gateway {
    /// The servers that offer all of `names`, healthy or not.
    pub fn find(&self, caller: &Caller, kind: CapabilityKind, names: &[String]) -> Result<Vec<Found>> {
        caller.may(Operation::ServersRead)?;
        if names.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidParams,
                "name at least one tool or resource, separated by commas",
            ));
        }
        let (inner, principal) = (&self.0, &caller.principal);
        let mut found = inner.router.load().index.find_all(&principal.tenant, kind, names);
        found.retain(|one| one.matches.iter().all(|item| inner.sees_item(principal, &one.server, item)));
        if matches!(kind, CapabilityKind::Resource) {
            // A URI that is hidden from the caller can match a template that is not.
            found.retain(|one| names.iter().all(|name| inner.sees_name(principal, &one.server, kind, name)));
        }
        Ok(found)
    }

    /// Ranked search over names, descriptions and tags.
    pub fn search(&self, caller: &Caller, query: &str, limit: usize) -> Result<Vec<Hit>> {
        caller.may(Operation::ServersRead)?;
        let (inner, principal) = (&self.0, &caller.principal);
        let index = Arc::clone(&inner.router.load().index);
        let view = inner.router.view(&principal.tenant);
        if view.is_whole_for(principal) {
            return Ok(index.search(&principal.tenant, query, limit));
        }
        let denied = view.denied_to(principal);
        let shows_item =
            |server: &Server, item: &Capability| !denied.item(&server.service, item.kind, &item.name);
        Ok(index.search_where(&principal.tenant, query, limit, seeing(&view, principal), shows_item))
    }

    /// Every tool (or resource, …) that the caller may use: the name on `/mcp`, the server, the definition.
    pub fn offered(&self, caller: &Caller, kind: CapabilityKind) -> Result<Vec<Offered>> {
        Ok(self.offered_page(caller, kind, 0, usize::MAX)?.0)
    }

    /// As [`Gateway::offered`], `limit` of them after the first `skip`, in an order that stays as long as nothing changes; and
    /// the total number.
    pub fn offered_page(
        &self,
        caller: &Caller,
        kind: CapabilityKind,
        skip: usize,
        limit: usize,
    ) -> Result<(Vec<Offered>, usize)> {
        caller.may(Operation::McpList)?;
        let view = self.0.router.view_for(&caller.principal);
        let named = matches!(kind, CapabilityKind::Tool | CapabilityKind::Prompt);
        let (mut page, mut total) = (Vec::new(), 0);
        for service in view.services.values() {
            for (replica, item) in service.offers(kind) {
                if total >= skip && page.len() < limit {
                    let name = if named { view.name_of(service, &item.name) } else { item.name.clone() };
                    page.push((name, Arc::clone(&replica.server), item.clone()));
                }
                total += 1;
            }
        }
        Ok((page, total))
    }

    /// Counts.
    pub fn stats(&self, caller: &Caller) -> Result<Stats> {
        caller.may(Operation::StatsRead)?;
        let mut stats = Stats::default();
        let view = self.0.router.view(&caller.principal.tenant);
        let shown = seeing(&view, &caller.principal);
        for entry in self.0.registry.state().of_tenant(&caller.principal.tenant) {
            let server = &entry.server;
            if !shown(server) {
                continue;
            }
            stats.total_servers += 1;
            *stats.servers_by_status.entry(server.status.as_str()).or_default() += 1;
            *stats.servers_by_transport.entry(server.transport_type.as_str()).or_default() += 1;
            *stats.servers_by_health.entry(server.health_status.as_str()).or_default() += 1;
            let state = self.0.condition(server, &[]).state;
            *stats.servers_by_state.entry(state.as_str()).or_default() += 1;
        }
        let inner = &self.0;
        stats.sessions = inner.sessions.count_of(|principal| inner.is_known(caller, principal)) as u64;
        stats.active_requests = inner.calls.count_of(|active| inner.is_of(caller, active)) as u64;
        stats.gateway = sees_all(caller).then(|| GatewayStats {
            sessions: inner.sessions.len() as u64,
            active_requests: inner.calls.count() as u64,
            shared_reads: inner.reads.joined(),
            limits: inner.limiter.stats(),
            audit: inner.trail.stats(),
        });
        Ok(stats)
    }

    /// The routing counters, by server.
    pub fn metrics(&self, caller: &Caller) -> Result<Vec<(ServerId, RouterMetrics)>> {
        caller.may(Operation::MetricsRead)?;
        let view = self.0.router.view_for(&caller.principal);
        let now = self.0.clock.now();
        let replicas = view.services.values().flat_map(|service| &service.replicas);
        Ok(replicas
            .map(|replica| {
                let state = &replica.state;
                let stats = state.stats();
                let metrics = RouterMetrics {
                    server_name: replica.server.name.clone(),
                    active_connections: stats.in_flight,
                    total_requests: stats.total,
                    success_rate: stats.success_rate(),
                    error_rate: stats.error_rate(),
                    avg_response_time_ms: stats.mean_latency_ms(),
                    circuit_breaker_state: state.breaker().state(now).as_str(),
                    failure_count: state.breaker().failure_count(),
                };
                (replica.server.id, metrics)
            })
            .collect())
    }

    /// The calls under way of the caller's tenant.
    pub fn active(&self, caller: &Caller) -> Result<Vec<ActiveRequest>> {
        caller.may(Operation::RequestsRead)?;
        let now = self.0.clock.now();
        let calls = self.0.calls.active();
        Ok(calls
            .iter()
            .filter_map(|active| {
                let principal = active.principal.get()?;
                self.0.is_of(caller, active).then(|| ActiveRequest {
                    request_id: active.correlation_id.to_string(),
                    method: active.method.to_string(),
                    duration_seconds: now.since(active.since).as_secs_f64(),
                    tenant_id: principal.tenant.to_string(),
                    user_id: principal.subject.to_string(),
                })
            })
            .collect())
    }

    /// Cancels one call under way.
    pub fn cancel(&self, caller: &Caller, request_id: &str) -> Result<()> {
        caller.may(Operation::RequestsCancel)?;
        let calls = self.0.calls.active();
        let call =
            calls.iter().find(|active| &*active.correlation_id == request_id && self.0.is_of(caller, active));
        let call = call.ok_or_else(|| Error::new(ErrorKind::NotFound, "no such request is in progress"))?;
        call.cancel.cancel();
        Ok(())
    }

    /// Whether `database`, `registry` and `router` work.
    pub async fn components(&self) -> Components {
        let database = self.0.store.check().await.err().map(|error| error.to_string());
        let router = self.0.is_stopping().then(|| "shutting down".to_owned());
        vec![("database", database), ("registry", None), ("router", router)]
    }
}

impl Core {
    /// Whether the activity of `principal` is within the caller's reach: all of its tenant, or its own.
    fn is_known(&self, caller: &Caller, principal: &Principal) -> bool {
        principal.tenant == caller.principal.tenant && self.reaches(&caller.principal, Object::Of(principal))
    }

    /// The same for the principal of a call under way.
    fn is_of(&self, caller: &Caller, active: &Active) -> bool {
        active.principal.get().is_some_and(|principal| self.is_known(caller, principal))
    }
}
