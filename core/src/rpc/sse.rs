//! Server-sent events, both ways, as the HTML Living Standard defines them (section 9.2).
//!
//! The decoder takes the stream in any pieces and returns the same events for every way of cutting it. An event
//! whose data is one line within one piece is a slice of that piece; nothing is copied.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr, memchr2};

use crate::error::{Cause, Error, ErrorKind, Result};

/// Bytes of one event at most, as they are sent: 16 MiB, as a whole answer.
pub const MAX_EVENT: usize = 16 * 1024 * 1024;

/// A comment that keeps intermediaries from closing idle connections.
pub const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The event's type; `None` where the stream does not name one, which means `message`.
    pub name: Option<String>,
    /// The last event id that the stream set, in this event or before it.
    pub id: Option<Arc<str>>,
    /// The data, its lines joined by LF. Not checked for being UTF-8.
    pub data: Bytes,
}

impl Event {
    /// Whether it is of the type `message`, the only one that carries MCP messages.
    pub fn is_message(&self) -> bool {
        self.name.as_deref().is_none_or(|name| name == "message")
    }
}

/// Reads a stream that comes in pieces.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    /// Bytes that were pushed and are not read yet.
    chunk: Bytes,
    /// The beginning of a line whose end has not come.
    line: BytesMut,
    /// The last line ended in CR: an LF right behind it belongs to it.
    after_cr: bool,
    /// No line was read yet: the next may begin with a byte order mark.
    at_start: bool,
    name: Option<String>,
    data: Data,
    next_id: Option<Arc<str>>,
    id: Option<Arc<str>>,
    retry: Option<Duration>,
}

#[derive(Debug, Default)]
enum Data {
    #[default]
    None,
    One(Bytes),
    Many(BytesMut),
}

impl Data {
    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(line) => line.len(),
            Self::Many(lines) => lines.len(),
        }
    }

    fn push(&mut self, line: Bytes) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(line),
            Self::One(first) => {
                let mut lines = BytesMut::with_capacity(first.len() + line.len() + 1);
                lines.extend_from_slice(&first);
                lines.extend_from_slice(b"\n");
                lines.extend_from_slice(&line);
                Self::Many(lines)
            }
            Self::Many(mut lines) => {
                lines.extend_from_slice(b"\n");
                lines.extend_from_slice(&line);
                Self::Many(lines)
            }
        };
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::with_limit(MAX_EVENT)
    }
}

impl Decoder {
    /// A decoder at the start of a stream, for events of up to `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            limit,
            chunk: Bytes::new(),
            line: BytesMut::new(),
            after_cr: false,
            at_start: true,
            name: None,
            data: Data::None,
            next_id: None,
            id: None,
            retry: None,
        }
    }

    /// Pushes the next piece of the stream. Best called after [`Decoder::next`] returned `None`.
    pub fn push(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            let mut joined = BytesMut::from(&self.chunk[..]);
            joined.extend_from_slice(&chunk);
            self.chunk = joined.freeze();
        }
    }

    /// The next event, or `None` until more of the stream is pushed. Bytes behind the last blank line when
    /// the stream ends are no event.
    ///
    /// [`ErrorKind::BadUpstream`] for an event over the limit, which the message names; the decoder cannot be used
    /// after that.
    #[expect(clippy::should_implement_trait, reason = "`None` means `not yet`, not the end of an iteration")]
    pub fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if self.after_cr && !self.chunk.is_empty() {
                if self.chunk[0] == b'\n' {
                    self.chunk.advance(1);
                }
                self.after_cr = false;
            }
            let Some(end) = memchr2(b'\r', b'\n', &self.chunk) else {
                self.check(self.chunk.len())?;
                self.line.extend_from_slice(&self.chunk);
                self.chunk = Bytes::new();
                return Ok(None);
            };
            self.check(end)?;
            let mut line = self.chunk.split_to(end);
            self.after_cr = self.chunk[0] == b'\r';
            self.chunk.advance(1);
            if !self.line.is_empty() {
                self.line.extend_from_slice(&line);
                line = self.line.split().freeze();
            }
            if std::mem::take(&mut self.at_start) && line.starts_with(b"\xef\xbb\xbf") {
                line.advance(3);
            }
            if !line.is_empty() {
                self.field(&line);
            } else if let Some(event) = self.dispatch() {
                return Ok(Some(event));
            }
        }
    }

    /// Begins a new stream that goes on where the last broke: an unfinished event is forgotten, the last id and the
    /// wait that the server wants are kept.
    pub fn restart(&mut self) {
        let Self { limit, id, retry, .. } = std::mem::take(self);
        *self = Self { id, retry, ..Self::with_limit(limit) };
    }

    /// The id of the last event, with which a stream that broke can be taken up again.
    pub fn last_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// How long the server wants a client to wait before it connects again.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn check(&self, more: usize) -> Result<()> {
        if self.data.len() + self.line.len() + more <= self.limit {
            return Ok(());
        }
        let limit = self.limit;
        Err(Error::new(
            ErrorKind::BadUpstream,
            format!(
                "an event of the server's stream is larger than the limit of {limit} bytes for one event"
            ),
        )
        .because(Cause::LimitExceeded)
        .with("limit_bytes", limit))
    }

    fn field(&mut self, line: &Bytes) {
        let (name, value) = match memchr(b':', line) {
            Some(colon) => {
                let start = colon + 1 + usize::from(line.get(colon + 1) == Some(&b' '));
                (&line[..colon], line.slice(start..))
            }
            None => (&line[..], Bytes::new()),
        };
        match name {
            b"data" => self.data.push(value),
            b"event" => self.name = Some(String::from_utf8_lossy(&value).into_owned()),
            b"id" if memchr(0, &value).is_none() => {
                self.next_id = Some(String::from_utf8_lossy(&value).into());
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let millis = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
                self.retry = millis.map(Duration::from_millis).or(self.retry);
            }
            // A comment, or a field that the standard says to ignore.
            _ => {}
        }
    }

    fn dispatch(&mut self) -> Option<Event> {
        if let Some(id) = self.next_id.take() {
            // An empty id is how a stream takes its last id back.
            self.id = Some(id).filter(|id| !id.is_empty());
        }
        let name = self.name.take().filter(|name| !name.is_empty());
        let data = match std::mem::take(&mut self.data) {
            Data::None => return None,
            Data::One(line) => line,
            Data::Many(lines) => lines.freeze(),
        };
        Some(Event { name, id: self.id.clone(), data })
    }
}

