//! Servers: the registry's records without their secrets, under the names that clients rely on.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::condition::ProblemView;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{Caller, Gateway};
use crate::model::{
    Capability, CapabilityKind, Condition, Configuration, HealthCheck, HealthStatus, ListSize, Patch, Server,
    ServerEndpoint, ServerState, Status, TransportType,
    redact::{self, HIDDEN},
};
use crate::registry::{Drifted, Filter, pins};

/// A registered server. Values of `env` and of `configuration.headers` are shown as `***`, and so are parts of `endpoint_url` and
/// `args` that may be secret, and the values of variables that a file of servers named.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(as = Server))]
pub(crate) struct ServerView {
    id: Uuid,
    tenant_id: String,
    /// Unique within the tenant.
    name: String,
    /// The service that it is a replica of.
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
    /// The names of the items that it offers.
    capabilities: Names,
    tags: Vec<String>,
    /// 0 is drained.
    weight: u32,
    auto_discover: bool,
    health_check: HealthCheck,
    configuration: Configuration,
    status: Status,
    health_status: HealthStatus,
    #[cfg_attr(feature = "server", schema(value_type = Option<String>, format = DateTime))]
    last_health_check: Option<Timestamp>,
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    created_at: Timestamp,
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    updated_at: Timestamp,
    /// Counts changes; the `ETag` of this record.
    revision: u64,
    /// Whether it serves, in one word.
    state: ServerState,
    /// Everything that is wrong with it, or with a part of it.
    problems: Vec<ProblemView>,
    /// Milliseconds that the last start took: of a program, or the first answer of another server; `null` before.
    last_start_ms: Option<u64>,
    /// How much its definitions take in a client's context.
    size: ListSize,
    /// The last error in one sentence, with the next step; `null` if there is none.
    last_error: Option<String>,
    /// While it starts: how long that has taken, and what it may be doing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false))]
    progress: Option<String>,
    /// For managers and above: the last lines that a program which failed to start wrote to its standard error, without secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "server", schema(required = false))]
    last_output: Vec<String>,
    /// Warnings for an operator, such as that its command can run another program tomorrow.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "server", schema(required = false))]
    warnings: Vec<String>,
    /// Its definitions that differ from the approved ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    drift: Option<DriftView>,
    /// With `include_tools=true`: the definitions as the server gave them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<Vec<Object>>))]
    tools: Option<Vec<Arc<RawValue>>>,
    /// With `include_resources=true`: the definitions as the server gave them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<Vec<Object>>))]
    resources: Option<Vec<Arc<RawValue>>>,
}

/// The definitions of a server that differ from its earlier ones, or from those of another replica of its service.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(as = Drift))]
struct DriftView {
    /// Whether it gets no calls until an operator approves.
    waits: bool,
    differences: Vec<DifferenceView>,
}

/// One item that is defined in two ways; the audit trail has both.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(as = Difference))]
struct DifferenceView {
    /// `tool`, `resource`, `resource_template` or `prompt`.
    kind: &'static str,
    name: String,
    /// The replica that defines it otherwise; absent if it is the server itself, before.
    #[serde(skip_serializing_if = "Option::is_none")]
    replica: Option<String>,
}

/// The names of the items that a server offers.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub(crate) struct Names {
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

/// The listing of a server: the definitions as it sent them.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub(crate) struct Definitions {
    #[cfg_attr(feature = "server", schema(value_type = Vec<Object>))]
    tools: Vec<Arc<RawValue>>,
    #[cfg_attr(feature = "server", schema(value_type = Vec<Object>))]
    resources: Vec<Arc<RawValue>>,
    #[cfg_attr(feature = "server", schema(value_type = Vec<Object>))]
    resource_templates: Vec<Arc<RawValue>>,
    #[cfg_attr(feature = "server", schema(value_type = Vec<Object>))]
    prompts: Vec<Arc<RawValue>>,
}

