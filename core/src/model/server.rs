//! One registered MCP endpoint.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::access::Restriction;
use super::credential::CredentialsOf;
use super::ids::{ServerId, ServiceName, TenantId};
use crate::error::{Error, ErrorKind, Result};

/// A plain enum whose names in JSON, in the stores and on the command line are the same.
macro_rules! words {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal $(| $other:literal)*,)+ }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant,)+ }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::of_word(&word).ok_or_else(|| serde::de::Error::unknown_variant(&word, &[$($word,)+]))
            }
        }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word for it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The value that a word means, in whatever case it is written and with `-`, `_` or blanks between its parts; `None` for others.
            pub fn of_word(word: &str) -> Option<Self> {
                let word = bare(word);
                $(if [$word $(, $other)*].iter().any(|known| bare(known) == word) { return Some(Self::$variant); })+
                None
            }
        }

        // Not derived: the derivation reads the source, in which the words of this macro do not stand.
        #[cfg(feature = "server")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::Type::String)
                    .description(Some([$($doc.trim()),*].join(" ")))
                    .enum_values(Some(Self::ALL.iter().map(|value| value.as_str())))
                    .into()
            }
        }

        #[cfg(feature = "server")]
        impl utoipa::ToSchema for $name {}

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                Self::of_word(text).ok_or_else(|| {
                    let words: Vec<_> = Self::ALL.iter().map(|value| value.as_str()).collect();
                    Error::new(ErrorKind::InvalidParams, format!("expected one of {}", words.join(", "))).with("found", text)
                })
            }
        }
    };
}

/// A word without what people write differently.
fn bare(word: &str) -> String {
    let kept = word.chars().filter(|c| !matches!(c, '-' | '_' | ' '));
    kept.map(|c| c.to_ascii_lowercase()).collect()
}

words! {
    /// How a server is reached.
    TransportType {
        /// Streamable HTTP.
        Http = "http" | "https" | "streamable-http" | "http-stream" | "streamable" | "remote",
        /// HTTP+SSE of 2024-11-05.
        Sse = "sse" | "http+sse",
        /// One JSON-RPC message a text frame.
        Websocket = "websocket" | "ws" | "wss",
        /// A child process.
        Stdio = "stdio" | "local" | "command",
        /// Within the program that embeds the gateway.
        Memory = "memory",
        /// By a connector that the program which embeds the gateway brings, for the scheme of the URL.
        Custom = "custom",
    }
}

words! {
    /// The state that an operator sets for a server. Never changed by a probe.
    Status {
        /// Takes calls.
        Active = "active",
        /// Switched off: finishes its calls, takes no new ones, is not probed; its program is not started.
        Inactive = "inactive",
        /// Takes nothing, is not probed.
        Maintenance = "maintenance",
        /// Cannot be used as it is configured.
        Error = "error",
    }
}

words! {
    /// The state that was observed of a server. Never changed by an operator.
    HealthStatus {
        /// The last probe succeeded.
        Healthy = "healthy",
        /// Failing, not yet often enough to be taken out.
        Degraded = "degraded",
        /// Answers, but wrongly, too often.
        Unhealthy = "unhealthy",
        /// Does not answer.
        Unreachable = "unreachable",
        /// Not probed yet.
        Unknown = "unknown",
    }
}

words! {
    /// How a service spreads calls over its replicas.
    Algorithm {
        /// In turn, exactly even.
        RoundRobin = "round_robin",
        /// In exact proportion to weights, without bursts.
        Weighted = "weighted",
        /// To the one with the fewest calls in flight.
        LeastConnections = "least_connections",
        /// Uniformly at random.
        Random = "random",
        /// The same key to the same server.
        ConsistentHash = "consistent_hash",
    }
}

words! {
    /// How a probe asks.
    ProbeKind {
        /// The probe that the protocol offers: `ping`, or `server/discover`.
        Protocol = "protocol",
        /// A connection that is opened and closed; for stdio, whether the process runs.
        Connect = "connect",
    }
}

