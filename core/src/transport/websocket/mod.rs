//! WebSocket with the subprotocol `mcp`: one JSON-RPC message a text frame.
//!
//! No revision of MCP specifies it, so only a server that is registered as `websocket`, or by a `ws:` URL, is spoken to in this
//! way. The connection is the session: when it ends, requests under way fail, each with what is known of its delivery, and the
//! next call opens a new link. A peer that falls silent is pinged, and given up when it stays silent.

mod frames;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::Uri;
use http::header::{
    CONNECTION, HOST, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::uri::PathAndQuery;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_tungstenite::tungstenite::error::{Error as Broken, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use url::Url;

use super::duplex::{Conversation, DuplexLink, QUEUE};
use super::http::{HttpConnector, MAX_BODY};
use super::{Connector, ExaminedStep, Link, TransportContext};
use crate::clock::Clock;
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::model::Server;
use crate::tasks::Tasks;

/// The subprotocol that both sides must name.
pub const SUBPROTOCOL: &str = "mcp";

/// Longest wait for one of the connections to come free.
const WAIT: Duration = Duration::from_secs(1);
/// Bytes that are read at once; a connection keeps such a buffer as long as it lives.
const READ_BUFFER: usize = 8 * 1024;

/// Reaches one server over WebSocket.
pub struct WebSocketConnector {
    http: HttpConnector,
    name: Arc<str>,
    free: Arc<Semaphore>,
    limit: u32,
    tasks: Tasks,
}

impl WebSocketConnector {
    /// Prepares to reach `server`; nothing is opened yet. `tasks` runs the connections.
    ///
    /// [`ErrorKind::InvalidParams`] if the URL or a configured header cannot be used.
    pub fn new(server: &Server, clock: Arc<dyn Clock>, tasks: Tasks) -> Result<Self> {
        Self::with(server, &TransportContext::new(clock, tasks))
    }

    /// As [`WebSocketConnector::new`], with another context.
    pub fn with(server: &Server, means: &TransportContext) -> Result<Self> {
        let invalid = |message: &'static str| Error::new(ErrorKind::InvalidParams, message);
        let url = server.endpoint.url().and_then(|url| Url::parse(url).ok());
        let mut url = url.ok_or_else(|| invalid("endpoint_url is not a URL"))?;
        let scheme = match url.scheme() {
            "ws" => "http",
            "wss" => "https",
            _ => return Err(invalid("endpoint_url must begin with ws:// or wss://")),
        };
        url.set_scheme(scheme).map_err(|()| invalid("endpoint_url must begin with ws:// or wss://"))?;
        let limit = server.configuration.max_connections.max(1);
        Ok(Self {
            http: HttpConnector::at(&url, server, means)?,
            name: server.name.as_str().into(),
            free: Arc::new(Semaphore::new(limit as usize)),
            limit,
            tasks: means.tasks.clone(),
        })
    }

    async fn room(&self) -> Result<OwnedSemaphorePermit> {
        if let Ok(Ok(permit)) = tokio::time::timeout(WAIT, self.free.clone().acquire_owned()).await {
            return Ok(permit);
        }
        let (name, limit) = (&self.name, self.limit);
        let message = format!(
            "all {limit} connections to server `{name}` are in use, and none came free within 1 s; raise `configuration.max_connections`"
        );
        Err(Error::new(ErrorKind::Unavailable, message)
            .with("server", &self.name)
            .because(Cause::PoolExhausted)
            .with("max_connections", self.limit)
            .not_sent())
    }
}

impl fmt::Debug for WebSocketConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WebSocketConnector").field(&self.http).finish()
    }
}

#[async_trait]
impl Connector for WebSocketConnector {
    async fn connect(&self, own: bool) -> Result<Arc<dyn Link>> {
        let permit = self.room().await?;
        let (socket, mut headers) = self.http.open_raw().await?;
        let internal = |error: http::Error| {
            Error::new(ErrorKind::Internal, "the WebSocket handshake cannot be made from the server's URL")
                .caused_by(error)
                .not_sent()
        };
        let key = HeaderValue::from_str(&generate_key()).map_err(|error| internal(error.into()))?;
        // The library wants to see a whole URL, and sends its path.
        let authority = headers.get(HOST).map_or(&b""[..], HeaderValue::as_bytes);
        let target = self.http.target();
        let target = target.path_and_query().map_or("/", PathAndQuery::as_str);
        let uri = Uri::builder().scheme("ws").authority(authority).path_and_query(target);
        let uri = uri.build().map_err(internal)?;
        headers.extend([
            (CONNECTION, HeaderValue::from_static("Upgrade")),
            (UPGRADE, HeaderValue::from_static("websocket")),
            (SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
            (SEC_WEBSOCKET_KEY, key),
            (SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL)),
        ]);
        let mut request = http::Request::new(());
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(MAX_BODY))
            .max_frame_size(Some(MAX_BODY));
        let upgraded = tokio_tungstenite::client_async_with_config(request, socket, Some(config)).await;
        let (stream, _) = upgraded.map_err(|error| refused(error).with("server", &self.name))?;

        let (queue, queued) = mpsc::channel(QUEUE);
        let talk = Conversation::new(self.name.clone(), own, queue, Arc::default());
        self.tasks.spawn(frames::converse(stream, queued, talk.clone(), permit));
        Ok(Arc::new(DuplexLink::new(talk)))
    }

    async fn check(&self) -> Result<()> {
        self.http.check().await
    }

    async fn examine(&self) -> Vec<ExaminedStep> {
        self.http.examine().await
    }

    fn remembers_clients(&self) -> bool {
        false
    }

    fn for_caller(&self, subject: &Arc<str>) -> Option<Arc<dyn Connector>> {
        let (http, name) = (self.http.only_for(subject), self.name.clone());
        let (free, tasks) = (self.free.clone(), self.tasks.clone());
        Some(Arc::new(Self { http, name, free, limit: self.limit, tasks }))
    }
}

/// Why there is no WebSocket. No message was sent yet.
fn refused(error: Broken) -> Error {
    let message = match &error {
        Broken::Http(response) => {
            let status = response.status().as_u16();
            if status == 429 {
                let message = "the server limits the rate of calls";
                return Error::new(ErrorKind::RateLimited, message).status(status).not_sent();
            }
            let message = match status {
                401 | 403 => {
                    "the server refuses the gateway's credentials; set those it wants in configuration.headers"
                }
                _ => {
                    "the server does not take a WebSocket at this path; check endpoint_url and transport_type"
                }
            };
            return Error::new(ErrorKind::BadUpstream, message).status(status).not_sent();
        }
        Broken::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) => {
            "the server does not speak MCP on its WebSocket: it does not accept the subprotocol `mcp`"
        }
        _ => "the server's answer to the WebSocket handshake is none",
    };
    Error::new(ErrorKind::BadUpstream, message).caused_by(error).not_sent()
}

#[cfg(test)]
mod tests;
