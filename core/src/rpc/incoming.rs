//! Messages of servers, as they are in use: read strictly first, and where that fails, put right as far as their meaning is plain.
//!
//! Everything behind this module sees messages that follow JSON-RPC 2.0, whatever the server wrote: policy, caches and clients
//! never read another form than the one that was checked. A message that could mean two things is
//! refused: a key that stands twice, two answers in one. Text that stood for no character is replaced and marked in `_meta`.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::envelope::quote;
use super::object::text;
use super::surrogates;
use super::{Edit, Message, meta};
use crate::error::{Error, ErrorKind};

/// The value of the mark: the part that was replaced.
const MARK: &str = r#"["text"]"#;

/// The messages of one piece that a server sent.
#[derive(Debug)]
pub enum Incoming {
    /// One message.
    One(Message),
    /// Several, in their order: a batch.
    Many(Vec<Message>),
}

/// A piece that is no message.
#[derive(Debug)]
pub struct Unread {
    /// Why.
    pub error: Error,
    /// The kind of message that it was meant to be, as far as that can be seen.
    pub meant: Meant,
}

/// The kind of message that a piece was meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meant {
    /// The answer to the request of this id.
    Answer(u64),
    /// A notification, or a request of the server's own.
    Message,
    /// Nobody can tell.
    Unknown,
}

impl Incoming {
    /// Reads what a server sent.
    pub fn read(bytes: &Bytes) -> Result<Self, Unread> {
        match Message::parse(bytes.clone()) {
            Ok(message) if message.result() != Some("null") && message.error() != Some("null") => {
                Ok(Self::One(message))
            }
            Ok(_) => {
                let message = "a response has a `result` that is an object, or an `error` that is one";
                repaired(bytes, Error::new(ErrorKind::InvalidRequest, message))
            }
            Err(error) => repaired(bytes, error),
        }
    }

    /// The messages, in their order.
    pub fn into_messages(self) -> Vec<Message> {
        match self {
            Self::One(message) => vec![message],
            Self::Many(messages) => messages,
        }
    }
}

/// The one message that `bytes` are, if they are one.
pub fn one(bytes: &Bytes) -> Option<Message> {
    match Incoming::read(bytes).ok()? {
        Incoming::One(message) => Some(message),
        Incoming::Many(_) => None,
    }
}

/// An error without an id as the answer to the request `id`, for a transport on which it can answer nothing else.
pub fn adopted(message: &Message, id: u64) -> Option<Message> {
    if message.id().is_some() || message.error().is_none() {
        return None;
    }
    let mut edit = Edit::of(message.text()).ok()?;
    edit.set("id", id.to_string());
    Message::parse(edit.apply().into()).ok()
}

fn repaired(bytes: &[u8], error: Error) -> Result<Incoming, Unread> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let (json, replaced) = whole_text(bytes);
    let json = json.trim_matches([' ', '\t', '\r', '\n', '\0']);
    if json.starts_with('[') {
        let parts: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
        let messages: Option<Vec<_>> = parts.iter().map(|part| envelope(part.get(), replaced).ok()).collect();
        return match messages.filter(|messages| !messages.is_empty()) {
            Some(messages) => Ok(Incoming::Many(messages)),
            None => Err(Unread { error, meant: Meant::Unknown }),
        };
    }
    envelope(json, replaced)
        .map(Incoming::One)
        .map_err(|second| Unread { error: if replaced { second } else { error }, meant: meant(json) })
}

/// The bytes as text, and whether anything of them stood for no character and was replaced by U+FFFD.
fn whole_text(bytes: &[u8]) -> (Cow<'_, str>, bool) {
    let utf8 = String::from_utf8_lossy(bytes);
    let replaced = matches!(utf8, Cow::Owned(_));
    match surrogates::replaced(&utf8) {
        Some(text) => (Cow::Owned(text), true),
        None => (utf8, replaced),
    }
}