words! {
    /// Whether clients share one upstream session.
    Sharing {
        /// Over streamable HTTP, one for each client session. A child process or a connection (HTTP+SSE, WebSocket) is
        /// shared by clients of which it has nothing to remember; a client that can be asked things (sampling,
        /// elicitation, roots), or set a log level or a subscription, gets one of its own.
        Auto = "auto",
        /// One for all. The server cannot ask its clients anything.
        Shared = "shared",
        /// One for each client session.
        Session = "session",
    }
}

words! {
    /// How a server is spoken to.
    EraWish {
        /// As it speaks itself: `server/discover` is asked first, then `initialize`; a server of both eras gets each
        /// client's messages in the client's own era.
        Auto = "auto",
        /// With `initialize` and a session.
        Legacy = "legacy",
        /// As 2026-07-28 has it, each request complete in itself.
        Modern = "modern",
    }
}

/// Where a server is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ServerEndpoint {
    /// Reached over the network.
    Url {
        /// The server's URL.
        endpoint_url: String,
    },
    /// Started as a child process, without a shell.
    Command {
        /// The program.
        command: String,
        /// Its arguments.
        #[serde(default)]
        args: Vec<String>,
        /// Its variables besides the few that every child gets.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        env: BTreeMap<String, String>,
        /// Its working directory.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cwd: Option<String>,
    },
}

impl ServerEndpoint {
    /// The URL, or `None` for a command.
    pub fn url(&self) -> Option<&str> {
        match self {
            Self::Url { endpoint_url } => Some(endpoint_url),
            Self::Command { .. } => None,
        }
    }
}

impl fmt::Debug for ServerEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url { endpoint_url } => f.write_str(endpoint_url),
            // Arguments and environment often carry secrets.
            Self::Command { command, args, .. } => write!(f, "{command} (+{} arguments)", args.len()),
        }
    }
}

/// The source of the key of consistent hashing.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Affinity {
    /// The client's session, or its principal where there is none.
    #[default]
    Session,
    /// The principal that calls.
    Principal,
    /// The value of a request header.
    Header(String),
    /// A JSON pointer (RFC 6901) into the arguments.
    Argument(String),
}

/// How a server is probed. Durations are in seconds in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct HealthCheck {
    /// Probes the server.
    pub enabled: bool,
    /// The kind of probe: `protocol` sends a `ping` (or `server/discover`), `connect` opens a connection (stdio: looks
    /// whether the program starts).
    pub kind: ProbeKind,
    /// Seconds between probes of a healthy server. A failing one is probed less and less often, at least every 5 minutes.
    #[serde(rename = "interval_seconds", with = "seconds")]
    #[cfg_attr(feature = "server", schema(value_type = f64))]
    pub interval: Duration,
    /// Seconds that one probe may take.
    #[serde(rename = "timeout_seconds", with = "seconds")]
    #[cfg_attr(feature = "server", schema(value_type = f64))]
    pub timeout: Duration,
    /// Failed probes in a row that take the server out.
    pub unhealthy_after: u32,
    /// Successful probes in a row that bring it back.
    pub healthy_after: u32,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            enabled: true,
            kind: ProbeKind::Protocol,
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
            unhealthy_after: 3,
            healthy_after: 1,
        }
    }
}

/// The callers who may get an answer that a server of the modern era labels `public`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CacheScope {
    /// As the server says, unless the gateway sends it credentials (`headers`): an answer to them is for the caller alone.
    #[default]
    Auto,
    /// As the server says.
    Declared,
    /// The caller alone.
    Private,
}

/// The treatment of a server that defines something otherwise than it did, or than another replica does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Drift {
    /// The difference is reported, in the server's record and in the audit trail.
    #[default]
    Report,
    /// The server waits outside until an operator approves the new definitions.
    Pin,
}

