//! The key that signs where audit chains begin and end: Ed25519, in a file beside the data that only this user may read.

use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use super::chain::hex;
use super::secret_file;
use crate::error::{Error, ErrorKind, Result};
use crate::files;

/// The key's file is at most so long, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// The key, and the name that signatures carry: the first 16 hexadecimal digits of the SHA-256 of its public half.
pub(super) struct SigningKey {
    pair: Ed25519KeyPair,
    id: String,
}

impl SigningKey {
    /// Reads the key, or makes it where there is none; says whether it was made.
    pub(super) fn open(path: &Path) -> Result<(Self, bool)> {
        match Self::find(path)? {
            Some(key) => Ok((key, false)),
            None => Self::make(path),
        }
    }

    /// Reads the key, if there is one.
    pub(super) fn find(path: &Path) -> Result<Option<Self>> {
        match files::read_text(path, MAX_FILE) {
            Ok(text) => Self::parse(path, &text).map(Some),
            Err(fault) if fault.is_missing() => Ok(None),
            Err(fault) => {
                Err(fault.into_error(ErrorKind::Storage, "the key that signs the audit trail", path))
            }
        }
    }

    /// A key that is written nowhere: with it nothing can be verified.
    pub(super) fn unwritten(path: &Path) -> Result<Self> {
        Self::parse(path, &Self::text()?)
    }

    fn text() -> Result<String> {
        let fault =
            |_| Error::new(ErrorKind::Internal, "the operating system returned no random bytes for a key");
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(fault)?;
        Ok(BASE64_STANDARD.encode(document.as_ref()))
    }

    fn make(path: &Path) -> Result<(Self, bool)> {
        let text = Self::text()?;
        match secret_file::make(path, &text) {
            Ok(true) => Ok((Self::parse(path, &text)?, true)),
            Ok(false) => Self::open(path),
            Err(error) => Err(failed(path, "the key that signs the audit trail cannot be written", &error)),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self> {
        let bad = || {
            let message = "this is not the key that signs the audit trail; restore it from a backup";
            Error::new(ErrorKind::Storage, message).with("file", path.display())
        };
        let bytes = BASE64_STANDARD.decode(text.trim()).map_err(|_| bad())?;
        let pair = Ed25519KeyPair::from_pkcs8(&bytes).map_err(|_| bad())?;
        let id = hex(&digest(&SHA256, pair.public_key().as_ref()).as_ref()[..8]);
        Ok(Self { pair, id })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn sign(&self, statement: &[u8]) -> Vec<u8> {
        self.pair.sign(statement).as_ref().to_vec()
    }

    /// Whether this key signed the statement.
    pub(super) fn signed(&self, statement: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.pair.public_key()).verify(statement, signature).is_ok()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.id)
    }
}

fn failed(path: &Path, what: &'static str, error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Storage, format!("{what}: {error}; check the path and its permissions"))
        .with("file", path.display())
}
