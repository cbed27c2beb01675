//! Callers.

use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::ids::{KeyId, ServerId, ServiceName, TenantId};
use crate::error::{Error, ErrorKind, Result};

/// A role; each includes those after it.
///
/// ```
/// use mcp_registry_gateway::Role;
///
/// assert!(Role::Manager.includes(Role::Viewer) && !Role::Viewer.includes(Role::Manager));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(description = "A role; each includes those after it."))]
pub enum Role {
    /// Everything.
    Admin,
    /// Registers and removes servers.
    Manager,
    /// Updates and calls servers.
    Developer,
    /// Calls servers and reads metrics.
    Analyst,
    /// Reads.
    Viewer,
    /// Anything that is public.
    Guest,
}

impl Role {
    /// Every role, the most powerful first.
    pub const ALL: [Self; 6] =
        [Self::Admin, Self::Manager, Self::Developer, Self::Analyst, Self::Viewer, Self::Guest];

    /// Its name, as configuration, keys and tokens have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Manager => "manager",
            Self::Developer => "developer",
            Self::Analyst => "analyst",
            Self::Viewer => "viewer",
            Self::Guest => "guest",
        }
    }

    /// Whether this role may do all that `other` may.
    pub fn includes(self, other: Self) -> bool {
        self <= other
    }
}

impl FromStr for Role {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| {
            let message = "a role is one of admin, manager, developer, analyst, viewer, guest";
            Error::new(ErrorKind::InvalidParams, message)
                .with("role", text.chars().take(40).collect::<String>())
        })
    }
}

/// The rights and limits of a credential beyond the role of its principal.
#[derive(Clone, Debug, Default)]
pub struct Grant {
    /// The API key that was sent, if it was one.
    pub key: Option<KeyId>,
    /// The scopes that the credential is narrowed to; `None`: all that the role may.
    pub scopes: Option<Box<[Box<str>]>>,
    /// The only server that it may be used for.
    pub server: Option<ServerId>,
    /// The only service that it may be used for.
    pub service: Option<ServiceName>,
    /// Requests a minute, if the credential has a limit of its own.
    pub requests_per_minute: Option<u32>,
    /// When it ends; streams that it opened end with it.
    pub expires_at: Option<Timestamp>,
    /// Cancelled when it is revoked; streams that it opened end with it.
    pub revoked: CancellationToken,
}

/// A caller whose identity holds. There is no default: a principal exists only because something vouched for it.
///
/// Two are equal if tenant, subject and reach are, whatever credential was sent: what was opened with a credential for everything
/// does not belong to one that is for a single server or service.
///
/// ```
/// use mcp_registry_gateway::{Caller, Principal, Role, TenantId};
///
/// # fn main() -> mcp_registry_gateway::Result<()> {
/// let ada = Principal::new(TenantId::new("research")?, "user:ada", Role::Developer);
/// let caller = Caller::new(ada);                   // who makes calls of the gateway
/// assert_eq!(&*caller.principal.subject, "user:ada");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Principal {
    /// The tenant it acts in.
    pub tenant: TenantId,
    /// Its name, unique within the tenant: `user:…`, `key:…` or `local`.
    pub subject: Arc<str>,
    /// Its role.
    pub role: Role,
    /// The rights and limits of the credential that it sent; `None` for `local` and embedded callers.
    pub grant: Option<Arc<Grant>>,
    /// Set for a caller that is believed by its loopback address alone, which strangers behind a reverse proxy of this machine
    /// have, too: how to send the local token instead. `None` for every caller that something vouches for.
    pub unproven: Option<Arc<str>>,
    /// Whether the gateway's own service is within its reach: the entry points of an embedding program leave it out unless the
    /// program asks for it.
    pub builtin: bool,
}

impl PartialEq for Principal {
    fn eq(&self, other: &Self) -> bool {
        self.tenant == other.tenant && self.subject == other.subject && self.reach() == other.reach()
    }
}

/// The beginning of the subjects of callers without a credential; those of credentials begin otherwise.
const ANONYMOUS: &str = "anonymous:";

impl Eq for Principal {}

impl Hash for Principal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.tenant.hash(state);
        self.subject.hash(state);
        self.reach().hash(state);
    }
}

impl Principal {
    /// A principal without a credential that narrows it.
    pub fn new(tenant: TenantId, subject: impl Into<Arc<str>>, role: Role) -> Self {
        Self { tenant, subject: subject.into(), role, grant: None, unproven: None, builtin: true }
    }

    /// The same, with the rights and limits of its credential.
    #[must_use]
    pub fn with(self, grant: Grant) -> Self {
        Self { grant: Some(Arc::new(grant)), ..self }
    }

    /// The same, where an entry point does not offer the gateway's own service.
    #[must_use]
    pub fn at_door(self, builtin: bool) -> Self {
        Self { builtin: self.builtin && builtin, ..self }
    }