/// How calls to a server are made; the service's part (`algorithm`, `affinity`, `max_load`, `drift`) is taken from the replica
/// that was registered first.
///
/// ```
/// use mcp_registry_gateway::model::Algorithm;
/// use mcp_registry_gateway::{Configuration, Registration};
///
/// let configuration = Configuration { algorithm: Algorithm::LeastConnections, ..Configuration::default() };
/// let server = Registration {
///     configuration: Some(configuration),
///     ..Registration::at("docs-1", "http://127.0.0.1:9000/mcp")
/// };
/// # let _ = server;
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(
    feature = "server",
    schema(
        description = "How calls to a server are made; the service's part (`algorithm`, `affinity`, `max_load`, `drift`) is taken \
            from the replica that was registered first."
    )
)]
#[serde(default, deny_unknown_fields)]
pub struct Configuration {
    /// The balancing algorithm of the service: `round_robin`, `weighted`, `least_connections`, `random`, `consistent_hash`.
    pub algorithm: Algorithm,
    /// A factor from 1 to 100. Under `consistent_hash` no replica has more than this times the mean of calls in flight; the
    /// overflow goes to the next on the ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_load: Option<f64>,
    /// The key of `consistent_hash`: `session`, `principal`, `{header = "NAME"}`, or `{argument = "/json/pointer"}` into the
    /// arguments. A call without that header or argument goes by its session.
    pub affinity: Affinity,
    /// Seconds to wait for an answer. A report of progress begins them anew, up to `max_timeout_seconds` in all.
    #[serde(rename = "timeout_seconds", with = "seconds")]
    #[cfg_attr(feature = "server", schema(value_type = f64))]
    pub timeout: Duration,
    /// Seconds that a call may take in all, however often the server reports progress. Without it: `upstream.max_timeout_seconds`.
    #[serde(
        rename = "max_timeout_seconds",
        with = "seconds::optional",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "server", schema(value_type = Option<f64>))]
    pub max_timeout: Option<Duration>,
    /// Seconds that the server may take to start and to answer `initialize`. Without it: `upstream.start_timeout_seconds` for a
    /// program, 10 for a URL.
    #[serde(
        rename = "start_timeout_seconds",
        with = "seconds::optional",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "server", schema(value_type = Option<f64>))]
    pub start_timeout: Option<Duration>,
    /// Connections at most; children at most, for a command. One caller has at most four fifths of the connections, so that some
    /// are left for others. A call over HTTP that finds none free waits for its turn, as long as its deadline allows.
    pub max_connections: u32,
    /// Calls that may wait for a connection at once; one caller at most half of them. Further calls are refused with 503.
    pub max_queued: u32,
    /// The clients that share one upstream session. `session`: none. `shared`: all, so that the server cannot ask its clients
    /// anything. `auto`: none over HTTP; over other transports all but clients that can be asked things, set a log level or
    /// subscribe.
    pub sharing: Sharing,
    /// The revision of MCP that the server is spoken to in: `auto` finds out and notices changes, `legacy` opens with
    /// `initialize`, `modern` is 2026-07-28.
    pub era: EraWish,
    /// The callers that may be given an answer that the server labels `public`. `auto`: only the caller that asked, if the
    /// server is sent credentials or headers, else as the server says. `declared`: as the server says. `private`: only the
    /// caller that asked.
    pub cache_scope: CacheScope,
    /// The credentials that calls carry: `server` (default) the same in all calls; `caller` each caller's own, without which a call is
    /// refused.
    #[serde(skip_serializing_if = "CredentialsOf::is_shared")]
    pub credentials: CredentialsOf,
    /// The consequence when the server's definitions change, or differ from a replica's: `report` tells of it in the server's
    /// record and in the audit trail; `pin` keeps the server out of routing until `POST /api/v1/servers/{id}/approve`.
    pub drift: Drift,
    /// Believes the server's `readOnlyHint` and `idempotentHint`: calls of such tools are sent again when their answer is
    /// lost.
    pub trusted: bool,
    /// A PEM file (absolute path) with the authorities that may have signed the server's certificate, instead of those that
    /// the machine trusts or `SSL_CERT_FILE` names. An administrator names any file, others one in the folder of
    /// `outbound.ca_folder`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Headers sent with every request to the server. Values are stored and never shown.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Texts in `endpoint_url`, `command`, `args` and `cwd` that are never shown, such as the values of variables that a file of
    /// servers names. Not shown themselves, and kept as long as they stand there. Only an administrator adds one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Restricts the server's service to some callers, as `access.rules` does, without `service`. Only an administrator
    /// changes it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub access: Vec<Restriction>,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::RoundRobin,
            max_load: None,
            affinity: Affinity::default(),
            timeout: Duration::from_secs(30),
            max_timeout: None,
            start_timeout: None,
            max_connections: 50,
            max_queued: 1000,
            sharing: Sharing::Auto,
            era: EraWish::Auto,
            cache_scope: CacheScope::Auto,
            credentials: CredentialsOf::Server,
            drift: Drift::Report,
            trusted: false,
            ca_file: None,
            headers: BTreeMap::new(),
            secrets: Vec::new(),
            access: Vec::new(),
        }
    }
}

