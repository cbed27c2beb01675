//! The sections: plain data, with the defaults that make a gateway without any setting work.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::auth::vault::Credentials;
use crate::auth::{Access, Auth};
use crate::breaker;
use crate::limit;
use crate::model::{Registration, server::seconds};
use crate::observe::AuditSettings;
use crate::transport::guard::{Outbound, Stdio};

/// Everything that `mcp-gateway.toml` and the environment say.
///
/// ```
/// use std::time::Duration;
/// use mcp_registry_gateway::{Config, ErrorKind, Gateway};
///
/// # #[tokio::main]
/// # async fn main() -> mcp_registry_gateway::Result<()> {
/// let mut config = Config::default();
/// config.breaker.consecutive_failures = 3;
/// config.server.grace = Duration::from_secs(5);
/// let gateway = Gateway::builder().config(config.clone()).open().await?;
/// gateway.close().await;
///
/// // Held to the rules of one that is written down.
/// config.breaker.probes = 0;
/// let refused = Gateway::builder().config(config).open().await.unwrap_err();
/// assert!(refused.kind() == ErrorKind::InvalidParams && refused.message().contains("breaker.probes"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where and to whom HTTP is served.
    pub server: Server,
    /// The callers that are let in.
    pub auth: Auth,
    /// Sessions of legacy clients.
    pub session: Session,
    /// Calls to servers.
    pub upstream: Upstream,
    /// The durable data.
    pub store: Store,
    /// Log lines.
    pub log: Log,
    /// Probes.
    pub health: Health,
    /// Circuit breakers.
    pub breaker: breaker::Settings,
    /// How much anybody may ask for.
    pub limits: limit::Settings,
    /// The audit trail.
    pub audit: AuditSettings,
    /// Access to servers and items, beyond the matrix of roles.
    pub access: Access,
    /// Addresses that may be connected to, besides the internet, once others can register servers.
    pub outbound: Outbound,
    /// The key that credentials for servers are sealed with.
    pub credentials: Credentials,
    /// Which programs may be started once others can register servers.
    pub stdio: Stdio,
    /// A file of an MCP client or of another gateway, whose servers are registered too. `${VAR}` in it stands for a variable of the
    /// process that reads it.
    pub import: Option<PathBuf>,
    /// Servers that are registered at the start: `[[servers]]`, or `[servers.NAME]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<Registration>,
}

impl Config {
    /// Whether others than the user of this machine may be served: it listens beyond loopback, or knows users.
    pub fn is_shared(&self) -> bool {
        !self.server.host.is_loopback() || self.auth.is_configured()
    }
}

/// Where and to whom HTTP is served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key of the configuration file that says yes or no"
)]
pub struct Server {
    /// The address to listen on. An address beyond loopback needs authentication.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub host: IpAddr,
    /// The port to listen on; 0 takes any free one.
    pub port: u16,
    /// Serves `/legacy/mcp`: one plain JSON-RPC request without a handshake.
    pub legacy: bool,
    /// Offers the gateway's own service, `gateway`: tools with which an agent asks the gateway itself.
    pub builtin_service: bool,
    /// Lets the tool `register_server` of the gateway's own service register commands, which the gateway then starts.
    pub builtin_commands: bool,
    /// Serves `/sse`, `/sse/{service}` and `/messages`: the HTTP+SSE transport of 2024-11-05.
    pub sse: bool,
    /// Values of the header `Host` that are served besides loopback names, with or without a port.
    pub allowed_hosts: Vec<String>,
    /// Values of the header `Origin` that are served besides the gateway's own, such as `https://app.example.com`. Pages of
    /// these origins may read answers (CORS).
    pub allowed_origins: Vec<String>,
    /// Networks and addresses of proxies, such as `10.1.0.0/16`. Of their requests, and of nobody else's, the headers
    /// `X-Forwarded-For`, `-Proto`, `-Host` and `-Prefix` count; a forwarded host only if `allowed_hosts` has it. While it is set no
    /// request is taken for one of a process of this machine.
    pub trusted_proxies: Vec<String>,
    /// Threads that serve connections; 0 for one each core.
    pub workers: usize,
    /// Largest request body, in bytes.
    pub max_body_bytes: usize,
    /// The certificate, if the gateway itself speaks TLS.
    #[cfg_attr(feature = "server", schema(value_type = Object))]
    pub tls: Tls,
    /// Seconds that calls in flight may go on after the gateway was told to stop.
    #[serde(rename = "grace_seconds", with = "seconds")]
    #[cfg_attr(feature = "server", schema(value_type = f64))]
    pub grace: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            host: IpAddr::from([127, 0, 0, 1]),
            port: 8000,
            legacy: false,
            builtin_service: true,
            builtin_commands: false,
            sse: false,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            workers: 0,
            max_body_bytes: 4 * 1024 * 1024,
            tls: Tls::default(),
            grace: Duration::from_secs(30),
        }
    }
}

