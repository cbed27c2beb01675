//! Picks the connector that a server's registration asks for.

use std::sync::Arc;

use super::Connector;
use super::guard::Guard;
use crate::clock::Clock;
use crate::error::Result;
#[cfg(not(all(feature = "http", feature = "websocket")))]
use crate::error::{Error, ErrorKind};
use crate::model::{Server, TransportType};
use crate::random::Random;
use crate::tasks::Tasks;

/// The connector of `server`, which goes only where `guard` lets it. Nothing is opened or started yet.
///
/// [`ErrorKind::InvalidParams`](crate::ErrorKind::InvalidParams) if the registration cannot be used, or its transport is not in this build; the
/// message says which transport to use instead.
pub fn connect(
    server: &Server,
    clock: &Arc<dyn Clock>,
    tasks: &Tasks,
    random: &Arc<Random>,
    guard: &Guard,
) -> Result<Arc<dyn Connector>> {
    match server.transport_type {
        #[cfg(feature = "http")]
        TransportType::Http => {
            Ok(Arc::new(super::http::HttpConnector::guarded(server, clock.clone(), tasks.clone(), guard)?))
        }
        #[cfg(not(feature = "http"))]
        TransportType::Http => Err(absent("http", "build with the feature `http`, or use stdio")),
        #[cfg(feature = "http")]
        TransportType::Sse => {
            Ok(Arc::new(super::sse::SseConnector::guarded(server, clock.clone(), tasks.clone(), guard)?))
        }
        #[cfg(not(feature = "http"))]
        TransportType::Sse => Err(absent("sse", "build with the feature `http`, or use stdio")),
        #[cfg(feature = "websocket")]
        TransportType::Websocket => Ok(Arc::new(super::websocket::WebSocketConnector::guarded(
            server,
            clock.clone(),
            tasks.clone(),
            guard,
        )?)),
        #[cfg(not(feature = "websocket"))]
        TransportType::Websocket => {
            Err(absent("websocket", "build with the feature `websocket`, or use http or stdio"))
        }
        TransportType::Stdio => Ok(Arc::new(super::stdio::StdioConnector::new(
            server,
            clock.clone(),
            tasks.clone(),
            random.clone(),
        )?)),
    }
}

#[cfg(not(all(feature = "http", feature = "websocket")))]
fn absent(transport: &'static str, instead: &'static str) -> Error {
    Error::new(
        ErrorKind::InvalidParams,
        format!("the transport {transport} is not built into this version; {instead}"),
    )
}
