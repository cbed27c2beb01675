//! The audit trail: the table `audit_logs`. Nothing here changes or removes a row.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection, SqlitePool};

use super::fault::Place;
use super::rows::{self, json};
use crate::error::Result;
use crate::model::{AuditEntry, TenantId};

pub(super) const APPEND: &str = "INSERT INTO audit_logs (at, tenant_id, actor, action, target, outcome, \
    correlation_id, detail) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
pub(super) const NEWEST: &str = "SELECT CAST(seq AS TEXT) AS id, at, tenant_id, actor, action, target, outcome, \
    correlation_id, detail FROM audit_logs WHERE tenant_id = $1 ORDER BY seq DESC LIMIT $2";

pub(super) async fn append(tx: &mut SqliteConnection, at: Place<'_>, entry: &AuditEntry) -> Result<()> {
    sqlx::query(APPEND)
        .bind(entry.at.as_microsecond())
        .bind(entry.tenant_id.as_str())
        .bind(&entry.actor)
        .bind(&entry.action)
        .bind(&entry.target)
        .bind(&entry.outcome)
        .bind(&entry.correlation_id)
        .bind(json(at, &entry.detail)?)
        .execute(tx)
        .await
        .map_err(|e| at.writing(e))?;
    Ok(())
}

pub(super) async fn newest(
    pool: &SqlitePool,
    at: Place<'_>,
    tenant: &TenantId,
    limit: u32,
) -> Result<Vec<AuditEntry>> {
    let rows = sqlx::query(NEWEST)
        .bind(tenant.as_str())
        .bind(limit)
        .fetch_all(pool)
        .await
        .map_err(|e| at.reading(e))?;
    rows.iter().map(|row| rows::decode(at, row, entry)).collect()
}

fn entry(row: &SqliteRow) -> Result<AuditEntry, Box<dyn std::error::Error + Send + Sync>> {
    Ok(AuditEntry {
        at: rows::time(row.try_get("at")?)?,
        tenant_id: TenantId::new(row.try_get("tenant_id")?)?,
        actor: row.try_get("actor")?,
        action: row.try_get("action")?,
        target: row.try_get("target")?,
        outcome: row.try_get("outcome")?,
        correlation_id: row.try_get("correlation_id")?,
        detail: serde_json::from_str(row.try_get("detail")?)?,
    })
}
