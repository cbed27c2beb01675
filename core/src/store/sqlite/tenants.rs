//! The table `tenants`.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection, SqlitePool};

use super::fault::DatabaseFile;
use super::rows::{self, signed, unsigned};
use crate::error::Result;
use crate::model::{Tenant, TenantId};
use crate::store::{tenant_changed, tenant_taken};

const ALL: &str = "SELECT id, display_name, status, created_at, max(created_at, updated_at) AS updated_at, revision \
    FROM tenants ORDER BY id";
const INSERT: &str = "INSERT INTO tenants (id, display_name, status, created_at, updated_at, revision) \
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
const UPDATE: &str = "UPDATE tenants SET display_name = $2, status = $3, updated_at = $4, revision = $5 \
    WHERE id = $1 AND revision = $6";

pub(super) async fn all(pool: &SqlitePool, at: DatabaseFile<'_>) -> Result<Vec<Tenant>> {
    let rows = sqlx::query(ALL).fetch_all(pool).await.map_err(|e| at.reading(e))?;
    rows.iter().map(|row| rows::decode(at, row, tenant)).collect()
}

pub(super) async fn put(
    tx: &mut SqliteConnection,
    at: DatabaseFile<'_>,
    tenant: &Tenant,
    expected: Option<u64>,
) -> Result<()> {
    let statement = match expected {
        None => sqlx::query(INSERT)
            .bind(tenant.id.as_str())
            .bind(&tenant.display_name)
            .bind(tenant.status.as_str())
            .bind(tenant.created_at.as_microsecond())
            .bind(tenant.updated_at.as_microsecond())
            .bind(signed(tenant.revision)),
        Some(expected) => sqlx::query(UPDATE)
            .bind(tenant.id.as_str())
            .bind(&tenant.display_name)
            .bind(tenant.status.as_str())
            .bind(tenant.updated_at.as_microsecond())
            .bind(signed(tenant.revision))
            .bind(signed(expected)),
    };
    let done = statement.execute(tx).await.map_err(|e| at.writing(e))?;
    match (done.rows_affected(), expected) {
        (0, None) => Err(tenant_taken(&tenant.id)),
        (0, Some(_)) => Err(tenant_changed(&tenant.id)),
        _ => Ok(()),
    }
}

fn tenant(row: &SqliteRow) -> Result<Tenant, Box<dyn std::error::Error + Send + Sync>> {
    Ok(Tenant {
        id: TenantId::new(row.try_get("id")?)?,
        display_name: row.try_get("display_name")?,
        status: row.try_get::<&str, _>("status")?.parse()?,
        created_at: rows::time(row.try_get("created_at")?)?,
        updated_at: rows::time(row.try_get("updated_at")?)?,
        revision: unsigned(row.try_get("revision")?),
    })
}
