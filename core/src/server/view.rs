//! What answers show: the registry's records without their secrets, under the names that clients rely on.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::gateway;
use crate::model::{
    Capability, CapabilityKind, Configuration, Endpoint, HealthCheck, HealthStatus, Server, Status,
    TransportType, redact,
};
use crate::registry::{Drifted, pins};
use crate::store::HealthRecord;

pub(super) use crate::model::redact::HIDDEN;

/// A registered server. Values of `env` and of `configuration.headers` are shown as `***`, and so is what may be secret in
/// `endpoint_url` and `args`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Server)]
pub(super) struct ServerView {
    id: Uuid,
    tenant_id: String,
    /// Unique within the tenant.
    name: String,
    /// The service whose replica it is.
    service: String,
    /// `null` for a command.
    endpoint_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    env: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd: Option<String>,
    transport_type: TransportType,
    version: Option<String>,
    display_name: Option<String>,
    description: Option<String>,
    /// The names of what it offers.
    capabilities: Names,
    tags: Vec<String>,
    /// 0 is drained.
    weight: u32,
    auto_discover: bool,
    health_check: HealthCheck,
    configuration: Configuration,
    status: Status,
    health_status: HealthStatus,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_health_check: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// Counts changes; the `ETag` of this record.
    revision: u64,
    /// What an operator should know, such as that its command can run another program tomorrow.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
    /// What it defines otherwise than was approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    drift: Option<DriftView>,
    /// With `include_tools=true`: the definitions as the server gave them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    tools: Option<Vec<Arc<RawValue>>>,
    /// With `include_resources=true`: the definitions as the server gave them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    resources: Option<Vec<Arc<RawValue>>>,
}

/// What a server defines otherwise than it did, or than another replica of its service does.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Drift)]
struct DriftView {
    /// Whether it gets no calls until an operator approves.
    waits: bool,
    differences: Vec<DifferenceView>,
}

/// One item that is defined in two ways; the audit trail has both.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Difference)]
struct DifferenceView {
    /// `tool`, `resource`, `resource_template` or `prompt`.
    kind: &'static str,
    name: String,
    /// The replica that defines it otherwise; absent if it is the server itself, before.
    #[serde(skip_serializing_if = "Option::is_none")]
    replica: Option<String>,
}

/// The names of what a server offers.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Names {
    tools: Vec<String>,
    /// URIs.
    resources: Vec<String>,
    /// URI templates.
    resource_templates: Vec<String>,
    prompts: Vec<String>,
}

impl Names {
    fn of(items: &[Capability]) -> Self {
        let mut names = Self::default();
        for item in items {
            let list = match item.kind {
                CapabilityKind::Tool => &mut names.tools,
                CapabilityKind::Resource => &mut names.resources,
                CapabilityKind::ResourceTemplate => &mut names.resource_templates,
                CapabilityKind::Prompt => &mut names.prompts,
            };
            list.push(item.name.clone());
        }
        names
    }
}

/// What a server offers: the definitions as it gave them.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Definitions {
    #[schema(value_type = Vec<Object>)]
    tools: Vec<Arc<RawValue>>,
    #[schema(value_type = Vec<Object>)]
    resources: Vec<Arc<RawValue>>,
    #[schema(value_type = Vec<Object>)]
    resource_templates: Vec<Arc<RawValue>>,
    #[schema(value_type = Vec<Object>)]
    prompts: Vec<Arc<RawValue>>,
}

impl Definitions {
    pub(super) fn of(items: &[Capability]) -> Self {
        Self {
            tools: definitions(items, CapabilityKind::Tool),
            resources: definitions(items, CapabilityKind::Resource),
            resource_templates: definitions(items, CapabilityKind::ResourceTemplate),
            prompts: definitions(items, CapabilityKind::Prompt),
        }
    }
}

fn definitions(items: &[Capability], kind: CapabilityKind) -> Vec<Arc<RawValue>> {
    items.iter().filter(|item| item.kind == kind).map(|item| item.definition.clone()).collect()
}

