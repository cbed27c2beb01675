//! The meaning for a call of an HTTP status other than success.

use std::time::Duration;

use bytes::Bytes;
use http::header::{LOCATION, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use url::Url;

use super::lost::says_lost;
use crate::error::{Error, ErrorKind};
use crate::rpc::{Members, Message, Shape, incoming};

/// How much of a refusal's body is read, in bytes.
pub(super) const MAX_REFUSAL: usize = 64 * 1024;

/// A refusal, as it came.
pub(super) struct Refusal<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: Bytes,
    /// The request belonged to a session that has an id.
    pub(super) in_session: bool,
    /// The server has seen the handshake of a session before.
    pub(super) initialized: bool,
    pub(super) now: Timestamp,
}

impl Refusal<'_> {
    /// The server's own JSON-RPC answer to the request `id`, if the body is one; else the error that says what the
    /// status means. It keeps the status.
    pub(super) fn judge(self, id: Option<u64>) -> Result<Message, Error> {
        let message = incoming::one(&self.body);
        let answer = message.as_ref().filter(|message| message.shape() == Shape::Response);
        if self.is_lost_session(answer) {
            let text = "the server has forgotten the session";
            return Err(self.error(ErrorKind::SessionNotFound, text).not_sent());
        }
        // A refusal of the whole request, also where its body is a JSON-RPC error: nothing ran, so that another replica can be
        // asked.
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            let error = self.error(ErrorKind::RateLimited, "the server limits the rate of calls");
            return Err(self.delayed(error).not_sent());
        }
        if let Some(answer) = answer
            && answer.error().is_some()
            && id.is_some()
            && answer.id_number() == id
        {
            return Ok(answer.clone());
        }
        Err(match self.status.as_u16() {
            401 | 403 => self.error(
                ErrorKind::BadUpstream,
                "the server refuses the gateway's credentials; set those it wants in configuration.headers",
            ),
            404 => {
                self.error(ErrorKind::BadUpstream, "the server has nothing at this path; check endpoint_url")
            }
            405 => self.error(
                ErrorKind::BadUpstream,
                "the server takes no POST at this path; check endpoint_url and transport_type",
            ),
            300..=399 => self.redirected(),
            503 => {
                let error = self.error(ErrorKind::BadUpstream, "the server says that it is not available");
                self.delayed(error)
            }
            _ => self.error(ErrorKind::BadUpstream, "the server refused the message"),
        })
    }

    /// Whether a session that was there before is lost. A server without ids of sessions can only say so in words.
    fn is_lost_session(&self, answer: Option<&Message>) -> bool {
        let code =
            answer.and_then(|answer| Members::parse(answer.error()?).ok()?.get("code")?.parse::<i32>().ok());
        let by_words = self.status == StatusCode::BAD_REQUEST && self.initialized;
        (self.in_session || by_words) && says_lost(self.status, code, &self.body)
    }

    /// A redirect that is not followed: one to another origin, or one that does not keep the message.
    fn redirected(&self) -> Error {
        let location = self.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let status = self.status.as_u16();
        let message = match location.map(Url::parse) {
            None => {
                format!("the server redirects with HTTP {status} and does not say where; check endpoint_url")
            }
            Some(Ok(url)) => format!(
                "the server redirects with HTTP {status} to {}, which is not followed; register the URL that it names, if it is \
                 the same server",
                url.origin().ascii_serialization()
            ),
            Some(Err(_)) => format!(
                "the server redirects with HTTP {status} to another page of its own, which takes no messages; check endpoint_url"
            ),
        };
        let error = Error::new(ErrorKind::BadUpstream, message).status(status);
        match location {
            Some(location) => error.with_private("location", location),
            None => error,
        }
    }

    fn error(&self, kind: ErrorKind, text: &'static str) -> Error {
        let error = Error::new(kind, text).status(self.status.as_u16());
        let said = String::from_utf8_lossy(&self.body[..self.body.len().min(500)]);
        if said.is_empty() { error } else { error.caused_by(said.into_owned()) }
    }

    fn delayed(&self, error: Error) -> Error {
        let Some(text) = self.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()) else {
            return error;
        };
        match retry_after(text.trim(), self.now) {
            Some(delay) => error.retry_after(delay),
            None => error,
        }
    }
}

