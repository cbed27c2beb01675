//! From a program's settings to an open gateway; the facade and the `mcp-gateway` program assemble theirs here, too.

mod assembly;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

pub use self::assembly::{Assembly, Keeping};
use crate::balance::{Balancer, CustomBalancer, Entry};
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::config::{self, Config, Sources};
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{Caller, Gateway};
use crate::model::{Registration, Server, ServiceName};
use crate::observe::Observer;
use crate::registry::{SCHEMES, import};
use crate::store::presence::{Holder, Presence};
use crate::store::{DataLoss, Store, StoreLocation};
use crate::transport::{Connector, ConnectorFactory};

/// Collects the parts of a gateway in this process. Without any it keeps all in memory and knows no servers.
///
/// Neither the environment nor a file that is not named is read, so that two gateways in one process have nothing in common.
///
/// ```
/// use mcp_registry_gateway::{Caller, Gateway, Registration, Result};
///
/// #[tokio::main]
/// async fn main() -> Result<()> {
///     let gateway = Gateway::builder()
///         .config_toml("[upstream]\nlist_budget_seconds = 1")
///         .url("memory:")                          // "sqlite:gateway.db" keeps what is registered
///         .server(Registration::at("docs", "http://127.0.0.1:9000/mcp"))
///         .open()
///         .await?;
///     assert_eq!(gateway.named(&Caller::local(), "docs")?.name, "docs");
///     gateway.close().await;
///     Ok(())
/// }
/// ```
#[derive(Debug, Default)]
#[must_use = "nothing is opened before `open`"]
pub struct GatewayBuilder {
    config: Said,
    data_dir: Option<PathBuf>,
    url: Option<String>,
    store: Option<Arc<dyn Store>>,
    servers: Vec<Registration>,
    balancers: Vec<(String, CustomBalancer)>,
    connectors: Vec<(String, ConnectorFactory)>,
    observers: Vec<Arc<dyn Observer>>,
    clock: Option<Arc<dyn Clock>>,
    cluster: Option<Cluster>,
    loss: DataLoss,
}

/// Where the configuration is.
#[derive(Debug, Default)]
enum Said {
    #[default]
    Nothing,
    File(PathBuf),
    Toml(String),
    Json(Value),
    Whole(Box<Config>),
}

impl Gateway {
    /// Begins the description of a gateway in this process.
    pub fn builder() -> GatewayBuilder {
        GatewayBuilder::default()
    }
}

impl GatewayBuilder {
    /// Takes the configuration from a file, in the form of `mcp-gateway.toml`. Its folder is where relative paths lead.
    pub fn config_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.config = Said::File(path.into());
        self
    }

    /// Takes the configuration from a text, in the form of `mcp-gateway.toml`.
    pub fn config_toml(mut self, text: impl Into<String>) -> Self {
        self.config = Said::Toml(text.into());
        self
    }

    /// Takes the configuration from JSON under the same keys.
    pub fn config_json(mut self, value: Value) -> Self {
        self.config = Said::Json(value);
        self
    }

    /// Takes a configuration that the program made.
    pub fn config(mut self, config: Config) -> Self {
        self.config = Said::Whole(Box::new(config));
        self
    }

    /// Where relative paths lead; else the folder of the configuration file, or the working directory.
    pub fn data_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(folder.into());
        self
    }

    /// The store, `sqlite:PATH` or `memory:`; else the one that the configuration names by `store.path`, or
    /// memory.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// Keeps the register in a store of the program's own. Credentials for servers can be set if `credentials.key` or
    /// `credentials.key_file` is configured.
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Registers a server at the start, or changes it if it is registered and differs.
    pub fn server(mut self, server: Registration) -> Self {
        self.servers.push(server);
        self
    }

    /// The same for each of these.
    pub fn servers(mut self, servers: impl IntoIterator<Item = Registration>) -> Self {
        self.servers.extend(servers);
        self
    }

    /// The same for the servers of a document with `mcpServers`, as desktop clients write it, or in another format that
    /// [`import::read`] knows. An entry that cannot be used is logged and costs itself alone. Placeholders such as `${VAR}` stay as
    /// they are: they are replaced only in a file that the configuration names by `import`.
    ///
    /// [`ErrorKind::InvalidParams`] if it is none.
    pub fn mcp_servers(self, document: &str) -> Result<Self> {
        let import = import::mcp_servers(document)?;
        import.tell();
        Ok(self.servers(import.registrations))
    }

    /// Balances the service of this name, of any tenant, by an algorithm of the program's own, whatever
    /// `configuration.algorithm` says. `make` makes a [`Balancer`] for each set of candidates; see [`CustomBalancer::new`]. An
    /// [`BalanceRequest`](crate::balance::BalanceRequest) has a key where `configuration.algorithm` is `consistent_hash`.
    pub fn balancer(
        mut self,
        service: impl Into<String>,
        make: impl Fn(Arc<[Entry]>) -> Box<dyn Balancer> + Send + Sync + 'static,
    ) -> Self {
        self.balancers.push((service.into(), CustomBalancer::new(make)));
        self
    }

    /// Reaches servers whose URL has this scheme by connectors of the program's own: those of the transport
    /// [`TransportType::Custom`](crate::model::TransportType::Custom). `make` makes the [`Connector`] of one server; see
    /// [`ConnectorFactory::new`]. A user with the right to register servers can name any URL of the scheme, so that the connector
    /// judges where it leads.
    pub fn connector(
        mut self,
        scheme: impl Into<String>,
        make: impl Fn(&Server) -> Result<Arc<dyn Connector>> + Send + Sync + 'static,
    ) -> Self {
        self.connectors.push((scheme.into(), ConnectorFactory::new(make)));
        self
    }

    /// Tells an observer of the program's own of each call as it happens; see [`Observer`].
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observers.push(observer);
        self
    }

    /// Goes by another clock than the system's: decisions by time follow it, while connections wait in real time.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Makes the gateway one of the replicas of `cluster`; else it is alone, as [`Cluster::local`].
    pub fn cluster(mut self, cluster: Cluster) -> Self {
        self.cluster = Some(cluster);
        self
    }

    /// What to do with a SQLite database that lacks what was acknowledged; else it is refused. To accept the loss is a decision for one
    /// start, after the error that says what is missing.
    pub fn data_loss(mut self, loss: DataLoss) -> Self {
        self.loss = loss;
        self
    }

    /// Opens the gateway, and begins to probe and to discover. Must be called within a tokio runtime, on which it runs.
    ///
    /// Errors: [`ErrorKind::InvalidParams`] with all mistakes in the settings, [`ErrorKind::Conflict`] where
    /// another gateway has the database, [`ErrorKind::Storage`].
    pub async fn open(self) -> Result<Gateway> {
        let (gateway, presence) = self.prepare()?.open().await?;
        if let Some(presence) = presence {
            gateway.keep(presence);
        }
        Ok(gateway)
    }

    /// Looks at everything that can be wrong without asking anybody.
    pub(crate) fn prepare(self) -> Result<Prepared> {
        let folder = self.data_dir.or_else(|| self.config.folder()).unwrap_or_default();
        let config = self.config.load()?;
        let declared = config.declared()?;
        declared.tell();
        let said = match (self.url.as_deref(), &config.store.path) {
            (Some(url), _) => Some(StoreLocation::parse(url)?),
            (None, path) => path.clone().map(StoreLocation::File),
        };
        if self.store.is_some() && said.is_some() {
            let message = "a store of the program's own and a database are two places; say one of them";
            return Err(Error::new(ErrorKind::InvalidParams, message).with("field", "store"));
        }
        if let Some(StoreLocation::Url(_)) = said {
            return Err(assembly::no_store_for_urls());
        }
        Ok(Prepared {
            servers: declared.registrations.into_iter().chain(self.servers).collect(),
            config,
            location: said.unwrap_or(StoreLocation::Memory).within(&folder),
            store: self.store,
            balancers: self.balancers.into_iter().map(balanced).collect::<Result<_>>()?,
            connectors: self.connectors.into_iter().map(reached).collect::<Result<_>>()?,
            observers: self.observers,
            clock: self.clock,
            cluster: self.cluster,
            loss: self.loss,
        })
    }
}

