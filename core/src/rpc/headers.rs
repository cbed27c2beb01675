//! The headers that repeat members of a modern message's body on HTTP, and whether both agree.
//!
//! A value that is not plain ASCII, begins or ends with a blank, or looks like an encoded one, is written as
//! `=?base64?…?=` of its UTF-8 (specification 2026-07-28, streamable HTTP, "Value Encoding").

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::method::RoutingKey;
use super::{Members, Message, Method};
use crate::error::{Error, ErrorKind, Result};

/// The revision.
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// `method`.
pub const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// `params.name`, `params.uri` or `params.taskId`.
pub const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// The session of a legacy client.
pub const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// The event behind which a legacy client takes up a stream.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The prefix of the names of headers that repeat arguments of a tool.
pub const PARAM_PREFIX: &str = "mcp-param-";

const OPEN: &str = "=?base64?";
const CLOSE: &str = "?=";

/// `text` as the value of a header.
pub fn encode(text: &str) -> HeaderValue {
    let plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
        && !text.starts_with([' ', '\t'])
        && !text.ends_with([' ', '\t'])
        && !is_encoded(text);
    let value = if plain {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("{OPEN}{}{CLOSE}", STANDARD.encode(text)))
    };
    // Plain ASCII in either case.
    HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static(""))
}

/// The decoded value of a header; `None` for other bytes than visible ASCII, blanks and tabs, and for a value that is marked as
/// encoded and is not.
pub fn decode(value: &HeaderValue) -> Option<Cow<'_, str>> {
    let text = value.to_str().ok()?.trim_matches([' ', '\t']);
    if !is_encoded(text) {
        return Some(Cow::Borrowed(text));
    }
    let decoded = STANDARD.decode(&text[OPEN.len()..text.len() - CLOSE.len()]).ok()?;
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

fn is_encoded(text: &str) -> bool {
    text.len() >= OPEN.len() + CLOSE.len() && text.starts_with(OPEN) && text.ends_with(CLOSE)
}

/// `Mcp-Method` and, where the method has one, `Mcp-Name` for a message.
pub fn for_request(message: &Message) -> (HeaderValue, Option<HeaderValue>) {
    let method = message.method().map_or("", Method::as_str);
    (encode(method), name_of(message).map(|name| encode(&name)))
}

/// Whether the headers agree with the message; `version` is the one in its `_meta`.
///
/// [`ErrorKind::HeaderMismatch`], naming the header, if one is missing, stands twice, is not readable, or says something else.
/// A task's name is compared only where it is given: the extension that knows it is its server's.
pub fn agree(headers: &HeaderMap, message: &Message, version: &str) -> Result<()> {
    compare(headers, &PROTOCOL_VERSION, "MCP-Protocol-Version", version, true)?;
    let Some(method) = message.method() else { return Ok(()) };
    compare(headers, &METHOD, "Mcp-Method", method.as_str(), true)?;
    if let Some(name) = name_of(message) {
        let required = matches!(method, Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead);
        compare(headers, &NAME, "Mcp-Name", &name, required)?;
    }
    Ok(())
}

/// Whether the header `name` says `expected`, if it has to be there or is there; as [`agree`] says.
pub fn compare(
    headers: &HeaderMap,
    name: &HeaderName,
    shown: &str,
    expected: &str,
    required: bool,
) -> Result<()> {
    if same(headers, name, shown, required, |found| found == expected)? {
        return Ok(());
    }
    let cut = |text: &str| text.chars().take(80).collect::<String>();
    let message = format!("the header {shown} does not say what the body does");
    Err(Error::new(ErrorKind::HeaderMismatch, message).with("expected", cut(expected)))
}

/// Whether the header `name` fits, by `fits`; a header that is absent fits if it need not be there.
pub fn same(
    headers: &HeaderMap,
    name: &HeaderName,
    shown: &str,
    required: bool,
    fits: impl FnOnce(&str) -> bool,
) -> Result<bool> {
    let wrong = |what: &str| Error::new(ErrorKind::HeaderMismatch, format!("the header {shown} {what}"));
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return if required { Err(wrong("is missing")) } else { Ok(true) };
    };
    if values.next().is_some() {
        return Err(wrong("stands twice"));
    }
    let found = decode(value).ok_or_else(|| wrong("has a value that cannot be read"))?;
    Ok(fits(&found))
}