/// One message out of one object. `replaced`: its text is not the server's own any more.
fn envelope(json: &str, replaced: bool) -> Result<Message, Error> {
    let mut edit = Edit::of(json)?;
    let given = |key: &str| edit.members().get(key);
    let real = |key: &str| given(key).filter(|raw| *raw != "null");
    let answers = given("result").is_some() || given("error").is_some();
    let (has_error, has_result) = (real("error").is_some(), real("result").is_some());
    let method = given("method").filter(|raw| !answers || text(raw).is_some_and(|name| !name.is_empty()));
    let drop_method = given("method").is_some() && method.is_none();
    let drop_error = answers && !has_error;
    let drop_result = has_error && !has_result;
    let is_answer = answers && method.is_none();
    let version = given("jsonrpc").is_none_or(|raw| matches!(raw, "null" | "2" | "2.0" | "\"2\""));
    let id = given("id").and_then(|raw| if is_answer { whole_number(raw) } else { None });
    let drop_id = !is_answer && given("id") == Some("null");
    let params = (given("params"), replaced && method.is_some());
    let result =
        (given("result").map(|raw| if raw == "null" { "{}" } else { raw }), replaced && !drop_result);
    if is_answer && given("result").is_none() && !has_error {
        edit.set("result", "{}");
    }
    for (key, gone) in
        [("method", drop_method), ("error", drop_error), ("result", drop_result), ("id", drop_id)]
    {
        if gone {
            edit.remove(key);
        }
    }
    if version {
        edit.set("jsonrpc", "\"2.0\"");
    }
    if let Some(id) = id {
        edit.set("id", id.to_string());
    }
    match params {
        (Some("[]" | "null") | None, true) => drop(edit.set("params", marked("{}"))),
        (Some("null"), false) => drop(edit.remove("params")),
        (Some("[]"), false) => drop(edit.set("params", "{}")),
        (Some(raw), true) => drop(edit.set("params", marked(raw))),
        _ => {}
    }
    match result {
        (Some(raw), true) => drop(edit.set("result", marked(raw))),
        (Some(raw), false) if !drop_result => drop(edit.set("result", raw)),
        _ => {}
    }
    Message::parse(edit.apply().into())
}

/// `raw`, an object, with the mark that text of it was replaced; as it is if it is none.
fn marked(raw: &str) -> String {
    let Ok(mut edit) = Edit::of(raw) else { return raw.to_owned() };
    if meta::set(&mut edit, &[(meta::REPAIRED, MARK)]).is_err() {
        edit.set("_meta", format!("{{{}:{MARK}}}", quote(meta::REPAIRED)));
    }
    edit.apply()
}

/// The whole number that `raw` is, if it is written in another form than an integer, such as `1.0`.
fn whole_number(raw: &str) -> Option<u64> {
    let (whole, part) = raw.split_once('.')?;
    let is_zero = !part.is_empty() && part.bytes().all(|digit| digit == b'0');
    if is_zero { whole.parse().ok() } else { None }
}

/// The kind of a message whose text cannot be read: its outermost keys are looked for, with any text between them.
pub fn meant(json: &str) -> Meant {
    let mut keys = Keys { bytes: json.trim_start().as_bytes(), at: 0, depth: 0 };
    let mut id = None;
    while let Some((key, value)) = keys.next() {
        match key {
            b"method" => return Meant::Message,
            b"id" => match (number(value), id) {
                (Some(found), None) => id = Some(found),
                (Some(found), Some(earlier)) if found == earlier => {}
                _ => return Meant::Unknown,
            },
            _ => {}
        }
    }
    id.map_or(Meant::Unknown, Meant::Answer)
}

/// The number at the beginning of `value`, also in quotes or with a fraction of zero, if it has an end there.
fn number(value: &[u8]) -> Option<u64> {
    let value = value.strip_prefix(b"\"").unwrap_or(value);
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = &value[digits..];
    let rest = rest.strip_prefix(b".0").unwrap_or(rest);
    let ends = matches!(rest.first(), Some(b'"' | b',' | b'}' | b' ' | b'\t' | b'\r' | b'\n'));
    std::str::from_utf8(&value[..digits]).ok().filter(|_| ends)?.parse().ok()
}

/// The outermost keys of a text that begins like an object, and what stands behind each.
struct Keys<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Keys<'a> {
    fn next(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        loop {
            match self.bytes.get(self.at)? {
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                b'"' => {
                    let start = self.at + 1;
                    self.at = start + end_of_string(&self.bytes[start..])?;
                    let behind = self.bytes[self.at + 1..].trim_ascii_start();
                    if let (1, Some(value)) = (self.depth, behind.strip_prefix(b":")) {
                        let key = &self.bytes[start..self.at];
                        self.at += 1;
                        return Some((key, value.trim_ascii_start()));
                    }
                }
                _ if self.depth == 0 && !self.bytes[self.at].is_ascii_whitespace() => return None,
                _ => {}
            }
            self.at += 1;
        }
    }
}

