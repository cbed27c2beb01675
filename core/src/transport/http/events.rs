//! Messages out of an answer that is a stream of events, taken up again where it broke if the server allows that.
//!
//! A server that gives its events ids keeps them for a client that asks again with the last one it saw (since
//! 2025-11-25 some close the stream on purpose and expect just that). Asking again is a GET: it delivers nothing
//! twice to the server.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method, Response};
use hyper::body::Incoming;
use tokio::sync::Notify;

use super::answer::{Kind, kind_of};
use super::connector::HttpConnector;
use super::encoding::Opener;
use super::pool::{PooledConnection, Purpose};
use crate::error::{Error, ErrorKind, Result};
use crate::rpc::headers::LAST_EVENT_ID;
use crate::rpc::incoming::{self, Incoming as Received, Meant, Unread};
use crate::rpc::sse::Decoder;
use crate::rpc::{Message, Shape};

/// The wait before a broken stream is asked for again, unless the server names another, and its bounds.
const PAUSE: Duration = Duration::from_secs(1);
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Times in a row that asking again may fail.
const ATTEMPTS: u32 = 3;

/// The messages of one stream. Dropping it closes its connection.
pub(super) struct Events {
    /// `None` while the stream is being taken up again, and after it ended.
    open: Option<OpenStream>,
    decoder: Decoder,
    /// Messages of a batch that wait.
    waiting: VecDeque<Message>,
    resume: Option<Resume>,
}

/// The rest of a stream: its connection, its body, and the opener of its encoding.
type OpenStream = (PooledConnection, Incoming, Opener);

/// The data needed to ask for the rest of a stream.
pub(super) struct Resume {
    pub(super) connector: Arc<HttpConnector>,
    /// Those of the session.
    pub(super) headers: Arc<HeaderMap>,
    /// Set when the server gives an event an id.
    pub(super) numbers: Arc<AtomicBool>,
    /// Is notified when the server has ended a stream that can be taken up again.
    pub(super) pauses: Option<Arc<Notify>>,
}

impl Events {
    /// The events of an answer; an error if its encoding is not read.
    pub(super) fn new(
        held: PooledConnection,
        response: Response<Incoming>,
        resume: Option<Resume>,
    ) -> Result<Self> {
        let opener = Opener::of(response.headers())?;
        let open = Some((held, response.into_body(), opener));
        Ok(Self { open, decoder: Decoder::default(), waiting: VecDeque::new(), resume })
    }

    /// The next message; `None` when the stream is over.
    pub(super) async fn next(&mut self) -> Result<Option<Message>> {
        loop {
            if let Some(message) = self.waiting.pop_front() {
                return Ok(Some(message));
            }
            while let Some(event) = self.decoder.next()? {
                if let (Some(_), Some(resume)) = (&event.id, &self.resume)
                    && !resume.numbers.load(Ordering::Relaxed)
                {
                    resume.numbers.store(true, Ordering::Relaxed);
                }
                // An event without data only carries the id from which a stream can be taken up again.
                if !event.is_message() || event.data.is_empty() {
                    continue;
                }
                match Received::read(&event.data) {
                    Ok(Received::One(message)) => return Ok(Some(message)),
                    Ok(Received::Many(messages)) => {
                        self.waiting.extend(messages);
                        break;
                    }
                    // A message beside the answer costs itself alone.
                    Err(Unread { error, meant: Meant::Message }) => {
                        tracing::warn!(%error, "passed over a message of a server that cannot be read");
                    }
                    Err(Unread { error, .. }) => return Err(not_mcp(error)),
                }
            }
            if !self.waiting.is_empty() {
                continue;
            }
            let Some((held, body, opener)) = &mut self.open else { return Ok(None) };
            match poll_fn(|cx| held.poll_chunk(body, cx)).await {
                Some(Ok(chunk)) => {
                    let chunk = opener.push(chunk)?;
                    self.decoder.push(chunk);
                }
                end => {
                    self.open = None;
                    if !self.resume().await {
                        return end.transpose().map(|_| None);
                    }
                }
            }
        }
    }