impl ServerView {
    pub(super) fn new(server: &Server, offers: &[Capability]) -> Self {
        let (command, args, env, cwd) = match &server.endpoint {
            Endpoint::Url { .. } => (None, None, None, None),
            Endpoint::Command { command, args, env, cwd } => {
                (Some(command.clone()), Some(redact::args(args)), Some(hidden(env)), cwd.clone())
            }
        };
        let mut configuration = server.configuration.clone();
        configuration.headers = hidden(&configuration.headers);
        Self {
            id: *server.id.as_uuid(),
            tenant_id: server.tenant_id.to_string(),
            name: server.name.clone(),
            service: server.service.to_string(),
            endpoint_url: server.endpoint.url().map(redact::url),
            command,
            args,
            env,
            cwd,
            transport_type: server.transport_type,
            version: server.version.clone(),
            display_name: server.display_name.clone(),
            description: server.description.clone(),
            capabilities: Names::of(offers),
            tags: server.tags.clone(),
            weight: server.weight,
            auto_discover: server.auto_discover,
            health_check: server.health_check.clone(),
            configuration,
            status: server.status,
            health_status: server.health_status,
            last_health_check: server.last_health_check,
            created_at: server.created_at,
            updated_at: server.updated_at,
            revision: server.revision,
            warnings: pins::warnings(&server.endpoint),
            drift: None,
            tools: None,
            resources: None,
        }
    }

    /// With how it differs from what was approved.
    pub(super) fn drifted(mut self, drift: Option<&Drifted>) -> Self {
        self.drift = drift.map(|drift| DriftView {
            waits: drift.waiting.is_some(),
            differences: drift
                .differences
                .iter()
                .map(|difference| DifferenceView {
                    kind: difference.kind.as_str(),
                    name: difference.name.clone(),
                    replica: difference.replica.clone(),
                })
                .collect(),
        });
        self
    }

    /// With the definitions of one kind; other kinds than tools and resources are not shown in lists.
    pub(super) fn with(mut self, offers: &[Capability], tools: bool, resources: bool) -> Self {
        self.tools = tools.then(|| definitions(offers, CapabilityKind::Tool));
        self.resources = resources.then(|| definitions(offers, CapabilityKind::Resource));
        self
    }
}

fn hidden(values: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    values.keys().map(|key| (key.clone(), HIDDEN.to_owned())).collect()
}

/// What a probe found.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HealthCheckAnswer {
    server_id: Uuid,
    health_status: HealthStatus,
    response_time_ms: u64,
    #[schema(value_type = String, format = DateTime)]
    checked_at: Timestamp,
    /// Why it failed; `null` if it did not.
    error: Option<String>,
}

impl HealthCheckAnswer {
    pub(super) fn new(server_id: Uuid, record: HealthRecord) -> Self {
        let HealthRecord { at, status, latency_ms, error } = record;
        Self { server_id, health_status: status, response_time_ms: latency_ms, checked_at: at, error }
    }
}

/// How a server was, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HealthHistory {
    server_id: Uuid,
    history: Vec<Observation>,
}

/// One observation of a server's health.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Observation {
    #[schema(value_type = String, format = DateTime)]
    checked_at: Timestamp,
    health_status: HealthStatus,
    response_time_ms: u64,
    /// Why it failed; `null` if it did not.
    error: Option<String>,
}

impl HealthHistory {
    pub(super) fn new(server_id: Uuid, records: Vec<HealthRecord>) -> Self {
        let observation = |HealthRecord { at, status, latency_ms, error }| Observation {
            checked_at: at,
            health_status: status,
            response_time_ms: latency_ms,
            error,
        };
        Self { server_id, history: records.into_iter().map(observation).collect() }
    }
}

/// What routing knows of one server since this process started.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ServerMetrics {
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
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ActiveRequest {
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
