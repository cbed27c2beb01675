//! The one place where a configuration, a store and the rest become a gateway.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::balance::CustomBalancer;
use crate::builtin;
use crate::clock::{Clock, SystemClock};
use crate::cluster::Cluster;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{Gateway, Settings};
use crate::model::{Registration, ServiceName, TenantId};
use crate::observe::Observer;
#[cfg(feature = "sqlite")]
use crate::store::SqliteStore;
use crate::store::presence::{Holder, Presence};
use crate::store::{DataLoss, MemoryStore, Store, StoreLocation};
use crate::transport::ConnectorFactory;

/// The keeper of the register.
#[derive(Debug)]
pub enum Keeping<'a> {
    /// Nothing but this process's memory.
    Memory,
    /// The store at this location, claimed for the holder. A SQLite database is made where it is missing, with its files of keys
    /// and the local token beside it, and no other gateway opens it.
    At(&'a StoreLocation, Holder<'a>),
    /// A store of the program's own.
    Own(Arc<dyn Store>),
}

/// The parts of a gateway.
#[derive(Debug)]
pub struct Assembly<'a> {
    /// The configuration; its own servers are not registered here.
    pub config: &'a Config,
    /// The keeper of the register.
    pub keeping: Keeping<'a>,
    /// The operator's own servers, which may be anywhere: known before the first probe of servers that were registered earlier.
    pub trusted: &'a [Registration],
    /// Algorithms of the program's own, by service.
    pub balancers: BTreeMap<ServiceName, CustomBalancer>,
    /// Factories of connectors of the program's own, by URL scheme.
    pub connectors: BTreeMap<String, ConnectorFactory>,
    /// Observers of the program's own.
    pub observers: Vec<Arc<dyn Observer>>,
    /// `None`: the system's clock.
    pub clock: Option<Arc<dyn Clock>>,
    /// The replicas that the gateway is one of; `None`: it is alone.
    pub cluster: Option<Cluster>,
    /// The treatment of a database that lacks acknowledged changes.
    pub loss: DataLoss,
}

impl<'a> Assembly<'a> {
    /// As `config` says, kept in memory.
    pub fn of(config: &'a Config) -> Self {
        Self {
            config,
            keeping: Keeping::Memory,
            trusted: &[],
            balancers: BTreeMap::new(),
            connectors: BTreeMap::new(),
            observers: Vec::new(),
            clock: None,
            cluster: None,
            loss: DataLoss::Refuse,
        }
    }

    /// Opens the gateway. Must be called within a tokio runtime.
    ///
    /// Errors: [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) where another gateway has the database,
    /// [`ErrorKind::Storage`](crate::ErrorKind::Storage), and [`ErrorKind::InvalidParams`](crate::ErrorKind::InvalidParams) for a
    /// key that is none.
    pub async fn open(self) -> Result<Gateway> {
        let (gateway, presence) = self.open_apart().await?;
        if let Some(presence) = presence {
            gateway.keep(presence);
        }
        Ok(gateway)
    }

    /// The same, with the claim on its database, which must live as long.
    pub(super) async fn open_apart(self) -> Result<(Gateway, Option<Presence>)> {
        let Self { config, keeping, trusted, balancers, connectors, observers, clock, cluster, loss } = self;
        let settings = Settings { cluster, connectors, observers, balancers, ..builtin::settings(config) };
        settings.guard.trust_declared(&TenantId::default_tenant(), trusted);
        let keyed = config.credentials.key.is_some() || config.credentials.key_file.is_some();
        let (store, settings, presence) = match keeping {
            Keeping::Memory | Keeping::At(StoreLocation::Memory, _) => {
                let store = Arc::new(MemoryStore::new()) as Arc<dyn Store>;
                let settings = if keyed {
                    settings.sealed(config, Path::new(""))?
                } else {
                    settings.sealed_for_now()?
                };
                (store, settings, None)
            }
            Keeping::Own(store) => {
                (store, if keyed { settings.sealed(config, Path::new(""))? } else { settings }, None)
            }
            Keeping::At(StoreLocation::Url(_), _) => return Err(no_store_for_urls()),
            Keeping::At(location @ StoreLocation::File(file), holder) => {
                let store = database(file, loss).await?;
                let presence = Presence::claim(location, holder).await?;
                let settings = settings.sealed(config, file)?;
                // A command has no requests but its user's.
                let settings = match holder {
                    Holder::Command => settings,
                    Holder::Served(_) | Holder::Embedded(_) => settings.with_local_token(file)?,
                };
                (store, settings, Some(presence))
            }
        };
        let clock = clock.unwrap_or_else(SystemClock::shared);
        Ok((Gateway::open(settings, store, clock).await?, presence))
    }
}

/// Why nothing is kept at a URL.
pub(super) fn no_store_for_urls() -> Error {
    let message = "this build has no store for a database server; expected `sqlite:PATH` or `memory:`";
    Error::new(ErrorKind::InvalidParams, message).with("field", "url")
}

#[cfg(feature = "sqlite")]
async fn database(file: &Path, loss: DataLoss) -> Result<Arc<dyn Store>> {
    Ok(Arc::new(SqliteStore::open_with(file, loss).await?))
}

#[cfg(not(feature = "sqlite"))]
#[expect(clippy::unused_async, reason = "opening a database waits, where there is one")]
async fn database(file: &Path, _: DataLoss) -> Result<Arc<dyn Store>> {
    let message = "this build keeps everything in memory; build with the feature `sqlite`";
    Err(Error::new(ErrorKind::InvalidParams, message).with("database", file.display()))
}
