//! Names on the aggregated route: `service__tool`, one to one.
//!
//! A service name never contains `__`, begins and ends with a letter or digit, so the first `__` of a full name is the
//! separator, whatever the tool is called: (`acme_`, `status`) cannot exist, and (`acme`, `_status`) is
//! `acme___status`, which splits one way only. Clients in wide use refuse names of more than 64 characters: a longer
//! one is cut and ends in `_` and eight hexadecimal digits of the XXH3 hash (seed 0) of the whole.

use std::borrow::Cow;

use xxhash_rust::xxh3::xxh3_64;

use crate::rpc::{Message, Method};

/// Longest name that clients in wide use accept.
const LONGEST: usize = 64;

/// The name of a tool or prompt on the aggregated route.
pub(crate) fn join(service: &str, name: &str) -> String {
    let full = format!("{service}__{name}");
    if full.chars().count() <= LONGEST {
        return full;
    }
    let hash = xxh3_64(full.as_bytes()) >> 32;
    let head: String = full.chars().take(LONGEST - 9).collect();
    format!("{head}_{hash:08x}")
}

/// Service and name of a full name that was not cut.
pub(crate) fn split(full: &str) -> Option<(&str, &str)> {
    full.split_once("__")
}

/// `text` cut for an error message.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if text.chars().count() <= 80 {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().take(80).chain(['…']).collect())
}

/// A name for a message.
pub(crate) fn shown_method(message: &Message) -> String {
    shown(message.method().map_or("response", Method::as_str)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B-16: full names are one to one.
    #[test]
    fn full_names_split_one_way() {
        assert_eq!(join("acme", "_status"), "acme___status");
        assert_eq!(split("acme___status"), Some(("acme", "_status")));
        assert_eq!(split("acme__a__b"), Some(("acme", "a__b")));
        assert_eq!(split("acme"), None);
    }

    /// B-16: full names are one to one.
    #[test]
    fn long_names_are_cut_to_64_and_stay_apart() {
        let (a, b) =
            (join("svc", &format!("{}a", "x".repeat(80))), join("svc", &format!("{}b", "x".repeat(80))));
        assert_eq!(a.len(), 64);
        assert_ne!(a, b);
        assert_eq!(join("svc", &"x".repeat(59)).len(), 64);
    }
}
