//! The authority of a credential as one value, and the rule for everything that a credential makes: at most the same.
//!
//! A credential is narrowed in several ways at once: by its role, its scopes, its server or service, its rate and its end. All
//! of them are compared here and nowhere else, so that none is forgotten where something is made.

use jiff::Timestamp;

use super::keys::NewKey;
use super::matrix::MATRIX;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{ApiKey, Principal, Role, ServerId, ServiceName};

/// The rights and limits of a credential within its tenant.
#[derive(Clone, Debug)]
pub(crate) struct Authority<'a> {
    role: Role,
    /// `None`: all that the role may.
    scopes: Option<Vec<&'a str>>,
    /// The only server.
    server: Option<ServerId>,
    /// The only service.
    service: Option<&'a ServiceName>,
    /// Requests a minute, if there is a limit of its own.
    requests_per_minute: Option<u32>,
    /// `None`: it does not end by itself.
    end: Option<Timestamp>,
}

impl<'a> Authority<'a> {
    /// The authority of a caller.
    pub(crate) fn of(principal: &'a Principal) -> Self {
        let (server, service) = principal.reach();
        Self {
            role: principal.role,
            scopes: principal.scopes().map(|scopes| scopes.iter().map(|scope| &**scope).collect()),
            server,
            service,
            requests_per_minute: principal.requests_per_minute(),
            end: principal.grant.as_ref().and_then(|grant| grant.expires_at),
        }
    }

    /// The authority of an API key.
    pub(crate) fn of_key(key: &'a ApiKey) -> Self {
        Self {
            role: key.role,
            scopes: key.scopes.as_ref().map(|scopes| scopes.iter().map(String::as_str).collect()),
            server: key.server_id,
            service: None,
            requests_per_minute: key.requests_per_minute,
            end: Some(key.expires_at),
        }
    }

    /// The authority that a new API key is to have, without its end.
    pub(crate) fn wished(new: &'a NewKey) -> Self {
        Self {
            role: new.role,
            scopes: new.scopes.as_ref().map(|scopes| scopes.iter().map(String::as_str).collect()),
            server: new.server_id,
            service: None,
            requests_per_minute: new.requests_per_minute,
            end: None,
        }
    }

    /// Whether this includes all that `key` is to have: nobody gives what they do not have. Its end and its rate are cut instead,
    /// by [`Authority::end_of`] and [`Authority::rate_of`]. Whether a server is of this authority's service is for who knows the
    /// register to say; a key for no server in particular is not.
    ///
    /// [`ErrorKind::PermissionDenied`], which names the part that is too much.
    pub(crate) fn covers(&self, key: &Self) -> Result<()> {
        let denied = |message: String| Err(Error::new(ErrorKind::PermissionDenied, message));
        if !self.role.includes(key.role) {
            return denied("a key cannot have a role above your own".into());
        }
        if let Some(own) = &self.scopes {
            let covered = |scope: &&str| own.iter().any(|mine| MATRIX.implies(mine, scope));
            if !key.scopes.as_ref().is_some_and(|scopes| scopes.iter().all(covered)) {
                return denied("your own credential is narrowed to scopes; a key can have no others".into());
            }
        }
        if self.server.is_some() && self.server != key.server {
            return denied("your own credential is for one server; a key must be for the same".into());
        }
        match self.service {
            Some(service) if key.server.is_none() && key.service != Some(service) => denied(format!(
                "your own credential is for the service `{service}` alone; a key must be for one of its servers: name it in `server_id`"
            )),
            _ => Ok(()),
        }
    }

    /// The end of what this makes, where `wished` is asked for: its own end at the latest.
    pub(crate) fn end_of(&self, wished: Timestamp) -> Timestamp {
        self.end.map_or(wished, |own| own.min(wished))
    }

    /// The requests a minute of what this makes: at most its own, if it has a limit of its own.
    pub(crate) fn rate_of(&self, wished: Option<u32>) -> Option<u32> {
        match (self.requests_per_minute, wished) {
            (Some(own), Some(wished)) => Some(own.min(wished)),
            (own, wished) => own.or(wished),
        }
    }
}
