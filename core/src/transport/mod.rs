//! To one server: a connector opens links, a link carries messages.
//!
//! Three layers, each with one job. A [`Connector`] belongs to one registered server and knows how to reach it
//! (it owns the connection pool, or the command line). A [`Link`] is one conversation with the server: an HTTP
//! session, or a child process. A [`Session`] is a link over which both sides have introduced themselves.
//!
//! A link does not interpret messages beyond what it needs to bring an answer to its question.

mod connect;
mod discreet;
mod duplex;
pub mod guard;
#[cfg(feature = "http")]
pub mod http;
pub mod memory;
pub mod in_process;
pub mod unread;
pub mod pipe;
#[cfg(feature = "http")]
mod queue;
pub mod session;
#[cfg(feature = "http")]
pub mod sse;
pub mod stdio;
pub mod credential_provider;
#[cfg(feature = "websocket")]
pub mod websocket;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderMap;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use tokio::sync::Notify;

use crate::clock::Tick;
use crate::error::Result;
use crate::rpc::{Message, Method};

pub use connect::{ConnectorFactory, TransportContext, connect};
pub use session::{Hello, Session};

/// A request on its way to a server. Its id and its progress token, if it has one, are both `id`.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The id in `body`, unique within the link.
    pub id: u64,
    /// The method in `body`.
    pub method: Method,
    /// The message.
    pub body: Bytes,
    /// Ties the log lines of a call together; sent along as `X-Correlation-Id` where the transport has headers.
    pub correlation_id: Option<Arc<str>>,
    /// Headers of the client that the server must receive, such as `Mcp-Param-*`; boxed, since most requests have none.
    pub headers: Option<Box<HeaderMap>>,
    /// Is notified each time that the server ends the stream of its answer and wants to be asked for the rest of it, where the
    /// caller wants to do likewise.
    pub pauses: Option<Arc<Notify>>,
    /// How the request waits for a connection, if it is a caller's.
    pub queued: Option<Queued>,
    /// The call that it is sent for, if its answer counts among what its caller leaves unread.
    pub call: Option<Arc<dyn unread::HasRoom>>,
}

/// A request as the queue for a server's connections looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued {
    /// The same number for all requests of one caller, and another for each other caller.
    pub caller: u64,
    /// When the request must have its answer.
    pub deadline: Tick,
}

/// The connections of one server and the queue for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Connections in use.
    pub taken: u64,
    /// Calls that wait for one.
    pub waiting: u64,
    /// Calls that have waited, those that waited in vain included.
    pub waits: u64,
    /// The time that they waited, added up.
    pub waited: Duration,
    /// Calls that were refused because the queue was full.
    pub refusals: u64,
}

/// A server's answer to a request.
pub enum Exchange {
    /// It answers with one message, which is the response.
    One(Message),
    /// It sends notifications and requests of its own, then the response, with which the stream ends.
    /// A stream that ends without the response was cut. Dropping it tells the transport that the request has no waiting caller any more.
    Many(BoxStream<'static, Result<Message>>),
}

/// One conversation with a server.
#[async_trait]
pub trait Link: Send + Sync + fmt::Debug {
    /// Sends a request and returns the answer, or the stream that ends with it.
    ///
    /// An error says by [`Error::delivery`](crate::Error::delivery) whether the server can have seen the request.
    /// [`ErrorKind::SessionNotFound`](crate::ErrorKind::SessionNotFound): the server has forgotten the session; open another.
    async fn request(&self, outgoing: Outgoing) -> Result<Exchange>;

    /// Sends a notification, or the response to a request of the server's.
    async fn notify(&self, message: Bytes) -> Result<()>;

    /// The messages that the server sends outside any exchange. `None` if the transport or the server has no such stream, or it
    /// was taken already. For HTTP this opens the GET stream; it ends when the server ends it.
    async fn listen(&self) -> Option<BoxStream<'static, Message>>;

    /// Tells the link which revision was negotiated.
    fn set_version(&self, version: &str);

    /// Whether giving up a request is itself told to the server, as far as the protocol wants it told.
    fn cancels_when_dropped(&self) -> bool {
        false
    }

    /// Whether the server was seen to number its events, so that a stream which it ends can be taken up again.
    fn numbers(&self) -> bool {
        false
    }

    /// Whether the link can still carry messages, as far as is known without trying.
    fn is_open(&self) -> bool;

    /// Ends the conversation: the HTTP session is deleted, the child asked to leave, then killed.
    async fn close(&self);
}

/// A step on the way to a server, `program`, `resolve`, `connect` or `tls`, and what was found.
pub type ExaminedStep = (&'static str, Result<String>);

/// Opens links to one server.
#[async_trait]
pub trait Connector: Send + Sync + fmt::Debug {
    /// Opens a link. `own`: it will carry one client's messages only, so that a message that belongs to no exchange
    /// may be handed to any exchange of it; on a shared link such a message goes to [`Link::listen`] alone.
    async fn connect(&self, own: bool) -> Result<Arc<dyn Link>>;

    /// Whether the server can be reached at all: opens a connection and closes it; for stdio, whether the program can be started.
    async fn check(&self) -> Result<()>;

    /// As [`Connector::check`], step by step: the name of each step, and what was found. The first that fails is the last.
    async fn examine(&self) -> Vec<ExaminedStep> {
        let (step, found) = if self.starts_process() {
            ("program", "the program is there and may be started")
        } else {
            ("connect", "it can be reached")
        };
        vec![(step, self.check().await.map(|()| found.to_owned()))]
    }

    /// Whether all messages of a link, those of both sides, pass over one connection that lasts as long as the link. Else each
    /// exchange has a connection of its own, and so has [`Link::listen`]: it costs one more, and a message that comes in an
    /// exchange belongs to it.
    fn is_duplex(&self) -> bool {
        true
    }

    /// Whether each client has a link of its own unless the server's registration says otherwise, so that the server can
    /// remember each apart. Else, because a link costs a process or a connection as long as it lives, clients share one as far as
    /// they have nothing that the server must remember.
    fn remembers_clients(&self) -> bool {
        true
    }

    /// Whether a link is a process of its own, which was started for it and ends with it.
    fn starts_process(&self) -> bool {
        false
    }

    /// The last lines that the program which was started last wrote to its standard error, at most 20, without secrets; empty if
    /// nothing is started. They are for operators.
    fn last_output(&self) -> Vec<String> {
        Vec::new()
    }

    /// The connections in use and the queue for them; `None` where calls need no connection of their own.
    fn queue(&self) -> Option<QueueStats> {
        None
    }

    /// The connector for one caller's messages alone, which sends the caller's own credentials; `None` if this transport sends no
    /// credentials.
    fn for_caller(&self, _subject: &Arc<str>) -> Option<Arc<dyn Connector>> {
        None
    }
}
