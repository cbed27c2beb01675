//! The form of an answer, as it is in use: its type, which may be missing or wrong, and the messages in a body that is read whole.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};

use super::MAX_BODY;
use super::events::{check_id, not_mcp};
use crate::error::{Error, ErrorKind, Result};
use crate::rpc::incoming::Incoming;
use crate::rpc::sse::Decoder;
use crate::rpc::{Message, Shape};
use crate::transport::Exchange;

/// The form of the answer to a message.
pub(super) enum Kind {
    Json,
    Events,
    Nothing,
}

/// An answer that came as one body.
pub(super) fn whole(bytes: Bytes, id: u64) -> Result<Exchange> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(unanswered());
    }
    let received = if looks_like_events(&bytes) { from_events(bytes)? } else { received(&bytes)? };
    let mut messages = match received {
        Incoming::One(message) => return check_id(message, id).map(Exchange::One),
        Incoming::Many(messages) => messages,
    };
    // A batch: the answer ends the exchange, wherever it stood.
    let is_answer = |message: &Message| message.shape() == Shape::Response && message.id_number() == Some(id);
    let Some(at) = messages.iter().position(is_answer) else { return Err(unanswered()) };
    let answer = messages.remove(at);
    messages.retain(|message| message.shape() != Shape::Response);
    if messages.is_empty() {
        return Ok(Exchange::One(answer));
    }
    messages.push(answer);
    Ok(Exchange::Many(stream::iter(messages.into_iter().map(Ok)).boxed()))
}

fn received(bytes: &Bytes) -> Result<Incoming> {
    Incoming::read(bytes).map_err(|unread| not_mcp(unread.error))
}

/// Whether a body whose type does not say so is a stream of events.
fn looks_like_events(bytes: &Bytes) -> bool {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    [&b"data:"[..], b"event:", b"id:", b"retry:", b":"].iter().any(|begin| text.starts_with(begin))
}

fn from_events(bytes: Bytes) -> Result<Incoming> {
    let mut decoder = Decoder::with_limit(MAX_BODY);
    decoder.push(bytes);
    // The last event may lack the blank line behind it.
    decoder.push(Bytes::from_static(b"\n\n"));
    let mut messages = Vec::new();
    while let Some(event) = decoder.next()? {
        if event.is_message() && !event.data.is_empty() {
            messages.extend(received(&event.data)?.into_messages());
        }
    }
    Ok(Incoming::Many(messages))
}

pub(super) fn kind_of<B: http_body::Body>(response: &Response<B>) -> Result<Kind> {
    let value = response.headers().get(CONTENT_TYPE);
    let is_empty = response.body().size_hint().exact() == Some(0);
    match response.status() {
        StatusCode::NO_CONTENT => return Ok(Kind::Nothing),
        // Some servers accept a request and answer it all the same.
        StatusCode::ACCEPTED if value.is_none() || is_empty => return Ok(Kind::Nothing),
        _ => {}
    }
    let Some(value) = value else { return Ok(Kind::Json) };
    let value = value.to_str().unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match &*essence {
        "text/event-stream" => Ok(Kind::Events),
        // Types that name no other form; the body tells.
        "" | "application/json" | "text/json" | "text/plain" | "application/octet-stream" => Ok(Kind::Json),
        json if json.starts_with("application/json") || json.ends_with("+json") => Ok(Kind::Json),
        _ => {
            let message = format!(
                "the server answered with {essence:?}, which is neither JSON nor a stream of events; check endpoint_url"
            );
            Err(Error::new(ErrorKind::BadUpstream, message).with("content_type", essence))
        }
    }
}

pub(super) fn unanswered() -> Error {
    Error::new(ErrorKind::BadUpstream, "the server accepted the request and never answered it")
}
