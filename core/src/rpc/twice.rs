//! Finds a key that stands twice in one object, at any depth.
//!
//! [`Members`](super::Members) refuses such a key in the object that it reads. Where a decision depends on values further in, and
//! the receiver reads them by a parser of its own, the whole value must mean the same to both.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::error::{Error, ErrorKind, Result};

/// The first key that stands twice in one object of `json`, if there is one; `None` also for text that is no JSON.
pub fn key_twice(json: &str) -> Option<String> {
    let mut found = None;
    let mut reader = serde_json::Deserializer::from_str(json);
    // The error only ends the search.
    let _ = Search { found: &mut found }.deserialize(&mut reader);
    found
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

struct Search<'f> {
    found: &'f mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Search<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Search<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<(), A::Error> {
        while items.next_element_seed(Search { found: &mut *self.found })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> std::result::Result<(), A::Error> {
        let mut seen: HashSet<Cow<'de, str>> = HashSet::new();
        while let Some(key) = members.next_key::<Cow<'de, str>>()? {
            if seen.contains(&key) {
                *self.found = Some(key.into_owned());
                return Err(A::Error::custom("a key stands twice"));
            }
            seen.insert(key);
            members.next_value_seed(Search { found: &mut *self.found })?;
        }
        Ok(())
    }
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
            ("1", None),
            ("", None),
        ] {
            assert_eq!(key_twice(json).as_deref(), found, "{json}");
        }
    }
}
