//! Requests of the older transports: a stream of events that is no answer, a POST that is only accepted, a bare connection.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Method, Response, Uri};
use hyper::body::Incoming;

use super::answer::{Kind, kind_of};
use super::body;
use super::connector::{HttpConnector, PROTOCOL_VERSION};
use super::encoding::{Encoding, Opener};
use super::pool::{PooledConnection, Purpose};
use super::status::{MAX_REFUSAL, Refusal};
use crate::error::{Error, ErrorKind, Result};
use crate::rpc::Message;
use crate::rpc::sse::{Decoder, Event};
use crate::transport::credential_provider::RetryAdvice;

const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");

/// A stream of events. Dropping it closes its connection.
pub(in crate::transport) struct EventStream {
    held: PooledConnection,
    body: Incoming,
    opener: Opener,
    decoder: Decoder,
}

impl EventStream {
    /// The next event; `None` when the server ended the stream.
    ///
    /// [`ErrorKind::BadUpstream`] for an event over the limit, which the message names, or a broken connection.
    pub(in crate::transport) async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.decoder.next()? {
                return Ok(Some(event));
            }
            let Some(chunk) = poll_fn(|cx| self.held.poll_chunk(&mut self.body, cx)).await else {
                return Ok(None);
            };
            let chunk = self.opener.push(chunk?)?;
            self.decoder.push(chunk);
        }
    }
}

/// A message that is only accepted: its answer comes on another path.
pub(in crate::transport) struct Delivery<'a> {
    /// Path and query to which it is posted.
    pub(in crate::transport) target: &'a Uri,
    pub(in crate::transport) message: Bytes,
    /// The id in it, if it is a request.
    pub(in crate::transport) id: Option<u64>,
    pub(in crate::transport) correlation_id: Option<&'a str>,
    /// The negotiated revision, where the server demands it.
    pub(in crate::transport) version: Option<&'a HeaderValue>,
    /// Set before the first byte is written.
    pub(in crate::transport) begun: &'a AtomicBool,
}

impl HttpConnector {
    /// Opens the stream of events at `endpoint_url`.
    pub(in crate::transport) async fn open_events(&self) -> Result<EventStream> {
        let headers = Self::listen_headers(&self.dressed(&self.headers).await?);
        let request = || self.build(Method::GET, headers.clone(), Bytes::new());
        let (held, response) = self.send(Purpose::Listen, None, request).await?;
        if !response.status().is_success() {
            let status = response.status();
            return Err(match self.refusal(held, response, None, false).await {
                // The answer to a GET from a path that takes only POSTs.
                Err(_) if matches!(status.as_u16(), 400 | 404 | 405 | 406) => {
                    no_stream().status(status.as_u16())
                }
                Err(error) => error,
                Ok(_) => no_stream(),
            });
        }
        match kind_of(&response)? {
            Kind::Events => {
                let opener = Opener::of(response.headers())?;
                Ok(EventStream { held, body: response.into_body(), opener, decoder: Decoder::default() })
            }
            Kind::Json | Kind::Nothing => Err(no_stream()),
        }
    }

    /// Posts a message. `Some` if the server refused it with a JSON-RPC error of its own.
    ///
    /// [`ErrorKind::SessionNotFound`], not sent, if the server has forgotten the stream that the target belongs to.
    pub(in crate::transport) async fn deliver(&self, delivery: Delivery<'_>) -> Result<Option<Message>> {
        let mut headers = self.dressed(&self.headers).await?;
        let correlation_id = delivery.correlation_id.and_then(|id| HeaderValue::from_str(id).ok());
        let more = [(CORRELATION_ID, correlation_id), (PROTOCOL_VERSION, delivery.version.cloned())];
        headers.extend(more.into_iter().filter_map(|(name, value)| Some((name, value?))));
        let request = || {
            delivery.begun.store(true, Ordering::Release);
            let mut request = self.build(Method::POST, headers.clone(), delivery.message.clone());
            *request.uri_mut() = delivery.target.clone();
            request
        };
        let (held, response) = self.send(Purpose::Call, None, request).await?;
        if response.status().is_success() {
            held.release(Some(response.into_body()));
            return Ok(None);
        }
        self.refusal(held, response, delivery.id, true).await.map(Some)
    }

    /// A connection of its own, outside of the pool, and the headers with which to ask for an upgrade.
    #[cfg(feature = "websocket")]
    pub(in crate::transport) async fn open_raw(
        &self,
    ) -> Result<(impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + use<>, http::HeaderMap)>
    {
        let mut headers = self.dressed(&self.headers).await?;
        headers.remove(http::header::CONTENT_TYPE);
        headers.remove(http::header::ACCEPT);
        Ok((self.pool.dial.open().await?, headers))
    }

    async fn refusal(
        &self,
        held: PooledConnection,
        response: Response<Incoming>,
        id: Option<u64>,
        in_session: bool,
    ) -> Result<Message> {
        let (head, incoming) = response.into_parts();
        // A refusal that cannot be read whole is a refusal all the same.
        let body = body::read(held, incoming, MAX_REFUSAL, None).await.unwrap_or_default();
        let body = Encoding::of(&head.headers)
            .and_then(|encoding| encoding.open(body, MAX_REFUSAL))
            .unwrap_or_default();
        let now = self.clock.timestamp();
        let remedy = self.remedy(head.status, &head.headers, true);
        let initialized = in_session;
        let refusal =
            Refusal { status: head.status, headers: &head.headers, body, in_session, initialized, now };
        refusal.judge(id).map_err(|error| remedied(remedy, error))
    }
}

/// The error that reports a refusal, by the advice on it.
pub(super) fn remedied(remedy: RetryAdvice, error: Error) -> Error {
    match remedy {
        RetryAdvice::Because(because) => because,
        RetryAdvice::Again | RetryAdvice::Unknown => error,
    }
}

fn no_stream() -> Error {
    Error::new(
        ErrorKind::BadUpstream,
        "the server did not answer with an event stream; its transport may be `http` rather than `sse`",
    )
}
