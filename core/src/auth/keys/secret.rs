//! API keys themselves: `mcp_` and 60 characters, each known to its holder and to nobody else.

use std::fmt;

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

use crate::error::{Error, ErrorKind, Result};
use crate::model::KeyHash;

/// The beginning of every key, so that scanners find keys where they do not belong.
pub const PREFIX: &[u8] = b"mcp_";
/// Characters of a key, its prefix included. 60 of 62 characters each are 357 bits.
pub const LENGTH: usize = 64;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A key that was just made. It is shown once and never kept; its `Debug` form hides it.
pub struct Secret(String);

impl Secret {
    /// A key from the system's random numbers. [`ErrorKind::Internal`] if the system has none.
    pub(super) fn random() -> Result<Self> {
        let mut text = String::with_capacity(LENGTH);
        text.push_str("mcp_");
        let source = SystemRandom::new();
        let mut bytes = [0; LENGTH];
        while text.len() < LENGTH {
            let none = |_| Error::new(ErrorKind::Internal, "the operating system returned no random bytes");
            source.fill(&mut bytes).map_err(none)?;
            // 248 is four times 62: without the bytes above it every character is as likely as any other.
            let drawn = bytes.iter().filter(|byte| **byte < 248).take(LENGTH - text.len());
            text.extend(drawn.map(|byte| char::from(ALPHABET[usize::from(byte % 62)])));
        }
        Ok(Self(text))
    }

    /// The key, to be shown to its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Its last four characters.
    pub(super) fn hint(&self) -> &str {
        &self.0[LENGTH - 4..]
    }

    pub(super) fn hash(&self) -> KeyHash {
        hash(self.0.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// The SHA-256 of a key.
pub(super) fn hash(token: &[u8]) -> KeyHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token).as_ref());
    KeyHash(hash)
}

/// Whether this could be a key, by its form alone.
pub(crate) fn has_form(token: &[u8]) -> bool {
    token.len() == LENGTH && token.starts_with(PREFIX) && token[4..].iter().all(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_key_has_its_form_and_is_never_printed() {
        let keys: Vec<Secret> = (0..200).map(|_| Secret::random().unwrap()).collect();
        for key in &keys {
            assert!(has_form(key.reveal().as_bytes()), "{}", key.reveal());
            assert!(key.reveal().ends_with(key.hint()));
            assert_eq!(format!("{key:?}"), "Secret(***)");
        }
        let different: HashSet<&str> = keys.iter().map(Secret::reveal).collect();
        assert_eq!(different.len(), keys.len());
        let characters: HashSet<char> = keys.iter().flat_map(|key| key.reveal()[4..].chars()).collect();
        assert_eq!(characters.len(), 62, "every character of the alphabet comes up in 12,000 draws");
    }

    #[test]
    fn what_has_another_form_is_no_key() {
        let key = "mcp_".to_owned() + &"a".repeat(60);
        assert!(has_form(key.as_bytes()));
        for other in ["", "mcp_", &key[1..], &format!("{key}a"), &key.replace("aa", "a-"), "sk-abc"] {
            assert!(!has_form(other.as_bytes()), "{other}");
        }
    }
}
