//! Picks the connector that a server's registration asks for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::Connector;
use super::credential_provider::{CredentialProvider, Nothing};
use super::discreet;
use super::guard::Guard;
use super::in_process::{InProcessServers, ResidentConnector};
use super::stdio::{Starts, Unheard};
use crate::clock::Clock;
use crate::error::Result;
use crate::error::{Error, ErrorKind};
use crate::model::{Server, TransportType};
use crate::random::Random;
use crate::tasks::Tasks;

type Make = dyn Fn(&Server) -> Result<Arc<dyn Connector>> + Send + Sync;

/// Makes the connectors of one URL scheme, for servers of the transport [`TransportType::Custom`]. Clones share it.
#[derive(Clone)]
pub struct ConnectorFactory(Arc<Make>);

impl ConnectorFactory {
    /// A factory of connectors. `make` is called when a server is registered or changes; it must not wait, and opens nothing.
    pub fn new(make: impl Fn(&Server) -> Result<Arc<dyn Connector>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }
}

impl fmt::Debug for ConnectorFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectorFactory")
    }
}

/// The context that connectors are made from.
#[derive(Clone, Debug)]
pub struct TransportContext {
    /// Times of connections and children.
    pub clock: Arc<dyn Clock>,
    /// Runs the tasks of connections.
    pub tasks: Tasks,
    /// Spreads restarts.
    pub random: Arc<Random>,
    /// Judges every address that is connected to and every program that is started.
    pub guard: Guard,
    /// Is notified of each program before it is started.
    pub starts: Arc<dyn Starts>,
    /// The servers that live in this process.
    pub residents: InProcessServers,
    /// Factories of the embedding program's own, by the URL scheme of the servers that they reach.
    pub connectors: BTreeMap<String, ConnectorFactory>,
    /// Provides the credentials that the gateway sends to servers.
    pub provider: Arc<dyn CredentialProvider>,
}

impl TransportContext {
    /// Everything is let through, nobody is notified, and no credentials are sent.
    pub fn new(clock: Arc<dyn Clock>, tasks: Tasks) -> Self {
        Self {
            clock,
            tasks,
            random: Arc::new(Random::from_entropy()),
            guard: Guard::default(),
            starts: Arc::new(Unheard),
            residents: InProcessServers::default(),
            connectors: BTreeMap::new(),
            provider: Arc::new(Nothing),
        }
    }
}

/// The connector of `server`. Nothing is opened or started yet.
///
/// [`ErrorKind::InvalidParams`](crate::ErrorKind::InvalidParams) if the registration cannot be used, or its transport is not in this build; the
/// message says which transport to use instead.
pub fn connect(server: &Server, means: &TransportContext) -> Result<Arc<dyn Connector>> {
    let connector = plain(server, means);
    if server.configuration.secrets.is_empty() {
        return connector;
    }
    discreet::connector(server, connector)
}

fn plain(server: &Server, means: &TransportContext) -> Result<Arc<dyn Connector>> {
    match server.transport_type {
        #[cfg(feature = "http")]
        TransportType::Http => Ok(Arc::new(super::sse::FallbackConnector::with(server, means)?)),
        #[cfg(not(feature = "http"))]
        TransportType::Http => Err(absent("http", "build with the feature `http`, or use stdio")),
        #[cfg(feature = "http")]
        TransportType::Sse => Ok(Arc::new(super::sse::SseConnector::with(server, means)?)),
        #[cfg(not(feature = "http"))]
        TransportType::Sse => Err(absent("sse", "build with the feature `http`, or use stdio")),
        #[cfg(feature = "websocket")]
        TransportType::Websocket => Ok(Arc::new(super::websocket::WebSocketConnector::with(server, means)?)),
        #[cfg(not(feature = "websocket"))]
        TransportType::Websocket => {
            Err(absent("websocket", "build with the feature `websocket`, or use http or stdio"))
        }
        TransportType::Memory => Ok(Arc::new(ResidentConnector::with(server, means))),
        TransportType::Stdio => Ok(Arc::new(super::stdio::StdioConnector::with(server, means)?)),
        TransportType::Custom => custom(server, means),
    }
}

/// The connector that the embedding program brings for the scheme of the server's URL.
fn custom(server: &Server, means: &TransportContext) -> Result<Arc<dyn Connector>> {
    let scheme = server.endpoint.url().and_then(|url| url.split_once(':')).map_or("", |(scheme, _)| scheme);
    let factory = means.connectors.get(scheme).ok_or_else(|| {
        let message = "no connector is there for this scheme; the program that embeds the gateway brings one by `GatewayBuilder::connector`";
        Error::new(ErrorKind::InvalidParams, message).with("scheme", scheme)
    });
    (factory?.0)(server).map_err(|error| error.with("server", &server.name))
}

#[cfg(not(all(feature = "http", feature = "websocket")))]
fn absent(transport: &'static str, instead: &'static str) -> Error {
    Error::new(
        ErrorKind::InvalidParams,
        format!("the transport {transport} is not built into this version; {instead}"),
    )
}
