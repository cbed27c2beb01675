//! The table `mcp_state`: which database it is, how many changes it has had, and how many records it has.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::fault::DatabaseFile;
use super::rows::{self, unsigned};
use crate::error::Result;
use crate::store::anchor::{Acknowledged, Counts};

pub(super) const COUNT: &str = "UPDATE mcp_state SET revision = revision + 1 WHERE id = 1 \
    RETURNING database_id AS id, revision, servers, keys, tenants, credentials";
pub(super) const STATE: &str =
    "SELECT database_id AS id, revision, servers, keys, tenants, credentials FROM mcp_state WHERE id = 1";
/// The records that are there; triggers keep the numbers in `mcp_state`.
pub(super) const PRESENT: &str = "SELECT (SELECT count(*) FROM mcp_servers WHERE deleted_at IS NULL) AS servers, \
    (SELECT count(*) FROM mcp_api_keys) AS keys, (SELECT count(*) FROM tenants) AS tenants, \
    (SELECT count(*) FROM mcp_credentials) AS credentials";
pub(super) const RECOUNT: &str =
    "UPDATE mcp_state SET servers = $1, keys = $2, tenants = $3, credentials = $4 WHERE id = 1";

pub(super) const SEALED: &str = "SELECT sealed FROM mcp_state WHERE id = 1";
pub(super) const SEAL: &str = "UPDATE mcp_state SET sealed = 1 WHERE id = 1";

/// Whether all rows have digests; not so, once, in a database of a version without.
pub(super) async fn sealed(tx: &mut SqliteConnection, at: DatabaseFile<'_>) -> Result<bool> {
    sqlx::query_scalar(SEALED).fetch_one(tx).await.map_err(|e| at.reading(e))
}

/// Says that all rows have digests now.
pub(super) async fn seal(tx: &mut SqliteConnection, at: DatabaseFile<'_>) -> Result<()> {
    sqlx::query(SEAL).execute(tx).await.map_err(|e| at.writing(e))?;
    Ok(())
}

/// Counts one change; the state with it.
pub(super) async fn count(tx: &mut SqliteConnection, at: DatabaseFile<'_>) -> Result<Acknowledged> {
    let row = sqlx::query(COUNT).fetch_one(tx).await.map_err(|e| at.writing(e))?;
    rows::decode(at, &row, state)
}

/// The state, without the ends of audit chains.
pub(super) async fn load(tx: &mut SqliteConnection, at: DatabaseFile<'_>) -> Result<Acknowledged> {
    let row = sqlx::query(STATE).fetch_one(tx).await.map_err(|e| at.reading(e))?;
    rows::decode(at, &row, state)
}

/// The numbers of records that are there.
pub(super) async fn present(tx: &mut SqliteConnection, at: DatabaseFile<'_>) -> Result<Counts> {
    let row = sqlx::query(PRESENT).fetch_one(tx).await.map_err(|e| at.reading(e))?;
    rows::decode(at, &row, counts)
}

/// Takes the numbers of records that are there for what there is.
pub(super) async fn recount(tx: &mut SqliteConnection, at: DatabaseFile<'_>, found: Counts) -> Result<()> {
    sqlx::query(RECOUNT)
        .bind(rows::signed(found.servers))
        .bind(rows::signed(found.keys))
        .bind(rows::signed(found.tenants))
        .bind(rows::signed(found.credentials))
        .execute(tx)
        .await
        .map_err(|e| at.writing(e))?;
    Ok(())
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

fn state(row: &SqliteRow) -> Result<Acknowledged, Cause> {
    Ok(Acknowledged {
        database: row.try_get("id")?,
        revision: unsigned(row.try_get("revision")?),
        counts: counts(row)?,
        ..Acknowledged::default()
    })
}

fn counts(row: &SqliteRow) -> Result<Counts, Cause> {
    let number = |column: &str| -> Result<u64, Cause> { Ok(unsigned(row.try_get(column)?)) };
    Ok(Counts {
        servers: number("servers")?,
        keys: number("keys")?,
        tenants: number("tenants")?,
        credentials: number("credentials")?,
    })
}
