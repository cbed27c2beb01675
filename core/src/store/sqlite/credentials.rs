//! The table `mcp_credentials`.

use async_trait::async_trait;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{SqliteStore, rows, servers};
use crate::error::Result;
use crate::model::{AuditEntry, Credential, CredentialKind, SealedCredential, ServerId, TenantId};
use crate::store::ChangeKind;
use crate::store::credentials::{CredentialStore, no_credential};

pub(super) const PUT: &str = "INSERT INTO mcp_credentials (tenant_id, server_id, subject, header, origin, key_id, \
    sealed, created_by, created_at, kind) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
    ON CONFLICT (server_id, subject, header) DO UPDATE SET origin = $5, key_id = $6, sealed = $7, created_by = $8, \
    created_at = $9, kind = $10";
pub(super) const REMOVE: &str =
    "DELETE FROM mcp_credentials WHERE server_id = $1 AND subject = $2 AND header = $3 AND tenant_id = $4";
pub(super) const FORGET: &str = "DELETE FROM mcp_credentials WHERE server_id = $1";
const ALL: &str = "SELECT server_id AS id, tenant_id, subject, header, origin, key_id, sealed, created_by, created_at, \
    kind FROM mcp_credentials ORDER BY server_id, subject, header";

#[async_trait]
impl CredentialStore for SqliteStore {
    async fn put_credential(&self, credential: &SealedCredential, audit: &AuditEntry) -> Result<()> {
        let (at, about) = (self.place(), &credential.about);
        let mut tx = self.change(&[ChangeKind::Credentials]).await?;
        let outcome = async {
            servers::require(&mut tx, at, &credential.tenant_id, about.server_id).await?;
            sqlx::query(PUT)
                .bind(credential.tenant_id.as_str())
                .bind(about.server_id.to_string())
                .bind(credential.subject())
                .bind(&about.header)
                .bind(&about.origin)
                .bind(&about.key_id)
                .bind(&credential.sealed)
                .bind(&about.created_by)
                .bind(about.created_at.as_microsecond())
                .bind(about.kind.as_str())
                .execute(&mut *tx)
                .await
                .map_err(|error| at.writing(error))?;
            self.log(&mut tx, audit).await
        }
        .await;
        tx.end(outcome).await
    }

    async fn remove_credential(
        &self,
        tenant: &TenantId,
        server: ServerId,
        subject: &str,
        header: &str,
        audit: &AuditEntry,
    ) -> Result<()> {
        let at = self.place();
        let mut tx = self.change(&[ChangeKind::Credentials]).await?;
        let outcome = async {
            let done = sqlx::query(REMOVE)
                .bind(server.to_string())
                .bind(subject)
                .bind(header)
                .bind(tenant.as_str())
                .execute(&mut *tx)
                .await
                .map_err(|error| at.writing(error))?;
            if done.rows_affected() == 0 {
                return Err(no_credential(header));
            }
            self.log(&mut tx, audit).await
        }
        .await;
        tx.end(outcome).await
    }

    async fn credentials(&self) -> Result<Vec<SealedCredential>> {
        let at = self.place();
        let found = sqlx::query(ALL).fetch_all(&self.readers).await.map_err(|error| at.reading(error))?;
        found.iter().map(|row| rows::decode(at, row, credential)).collect()
    }
}

fn credential(row: &SqliteRow) -> Result<SealedCredential, Box<dyn std::error::Error + Send + Sync>> {
    let subject: String = row.try_get("subject")?;
    let kind = CredentialKind::of(row.try_get("kind")?)
        .ok_or("a kind of credential that this version does not know")?;
    Ok(SealedCredential {
        tenant_id: TenantId::new(row.try_get("tenant_id")?)?,
        about: Credential {
            kind,
            authorized: None,
            server_id: row.try_get::<&str, _>("id")?.parse()?,
            subject: Some(subject).filter(|subject| !subject.is_empty()),
            header: row.try_get("header")?,
            origin: row.try_get("origin")?,
            key_id: row.try_get("key_id")?,
            created_by: row.try_get("created_by")?,
            created_at: rows::time(row.try_get("created_at")?)?,
        },
        sealed: row.try_get("sealed")?,
    })
}
