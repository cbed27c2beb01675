//! One JSON-RPC 2.0 message: its bytes, and where in them the parts are.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use super::method::Method;
use super::object::{Members, range_in, text};
use super::splice::Splice;
use super::surrogates::first_half;
use crate::error::{Error, ErrorKind, Result};

/// The kind of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Has a method and an id.
    Request,
    /// Has a method and no id.
    Notification,
    /// Has an id (or none that could be read) and a result or an error.
    Response,
}

/// A checked message. Cloning shares the bytes.
#[derive(Clone, Debug)]
pub struct Message {
    bytes: Bytes,
    shape: Shape,
    method: Option<Method>,
    id: Option<Range<usize>>,
    params: Option<Range<usize>>,
    result: Option<Range<usize>>,
    error: Option<Range<usize>>,
}

impl Message {
    /// Checks `bytes` and finds the parts.
    ///
    /// Errors: [`ErrorKind::Parse`] for text that is not JSON, not UTF-8, nests deeper than [`MAX_DEPTH`](super::MAX_DEPTH) or
    /// has half of a surrogate pair in an escape;
    /// [`ErrorKind::InvalidRequest`] for a batch, a duplicate key, a wrong `jsonrpc`, an id that is neither a
    /// string nor an integer, or a message that is neither request, notification nor response.
    pub fn parse(bytes: Bytes) -> Result<Self> {
        let source = std::str::from_utf8(&bytes)
            .map_err(|_| Error::new(ErrorKind::Parse, "the message is not valid UTF-8"))?;
        if first_half(source, 0).is_some() {
            return Err(half());
        }
        let members = match Members::parse(source) {
            Err(error) if error.kind() != ErrorKind::Parse && source.trim_start().starts_with('[') => {
                return Err(invalid("batches are not part of MCP; send one message a request"));
            }
            members => members?,
        };
        let (mut version, mut method, mut id) = (None, None, None);
        let (mut params, mut result, mut error) = (None, None, None);
        for (key, value) in members.iter() {
            match key {
                "jsonrpc" => version = Some(value),
                "method" => method = Some(value),
                "id" => id = Some(value),
                "params" => params = Some(value),
                "result" => result = Some(value),
                "error" => error = Some(value),
                _ => {}
            }
        }
        if version.and_then(text).as_deref() != Some("2.0") {
            return Err(invalid("`jsonrpc` must be \"2.0\""));
        }
        let name = method.map(|raw| text(raw).ok_or_else(|| invalid("`method` must be a string")));
        let method = name.transpose()?.map(|name| Method::of(&name));
        let shape = match (&method, id, result.is_some(), error.is_some()) {
            (Some(_), Some(_), false, false) => Shape::Request,
            (Some(_), None, false, false) => Shape::Notification,
            (None, _, true, false) | (None, _, false, true) => Shape::Response,
            _ => return Err(invalid("a message has a `method`, or exactly one of `result` and `error`")),
        };
        // The answer to a request whose id could not be read may carry `null` (JSON-RPC 2.0, section 5).
        let null_answer = shape == Shape::Response && id == Some("null");
        if id.is_some_and(|id| !null_answer && !is_id(id)) {
            return Err(invalid("`id` must be a string or an integer"));
        }
        if shape == Shape::Response && id.is_none() && result.is_some() {
            return Err(invalid("a response with a `result` must have an `id`"));
        }
        if params.is_some_and(|params: &str| !params.starts_with('{')) {
            return Err(invalid("`params` must be an object"));
        }
        let span = |part: Option<&str>| part.map(|part| range_in(source, part));
        let (id, params, result, error) =
            (span(id.filter(|_| !null_answer)), span(params), span(result), span(error));
        drop(members);
        Ok(Self { bytes, shape, method, id, params, result, error })
    }

