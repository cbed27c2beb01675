//! Claims in memory.

use async_trait::async_trait;

use super::MemoryStore;
use crate::error::Result;
use crate::model::{AuditEntry, TenantId};
use crate::store::ChangeKind;
use crate::store::claims::{Claim, ClaimStore};

#[async_trait]
impl ClaimStore for MemoryStore {
    async fn put_claim(&self, claim: &Claim, audit: &AuditEntry) -> Result<()> {
        let mut rows = self.rows();
        rows.claims.insert((claim.tenant_id.clone(), claim.uri.clone()), claim.clone());
        rows.log(audit);
        self.changes.tell(&[ChangeKind::Claims]);
        Ok(())
    }

    async fn remove_claim(&self, tenant: &TenantId, uri: &str) -> Result<()> {
        self.rows().claims.remove(&(tenant.clone(), uri.to_owned()));
        self.changes.tell(&[ChangeKind::Claims]);
        Ok(())
    }

    async fn claims(&self) -> Result<Vec<Claim>> {
        Ok(self.rows().claims.values().cloned().collect())
    }
}