fn end_of_string(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match Incoming::read(&Bytes::copy_from_slice(text.as_bytes())) {
            Ok(Incoming::One(message)) => message.text().to_owned(),
            Ok(Incoming::Many(messages)) => messages.iter().map(Message::text).collect::<Vec<_>>().join("\n"),
            Err(unread) => format!("{:?}: {}", unread.meant, unread.error.message()),
        }
    }

    #[test]
    fn messages_in_use_become_those_of_the_specification() {
        let good = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
        for same in [
            good,
            "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}",
            r#"{"jsonrpc":"2.0","id":1.0,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":null}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":null}"#,
            r#"{"jsonrpc":2.0,"id":1,"result":{}}"#,
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\0",
        ] {
            assert_eq!(read(same).replace(",\"error\":null", ""), good, "{same}");
        }
        for (sent, taken) in [
            (r#"{"id":1,"result":{}}"#, r#"{"id":1,"result":{},"jsonrpc":"2.0"}"#),
            (r#"{"jsonrpc":"2.0","id":1,"result":null,"error":null}"#, good),
            (r#"{"jsonrpc":"2.0","id":1,"error":null}"#, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#),
            (
                r#"{"jsonrpc":"2.0","id":1,"result":null,"error":{"code":1,"message":"m"}}"#,
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}"#,
            ),
            (r#"{"jsonrpc":"2.0","id":1,"method":"","result":{}}"#, good),
            (r#"{"jsonrpc":"2.0","id":null,"method":"a"}"#, r#"{"jsonrpc":"2.0","method":"a"}"#),
            (r#"{"jsonrpc":"2.0","method":"a","params":null}"#, r#"{"jsonrpc":"2.0","method":"a"}"#),
            (
                r#"{"jsonrpc":"2.0","method":"a","params":[]}"#,
                r#"{"jsonrpc":"2.0","method":"a","params":{}}"#,
            ),
            (
                r#"[{"jsonrpc":"2.0","method":"a"},{"jsonrpc":"2.0","id":1.0,"result":{}}]"#,
                "{\"jsonrpc\":\"2.0\",\"method\":\"a\"}\n{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}",
            ),
        ] {
            assert_eq!(read(sent), taken, "{sent}");
        }
    }

    #[test]
    fn text_that_is_no_character_is_replaced_and_marked() {
        let mark = r#""_meta":{"io.github.mcp-registry-gateway/repaired":["text"]}"#;
        assert_eq!(
            read(r#"{"jsonrpc":"2.0","id":1,"result":{"t":"cut \ud83d"}}"#),
            format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"t":"cut \ufffd",{mark}}}}}"#)
        );
        assert_eq!(
            read(r#"{"jsonrpc":"2.0","id":1,"result":{"t":"\uDE00\ud83d\ude00","_meta":null}}"#),
            format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"t":"\ufffd\ud83d\ude00",{mark}}}}}"#)
        );
        assert_eq!(
            read(r#"{"jsonrpc":"2.0","method":"a","params":{"t":"\udfff"}}"#),
            format!(r#"{{"jsonrpc":"2.0","method":"a","params":{{"t":"\ufffd",{mark}}}}}"#)
        );
        let latin = Bytes::from_static(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"t\":\"gr\xf6\xdfe\"}}");
        let message = one(&latin).unwrap();
        assert!(
            message.text().contains("gr\u{fffd}\u{fffd}e") && message.text().contains(mark),
            "{message:?}"
        );
    }

    #[test]
    fn a_message_that_could_mean_two_things_is_refused() {
        for two in [
            r#"{"jsonrpc":"2.0","id":1,"id":2,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"m"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"a","result":{}}"#,
            r#"{"jsonrpc":"1.0","id":1,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1.5,"result":{}}"#,
            "[]",
            "[1]",
            "starting up",
        ] {
            assert!(Incoming::read(&Bytes::copy_from_slice(two.as_bytes())).is_err(), "{two}");
        }
    }

    #[test]
    fn the_call_that_cannot_be_answered_is_found_in_what_cannot_be_read() {
        for (text, expected) in [
            (r#"{"jsonrpc":"2.0","id":3,"result":{"x":NaN}}"#, Meant::Answer(3)),
            (r#"{"jsonrpc":"2.0","result":{"id":9,"x":NaN},"id":"3"}"#, Meant::Answer(3)),
            (r#"{"jsonrpc":"2.0","id":3.0,"result":{"content":[{"text":"cut"#, Meant::Answer(3)),
            (r#"{"jsonrpc":"2.0","id":3,"result":{},"result":{}}"#, Meant::Answer(3)),
            (r#"{"jsonrpc":"2.0","id":3,"id":4,"result":{}}"#, Meant::Unknown),
            (r#"{"jsonrpc":"2.0","id":3"#, Meant::Unknown),
            (r#"{"jsonrpc":"2.0","id":3,"method":"x","params":{NaN}}"#, Meant::Message),
            (r#"{"a":"\"id\":3,"}"#, Meant::Unknown),
            (r#"INFO {"id":3}"#, Meant::Unknown),
            ("", Meant::Unknown),
        ] {
            assert_eq!(meant(text), expected, "{text}");
        }
    }

    #[test]
    fn an_error_without_an_id_answers_the_request_that_it_can_only_answer() {
        let error =
            one(&Bytes::from_static(br#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"m"}}"#));
        assert_eq!(adopted(&error.unwrap(), 7).unwrap().id_number(), Some(7));
        let other = one(&Bytes::from_static(br#"{"jsonrpc":"2.0","id":2,"error":{"code":1,"message":"m"}}"#));
        assert!(adopted(&other.unwrap(), 7).is_none());
    }
}
