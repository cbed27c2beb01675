//! One conversation with a child, from the asking side.

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
use super::lines::framed;
use super::mailbox::Mailbox;
use crate::error::{Error, ErrorKind, Result};
use crate::rpc::{Message, Method};
use crate::transport::{Exchange, Link, Outgoing};

/// How long a message may wait for the child to read what stands before it.
pub(super) const QUEUE_WAIT: Duration = Duration::from_secs(10);
/// Messages that may wait to be written.
pub(super) const QUEUE: usize = 256;

/// A line on its way to the child.
pub(super) struct Item {
    pub(super) line: Vec<u8>,
    pub(super) slip: Arc<Slip>,
    /// Told when the first byte is about to be written.
    pub(super) begun: oneshot::Sender<()>,
}

/// What the link, its streams and the tasks of its child share.
pub(super) struct Conversation {
    /// The server's name, for logs.
    pub(super) name: Arc<str>,
    pub(super) exchanges: Exchanges,
    pub(super) queue: mpsc::Sender<Item>,
    /// The child is to leave.
    pub(super) closing: CancellationToken,
    /// The child was reaped.
    pub(super) ended: CancellationToken,
    /// Children of the connector that were asked to leave and are not reaped yet.
    pub(super) leaving: Arc<AtomicUsize>,
    asked_to_leave: AtomicBool,
    listening: AtomicBool,
}

impl Conversation {
    pub(super) fn new(
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

    /// Has the child leave. Once, whoever asks first.
    pub(super) fn leave(&self) {
        if !self.asked_to_leave.swap(true, Ordering::AcqRel) {
            self.leaving.fetch_add(1, Ordering::AcqRel);
            self.closing.cancel();
        }
    }

    /// The child was reaped and all is over.
    pub(super) fn finish(&self) {
        self.closing.cancel();
        if self.asked_to_leave.swap(true, Ordering::AcqRel) {
            self.leaving.fetch_sub(1, Ordering::AcqRel);
        }
        self.ended.cancel();
    }

    /// Tells the server, if there is room in the queue, that nobody waits for `id` any more.
    pub(super) fn cancel(&self, id: u64) {
        let params = format!(r#"{{"requestId":{id},"reason":"nobody waits for the answer any more"}}"#);
        let body = Message::request(None, Method::Cancelled.as_str(), Some(&params));
        let item = Item { line: framed(&body), slip: Arc::default(), begun: oneshot::channel().0 };
        if self.queue.try_send(item).is_err() {
            tracing::debug!(server = %self.name, id, "no room to tell the server of a cancelled request");
        }
    }

    /// Waits until the first byte of `body` is about to be written, or fails with `NotSent`.
    async fn send(&self, body: &[u8], slip: Arc<Slip>) -> Result<()> {
        let (begun, began) = oneshot::channel();
        let item = Item { line: framed(body), slip: slip.clone(), begun };
        let queued = async {
            self.queue.send(item).await.ok()?;
            began.await.ok()
        };
        let error = match tokio::time::timeout(QUEUE_WAIT, queued).await {
            Ok(Some(())) => return Ok(()),
            Ok(None) => self.exchanges.ended().unwrap_or_else(|| {
                Error::new(ErrorKind::Unavailable, "the server's process takes no more input; try again")
                    .not_sent()
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

/// Has the child leave when the last that needs it is gone.
struct Needed(Arc<Conversation>);

impl Drop for Needed {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// A request under way. Dropping it before its answer closes the exchange and tells the server.
struct Waiting {
    needed: Arc<Needed>,
    id: u64,
    mailbox: Arc<Mailbox>,
    slip: Arc<Slip>,
    cancellable: bool,
    answered: bool,
}

impl Waiting {
    async fn next(&mut self) -> Option<Result<Message>> {
        let next = self.mailbox.next().await;
        if let Some(Ok(message)) = &next {
            self.answered |= message.method().is_none();
        }
        next
    }
}

impl Drop for Waiting {
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

/// A link to one child.
pub(super) struct StdioLink(Arc<Needed>);

impl StdioLink {
    pub(super) fn new(talk: Arc<Conversation>) -> Self {
        Self(Arc::new(Needed(talk)))
    }

    fn talk(&self) -> &Arc<Conversation> {
        &self.0.0
    }
}

impl fmt::Debug for StdioLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StdioLink({}, open: {})", self.talk().name, self.is_open())
    }
}

#[async_trait]
impl Link for StdioLink {
    async fn request(&self, outgoing: Outgoing) -> Result<Exchange> {
        let slip = Arc::<Slip>::default();
        let mut waiting = Waiting {
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
        self.talk().send(&outgoing.body, slip).await?;
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
        self.talk().send(&message, Arc::default()).await
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
