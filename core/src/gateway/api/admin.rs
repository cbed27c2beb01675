//! The register: register, update, remove, look at servers, probe and discover one now.

use std::sync::Arc;

use super::visible::{Object, seeing};
use crate::auth::Operation;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::routing::discover::is_asked;
use crate::gateway::upstream::credential_cache::origin_of;
use crate::gateway::{Caller, Gateway};
use crate::model::{Capability, Configuration, Patch, Registration, Server, ServerEndpoint, ServerId};
use crate::registry::{Actor, Drifted, Filter, Page, Registered, Render, validate};
use crate::store::HealthRecord;
use crate::transport::guard::Stance;

impl Gateway {
    /// Registers a server; the gateway discovers its capabilities in the background.
    pub async fn register(&self, caller: &Caller, registration: Registration) -> Result<Arc<Server>> {
        self.may_register(caller, &registration).await?;
        let inner = &self.0;
        let vouched = self.vouch(caller, &registration.name, registration.endpoint());
        let outcome = inner.registry.register(&caller.principal.tenant, &actor(caller), registration).await;
        let server = self.vouched(vouched, outcome)?;
        inner.refresh();
        if is_asked(&server) {
            inner.discover_soon(server.id);
        }
        Ok(server)
    }

    /// Registers a server once under a `key` that the caller chose; see [`Registry::register_once`](crate::registry::Registry::register_once).
    pub async fn register_once(
        &self,
        caller: &Caller,
        registration: Registration,
        key: &str,
        render: Render,
    ) -> Result<Registered> {
        self.may_register(caller, &registration).await?;
        let inner = &self.0;
        let tenant = &caller.principal.tenant;
        let vouched = self.vouch(caller, &registration.name, registration.endpoint());
        let outcome = inner.registry.register_once(tenant, &actor(caller), registration, key, render).await;
        let made = self.vouched(vouched, outcome)?;
        if let Some(server) = &made.server {
            inner.refresh();
            if is_asked(server) {
                inner.discover_soon(server.id);
            }
        }
        Ok(made)
    }

    /// Changes a server; with `if_match`, only if its revision is still that.
    pub async fn update(
        &self,
        caller: &Caller,
        id: ServerId,
        patch: Patch,
        if_match: Option<u64>,
    ) -> Result<Arc<Server>> {
        caller.may(Operation::ServersUpdate)?;
        let inner = &self.0;
        let before = self.get(caller, id)?;
        if let Some(service) = patch.service.as_deref().filter(|new| *new != before.service.as_str()) {
            self.may_place(caller, "server.update", &id.to_string(), service).await?;
        }
        let lifts = patch.configuration.as_ref().is_some_and(|new| new.access != before.configuration.access);
        // The rules refer to the service.
        let moves = patch.service.as_ref().is_some_and(|new| *new != before.service.as_str())
            && inner.router.view(&caller.principal.tenant).is_restricted();
        if lifts || moves {
            // A caller that may change a server could otherwise lift rules that hide a part of it from others, or from the
            // caller.
            caller.may(Operation::ServersRestrict)?;
        }
        let shown = |new: &crate::model::Configuration| new.credentials != before.configuration.credentials;
        if patch.configuration.as_ref().is_some_and(shown) {
            // A caller that may change a server could otherwise have the gateway's own credential sent in their calls.
            caller.may(Operation::CredentialsWrite)?;
        }
        may_hide(caller, patch.configuration.as_ref(), &before.configuration.secrets)?;
        if patch.command.is_some() || patch.args.is_some() || patch.env.is_some() || patch.cwd.is_some() {
            self.may_name_a_program(caller, "server.update", &id.to_string()).await?;
        }
        let file = patch.configuration.as_ref().and_then(|new| new.ca_file.as_deref());
        if file != before.configuration.ca_file.as_deref() {
            self.may_name_a_file(caller, "server.update", &id.to_string(), file).await?;
        }
        if patch.configuration.is_none() && !before.configuration.headers.is_empty() {
            self.stays_where_it_is(caller, &before, &patch).await?;
        }
        // A patch that cannot be applied is refused by the register, which says why.
        let after = validate::patch(&before, patch.clone()).ok().map(|after| after.server.endpoint);
        let vouched = self.vouch(caller, &before.name, after.filter(|after| *after != before.endpoint));
        let outcome =
            inner.registry.update(&caller.principal.tenant, &actor(caller), id, patch, if_match).await;
        let server = self.vouched(vouched, outcome)?;
        inner.refresh();
        if is_asked(&server) && (server.endpoint != before.endpoint || !is_asked(&before)) {
            inner.discover_soon(id);
        }
        Ok(server)
    }