impl Definitions {
    pub(crate) fn of(items: &[Capability]) -> Self {
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
    /// A server that was registered this moment.
    #[cfg(feature = "server")]
    pub(crate) fn of_new(server: &Server, offers: &[Capability]) -> Self {
        Self::new(server, offers, Condition::of_new(server, offers))
    }

    fn new(server: &Server, offers: &[Capability], condition: Condition) -> Self {
        let env = match &server.endpoint {
            ServerEndpoint::Url { .. } => None,
            ServerEndpoint::Command { env, .. } => Some(hidden(env)),
        };
        let shown = redact::endpoint(server);
        let mut configuration = server.configuration.clone();
        configuration.headers = hidden(&configuration.headers);
        configuration.secrets = Vec::new();
        Self {
            id: *server.id.as_uuid(),
            tenant_id: server.tenant_id.to_string(),
            name: server.name.clone(),
            service: server.service.to_string(),
            endpoint_url: shown.endpoint_url,
            command: shown.command,
            args: shown.args,
            env,
            cwd: shown.cwd,
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
            state: condition.state,
            problems: condition.problems.into_iter().map(ProblemView::from).collect(),
            last_start_ms: condition.last_start.map(|took| took.as_millis().try_into().unwrap_or(u64::MAX)),
            size: condition.size,
            last_error: condition.last_error,
            progress: condition.progress,
            last_output: condition.output,
            warnings: pins::warnings(server),
            drift: None,
            tools: None,
            resources: None,
        }
    }

    /// With its differences from the approved definitions.
    pub(crate) fn drifted(mut self, drift: Option<&Drifted>) -> Self {
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
    pub(crate) fn with(mut self, offers: &[Capability], tools: bool, resources: bool) -> Self {
        self.tools = tools.then(|| definitions(offers, CapabilityKind::Tool));
        self.resources = resources.then(|| definitions(offers, CapabilityKind::Resource));
        self
    }
}

fn hidden(values: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    values.keys().map(|key| (key.clone(), HIDDEN.to_owned())).collect()
}

impl ServerView {
    /// As the caller sees the server now.
    pub(crate) fn shown(gateway: &Gateway, caller: &Caller, server: &Server) -> Self {
        // A server that is removed this very moment offers nothing.
        let offers = gateway.capabilities(caller, server.id).unwrap_or_default();
        let drift = gateway.drift(caller, server.id).ok().flatten();
        let condition = gateway.condition_of(caller, server, &offers);
        Self::new(server, &offers, condition).drifted(drift.as_deref())
    }
}

/// One page of servers, ordered by name.
#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct ListAnswer {
    servers: Vec<ServerView>,
    /// How many match in all.
    total: u64,
    page: u32,
    limit: u32,
}

impl ListAnswer {
    /// A page of the caller's servers, with the definitions of tools and of resources where they are wanted.
    pub(crate) fn of(
        gateway: &Gateway,
        caller: &Caller,
        filter: &Filter,
        tools: bool,
        resources: bool,
    ) -> Result<Self> {
        let page = gateway.list(caller, filter)?;
        let view = |server: &Arc<Server>| match gateway.capabilities(caller, server.id) {
            Ok(offers) => {
                let drift = gateway.drift(caller, server.id).ok().flatten();
                let condition = gateway.condition_of(caller, server, &offers);
                let shown = ServerView::new(server, &offers, condition).with(&offers, tools, resources);
                Some(Ok(shown.drifted(drift.as_deref())))
            }
            // Removed since the page was cut.
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => Some(Err(error)),
        };
        let servers = page.servers.iter().filter_map(view).collect::<Result<_>>()?;
        Ok(Self { servers, total: page.total, page: page.page, limit: page.limit })
    }
}

/// Changes the server that was read as `current`: values of `env` and `configuration.headers` that are `***` stay as they are, and so do
/// `endpoint_url` and `args` that are as they were shown.
/// With `if_match`, only if its revision is still that.
pub(crate) async fn update_shown(
    gateway: &Gateway,
    caller: &Caller,
    current: &Server,
    mut patch: Patch,
    if_match: Option<u64>,
) -> Result<Arc<Server>> {
    let hidden = patch.configuration.iter().any(|given| given.headers.values().any(|value| value == HIDDEN));
    if hidden {
        gateway.stays_where_it_is(caller, current, &patch).await?;
    }
    // The kept values were read from this revision, so it must still be this one.
    let kept = keep_hidden(&mut patch, current)?.then_some(current.revision);
    gateway.update(caller, current.id, patch, if_match.or(kept)).await
}

/// Puts the stored secrets where the patch has `***`; says whether there were any.
fn keep_hidden(patch: &mut Patch, current: &Server) -> Result<bool> {
    let nothing = BTreeMap::new();
    let stored = match &current.endpoint {
        ServerEndpoint::Command { env, .. } => env,
        ServerEndpoint::Url { .. } => &nothing,
    };
    let mut kept = false;
    kept |= keep_endpoint(patch, current);
    if let Some(env) = &mut patch.env {
        kept |= keep(env, stored, "env")?;
    }
    if let Some(configuration) = &mut patch.configuration {
        kept |= keep(&mut configuration.headers, &current.configuration.headers, "configuration.headers")?;
    }
    Ok(kept)
}

/// Puts the stored parts of the endpoint where the patch has them as they were shown; says whether that hid something.
fn keep_endpoint(patch: &mut Patch, current: &Server) -> bool {
    fn keep<T: PartialEq + Clone>(new: &mut Option<T>, shown: Option<&T>, stored: &T) -> bool {
        let same = new.is_some() && new.as_ref() == shown;
        if same {
            *new = Some(stored.clone());
        }
        same && shown.is_some_and(|shown| shown != stored)
    }
    let shown = redact::endpoint(current);
    match &current.endpoint {
        ServerEndpoint::Url { endpoint_url } => {
            keep(&mut patch.endpoint_url, shown.endpoint_url.as_ref(), endpoint_url)
        }
        ServerEndpoint::Command { command, args, cwd, .. } => {
            let program = keep(&mut patch.command, shown.command.as_ref(), command);
            let arguments = keep(&mut patch.args, shown.args.as_ref(), args);
            let folder = cwd.as_ref().is_some_and(|cwd| keep(&mut patch.cwd, shown.cwd.as_ref(), cwd));
            program || arguments || folder
        }
    }
}

fn keep(new: &mut BTreeMap<String, String>, stored: &BTreeMap<String, String>, field: &str) -> Result<bool> {
    let mut kept = false;
    for (key, value) in new.iter_mut().filter(|(_, value)| *value == HIDDEN) {
        let Some(secret) = stored.get(key) else {
            let message = "`***` keeps a value that is there already; this one is new, so give it";
            return Err(Error::new(ErrorKind::InvalidParams, message).with("field", format!("{field}.{key}")));
        };
        value.clone_from(secret);
        kept = true;
    }
    Ok(kept)
}
