//! The documents that a user sends to register or to change a server.
//!
//! They are written in one way and read in many: the members of clients' own files, such as `url`, `type` and `disabled`, mean
//! what their authors mean by them. See [`MEMBERS`].

mod document;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::server::{Configuration, HealthCheck, ServerEndpoint, Status, TransportType};
use super::tolerant;

pub use document::MEMBERS;

/// A registration. Unknown members are refused, so that a misspelt one is noticed.
///
/// ```
/// use mcp_registry_gateway::Registration;
///
/// let docs = Registration { tags: vec!["search".into()], ..Registration::at("docs-1", "http://127.0.0.1:9000/mcp") };
/// let again = Registration { service: Some("docs-1".into()), ..Registration::at("docs-2", "http://127.0.0.1:9001/mcp") };
/// let files = Registration::running("files", "npx", ["-y", "@modelcontextprotocol/server-filesystem", "/tmp"]);
/// assert_eq!(files.args.len(), 3);
/// # let _ = (docs, again);
/// ```
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(
    feature = "server",
    schema(
        description = "A registration. Unknown members are refused, so that a misspelt one is noticed. The \
        members of MCP clients' own files are read as well: `url`, `serverUrl`, `httpUrl`, `type`, `transportType`, `headers`, `enabled`, \
        `disabled`."
    )
)]
pub struct Registration {
    /// Required. 1 to 128 of `A-Z a-z 0-9 _ . -`; unique within the tenant.
    pub name: String,
    /// The URL of a server over `http`, `sse` or `websocket`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_url: Option<String>,
    /// The program to start, for `stdio`. No shell reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The program's arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// The program's environment variables, besides `PATH` and the like.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The program's working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// The transport: `http` (default with a URL; also `streamable-http`), `stdio` (default with a command), `sse`, `websocket`, `memory`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport_type: Option<TransportType>,
    /// The service whose replica the server is. Default: the server's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The server's version, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// A description for people and for search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The tools, resources and prompts that the server offers, until it answers for itself: `{tools: […], resources: […],
    /// resourceTemplates: […], prompts: […]}` with the items as MCP's lists have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<Object>))]
    pub capabilities: Option<Box<RawValue>>,
    /// Tags for search and filters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The server's share under `weighted` and `consistent_hash`. Default 1; 0 drains it under every algorithm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Asks the server for its tools, resources and prompts. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_discover: Option<bool>,
    /// How the server is probed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// How the server is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<Configuration>,
    /// The state to begin in: `active` (default), `inactive`, which is also `enabled: false`, or `maintenance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

impl<'de> Deserialize<'de> for Registration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        document::read(deserializer)
    }
}

impl Registration {
    /// A server of this name and nothing else: one that the program itself hosts.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// A server at a URL, spoken to over streamable HTTP.
    pub fn at(name: impl Into<String>, url: impl Into<String>) -> Self {
        Self { endpoint_url: Some(url.into()), ..Self::named(name) }
    }

    /// A program that the gateway starts, with its arguments; no shell reads them.
    pub fn running<A: Into<String>>(
        name: impl Into<String>,
        program: impl Into<String>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let args = arguments.into_iter().map(Into::into).collect();
        Self { command: Some(program.into()), args, ..Self::named(name) }
    }

    /// Where the server is said to be; `None` if neither a URL nor a command is given.
    pub fn endpoint(&self) -> Option<ServerEndpoint> {
        match (&self.endpoint_url, &self.command) {
            (Some(url), _) => Some(ServerEndpoint::Url { endpoint_url: url.clone() }),
            (None, Some(command)) => Some(ServerEndpoint::Command {
                command: command.clone(),
                args: self.args.clone(),
                env: self.env.clone(),
                cwd: self.cwd.clone(),
            }),
            (None, None) => None,
        }
    }
}

/// A change: members that are absent stay as they are. The name and the tenant never change.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Patch {
    /// New URL.
    #[serde(alias = "endpointUrl", alias = "url", alias = "serverUrl", alias = "httpUrl")]
    pub endpoint_url: Option<String>,
    /// New program.
    pub command: Option<String>,
    /// New arguments.
    #[serde(deserialize_with = "tolerant::texts")]
    pub args: Option<Vec<String>>,
    /// New environment.
    #[serde(deserialize_with = "tolerant::pairs")]
    pub env: Option<BTreeMap<String, String>>,
    /// New working directory.
    pub cwd: Option<String>,
    /// New transport.
    #[serde(alias = "transportType", alias = "type", alias = "transport")]
    pub transport_type: Option<TransportType>,
    /// New service.
    pub service: Option<String>,
    /// New version.
    pub version: Option<String>,
    /// New display name.
    pub display_name: Option<String>,
    /// New description.
    pub description: Option<String>,
    /// New declared capabilities.
    #[cfg_attr(feature = "server", schema(value_type = Option<Object>))]
    pub capabilities: Option<Box<RawValue>>,
    /// New tags.
    pub tags: Option<Vec<String>>,
    /// New weight.
    pub weight: Option<u32>,
    /// Whether to ask the server.
    pub auto_discover: Option<bool>,
    /// New probing.
    pub health_check: Option<HealthCheck>,
    /// New way of calling.
    pub configuration: Option<Configuration>,
    /// The state that the operator sets.
    pub status: Option<Status>,
}