/// A message as one event of the type `message`. Raw line breaks in it, which in JSON can only be white space,
/// become several `data` lines. An id with a line break or NUL in it is left out: it could not be read back.
pub fn encode(message: &[u8], event_id: Option<&str>) -> Bytes {
    let id = event_id.filter(|id| !id.contains(['\r', '\n', '\0']));
    let mut out = BytesMut::with_capacity(message.len() + id.map_or(0, |id| id.len() + 5) + 32);
    out.extend_from_slice(b"event: message\n");
    if let Some(id) = id {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(id.as_bytes());
        out.extend_from_slice(b"\n");
    }
    let mut rest = message;
    loop {
        out.extend_from_slice(b"data: ");
        let Some(end) = memchr2(b'\r', b'\n', rest) else {
            out.extend_from_slice(rest);
            out.extend_from_slice(b"\n\n");
            return out.freeze();
        };
        out.extend_from_slice(&rest[..end]);
        out.extend_from_slice(b"\n");
        let pair = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + 1 + usize::from(pair)..];
    }
}

/// The same in pieces, in which the message itself is: it is not copied, if it is large and in one line.
pub fn encode_in_pieces(message: Bytes, event_id: Option<&str>) -> [Bytes; 3] {
    const LARGE: usize = 64 * 1024;
    if message.len() <= LARGE || memchr2(b'\r', b'\n', &message).is_some() {
        return [encode(&message, event_id), Bytes::new(), Bytes::new()];
    }
    let mut head = BytesMut::from(&encode(b"", event_id)[..]);
    head.truncate(head.len() - 2);
    [head.freeze(), message, Bytes::from_static(b"\n\n")]
}

