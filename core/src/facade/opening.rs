//! The document that a gateway is opened with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::House;
use crate::clock::SystemClock;
use crate::config::{self, Config, Sources};
use crate::document;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{Gateway, Settings};
use crate::model::Registration;
use crate::own;
use crate::registry::import;
#[cfg(feature = "sqlite")]
use crate::store::SqliteStore;
#[cfg(feature = "sqlite")]
use crate::store::presence::{Holder, Presence};
use crate::store::{MemoryStore, Store};

/// Threads that a gateway in a host program works on at most, unless its configuration says how many.
const WORKERS: usize = 4;

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct Document {
    config: Option<Value>,
    url: Option<String>,
    data_dir: Option<PathBuf>,
    servers: Option<Value>,
}

/// A gateway that is about to be opened: everything that can be wrong without asking anybody was looked at.
pub(super) struct Opening {
    config: Config,
    servers: Vec<Registration>,
    database: Option<PathBuf>,
}

impl Opening {
    pub(super) fn read(document: &[u8]) -> Result<Self> {
        let document = if document.is_empty() { b"{}" } else { document };
        let document: Document = document::read(document, "the document that opens the gateway")?;
        let (file, inline) = match document.config {
            None => (None, None),
            Some(Value::String(path)) => (Some(PathBuf::from(path)), None),
            Some(config) => (None, Some(config)),
        };
        let config = config::load(&Sources::embedded(file.as_deref(), inline)?)?;
        let folder = document.data_dir.or_else(|| file?.parent().map(Path::to_owned)).unwrap_or_default();
        let database = match document.url.as_deref() {
            Some(url) => database_of(url)?,
            None => config.store.path.clone(),
        };
        let declared = config.declared()?;
        for note in declared.notes {
            tracing::warn!("{note}");
        }
        let mut servers = declared.registrations;
        servers.extend(document.servers.map(|given| servers_of(&given)).transpose()?.unwrap_or_default());
        Ok(Self { config, servers, database: database.map(|path| folder.join(path)) })
    }

    /// The runtime that the gateway is to run on.
    pub(super) fn runtime(&self) -> Result<Runtime> {
        let machine = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = match self.config.server.workers {
            0 => machine.min(WORKERS),
            wanted => wanted,
        };
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name("mcp-gateway")
            .enable_all()
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Internal, "the threads of the gateway cannot be started")
                    .caused_by(error)
            })
    }

    /// Opens the gateway, on the runtime that this runs on.
    pub(super) async fn open(self) -> Result<House> {
        let caller = House::own_caller();
        let settings = own::settings(&self.config);
        settings.guard.trust_declared(&caller.principal.tenant, &self.servers);
        #[cfg(feature = "sqlite")]
        let (store, settings, presence) = self.kept(settings).await?;
        #[cfg(not(feature = "sqlite"))]
        let store = self.kept()?;
        let gateway = Gateway::open(settings, store, SystemClock::shared()).await?;
        if let Err(error) = gateway.declare(&caller, &self.servers).await {
            gateway.shutdown(std::time::Duration::ZERO).await;
            return Err(error);
        }
        Ok(House {
            grace: self.config.server.grace,
            #[cfg(feature = "server")]
            surface: crate::server::service(gateway.clone(), self.config.server, gateway.clock().clone()),
            gateway,
            caller,
            #[cfg(feature = "sqlite")]
            _presence: presence,
        })
    }

    /// What keeps the register, and with it what is kept beside the database.
    #[cfg(feature = "sqlite")]
    async fn kept(&self, settings: Settings) -> Result<(Arc<dyn Store>, Settings, Option<Presence>)> {
        let Some(database) = &self.database else {
            return Ok((Arc::new(MemoryStore::new()), settings, None));
        };
        let store = SqliteStore::open(database).await?;
        let presence = Presence::claim(database, Holder::Embedded(std::process::id())).await?;
        Ok((Arc::new(store), settings.sealed(&self.config, database)?, Some(presence)))
    }

    #[cfg(not(feature = "sqlite"))]
    fn kept(&self) -> Result<Arc<dyn Store>> {
        let Some(database) = &self.database else { return Ok(Arc::new(MemoryStore::new())) };
        let message = "this build keeps everything in memory; build with the feature `sqlite`";
        Err(Error::new(ErrorKind::InvalidParams, message).with("database", database.display()))
    }
}

/// The file that `url` names; `None` for memory.
fn database_of(url: &str) -> Result<Option<PathBuf>> {
    match url.split_once(':') {
        Some(("memory", "")) => Ok(None),
        Some(("sqlite", path)) => match path.strip_prefix("//").unwrap_or(path) {
            ":memory:" => Ok(None),
            "" => Err(bad_url("it names no file")),
            path => Ok(Some(path.into())),
        },
        _ => Err(bad_url("expected `sqlite:PATH` or `memory:`")),
    }
}

fn bad_url(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidParams, what).with("field", "url")
}

/// A list of registrations, or what desktop clients write.
fn servers_of(given: &Value) -> Result<Vec<Registration>> {
    let field = |error: Error| error.with("in", "servers");
    if given.is_array() {
        return document::read(given.to_string().as_bytes(), "`servers`").map_err(field);
    }
    let import = import::mcp_servers(&given.to_string()).map_err(field)?;
    for note in import.notes {
        tracing::warn!("{note}");
    }
    Ok(import.registrations)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(document: &str) -> Error {
        Opening::read(document.as_bytes()).err().unwrap()
    }

    #[test]
    fn without_anything_it_is_all_in_memory() {
        for document in ["", "{}", r#"{"url":"memory:"}"#, r#"{"url":"sqlite::memory:"}"#] {
            assert!(Opening::read(document.as_bytes()).unwrap().database.is_none(), "{document}");
        }
    }

    #[test]
    fn paths_lead_from_the_folder_that_is_said() {
        let at = |document: &str| Opening::read(document.as_bytes()).unwrap().database.unwrap();
        assert_eq!(at(r#"{"url":"sqlite:///a/b.db"}"#), Path::new("/a/b.db"));
        assert_eq!(at(r#"{"url":"sqlite:b.db","data_dir":"/a"}"#), Path::new("/a/b.db"));
        assert_eq!(at(r#"{"config":{"store":{"path":"c.db"}},"data_dir":"/a"}"#), Path::new("/a/c.db"));
    }

    #[test]
    fn servers_are_a_list_or_what_desktop_clients_write() {
        let names = |servers: &str| {
            let document = format!(r#"{{"servers":{servers}}}"#);
            let opening = Opening::read(document.as_bytes()).unwrap();
            opening.servers.into_iter().map(|server| server.name).collect::<Vec<_>>()
        };
        assert_eq!(names(r#"[{"name":"a","endpoint_url":"http://127.0.0.1:1/"}]"#), ["a"]);
        assert_eq!(names(r#"{"mcpServers":{"b":{"command":"x"}}}"#), ["b"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let misspelt = wrong(r#"{"confg":1}"#);
        assert!(misspelt.kind() == ErrorKind::InvalidParams && misspelt.message().contains("confg"));
        assert!(wrong(r#"{"config":{"breaker":{"probes":0},"x":1}}"#).message().contains("2 problems"));
        assert_eq!(wrong(r#"{"url":"postgres://x"}"#).context(), [("field", "url".to_owned())]);
        assert_eq!(wrong("{").kind(), ErrorKind::Parse);
    }
}
