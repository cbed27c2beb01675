//! Secrets at rest: sealed with a key that is not stored beside them.
//!
//! ChaCha20-Poly1305 (RFC 8439) with a nonce of the operating system's generator for each value. The owner of a value is
//! authenticated with it, so that a row copied to another server, tenant or user does not open there. Keys come as text, the one
//! that seals first; the others open values sealed before. A key is known by the first bytes of its SHA-256.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::files::{self, Fault};

/// `[credentials]`: the key that credentials for servers are sealed with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Credentials {
    /// The key that seals credentials for servers: 32 random bytes in Base64; older keys behind it, divided by commas, open
    /// older credentials. Better in the environment than in a file.
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub key: Option<Secret>,
    /// A file with such keys, one a line, that only this user can read. Without it: `credentials.key` beside the database,
    /// made at the first start. A gateway in memory makes a key of its own.
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub key_file: Option<PathBuf>,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "&'static str")]
pub struct Secret(String);

impl Secret {
    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<Secret> for &'static str {
    fn from(_: Secret) -> Self {
        "***"
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Bytes of a key.
const KEY: usize = 32;

/// A file of keys is at most so long, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// The keys of one gateway.
pub struct Vault {
    /// The first one seals.
    keys: Vec<SealingKey>,
    random: SystemRandom,
}

struct SealingKey {
    id: String,
    seals: LessSafeKey,
    /// The secret that other keys are derived from.
    root: Prk,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.id)).finish()
    }
}

impl Vault {
    /// The keys in `text`: each 32 bytes in Base64, divided by commas or line ends.
    ///
    /// [`ErrorKind::InvalidParams`] if there is none, or one is of another length or the same byte throughout.
    pub fn of(text: &str) -> Result<Self> {
        let written = text.split([',', '\n']).map(str::trim).filter(|key| !key.is_empty());
        let keys = written.map(SealingKey::of).collect::<Result<Vec<_>>>()?;
        if keys.is_empty() {
            return Err(wrong("there is no key"));
        }
        Ok(Self { keys, random: SystemRandom::new() })
    }

    /// The keys in a file, which is made with a new key, readable for this user alone, if it is not there.
    ///
    /// [`ErrorKind::Storage`] if it cannot be made or read, or others can read it; [`ErrorKind::InvalidParams`] if its content is
    /// no key.
    pub fn open_file(path: &Path) -> Result<Self> {
        let failed = |what: &'static str| Error::new(ErrorKind::Storage, what).with("file", path.display());
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(path) {
            Ok(mut file) => {
                let text = Self::new_key()?;
                file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| {
                    failed("the key of the credentials cannot be written").caused_by(error)
                })?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed("the key of the credentials cannot be made").caused_by(error)),
        }
        let unusable =
            |fault: Fault| fault.into_error(ErrorKind::Storage, "the key of the credentials", path);
        let file = files::open(path).map_err(unusable)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let open = file.metadata().is_ok_and(|data| data.permissions().mode() & 0o077 != 0);
            if open {
                return Err(failed("others can read the key of the credentials; `chmod 600` it"));
            }
        }
        let text = String::from_utf8(files::rest(file, MAX_FILE).map_err(unusable)?);
        Self::of(&text.map_err(|_| unusable(Fault::NotText))?)
            .map_err(|error| error.with("file", path.display()))
    }

    /// A new key as text, with a line end.
    pub fn new_key() -> Result<String> {
        let mut key = [0; KEY];
        SystemRandom::new().fill(&mut key).map_err(|_| no_random())?;
        Ok(STANDARD.encode(key) + "\n")
    }

    /// A key for another `purpose` from each key (HKDF with SHA-256, RFC 5869), in the same order: one of them reveals nothing of
    /// the others.
    ///
    /// [`ErrorKind::Internal`] if the purpose is longer than HKDF takes.
    pub(crate) fn derived(&self, purpose: &[u8]) -> Result<Vec<[u8; KEY]>> {
        let one = |key: &SealingKey| {
            let mut derived = [0; KEY];
            let parts = [purpose];
            let expanded = key.root.expand(&parts, HKDF_SHA256);
            expanded.and_then(|okm| okm.fill(&mut derived)).map(|()| derived)
        };
        let all = self.keys.iter().map(one).collect::<std::result::Result<_, _>>();
        all.map_err(|_| Error::new(ErrorKind::Internal, "a key cannot be derived"))
    }

    /// The name of the key that seals.
    pub fn key_id(&self) -> &str {
        self.keys.first().map_or("", |key| &key.id)
    }

    /// Seals `plain`, which belongs to `bound`.
    pub fn seal(&self, bound: &[&str], plain: &[u8]) -> Result<Vec<u8>> {
        let key = self.keys.first().ok_or_else(|| wrong("there is no key"))?;
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| no_random())?;
        let mut sealed = plain.to_vec();
        key.seals
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(joined(bound)),
                &mut sealed,
            )
            .map_err(|_| Error::new(ErrorKind::Internal, "a credential cannot be sealed"))?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// Opens a value that [`Vault::seal`] made with the key of this name for the same `bound`.
    ///
    /// [`ErrorKind::Storage`] if that key is not here, or the value belongs elsewhere or was changed.
    pub fn open(&self, key_id: &str, bound: &[&str], sealed: &[u8]) -> Result<Vec<u8>> {
        let fault = |message: &'static str| Error::new(ErrorKind::Storage, message).with("key_id", key_id);
        let key = self.keys.iter().find(|key| key.id == key_id);
        let key = key.ok_or_else(|| {
            fault("a credential is sealed with a key that is not here; add it behind the one in use, or set the credential anew")
        })?;
        let opened = || {
            let mut whole = sealed.to_vec();
            let (nonce, sealed) = whole.split_at_mut_checked(NONCE_LEN)?;
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            key.seals.open_in_place(nonce, Aad::from(joined(bound)), sealed).ok().map(|plain| plain.to_vec())
        };
        opened().ok_or_else(|| {
            fault("a credential was changed in the database, or belongs elsewhere; set it anew")
        })
    }
}

