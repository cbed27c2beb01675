//! Observed health: in `mcp_servers` as it is now, in `mcp_server_health` as it was.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection, SqlitePool};

use super::fault::DatabaseFile;
use super::rows::{self, signed, unsigned};
use crate::error::Result;
use crate::model::{ServerId, TenantId};
use crate::store::{HEALTH_HISTORY, HealthRecord};

pub(super) const FORGET: &str = "DELETE FROM mcp_server_health WHERE server_id = $1";
pub(super) const OBSERVED: &str = "UPDATE mcp_servers SET health_status = $2, last_health_check = $3, \
    health_count = health_count + 1 WHERE id = $1 AND deleted_at IS NULL RETURNING health_count";
/// The ring: a full one overwrites its oldest row, so that no row need ever be searched for and removed.
pub(super) const RECORD: &str = "INSERT INTO mcp_server_health (server_id, slot, seq, at, status, latency_ms, error) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (server_id, slot) DO UPDATE SET seq = excluded.seq, \
    at = excluded.at, status = excluded.status, latency_ms = excluded.latency_ms, error = excluded.error";
pub(super) const HISTORY: &str = "SELECT h.server_id AS id, h.at, h.status, h.latency_ms, h.error \
    FROM mcp_servers s JOIN mcp_server_health h ON h.server_id = s.id \
    WHERE s.id = $1 AND s.tenant_id = $2 AND s.deleted_at IS NULL ORDER BY h.seq DESC LIMIT $3";

pub(super) async fn record(
    tx: &mut SqliteConnection,
    at: DatabaseFile<'_>,
    id: ServerId,
    record: &HealthRecord,
) -> Result<()> {
    let key = id.to_string();
    let count: Option<i64> = sqlx::query_scalar(OBSERVED)
        .bind(&key)
        .bind(record.status.as_str())
        .bind(record.at.as_microsecond())
        .fetch_optional(&mut *tx)
        .await
        .map_err(|e| at.writing(e))?;
    let Some(count) = count else { return Ok(()) };
    sqlx::query(RECORD)
        .bind(&key)
        .bind(count % i64::from(HEALTH_HISTORY))
        .bind(count)
        .bind(record.at.as_microsecond())
        .bind(record.status.as_str())
        .bind(signed(record.latency_ms))
        .bind(&record.error)
        .execute(tx)
        .await
        .map_err(|e| at.writing(e))?;
    Ok(())
}

pub(super) async fn history(
    pool: &SqlitePool,
    at: DatabaseFile<'_>,
    tenant: &TenantId,
    id: ServerId,
    limit: u32,
) -> Result<Vec<HealthRecord>> {
    let rows = sqlx::query(HISTORY)
        .bind(id.to_string())
        .bind(tenant.as_str())
        .bind(limit)
        .fetch_all(pool)
        .await
        .map_err(|e| at.reading(e))?;
    rows.iter().map(|row| rows::decode(at, row, observation)).collect()
}

fn observation(row: &SqliteRow) -> Result<HealthRecord, Box<dyn std::error::Error + Send + Sync>> {
    Ok(HealthRecord {
        at: rows::time(row.try_get("at")?)?,
        status: row.try_get::<&str, _>("status")?.parse()?,
        latency_ms: unsigned(row.try_get("latency_ms")?),
        error: row.try_get("error")?,
    })
}
