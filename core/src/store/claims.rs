//! Claims on resources whose service is not the one that the age of the services suggests.

use async_trait::async_trait;

use crate::error::Result;
use crate::model::{AuditEntry, ServiceName, TenantId};

/// A service had a resource before an older one offered it, too, and keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The tenant of the service.
    pub tenant_id: TenantId,
    /// The resource's URI, or the text of a template.
    pub uri: String,
    /// The service that has the resource.
    pub service: ServiceName,
}

/// The claims of a store: one for each URI of a tenant.
#[async_trait]
pub trait ClaimStore: Send + Sync + std::fmt::Debug {
    /// Writes a claim, in the place of one on the same URI, and the audit row, in one transaction.
    async fn put_claim(&self, claim: &Claim, audit: &AuditEntry) -> Result<()>;

    /// Removes the claim on this URI, if there is one.
    async fn remove_claim(&self, tenant: &TenantId, uri: &str) -> Result<()>;

    /// All claims of all tenants, by tenant and URI.
    async fn claims(&self) -> Result<Vec<Claim>>;
}
