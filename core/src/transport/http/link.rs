//! One MCP session over HTTP: its id, its negotiated version, and the requests under both.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode};
use hyper::body::Incoming as Body;

use super::answer::{Kind, kind_of, unanswered, whole};
use super::connector::{HttpConnector, PROTOCOL_VERSION, SESSION_ID, wear};
use super::encoding::Encoding;
use super::events::{self, Events, Resume};
use super::pool::{PooledConnection, Purpose};
use super::sse_requests::remedied;
use super::status::{MAX_REFUSAL, Refusal};
use super::{MAX_BODY, body, modern};
use crate::error::{ErrorKind, Result};
use crate::rpc::Message;
use crate::rpc::version::Era;
use crate::transport::credential_provider::RetryAdvice;
use crate::transport::{Exchange, Link, Outgoing, Queued};

const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
/// Longest wait for the server to confirm the end of a session.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

const LEGACY: u8 = 1;
const MODERN: u8 = 2;

/// One conversation with a server over streamable HTTP.
pub(super) struct HttpLink {
    connector: Arc<HttpConnector>,
    /// The headers of every POST; replaced when the session id or the version becomes known.
    headers: ArcSwap<HeaderMap>,
    open: AtomicBool,
    /// The era that was found: none yet, [`LEGACY`] or [`MODERN`].
    era: AtomicU8,
    /// The server gives its events ids.
    numbers: Arc<AtomicBool>,
    /// The stream of messages that belong to no request is open.
    listening: Arc<AtomicBool>,
}

impl fmt::Debug for HttpLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpLink").field(&self.connector.pool.dial).finish()
    }
}

impl HttpLink {
    pub(super) fn new(connector: Arc<HttpConnector>) -> Self {
        let headers = ArcSwap::from_pointee(connector.headers.clone());
        Self {
            connector,
            headers,
            open: AtomicBool::new(true),
            era: AtomicU8::new(0),
            numbers: Arc::default(),
            listening: Arc::default(),
        }
    }

    async fn post(
        &self,
        base: &HeaderMap,
        purpose: Purpose,
        message: &Bytes,
        correlation_id: Option<&str>,
        queued: Option<Queued>,
    ) -> Result<(PooledConnection, Response<Body>)> {
        let shown = self.connector.shown().await?;
        let request = || {
            let mut headers = HeaderMap::clone(base);
            if let Some(shown) = &shown {
                wear(&mut headers, shown);
            }
            if let Some(value) = correlation_id.and_then(|id| HeaderValue::from_str(id).ok()) {
                headers.insert(CORRELATION_ID, value);
            }
            self.connector.build(Method::POST, headers, message.clone())
        };
        self.connector.send(purpose, queued, request).await
    }

    fn put_header(&self, name: &HeaderName, value: &HeaderValue) {
        self.headers.rcu(|headers| {
            let mut headers = HeaderMap::clone(headers);
            headers.insert(name, value.clone());
            headers
        });
    }

    fn is_modern(&self) -> bool {
        self.era.load(Ordering::Acquire) == MODERN
    }

    fn in_session(&self) -> bool {
        self.headers.load().contains_key(&SESSION_ID)
    }

    /// The answer to a refused message, or the error that the refusal stands for.
    async fn refused(
        &self,
        held: PooledConnection,
        response: Response<Body>,
        id: Option<u64>,
    ) -> Result<Message> {
        let (head, incoming) = response.into_parts();
        // A refusal that cannot be read whole is a refusal all the same.
        let body = body::read(held, incoming, MAX_REFUSAL, None).await.unwrap_or_default();
        let body = Encoding::of(&head.headers)
            .and_then(|encoding| encoding.open(body, MAX_REFUSAL))
            .unwrap_or_default();
        let now = self.connector.clock.timestamp();
        let era = self.era.load(Ordering::Acquire);
        let (in_session, initialized) = (self.in_session(), era == LEGACY);
        let refusal =
            Refusal { status: head.status, headers: &head.headers, body, in_session, initialized, now };
        let judged = match era {
            MODERN => refusal.judge_modern(id),
            LEGACY => refusal.judge_legacy(id),
            _ => refusal.judge(id),
        };
        judged.inspect_err(|error| {
            if error.kind() == ErrorKind::SessionNotFound {
                self.open.store(false, Ordering::Release);
            }
        })
    }
}

#[async_trait]
impl Link for HttpLink {
    async fn request(&self, outgoing: Outgoing) -> Result<Exchange> {
        let modern = self.is_modern();
        let mut headers = self.headers.load_full();
        let mut purpose = Purpose::of(&outgoing.method);
        if modern || outgoing.method == crate::rpc::Method::Discover {
            modern::complete(Arc::make_mut(&mut headers), &outgoing)?;
            if outgoing.method == crate::rpc::Method::Listen {
                purpose = Purpose::Listen;
            }
        }
        let mut last = false;
        let (held, response) = loop {
            let cause = outgoing.correlation_id.as_deref();
            let (held, response) =
                self.post(&headers, purpose, &outgoing.body, cause, outgoing.queued).await?;
            if response.status().is_success() {
                break (held, response);
            }
            let remedy = self.connector.remedy(response.status(), response.headers(), last);
            // The server has not looked at it: once more, with another access token.
            if !last && matches!(remedy, RetryAdvice::Again) {
                last = true;
                continue;
            }
            let refused = Box::pin(self.refused(held, response, Some(outgoing.id))).await;
            return refused.map(Exchange::One).map_err(|error| remedied(remedy, error));
        };
        if outgoing.method == crate::rpc::Method::Initialize
            && let Some(id) = response.headers().get(&SESSION_ID)
        {
            self.put_header(&SESSION_ID, id);
        }
        match kind_of(&response)? {
            Kind::Json => {
                let encoding = Encoding::of(response.headers())?;
                let bytes =
                    body::read(held, response.into_body(), MAX_BODY, outgoing.call.as_deref()).await?;
                whole(encoding.open(bytes, MAX_BODY)?, outgoing.id)
            }
            Kind::Events => {
                // A modern stream that breaks is over: nothing can be asked for again.
                let resume = (!modern).then(|| Resume {
                    connector: self.connector.clone(),
                    headers,
                    numbers: self.numbers.clone(),
                    pauses: outgoing.pauses.clone(),
                });
                let events = Events::new(held, response, resume)?;
                Box::pin(as_events(events, &outgoing)).await
            }
            Kind::Nothing => Err(unanswered()),
        }
    }

