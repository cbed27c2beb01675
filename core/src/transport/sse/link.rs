//! One session over HTTP+SSE: the reader of its stream, and requests whose answers come there.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use http::{HeaderValue, Uri};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};
use crate::rpc::{Message, Method};
use crate::tasks::Tasks;
use crate::transport::duplex::{Ending, Exchanges, Mailbox, Receipt, Slip, Unreadable, deliver};
use crate::transport::http::{Delivery, EventStream, HttpConnector};
use crate::transport::{Exchange, Link, Outgoing};

/// How long a POST may still take to be accepted when its answer has come already.
const LINGER: Duration = Duration::from_secs(5);

/// The state that the link, its requests and the reader of its stream share.
struct SseConversation {
    http: Arc<HttpConnector>,
    /// The server's name, for logs.
    name: Arc<str>,
    target: Uri,
    exchanges: Exchanges,
    version: OnceLock<HeaderValue>,
    /// The stream is to be closed.
    closing: CancellationToken,
    listening: AtomicBool,
    tasks: Tasks,
}

impl SseConversation {
    async fn deliver(
        &self,
        message: Bytes,
        id: Option<u64>,
        correlation_id: Option<&str>,
        begun: &AtomicBool,
    ) -> Result<Option<Message>> {
        let (target, version) = (&self.target, self.version.get());
        let delivery = Delivery { target, message, id, correlation_id, version, begun };
        self.http.deliver(delivery).await.inspect_err(|error| {
            if error.kind() == ErrorKind::SessionNotFound {
                // The stream that the server has forgotten brings nothing any more.
                self.closing.cancel();
            }
        })
    }

    fn end(&self, message: impl Into<std::borrow::Cow<'static, str>>) {
        self.exchanges.end(Ending { message: message.into(), status: None, last_words: None });
    }
}

/// Closes the stream when its last user is gone.
struct Needed(Arc<SseConversation>);

impl Drop for Needed {
    fn drop(&mut self) {
        self.0.closing.cancel();
    }
}

/// Ends the exchanges also where the reader is dropped without coming to an end.
struct Reader {
    talk: Arc<SseConversation>,
    events: EventStream,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.talk.end("the connection was closed");
    }
}

impl Reader {
    async fn run(mut self) {
        let closing = self.talk.closing.clone();
        tokio::select! {
            biased;
            () = closing.cancelled() => {}
            why = self.read() => {
                tracing::info!(server = %self.talk.name, "{why}");
                self.talk.end(why);
            }
        }
    }

    /// Reads until the stream ends; returns why it did.
    async fn read(&mut self) -> String {
        loop {
            let event = match self.events.next().await {
                Ok(Some(event)) => event,
                Ok(None) => {
                    return "the server ended its stream of events, and the session with it".to_owned();
                }
                Err(error) => return error.message().to_owned(),
            };
            if !event.is_message() || event.data.is_empty() {
                continue;
            }
            match deliver(&self.talk.exchanges, &event.data, |receipt| self.note(receipt)) {
                Ok(()) => {}
                Err(Unreadable { error, is_aside: true }) => {
                    tracing::warn!(server = %self.talk.name, %error, "passed over a message that cannot be read");
                }
                Err(Unreadable { error, .. }) => {
                    return format!("the server sent what is not an MCP message: {}", error.message());
                }
            }
        }
    }

    fn note(&self, receipt: Receipt) {
        let server = &self.talk.name;
        match receipt {
            Receipt::Kept => {}
            Receipt::Late => {
                tracing::debug!(%server, "dropped a message for a request that is not under way");
            }
            Receipt::Displaced(dropped) => {
                tracing::debug!(%server, dropped, "nobody reads what the server sends unasked; dropped the oldest");
            }
            Receipt::Overrun(id) => {
                let params =
                    format!(r#"{{"requestId":{id},"reason":"its messages are not read fast enough"}}"#);
                let message = Message::request(None, Method::Cancelled.as_str(), Some(&params));
                let talk = self.talk.clone();
                self.talk.tasks.spawn(async move {
                    // The exchange is over for us in any case.
                    let _ = talk.deliver(message, None, None, &AtomicBool::new(false)).await;
                });
            }
        }
    }
}

/// A request under way.
struct PendingExchange {
    needed: Arc<Needed>,
    id: u64,
    mailbox: Arc<Mailbox>,
    /// The POST, until the server has accepted it.
    posting: Option<BoxFuture<'static, Result<Option<Message>>>>,
    begun: Arc<AtomicBool>,
    over: bool,
}

impl PendingExchange {
    async fn next(&mut self) -> Option<Result<Message>> {
        if self.over {
            return None;
        }
        let next = loop {
            // The mailbox first: its end means that nothing that was not begun is to begin.
            let Some(posting) = &mut self.posting else { break self.mailbox.next().await };
            tokio::select! {
                biased;
                next = self.mailbox.next() => break next,
                sent = posting => {
                    self.posting = None;
                    if let Some(refused) = sent.transpose() {
                        break Some(refused);
                    }
                }
            }
        };
        let exchanges = &self.needed.0.exchanges;
        match next {
            Some(Ok(message)) => {
                self.over = message.method().is_none();
                Some(Ok(message))
            }
            Some(Err(error)) => {
                self.over = true;
                let not_begun = !self.begun.load(Ordering::Acquire);
                let unsent = not_begun.then(|| exchanges.ended()).flatten();
                Some(Err(unsent.unwrap_or(error)))
            }
            None => None,
        }
    }

