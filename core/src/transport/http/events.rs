//! Messages out of an answer that is a stream of events.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use hyper::body::Incoming;

use super::pool::Held;
use crate::error::{Error, ErrorKind, Result};
use crate::rpc::sse::Decoder;
use crate::rpc::{Message, Shape};

/// The messages of one stream. Dropping it closes its connection.
pub(super) struct Events {
    held: Held,
    body: Incoming,
    decoder: Decoder,
}

impl Events {
    pub(super) fn new(held: Held, body: Incoming) -> Self {
        Self { held, body, decoder: Decoder::default() }
    }

    /// The next message; `None` when the server ended the stream.
    pub(super) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message>>> {
        loop {
            while let Some(event) = self.decoder.next()? {
                // An event without data only carries the id from which a stream can be taken up again.
                if event.is_message() && !event.data.is_empty() {
                    return Poll::Ready(Some(Message::parse(event.data).map_err(not_mcp)));
                }
            }
            match ready!(self.held.poll_chunk(&mut self.body, cx)) {
                Some(Ok(chunk)) => self.decoder.push(chunk),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }

    /// Gives the connection back: nothing more is wanted of the stream.
    pub(super) fn finish(self) {
        self.held.release(Some(self.body));
    }
}

/// What the server sends for one request: its first message, read already, and what follows up to the response.
pub(super) struct Answer {
    first: Option<Message>,
    /// `None` after the response or an error.
    events: Option<Events>,
    id: u64,
}

impl Answer {
    pub(super) fn new(first: Message, events: Events, id: u64) -> Self {
        Self { first: Some(first), events: Some(events), id }
    }
}

impl Stream for Answer {
    type Item = Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let Some(events) = &mut self.events else { return Poll::Ready(None) };
        let item = match ready!(events.poll_message(cx)) {
            Some(Ok(message)) if message.shape() != Shape::Response => return Poll::Ready(Some(Ok(message))),
            Some(Ok(response)) => match check_id(response, self.id) {
                Ok(response) => {
                    if let Some(events) = self.events.take() {
                        events.finish();
                    }
                    Ok(response)
                }
                Err(error) => Err(error),
            },
            Some(Err(error)) => Err(error),
            None => Err(cut()),
        };
        self.events = None;
        Poll::Ready(Some(item))
    }
}

/// `response` if it answers the request `id`.
pub(super) fn check_id(response: Message, id: u64) -> Result<Message> {
    if response.id_number() == Some(id) {
        return Ok(response);
    }
    let answered: String = response.id().unwrap_or("null").chars().take(40).collect();
    let said: String = response.error().unwrap_or_default().chars().take(200).collect();
    let error =
        Error::new(ErrorKind::BadUpstream, "the server answered another request than the one it was sent")
            .with("asked", id)
            .with("answered", answered);
    Err(if said.is_empty() { error } else { error.caused_by(said) })
}

/// The stream ended and the response was not in it.
pub(super) fn cut() -> Error {
    Error::new(ErrorKind::BadUpstream, "the server ended its stream without an answer")
}

/// What a server sent is no message: its fault, not the caller's.
pub(super) fn not_mcp(error: Error) -> Error {
    let message = format!("the server sent what is not an MCP message: {}", error.message());
    Error::new(ErrorKind::BadUpstream, message).caused_by(error)
}
