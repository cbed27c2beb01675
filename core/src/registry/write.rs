//! Changes of the register that a user asks for: register, update, remove.

use std::sync::Arc;

use serde_json::{Value, json};

use super::validate::{self, Checked};
use super::{Actor, Registry, RegistryCore, no_server};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Event, Patch, Registration, Server, ServerId, TenantId, redact};

impl Registry {
    /// Registers a server.
    ///
    /// Errors: [`ErrorKind::InvalidParams`] with every problem of the registration, [`ErrorKind::Conflict`] if the
    /// name is taken, [`ErrorKind::Storage`]. Each is written to the audit trail.
    pub async fn register(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        registration: Registration,
    ) -> Result<Arc<Server>> {
        let (tenant, actor) = (tenant.clone(), actor.clone());
        self.to_end(|inner| async move {
            let target = registration.name.clone();
            let outcome = inner.register(&tenant, &actor, registration).await;
            inner.refused(&tenant, &actor, "server.register", &target, outcome).await
        })
        .await
    }

    /// Changes a server; with `if_match`, only if its revision is still that. A change that changes nothing writes nothing.
    ///
    /// Errors: [`ErrorKind::NotFound`], [`ErrorKind::Conflict`] if its revision is another,
    /// [`ErrorKind::InvalidParams`] with every problem, [`ErrorKind::Storage`]. Each is written to the audit trail.
    pub async fn update(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        id: ServerId,
        patch: Patch,
        if_match: Option<u64>,
    ) -> Result<Arc<Server>> {
        let (tenant, actor) = (tenant.clone(), actor.clone());
        self.to_end(move |inner| async move {
            let outcome = inner.update(&tenant, &actor, id, patch, if_match).await;
            inner.refused(&tenant, &actor, "server.update", &id.to_string(), outcome).await
        })
        .await
    }

    /// Takes up the definitions that wait for approval.
    ///
    /// Errors: [`ErrorKind::NotFound`], [`ErrorKind::Conflict`] if nothing waits, [`ErrorKind::Storage`]. Each is written to the
    /// audit trail.
    pub async fn approve(&self, tenant: &TenantId, actor: &Actor, id: ServerId) -> Result<Arc<Server>> {
        let (tenant, actor) = (tenant.clone(), actor.clone());
        self.to_end(move |inner| async move {
            let outcome = inner.approve(&tenant, &actor, id).await;
            inner.refused(&tenant, &actor, "server.approve", &id.to_string(), outcome).await
        })
        .await
    }

    /// Removes a server; its name is free again. With `if_match`, only if its revision is still that.
    ///
    /// Errors: [`ErrorKind::NotFound`], [`ErrorKind::Conflict`] if its revision is another, [`ErrorKind::Storage`]. Each is
    /// written to the audit trail.
    pub async fn remove(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        id: ServerId,
        if_match: Option<u64>,
    ) -> Result<()> {
        let (tenant, actor) = (tenant.clone(), actor.clone());
        self.to_end(move |inner| async move {
            let outcome = inner.remove(&tenant, &actor, id, if_match).await;
            inner.refused(&tenant, &actor, "server.remove", &id.to_string(), outcome).await
        })
        .await
    }
}

impl RegistryCore {
    async fn register(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        registration: Registration,
    ) -> Result<Arc<Server>> {
        let Checked { server, listing } = validate::registration(tenant, registration, self.now())?;
        self.may_lead(&server)?;
        let listing = listing.unwrap_or_default();
        let _writing = self.writing.lock().await;
        let audit =
            self.audit(tenant, actor, "server.register", &server.id.to_string(), "ok", described(&server));
        self.store.insert_server(&server, &listing, &audit).await?;
        Ok(self.swap(|state, tell| {
            tell(Event::Registered { tenant_id: tenant.clone(), id: server.id });
            state.put(server, Arc::new(listing))
        }))
    }

    async fn update(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        id: ServerId,
        patch: Patch,
        if_match: Option<u64>,
    ) -> Result<Arc<Server>> {
        let _writing = self.writing.lock().await;
        let state = self.state.load_full();
        let entry = state.entry(id).filter(|entry| entry.server.tenant_id == *tenant);
        let entry = entry.ok_or_else(|| no_server(id))?;
        let before = &entry.server;
        unchanged(before, if_match)?;
        let Checked { mut server, listing } = validate::patch(before, patch)?;
        if server.endpoint != before.endpoint {
            self.may_lead(&server)?;
        }
        // A server's own listing outweighs the one that is declared for it.
        let declared =
            listing.filter(|declared| entry.listing.initialize.is_none() && *declared != *entry.listing);
        let changed = changed(before, &server, declared.is_some());
        if changed.is_empty() {
            return Ok(before.clone());
        }
        server.updated_at = self.now();
        server.revision = before.revision + 1;
        let detail = json!({ "changed": changed, "revision": server.revision });
        let audit = self.audit(tenant, actor, "server.update", &id.to_string(), "ok", detail);
        self.store.update_server(&server, before.revision, declared.as_ref(), &audit).await?;
        Ok(self.swap(|state, tell| {
            tell(Event::Updated { tenant_id: tenant.clone(), id });
            if declared.is_some() {
                tell(Event::Discovered { tenant_id: tenant.clone(), id });
            }
            let listing = declared.map_or_else(|| state.listing(id), Arc::new);
            state.put(server, listing)
        }))
    }

