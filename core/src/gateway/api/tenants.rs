//! Tenants: their administrators, and the refusal of the principals of a tenant that is gone.
//!
//! The administrators of `default` govern all tenants; those of another see their own. A tenant that is disabled or deleted is
//! refused once the caller is known, before anything else is checked.

use std::collections::HashSet;

use arc_swap::ArcSwap;

use super::admin::actor;
use crate::auth::Operation;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{Caller, Core, Gateway};
use crate::model::{Principal, Tenant, TenantId, TenantStatus};

/// The tenants whose principals are refused.
#[derive(Debug, Default)]
pub(crate) struct Gone(ArcSwap<HashSet<TenantId>>);

impl Gone {
    /// Takes up the state of all tenants; returns those that are gone only now.
    pub(crate) fn take_up(&self, tenants: &[Tenant]) -> Vec<TenantId> {
        let gone = tenants.iter().filter(|tenant| tenant.status != TenantStatus::Active);
        let gone: HashSet<_> = gone.map(|tenant| tenant.id.clone()).collect();
        let before = self.0.swap(std::sync::Arc::new(gone.clone()));
        gone.difference(&before).cloned().collect()
    }

    /// [`ErrorKind::PermissionDenied`] for a principal of a tenant that is disabled or deleted.
    pub(crate) fn check(&self, principal: &Principal) -> Result<()> {
        let gone = self.0.load();
        if gone.is_empty() || !gone.contains(&principal.tenant) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::PermissionDenied, "your tenant is disabled; ask the operator"))
    }
}

/// The changes to a tenant.
#[derive(Clone, Debug, Default)]
pub struct TenantPatch {
    /// New name for people; empty for none.
    pub display_name: Option<String>,
    /// Whether its principals are let in.
    pub enabled: Option<bool>,
}

impl Gateway {
    /// The tenants that the caller may know of, by name. Errors: [`ErrorKind::Storage`].
    pub async fn tenants(&self, caller: &Caller) -> Result<Vec<Tenant>> {
        caller.may(Operation::TenantsRead)?;
        let mut all = self.0.registry.tenants().await?;
        let default = TenantId::default_tenant();
        if all.iter().all(|tenant| tenant.id != default) {
            // It is there before anything is written of it.
            all.push(Tenant::new(default, None, self.0.opened_at));
            all.sort_by(|a, b| a.id.cmp(&b.id));
        }
        all.retain(|tenant| governs(caller) || tenant.id == caller.principal.tenant);
        Ok(all)
    }

    /// One tenant that the caller may know of.
    pub async fn tenant(&self, caller: &Caller, id: &TenantId) -> Result<Tenant> {
        let all = self.tenants(caller).await?;
        all.into_iter().find(|tenant| tenant.id == *id).ok_or_else(|| unknown(id))
    }

    /// Makes a tenant. [`ErrorKind::Conflict`] if there is, or ever was, one of this name.
    pub async fn create_tenant(
        &self,
        caller: &Caller,
        id: TenantId,
        display_name: Option<String>,
    ) -> Result<Tenant> {
        self.may_govern(caller, None).await?;
        if id == TenantId::default_tenant() {
            return Err(Error::new(
                ErrorKind::Conflict,
                "the tenant `default` exists already and cannot be created",
            )
            .with("tenant", id));
        }
        check_shown(display_name.as_deref())?;
        let (registry, by) = (&self.0.registry, &caller.principal.tenant);
        registry.create_tenant(by, &actor(caller), id, filled(display_name)).await
    }

    /// Changes a tenant. If it disables the tenant, its principals are refused and their calls, streams and sessions ended
    /// before this returns.
    pub async fn update_tenant(&self, caller: &Caller, id: &TenantId, patch: TenantPatch) -> Result<Tenant> {
        self.may_govern(caller, Some(id)).await?;
        if *id == TenantId::default_tenant() && patch.enabled == Some(false) {
            return Err(Error::new(
                ErrorKind::InvalidParams,
                "the tenant `default` administers the others and cannot be disabled",
            ));
        }
        check_shown(patch.display_name.as_deref())?;
        let change = move |tenant: &mut Tenant| {
            if let Some(name) = patch.display_name {
                tenant.display_name = filled(Some(name));
            }
            tenant.status = match patch.enabled {
                Some(true) => TenantStatus::Active,
                Some(false) => TenantStatus::Disabled,
                None => tenant.status,
            };
        };
        self.change(caller, id, "tenant.update", change).await
    }

