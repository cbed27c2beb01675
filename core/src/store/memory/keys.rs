//! API keys in memory.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{MemoryStore, Rows};
use crate::error::Result;
use crate::model::{ApiKey, AuditEntry, KeyId, ServerId, TenantId};
use crate::store::ChangeKind;
use crate::store::keys::{KeyPage, KeyStore, KeyUse, no_key, replaced};
use crate::store::once::{Done, Once};

impl Rows {
    fn key(&mut self, tenant: &TenantId, id: KeyId) -> Result<&mut ApiKey> {
        let found = self.keys.iter_mut().find(|key| key.id == id && key.tenant_id == *tenant);
        found.ok_or_else(|| no_key(id))
    }

    /// Revokes the keys that were made for a server that is removed.
    pub(super) fn revoke_keys_of(&mut self, server: ServerId, at: Timestamp) {
        let living = |key: &&mut ApiKey| key.server_id == Some(server) && key.revoked_at.is_none();
        for key in self.keys.iter_mut().filter(living) {
            key.revoked_at = Some(at);
            self.key_changes += 1;
        }
    }
}

#[async_trait]
impl KeyStore for MemoryStore {
    async fn insert_key(&self, key: &ApiKey, audit: &AuditEntry) -> Result<()> {
        let mut rows = self.rows();
        rows.keys.push(key.clone());
        rows.key_changes += 1;
        rows.log(audit);
        self.changes.tell(&[ChangeKind::Keys]);
        Ok(())
    }

    async fn insert_key_once(&self, key: &ApiKey, audit: &AuditEntry, once: &Once) -> Result<Option<Done>> {
        let mut rows = self.rows();
        let creations = rows.once.entry(once.tenant_id.clone()).or_default();
        if let Some(done) = creations.done(once)? {
            return Ok(Some(done));
        }
        creations.keep(once, key.id.to_string());
        rows.keys.push(key.clone());
        rows.key_changes += 1;
        rows.log(audit);
        self.changes.tell(&[ChangeKind::Keys]);
        Ok(None)
    }

    async fn rotate_key(&self, old: KeyId, until: Timestamp, new: &ApiKey, audit: &AuditEntry) -> Result<()> {
        let mut rows = self.rows();
        let before = rows.key(&new.tenant_id, old)?;
        if before.revoked_at.is_some() || before.rotated_to.is_some() {
            return Err(replaced(old));
        }
        before.rotated_to = Some(new.id);
        before.expires_at = before.expires_at.min(until);
        rows.keys.push(new.clone());
        rows.key_changes += 1;
        rows.log(audit);
        self.changes.tell(&[ChangeKind::Keys]);
        Ok(())
    }

    async fn revoke_key(
        &self,
        tenant: &TenantId,
        id: KeyId,
        at: Timestamp,
        audit: &AuditEntry,
    ) -> Result<()> {
        let mut rows = self.rows();
        let key = rows.key(tenant, id)?;
        if key.revoked_at.is_none() {
            key.revoked_at = Some(at);
            rows.key_changes += 1;
            rows.log(audit);
            self.changes.tell(&[ChangeKind::Keys]);
        }
        Ok(())
    }

    async fn living_keys(&self) -> Result<Vec<ApiKey>> {
        Ok(self.rows().keys.iter().filter(|key| key.revoked_at.is_none()).cloned().collect())
    }

    async fn key(&self, tenant: &TenantId, id: KeyId) -> Result<Option<ApiKey>> {
        Ok(self.rows().key(tenant, id).ok().cloned())
    }

    async fn keys(&self, tenant: &TenantId, offset: u64, limit: u32) -> Result<KeyPage> {
        let rows = self.rows();
        let own = || rows.keys.iter().rev().filter(|key| key.tenant_id == *tenant);
        let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
        let keys = own().skip(skipped).take(limit as usize).cloned().collect();
        Ok(KeyPage { keys, total: own().count() as u64 })
    }

    async fn keys_revision(&self) -> Result<u64> {
        Ok(self.rows().key_changes)
    }

    async fn record_key_uses(&self, uses: &[KeyUse]) -> Result<()> {
        let mut rows = self.rows();
        for used in uses {
            if let Some(key) = rows.keys.iter_mut().find(|key| key.id == used.id) {
                key.uses += used.count;
                key.last_used_at = key.last_used_at.max(Some(used.last));
            }
        }
        Ok(())
    }
}
