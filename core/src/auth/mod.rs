//! Authentication: credentials in, a principal out, or a refusal. There is no anonymous principal to fall back on. Authorization
//! is in [`permission`].

pub mod access;
pub(crate) mod authority;
mod caller;
mod checkpoint;
mod credentials;
mod grant;
pub mod jwt;
pub mod keys;
pub mod local;
mod matrix;
pub mod opaque;
pub mod permission;
pub mod vault;
mod settings;
mod throttle;

use std::fmt;
use std::sync::Arc;

pub use self::access::{Access, Restrictions};
pub use self::caller::Caller;
pub use self::checkpoint::{Checkpoint, Failed, FailureListener};
pub use self::credentials::{Authorization, Bearer, Credentials, Forwarded, forwarded, is_of_a_proxy};
pub(crate) use self::grant::Grant;
#[cfg(feature = "oauth")]
pub(crate) use self::grant::OauthClient;
#[cfg(feature = "oauth")]
pub(crate) use self::jwt::is_safe;
pub use self::keys::{Keys, NewKey};
pub use self::local::LocalToken;
pub use self::matrix::{Gate, PERMISSIONS};
pub use self::permission::Operation;
pub use self::settings::{Auth, is_base_path};
pub use self::vault::Vault;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Principal;
use futures_util::future::BoxFuture;

/// Turns credentials into a principal.
pub trait Authenticator: Send + Sync + fmt::Debug {
    /// The principal, or [`ErrorKind::Unauthenticated`]. An answer that needs no waiting is returned at once: it is asked for
    /// every call.
    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Answer<'a>;
}

/// The principal, or a wait for another party's answer.
pub enum Answer<'a> {
    /// Known.
    Now(Result<Principal>),
    /// Known when this ends.
    Later(BoxFuture<'a, Result<Principal>>),
}

impl Answer<'_> {
    /// The answer, waited for where it must be.
    pub async fn get(self) -> Result<Principal> {
        match self {
            Self::Now(answer) => answer,
            Self::Later(answer) => answer.await,
        }
    }
}

impl fmt::Debug for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(answer) => f.debug_tuple("Now").field(answer).finish(),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

/// The authenticator while no authentication is configured: a process of this machine is the administrator of `default`, as far
/// as it sends the [`LocalToken`] where that is needed, and no other caller is accepted.
pub struct LocalOnly(local::Local);

impl LocalOnly {
    /// The same with this token.
    pub fn new(token: Arc<LocalToken>) -> Self {
        Self(local::Local::new(token))
    }
}

impl fmt::Debug for LocalOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalOnly")
    }
}

impl Authenticator for LocalOnly {
    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Answer<'a> {
        Answer::Now(match credentials {
            Credentials::Embedded(principal) => Ok(principal.clone()),
            Credentials::Network { peer, forwarded, authorization } => {
                let sender = self.0.sender(*peer, forwarded.as_ref(), authorization);
                sender.and_then(|sender| sender.ok_or_else(|| stranger(forwarded.as_ref())))
            }
        })
    }
}

#[cold]
fn stranger(forwarded: Option<&Forwarded>) -> Error {
    let way_on = "configure it, such as by `auth.api_keys = true`";
    let message = match forwarded {
        Some(Forwarded::Proxies) => format!(
            "`server.trusted_proxies` is set, so that a proxy may have passed this request on, and no authentication is configured \
             that says who sent it; {way_on}"
        ),
        Some(Forwarded::Header(header)) => format!(
            "the header `{header}` says that a proxy passed this request on, and no authentication is configured that says who sent \
             it; {way_on}, or call the gateway directly"
        ),
        None => {
            format!("no authentication is configured, so only processes of this machine may call; {way_on}")
        }
    };
    Error::new(ErrorKind::Unauthenticated, message)
}

#[cfg(test)]
mod tests {
    use http::header::FORWARDED;

    use super::*;

    #[tokio::test]
    async fn only_this_machine_is_local() {
        let auth = LocalOnly::new(Arc::new(LocalToken::in_memory().unwrap()));
        for (peer, accepted) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("::", false),
        ] {
            let shown = |forwarded| {
                let authorization = Authorization::Absent;
                Credentials::Network { peer: peer.parse().unwrap(), forwarded, authorization }
            };
            assert_eq!(auth.authenticate(&shown(None)).get().await.is_ok(), accepted, "{peer}");
            for (why, told) in [
                (Forwarded::Header(FORWARDED), "`forwarded`"),
                (Forwarded::Proxies, "`server.trusted_proxies`"),
            ] {
                let refused = auth.authenticate(&shown(Some(why))).get().await.unwrap_err();
                assert!(refused.message().contains(told), "{refused}");
            }
        }
    }
}
