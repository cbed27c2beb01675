//! The table `mcp_idempotency_keys`.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::fault::DatabaseFile;
use super::rows;
use crate::error::Result;
use crate::store::once::{self, Done, ONCE_ROWS, Once};

pub(super) const FORGET: &str = "DELETE FROM mcp_idempotency_keys WHERE at <= $1";
pub(super) const DONE: &str = "SELECT server_id AS id, request, answer FROM mcp_idempotency_keys \
    WHERE tenant_id = $1 AND subject = $2 AND key = $3";
pub(super) const KEEP: &str = "INSERT INTO mcp_idempotency_keys (tenant_id, subject, key, request, server_id, answer, at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7)";
/// Removes the oldest row of a tenant that has one too many. Rows are added one by one, so that one is enough.
pub(super) const BOUND: &str = "DELETE FROM mcp_idempotency_keys WHERE seq = \
    (SELECT seq FROM mcp_idempotency_keys WHERE tenant_id = $1 ORDER BY seq DESC LIMIT 1 OFFSET $2)";

/// The earlier creation under this key. The same key for another request is an error.
pub(super) async fn done(
    tx: &mut SqliteConnection,
    at: DatabaseFile<'_>,
    once: &Once,
) -> Result<Option<Done>> {
    let forgotten = once.forgotten().as_microsecond();
    sqlx::query(FORGET).bind(forgotten).execute(&mut *tx).await.map_err(|e| at.writing(e))?;
    let row = sqlx::query(DONE)
        .bind(once.tenant_id.as_str())
        .bind(&once.subject)
        .bind(&once.key)
        .fetch_optional(tx)
        .await
        .map_err(|e| at.writing(e))?;
    let Some(row) = row else { return Ok(None) };
    let (request, done) = rows::decode(at, &row, read)?;
    if request == once.request { Ok(Some(done)) } else { Err(once::key_reused(&once.key)) }
}

pub(super) async fn keep(
    tx: &mut SqliteConnection,
    at: DatabaseFile<'_>,
    once: &Once,
    made: &str,
) -> Result<()> {
    sqlx::query(KEEP)
        .bind(once.tenant_id.as_str())
        .bind(&once.subject)
        .bind(&once.key)
        .bind(&once.request)
        .bind(made)
        .bind(&once.answer)
        .bind(once.at.as_microsecond())
        .execute(&mut *tx)
        .await
        .map_err(|e| at.writing(e))?;
    let most = rows::signed(ONCE_ROWS as u64);
    let tenant = once.tenant_id.as_str();
    sqlx::query(BOUND).bind(tenant).bind(most).execute(tx).await.map_err(|e| at.writing(e))?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<(String, Done), Box<dyn std::error::Error + Send + Sync>> {
    let done = Done { made: row.try_get("id")?, answer: row.try_get("answer")? };
    Ok((row.try_get("request")?, done))
}
