//! One level of a JSON object as raw slices, with duplicate keys refused.
//!
//! Two parsers that disagree about which of two equal keys counts are how a policy is passed by: so there is
//! one parser, and an object that has the same key twice does not pass it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, IgnoredAny, Visitor};
use smallvec::SmallVec;

use super::MAX_DEPTH;
use super::scan::{Fault, Scan};
use crate::error::{Error, ErrorKind, Result};

/// From so many members on, keys are compared by their hashes: comparing pairs is fastest for the few of a message, and takes the
/// square of the time for those of a hostile one.
const MANY: usize = 32;

/// The members of one JSON object in their order, values as raw slices of the source.
#[derive(Debug)]
pub struct Members<'a> {
    // As many as a message has; more are rare, and then one allocation is little.
    entries: SmallVec<[(Cow<'a, str>, &'a str); 4]>,
}

impl<'a> Members<'a> {
    /// Reads the members of `json`, which must be one object.
    ///
    /// Errors: [`ErrorKind::Parse`] if it is not JSON or nests too deep, [`ErrorKind::InvalidRequest`] if it is not an object or
    /// has a key twice.
    pub fn parse(json: &'a str) -> Result<Self> {
        let fault = |fault| refusal(json, fault);
        let mut scan = Scan::object(json).map_err(fault)?;
        let mut entries: SmallVec<[(Cow<'a, str>, &'a str); 4]> = SmallVec::new();
        let mut many: HashSet<String> = HashSet::new();
        while let Some((key, plain, value)) = scan.member().map_err(fault)? {
            let key = if plain {
                Cow::Borrowed(key)
            } else {
                // As it stands, with its quotes.
                let inner = range_in(json, key);
                text(&json[inner.start - 1..=inner.end]).ok_or_else(|| fault(Fault::Syntax))?
            };
            let twice = if entries.len() < MANY {
                entries.iter().any(|(seen, _)| *seen == key)
            } else {
                if many.is_empty() {
                    many.extend(entries.iter().map(|(seen, _)| seen.to_string()));
                }
                !many.insert(key.to_string())
            };
            if twice {
                let shown: String = key.chars().take(40).collect();
                let message = format!("the key {shown:?} stands twice in one object");
                return Err(Error::new(ErrorKind::InvalidRequest, message));
            }
            entries.push((key, value));
        }
        Ok(Self { entries })
    }

    /// The raw value of `key`.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.entries.iter().find(|(found, _)| found == key).map(|(_, value)| *value)
    }

    /// The value of `key` if it is a string.
    pub fn text(&self, key: &str) -> Option<Cow<'a, str>> {
        text(self.get(key)?)
    }

    /// Keys and raw values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.entries.iter().map(|(key, value)| (&**key, *value))
    }
}

/// The text of a raw JSON string; `None` for any other JSON value.
pub fn text(raw: &str) -> Option<Cow<'_, str>> {
    // Nearly every string is written as it is meant: without an escape it is the text between the quotes.
    if let Some(inner) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'))
        && inner.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\')
    {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<MemberKey<'_>>(raw).ok().map(|key| key.0)
}

/// Where `part`, a slice of `whole`, lies in it.
pub fn range_in(whole: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}

/// A JSON string.
struct MemberKey<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for MemberKey<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = MemberKey<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<MemberKey<'de>, E> {
                Ok(MemberKey(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<MemberKey<'de>, E> {
                Ok(MemberKey(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// The words of a parser say in which line and column it is.
fn refusal(json: &str, fault: Fault) -> Error {
    match fault {
        Fault::Kind => Error::new(ErrorKind::InvalidRequest, "expected a JSON object"),
        Fault::Deep => {
            Error::new(ErrorKind::Parse, format!("the message nests deeper than the limit of {MAX_DEPTH}"))
        }
        Fault::Syntax => {
            let told = serde_json::from_str::<IgnoredAny>(json).err();
            let told = told.map_or_else(|| "a key is not text".to_owned(), |error| error.to_string());
            Error::new(ErrorKind::Parse, told)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B-09: keys are exact, and none stands twice.
    #[test]
    fn a_key_that_stands_twice_is_refused_also_when_it_is_escaped() {
        let error = Members::parse(r#"{"name":1,"n\u0061me":2}"#).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }

    #[test]
    fn text_is_what_a_json_string_means_and_nothing_else_is_text() {
        for (raw, meant) in
            [(r#""""#, ""), (r#""a é""#, "a é"), (r#""a\"\u0062""#, "a\"b"), (r#" "a" "#, "a")]
        {
            assert_eq!(text(raw).as_deref(), Some(meant), "{raw}");
        }
        for raw in ["\"", "", "a", "1", r#""a"b""#, "\"a\nb\"", r#""a\""#, r#""a"x"#] {
            assert_eq!(text(raw), None, "{raw}");
        }
    }

    #[test]
    fn values_are_the_very_slices_of_the_source() {
        let source = r#"{"a": 12345678901234567890123 , "b":{"c":1.0}}"#;
        let members = Members::parse(source).unwrap();
        assert_eq!(members.get("a"), Some("12345678901234567890123"));
        assert_eq!(&source[range_in(source, members.get("b").unwrap())], r#"{"c":1.0}"#);
    }
}