    async fn notify(&self, message: Bytes) -> Result<()> {
        if self.is_modern() {
            // Over HTTP a modern client has nothing to notify: it cancels by closing the stream.
            return Ok(());
        }
        let headers = self.headers.load_full();
        let begins =
            Message::parse(message.clone()).ok().and_then(|message| message.method().map(Purpose::of));
        let (held, response) =
            self.post(&headers, begins.unwrap_or(Purpose::Call), &message, None, None).await?;
        if !response.status().is_success() {
            let remedy = self.connector.remedy(response.status(), response.headers(), true);
            let refused = self.refused(held, response, None).await;
            return refused.map(drop).map_err(|error| remedied(remedy, error));
        }
        // 202 has no body; the body of another success is of no use.
        held.release(Some(response.into_body()));
        Ok(())
    }

    async fn listen(&self) -> Option<BoxStream<'static, Message>> {
        if self.is_modern() {
            return None;
        }
        let turn = Listening::begin(&self.listening)?;
        let headers = self.connector.dressed(&self.headers.load_full()).await.ok()?;
        let headers = HttpConnector::listen_headers(&headers);
        let request = || self.connector.build(Method::GET, headers.clone(), Bytes::new());
        let (held, response) = match self.connector.send(Purpose::Listen, None, request).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(server = ?self.connector.pool.dial, %error, "the server's stream cannot be opened");
                return None;
            }
        };
        let is_stream = response.status().is_success() && matches!(kind_of(&response), Ok(Kind::Events));
        if !is_stream {
            if response.status() != StatusCode::METHOD_NOT_ALLOWED {
                let (server, status) = (&self.connector.pool.dial, response.status());
                tracing::debug!(?server, %status, "the server has no stream of its own");
            }
            return None;
        }
        let events = Events::new(held, response, None).ok()?;
        let place = self.connector.clone();
        Some(stream::unfold((events, turn, place), next_unasked).boxed())
    }

    fn set_version(&self, version: &str) {
        // The header came with 2025-06-18; revisions are dates, so they compare as text.
        if version >= "2025-06-18"
            && let Ok(value) = HeaderValue::from_str(version)
        {
            self.put_header(&PROTOCOL_VERSION, &value);
        }
        let modern = Era::of(version) == Some(Era::Modern);
        self.era.store(if modern { MODERN } else { LEGACY }, Ordering::Release);
    }

    fn cancels_when_dropped(&self) -> bool {
        self.is_modern()
    }

    fn numbers(&self) -> bool {
        self.numbers.load(Ordering::Relaxed)
    }

    fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    async fn close(&self) {
        if !self.open.swap(false, Ordering::AcqRel) || !self.in_session() {
            return;
        }
        let Ok(mut headers) = self.connector.dressed(&self.headers.load_full()).await else { return };
        headers.remove(CONTENT_TYPE);
        let request = || self.connector.build(Method::DELETE, headers.clone(), Bytes::new());
        let sent = self.connector.send(Purpose::Call, None, request);
        match tokio::time::timeout(CLOSE_TIMEOUT, sent).await {
            Ok(Ok((held, response))) => held.release(Some(response.into_body())),
            // The session is over for us in any case; the server ends it by its own idle time.
            Ok(Err(error)) => {
                tracing::debug!(server = ?self.connector.pool.dial, %error, "the session was not deleted");
            }
            Err(_) => {
                tracing::debug!(server = ?self.connector.pool.dial, "the session was not deleted within 2 s");
            }
        }
    }
}

/// Holds the one slot for a listener until it is dropped.
struct Listening(Arc<AtomicBool>);

impl Listening {
    fn begin(place: &Arc<AtomicBool>) -> Option<Self> {
        (!place.swap(true, Ordering::AcqRel)).then(|| Self(place.clone()))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// A listener's stream, its slot, and its connector.
type Unasked = (Events, Listening, Arc<HttpConnector>);

async fn next_unasked((mut events, turn, connector): Unasked) -> Option<(Message, Unasked)> {
    match events.next().await {
        Ok(message) => Some((message?, (events, turn, connector))),
        Err(error) => {
            tracing::warn!(server = ?connector.pool.dial, %error, "the server's stream was closed");
            None
        }
    }
}

/// An answer that comes as events.
async fn as_events(events: Events, outgoing: &Outgoing) -> Result<Exchange> {
    if outgoing.pauses.is_some() {
        // The server may end its stream before it has sent anything, and the caller wants to be notified.
        return Ok(Exchange::Many(events::answer(None, events, outgoing.id).boxed()));
    }
    Ok(match events::begin(events, outgoing.id).await? {
        (response, None) => Exchange::One(response),
        (first, Some(events)) => Exchange::Many(events::answer(Some(first), events, outgoing.id).boxed()),
    })
}
