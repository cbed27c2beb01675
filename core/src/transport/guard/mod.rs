//! Judges connections and programs: one guard for every URL and command that anybody can set.
//!
//! A user who registers a server, or names a key set, chooses the addresses that this machine connects to. While the gateway
//! serves its own machine alone and knows no users, that is the user's own business. As soon as it is shared, [`Stance::Guarded`]
//! holds: only machines of the internet, and the entries of `[outbound]`. An endpoint that the operator's own configuration names
//! is the operator's choice, as long as it is named there; so is one that the embedding program registers itself. Addresses that return a cloud machine's credentials are nobody's
//! choice.
//!
//! A URL is judged twice: as it is written when it is set ([`Watch::check_url`]), and by the addresses that its name has
//! when a connection is opened ([`Watch::resolve`]). The addresses that were judged are the ones that are connected to, so
//! that a name server cannot answer differently in between; each new connection is judged anew.

mod class;
mod command;
mod outbound;
mod pattern;
mod program;
mod refusal;
mod resolve;
mod runner;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use url::{Host, Url};

use self::class::Class;
pub use self::command::{Folder, Stdio, Variable};
pub use self::outbound::{Allowed, Outbound};
pub use self::program::Program;
use self::refusal::Refusal;
pub use self::resolve::{Resolve, System};
use super::in_process;
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::model::{Registration, Server, ServerEndpoint, TenantId};

/// Names that lead to a cloud machine's credentials wherever they resolve.
const METADATA_NAMES: [&str; 6] = [
    "metadata.google.internal",
    "metadata.goog",
    "metadata.azure.internal",
    "metadata.tencentyun.com",
    "instance-data",
    "instance-data.ec2.internal",
];

/// Ports of services that can be made to act by bytes that look like HTTP to the sender: the "bad ports" of the Fetch standard
/// (<https://fetch.spec.whatwg.org/#port-blocking>), and databases that take commands line by line.
const OTHER_SERVICES: [u16; 86] = [
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103,
    104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514,
    515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723,
    2049, 3659, 4045, 4190, 5060, 5061, 6000, 6379, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
    11211, 25565,
];

/// Addresses of one name that are tried at most: each that does not answer takes its time.
const MOST_ADDRESSES: usize = 16;

/// How much is let through without being listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stance {
    /// Everything but cloud metadata: the gateway serves its own machine and knows no users.
    #[default]
    Open,
    /// Machines of the internet.
    Guarded,
}

/// The guard of one gateway. Clones share it.
#[derive(Clone)]
pub struct Guard(Arc<GuardCore>);

struct GuardCore {
    stance: Stance,
    outbound: Outbound,
    stdio: Stdio,
    resolver: Arc<dyn Resolve>,
    /// The servers that the operator's own configuration names, and where it says that they are.
    named: ArcSwap<HashMap<(TenantId, String), ServerEndpoint>>,
    /// Those that the embedding program registered by its own code since it started.
    vouched: ArcSwap<HashMap<(TenantId, String), ServerEndpoint>>,
    /// Schemes of URLs that connectors of the embedding program's own read.
    custom: ArcSwap<BTreeSet<String>>,
}

/// The guard as it judges the choices of one party. Cheap to clone.
#[derive(Clone)]
pub struct Watch {
    guard: Guard,
    who: Chooser,
}

/// The party that chose an address.
#[derive(Clone)]
enum Chooser {
    Operator,
    Tenant(TenantId),
    /// The user who registered this server, unless the operator named it.
    Server(Arc<Registered>),
}

struct Registered {
    key: (TenantId, String),
    endpoint: ServerEndpoint,
}

impl Default for Guard {
    fn default() -> Self {
        Self::new(Stance::Open, Outbound::default(), Stdio::default())
    }
}

impl Guard {
    /// A guard that asks the operating system for addresses.
    pub fn new(stance: Stance, outbound: Outbound, stdio: Stdio) -> Self {
        Self::resolving(stance, outbound, stdio, Arc::new(System))
    }

    /// A guard that asks `resolver` for addresses.
    pub fn resolving(stance: Stance, outbound: Outbound, stdio: Stdio, resolver: Arc<dyn Resolve>) -> Self {
        Self(Arc::new(GuardCore {
            stance,
            outbound,
            stdio,
            resolver,
            named: ArcSwap::default(),
            vouched: ArcSwap::default(),
            custom: ArcSwap::default(),
        }))
    }

    /// How much is let through without being listed.
    pub fn stance(&self) -> Stance {
        self.0.stance
    }

    /// Trusts the servers that the operator's own configuration names, by tenant and name, instead of those before. One that
    /// anybody points elsewhere is not trusted any more.
    pub fn trust(&self, servers: impl IntoIterator<Item = (TenantId, String, ServerEndpoint)>) {
        let named = servers.into_iter().map(|(tenant, name, endpoint)| ((tenant, name), endpoint)).collect();
        self.0.named.store(Arc::new(named));
    }

