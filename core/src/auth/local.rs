//! Processes of this machine while no authentication is configured, and the token by which they prove it.
//!
//! A connection from a loopback address proves nothing: those that a reverse proxy of this machine passes on have one, too. So it
//! is enough for operations that do no lasting harm, and never for a request that says of itself that it was passed on. For
//! commands, credentials and keys a process proves that it can read a file that is this user's alone; [`Principal::may`] enforces
//! that at every entry point.

use std::fmt;
use std::io::ErrorKind as Io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::credentials::{Authorization, Forwarded};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::model::{Principal, TenantId};
use crate::per_thread::PerThread;
use crate::store::secret_file;

/// Every local token begins with it. No API key does: they have no second `_`.
const PREFIX: &str = "mcp_local_";
/// Random bytes of a token.
const RANDOM: usize = 32;
/// The file's name, in the folder of the database.
const FILE: &str = "local.token";

/// The token by which a process of this machine proves that it is one. Its `Debug` form hides it.
pub struct LocalToken {
    text: String,
    /// The hash that a sent token is compared with, in place of the text: the time that takes tells nothing.
    hash: [u8; 32],
    file: Option<PathBuf>,
}

impl LocalToken {
    /// The token of the gateway whose database is `database`, in a file beside it that is made where it is missing, readable for this
    /// user alone.
    ///
    /// [`ErrorKind::Storage`] if it cannot be made or read, others can read it, or it holds no token.
    pub fn beside(database: &Path) -> Result<Self> {
        let path = path_beside(database);
        if let Some(text) = read(&path)? {
            return Ok(Self::of(text, Some(path)));
        }
        let text = random()?;
        let failed = |error: std::io::Error| {
            failed(
                &path,
                format!("the local token cannot be written: {error}; check the folder's permissions"),
            )
        };
        if secret_file::make(&path, &format!("{text}\n")).map_err(failed)? {
            return Ok(Self::of(text, Some(path)));
        }
        let text = read(&path)?.ok_or_else(|| failed(Io::NotFound.into()))?;
        Ok(Self::of(text, Some(path)))
    }

    /// A token that ends with this process, for a gateway without a folder of its own.
    ///
    /// [`ErrorKind::Internal`] if the operating system returned no random bytes.
    pub fn in_memory() -> Result<Self> {
        Ok(Self::of(random()?, None))
    }

    /// The token in the file beside `database`; `None` if there is no such file.
    ///
    /// [`ErrorKind::Storage`] as for [`LocalToken::beside`].
    pub fn find(database: &Path) -> Result<Option<String>> {
        read(&path_beside(database))
    }

    fn of(text: String, file: Option<PathBuf>) -> Self {
        Self { hash: hash(text.as_bytes()), text, file }
    }

    /// The token, to be shown to this machine's operator.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// Where it is written, if it is.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    fn is(&self, shown: &[u8]) -> bool {
        hash(shown) == self.hash
    }

    /// How to send it.
    fn remedy(&self) -> String {
        match &self.file {
            Some(file) => {
                format!("send `Authorization: Bearer` with the content of the file {}", file.display())
            }
            None => "this gateway has no data folder for its token, so let the program that runs it do this"
                .to_owned(),
        }
    }
}

impl fmt::Debug for LocalToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalToken").field("file", &self.file).finish_non_exhaustive()
    }
}

/// The principals of this machine's processes.
pub(super) struct Local {
    token: Arc<LocalToken>,
    unproven: PerThread<Principal>,
    proven: PerThread<Principal>,
}

impl Local {
    pub(super) fn new(token: Arc<LocalToken>) -> Self {
        let remedy = token.remedy();
        let tenant = TenantId::default_tenant;
        Self {
            token,
            unproven: PerThread::new(|| Principal::unproven(tenant(), remedy.as_str())),
            proven: PerThread::new(|| Principal::local(tenant())),
        }
    }

    /// The sender of a request: `None` if it is not known to come from this machine, by the address of its peer or because it was
    /// passed on. A credential that is no local token is not looked at.
    ///
    /// [`ErrorKind::Unauthenticated`] for a local token of another gateway.
    pub(super) fn sender(
        &self,
        peer: IpAddr,
        forwarded: Option<&Forwarded>,
        authorization: &Authorization,
    ) -> Result<Option<Principal>> {
        if forwarded.is_some() || !peer.to_canonical().is_loopback() {
            return Ok(None);
        }
        match authorization {
            Authorization::Bearer(bearer) if has_form(bearer.token()) => {
                if self.token.is(bearer.token()) {
                    return Ok(Some(self.proven.mine().clone()));
                }
                let message = format!("this local token is not this gateway's; {}", self.token.remedy());
                Err(Error::new(ErrorKind::Unauthenticated, message))
            }
            _ => Ok(Some(self.unproven.mine().clone())),
        }
    }
}

/// Whether this could be a local token, by its form alone.
pub(super) fn has_form(token: &[u8]) -> bool {
    let random = token.strip_prefix(PREFIX.as_bytes());
    random.is_some_and(|random| random.len() == 2 * RANDOM && random.iter().all(u8::is_ascii_hexdigit))
}

