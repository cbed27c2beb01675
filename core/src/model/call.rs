//! One call on its path through the gateway, and its reply.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use http::HeaderMap;

use super::Endpoint;
use super::ids::ServerId;
use crate::rpc::version::Era;
use crate::rpc::{Message, Method};

/// What a client does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Sends a message.
    Send(Message),
    /// Opens the stream of a legacy session for messages of the server side.
    Listen,
    /// Takes up the stream of a legacy session's call behind the event of this id (`Last-Event-ID`).
    Resume(Box<str>),
    /// Ends a legacy session.
    End,
}

impl Action {
    /// Whether it can be understood without a session: since 2025-03-26 a server need not open one. A client that changes what a
    /// session keeps, or answers what was asked in it, must have one.
    pub(crate) fn stands_alone(&self) -> bool {
        let Self::Send(message) = self else { return false };
        !matches!(
            message.method(),
            Some(Method::SetLevel | Method::ResourcesSubscribe | Method::ResourcesUnsubscribe) | None
        )
    }
}

/// The requests that `/mcp/proxy` may make of routing.
#[derive(Clone, Debug, Default)]
pub struct RoutingHints {
    /// The server must offer these tools.
    pub required_tools: Vec<String>,
    /// The server must offer these resources.
    pub required_resources: Vec<String>,
    /// Names or ids of servers to take before others, best first.
    pub preferred_servers: Vec<String>,
    /// Longest wait for the answer.
    pub timeout: Option<Duration>,
}

/// One call, from any entry point.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of one request")]
pub struct Call {
    /// Where it came in.
    pub route: Endpoint,
    /// What it does.
    pub action: Action,
    /// How the client speaks: a modern message has all that belongs to it in its `_meta`.
    pub era: Era,
    /// The session that it claims to belong to (`Mcp-Session-Id`).
    pub session: Option<String>,
    /// The request's headers; nothing in them is trusted.
    pub headers: HeaderMap,
    /// Ties its log lines and audit rows together.
    pub correlation_id: Arc<str>,
    /// Whether the caller can take the answer as a stream.
    pub streams: bool,
    /// Whether the caller can take such a stream up again where it broke, which needs ids of its events.
    pub resumes: bool,
    /// Present for calls that stand alone, without a session.
    pub hints: Option<RoutingHints>,
    /// Whether the entry point that it came in by offers the gateway's own service.
    pub builtin: bool,
    /// Whether its answer is written to a connection: large ones then count as unread until their last byte was written.
    pub over_network: bool,
}

/// The reply to a call, if there is one.
pub enum Reply {
    /// One message.
    Message {
        /// The response.
        body: Bytes,
        /// The session that was opened by it.
        session: Option<Arc<str>>,
        /// The server that answered.
        server: Option<ServerId>,
    },
    /// An error response of a server to a modern client: entry points whose transport has a status say it there, too.
    Refused {
        /// The response.
        body: Bytes,
        /// The error's code.
        code: i32,
        /// The server that answered.
        server: Option<ServerId>,
    },
    /// Messages, the last of which is the response if the call was a request.
    Stream {
        /// The messages.
        messages: BoxStream<'static, Bytes>,
        /// The server that answers.
        server: Option<ServerId>,
        /// How the messages are numbered, if the stream can be taken up again.
        numbering: Option<Numbering>,
    },
    /// Taken; there is nothing to answer.
    Accepted,
}

/// How the messages of a stream are numbered that can be taken up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbering {
    /// The stream, among those of its client.
    pub stream: u64,
    /// The number of the message before the first.
    pub last: u64,
    /// The client knows of events without data, and of streams that end before their call (since 2025-11-25).
    pub polls: bool,
}

impl Numbering {
    /// The id of the message so many behind the one before the first.
    pub fn id(&self, behind: u64) -> String {
        format!("{}-{}", self.stream, self.last + behind)
    }
}

impl Reply {
    /// A response made by the gateway itself.
    pub fn own(body: Bytes) -> Self {
        Self::Message { body, session: None, server: None }
    }
}