    /// This machine's operator: the embedding program, a command on the database, or a process of this machine that showed the local
    /// token. Administrator of `tenant`.
    pub fn local(tenant: TenantId) -> Self {
        Self::new(tenant, "local", Role::Admin)
    }

    /// The same, but believed by its loopback address alone: an operation that needs the local token is refused, with `remedy` in
    /// the error.
    pub fn unproven(tenant: TenantId, remedy: impl Into<Arc<str>>) -> Self {
        Self { unproven: Some(remedy.into()), ..Self::local(tenant) }
    }

    /// Whether it is this machine's operator, or a process of this machine while no authentication is configured.
    pub fn is_local(&self) -> bool {
        &*self.subject == "local"
    }

    /// A caller without a credential, known by its address alone.
    pub fn anonymous(tenant: TenantId, address: std::net::IpAddr) -> Self {
        Self::new(tenant, format!("{ANONYMOUS}{address}"), Role::Guest)
    }

    /// Whether it is one without a credential.
    pub fn is_anonymous(&self) -> bool {
        self.subject.starts_with(ANONYMOUS)
    }

    /// Requests a minute, if its credential has a limit of its own.
    pub fn requests_per_minute(&self) -> Option<u32> {
        self.grant.as_ref().and_then(|grant| grant.requests_per_minute)
    }

    /// The API key that was sent, if it was one.
    pub fn key(&self) -> Option<KeyId> {
        self.grant.as_ref().and_then(|grant| grant.key)
    }

    /// The scopes that the credential is narrowed to; `None`: all that the role may.
    pub fn scopes(&self) -> Option<&[Box<str>]> {
        self.grant.as_ref().and_then(|grant| grant.scopes.as_deref())
    }

    /// Whether the credential may be used for this server, as far as it is limited to one server or one service.
    pub fn reaches(&self, id: ServerId, service: &ServiceName) -> bool {
        self.grant.as_ref().is_none_or(|grant| {
            grant.server.is_none_or(|only| only == id)
                && grant.service.as_ref().is_none_or(|only| only == service)
        })
    }

    /// The only server and the only service that the credential may be used for; `None` and `None`: all of the tenant.
    pub fn reach(&self) -> (Option<ServerId>, Option<&ServiceName>) {
        self.grant.as_ref().map_or((None, None), |grant| (grant.server, grant.service.as_ref()))
    }

    /// Whether the credential is for one server or one service alone.
    pub fn is_narrowed(&self) -> bool {
        self.reach() != (None, None)
    }

    /// Whether the credential was revoked or has expired; use another one by `now`.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.grant.as_ref().is_some_and(|grant| {
            grant.revoked.is_cancelled() || grant.expires_at.is_some_and(|end| end <= now)
        })
    }

    /// Waits until the credential is revoked, for ever if that cannot be. Streams held open for the caller end then.
    pub async fn revoked(&self) {
        match &self.grant {
            Some(grant) => grant.revoked.cancelled().await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_credentials_of_one_subject_are_the_same_principal() {
        let tenant = TenantId::default_tenant();
        let one = Principal::new(tenant.clone(), "user:a", Role::Viewer);
        let other = Principal::new(tenant.clone(), "user:a", Role::Admin).with(Grant::default());
        assert_eq!(one, other);
        assert_ne!(one, Principal::new(tenant, "user:b", Role::Viewer));
    }

    /// X-03: a token for one service of a user does not own what a token of the same user for everything opened.
    #[test]
    fn a_credential_of_another_reach_is_another_principal() {
        let whole = Principal::new(TenantId::default_tenant(), "user:a", Role::Viewer);
        let server = whole.clone().with(Grant { server: Some(ServerId::random()), ..Grant::default() });
        let service = Some(ServiceName::new("a").unwrap());
        let service = whole.clone().with(Grant { service, ..Grant::default() });
        assert!(!whole.is_narrowed() && server.is_narrowed() && service.is_narrowed());
        assert!(whole != server && whole != service && server != service && service == service.clone());
    }

    #[test]
    fn a_credential_for_one_server_reaches_no_other() {
        let (own, other) = (ServerId::random(), ServerId::random());
        let service = ServiceName::new("a").unwrap();
        let principal = Principal::local(TenantId::default_tenant());
        assert!(principal.reaches(other, &service));
        let limited = principal.with(Grant { server: Some(own), ..Grant::default() });
        assert!(limited.reaches(own, &service) && !limited.reaches(other, &service));
    }

    #[test]
    fn a_role_includes_those_after_it() {
        assert!(Role::Admin.includes(Role::Manager) && Role::Guest.includes(Role::Guest));
        assert!(!Role::Manager.includes(Role::Admin));
        assert_eq!("developer".parse::<Role>().unwrap(), Role::Developer);
        assert!("root".parse::<Role>().is_err());
    }
}