/// The longest delay that is believed.
const LONGEST_DELAY: Duration = Duration::from_secs(86_400);

/// The delay that a `Retry-After` header asks for: seconds, or a date in one of the three forms of RFC 9110, section 5.6.7. At
/// most a day; none for a date that has passed.
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number of seconds has is a long time, too.
        return Some(text.parse().map_or(LONGEST_DELAY, Duration::from_secs).min(LONGEST_DELAY));
    }
    let obsolete = |format: &str| {
        let date = jiff::civil::DateTime::strptime(format, text).ok()?;
        Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    };
    let at = jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp());
    let at =
        at.or_else(|| obsolete("%A, %d-%b-%y %H:%M:%S GMT")).or_else(|| obsolete("%a %b %e %H:%M:%S %Y"))?;
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default().min(LONGEST_DELAY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Delivery;

    fn judge(status: u16, body: &'static str, in_session: bool) -> Result<Message, Error> {
        judge_with(status, body, in_session, &HeaderMap::new())
    }

    fn judge_with(
        status: u16,
        body: &'static str,
        in_session: bool,
        headers: &HeaderMap,
    ) -> Result<Message, Error> {
        let status = StatusCode::from_u16(status).unwrap();
        let now = Timestamp::constant(1_445_412_470, 0);
        Refusal { status, headers, body: body.into(), in_session, initialized: in_session, now }
            .judge(Some(7))
    }

    #[test]
    fn a_json_rpc_error_with_our_id_is_the_servers_own_answer() {
        let body = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"no"}}"#;
        assert_eq!(judge(400, body, true).unwrap().id(), Some("7"));
        let other = r#"{"jsonrpc":"2.0","id":8,"error":{"code":-32602,"message":"no"}}"#;
        assert_eq!(judge(400, other, true).unwrap_err().kind(), ErrorKind::BadUpstream);
        let unknown_method = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"no"}}"#;
        assert!(judge(404, unknown_method, true).is_ok());
    }

    #[test]
    fn a_lost_session_is_seen_in_all_the_ways_servers_say_it() {
        let lost = [
            (404, ""),
            (404, r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}}"#),
            (
                400,
                r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}"#,
            ),
            (400, "Bad Request: No valid session ID provided"),
        ];
        for (status, body) in lost {
            let error = judge(status, body, true).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::SessionNotFound, "{status} {body}");
            assert_eq!(error.delivery(), Delivery::NotSent);
            assert_ne!(
                judge(status, body, false).map_err(|e| e.kind()).err(),
                Some(ErrorKind::SessionNotFound)
            );
        }
        assert_eq!(judge(400, "bad json", true).unwrap_err().kind(), ErrorKind::BadUpstream);
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        for (text, seconds) in [
            ("12", Some(12)),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(10)),
            ("Wednesday, 21-Oct-15 07:28:00 GMT", Some(10)),
            ("Wed Oct 21 07:28:00 2015", Some(10)),
            ("Wed, 21 Oct 2015 07:27:00 GMT", Some(0)),
            ("0", Some(0)),
            ("99999999999999999999999", Some(86_400)),
            ("soon", None),
            ("-1", None),
            ("", None),
            ("9999999", Some(86_400)),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            let error = judge_with(429, "", true, &headers).unwrap_err();
            assert_eq!((error.kind(), error.delivery()), (ErrorKind::RateLimited, Delivery::NotSent));
            assert_eq!(error.retry_delay(), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn a_refusal_with_a_json_rpc_body_is_a_refusal() {
        let body = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32000,"message":"slow down"}}"#;
        for in_session in [true, false] {
            let error = judge(429, body, in_session).unwrap_err();
            assert_eq!((error.kind(), error.delivery()), (ErrorKind::RateLimited, Delivery::NotSent));
        }
    }

    #[test]
    fn a_redirect_is_an_error_that_says_where_to() {
        let headers = HeaderMap::from_iter([(LOCATION, "http://other/mcp".parse().unwrap())]);
        let error = judge_with(307, "", false, &headers).unwrap_err();
        assert!(error.to_string().contains("http://other/mcp"), "{error}");
    }
}
