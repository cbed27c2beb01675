//! The part of the register that a caller may know of, for the methods that read the register rather than a view.

use crate::gateway::Core;
use crate::gateway::routing::snapshot::View;
use crate::model::{Capability, CapabilityKind, Principal, Server};

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
    /// Whether the principal may know of this server of its tenant.
    pub(crate) fn sees(&self, principal: &Principal, server: &Server) -> bool {
        seeing(&self.view(&principal.tenant), principal)(server)
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
        let view = self.view(&principal.tenant);
        view.is_whole_for(principal) || !view.denied_to(principal).item(&server.service, kind, name)
    }
}
