//! The table `mcp_servers`.

use jiff::Timestamp;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Sqlite, SqliteConnection, SqlitePool};

use super::fault::DatabaseFile;
use super::rows::{self, json, signed, unsigned};
use crate::error::Result;
use crate::model::{Server, ServerId, TenantId};
use crate::store::{changed, name_taken, no_server};

pub(super) const INSERT: &str = "INSERT INTO mcp_servers (id, tenant_id, name, service, endpoint, transport_type, \
    version, display_name, description, tags, weight, auto_discover, health_check, configuration, status, \
    health_status, last_health_check, created_at, updated_at, revision) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)";
pub(super) const UPDATE: &str = "UPDATE mcp_servers SET service = $4, endpoint = $5, transport_type = $6, \
    version = $7, display_name = $8, description = $9, tags = $10, weight = $11, auto_discover = $12, \
    health_check = $13, configuration = $14, status = $15, updated_at = $16, revision = $17 \
    WHERE id = $1 AND tenant_id = $2 AND revision = $3 AND deleted_at IS NULL";
pub(super) const REMOVE: &str = "UPDATE mcp_servers SET deleted_at = $3, updated_at = $3, initialize = NULL \
    WHERE id = $1 AND tenant_id = $2 AND deleted_at IS NULL";
pub(super) const REVOKE: &str =
    "UPDATE mcp_api_keys SET revoked_at = $2 WHERE server_id = $1 AND revoked_at IS NULL";
pub(super) const REVISION: &str =
    "SELECT revision FROM mcp_servers WHERE id = $1 AND tenant_id = $2 AND deleted_at IS NULL";
pub(super) const LIVING: &str = "SELECT id, tenant_id, name, service, endpoint, transport_type, version, \
    display_name, description, tags, weight, auto_discover, health_check, configuration, status, health_status, \
    last_health_check, created_at, updated_at, revision FROM mcp_servers WHERE deleted_at IS NULL ORDER BY seq";

type Statement<'q> = Query<'q, Sqlite, SqliteArguments>;

/// The columns of a server that can be changed, in the order in which both statements name them.
fn described<'q>(
    statement: Statement<'q>,
    at: DatabaseFile<'_>,
    server: &'q Server,
) -> Result<Statement<'q>> {
    Ok(statement
        .bind(server.service.as_str())
        .bind(json(at, &server.endpoint)?)
        .bind(server.transport_type.as_str())
        .bind(&server.version)
        .bind(&server.display_name)
        .bind(&server.description)
        .bind(json(at, &server.tags)?)
        .bind(server.weight)
        .bind(server.auto_discover)
        .bind(json(at, &server.health_check)?)
        .bind(json(at, &server.configuration)?))
}

pub(super) async fn insert(tx: &mut SqliteConnection, at: DatabaseFile<'_>, server: &Server) -> Result<()> {
    sqlx::query("INSERT INTO tenants (id, created_at) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(server.tenant_id.as_str())
        .bind(server.created_at.as_microsecond())
        .execute(&mut *tx)
        .await
        .map_err(|e| at.writing(e))?;
    let insert =
        sqlx::query(INSERT).bind(server.id.to_string()).bind(server.tenant_id.as_str()).bind(&server.name);
    described(insert, at, server)?
        .bind(server.status.as_str())
        .bind(server.health_status.as_str())
        .bind(server.last_health_check.map(Timestamp::as_microsecond))
        .bind(server.created_at.as_microsecond())
        .bind(server.updated_at.as_microsecond())
        .bind(signed(server.revision))
        .execute(tx)
        .await
        .map_err(|error| match error.as_database_error() {
            Some(cause) if cause.is_unique_violation() => name_taken(&server.name),
            _ => at.writing(error),
        })?;
    Ok(())
}

pub(super) async fn update(
    tx: &mut SqliteConnection,
    at: DatabaseFile<'_>,
    server: &Server,
    expected: u64,
) -> Result<()> {
    let update = sqlx::query(UPDATE)
        .bind(server.id.to_string())
        .bind(server.tenant_id.as_str())
        .bind(signed(expected));
    let done = described(update, at, server)?
        .bind(server.status.as_str())
        .bind(server.updated_at.as_microsecond())
        .bind(signed(server.revision))
        .execute(&mut *tx)
        .await
        .map_err(|e| at.writing(e))?;
    if done.rows_affected() == 1 {
        return Ok(());
    }
    let revision = require(tx, at, &server.tenant_id, server.id).await?;
    Err(changed(server.id, revision))
}

/// The revision of a living server of this tenant, or `NotFound`.
pub(super) async fn require(
    tx: &mut SqliteConnection,
    at: DatabaseFile<'_>,
    tenant: &TenantId,
    id: ServerId,
) -> Result<u64> {
    let found: Option<i64> = sqlx::query_scalar(REVISION)
        .bind(id.to_string())
        .bind(tenant.as_str())
        .fetch_optional(tx)
        .await
        .map_err(|e| at.reading(e))?;
    found.map(unsigned).ok_or_else(|| no_server(id))
}

pub(super) async fn remove(
    tx: &mut SqliteConnection,
    at: DatabaseFile<'_>,
    tenant: &TenantId,
    id: ServerId,
    when: Timestamp,
) -> Result<()> {
    let key = id.to_string();
    let done = sqlx::query(REMOVE)
        .bind(&key)
        .bind(tenant.as_str())
        .bind(when.as_microsecond())
        .execute(&mut *tx)
        .await
        .map_err(|e| at.writing(e))?;
    if done.rows_affected() == 0 {
        return Err(no_server(id));
    }
    sqlx::query(REVOKE)
        .bind(&key)
        .bind(when.as_microsecond())
        .execute(&mut *tx)
        .await
        .map_err(|e| at.writing(e))?;
    super::keys::changed(tx, at).await?;
    for forget in [super::listings::FORGET, super::health::FORGET, super::credentials::FORGET] {
        sqlx::query(forget).bind(&key).execute(&mut *tx).await.map_err(|e| at.writing(e))?;
    }
    Ok(())
}

pub(super) async fn all(pool: &SqlitePool, at: DatabaseFile<'_>) -> Result<Vec<Server>> {
    let rows = sqlx::query(LIVING).fetch_all(pool).await.map_err(|e| at.reading(e))?;
    rows.iter().map(|row| rows::decode(at, row, rows::server)).collect()
}