impl Server {
    /// The networks of `trusted_proxies`; one that cannot be read is none.
    pub fn proxies(&self) -> Vec<IpNet> {
        self.trusted_proxies.iter().filter_map(|text| network(text)).collect()
    }
}

/// The network that `text` names: an address is one of its own.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().ok().map(|address| IpNet::from(address.to_canonical()));
    text.parse::<IpNet>().ok().or_else(address).map(|network| network.trunc())
}

/// The certificate, if the gateway itself speaks TLS. Both files are PEM; a change of them is taken up while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The PEM file with the certificate chain. With it and `key` the gateway speaks TLS; a changed file is taken up while it
    /// runs.
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub cert: Option<PathBuf>,
    /// The PEM file with the certificate's private key.
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub key: Option<PathBuf>,
}

impl Tls {
    /// Whether TLS is spoken.
    pub fn is_on(&self) -> bool {
        self.cert.is_some() && self.key.is_some()
    }
}

/// Sessions of legacy clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Session {
    /// Seconds that a client session lives without a request.
    #[serde(rename = "idle_seconds", with = "seconds")]
    #[cfg_attr(feature = "server", schema(value_type = f64))]
    pub idle: Duration,
    /// Seconds that a client session lives at most.
    #[serde(rename = "max_seconds", with = "seconds")]
    #[cfg_attr(feature = "server", schema(value_type = f64))]
    pub max: Duration,
    /// Client sessions at most.
    pub max_sessions: usize,
    /// Client sessions of one principal at most.
    pub max_per_principal: usize,
    /// Seconds that a call of a client of 2026-07-28 waits for the client's answers to the questions of a server.
    #[serde(rename = "input_wait_seconds", with = "seconds")]
    #[cfg_attr(feature = "server", schema(value_type = f64))]
    pub input_wait: Duration,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            idle: Duration::from_mins(30),
            max: Duration::from_hours(12),
            max_sessions: 100_000,
            max_per_principal: 50_000,
            input_wait: Duration::from_mins(5),
        }
    }
}

/// Calls to servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Upstream {
    /// Seconds that a merged list may take. Servers get 95 % of it; those that answer later are left out.
    #[serde(rename = "list_budget_seconds", with = "seconds")]
    #[cfg_attr(feature = "server", schema(value_type = f64))]
    pub list_budget: Duration,
    /// Seconds after which a server is asked again for its tools, resources and prompts.
    #[serde(rename = "refresh_seconds", with = "seconds")]
    #[cfg_attr(feature = "server", schema(value_type = f64))]
    pub refresh: Duration,
    /// Seconds that a program may take from its start to its answer to `initialize`, as long as it is alive: `npx` and its like
    /// download first. `configuration.start_timeout_seconds` of a server takes precedence.
    #[serde(rename = "start_timeout_seconds", with = "seconds")]
    #[cfg_attr(feature = "server", schema(value_type = f64))]
    pub start_timeout: Duration,
    /// Seconds that a call may take in all, however often its server reports progress. `configuration.max_timeout_seconds` of a
    /// server takes precedence.
    #[serde(rename = "max_timeout_seconds", with = "seconds")]
    #[cfg_attr(feature = "server", schema(value_type = f64))]
    pub max_timeout: Duration,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            list_budget: Duration::from_secs(2),
            refresh: Duration::from_mins(5),
            start_timeout: Duration::from_mins(2),
            max_timeout: Duration::from_mins(10),
        }
    }
}

/// The durable data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// The SQLite file. Without it: `gateway.db` in the data directory.
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub path: Option<PathBuf>,
}

/// Log lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The form of log lines: `human` for people, `json` for programs.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub format: LogFormat,
    /// The lines that are logged: `error`, `warn`, `info`, `debug`, `trace`, or directives such as
    /// `info,mcp_registry_gateway=debug`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Human, level: "info".into() }
    }
}

/// The readers of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// People.
    Human,
    /// Programs: one JSON object a line.
    Json,
}

/// Probes. How each server is probed is part of its registration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// Probes servers at all. Each server's `health_check` says how.
    pub enabled: bool,
}

impl Default for Health {
    fn default() -> Self {
        Self { enabled: true }
    }
}
