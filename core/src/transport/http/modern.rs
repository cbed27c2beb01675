//! What the modern era wants of a POST: headers that repeat what the body says. There is no session, nothing to take up
//! again, and a client cancels by closing the stream.

use http::header::HeaderMap;

use super::status::Refusal;
use crate::error::{Error, ErrorKind, Result};
use crate::rpc::headers::{self, METHOD, NAME, PROTOCOL_VERSION};
use crate::rpc::version::MODERN;
use crate::rpc::{Members, Message};
use crate::transport::Outgoing;

/// Adds to `base` the headers of this request: what the client's own say that the gateway has no better word for, then
/// those that the body decides, so that both always agree.
///
/// [`ErrorKind::Parse`] or [`ErrorKind::InvalidRequest`], not sent, if the body is no message.
pub(super) fn complete(base: &mut HeaderMap, outgoing: &Outgoing) -> Result<()> {
    let message = Message::parse(outgoing.body.clone()).map_err(Error::not_sent)?;
    for (name, value) in outgoing.headers.iter().flat_map(|headers| headers.iter()) {
        base.append(name.clone(), value.clone());
    }
    base.insert(PROTOCOL_VERSION, http::HeaderValue::from_static(MODERN));
    let (method, name) = headers::for_request(&message);
    base.insert(METHOD, method);
    match name {
        Some(name) => base.insert(NAME, name),
        None => base.remove(NAME),
    };
    Ok(())
}

impl Refusal<'_> {
    /// As [`Refusal::judge`], for a server that was found to be of the modern era. One that speaks as if it were not, any
    /// more, has not looked at the request: [`ErrorKind::SessionNotFound`], not sent, and it must be asked anew.
    pub(super) fn judge_modern(self, id: Option<u64>) -> Result<Message> {
        let changed = match (self.status.as_u16(), self.code()) {
            (405, _) | (404, None) | (_, Some(-32022)) => true,
            // A legacy server that misses its session, or its handshake.
            (400 | 422, None | Some(-32000 | -32600)) => self.says("session") || self.says("initializ"),
            _ => false,
        };
        if changed { Err(self.changed()) } else { self.judge(id) }
    }

    /// As [`Refusal::judge`], for a server that was found to be of the legacy era, with the same exception.
    pub(super) fn judge_legacy(self, id: Option<u64>) -> Result<Message> {
        let changed = match (self.status.as_u16(), self.code()) {
            (_, Some(-32020 | -32022)) => true,
            // A modern server that misses what every request must have there.
            (400, Some(-32602)) => self.says("_meta") || self.says("protocolversion"),
            _ => false,
        };
        if changed { Err(self.changed()) } else { self.judge(id) }
    }

    fn changed(&self) -> Error {
        let error = Error::new(ErrorKind::SessionNotFound, "the server no longer speaks as it did");
        error.with("status", self.status.as_u16()).not_sent()
    }

    /// The code of the error response that the body is, if it is one.
    fn code(&self) -> Option<i32> {
        let message = Message::parse(self.body.clone()).ok()?;
        Members::parse(message.error()?).ok()?.get("code")?.parse().ok()
    }

    /// Whether the body has this word, in lower case, in it.
    fn says(&self, word: &str) -> bool {
        memchr::memmem::find(&self.body.to_ascii_lowercase(), word.as_bytes()).is_some()
    }
}
