//! Where credentials for servers survive: sealed, never as they are sent.

use async_trait::async_trait;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{AuditEntry, SealedCredential, ServerId, TenantId};

/// The credentials of a store. A mutation and its audit row are one transaction. Removing a server removes its credentials.
#[async_trait]
pub trait CredentialStore: Send + Sync + std::fmt::Debug {
    /// Writes a credential, in the place of one for the same server, subject and header, and the audit row.
    /// [`ErrorKind::NotFound`] if the tenant has no such server.
    async fn put_credential(&self, credential: &SealedCredential, audit: &AuditEntry) -> Result<()>;

    /// Removes the credential of this server, subject (empty for everybody's) and header, and writes the audit row.
    /// [`ErrorKind::NotFound`] if there is none in this tenant.
    async fn remove_credential(
        &self,
        tenant: &TenantId,
        server: ServerId,
        subject: &str,
        header: &str,
        audit: &AuditEntry,
    ) -> Result<()>;

    /// The credentials of all living servers of all tenants, by server, subject and header.
    async fn credentials(&self) -> Result<Vec<SealedCredential>>;
}

pub(super) fn no_credential(header: &str) -> Error {
    Error::new(ErrorKind::NotFound, "the server has no such credential").with("header", header)
}
