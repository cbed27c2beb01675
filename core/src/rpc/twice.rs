//! Finds a key that stands twice in one object, at any depth.
//!
//! [`Members`](super::Members) refuses such a key in the object that it reads. Where a decision depends on values further in, and
//! the receiver reads them by a parser of its own, the whole value must mean the same to both.

use std::borrow::Cow;
use std::collections::HashSet;

use super::object::text;
use crate::error::{Error, ErrorKind, Result};

/// The first key that stands twice in one object of `json`, a part of a message that was read; `None` if there is none.
///
/// Nothing is made of the values: a number that no parser can hold ends no search.
pub fn key_twice(json: &str) -> Option<String> {
    // The keys of each object that is open; `None` for an array.
    let mut open: Vec<Option<HashSet<Cow<'_, str>>>> = Vec::new();
    let mut wants_key = false;
    let mut at = 0;
    while let Some(byte) = json.as_bytes().get(at) {
        match byte {
            b'{' => open.push(Some(HashSet::new())),
            b'[' => open.push(None),
            b'}' | b']' => drop(open.pop()),
            b'"' => {
                let raw = string(json, at)?;
                at += raw.len() - 1;
                if let (true, Some(Some(keys))) = (wants_key, open.last_mut()) {
                    let key = text(raw)?;
                    if keys.contains(&key) {
                        return Some(key.into_owned());
                    }
                    keys.insert(key);
                }
            }
            _ => {}
        }
        // A key stands behind `{`, and behind `,` in an object; a blank changes nothing.
        wants_key = match byte {
            b' ' | b'\t' | b'\n' | b'\r' => wants_key,
            b'{' | b',' => true,
            _ => false,
        };
        at += 1;
    }
    None
}

/// The string that begins at `at`, with its quotes.
fn string(json: &str, at: usize) -> Option<&str> {
    let bytes = &json.as_bytes()[at + 1..];
    let mut end = 0;
    loop {
        end += memchr::memchr2(b'"', b'\\', &bytes[end..])?;
        if bytes[end] == b'"' {
            return json.get(at..at + end + 2);
        }
        end += 2;
        if end > bytes.len() {
            return None;
        }
    }
}

/// Refuses the value of `member` if a key stands twice in one object of it: its reader may take the other value.
///
/// [`ErrorKind::InvalidParams`], naming the key.
pub fn unambiguous(json: &str, member: &str) -> Result<()> {
    let Some(key) = key_twice(json) else { return Ok(()) };
    let shown: String = key.chars().take(40).collect();
    let message = format!("the key {shown:?} stands twice in one object of `{member}`; send it once");
    Err(Error::new(ErrorKind::InvalidParams, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_stands_twice_is_found_at_any_depth_however_it_is_written() {
        for (json, found) in [
            (r#"{"a":1,"a":2}"#, Some("a")),
            (r#"{"x":[{"b":{"a":1,"\u0061":2}}]}"#, Some("a")),
            (r#"[[{"k":null,"j":1e400,"k":0}]]"#, Some("k")),
            (r#"{"a":{"a":{"a":[]}},"b":[{"a":1},{"a":1}]}"#, None),
            (r#"{"n":12345678901234567890123,"m":-1.5,"s":"\ud83d\ude00"}"#, None),
            (r#"{"a":"\"a\\","b":{},"c":[{},"a"],"a":0}"#, Some("a")),
            (r#"{"" : "", "b":"" }"#, None),
            ("1", None),
            ("", None),
        ] {
            assert_eq!(key_twice(json).as_deref(), found, "{json}");
        }
    }
}