    /// A request or, without an id, a notification of this gateway's own.
    pub fn request(id: Option<u64>, method: &str, params: Option<&str>) -> Bytes {
        let mut out = String::with_capacity(64 + params.map_or(0, str::len));
        out.push_str(r#"{"jsonrpc":"2.0","#);
        if let Some(id) = id {
            out.push_str(r#""id":"#);
            out.push_str(&id.to_string());
            out.push(',');
        }
        out.push_str(r#""method":"#);
        out.push_str(&quote(method));
        if let Some(params) = params {
            out.push_str(r#","params":"#);
            out.push_str(params);
        }
        out.push('}');
        out.into()
    }

    /// The whole message.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The kind of the message.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The method; `None` for a response.
    pub fn method(&self) -> Option<&Method> {
        self.method.as_ref()
    }

    /// The raw id: a JSON string or integer.
    pub fn id(&self) -> Option<&str> {
        self.slice(self.id.as_ref())
    }

    /// The id if it is one that this gateway assigns: a plain unsigned integer, which some peers send back as text.
    pub fn id_number(&self) -> Option<u64> {
        let id = self.id()?;
        let inner = id.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(id);
        inner.bytes().all(|byte| byte.is_ascii_digit()).then(|| inner.parse().ok()).flatten()
    }

    /// The raw params.
    pub fn params(&self) -> Option<&str> {
        self.slice(self.params.as_ref())
    }

    /// The raw result.
    pub fn result(&self) -> Option<&str> {
        self.slice(self.result.as_ref())
    }

    /// The raw error.
    pub fn error(&self) -> Option<&str> {
        self.slice(self.error.as_ref())
    }

    /// The members of the params; none if there are no params. Duplicate keys are refused.
    pub fn params_members(&self) -> Result<Members<'_>> {
        Members::parse(self.params().unwrap_or("{}"))
    }

    /// The text of the message.
    pub fn text(&self) -> &str {
        // Checked when it was parsed; `unwrap_or_default` keeps this free of panics without a second check failing.
        std::str::from_utf8(&self.bytes).unwrap_or_default()
    }

    /// Where `part`, a slice of this message as its accessors give them, lies in it.
    pub fn range_of(&self, part: &str) -> Range<usize> {
        let start = part.as_ptr() as usize - self.bytes.as_ptr() as usize;
        start..start + part.len()
    }

    /// Starts a change that puts `id` in the place of the message's id.
    pub fn with_id<'t>(&self, id: impl Into<Cow<'t, str>>) -> Splice<'t> {
        let mut splice = Splice::new();
        if let Some(range) = &self.id {
            splice.replace(range.clone(), id);
        }
        splice
    }

    /// The bytes of `params`, for a search.
    pub(crate) fn params_bytes(&self) -> Option<&[u8]> {
        Some(&self.bytes[self.params.clone()?])
    }

    /// The bytes of `result`, for a search.
    pub(crate) fn result_bytes(&self) -> Option<&[u8]> {
        Some(&self.bytes[self.result.clone()?])
    }

    fn slice(&self, range: Option<&Range<usize>>) -> Option<&str> {
        std::str::from_utf8(&self.bytes[range?.clone()]).ok()
    }
}

/// `text` as a JSON string.
pub fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn is_id(raw: &str) -> bool {
    match raw.as_bytes() {
        [b'"', ..] => true,
        [b'-', rest @ ..] | rest => !rest.is_empty() && rest.iter().all(u8::is_ascii_digit),
    }
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}

fn half() -> Error {
    Error::new(ErrorKind::Parse, "an escape in the message is a lone surrogate, which is not a character")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(json: &str) -> ErrorKind {
        Message::parse(Bytes::copy_from_slice(json.as_bytes())).unwrap_err().kind()
    }

    /// B-08: only a single message is taken, and its id comes back as it was.
    #[test]
    fn what_is_not_one_message_is_refused() {
        assert_eq!(kind("{"), ErrorKind::Parse);
        assert_eq!(kind("NaN"), ErrorKind::Parse);
        assert_eq!(kind("[]"), ErrorKind::InvalidRequest);
        assert_eq!(kind(r#"{"id":1,"method":"ping"}"#), ErrorKind::InvalidRequest);
        for id in ["null", "1.5", "1e4", "{}", "true"] {
            let json = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
            assert_eq!(kind(&json), ErrorKind::InvalidRequest, "{id}");
        }
        assert_eq!(kind(r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#), ErrorKind::InvalidRequest);
        assert_eq!(kind(&format!("{}{}", "[".repeat(129), "]".repeat(129))), ErrorKind::Parse);
    }

    /// B-04: text that is no JSON, or nests too deep, is refused at little cost.
    #[test]
    fn an_escape_that_is_half_a_character_is_refused_and_a_whole_one_is_not() {
        let text = |text: &str| {
            let json = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"t":"{text}"}}}}"#);
            Message::parse(json.into()).map(drop).map_err(|error| error.kind())
        };
        for half in [
            r"\ud800",
            r"\uDFFF",
            r"\ud83d\u0041",
            r"\ud83dx",
            r"\ude00\ud83d",
            r"\\\ud800",
            r"\ud83d\ud83d\ude00",
        ] {
            assert_eq!(text(half), Err(ErrorKind::Parse), "{half}");
        }
        for whole in [r"\ud83d\ude00", r"\u00e9\uFFFD", r"\\ud800", r"\\\\udfff"] {
            assert_eq!(text(whole), Ok(()), "{whole}");
        }
    }

    /// B-08: only a single message is taken, and its id comes back as it was.
    #[test]
    fn a_big_id_is_echoed_byte_for_byte() {
        let json = r#"{"jsonrpc":"2.0", "id": 123456789012345678901234567890 ,"method":"ping"}"#;
        let message = Message::parse(Bytes::from_static(json.as_bytes())).unwrap();
        assert_eq!(message.id(), Some("123456789012345678901234567890"));
        let changed = message.with_id("7").apply(message.bytes());
        assert_eq!(&changed[..], br#"{"jsonrpc":"2.0", "id": 7 ,"method":"ping"}"#);
    }
}
