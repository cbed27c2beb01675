//! The part of the register that a caller may know of, for the methods that read the register rather than a view, and the things
//! that a credential for one server or service may touch.
//!
//! [`Principal::may`] asks whether an operation is within the reach of such a credential at all, by the permission matrix. Where it
//! is, [`Core::reaches`] asks whether the thing at hand is: for every kind of thing here, and nowhere else.

use crate::auth::authority::Authority;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::routing::snapshot::View;
use crate::gateway::{Caller, Core};
use crate::model::{ApiKey, Capability, CapabilityKind, Principal, Server};

/// A thing that an operation is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Object<'a> {
    /// A registered server.
    Server(&'a Server),
    /// The service that a server is to be one of.
    Service(&'a str),
    /// An API key.
    Key(&'a ApiKey),
    /// A call under way, or a session, of this caller.
    Of(&'a Principal),
}

/// Whether `principal` may know of a server of its tenant, for many servers: the view is consulted once.
pub(crate) fn seeing<'a>(view: &'a View, principal: &'a Principal) -> impl Fn(&Server) -> bool + 'a {
    let denied = (!view.is_whole_for(principal)).then(|| view.denied_to(principal));
    move |server| {
        denied.as_ref().is_none_or(|denied| {
            principal.reaches(server.id, &server.service) && !denied.service(&server.service)
        })
    }
}

impl Core {
    /// Whether `object`, which is of the principal's tenant, is within the principal's reach.
    pub(crate) fn reaches(&self, principal: &Principal, object: Object<'_>) -> bool {
        match object {
            Object::Server(server) => self.sees(principal, server),
            _ if !principal.is_narrowed() => true,
            Object::Service(name) => {
                matches!(principal.reach(), (None, Some(only)) if only.as_str() == name)
            }
            Object::Key(key) => principal.key() == Some(key.id) || self.has_made(principal, key),
            Object::Of(other) => principal == other,
        }
    }

    /// Whether a narrowed principal made this key, with the reach that it has now: the same user may have made others with a
    /// credential for more.
    fn has_made(&self, principal: &Principal, key: &ApiKey) -> bool {
        let server = key.server_id.and_then(|id| self.registry.get(&key.tenant_id, id));
        key.created_by == *principal.subject
            && server.is_some_and(|server| self.sees(principal, &server))
            && Authority::of(principal).covers(&Authority::of_key(key)).is_ok()
    }

    /// [`ErrorKind::PermissionDenied`] where a server of the service `name` would be out of the caller's reach.
    pub(crate) fn may_place(&self, caller: &Caller, name: &str) -> Result<()> {
        if self.reaches(&caller.principal, Object::Service(name)) {
            return Ok(());
        }
        let only = match caller.principal.reach() {
            (None, Some(service)) => format!("the service `{service}`"),
            _ => "one server".to_owned(),
        };
        let message = format!(
            "your token or key is for {only} alone, so it puts no server into the service `{}`; use one that is for the whole tenant",
            name.chars().take(63).collect::<String>()
        );
        Err(Error::new(ErrorKind::PermissionDenied, message).with("member", "service"))
    }

    /// Whether the principal may know of this server of its tenant.
    pub(crate) fn sees(&self, principal: &Principal, server: &Server) -> bool {
        seeing(&self.router.view(&principal.tenant), principal)(server)
    }

    /// Whether the principal may know of this server's item.
    pub(crate) fn sees_item(&self, principal: &Principal, server: &Server, item: &Capability) -> bool {
        self.sees(principal, server) && self.sees_name(principal, server, item.kind, &item.name)
    }

    /// Whether the principal may know of this name, of a server that it may know of.
    pub(crate) fn sees_name(
        &self,
        principal: &Principal,
        server: &Server,
        kind: CapabilityKind,
        name: &str,
    ) -> bool {
        let view = self.router.view(&principal.tenant);
        view.is_whole_for(principal) || !view.denied_to(principal).item(&server.service, kind, name)
    }
}