    /// Deletes a tenant: its principals are refused, their open calls, streams and sessions are ended, its servers are removed.
    /// Its name stays taken and its audit trail stays.
    pub async fn delete_tenant(&self, caller: &Caller, id: &TenantId) -> Result<()> {
        self.may_govern(caller, Some(id)).await?;
        if *id == TenantId::default_tenant() {
            return Err(Error::new(
                ErrorKind::InvalidParams,
                "the tenant `default` administers the others and cannot be deleted",
            ));
        }
        self.change(caller, id, "tenant.delete", |tenant| tenant.status = TenantStatus::Deleted).await?;
        let state = self.0.registry.state();
        let servers: Vec<_> = state.of_tenant(id).map(|entry| entry.server.id).collect();
        for server in servers {
            match self.0.registry.remove(id, &actor(caller), server, None).await {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.0.refresh();
        Ok(())
    }

    async fn change(
        &self,
        caller: &Caller,
        id: &TenantId,
        action: &'static str,
        change: impl FnOnce(&mut Tenant) + Send + 'static,
    ) -> Result<Tenant> {
        let (registry, by) = (&self.0.registry, &caller.principal.tenant);
        let tenant = registry.change_tenant(by, &actor(caller), id, action, change).await?;
        self.0.take_up_tenants().await?;
        if tenant.status != TenantStatus::Active {
            self.0.turn_out(id).await;
        }
        Ok(tenant)
    }

    /// Whether the caller may change tenants; with `id`, also that it may know of that tenant. A refusal is in the audit trail.
    async fn may_govern(&self, caller: &Caller, id: Option<&TenantId>) -> Result<()> {
        caller.may(Operation::TenantsWrite)?;
        if governs(caller) {
            return Ok(());
        }
        let error = match id {
            Some(id) if *id != caller.principal.tenant => unknown(id),
            _ => Error::new(
                ErrorKind::PermissionDenied,
                "only administrators of the tenant `default` may change tenants",
            ),
        };
        let target = id.map_or_else(String::new, ToString::to_string);
        let (registry, by) = (&self.0.registry, &caller.principal.tenant);
        registry.refuse(by, &actor(caller), "tenant.change", &target, &error).await;
        Err(error)
    }
}

impl Core {
    /// Takes up the state of all tenants, and ends what the principals of those hold open that are gone since.
    pub(crate) async fn take_up_tenants(&self) -> Result<()> {
        for gone in self.gone.take_up(&self.registry.tenants().await?) {
            self.turn_out(&gone).await;
        }
        Ok(())
    }

    /// Ends the open calls, streams and sessions of a tenant's principals.
    async fn turn_out(&self, tenant: &TenantId) {
        self.streams.end(|principal| principal.tenant == *tenant);
        for active in self.calls.active() {
            if active.principal.get().is_some_and(|principal| principal.tenant == *tenant) {
                active.cancel.cancel();
            }
        }
        let clients = self.sessions.all().into_iter().chain(self.modern.modern_to_legacy.pool.all());
        for client in clients.filter(|client| client.principal.tenant == *tenant) {
            self.end_session(&client).await;
        }
    }
}

fn governs(caller: &Caller) -> bool {
    caller.principal.tenant == TenantId::default_tenant()
}

/// Whether the caller may know of the activity of all tenants together.
pub(crate) fn sees_all(caller: &Caller) -> bool {
    governs(caller) && caller.may(Operation::TenantsRead).is_ok()
}

fn unknown(id: &TenantId) -> Error {
    Error::new(ErrorKind::NotFound, "no such tenant").with("tenant", id)
}

fn check_shown(name: Option<&str>) -> Result<()> {
    match name {
        Some(name) if name.chars().count() > 200 || name.chars().any(char::is_control) => {
            let text = "a display name has at most 200 characters and no control characters";
            Err(Error::new(ErrorKind::InvalidParams, text).with("field", "display_name"))
        }
        _ => Ok(()),
    }
}

fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}
