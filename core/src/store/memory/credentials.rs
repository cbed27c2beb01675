//! Credentials in memory.

use async_trait::async_trait;

use super::MemoryStore;
use crate::error::Result;
use crate::model::{AuditEntry, SealedCredential, ServerId, TenantId};
use crate::store::ChangeKind;
use crate::store::credentials::{CredentialStore, no_credential};

/// Server, subject, header.
pub(super) type Key = (ServerId, String, String);

#[async_trait]
impl CredentialStore for MemoryStore {
    async fn put_credential(&self, credential: &SealedCredential, audit: &AuditEntry) -> Result<()> {
        let mut rows = self.rows();
        rows.row(&credential.tenant_id, credential.about.server_id)?;
        let about = &credential.about;
        let key = (about.server_id, credential.subject().to_owned(), about.header.clone());
        rows.credentials.insert(key, credential.clone());
        rows.log(audit);
        self.changes.tell(&[ChangeKind::Credentials]);
        Ok(())
    }

    async fn remove_credential(
        &self,
        tenant: &TenantId,
        server: ServerId,
        subject: &str,
        header: &str,
        audit: &AuditEntry,
    ) -> Result<()> {
        let mut rows = self.rows();
        let key = (server, subject.to_owned(), header.to_owned());
        if rows.credentials.get(&key).is_none_or(|found| found.tenant_id != *tenant) {
            return Err(no_credential(header));
        }
        rows.credentials.remove(&key);
        rows.log(audit);
        self.changes.tell(&[ChangeKind::Credentials]);
        Ok(())
    }

    async fn credentials(&self) -> Result<Vec<SealedCredential>> {
        Ok(self.rows().credentials.values().cloned().collect())
    }
}