    fn answered(&self) -> bool {
        self.over
    }
}

impl Drop for PendingExchange {
    fn drop(&mut self) {
        let talk = &self.needed.0;
        talk.exchanges.forget(self.id);
        // A server may accept a message only after it has answered it; breaking the connection then would cost a new one.
        if let (true, Some(posting)) = (self.over, self.posting.take())
            && self.begun.load(Ordering::Acquire)
        {
            talk.tasks.spawn(async move { drop(tokio::time::timeout(LINGER, posting).await) });
        }
    }
}

/// A link over one stream of events.
pub(super) struct SseLink(Arc<Needed>);

impl SseLink {
    pub(super) fn open(
        http: Arc<HttpConnector>,
        name: Arc<str>,
        target: Uri,
        events: EventStream,
        own: bool,
        tasks: &Tasks,
    ) -> Arc<dyn Link> {
        let talk = Arc::new(SseConversation {
            http,
            name,
            target,
            exchanges: Exchanges::new(own),
            version: OnceLock::new(),
            closing: CancellationToken::new(),
            listening: AtomicBool::new(false),
            tasks: tasks.clone(),
        });
        tasks.spawn(Reader { talk: talk.clone(), events }.run());
        Arc::new(Self(Arc::new(Needed(talk))))
    }

    fn talk(&self) -> &Arc<SseConversation> {
        &self.0.0
    }
}

impl fmt::Debug for SseLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SseLink({}, open: {})", self.talk().name, self.is_open())
    }
}

#[async_trait]
impl Link for SseLink {
    async fn request(&self, outgoing: Outgoing) -> Result<Exchange> {
        // Whether it was begun is known here better than a slip could say: as long as it was not, dropping it holds it back.
        let slip = Arc::<Slip>::default();
        slip.start();
        let mailbox = self.talk().exchanges.begin(outgoing.id, slip, false)?;
        let (talk, begun) = (self.talk().clone(), Arc::<AtomicBool>::default());
        let posted = begun.clone();
        let posting = Box::pin(async move {
            let correlation_id = outgoing.correlation_id.as_deref();
            talk.deliver(outgoing.body, Some(outgoing.id), correlation_id, &posted).await
        });
        let needed = self.0.clone();
        let mut waiting =
            PendingExchange { needed, id: outgoing.id, mailbox, posting: Some(posting), begun, over: false };
        let cut = || Error::new(ErrorKind::BadUpstream, "the exchange ended without an answer");
        let first = waiting.next().await.unwrap_or_else(|| Err(cut()))?;
        if waiting.answered() {
            return Ok(Exchange::One(first));
        }
        let rest =
            stream::unfold(waiting, |mut waiting| async move { Some((waiting.next().await?, waiting)) });
        Ok(Exchange::Many(stream::once(async { Ok(first) }).chain(rest).boxed()))
    }

    async fn notify(&self, message: Bytes) -> Result<()> {
        if let Some(error) = self.talk().exchanges.ended() {
            return Err(error);
        }
        self.talk().deliver(message, None, None, &AtomicBool::new(false)).await.map(drop)
    }

    async fn listen(&self) -> Option<BoxStream<'static, Message>> {
        if self.talk().listening.swap(true, Ordering::AcqRel) {
            return None;
        }
        let messages = stream::unfold(self.talk().clone(), |talk| async move {
            let next = talk.exchanges.unasked.next().await?.ok()?;
            Some((next, talk))
        });
        Some(messages.boxed())
    }

    fn set_version(&self, version: &str) {
        // The header came with 2025-06-18; revisions are dates, so they compare as text.
        if version >= "2025-06-18"
            && let Ok(value) = HeaderValue::from_str(version)
        {
            // A session negotiates once.
            let _ = self.talk().version.set(value);
        }
    }

    fn is_open(&self) -> bool {
        !self.talk().closing.is_cancelled() && self.talk().exchanges.ended().is_none()
    }

    async fn close(&self) {
        self.talk().closing.cancel();
    }
}