    /// Checks the caller's right to register this server: also where it is to be, and what it names on this machine.
    async fn may_register(&self, caller: &Caller, registration: &Registration) -> Result<()> {
        caller.may(Operation::ServersRegister)?;
        let (action, name) = ("server.register", registration.name.as_str());
        // As the register has it: the service of one that names none is called as the server is.
        let service = registration.service.clone().unwrap_or_else(|| name.to_ascii_lowercase());
        self.may_place(caller, action, name, &service).await?;
        if registration.command.is_some() {
            self.may_name_a_program(caller, action, name).await?;
        }
        may_hide(caller, registration.configuration.as_ref(), &[])?;
        let file = registration.configuration.as_ref().and_then(|new| new.ca_file.as_deref());
        self.may_name_a_file(caller, action, name, file).await
    }

    /// Checks that a server of `service` is within the caller's reach.
    async fn may_place(&self, caller: &Caller, action: &str, target: &str, service: &str) -> Result<()> {
        let outcome = self.0.may_place(caller, service);
        if let Err(error) = &outcome {
            self.0.registry.refuse(&caller.principal.tenant, &actor(caller), action, target, error).await;
        }
        outcome
    }

    /// Checks the caller's right to name a program or its arguments, since it runs with the rights of the gateway.
    async fn may_name_a_program(&self, caller: &Caller, action: &str, target: &str) -> Result<()> {
        let outcome = caller.may(Operation::ServersCommand);
        if let Err(error) = &outcome {
            self.0.registry.refuse(&caller.principal.tenant, &actor(caller), action, target, error).await;
        }
        outcome
    }

    /// Checks the caller's right to name a file, since the gateway reads it with its own rights and so reveals whether it is
    /// there. Checked once for every entry point, before the file is looked at.
    async fn may_name_a_file(
        &self,
        caller: &Caller,
        action: &str,
        target: &str,
        file: Option<&str>,
    ) -> Result<()> {
        let Some(file) = file else { return Ok(()) };
        if caller.may(Operation::ServersFile).is_ok() || self.0.settings.guard.lends_authorities(file).await {
            return Ok(());
        }
        // The same whether there is such a file or not.
        let message = "only an administrator may name this file in `configuration.ca_file`; others name one in the folder of \
            `[outbound] ca_folder`, which the operator sets";
        let error = Error::new(ErrorKind::PermissionDenied, message).with("member", "configuration.ca_file");
        self.0.registry.refuse(&caller.principal.tenant, &actor(caller), action, target, &error).await;
        Err(error)
    }

    /// Refuses to move a server to another origin with the headers that were given for the old one, unless the operator does
    /// it: a caller that may change a server need not know its credentials.
    pub async fn stays_where_it_is(&self, caller: &Caller, before: &Server, patch: &Patch) -> Result<()> {
        caller.may(Operation::ServersUpdate)?;
        let Some(endpoint_url) = patch.endpoint_url.clone() else { return Ok(()) };
        let after = Server { endpoint: ServerEndpoint::Url { endpoint_url }, ..before.clone() };
        let guard = &self.0.settings.guard;
        let free = guard.stance() == Stance::Open || guard.for_server(&after).is_operators();
        let stays =
            matches!((origin_of(before), origin_of(&after)), (Ok(before), Ok(after)) if before == after);
        if free || stays {
            return Ok(());
        }
        let message = "the URL leads to another origin, to which the stored headers do not go along; give `configuration.headers` anew";
        let error = Error::new(ErrorKind::InvalidParams, message).with("member", "configuration.headers");
        let (tenant, target) = (&caller.principal.tenant, before.id.to_string());
        self.0.registry.refuse(tenant, &actor(caller), "server.update", &target, &error).await;
        Err(error)
    }

    /// Removes a server: soft, its name is free again, its session is ended. With `if_match`, only if its revision is still that.
    pub async fn remove(&self, caller: &Caller, id: ServerId, if_match: Option<u64>) -> Result<()> {
        caller.may(Operation::ServersRemove)?;
        let server = self.visible(caller, id)?;
        self.0.registry.remove(&caller.principal.tenant, &actor(caller), id, if_match).await?;
        self.0.settings.guard.vouch(&server.tenant_id, &server.name, None);
        self.0.book.forget(id);
        #[cfg(feature = "oauth")]
        self.0.logins.forget(id);
        if self.0.keys.has_any_for(id) {
            self.0.keys.read_after_change().await;
        }
        self.0.refresh();
        Ok(())
    }

    /// One server of the caller's tenant.
    pub fn get(&self, caller: &Caller, id: ServerId) -> Result<Arc<Server>> {
        caller.may(Operation::ServersRead)?;
        self.visible(caller, id)
    }

