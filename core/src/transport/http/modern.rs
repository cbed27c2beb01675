//! The modern era's demands on a POST: headers that repeat the body. There is no session, nothing to take up again, and a client
//! cancels by closing the stream.

use http::header::HeaderMap;

use super::lost::misses_session;
use super::status::Refusal;
use crate::error::{Error, ErrorKind, Result};
use crate::rpc::headers::{self, METHOD, NAME, PROTOCOL_VERSION};
use crate::rpc::version::MODERN;
use crate::rpc::{Members, Message, incoming};
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
    /// As [`Refusal::judge`], for a server that was found to be of the modern era. A server that no longer answers like one has
    /// not looked at the request: [`ErrorKind::SessionNotFound`], not sent, and it must be asked anew.
    pub(super) fn judge_modern(self, id: Option<u64>) -> Result<Message> {
        let changed = match (self.status.as_u16(), self.code()) {
            (405, _) | (404, None) | (_, Some(-32022)) => true,
            // A legacy server that misses its session, or its handshake.
            (400 | 422, code) => misses_session(code, &self.body),
            _ => false,
        };
        if changed { Err(self.changed()) } else { self.judge(id) }
    }

    /// As [`Refusal::judge`], for a server that was found to be of the legacy era, with the same exception.
    pub(super) fn judge_legacy(self, id: Option<u64>) -> Result<Message> {
        let changed = match (self.status.as_u16(), self.code()) {
            (_, Some(-32020 | -32022)) => true,
            // A modern server that misses a member that every request must have there.
            (400, Some(-32602)) => self.says("_meta") || self.says("protocolversion"),
            _ => false,
        };
        if changed { Err(self.changed()) } else { self.judge(id) }
    }

    fn changed(&self) -> Error {
        let error = Error::new(
            ErrorKind::SessionNotFound,
            "the server no longer speaks the protocol version that it spoke before",
        );
        error.status(self.status.as_u16()).not_sent()
    }

    /// The code of the error response that the body is, if it is one.
    fn code(&self) -> Option<i32> {
        let message = incoming::one(&self.body)?;
        Members::parse(message.error()?).ok()?.get("code")?.parse().ok()
    }

    /// Whether the body has this word, in lower case, in it.
    fn says(&self, word: &str) -> bool {
        memchr::memmem::find(&self.body.to_ascii_lowercase(), word.as_bytes()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use jiff::Timestamp;

    use super::*;
    use crate::error::Delivery;

    fn refusal<'a>(headers: &'a HeaderMap, status: u16, body: &'static str) -> Refusal<'a> {
        let status = StatusCode::from_u16(status).unwrap();
        Refusal {
            status,
            headers,
            body: body.into(),
            in_session: false,
            initialized: false,
            now: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_server_that_answers_as_one_of_the_other_era_has_to_be_asked_anew() {
        let none = HeaderMap::new();
        let unsupported = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32022,"message":"no"}}"#;
        let incomplete = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"`_meta` is missing"}}"#;
        let session =
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"No valid session ID"}}"#;
        let modern = [(404, ""), (405, ""), (400, unsupported), (400, "Missing session ID"), (400, session)];
        let legacy = [(400, unsupported), (400, incomplete)];
        let errors = modern.map(|(status, body)| refusal(&none, status, body).judge_modern(Some(7)));
        let others = legacy.map(|(status, body)| refusal(&none, status, body).judge_legacy(Some(7)));
        for judged in errors.into_iter().chain(others) {
            let error = judged.unwrap_err();
            assert_eq!((error.kind(), error.delivery()), (ErrorKind::SessionNotFound, Delivery::NotSent));
        }
    }

    #[test]
    fn what_a_server_of_the_same_era_refuses_is_its_answer() {
        let none = HeaderMap::new();
        let unknown = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"no"}}"#;
        let capability = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32021,"message":"no"}}"#;
        let invalid = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"bad arguments"}}"#;
        assert!(refusal(&none, 404, unknown).judge_modern(Some(7)).is_ok());
        assert!(refusal(&none, 400, capability).judge_modern(Some(7)).is_ok());
        assert!(refusal(&none, 400, invalid).judge_modern(Some(7)).is_ok());
        assert!(refusal(&none, 400, invalid).judge_legacy(Some(7)).is_ok());
        let down = refusal(&none, 503, "").judge_modern(Some(7)).unwrap_err();
        assert_eq!(down.kind(), ErrorKind::BadUpstream);
    }
}
