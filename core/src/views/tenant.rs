//! Tenants.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{Caller, Gateway, TenantPatch};
use crate::model::{Tenant, TenantId, TenantStatus};

/// A tenant.
#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct TenantView {
    pub(crate) id: String,
    display_name: Option<String>,
    #[cfg_attr(feature = "server", schema(inline))]
    status: TenantStatus,
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    created_at: Timestamp,
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    updated_at: Timestamp,
}

impl From<Tenant> for TenantView {
    fn from(tenant: Tenant) -> Self {
        let Tenant { id, display_name, status, created_at, updated_at, .. } = tenant;
        Self { id: id.to_string(), display_name, status, created_at, updated_at }
    }
}

/// The tenants that the caller may know of, ordered by id.
#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct TenantList {
    tenants: Vec<TenantView>,
    total: usize,
}

impl TenantList {
    pub(crate) async fn of(gateway: &Gateway, caller: &Caller) -> Result<Self> {
        let tenants: Vec<TenantView> = gateway.tenants(caller).await?.into_iter().map(Into::into).collect();
        Ok(Self { total: tenants.len(), tenants })
    }
}

/// A new tenant.
#[derive(Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTenant {
    /// 1 to 63 of `a-z 0-9 _ . -`, beginning and ending with a letter or digit, without `__`.
    id: String,
    display_name: Option<String>,
}

impl NewTenant {
    pub(crate) async fn make(self, gateway: &Gateway, caller: &Caller) -> Result<TenantView> {
        let id = TenantId::new(&self.id)?;
        gateway.create_tenant(caller, id, self.display_name).await.map(Into::into)
    }
}

/// The changes to a tenant; members that are absent stay as they are.
#[derive(Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangedTenant {
    display_name: Option<String>,
    /// Whether its principals are let in.
    enabled: Option<bool>,
}

impl From<ChangedTenant> for TenantPatch {
    fn from(changed: ChangedTenant) -> Self {
        let ChangedTenant { display_name, enabled } = changed;
        Self { display_name, enabled }
    }
}

/// The id of an existing tenant: a text that cannot be an id names none.
pub(crate) fn known(text: &str) -> Result<TenantId> {
    TenantId::new(text).map_err(|_| Error::new(ErrorKind::NotFound, "no such tenant"))
}