/// The value that `Mcp-Name` repeats of this message.
fn name_of(message: &Message) -> Option<Cow<'_, str>> {
    let method = message.method()?;
    let key = match method.routing_key() {
        RoutingKey::Name => "name",
        RoutingKey::Uri if *method == Method::ResourcesRead => "uri",
        RoutingKey::TaskId => "taskId",
        RoutingKey::Uri | RoutingKey::Ref | RoutingKey::None => return None,
    };
    Members::parse(message.params()?).ok()?.text(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn message(method: &str, params: &str) -> Message {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        Message::parse(Bytes::from(text)).unwrap()
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                let name: HeaderName = name.parse().unwrap();
                (name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
            })
            .collect()
    }

    /// B-10: headers must agree with the body.
    #[test]
    fn the_examples_of_the_specification_encode_as_it_says() {
        for (text, value) in [
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ] {
            assert_eq!(encode(text), value);
            assert_eq!(decode(&encode(text)).unwrap(), text);
        }
        assert_eq!(decode(&HeaderValue::from_static(" \tx \t")).unwrap(), "x");
        assert_eq!(decode(&HeaderValue::from_static("=?BASE64?eA==?=")).unwrap(), "=?BASE64?eA==?=");
        for broken in ["=?base64?%%?=", "=?base64?/w==?=", "ü"] {
            assert!(decode(&HeaderValue::from_bytes(broken.as_bytes()).unwrap()).is_none(), "{broken}");
        }
    }

    /// B-10: headers must agree with the body.
    #[test]
    fn headers_that_are_missing_double_unreadable_or_different_are_refused() {
        let call = message("tools/call", r#"{"name":"a b"}"#);
        let good =
            [("mcp-protocol-version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("MCP-NAME", "a b")];
        assert!(agree(&headers(&good), &call, "2026-07-28").is_ok());
        let encoded = [good[0], good[1], ("mcp-name", "=?base64?YSBi?=")];
        assert!(agree(&headers(&encoded), &call, "2026-07-28").is_ok());
        let bad: &[&[(&str, &str)]] = &[
            &good[..2],
            &good[1..],
            &[good[0], good[2]],
            &[good[0], ("mcp-method", "Tools/Call"), good[2]],
            &[good[0], ("mcp-method", "tools/call"), ("mcp-method", "tools/call"), good[2]],
            &[good[0], good[1], ("mcp-name", "a B")],
            &[good[0], good[1], ("mcp-name", "=?base64?*?=")],
            &[("mcp-protocol-version", "2025-11-25"), good[1], good[2]],
        ];
        for pairs in bad {
            let error = agree(&headers(pairs), &call, "2026-07-28").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::HeaderMismatch, "{pairs:?}");
        }
    }

    #[test]
    fn each_method_has_the_name_that_it_is_about() {
        let name = |method, params| {
            for_request(&message(method, params)).1.map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(name("tools/call", r#"{"name":"a"}"#).as_deref(), Some("a"));
        assert_eq!(name("resources/read", r#"{"uri":"x://y"}"#).as_deref(), Some("x://y"));
        assert_eq!(name("tasks/get", r#"{"taskId":"t"}"#).as_deref(), Some("t"));
        assert_eq!(name("tools/list", "{}"), None);
        let task = message("tasks/get", r#"{"taskId":"t"}"#);
        let bare = headers(&[("mcp-protocol-version", "v"), ("mcp-method", "tasks/get")]);
        assert!(agree(&bare, &task, "v").is_ok());
    }

    proptest! {
        #[test]
        fn every_text_survives_a_header(text in any::<String>()) {
            let value = encode(&text);
            prop_assert!(value.to_str().is_ok());
            let decoded = decode(&value);
            prop_assert_eq!(decoded.as_deref(), Some(&*text));
        }

        #[test]
        fn no_value_breaks_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let _ = decode(&value);
            }
        }
    }
}
