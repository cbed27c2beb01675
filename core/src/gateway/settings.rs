//! The settings of the gateway's own behaviour, for operators.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::auth::{Access, Auth, Authenticator, LocalToken, Vault};
use crate::balance::CustomBalancer;
use crate::breaker;
use crate::cluster::Cluster;
use crate::config::{self, Config};
use crate::error::Result;
use crate::gateway::call::builtin::BuiltinService;
pub use crate::gateway::session::sessions::SessionSettings;
use crate::limit;
use crate::model::ServiceName;
use crate::observe::{AuditSettings, Observer};
use crate::transport::ConnectorFactory;
use crate::transport::guard::{Guard, Stance};
use crate::transport::in_process::InProcessServers;

/// Settings of one gateway; the defaults are those of `core/docs/reference/settings.md`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The authentication of callers.
    pub auth: Auth,
    /// Client sessions.
    pub sessions: SessionSettings,
    /// Circuit breakers, one for each server.
    pub breaker: breaker::Settings,
    /// How long a merged list may take; for 95 % of that it waits for servers that have not answered before.
    pub list_budget: Duration,
    /// How long `initialize` on `/mcp/{service}` waits for a server that has not answered before.
    pub introduction_budget: Duration,
    /// How long a call of a modern client waits for the answers to its server's requests.
    pub input_wait: Duration,
    /// How long a program may take from its start to its introduction, where its registration says nothing else.
    pub start_timeout: Duration,
    /// How long a call may take in all, where its server's registration says nothing else.
    pub max_timeout: Duration,
    /// How often servers are asked again for their capabilities.
    pub refresh: Duration,
    /// Whether the gateway probes servers on its own.
    pub probing: bool,
    /// The gateway's own service, `gateway`; `None`: there is none.
    pub own: Option<Arc<dyn BuiltinService>>,
    /// The limits on requests.
    pub limits: limit::Settings,
    /// The audit trail.
    pub audit: AuditSettings,
    /// The keys that credentials for servers are sealed with; without any, none can be set.
    pub vault: Option<Arc<Vault>>,
    /// The token by which processes of this machine prove that they are local; `None`: a token in memory only.
    pub local_token: Option<Arc<LocalToken>>,
    /// The access rules beyond the matrix of roles.
    pub access: Access,
    /// The authenticator of credentials; `None`: [`LocalOnly`](crate::auth::LocalOnly).
    pub authenticator: Option<Arc<dyn Authenticator>>,
    /// The guard of addresses and programs.
    pub guard: Guard,
    /// The replicas that this gateway is one of; `None`: it is alone, [`Cluster::local`].
    pub cluster: Option<Cluster>,
    /// The servers that live in this process.
    pub residents: InProcessServers,
    /// Factories of the embedding program's own connectors, by the URL scheme of the servers that they reach.
    pub connectors: BTreeMap<String, ConnectorFactory>,
    /// The embedding program's own observers.
    pub observers: Vec<Arc<dyn Observer>>,
    /// The embedding program's own algorithms, by the service that they balance, in every tenant.
    pub balancers: BTreeMap<ServiceName, CustomBalancer>,
    /// The HTTP surface, and how long calls under way may go on at the end.
    pub server: config::Server,
    /// The seed of balancing and jitter; `None`: a different one in each process.
    pub seed: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            auth: Auth::default(),
            sessions: SessionSettings::default(),
            breaker: breaker::Settings::default(),
            list_budget: Duration::from_secs(2),
            introduction_budget: Duration::from_secs(10),
            input_wait: Duration::from_secs(300),
            start_timeout: Duration::from_secs(120),
            max_timeout: Duration::from_secs(600),
            refresh: Duration::from_secs(300),
            probing: true,
            own: None,
            limits: limit::Settings::default(),
            audit: AuditSettings::default(),
            vault: None,
            local_token: None,
            access: Access::default(),
            authenticator: None,
            guard: Guard::default(),
            cluster: None,
            residents: InProcessServers::default(),
            connectors: BTreeMap::new(),
            observers: Vec::new(),
            balancers: BTreeMap::new(),
            server: config::Server::default(),
            seed: None,
        }
    }
}

impl Settings {
    /// The settings in the configuration.
    pub fn of(config: &Config) -> Self {
        let session = &config.session;
        Self {
            auth: config.auth.clone(),
            sessions: SessionSettings {
                idle: session.idle,
                longest: session.max,
                most: session.max_sessions,
                most_each: session.max_per_principal,
            },
            breaker: config.breaker.clone(),
            limits: config.limits.clone(),
            audit: config.audit.clone(),
            list_budget: config.upstream.list_budget,
            refresh: config.upstream.refresh,
            start_timeout: config.upstream.start_timeout,
            max_timeout: config.upstream.max_timeout,
            input_wait: session.input_wait,
            probing: config.health.enabled,
            access: config.access.clone(),
            server: config.server.clone(),
            guard: Guard::new(stance(config), config.outbound.clone(), config.stdio.clone()),
            ..Self::default()
        }
    }

    /// With the keys that credentials for servers are sealed with: those of the configuration, or those in a file beside
    /// `database`, which is made where it is missing.
    pub fn sealed(mut self, config: &Config, database: &Path) -> Result<Self> {
        let wanted = &config.credentials;
        let vault = if let Some(key) = &wanted.key {
            Vault::of(key.expose()).map_err(|error| error.with("setting", "credentials.key"))?
        } else {
            let folder = database.parent().unwrap_or(Path::new(""));
            Vault::open_file(
                &folder.join(wanted.key_file.as_deref().unwrap_or(Path::new("credentials.key"))),
            )?
        };
        self.vault = Some(Arc::new(vault));
        Ok(self)
    }

    /// With the local token in a file beside `database`, which is made where it is missing, if processes of this machine are
    /// let in without a credential.
    pub fn with_local_token(mut self, database: &Path) -> Result<Self> {
        if self.auth.trusts_loopback() {
            self.local_token = Some(Arc::new(LocalToken::beside(database)?));
        }
        Ok(self)
    }

    /// With a key that nobody else has and that ends with the gateway: for data that does not outlive it either.
    pub fn sealed_for_now(mut self) -> Result<Self> {
        self.vault = Some(Arc::new(Vault::of(&Vault::new_key()?)?));
        Ok(self)
    }
}

/// Whether users other than the one of this machine can set the addresses to connect to.
fn stance(config: &Config) -> Stance {
    if config.is_shared() { Stance::Guarded } else { Stance::Open }
}
