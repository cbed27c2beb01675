//! What a client hears of what a server says: ids and progress tokens mapped back, questions numbered anew.
//!
//! A message that cannot be brought to its owner goes nowhere; a question that nobody can be asked is answered for
//! the client, so that the server does not wait.

use std::sync::Arc;

use bytes::Bytes;

use super::client::Client;
use crate::rpc::answer::result_response;
use crate::rpc::object::range_in;
use crate::rpc::{Members, Message, Method, Shape, Splice};
use crate::transport::Session;

/// The way back from one session with a server to one client.
#[derive(Clone, Debug)]
pub(super) struct Relay {
    /// Whoever can be asked and told; `None` for calls without a session.
    pub(super) client: Option<Arc<Client>>,
    pub(super) session: Arc<Session>,
}

/// What becomes of a server's message.
#[derive(Debug)]
pub(super) enum Heard {
    /// The client hears this.
    Message(Bytes),
    /// The server hears this in return.
    Return(Bytes),
    /// Nobody hears anything.
    Nothing,
}

impl Relay {
    /// Maps a notification or a question of the server. `token` is the progress token that the server was given, and the
    /// client's own, byte for byte.
    pub(super) fn hear(&self, message: &Message, token: Option<(u64, &str)>) -> Heard {
        match message.shape() {
            Shape::Request => self.question(message),
            Shape::Notification => match message.method() {
                Some(Method::Progress) => progress(message, token),
                Some(Method::Cancelled) => self.question_cancelled(message),
                _ => Heard::Message(message.bytes().clone()),
            },
            Shape::Response => Heard::Nothing,
        }
    }

    fn question(&self, message: &Message) -> Heard {
        let id = message.id().unwrap_or("null");
        if message.method() == Some(&Method::Ping) {
            return Heard::Return(result_response(id, "{}"));
        }
        // On a shared session nobody declared that it can be asked.
        let client = self.client.as_ref().filter(|_| self.session.is_own());
        if let Some(number) = client.and_then(|client| client.ask(&self.session, id)) {
            return Heard::Message(message.with_id(number.to_string()).apply(message.bytes()));
        }
        let error = r#"{"code":-32601,"message":"no client can be asked here"}"#;
        Heard::Return(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#).into())
    }

    fn question_cancelled(&self, message: &Message) -> Heard {
        let mapped = || {
            let client = self.client.as_ref()?;
            let params = message.params()?;
            let members = Members::parse(params).ok()?;
            let raw = members.get("requestId")?;
            let number = client.asked_as(&self.session, raw)?;
            // Nobody waits for the answer any more.
            client.answered(number);
            let mut splice = Splice::new();
            splice.replace(message.range_of(raw), number.to_string());
            Some(splice.apply(message.bytes()))
        };
        mapped().map_or(Heard::Nothing, Heard::Message)
    }
}

/// Progress carries the token that the gateway gave; the client hears its own.
fn progress(message: &Message, token: Option<(u64, &str)>) -> Heard {
    mapped_progress(message, token).map_or(Heard::Nothing, Heard::Message)
}

/// Progress of the request that was given the token of the gateway's, with the client's own.
pub(super) fn mapped_progress(message: &Message, token: Option<(u64, &str)>) -> Option<Bytes> {
    let (given, own) = token?;
    let params = message.params()?;
    let members = Members::parse(params).ok()?;
    let raw = members.get("progressToken")?;
    if raw.parse() != Ok(given) {
        return None;
    }
    let mut splice = Splice::new();
    splice.replace(message.range_of(raw), own);
    Some(splice.apply(message.bytes()))
}

/// Where the progress token stands in a request's params, and what it is.
pub(super) fn progress_token(message: &Message) -> Option<(std::ops::Range<usize>, String)> {
    let params = message.params()?;
    // Most requests have none: one search is cheaper than reading every object.
    // A key can also be written with escapes, and what is not seen is not mapped.
    if memchr::memmem::find(params.as_bytes(), b"progressToken").is_none() && !params.contains("\\u") {
        return None;
    }
    let members = Members::parse(params).ok()?;
    let meta = members.get("_meta")?;
    let meta_members = Members::parse(meta).ok()?;
    let token = meta_members.get("progressToken")?;
    let base = message.range_of(params).start;
    let range = range_in(params, token);
    Some((base + range.start..base + range.end, token.to_owned()))
}
