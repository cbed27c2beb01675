//! The parts that only a modern request has over HTTP: headers that repeat its body, and a status that repeats its error.

use axum::body::Body;
use http::header::{HeaderMap, HeaderValue};
use http::{Response, StatusCode};

use super::{answer, mcp};
use crate::error::{Error, ErrorKind, Result};
use crate::rpc::answer::error_response;
use crate::rpc::headers::{self, PROTOCOL_VERSION, SESSION};
use crate::rpc::meta::Meta;
use crate::rpc::version::{Era, MODERN};
use crate::rpc::{Message, Method, Shape};

/// The era that a request over HTTP is of; a modern one is in order then.
///
/// [`ErrorKind::InvalidParams`] if a required member of its `_meta` is missing, [`ErrorKind::HeaderMismatch`] if its headers are
/// missing or say something else, [`ErrorKind::UnsupportedVersion`].
pub(super) fn era_of(headers: &HeaderMap, message: &Message) -> Result<Era> {
    let by_header = says_modern(headers);
    let Some(said) = Meta::of(message)? else {
        // A client that opens a legacy session may have tried the other era before.
        if !by_header || message.method() == Some(&Method::Initialize) {
            return Ok(Era::Legacy);
        }
        return match message.shape() {
            // The specification defines nothing that a notification must bring.
            Shape::Notification | Shape::Response => Ok(Era::Modern),
            Shape::Request => {
                let message = "`params._meta` must have `io.modelcontextprotocol/protocolVersion` and \
                     `io.modelcontextprotocol/clientCapabilities`";
                Err(Error::new(ErrorKind::InvalidParams, message))
            }
        };
    };
    let era = Era::of(&said.version);
    if era == Some(Era::Legacy) && headers.contains_key(&SESSION) {
        return Ok(Era::Legacy);
    }
    if message.shape() == Shape::Request {
        said.required_capabilities()?;
        headers::agree(headers, message, &said.version)?;
    }
    if era != Some(Era::Modern) {
        let shown: String = said.version.chars().take(40).collect();
        let message = "requests of this protocol version are not served without `initialize`";
        return Err(Error::new(ErrorKind::UnsupportedVersion, message).with("requested", shown));
    }
    Ok(Era::Modern)
}

/// Whether the header names the modern revision.
pub(super) fn says_modern(headers: &HeaderMap) -> bool {
    headers.get(&PROTOCOL_VERSION).is_some_and(|value| *value == HeaderValue::from_static(MODERN))
}

/// An error as a modern client gets it: every kind with its own status.
pub(super) fn refuse(id: Option<&str>, error: &Error) -> Response<Body> {
    let mut response = mcp::json(answer::status_of(error.kind()), error_response(id, error, Era::Modern));
    answer::retry_after(&mut response, error);
    response
}

/// The status of a server's error response, by its code.
pub(super) fn status_of(code: i32) -> StatusCode {
    match code {
        -32601 => StatusCode::NOT_FOUND,
        -32700 | -32600 | -32602 | -32022..=-32020 => StatusCode::BAD_REQUEST,
        // A timeout or a broken stream of the gateway's own: -31000 minus its status.
        -31599..=-31400 => u16::try_from(-31000 - code)
            .ok()
            .and_then(|status| StatusCode::from_u16(status).ok())
            .unwrap_or(StatusCode::OK),
        _ => StatusCode::OK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn era(pairs: &[(&'static str, &'static str)], method: &str, meta: &str) -> Result<Era> {
        let headers =
            pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), HeaderValue::from_static(value)));
        let text =
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"_meta":{{{meta}}}}}}}"#);
        era_of(&headers.collect(), &Message::parse(Bytes::from(text)).unwrap())
    }

    const META: &str = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}"#;
    const VERSION: (&str, &str) = ("mcp-protocol-version", "2026-07-28");
    const LIST: (&str, &str) = ("mcp-method", "tools/list");

    #[test]
    fn a_request_is_modern_by_its_meta_or_its_header_and_then_must_be_in_order() {
        assert_eq!(era(&[], "tools/list", "").unwrap(), Era::Legacy);
        assert_eq!(era(&[("mcp-protocol-version", "2025-11-25")], "tools/list", "").unwrap(), Era::Legacy);
        assert_eq!(era(&[VERSION], "initialize", "").unwrap(), Era::Legacy);
        assert_eq!(era(&[VERSION, LIST], "tools/list", META).unwrap(), Era::Modern);
        assert_eq!(era(&[VERSION, LIST, ("mcp-session-id", "x")], "tools/list", META).unwrap(), Era::Modern);
        let kind = |pairs, meta| era(pairs, "tools/list", meta).unwrap_err().kind();
        assert_eq!(kind(&[VERSION, LIST], ""), ErrorKind::InvalidParams);
        assert_eq!(
            kind(&[VERSION, LIST], r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#),
            ErrorKind::InvalidParams
        );
        assert_eq!(kind(&[LIST], META), ErrorKind::HeaderMismatch);
        assert_eq!(kind(&[VERSION], META), ErrorKind::HeaderMismatch);
        assert_eq!(kind(&[("mcp-protocol-version", "2025-11-25"), LIST], META), ErrorKind::HeaderMismatch);
    }

    /// B-11: each mistake has the code that the specification gives it.
    #[test]
    fn a_version_that_is_not_spoken_is_named_as_such_only_if_header_and_body_agree() {
        let meta = META.replace("2026-07-28", "1999-01-01");
        let other = [("mcp-protocol-version", "1999-01-01"), LIST];
        assert_eq!(era(&other, "tools/list", &meta).unwrap_err().kind(), ErrorKind::UnsupportedVersion);
        assert_eq!(era(&[VERSION, LIST], "tools/list", &meta).unwrap_err().kind(), ErrorKind::HeaderMismatch);
        let legacy = META.replace("2026-07-28", "2025-11-25");
        let headers = [("mcp-protocol-version", "2025-11-25"), LIST];
        assert_eq!(era(&headers, "tools/list", &legacy).unwrap_err().kind(), ErrorKind::UnsupportedVersion);
        let session = [headers[0], LIST, ("mcp-session-id", "x")];
        assert_eq!(era(&session, "tools/list", &legacy).unwrap(), Era::Legacy);
    }

    /// B-11: each mistake has the code that the specification gives it.
    #[test]
    fn codes_have_the_status_that_the_specification_gives_them() {
        for (code, status) in
            [(-32601, 404), (-32602, 400), (-32021, 400), (-32603, 200), (7, 200), (-31504, 504)]
        {
            assert_eq!(status_of(code).as_u16(), status, "{code}");
        }
    }
}
