//! A server inside this process: a program that embeds the gateway answers the messages itself.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::{Mutex, mpsc};

use super::{Connector, Exchange, Link, Outgoing};
use crate::error::{Error, ErrorKind, Result};
use crate::rpc::{Message, Shape};

/// Messages of a handler that may wait to be read, in one exchange or outside of all.
const WAITING: usize = 1024;

/// An MCP server as a function.
#[async_trait]
pub trait Handler: Send + Sync {
    /// A link was opened; `unasked` takes what the server sends outside any exchange for as long as the link lives.
    async fn opened(&self, unasked: Replies) {
        drop(unasked);
    }

    /// Handles one message. For a request `replies` takes notifications and requests of the server's, and at last the
    /// response, with which the exchange ends; dropped before that, the request was cancelled. For a notification or
    /// the response to a request of the server's, `replies` takes what belongs to no exchange.
    async fn handle(&self, message: Message, replies: Replies);
}

/// Where a handler puts its messages.
#[derive(Clone, Debug)]
pub struct Replies(mpsc::Sender<Message>);

impl Replies {
    /// Sends one message, and waits while 1024 are unread. [`ErrorKind::Parse`] or [`ErrorKind::InvalidRequest`] if it is
    /// none, [`ErrorKind::Cancelled`] if nobody reads any more.
    pub async fn send(&self, message: Bytes) -> Result<()> {
        let message = Message::parse(message)?;
        self.0.send(message).await.map_err(|_| Error::new(ErrorKind::Cancelled, "nobody waits any more"))
    }
}

/// Connects to a [`Handler`].
pub struct MemoryConnector(Arc<dyn Handler>);

impl MemoryConnector {
    /// A connector whose links all lead to `handler`.
    pub fn new(handler: Arc<dyn Handler>) -> Self {
        Self(handler)
    }
}

impl fmt::Debug for MemoryConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryConnector")
    }
}

#[async_trait]
impl Connector for MemoryConnector {
    async fn connect(&self, _own: bool) -> Result<Arc<dyn Link>> {
        let (unasked, listen) = mpsc::channel(WAITING);
        self.0.opened(Replies(unasked.clone())).await;
        let (handler, listen) = (self.0.clone(), Mutex::new(Some(listen)));
        Ok(Arc::new(MemoryLink { handler, unasked, listen, open: AtomicBool::new(true) }))
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }
}

struct MemoryLink {
    handler: Arc<dyn Handler>,
    unasked: mpsc::Sender<Message>,
    listen: Mutex<Option<mpsc::Receiver<Message>>>,
    open: AtomicBool,
}

impl fmt::Debug for MemoryLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryLink(open: {})", self.is_open())
    }
}

impl MemoryLink {
    fn check(&self) -> Result<()> {
        let closed = || Error::new(ErrorKind::Unavailable, "the link was closed").not_sent();
        if self.is_open() { Ok(()) } else { Err(closed()) }
    }
}

/// A handler at work, driven by whoever reads its replies; dropping it cancels it.
struct Work {
    running: Option<BoxFuture<'static, ()>>,
    replies: mpsc::Receiver<Message>,
    answered: bool,
}

impl Work {
    async fn next(&mut self) -> Option<Result<Message>> {
        if self.answered {
            return None;
        }
        let message = loop {
            let Some(running) = &mut self.running else { break self.replies.recv().await };
            tokio::select! {
                biased;
                message = self.replies.recv() => break message,
                () = running => self.running = None,
            }
        };
        let cut = || Error::new(ErrorKind::BadUpstream, "the handler ended without a response");
        self.answered = message.as_ref().is_none_or(|message| message.shape() == Shape::Response);
        Some(message.ok_or_else(cut))
    }
}

#[async_trait]
impl Link for MemoryLink {
    async fn request(&self, outgoing: Outgoing) -> Result<Exchange> {
        self.check()?;
        let message = Message::parse(outgoing.body).map_err(Error::not_sent)?;
        let (sender, replies) = mpsc::channel(WAITING);
        let handler = self.handler.clone();
        let running = Box::pin(async move { handler.handle(message, Replies(sender)).await });
        let mut work = Work { running: Some(running), replies, answered: false };
        let cut = || Error::new(ErrorKind::BadUpstream, "the handler ended without a response");
        let first = work.next().await.unwrap_or_else(|| Err(cut()))?;
        if work.answered {
            return Ok(Exchange::One(first));
        }
        let rest = stream::unfold(work, |mut work| async move { Some((work.next().await?, work)) });
        Ok(Exchange::Many(stream::once(async { Ok(first) }).chain(rest).boxed()))
    }

    async fn notify(&self, message: Bytes) -> Result<()> {
        self.check()?;
        let message = Message::parse(message).map_err(Error::not_sent)?;
        self.handler.handle(message, Replies(self.unasked.clone())).await;
        Ok(())
    }

    async fn listen(&self) -> Option<BoxStream<'static, Message>> {
        let messages = self.listen.lock().await.take()?;
        Some(stream::unfold(messages, |mut all| async move { Some((all.recv().await?, all)) }).boxed())
    }

    fn set_version(&self, _version: &str) {}

    fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    async fn close(&self) {
        self.open.store(false, Ordering::Release);
    }
}