impl Configuration {
    /// Whether an answer of the server may be given to others than its caller, if the server says so. `credentials`: whether
    /// some are set for it.
    pub fn may_be_public(&self, credentials: bool) -> bool {
        match self.cache_scope {
            CacheScope::Auto => self.headers.is_empty() && !credentials && self.credentials.is_shared(),
            CacheScope::Declared => true,
            CacheScope::Private => false,
        }
    }
}

/// One registered server, as the registry keeps it.
///
/// ```
/// use std::sync::Arc;
/// use mcp_registry_gateway::{Caller, Gateway, Registration, Server};
///
/// # #[tokio::main]
/// # async fn main() -> mcp_registry_gateway::Result<()> {
/// let gateway = Gateway::builder().open().await?;
/// let registration = Registration { weight: Some(2), ..Registration::at("docs-1", "http://127.0.0.1:9000/mcp") };
/// let server: Arc<Server> = gateway.register(&Caller::local(), registration).await?;
/// assert_eq!((server.service.as_str(), server.weight, server.revision), ("docs-1", 2, 1));
/// # gateway.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// Its identifier.
    pub id: ServerId,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// Unique within the tenant among the living.
    pub name: String,
    /// The service that it is a replica of.
    pub service: ServiceName,
    /// Where it is.
    #[serde(flatten)]
    pub endpoint: ServerEndpoint,
    /// How it is reached.
    pub transport_type: TransportType,
    /// Its own version, as declared.
    pub version: Option<String>,
    /// For people.
    pub display_name: Option<String>,
    /// For people and for search.
    pub description: Option<String>,
    /// For search and filters.
    pub tags: Vec<String>,
    /// Its share under `weighted` and `consistent_hash`; 0 is drained under every algorithm.
    pub weight: u32,
    /// Whether the gateway asks it for its listing.
    pub auto_discover: bool,
    /// How it is probed.
    pub health_check: HealthCheck,
    /// How it is called.
    pub configuration: Configuration,
    /// The state that the operator sets.
    pub status: Status,
    /// The observed health.
    pub health_status: HealthStatus,
    /// When it was last probed.
    pub last_health_check: Option<Timestamp>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts changes of this record, from 1; the base of its `ETag`.
    pub revision: u64,
}

/// Durations as seconds, with fractions, above zero.
pub mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes seconds.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(duration.as_secs_f64())
    }

    /// Reads seconds.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let value = f64::deserialize(deserializer)?;
        if !(0.001..=86_400.0).contains(&value) {
            return Err(D::Error::custom("expected seconds from 0.001 to 86400"));
        }
        Ok(Duration::from_secs_f64(value))
    }

    /// The same for a duration that may be missing.
    pub mod optional {
        use std::time::Duration;

        use serde::{Deserialize, Deserializer, Serializer};

        #[derive(Deserialize)]
        struct Seconds(#[serde(with = "super")] Duration);

        /// Writes seconds, or `null`.
        pub fn serialize<S: Serializer>(
            duration: &Option<Duration>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match duration {
                Some(duration) => super::serialize(duration, serializer),
                None => serializer.serialize_none(),
            }
        }

        /// Reads seconds, or `null`.
        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
            Ok(Option::<Seconds>::deserialize(deserializer)?.map(|Seconds(duration)| duration))
        }
    }
}
