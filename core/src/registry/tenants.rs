//! The tenants as the store keeps them: created, changed, and never removed, so that a name means one tenant for ever.

use super::{Actor, Registry};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Tenant, TenantId, TenantStatus};

impl Registry {
    /// All tenants that the store knows, by name.
    ///
    /// Errors: [`ErrorKind::Storage`].
    pub async fn tenants(&self) -> Result<Vec<Tenant>> {
        self.inner.store.tenants().await
    }

    /// Writes a new tenant; `by` is the tenant in whose audit trail it stands.
    ///
    /// Errors: [`ErrorKind::Conflict`] if there is or was one of this name, [`ErrorKind::Storage`].
    pub async fn create_tenant(
        &self,
        by: &TenantId,
        actor: &Actor,
        id: TenantId,
        display_name: Option<String>,
    ) -> Result<Tenant> {
        let (by, actor) = (by.clone(), actor.clone());
        self.to_end(move |inner| async move {
            let target = id.to_string();
            let tenant = Tenant::new(id, display_name, inner.now());
            let audit = inner.audit(&by, &actor, "tenant.create", &target, "ok", detail(&tenant));
            let outcome = inner.store.put_tenant(&tenant, None, &audit).await.map(|()| tenant);
            inner.refused(&by, &actor, "tenant.create", &target, outcome).await
        })
        .await
    }

    /// Applies `change` to a tenant, and writes it.
    ///
    /// Errors: [`ErrorKind::NotFound`] if it does not exist or is deleted, [`ErrorKind::Conflict`] if somebody else changed it
    /// meanwhile, [`ErrorKind::Storage`].
    pub async fn change_tenant(
        &self,
        by: &TenantId,
        actor: &Actor,
        id: &TenantId,
        action: &'static str,
        change: impl FnOnce(&mut Tenant) + Send + 'static,
    ) -> Result<Tenant> {
        let (by, actor, id) = (by.clone(), actor.clone(), id.clone());
        self.to_end(move |inner| async move {
            let target = id.to_string();
            let changed = async {
                let known = inner.store.tenants().await?.into_iter().find(|tenant| tenant.id == id);
                let known = known.filter(|tenant| tenant.status != TenantStatus::Deleted);
                let mut tenant = known.ok_or_else(|| unknown(&id))?;
                let before = tenant.revision;
                change(&mut tenant);
                tenant.revision += 1;
                tenant.updated_at = inner.now();
                let audit = inner.audit(&by, &actor, action, &target, "ok", detail(&tenant));
                inner.store.put_tenant(&tenant, Some(before), &audit).await?;
                Ok(tenant)
            };
            let outcome = changed.await;
            inner.refused(&by, &actor, action, &target, outcome).await
        })
        .await
    }
}

fn unknown(id: &TenantId) -> Error {
    Error::new(ErrorKind::NotFound, "no such tenant").with("tenant", id)
}

fn detail(tenant: &Tenant) -> serde_json::Value {
    serde_json::json!({ "status": tenant.status, "display_name": tenant.display_name })
}