    /// As [`Guard::trust`], by registrations that the operator wrote down.
    pub fn trust_declared(&self, tenant: &TenantId, servers: &[Registration]) {
        let named = |server: &Registration| Some((tenant.clone(), server.name.clone(), server.endpoint()?));
        self.trust(servers.iter().filter_map(named));
    }

    /// Trusts a server that the embedding program names by its own code, as one of the operator's configuration, for as long as the
    /// gateway is open; `None` takes that back. Returns the endpoint that was trusted under this name before.
    pub fn vouch(
        &self,
        tenant: &TenantId,
        name: &str,
        endpoint: Option<&ServerEndpoint>,
    ) -> Option<ServerEndpoint> {
        let key = (tenant.clone(), name.to_owned());
        let before = self.0.vouched.rcu(|vouched| {
            let mut vouched = HashMap::clone(vouched);
            match endpoint {
                Some(endpoint) => vouched.insert(key.clone(), endpoint.clone()),
                None => vouched.remove(&key),
            };
            vouched
        });
        before.get(&key).cloned()
    }

    /// Leaves URLs of these schemes to the program that embeds the gateway: its own connectors reach them, and judge where they lead.
    pub fn leave_to_program(&self, schemes: impl IntoIterator<Item = String>) {
        self.0.custom.store(Arc::new(schemes.into_iter().collect()));
    }

    /// Whether the file at `path` stands in the folder that `[outbound] ca_folder` names, symbolic links followed.
    pub async fn lends_authorities(&self, path: &str) -> bool {
        let Some(folder) = self.0.outbound.ca_folder.clone() else { return false };
        let path = PathBuf::from(path);
        files::in_time(move || folder.holds(&path)).await.unwrap_or(false)
    }

    /// For endpoints that the operator's own configuration names.
    pub fn for_operator(&self) -> Watch {
        Watch { guard: self.clone(), who: Chooser::Operator }
    }

    /// For a choice of somebody of `tenant`, or a server or issuer that is not the operator's.
    pub fn for_tenant(&self, tenant: &TenantId) -> Watch {
        Watch { guard: self.clone(), who: Chooser::Tenant(tenant.clone()) }
    }

    /// For connections to a registered server.
    pub fn for_server(&self, server: &Server) -> Watch {
        let key = (server.tenant_id.clone(), server.name.clone());
        let endpoint = server.endpoint.clone();
        Watch { guard: self.clone(), who: Chooser::Server(Arc::new(Registered { key, endpoint })) }
    }
}

impl Watch {
    /// Judges a URL as it is written; no name is resolved.
    ///
    /// [`ErrorKind::PermissionDenied`], with the rule and the setting that would allow it.
    pub fn check_url(&self, url: &Url) -> Result<()> {
        self.judge_url(url).map_err(|refusal| refusal.into_error(ErrorKind::PermissionDenied))
    }

    /// Judges a server's endpoint: its URL as it is written, or the command that starts it.
    ///
    /// [`ErrorKind::PermissionDenied`], with the rule and the setting that would allow it.
    pub fn check_endpoint(&self, endpoint: &ServerEndpoint) -> Result<()> {
        match endpoint {
            ServerEndpoint::Url { endpoint_url } => match Url::parse(endpoint_url) {
                // It stays in this process.
                Ok(url) if url.scheme() == in_process::SCHEME => Ok(()),
                Ok(url) if self.guard.0.custom.load().contains(url.scheme()) => Ok(()),
                Ok(url) => self.check_url(&url),
                Err(error) => {
                    Err(Error::new(ErrorKind::PermissionDenied, "this is not a valid URL").caused_by(error))
                }
            },
            ServerEndpoint::Command { command, args, env, cwd } => {
                let judged = self.judge_command(command, args, env, cwd.as_deref());
                judged.map_err(|refusal| refusal.into_error(ErrorKind::PermissionDenied))
            }
        }
    }

    /// Judges a command that is about to be run. [`ErrorKind::Unavailable`], not sent, with the rule and the setting that
    /// would allow it.
    pub fn check_start(&self, endpoint: &ServerEndpoint) -> Result<()> {
        let ServerEndpoint::Command { command, args, env, cwd } = endpoint else { return Ok(()) };
        let judged = self.judge_command(command, args, env, cwd.as_deref());
        judged.map_err(|refusal| refusal.into_error(ErrorKind::Unavailable).not_sent())
    }

