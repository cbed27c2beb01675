//! The table `mcp_claims`.

use async_trait::async_trait;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{SqliteStore, rows};
use crate::error::Result;
use crate::model::{AuditEntry, ServiceName, TenantId};
use crate::store::ChangeKind;
use crate::store::claims::{Claim, ClaimStore};

const PUT: &str = "INSERT INTO mcp_claims (tenant_id, uri, service) VALUES ($1, $2, $3) \
    ON CONFLICT (tenant_id, uri) DO UPDATE SET service = $3";
const REMOVE: &str = "DELETE FROM mcp_claims WHERE tenant_id = $1 AND uri = $2";
const ALL: &str = "SELECT tenant_id AS id, uri, service FROM mcp_claims ORDER BY tenant_id, uri";

#[async_trait]
impl ClaimStore for SqliteStore {
    async fn put_claim(&self, claim: &Claim, audit: &AuditEntry) -> Result<()> {
        let at = self.place();
        let mut tx = self.change(&[ChangeKind::Claims]).await?;
        let outcome = async {
            sqlx::query(PUT)
                .bind(claim.tenant_id.as_str())
                .bind(&claim.uri)
                .bind(claim.service.as_str())
                .execute(&mut *tx)
                .await
                .map_err(|error| at.writing(error))?;
            self.log(&mut tx, audit).await
        }
        .await;
        tx.end(outcome).await
    }

    async fn remove_claim(&self, tenant: &TenantId, uri: &str) -> Result<()> {
        let at = self.place();
        let mut tx = self.change(&[ChangeKind::Claims]).await?;
        let outcome = async {
            let done = sqlx::query(REMOVE).bind(tenant.as_str()).bind(uri).execute(&mut *tx).await;
            done.map(drop).map_err(|error| at.writing(error))
        }
        .await;
        tx.end(outcome).await
    }

    async fn claims(&self) -> Result<Vec<Claim>> {
        let at = self.place();
        let found = sqlx::query(ALL).fetch_all(&self.readers).await.map_err(|error| at.reading(error))?;
        found.iter().map(|row| rows::decode(at, row, claim)).collect()
    }
}

fn claim(row: &SqliteRow) -> Result<Claim, Box<dyn std::error::Error + Send + Sync>> {
    Ok(Claim {
        tenant_id: TenantId::new(row.try_get("id")?)?,
        uri: row.try_get("uri")?,
        service: ServiceName::new(row.try_get("service")?)?,
    })
}
