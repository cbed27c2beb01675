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
    /// A link is being opened, and is not open before this returns; `unasked` takes messages outside any exchange for as long as
    /// the link lives.
    async fn opened(&self, unasked: Replies) {
        drop(unasked);
    }

    /// Handles one message. For a request `replies` takes notifications and requests of the server's, and at last the response,
    /// with which the exchange ends; dropped before that, the request was cancelled. For a notification or the response to a
    /// request of the server's, `replies` takes messages that belong to no exchange.
    async fn handle(&self, message: Message, replies: Replies);
}

/// The channel for a handler's messages.
#[derive(Clone, Debug)]
pub struct Replies(mpsc::Sender<Message>);

impl Replies {
    /// Sends one message, and waits while 1024 are unread. [`ErrorKind::Parse`] or [`ErrorKind::InvalidRequest`] if it is
    /// none, [`ErrorKind::Cancelled`] if nobody reads any more.
    pub async fn send(&self, message: Bytes) -> Result<()> {
        let message = Message::parse(message)?;
        self.0
            .send(message)
            .await
            .map_err(|_| Error::new(ErrorKind::Cancelled, "the request has no waiting caller any more"))
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

    fn is_duplex(&self) -> bool {
        false
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
        let closed = || Error::new(ErrorKind::Unavailable, "the connection was closed").not_sent();
        if self.is_open() { Ok(()) } else { Err(closed()) }
    }
}

/// A handler at work, driven by the reader of its replies; dropping it cancels it.
struct HandlerWork {
    running: Option<BoxFuture<'static, ()>>,
    replies: mpsc::Receiver<Message>,
    answered: bool,
}

impl HandlerWork {
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
        let mut work = HandlerWork { running: Some(running), replies, answered: false };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Delivery;
    use crate::rpc::Method;

    /// Tells of its progress before each answer but that of `ping`, leaves `tools/list` without one, and never ends with
    /// `tools/call`.
    struct Server;

    #[async_trait]
    impl Handler for Server {
        async fn handle(&self, message: Message, replies: Replies) {
            let changed = || Message::request(None, "notifications/tools/list_changed", None);
            let progress = || Message::request(None, "notifications/progress", None);
            let Some(id) = message.id() else { return replies.send(changed()).await.unwrap() };
            if message.method() != Some(&Method::Ping) {
                replies.send(progress()).await.unwrap();
            }
            match message.method() {
                Some(Method::ToolsList) => {}
                Some(Method::ToolsCall) => std::future::pending().await,
                _ => replies.send(crate::rpc::answer::result_response(id, "{}")).await.unwrap(),
            }
        }
    }

    async fn link() -> Arc<dyn Link> {
        MemoryConnector::new(Arc::new(Server)).connect(true).await.unwrap()
    }

    async fn ask(link: &Arc<dyn Link>, method: &str) -> Result<Exchange> {
        let body = Message::request(Some(1), method, None);
        link.request(Outgoing {
            id: 1,
            method: Method::of(method),
            body,
            correlation_id: None,
            headers: None,
            pauses: None,
            queued: None,
            call: None,
        })
        .await
    }

    #[tokio::test]
    async fn one_message_or_many_reach_the_caller_in_order() {
        let link = link().await;
        assert!(matches!(ask(&link, "ping").await, Ok(Exchange::One(_))));
        let Ok(Exchange::Many(messages)) = ask(&link, "prompts/list").await else { panic!("one message") };
        let messages: Vec<_> = messages.map(Result::unwrap).collect().await;
        assert_eq!((messages[0].shape(), messages[1].shape()), (Shape::Notification, Shape::Response));
    }

    #[tokio::test]
    async fn a_handler_that_ends_without_an_answer_cuts_the_exchange() {
        let link = link().await;
        let Ok(Exchange::Many(messages)) = ask(&link, "tools/list").await else { panic!("one message") };
        let messages: Vec<_> = messages.collect().await;
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[1].as_ref().unwrap_err().kind(), ErrorKind::BadUpstream);
    }

    #[tokio::test]
    async fn a_dropped_exchange_ends_the_handler() {
        let handler = Arc::new(Server);
        let link = MemoryConnector::new(handler.clone()).connect(true).await.unwrap();
        let Ok(Exchange::Many(mut messages)) = ask(&link, "tools/call").await else { panic!("one message") };
        assert!(messages.next().await.is_some());
        let working = Arc::strong_count(&handler);
        drop(messages);
        assert_eq!(Arc::strong_count(&handler), working - 1);
    }

    #[tokio::test]
    async fn what_belongs_to_no_exchange_reaches_the_listener_and_a_closed_link_takes_nothing() {
        let link = link().await;
        let mut unasked = link.listen().await.unwrap();
        assert!(link.listen().await.is_none());
        link.notify(Message::request(None, "notifications/initialized", None)).await.unwrap();
        assert_eq!(unasked.next().await.unwrap().method(), Some(&Method::ToolsChanged));
        link.close().await;
        assert_eq!(ask(&link, "ping").await.err().unwrap().delivery(), Delivery::NotSent);
    }
}
