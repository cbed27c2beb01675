//! Who calls: credentials in, a principal out, or a refusal. There is no anonymous principal to fall back on. And what a
//! principal may do: [`permission`].

pub mod access;
mod caller;
mod checkpoint;
mod credentials;
mod grant;
pub mod jwt;
pub mod keys;
mod matrix;
pub mod opaque;
pub mod permission;
pub mod vault;
mod settings;
mod throttle;

use std::fmt;

use futures_util::future::BoxFuture;

pub use self::access::{Access, Restrictions};
pub use self::caller::Caller;
pub use self::checkpoint::{Checkpoint, Failed, Told};
pub use self::credentials::{Authorization, Bearer, Credentials};
pub(crate) use self::grant::Grant;
#[cfg(feature = "oauth")]
pub(crate) use self::grant::OauthClient;
#[cfg(feature = "oauth")]
pub(crate) use self::jwt::is_safe;
pub use self::keys::{Keys, NewKey};
pub use self::matrix::Gate;
pub use self::permission::Operation;
pub use self::settings::Auth;
pub use self::vault::Vault;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Principal, TenantId};
use crate::striped::Striped;

/// Turns credentials into a principal.
pub trait Authenticator: Send + Sync + fmt::Debug {
    /// The principal, or [`ErrorKind::Unauthenticated`]. What can be told without waiting is told at once: it is asked for
    /// every call.
    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Answer<'a>;
}

/// Who calls, or that somebody else has to be asked first.
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

/// What holds while no authentication is configured: a process of this machine is the administrator of `default`,
/// and nobody else is anybody.
#[derive(Debug)]
pub struct LocalOnly {
    local: Striped<Principal>,
}

impl Default for LocalOnly {
    fn default() -> Self {
        Self { local: Striped::new(|| Principal::local(TenantId::default_tenant())) }
    }
}

impl Authenticator for LocalOnly {
    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Answer<'a> {
        Answer::Now(match credentials {
            Credentials::Embedded(principal) => Ok(principal.clone()),
            Credentials::Network { peer, .. } if peer.to_canonical().is_loopback() => {
                Ok(self.local.mine().clone())
            }
            Credentials::Network { .. } => Err(Error::new(
                ErrorKind::Unauthenticated,
                "no authentication is configured, so only processes of this machine may call",
            )),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_this_machine_is_local() {
        let auth = LocalOnly::default();
        for (peer, accepted) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("::", false),
        ] {
            let authorization = Authorization::Absent;
            let credentials = Credentials::Network { peer: peer.parse().unwrap(), authorization };
            assert_eq!(auth.authenticate(&credentials).get().await.is_ok(), accepted, "{peer}");
        }
    }
}
