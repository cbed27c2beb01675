//! Who calls: credentials in, a principal out, or a refusal. There is no anonymous principal to fall back on. And what a
//! principal may do: [`permission`].

mod matrix;
pub mod permission;

use std::fmt;
use std::net::IpAddr;

use async_trait::async_trait;

pub use self::matrix::Gate;
pub use self::permission::Operation;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Principal, TenantId};

/// What a caller shows of itself.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A call from within the process that embeds the gateway, which speaks for this principal.
    Embedded(Principal),
    /// A call over the network.
    Network {
        /// The address of the peer.
        peer: IpAddr,
    },
}

/// Turns credentials into a principal.
#[async_trait]
pub trait Authenticator: Send + Sync + fmt::Debug {
    /// The principal, or [`ErrorKind::Unauthenticated`].
    async fn authenticate(&self, credentials: &Credentials) -> Result<Principal>;
}

/// What holds while no authentication is configured: a process of this machine is the administrator of `default`,
/// and nobody else is anybody.
#[derive(Debug)]
pub struct LocalOnly {
    local: Principal,
}

impl Default for LocalOnly {
    fn default() -> Self {
        Self { local: Principal::local(TenantId::default_tenant()) }
    }
}

#[async_trait]
impl Authenticator for LocalOnly {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Principal> {
        match credentials {
            Credentials::Embedded(principal) => Ok(principal.clone()),
            Credentials::Network { peer } if peer.to_canonical().is_loopback() => Ok(self.local.clone()),
            Credentials::Network { .. } => Err(Error::new(
                ErrorKind::Unauthenticated,
                "no authentication is configured, so only processes of this machine may call",
            )),
        }
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
            let credentials = Credentials::Network { peer: peer.parse().unwrap() };
            assert_eq!(auth.authenticate(&credentials).await.is_ok(), accepted, "{peer}");
        }
    }
}
