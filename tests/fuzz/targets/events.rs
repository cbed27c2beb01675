//! Server-sent events: any cut of a stream reads the same, and what is written is read back.

use bytes::Bytes;
use mcp_registry_gateway::rpc::sse::{Decoder, Event, encode};

const LIMIT: usize = 200;

pub(crate) fn sse(input: &[u8]) {
    let whole = read(&[input]);
    let single: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(read(&single), whole, "byte by byte");
    let size = 2 + usize::from(input.first().copied().unwrap_or(0) % 31);
    let pieces: Vec<&[u8]> = input.chunks(size).collect();
    assert_eq!(read(&pieces), whole, "in pieces of {size}");
    for event in &whole.0 {
        assert!(event.data.len() <= LIMIT, "no event is over the limit");
        assert!(event.id.as_deref().is_none_or(|id| !id.contains(['\0', '\r', '\n'])));
    }

    let id = String::from_utf8_lossy(&input[..input.len().min(20)]).into_owned();
    let written = encode(input, Some(&id));
    let mut decoder = Decoder::with_limit(8 * input.len() + 100);
    decoder.push(written);
    let event = decoder.next().expect("what is written is within limits").expect("one event");
    assert!(event.is_message() && matches!(decoder.next(), Ok(None)));
    assert_eq!(event.data, normal(input), "line ends become LF, nothing else changes");
}

/// The events up to the first error, and whether there was one.
fn read(pieces: &[&[u8]]) -> (Vec<Event>, bool) {
    let mut decoder = Decoder::with_limit(LIMIT);
    let mut events = Vec::new();
    for piece in pieces {
        decoder.push(Bytes::copy_from_slice(piece));
        loop {
            match decoder.next() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(_) => return (events, true),
            }
        }
    }
    (events, false)
}

fn normal(input: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(input.len());
    let mut bytes = input.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' => {
                bytes.next_if_eq(&b'\n');
                out.push(b'\n');
            }
            other => out.push(other),
        }
    }
    out
}