impl SealingKey {
    fn of(text: &str) -> Result<Self> {
        let bytes = STANDARD.decode(text).map_err(|_| wrong("a key is 32 bytes in Base64"))?;
        if bytes.len() != KEY {
            return Err(wrong("a key is 32 bytes in Base64; `openssl rand -base64 32` makes one"));
        }
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            return Err(wrong("a key is random; `openssl rand -base64 32` makes one"));
        }
        let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes).map_err(|_| wrong("a key is 32 bytes"))?;
        let hash = digest(&SHA256, &bytes);
        let first: [u8; 4] = hash.as_ref().first_chunk().copied().unwrap_or_default();
        let id = format!("{:08x}", u32::from_be_bytes(first));
        let root = Salt::new(HKDF_SHA256, b"mcp-registry-gateway").extract(&bytes);
        Ok(Self { id, seals: LessSafeKey::new(key), root })
    }
}

/// One text for the parts, from which no other parts make the same.
fn joined(parts: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

fn wrong(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidParams, message)
}

fn no_random() -> Error {
    Error::new(ErrorKind::Internal, "the operating system returned no random bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault() -> Vault {
        Vault::of(&Vault::new_key().unwrap()).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_where_it_belongs_and_nowhere_else() {
        let vault = vault();
        let sealed = vault.seal(&["acme", "s1", "authorization"], b"secret").unwrap();
        let open = |bound: &[&str], sealed: &[u8]| vault.open(vault.key_id(), bound, sealed);
        assert_eq!(open(&["acme", "s1", "authorization"], &sealed).unwrap(), b"secret");
        assert!(open(&["acme", "s2", "authorization"], &sealed).is_err());
        assert!(open(&["acmes1", "", "authorization"], &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open(&["acme", "s1", "authorization"], &changed).is_err(), "{at}");
        }
        assert!(open(&["acme", "s1", "authorization"], &sealed[..5]).is_err());
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_ne!(
            sealed,
            vault.seal(&["acme", "s1", "authorization"], b"secret").unwrap(),
            "never the same twice"
        );
    }

    #[test]
    fn an_old_key_opens_and_the_first_one_seals() {
        let (old, new) = (Vault::new_key().unwrap(), Vault::new_key().unwrap());
        let before = Vault::of(&old).unwrap();
        let sealed = before.seal(&["a"], b"x").unwrap();
        let both = Vault::of(&format!("{new}{old}")).unwrap();
        assert_eq!(both.open(before.key_id(), &["a"], &sealed).unwrap(), b"x");
        assert_ne!(both.key_id(), before.key_id());
        let without = Vault::of(&new).unwrap();
        assert_eq!(without.open(before.key_id(), &["a"], &sealed).unwrap_err().kind(), ErrorKind::Storage);
    }

    /// a key that is short, empty or no random one is refused, and the error does not repeat it.
    #[test]
    fn a_weak_key_is_refused() {
        for weak in
            ["", " , ", "changeme", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "c2hvcnQ=", "not base64!"]
        {
            let error = Vault::of(weak).unwrap_err();
            assert!(weak.trim().is_empty() || !error.to_string().contains(weak), "{error}");
        }
    }

    /// the first start makes a key of 256 bits that this user alone can read, and two do not make the same.
    #[cfg(unix)]
    #[test]
    fn the_first_start_makes_a_key_for_this_user_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one.key"), folder.path().join("two.key"));
        let first = Vault::open_file(&one).unwrap();
        assert_eq!(first.key_id(), Vault::open_file(&one).unwrap().key_id());
        assert_ne!(first.key_id(), Vault::open_file(&two).unwrap().key_id());
        assert_eq!(std::fs::metadata(&one).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&one, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Vault::open_file(&one).unwrap_err().message().contains("chmod 600"));
    }
}