    /// A server of the caller's tenant, unless it is hidden from the caller: then it is as unknown as one that never was.
    pub(crate) fn visible(&self, caller: &Caller, id: ServerId) -> Result<Arc<Server>> {
        let server = self.0.registry.get(&caller.principal.tenant, id);
        let known = |server: &Arc<Server>| self.0.reaches(&caller.principal, Object::Server(server));
        server.filter(known).ok_or_else(|| unknown(id))
    }

    /// A page of the caller's servers.
    pub fn list(&self, caller: &Caller, filter: &Filter) -> Result<Page> {
        caller.may(Operation::ServersRead)?;
        let (inner, principal) = (&self.0, &caller.principal);
        let (snapshot, state) = (inner.router.load(), inner.registry.state());
        let view = inner.router.view(&principal.tenant);
        if view.is_whole_for(principal) && !filter.restricts() {
            return state.list(&principal.tenant, filter);
        }
        let shown = seeing(&view, principal);
        // The index knows the servers of each tag; it can be behind a change by another thread.
        if Arc::ptr_eq(snapshot.index.state(), &state) {
            snapshot.index.list(&principal.tenant, filter, shown)
        } else {
            state.list_where(&principal.tenant, filter, shown)
        }
    }

    /// The capabilities that a server offers.
    pub fn capabilities(&self, caller: &Caller, id: ServerId) -> Result<Vec<Capability>> {
        caller.may(Operation::ServersRead)?;
        let server = self.get(caller, id)?;
        let mut items = self.0.registry.state().listing(server.id).items.clone();
        if !self.0.router.view(&caller.principal.tenant).is_whole_for(&caller.principal) {
            items.retain(|item| self.0.sees_item(&caller.principal, &server, item));
        }
        Ok(items)
    }

    /// How a server's definitions differ from the approved ones, if they do.
    pub fn drift(&self, caller: &Caller, id: ServerId) -> Result<Option<Arc<Drifted>>> {
        let server = self.get(caller, id)?;
        Ok(self.0.registry.state().entry(server.id).and_then(|entry| entry.drift.clone()))
    }

    /// Takes up the definitions of a server that wait for approval; [`ErrorKind::Conflict`] if none do.
    pub async fn approve(&self, caller: &Caller, id: ServerId) -> Result<Arc<Server>> {
        caller.may(Operation::ServersUpdate)?;
        self.visible(caller, id)?;
        let server = self.0.registry.approve(&caller.principal.tenant, &actor(caller), id).await?;
        self.0.refresh();
        Ok(server)
    }

    /// Probes a server now.
    pub async fn health_check(&self, caller: &Caller, id: ServerId) -> Result<HealthRecord> {
        caller.may(Operation::ServersProbe)?;
        let server = self.get(caller, id)?;
        Ok(readable(caller, self.0.monitor.probe_now(server.id).await?))
    }

    /// The newest observations of a server's health first, at most `limit` and at most as many as are kept.
    pub async fn health_history(
        &self,
        caller: &Caller,
        id: ServerId,
        limit: u32,
    ) -> Result<Vec<HealthRecord>> {
        caller.may(Operation::ServersRead)?;
        self.visible(caller, id)?;
        let records = self.0.registry.health_history(&caller.principal.tenant, id, limit).await?;
        Ok(records.into_iter().map(|record| readable(caller, record)).collect())
    }

    /// Asks a server now for its capabilities.
    pub async fn discover(&self, caller: &Caller, id: ServerId) -> Result<Vec<Capability>> {
        caller.may(Operation::ServersProbe)?;
        let server = self.get(caller, id)?;
        self.0.discover_afresh(server.id).await?;
        self.capabilities(caller, id)
    }
}

/// The record without the texts of the server, for callers that may not read those.
fn readable(caller: &Caller, record: HealthRecord) -> HealthRecord {
    if caller.may(Operation::ServersDiagnose).is_ok() {
        return record;
    }
    let error = record.error.as_ref().map(|_| "the probe failed; a manager can read the reason".to_owned());
    HealthRecord { error, ..record }
}

pub(crate) fn actor(caller: &Caller) -> Actor {
    Actor {
        subject: caller.principal.subject.to_string(),
        correlation_id: Some(caller.correlation_id.to_string()),
    }
}

fn unknown(id: ServerId) -> Error {
    Error::new(ErrorKind::NotFound, "no such server").with("id", id)
}

/// Whether the caller may hide more of an endpoint than is hidden: only an administrator, since the audit trail does not tell it either.
fn may_hide(caller: &Caller, new: Option<&Configuration>, hidden: &[String]) -> Result<()> {
    let more = new.is_some_and(|new| new.secrets.iter().any(|secret| !hidden.contains(secret)));
    if more { caller.may(Operation::ServersRestrict) } else { Ok(()) }
}
