//! Names on the aggregated route: `service__tool`, one to one.
//!
//! A service name never contains `__`, begins and ends with a letter or digit, so the first `__` of a full name is the
//! separator, whatever the tool is called: (`acme_`, `status`) cannot exist, and (`acme`, `_status`) is
//! `acme___status`, which splits one way only. Clients in wide use take names of 1 to 64 letters, digits, `_` and `-`. Every
//! other full name has a spelling for them: each other character becomes `_`, and the name is cut and ends in `_` and eight
//! hexadecimal digits of the SHA-256 of the full name. The full name itself stays callable.

use std::borrow::Cow;
use std::fmt::Write as _;

use ring::digest::{SHA256, digest};

use crate::rpc::{Message, Method};

/// Longest name that clients in wide use accept.
const LONGEST: usize = 64;
/// Characters before the digits of the hash.
const HEAD: usize = LONGEST - 9;

/// The name of a tool or prompt on the aggregated route.
pub(crate) fn join(service: &str, name: &str) -> String {
    let full = full(service, name);
    if is_plain(&full) { full } else { spelled(&full, 0) }
}

/// The full name, whatever characters it has.
pub(crate) fn full(service: &str, name: &str) -> String {
    format!("{service}__{name}")
}

/// Whether clients in wide use accept a name as it is.
pub(crate) fn is_plain(full: &str) -> bool {
    full.len() <= LONGEST && full.bytes().all(is_usual)
}

/// The spelling of a full name for clients. Another `turn` gives another one, where the first is taken.
pub(crate) fn spelled(full: &str, turn: u32) -> String {
    let usual = |c: char| if u8::try_from(c).is_ok_and(is_usual) { c } else { '_' };
    let mut name: String = full.chars().take(HEAD).map(usual).collect();
    let hash = if turn == 0 {
        digest(&SHA256, full.as_bytes())
    } else {
        digest(&SHA256, format!("{full}\n{turn}").as_bytes())
    };
    name.push('_');
    for byte in hash.as_ref().iter().take(4) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

fn is_usual(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// Service and name of a full name.
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

    #[test]
    fn other_characters_become_underscores_and_the_hash_tells_the_names_apart() {
        for (service, name, head) in [
            ("svc", "ns/list", "svc__ns_list_"),
            ("svc", "with space", "svc__with_space_"),
            ("svc", "größe", "svc__gr__e_"),
            ("svc", "日本", "svc_____"),
            ("awslabs.docs", "search", "awslabs_docs__search_"),
            ("svc", "a.b", "svc__a_b_"),
        ] {
            let spelled = join(service, name);
            assert!(is_plain(&spelled), "{spelled}");
            let hash = digest(&SHA256, format!("{service}__{name}").as_bytes());
            let hash = u32::from_be_bytes(hash.as_ref()[..4].try_into().unwrap());
            assert_eq!(spelled, format!("{head}{hash:08x}"));
        }
        assert_ne!(join("svc", "a/b"), join("svc", "a b"));
        assert_eq!(join("svc", &"ä".repeat(200)).len(), 64);
    }
}
