//! One conversation over a connection that carries messages both ways, from the asking side.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::exchanges::{Exchanges, Slip};
use super::mailbox::Mailbox;
use crate::error::{Error, ErrorKind, Result};
use crate::rpc::{Message, Method};
use crate::transport::{Exchange, Link, Outgoing};

/// How long a message may wait for the server to read the messages before it.
pub(in crate::transport) const QUEUE_WAIT: Duration = Duration::from_secs(10);
/// Messages that may wait to be written.
pub(in crate::transport) const QUEUE: usize = 256;

/// A message on its way to the server.
pub(in crate::transport) struct Item {
    pub(in crate::transport) body: Bytes,
    pub(in crate::transport) slip: Arc<Slip>,
    /// Is notified when the first byte is about to be written.
    pub(in crate::transport) begun: oneshot::Sender<()>,
}

/// The state that the link, its streams and the tasks of its connection share.
pub(in crate::transport) struct Conversation {
    /// The server's name, for logs.
    pub(in crate::transport) name: Arc<str>,
    pub(in crate::transport) exchanges: Exchanges,
    pub(in crate::transport) queue: mpsc::Sender<Item>,
    /// The connection is to be ended.
    pub(in crate::transport) closing: CancellationToken,
    /// The connection has ended, and a child was reaped.
    pub(in crate::transport) ended: CancellationToken,
    /// Connections of the connector that are to be ended and have not ended yet.
    pub(in crate::transport) leaving: Arc<AtomicUsize>,
    asked_to_leave: AtomicBool,
    listening: AtomicBool,
}

impl Conversation {
    pub(in crate::transport) fn new(
        name: Arc<str>,
        own: bool,
        queue: mpsc::Sender<Item>,
        leaving: Arc<AtomicUsize>,
    ) -> Arc<Self> {
        Arc::new(Self {
            name,
            exchanges: Exchanges::new(own),
            queue,
            closing: CancellationToken::new(),
            ended: CancellationToken::new(),
            leaving,
            asked_to_leave: AtomicBool::new(false),
            listening: AtomicBool::new(false),
        })
    }

    /// Has the connection ended: once, at the first call.
    pub(in crate::transport) fn leave(&self) {
        if !self.asked_to_leave.swap(true, Ordering::AcqRel) {
            self.leaving.fetch_add(1, Ordering::AcqRel);
            self.closing.cancel();
        }
    }

    /// The connection has ended and all is over.
    pub(in crate::transport) fn finish(&self) {
        self.closing.cancel();
        if self.asked_to_leave.swap(true, Ordering::AcqRel) {
            self.leaving.fetch_sub(1, Ordering::AcqRel);
        }
        self.ended.cancel();
    }

    /// Tells the server, if there is room in the queue, that nobody waits for `id` any more.
    pub(in crate::transport) fn cancel(&self, id: u64) {
        let params = format!(r#"{{"requestId":{id},"reason":"nobody waits for the answer any more"}}"#);
        let body = Message::request(None, Method::Cancelled.as_str(), Some(&params));
        let item = Item { body, slip: Arc::default(), begun: oneshot::channel().0 };
        if self.queue.try_send(item).is_err() {
            tracing::debug!(server = %self.name, id, "no room to tell the server of a cancelled request");
        }
    }

    /// Waits until the first byte of `body` is about to be written, or fails with `NotSent`.
    async fn send(&self, body: Bytes, slip: Arc<Slip>) -> Result<()> {
        let (begun, began) = oneshot::channel();
        let item = Item { body, slip: slip.clone(), begun };
        let queued = async {
            self.queue.send(item).await.ok()?;
            began.await.ok()
        };
        let error = match tokio::time::timeout(QUEUE_WAIT, queued).await {
            Ok(Some(())) => return Ok(()),
            Ok(None) => self.exchanges.ended().unwrap_or_else(|| {
                Error::new(ErrorKind::Unavailable, "the server's input is full; try again").not_sent()
            }),
            Err(_) => Error::new(
                ErrorKind::Timeout,
                "the server has not read its input for 10 s; the message was not sent",
            )
            .not_sent(),
        };
        // The writer may have come to it in the last moment.
        if slip.abandon() || !slip.is_started() { Err(error) } else { Ok(()) }
    }
}

/// Has the connection ended when its last user is gone.
struct Needed(Arc<Conversation>);

impl Drop for Needed {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// A request under way. Dropping it before its answer closes the exchange and tells the server.
struct PendingExchange {
    needed: Arc<Needed>,
    id: u64,
    mailbox: Arc<Mailbox>,
    slip: Arc<Slip>,
    cancellable: bool,
    answered: bool,
}

impl PendingExchange {
    async fn next(&mut self) -> Option<Result<Message>> {
        let next = self.mailbox.next().await;
        if let Some(Ok(message)) = &next {
            self.answered |= message.method().is_none();
        }
        next
    }
}

impl Drop for PendingExchange {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let talk = &self.needed.0;
        let open = talk.exchanges.forget(self.id);
        if !self.slip.abandon() && self.slip.is_started() && open && self.cancellable {
            talk.cancel(self.id);
        }
    }
}

/// A link over one connection.
pub(in crate::transport) struct DuplexLink(Arc<Needed>);

impl DuplexLink {
    pub(in crate::transport) fn new(talk: Arc<Conversation>) -> Self {
        Self(Arc::new(Needed(talk)))
    }

    fn talk(&self) -> &Arc<Conversation> {
        &self.0.0
    }
}

impl fmt::Debug for DuplexLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DuplexLink({}, open: {})", self.talk().name, self.is_open())
    }
}

#[async_trait]
impl Link for DuplexLink {
    async fn request(&self, outgoing: Outgoing) -> Result<Exchange> {
        let slip = Arc::<Slip>::default();
        let mut waiting = PendingExchange {
            mailbox: self.talk().exchanges.begin(
                outgoing.id,
                slip.clone(),
                outgoing.method == Method::Listen,
            )?,
            needed: self.0.clone(),
            id: outgoing.id,
            slip: slip.clone(),
            // "The `initialize` request MUST NOT be cancelled by clients" (MCP, Cancellation).
            cancellable: outgoing.method != Method::Initialize,
            answered: false,
        };
        self.talk().send(outgoing.body, slip).await?;
        let cut = || Error::new(ErrorKind::BadUpstream, "the exchange ended without an answer");
        let first = waiting.next().await.unwrap_or_else(|| Err(cut()))?;
        if waiting.answered {
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
        self.talk().send(message, Arc::default()).await
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

    fn set_version(&self, _version: &str) {}

    fn cancels_when_dropped(&self) -> bool {
        true
    }

    fn is_open(&self) -> bool {
        !self.talk().closing.is_cancelled() && self.talk().exchanges.ended().is_none()
    }

    async fn close(&self) {
        self.talk().leave();
        self.talk().ended.cancelled().await;
    }
}