    /// The addresses of `host`, a name or an address, in the order in which they are to be tried; at least one. All of them
    /// were judged, and no others may be connected to.
    ///
    /// [`ErrorKind::BadUpstream`], not sent, if the name has none, or one that may not be connected to.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>> {
        let refused = |refusal: Refusal| refusal.into_error(ErrorKind::BadUpstream).not_sent();
        self.judge_port(port).map_err(refused)?;
        if let Ok(address) = host.parse::<IpAddr>() {
            self.judge_address(address, None).map_err(refused)?;
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        self.judge_name(host).map_err(refused)?;
        let unknown = |message: &'static str| {
            Error::new(ErrorKind::BadUpstream, message).with("host", host).with("port", port).not_sent()
        };
        let found = self.guard.0.resolver.resolve(host, port).await;
        let found =
            found.map_err(|error| unknown("the server's host name cannot be resolved").caused_by(error))?;
        if found.is_empty() {
            return Err(unknown("the server's host name has no address"));
        }
        // Of the answer only the addresses count.
        let found: Vec<_> = found.iter().map(|found| SocketAddr::new(found.ip(), port)).collect();
        // One bad address spoils all: a name that leads inside and outside is there to be taken for the one and used as the other.
        for address in &found {
            if let Err(refusal) = self.judge_address(address.ip(), Some(host)) {
                // The user who registered the name need not learn the answers of this machine's name servers.
                tracing::warn!(%host, %address, "a name leads to an address that may not be connected to");
                return Err(refused(refusal));
            }
        }
        Ok(found.into_iter().take(MOST_ADDRESSES).collect())
    }

    /// Whether the operator's own configuration, or the code of the embedding program, names the watched endpoint.
    pub fn is_operators(&self) -> bool {
        match &self.who {
            Chooser::Operator => true,
            Chooser::Tenant(_) => false,
            Chooser::Server(server) => [&self.guard.0.named, &self.guard.0.vouched]
                .iter()
                .any(|trusted| trusted.load().get(&server.key) == Some(&server.endpoint)),
        }
    }

    fn judge_url(&self, url: &Url) -> Result<(), Refusal> {
        if !matches!(url.scheme(), "http" | "https" | "ws" | "wss") {
            return Err(Refusal::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::UserInfo);
        }
        self.judge_port(url.port_or_known_default().unwrap_or(0))?;
        match url.host() {
            None | Some(Host::Domain("")) => Err(Refusal::NoHost),
            Some(Host::Ipv4(address)) => self.judge_address(address.into(), None),
            Some(Host::Ipv6(address)) => self.judge_address(address.into(), None),
            Some(Host::Domain(name)) => self.judge_name(name),
        }
    }

    fn judge_command(
        &self,
        command: &str,
        args: &[String],
        env: &BTreeMap<String, String>,
        cwd: Option<&str>,
    ) -> Result<(), Refusal> {
        if self.lets_all() { Ok(()) } else { self.guard.0.stdio.judge(command, args, env, cwd) }
    }

    fn judge_port(&self, port: u16) -> Result<(), Refusal> {
        let blocked = !self.lets_all() && OTHER_SERVICES.contains(&port);
        if blocked && !self.guard.0.outbound.ports.contains(&port) {
            Err(Refusal::Port(port))
        } else {
            Ok(())
        }
    }

    /// Judges a name without asking what it resolves to.
    fn judge_name(&self, name: &str) -> Result<(), Refusal> {
        let name = bare(name);
        if METADATA_NAMES.contains(&&*name) {
            return Err(Refusal::Metadata { host: name });
        }
        let local = name == "localhost" || name.ends_with(".localhost");
        if !local || self.lets_all() || self.allowed().any(|allowed| allowed.has_name(&name)) {
            return Ok(());
        }
        // RFC 6761: this name is loopback whatever any name server says.
        self.judge_address(IpAddr::from([127, 0, 0, 1]), Some(&name))
    }

    /// Judges an address; `name` led to it, unless the address itself was written.
    fn judge_address(&self, address: IpAddr, name: Option<&str>) -> Result<(), Refusal> {
        let Some(class) = class::class(address) else { return Ok(()) };
        let host = name.map_or_else(|| address.to_string(), bare);
        if class == Class::Metadata {
            return Err(Refusal::Metadata { host });
        }
        let listed = |allowed: &Allowed| {
            allowed.has_address(address) || name.is_some_and(|name| allowed.has_name(&bare(name)))
        };
        if self.lets_all() || self.allowed().any(listed) {
            return Ok(());
        }
        Err(Refusal::Class { class, host, resolved: name.is_some() })
    }

    fn lets_all(&self) -> bool {
        self.guard.0.stance == Stance::Open || self.is_operators()
    }

    fn allowed(&self) -> impl Iterator<Item = &Allowed> {
        let outbound = &self.guard.0.outbound;
        let tenant = match &self.who {
            Chooser::Operator => None,
            Chooser::Tenant(tenant) => Some(tenant),
            Chooser::Server(server) => Some(&server.key.0),
        };
        let own = tenant.and_then(|tenant| outbound.tenants.get(tenant.as_str()));
        outbound.allow.iter().chain(own.into_iter().flatten())
    }
}

/// A name as lists have it: in lower case, without a dot at its end.
fn bare(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("stance", &self.0.stance).finish_non_exhaustive()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.guard.fmt(f)
    }
}

#[cfg(test)]
mod tests;