/// An event without data, from which a stream can be taken up before anything was said on it, and how long a client is to wait
/// before it does (2025-11-25, streamable HTTP, "Sending Messages to the Server"). `id` has no line break in it.
pub fn primer(id: &str, retry: Duration) -> Bytes {
    format!("id: {id}\nretry: {}\ndata: \n\n", retry.as_millis()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_large_message_is_sent_in_pieces_that_are_the_same_event() {
        for (message, copied) in
            [("x".repeat(100_000), false), ("x\n".repeat(50_000), true), ("x".into(), true)]
        {
            let message = Bytes::from(message);
            let pieces = encode_in_pieces(message.clone(), Some("1-2"));
            assert_eq!(pieces.concat(), encode(&message, Some("1-2")));
            assert_eq!(pieces[1].as_ptr() != message.as_ptr(), copied);
        }
    }

    fn decode(pieces: &[&[u8]]) -> Result<Vec<Event>> {
        let mut decoder = Decoder::with_limit(1000);
        let mut events = Vec::new();
        for piece in pieces {
            decoder.push(Bytes::copy_from_slice(piece));
            while let Some(event) = decoder.next()? {
                events.push(event);
            }
        }
        Ok(events)
    }

    fn data(stream: &str) -> Vec<String> {
        let events = decode(&[stream.as_bytes()]).unwrap();
        events.into_iter().map(|event| String::from_utf8(event.data.to_vec()).unwrap()).collect()
    }

    #[test]
    fn the_examples_of_the_standard_decode_as_it_says() {
        assert_eq!(data("data: YHOO\ndata: +2\ndata: 10\n\n"), ["YHOO\n+2\n10"]);
        assert_eq!(data("data\n\ndata\ndata\n\ndata:"), ["", "\n"]);
        assert_eq!(data("data:test\n\ndata: test\n\ndata:  test\n\n"), ["test", "test", " test"]);
        let events = decode(&[b": test stream\n\ndata: first\nid: 1\n\ndata:second\nid\n\ndata:  third\n\n"]);
        let ids: Vec<_> = events.unwrap().into_iter().map(|event| event.id).collect();
        assert_eq!(ids, [Some("1".into()), None, None]);
    }

    /// B-03: a stream of events is read as the standard says, and no event is larger than the limit.
    #[test]
    fn every_line_end_and_a_byte_order_mark_are_understood() {
        assert_eq!(data("\u{feff}data: a\r\rdata: b\n\ndata: c\r\n\r\ndata: d\n\r\n"), ["a", "b", "c", "d"]);
        assert_eq!(decode(&[b"data: a\r", b"\n\r", b"\ndata: b\r", b"\r"]).unwrap().len(), 2);
    }

    /// B-03: a stream of events is read as the standard says, and no event is larger than the limit.
    #[test]
    fn an_id_with_nul_and_a_retry_that_is_no_number_are_ignored() {
        let mut decoder = Decoder::default();
        decoder.push(Bytes::from_static(b"id: 7\nretry: 20\n\nid: a\0b\nretry: 1s\nevent: x\ndata: y\n\n"));
        let event = decoder.next().unwrap().unwrap();
        assert_eq!((event.name.as_deref(), event.id.as_deref()), (Some("x"), Some("7")));
        assert!(!event.is_message());
        assert_eq!((decoder.last_id(), decoder.retry()), (Some("7"), Some(Duration::from_millis(20))));
    }

    /// B-03: a stream of events is read as the standard says, and no event is larger than the limit.
    #[test]
    fn an_event_over_the_limit_is_an_error_that_names_it_also_without_any_delimiter() {
        for stream in [vec![b'x'; 1001], [b"data: ".to_vec(), vec![b'x'; 1001]].concat()] {
            let error = decode(&[&stream]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadUpstream);
            assert!(error.message().contains("1000 bytes"), "{error}");
        }
        let many_lines = "data: 0123456789\n".repeat(95);
        assert!(decode(&[many_lines.as_bytes()]).is_err());
        assert_eq!(data(&": a comment that keeps the connection open\n".repeat(1000)).len(), 0);
    }

    #[test]
    fn data_that_lies_in_one_piece_is_not_copied() {
        let piece = Bytes::from_static(b"data: {\"a\":1}\n\n");
        let mut decoder = Decoder::default();
        decoder.push(piece.clone());
        let event = decoder.next().unwrap().unwrap();
        assert_eq!(event.data.as_ptr(), piece[6..].as_ptr());
    }

    #[test]
    fn a_message_with_raw_line_breaks_survives_encoding() {
        let event = encode(b"{\"a\":1,\r\n\"b\":\r2}\n", Some("e/1"));
        assert_eq!(
            &event[..],
            b"event: message\nid: e/1\ndata: {\"a\":1,\ndata: \"b\":\ndata: 2}\ndata: \n\n".as_slice()
        );
        let events = decode(&[&event]).unwrap();
        assert_eq!(&events[0].data[..], b"{\"a\":1,\n\"b\":\n2}\n");
        assert!(events[0].is_message());
        assert_eq!(&encode(b"{}", Some("a\nb"))[..], b"event: message\ndata: {}\n\n");
    }

    #[test]
    fn a_primer_has_an_id_and_a_wait_and_no_message() {
        let mut decoder = Decoder::default();
        decoder.push(primer("7-0", Duration::from_millis(500)));
        let event = decoder.next().unwrap().unwrap();
        assert_eq!((event.id.as_deref(), event.data.len()), (Some("7-0"), 0));
        assert_eq!(decoder.retry(), Some(Duration::from_millis(500)));
    }

    proptest! {
        #[test]
        fn any_cut_of_a_stream_gives_the_same_events(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "data: a", "data:", "data", ":", " x", "\r", "\n", "\r\n", "\n\n", "id: 1", "id: \0", "id",
                    "event: e", "retry: 5", "\u{feff}", "ü", "event",
                ]),
                0..60,
            ),
            cuts in prop::collection::vec(0_usize..200, 0..20),
        ) {
            let stream = parts.concat().into_bytes();
            let whole = decode(&[&stream]).unwrap();
            let mut cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut <= stream.len()).collect();
            cuts.sort_unstable();
            cuts.push(stream.len());
            let mut at = 0;
            let pieces: Vec<&[u8]> = cuts.iter().map(|cut| { let piece = &stream[at..*cut]; at = *cut; piece }).collect();
            prop_assert_eq!(decode(&pieces).unwrap(), whole.clone());
            let single: Vec<&[u8]> = stream.chunks(1).collect();
            prop_assert_eq!(decode(&single).unwrap(), whole);
        }

        #[test]
        fn what_is_encoded_decodes_to_itself(message in "[ -~üß\n]{0,200}") {
            let events = decode(&[&encode(message.as_bytes(), None)]).unwrap();
            prop_assert_eq!(events.len(), 1);
            prop_assert_eq!(&events[0].data[..], message.as_bytes());
        }
    }
}
