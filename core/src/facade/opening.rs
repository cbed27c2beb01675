//! The document that a gateway is opened with.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::OpenGateway;
use crate::builder::{GatewayBuilder, Prepared};
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Caller;
use crate::model::Registration;
use crate::store::DataLoss;
use crate::views;

/// Threads that a gateway in a host program works on at most, unless its configuration says how many.
const WORKERS: usize = 4;

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct OpeningDocument {
    config: Option<Value>,
    url: Option<String>,
    data_dir: Option<PathBuf>,
    servers: Option<Value>,
    accept_data_loss: bool,
}

/// A gateway that is about to be opened: everything that can be wrong without asking anybody was looked at.
pub(super) struct Opening(Prepared);

impl Opening {
    pub(super) fn read(document: &[u8]) -> Result<Self> {
        let document = if document.is_empty() { b"{}" } else { document };
        let document: OpeningDocument = views::read(document, "the document that opens the gateway")?;
        let mut builder = GatewayBuilder::default();
        builder = match document.config {
            None => builder,
            Some(Value::String(path)) => builder.config_file(path),
            Some(config) => builder.config_json(config),
        };
        if let Some(folder) = document.data_dir {
            builder = builder.data_dir(folder);
        }
        if let Some(url) = document.url {
            builder = builder.url(url);
        }
        if document.accept_data_loss {
            builder = builder.data_loss(DataLoss::Accept);
        }
        if let Some(given) = &document.servers {
            builder = servers_of(builder, given)?;
        }
        Ok(Self(builder.prepare()?))
    }

    /// The runtime that the gateway is to run on.
    pub(super) fn runtime(&self) -> Result<Runtime> {
        let machine = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = match self.0.config.server.workers {
            0 => machine.min(WORKERS),
            wanted => wanted,
        };
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name("mcp-gateway")
            .enable_all()
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Internal, "the gateway's threads cannot be started").caused_by(error)
            })
    }

    /// Opens the gateway, on the runtime that this runs on.
    pub(super) async fn open(self) -> Result<OpenGateway> {
        let (gateway, presence) = self.0.open().await?;
        Ok(OpenGateway {
            caller: Caller::local(),
            #[cfg(feature = "server")]
            surface: gateway.service(),
            gateway,
            _presence: presence,
        })
    }
}

/// A list of registrations, or the file format of desktop clients.
fn servers_of(builder: GatewayBuilder, given: &Value) -> Result<GatewayBuilder> {
    let field = |error: Error| error.with("in", "servers");
    let text = given.to_string();
    if given.is_array() {
        let servers: Vec<Registration> = views::read(text.as_bytes(), "`servers`").map_err(field)?;
        return Ok(builder.servers(servers));
    }
    builder.mcp_servers(&text).map_err(field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreLocation;

    fn wrong(document: &str) -> Error {
        Opening::read(document.as_bytes()).err().unwrap()
    }

    #[test]
    fn without_anything_it_is_all_in_memory() {
        for document in ["", "{}", r#"{"url":"memory:"}"#, r#"{"url":"sqlite::memory:"}"#] {
            let location = Opening::read(document.as_bytes()).unwrap().0.location;
            assert_eq!(location, StoreLocation::Memory, "{document}");
        }
    }

    #[test]
    fn paths_lead_from_the_folder_that_is_said() {
        let at = |document: &str| Opening::read(document.as_bytes()).unwrap().0.location;
        assert_eq!(at(r#"{"url":"sqlite:///a/b.db"}"#), StoreLocation::File("/a/b.db".into()));
        assert_eq!(at(r#"{"url":"sqlite:b.db","data_dir":"/a"}"#), StoreLocation::File("/a/b.db".into()));
        assert_eq!(
            at(r#"{"config":{"store":{"path":"c.db"}},"data_dir":"/a"}"#),
            StoreLocation::File("/a/c.db".into())
        );
    }

    #[test]
    fn servers_are_a_list_or_what_desktop_clients_write() {
        let names = |servers: &str| {
            let document = format!(r#"{{"servers":{servers}}}"#);
            let opening = Opening::read(document.as_bytes()).unwrap();
            opening.0.servers.into_iter().map(|server| server.name).collect::<Vec<_>>()
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