fn random() -> Result<String> {
    let mut bytes = [0; RANDOM];
    let none = |_| Error::new(ErrorKind::Internal, "the operating system returned no random bytes");
    SystemRandom::new().fill(&mut bytes).map_err(none)?;
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digits = digits.filter_map(|digit| char::from_digit(u32::from(digit), 16));
    Ok(PREFIX.chars().chain(digits).collect())
}

fn hash(token: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token).as_ref());
    hash
}

fn path_beside(database: &Path) -> PathBuf {
    let path = database.with_file_name(FILE);
    std::path::absolute(&path).unwrap_or(path)
}

/// The token file has at most this many bytes.
const MAX_FILE: u64 = 1024;

/// The token in a file; `None` if there is no file.
fn read(path: &Path) -> Result<Option<String>> {
    let unreadable = |error: std::io::Error| {
        failed(path, format!("the local token cannot be read: {error}; run this as the user of the gateway"))
    };
    let text = match files::read_text(path, MAX_FILE) {
        Ok(text) => text,
        Err(fault) if fault.is_missing() => return Ok(None),
        Err(fault) => return Err(fault.into_error(ErrorKind::Storage, "the local token", path)),
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(path).map_err(unreadable)?.permissions().mode();
        if mode & 0o077 != 0 {
            let message = "other users can read or change the local token; remove the file, and start the gateway anew: it makes another";
            return Err(failed(path, message));
        }
    }
    let token = text.trim();
    if !has_form(token.as_bytes()) {
        return Err(failed(
            path,
            "this is no local token; remove the file, and start the gateway anew: it makes another",
        ));
    }
    Ok(Some(token.to_owned()))
}

fn failed(path: &Path, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Storage, message.into()).with("file", path.display())
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::{AUTHORIZATION, HeaderValue, VIA};

    use super::*;
    use crate::auth::keys;

    fn bearer(token: &str) -> Authorization {
        let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
        Authorization::of(&HeaderMap::from_iter([(AUTHORIZATION, value)]))
    }

    #[test]
    fn a_token_has_256_random_bits_and_is_no_api_key_and_is_never_printed() {
        let (one, other) = (LocalToken::in_memory().unwrap(), LocalToken::in_memory().unwrap());
        assert!(has_form(one.reveal().as_bytes()) && !keys::has_form(one.reveal().as_bytes()));
        assert_ne!(one.reveal(), other.reveal());
        assert!(!format!("{one:?}").contains(PREFIX));
        let key = format!("mcp_{}", "a".repeat(60));
        assert!(!has_form(key.as_bytes()) && !has_form(PREFIX.as_bytes()));
    }

    #[test]
    fn the_file_is_made_once_for_this_user_alone_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("gateway.db");
        assert_eq!(LocalToken::find(&database).unwrap(), None);
        let made = LocalToken::beside(&database).unwrap();
        assert_eq!(LocalToken::beside(&database).unwrap().reveal(), made.reveal());
        assert_eq!(LocalToken::find(&database).unwrap().as_deref(), Some(made.reveal()));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left behind");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let file = folder.path().join(FILE);
            let mode = || std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(), 0o600);
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
            let refused = LocalToken::beside(&database).unwrap_err();
            assert!(refused.message().contains("other users"), "{refused}");
        }
        std::fs::write(folder.path().join(FILE), "mcp_local_").unwrap();
        assert_eq!(LocalToken::beside(&database).unwrap_err().kind(), ErrorKind::Storage);
    }

    /// a loopback address is believed for reading, a token proves more, and a request that was passed on is nobody's.
    #[test]
    fn only_a_token_proves_a_process_of_this_machine_and_what_was_passed_on_is_nobody() {
        let local = Local::new(Arc::new(LocalToken::in_memory().unwrap()));
        let (own, stranger): (IpAddr, IpAddr) = ("127.0.0.1".parse().unwrap(), "10.0.0.1".parse().unwrap());
        let token = bearer(local.token.reveal());
        let proof = |peer, forwarded: Option<&Forwarded>, authorization: &Authorization| {
            let sender = local.sender(peer, forwarded, authorization).unwrap();
            sender.map(|principal| principal.unproven.is_none())
        };
        assert_eq!(proof(own, None, &Authorization::Absent), Some(false));
        assert_eq!(proof(own, None, &bearer("anything")), Some(false));
        assert_eq!(proof(own, None, &token), Some(true));
        assert_eq!(proof(stranger, None, &token), None);
        for passed_on in [Forwarded::Header(VIA), Forwarded::Proxies] {
            assert_eq!(proof(own, Some(&passed_on), &Authorization::Absent), None);
            assert_eq!(proof(own, Some(&passed_on), &token), None);
        }
        let other = bearer(LocalToken::in_memory().unwrap().reveal());
        assert_eq!(local.sender(own, None, &other).unwrap_err().kind(), ErrorKind::Unauthenticated);
    }
}
