//! The gateway that the demo shows: in this process, with its HTTP surface on a free loopback port.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mcp_registry_gateway::auth::LocalToken;
use mcp_registry_gateway::clock::Clock;
use mcp_registry_gateway::gateway::{Gateway, Settings};
use mcp_registry_gateway::server::{self, Serving};
use mcp_registry_gateway::store::SqliteStore;
use mcp_registry_gateway::tasks::{Tasks, Workers};
use mcp_registry_gateway::{Error, ErrorKind, Result, config};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long work under way may take when the demo ends; there should be none.
const GRACE: Duration = Duration::from_secs(1);

/// A running gateway.
#[derive(Debug)]
pub(super) struct Host {
    /// Where its HTTP surface listens.
    pub(super) address: SocketAddr,
    gateway: Gateway,
    serving: Tasks,
    stop: CancellationToken,
    /// Last, since the gateway's calls run on them.
    _workers: Arc<Workers>,
}

impl Host {
    /// Starts a gateway with the settings that every user gets, and its database in `folder`.
    pub(super) async fn start(folder: &Path, clock: &Arc<dyn Clock>) -> Result<Self> {
        let store = SqliteStore::open(&folder.join("gateway.db")).await?;
        let gateway = Gateway::open(Settings::default(), Arc::new(store), Arc::clone(clock)).await?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(no_port)?;
        let address = listener.local_addr().map_err(no_port)?;
        let service = server::service(gateway.clone(), config::Server::default(), Arc::clone(clock));
        let (serving, stop) = (Tasks::default(), CancellationToken::new());
        let workers = Arc::new(Workers::start(0)?);
        let threads = Arc::clone(&workers);
        let serve = stop.clone();
        serving.spawn(async move {
            let serving = Serving { tls: None, workers: Some(&threads), connections: service.connections() };
            server::serve(listener, |accepted| service.for_connection(accepted), serving, serve, GRACE).await;
        });
        Ok(Self { address, gateway, serving, stop, _workers: workers })
    }

    /// The gateway's local token.
    pub(super) fn token(&self) -> &str {
        self.gateway.local_token().map_or("", LocalToken::reveal)
    }

    /// Stops the HTTP surface, then the gateway with all that it started.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.serving.finish().await;
        self.gateway.shutdown(GRACE).await;
    }
}

fn no_port(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "no loopback port can be listened on").caused_by(error)
}