    /// Gives the connection back: nothing more is wanted of the stream.
    fn finish(&mut self) {
        if let Some((held, body, _)) = self.open.take() {
            held.release(Some(body));
        }
    }

    /// Whether the stream goes on.
    async fn resume(&mut self) -> bool {
        let Some(resume) = &self.resume else { return false };
        let Some(id) = self.decoder.last_id().and_then(|id| HeaderValue::from_str(id).ok()) else {
            return false;
        };
        if let Some(pauses) = &resume.pauses {
            pauses.notify_one();
        }
        for _ in 0..ATTEMPTS {
            let pause = self.decoder.retry().unwrap_or(PAUSE).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
            tokio::time::sleep(pause).await;
            match resume.ask(&id).await {
                Ok(open) => {
                    self.decoder.restart();
                    self.open = open;
                    return self.open.is_some();
                }
                Err(error) => tracing::debug!(%error, "a broken stream cannot be taken up again yet"),
            }
        }
        false
    }
}

impl Resume {
    /// The rest of the stream behind the event `id`; `None` if the server refuses it.
    async fn ask(&self, id: &HeaderValue) -> Result<Option<OpenStream>> {
        let headers = self.connector.dressed(&self.headers).await?;
        let mut headers = HttpConnector::listen_headers(&headers);
        headers.insert(LAST_EVENT_ID, id.clone());
        let request = || self.connector.build(Method::GET, headers.clone(), Bytes::new());
        let (held, response) = self.connector.send(Purpose::Call, None, request).await?;
        if response.status().is_success() && matches!(kind_of(&response), Ok(Kind::Events)) {
            let opener = Opener::of(response.headers())?;
            Ok(Some((held, response.into_body(), opener)))
        } else {
            held.release(Some(response.into_body()));
            Ok(None)
        }
    }
}

/// The first message that the server sends for the request `id`, and the stream if it is not the response.
pub(super) async fn begin(mut events: Events, id: u64) -> Result<(Message, Option<Events>)> {
    let first = events.next().await?.ok_or_else(cut)?;
    if first.shape() != Shape::Response {
        return Ok((first, Some(events)));
    }
    let response = check_id(first, id)?;
    events.finish();
    Ok((response, None))
}

/// `first`, if there is one, and what follows it, up to the response to the request `id`.
pub(super) fn answer(
    first: Option<Message>,
    events: Events,
    id: u64,
) -> impl Stream<Item = Result<Message>> + Send {
    stream::unfold((first, Some(events)), move |(first, events)| async move {
        if let Some(first) = first {
            return Some((Ok(first), (None, events)));
        }
        let (message, events) = match begin(events?, id).await {
            Ok((message, events)) => (Ok(message), events),
            Err(error) => (Err(error), None),
        };
        Some((message, (None, events)))
    })
}

/// `response` if it answers the request `id`.
pub(super) fn check_id(response: Message, id: u64) -> Result<Message> {
    if response.shape() == Shape::Response && response.id_number() == Some(id) {
        return Ok(response);
    }
    if let Some(response) = incoming::adopted(&response, id) {
        return Ok(response);
    }
    let answered: String = response.id().unwrap_or("null").chars().take(40).collect();
    let said: String = response.error().unwrap_or_default().chars().take(200).collect();
    let message = "the server answered something else than the request it was sent";
    let error = Error::new(ErrorKind::BadUpstream, message).with("asked", id).with("answered", answered);
    Err(if said.is_empty() { error } else { error.caused_by(said) })
}

/// The error for bytes that are no message: the server's fault, not the caller's.
pub(super) fn not_mcp(error: Error) -> Error {
    let message = format!("the server sent what is not an MCP message: {}", error.message());
    Error::new(ErrorKind::BadUpstream, message).caused_by(error)
}

fn cut() -> Error {
    Error::new(ErrorKind::BadUpstream, "the server ended its stream without an answer")
}