impl Said {
    /// Where relative paths lead.
    fn folder(&self) -> Option<PathBuf> {
        match self {
            Self::File(path) => path.parent().map(Path::to_owned),
            Self::Nothing | Self::Toml(_) | Self::Json(_) | Self::Whole(_) => None,
        }
    }

    fn load(self) -> Result<Config> {
        let sources = match self {
            Self::Nothing => Sources::default(),
            Self::File(path) => Sources::embedded(Some(&path), None)?,
            Self::Toml(text) => {
                Sources { file: Some((config::CONFIG_FILE.into(), text)), ..Sources::default() }
            }
            Self::Json(value) => Sources::embedded(None, Some(value))?,
            Self::Whole(config) => {
                config.check()?;
                return Ok(*config);
            }
        };
        Ok(config::load(&sources)?)
    }
}

/// A gateway that is about to be opened.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) config: Config,
    pub(crate) servers: Vec<Registration>,
    pub(crate) location: StoreLocation,
    store: Option<Arc<dyn Store>>,
    balancers: BTreeMap<ServiceName, CustomBalancer>,
    connectors: BTreeMap<String, ConnectorFactory>,
    observers: Vec<Arc<dyn Observer>>,
    clock: Option<Arc<dyn Clock>>,
    cluster: Option<Cluster>,
    loss: DataLoss,
}

impl Prepared {
    /// Opens the gateway with its servers, and returns the claim on its database, which must live as long.
    pub(crate) async fn open(self) -> Result<(Gateway, Option<Presence>)> {
        let keeping = match self.store {
            Some(store) => Keeping::Own(store),
            None => Keeping::At(&self.location, Holder::Embedded(std::process::id())),
        };
        let assembly = Assembly {
            keeping,
            trusted: &self.servers,
            balancers: self.balancers,
            connectors: self.connectors,
            observers: self.observers,
            clock: self.clock,
            cluster: self.cluster,
            loss: self.loss,
            ..Assembly::of(&self.config)
        };
        let (gateway, presence) = assembly.open_apart().await?;
        if let Err(error) = gateway.declare(&Caller::local(), &self.servers).await {
            gateway.shutdown(std::time::Duration::ZERO).await;
            return Err(error);
        }
        Ok((gateway, presence))
    }
}

fn balanced((service, maker): (String, CustomBalancer)) -> Result<(ServiceName, CustomBalancer)> {
    let name = ServiceName::new(&service).map_err(|error| error.with("field", "balancer"))?;
    Ok((name, maker))
}

fn reached((scheme, factory): (String, ConnectorFactory)) -> Result<(String, ConnectorFactory)> {
    let is_scheme = url::Url::parse(&format!("{scheme}:x")).is_ok_and(|url| url.scheme() == scheme);
    if is_scheme && !SCHEMES.contains(&scheme.as_str()) {
        return Ok((scheme, factory));
    }
    let message =
        "a connector is brought for a URL scheme in lower case that the gateway does not reach by itself";
    Err(Error::new(ErrorKind::InvalidParams, message).with("field", "connector").with("scheme", scheme))
}
