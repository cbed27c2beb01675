//! The handle: everything that a door, a binding or an embedding program can ask of the gateway.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::error::Result;
use crate::model::{Capability, CapabilityKind, Patch, Principal, Registration, Server, ServerId};
use crate::registry::{Filter, Page};
use crate::store::HealthRecord;

/// A principal at work: who, and the id that ties its log lines and audit rows together.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// Which request.
    pub correlation_id: Arc<str>,
}

/// A server with what it offers of what was asked for.
#[derive(Clone, Debug)]
pub struct Found {
    /// The server.
    pub server: Arc<Server>,
    /// The matches.
    pub matches: Vec<Capability>,
}

/// One result of a ranked search, best first.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Hit {
    /// The service that has it.
    pub service: String,
    /// The server that has it.
    pub server_id: ServerId,
    /// `server`, or the kind of capability.
    pub kind: &'static str,
    /// The name of the server or capability.
    pub name: String,
    /// What it says of itself.
    pub description: Option<String>,
    /// Higher is better; comparable within one answer only.
    pub score: f64,
}

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
    /// Client sessions that are open.
    pub sessions: u64,
    /// Calls under way.
    pub active_requests: u64,
}

/// What routing knows of one server.
#[derive(Clone, Debug, serde::Serialize)]
pub struct RouterMetrics {
    /// The server's name.
    pub server_name: String,
    /// Calls in flight.
    pub active_connections: u64,
    /// Calls since the start of this process.
    pub total_requests: u64,
    /// Share of calls that did not fail, 0 to 1; 1 while there were none.
    pub success_rate: f64,
    /// Share of calls that failed, 0 to 1.
    pub error_rate: f64,
    /// Mean time to the first byte of the answer, in milliseconds.
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
    /// Its MCP method.
    pub method: String,
    /// How long it has been running.
    pub duration_seconds: f64,
    /// Whose.
    pub tenant_id: String,
    /// Who.
    pub user_id: String,
}

/// Whether the parts work: name and `None`, or what is wrong.
pub type Components = Vec<(&'static str, Option<String>)>;

/// How a gateway behaves.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Merged lists.
    pub list_budget: std::time::Duration,
    /// Discovery.
    pub refresh: std::time::Duration,
}

/// The gateway. Clones share it.
#[derive(Clone)]
pub struct Gateway(());

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gateway")
    }
}

#[expect(clippy::todo, clippy::unused_async, unused_variables, reason = "signatures first; being built")]
impl Gateway {
    /// A running gateway over what `store` holds.
    pub async fn open(
        settings: Settings,
        store: Arc<dyn crate::store::Store>,
        clock: Arc<dyn crate::clock::Clock>,
    ) -> Result<Self> {
        todo!()
    }

    /// Registers a server; it is asked what it offers in the background.
    pub async fn register(&self, caller: &Caller, registration: Registration) -> Result<Arc<Server>> {
        todo!()
    }

    /// Changes a server; with `if_match`, only if its revision is still that.
    pub async fn update(
        &self,
        caller: &Caller,
        id: ServerId,
        patch: Patch,
        if_match: Option<u64>,
    ) -> Result<Arc<Server>> {
        todo!()
    }

    /// Removes a server: soft, its name is free again, its calls end.
    pub async fn remove(&self, caller: &Caller, id: ServerId) -> Result<()> {
        todo!()
    }

    /// One server of the caller's tenant.
    pub fn get(&self, caller: &Caller, id: ServerId) -> Result<Arc<Server>> {
        todo!()
    }

    /// A page of the caller's servers.
    pub fn list(&self, caller: &Caller, filter: &Filter) -> Result<Page> {
        todo!()
    }

    /// What a server offers.
    pub fn capabilities(&self, caller: &Caller, id: ServerId) -> Result<Vec<Capability>> {
        todo!()
    }

    /// Probes a server now.
    pub async fn health_check(&self, caller: &Caller, id: ServerId) -> Result<HealthRecord> {
        todo!()
    }

    /// Asks a server now what it offers.
    pub async fn discover(&self, caller: &Caller, id: ServerId) -> Result<Vec<Capability>> {
        todo!()
    }

    /// The servers that offer all of `names`, healthy or not.
    pub fn find(&self, caller: &Caller, kind: CapabilityKind, names: &[String]) -> Result<Vec<Found>> {
        todo!()
    }

    /// Ranked search over names, descriptions and tags.
    pub fn search(&self, caller: &Caller, query: &str, limit: usize) -> Result<Vec<Hit>> {
        todo!()
    }

    /// Every tool (or resource, …) that the caller may use: the name on `/mcp`, the server, the definition.
    pub fn offered(
        &self,
        caller: &Caller,
        kind: CapabilityKind,
    ) -> Result<Vec<(String, Arc<Server>, Capability)>> {
        todo!()
    }

    /// Counts.
    pub fn stats(&self, caller: &Caller) -> Result<Stats> {
        todo!()
    }

    /// What routing knows, by server.
    pub fn metrics(&self, caller: &Caller) -> Result<Vec<(ServerId, RouterMetrics)>> {
        todo!()
    }

    /// The calls under way of the caller's tenant.
    pub fn active(&self, caller: &Caller) -> Result<Vec<ActiveRequest>> {
        todo!()
    }

    /// Cancels one call under way.
    pub fn cancel(&self, caller: &Caller, request_id: &str) -> Result<()> {
        todo!()
    }

    /// Whether `database`, `registry` and `router` work.
    pub async fn components(&self) -> Components {
        todo!()
    }

    /// The clock that this gateway goes by.
    pub fn clock(&self) -> &Arc<dyn crate::clock::Clock> {
        todo!()
    }

    /// Whether this gateway takes new calls: started, and not shutting down.
    pub fn is_ready(&self) -> bool {
        todo!()
    }

    /// Takes no new calls, lets those under way end for as long as `grace`, then ends everything.
    pub async fn shutdown(&self, grace: std::time::Duration) {
        todo!()
    }
}