    async fn approve(&self, tenant: &TenantId, actor: &Actor, id: ServerId) -> Result<Arc<Server>> {
        let _writing = self.writing.lock().await;
        let state = self.state.load_full();
        let entry = state.entry(id).filter(|entry| entry.server.tenant_id == *tenant);
        let entry = entry.ok_or_else(|| no_server(id))?;
        let nothing = || {
            Error::new(ErrorKind::Conflict, "this server has no change that waits for approval")
                .with("id", id)
        };
        let (drift, listing) = entry.drift.as_ref().zip(entry.waiting()).ok_or_else(nothing)?;
        let mut server = (*entry.server).clone();
        server.updated_at = self.now();
        server.revision += 1;
        let audit = self.audit(tenant, actor, "server.approve", &id.to_string(), "ok", drift.detail());
        self.store.update_server(&server, entry.server.revision, Some(listing), &audit).await?;
        Ok(self.swap(|state, tell| {
            tell(Event::Updated { tenant_id: tenant.clone(), id });
            tell(Event::Discovered { tenant_id: tenant.clone(), id });
            state.set_listing(id, Arc::clone(listing), None);
            state.put(server, Arc::clone(listing))
        }))
    }

    async fn remove(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        id: ServerId,
        if_match: Option<u64>,
    ) -> Result<()> {
        let _writing = self.writing.lock().await;
        let state = self.state.load_full();
        let server = state.server(id).filter(|server| server.tenant_id == *tenant);
        let server = server.ok_or_else(|| no_server(id))?;
        unchanged(server, if_match)?;
        let audit = self.audit(tenant, actor, "server.remove", &id.to_string(), "ok", described(server));
        self.store.remove_server(tenant, id, audit.at, &audit).await?;
        self.swap(|state, tell| {
            state.remove(id);
            tell(Event::Removed { tenant_id: tenant.clone(), id });
        });
        Ok(())
    }

    /// Whether a server may have its endpoint.
    pub(super) fn may_lead(&self, server: &Server) -> Result<()> {
        let judged = self.guard.for_server(server).check_endpoint(&server.endpoint);
        let secrets = &server.configuration.secrets;
        judged.map_err(|error| error.map_texts(|text| redact::covered(text, secrets)))
    }

    pub(super) async fn refused<T>(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        action: &str,
        target: &str,
        outcome: Result<T>,
    ) -> Result<T> {
        if let Err(error) = &outcome {
            self.refuse(tenant, actor, action, target, error).await;
        }
        outcome
    }
}

fn unchanged(server: &Server, if_match: Option<u64>) -> Result<()> {
    if if_match.is_none_or(|revision| revision == server.revision) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Conflict,
        "the server was changed since you read it; read it again and repeat your change",
    )
    .with("id", server.id)
    .with("revision", server.revision))
}

/// The description of a server in the trail: arguments, environment and headers can hold secrets and stay out.
pub(super) fn described(server: &Server) -> Value {
    let shown = redact::endpoint(server);
    let endpoint = shown.endpoint_url.or(shown.command);
    json!({
        "name": server.name,
        "service": server.service,
        "transport_type": server.transport_type,
        "endpoint": endpoint,
    })
}

/// The members that differ, by name.
fn changed(before: &Server, after: &Server, capabilities: bool) -> Vec<&'static str> {
    let compared = [
        ("endpoint", before.endpoint != after.endpoint),
        ("transport_type", before.transport_type != after.transport_type),
        ("service", before.service != after.service),
        ("version", before.version != after.version),
        ("display_name", before.display_name != after.display_name),
        ("description", before.description != after.description),
        ("capabilities", capabilities),
        ("tags", before.tags != after.tags),
        ("weight", before.weight != after.weight),
        ("auto_discover", before.auto_discover != after.auto_discover),
        ("health_check", before.health_check != after.health_check),
        ("configuration", before.configuration != after.configuration),
        ("status", before.status != after.status),
    ];
    compared.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}
