//! The table `mcp_api_keys`.

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection, SqlitePool};

use super::SqliteStore;
use super::fault::DatabaseFile;
use super::once;
use super::rows::{self, json, signed, unsigned};
use crate::error::Result;
use crate::model::{ApiKey, AuditEntry, KeyHash, KeyId, TenantId};
use crate::store::ChangeKind;
use crate::store::keys::{KeyPage, KeyStore, KeyUse, no_key, replaced};
use crate::store::once::{Done, Once};

macro_rules! columns {
    () => {
        "id, tenant_id, server_id, name, subject, role, scopes, key_hash, hint, requests_per_minute, created_by, \
         created_at, expires_at, last_used_at, uses, rotated_to, revoked_at"
    };
}

const INSERT: &str = concat!(
    "INSERT INTO mcp_api_keys (",
    columns!(),
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)"
);
pub(super) const ROTATE: &str = "UPDATE mcp_api_keys SET rotated_to = $3, expires_at = min(expires_at, $4) \
    WHERE id = $1 AND tenant_id = $2 AND revoked_at IS NULL AND rotated_to IS NULL";
pub(super) const REVOKE: &str =
    "UPDATE mcp_api_keys SET revoked_at = $3 WHERE id = $1 AND tenant_id = $2 AND revoked_at IS NULL";
const LIVING: &str = concat!("SELECT ", columns!(), " FROM mcp_api_keys WHERE revoked_at IS NULL");
pub(super) const ONE: &str =
    concat!("SELECT ", columns!(), " FROM mcp_api_keys WHERE id = $1 AND tenant_id = $2");
pub(super) const PAGE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM mcp_api_keys WHERE tenant_id = $1 ORDER BY created_at DESC, rowid DESC LIMIT $2 OFFSET $3"
);
pub(super) const COUNT: &str = "SELECT count(*) FROM mcp_api_keys WHERE tenant_id = $1";
pub(super) const REVISION: &str = "SELECT revision FROM mcp_api_key_changes WHERE id = 1";
const CHANGED: &str = "UPDATE mcp_api_key_changes SET revision = revision + 1 WHERE id = 1";
pub(super) const USED: &str = "UPDATE mcp_api_keys SET uses = uses + $2, last_used_at = max(coalesce(last_used_at, $3), $3) \
    WHERE id = $1";

/// Says that keys changed, to every process.
pub(super) async fn changed(tx: &mut SqliteConnection, at: DatabaseFile<'_>) -> Result<()> {
    sqlx::query(CHANGED).execute(tx).await.map_err(|e| at.writing(e))?;
    Ok(())
}

async fn insert(tx: &mut SqliteConnection, at: DatabaseFile<'_>, key: &ApiKey) -> Result<()> {
    sqlx::query("INSERT INTO tenants (id, created_at) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(key.tenant_id.as_str())
        .bind(key.created_at.as_microsecond())
        .execute(&mut *tx)
        .await
        .map_err(|e| at.writing(e))?;
    sqlx::query(INSERT)
        .bind(key.id.to_string())
        .bind(key.tenant_id.as_str())
        .bind(key.server_id.map(|id| id.to_string()))
        .bind(&key.name)
        .bind(&key.subject)
        .bind(key.role.as_str())
        .bind(json(at, &key.scopes)?)
        .bind(&key.hash.0[..])
        .bind(&key.hint)
        .bind(key.requests_per_minute)
        .bind(&key.created_by)
        .bind(key.created_at.as_microsecond())
        .bind(key.expires_at.as_microsecond())
        .bind(key.last_used_at.map(Timestamp::as_microsecond))
        .bind(signed(key.uses))
        .bind(key.rotated_to.map(|id| id.to_string()))
        .bind(key.revoked_at.map(Timestamp::as_microsecond))
        .execute(&mut *tx)
        .await
        .map_err(|e| at.writing(e))?;
    changed(tx, at).await
}

async fn exists(tx: &mut SqliteConnection, at: DatabaseFile<'_>, tenant: &TenantId, id: KeyId) -> Result<()> {
    let found = sqlx::query(ONE)
        .bind(id.to_string())
        .bind(tenant.as_str())
        .fetch_optional(tx)
        .await
        .map_err(|e| at.reading(e))?;
    found.map(|_| ()).ok_or_else(|| no_key(id))
}

/// The number of changes of keys, by any process.
pub(super) async fn revision(readers: &SqlitePool, at: DatabaseFile<'_>) -> Result<u64> {
    let revision: i64 = sqlx::query_scalar(REVISION).fetch_one(readers).await.map_err(|e| at.reading(e))?;
    Ok(unsigned(revision))
}

#[async_trait]
impl KeyStore for SqliteStore {
    async fn insert_key(&self, key: &ApiKey, entry: &AuditEntry) -> Result<()> {
        let mut tx = self.change(&[ChangeKind::Keys]).await?;
        let outcome = async {
            insert(&mut tx, self.place(), key).await?;
            self.log(&mut tx, entry).await
        }
        .await;
        tx.end(outcome).await
    }

    async fn insert_key_once(&self, key: &ApiKey, entry: &AuditEntry, once: &Once) -> Result<Option<Done>> {
        let mut tx = self.change(&[ChangeKind::Keys]).await?;
        let outcome = async {
            if let Some(done) = once::done(&mut tx, self.place(), once).await? {
                return Ok(Some(done));
            }
            insert(&mut tx, self.place(), key).await?;
            once::keep(&mut tx, self.place(), once, &key.id.to_string()).await?;
            self.log(&mut tx, entry).await?;
            Ok(None)
        }
        .await;
        tx.end(outcome).await
    }

    async fn rotate_key(&self, old: KeyId, until: Timestamp, new: &ApiKey, entry: &AuditEntry) -> Result<()> {
        let mut tx = self.change(&[ChangeKind::Keys]).await?;
        let outcome = async {
            let done = sqlx::query(ROTATE)
                .bind(old.to_string())
                .bind(new.tenant_id.as_str())
                .bind(new.id.to_string())
                .bind(until.as_microsecond())
                .execute(&mut *tx)
                .await
                .map_err(|e| self.place().writing(e))?;
            if done.rows_affected() == 0 {
                exists(&mut tx, self.place(), &new.tenant_id, old).await?;
                return Err(replaced(old));
            }
            insert(&mut tx, self.place(), new).await?;
            self.log(&mut tx, entry).await
        }
        .await;
        tx.end(outcome).await
    }

    async fn revoke_key(
        &self,
        tenant: &TenantId,
        id: KeyId,
        at: Timestamp,
        entry: &AuditEntry,
    ) -> Result<()> {
        let mut tx = self.change(&[ChangeKind::Keys]).await?;
        let outcome = async {
            let done = sqlx::query(REVOKE)
                .bind(id.to_string())
                .bind(tenant.as_str())
                .bind(at.as_microsecond())
                .execute(&mut *tx)
                .await
                .map_err(|e| self.place().writing(e))?;
            if done.rows_affected() == 0 {
                return exists(&mut tx, self.place(), tenant, id).await;
            }
            changed(&mut tx, self.place()).await?;
            self.log(&mut tx, entry).await
        }
        .await;
        tx.end(outcome).await
    }

    async fn living_keys(&self) -> Result<Vec<ApiKey>> {
        let at = self.place();
        let found = sqlx::query(LIVING).fetch_all(&self.readers).await.map_err(|e| at.reading(e))?;
        found.iter().map(|row| rows::decode(at, row, key)).collect()
    }

    async fn key(&self, tenant: &TenantId, id: KeyId) -> Result<Option<ApiKey>> {
        let at = self.place();
        let found = sqlx::query(ONE)
            .bind(id.to_string())
            .bind(tenant.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(|e| at.reading(e))?;
        found.map(|row| rows::decode(at, &row, key)).transpose()
    }

    async fn keys(&self, tenant: &TenantId, offset: u64, limit: u32) -> Result<KeyPage> {
        let at = self.place();
        let found = sqlx::query(PAGE)
            .bind(tenant.as_str())
            .bind(limit)
            .bind(signed(offset))
            .fetch_all(&self.readers)
            .await
            .map_err(|e| at.reading(e))?;
        let total: i64 = sqlx::query_scalar(COUNT)
            .bind(tenant.as_str())
            .fetch_one(&self.readers)
            .await
            .map_err(|e| at.reading(e))?;
        let keys = found.iter().map(|row| rows::decode(at, row, key)).collect::<Result<_>>()?;
        Ok(KeyPage { keys, total: unsigned(total) })
    }

    async fn keys_revision(&self) -> Result<u64> {
        revision(&self.readers, self.place()).await
    }

    async fn record_key_uses(&self, uses: &[KeyUse]) -> Result<()> {
        if uses.is_empty() {
            return Ok(());
        }
        let mut tx = self.write().await?;
        let outcome = async {
            for used in uses {
                sqlx::query(USED)
                    .bind(used.id.to_string())
                    .bind(signed(used.count))
                    .bind(used.last.as_microsecond())
                    .execute(&mut *tx)
                    .await
                    .map_err(|e| self.place().writing(e))?;
            }
            Ok(())
        }
        .await;
        tx.end(outcome).await
    }
}

fn key(row: &SqliteRow) -> Result<ApiKey, Box<dyn std::error::Error + Send + Sync>> {
    let text = |column: &str| row.try_get::<&str, _>(column);
    let optional = |column: &str| row.try_get::<Option<&str>, _>(column);
    let moment =
        |column: &str| row.try_get::<Option<i64>, _>(column).map(|at| at.map(rows::time).transpose());
    let hash: &[u8] = row.try_get("key_hash")?;
    Ok(ApiKey {
        id: text("id")?.parse()?,
        tenant_id: TenantId::new(text("tenant_id")?)?,
        name: row.try_get("name")?,
        subject: row.try_get("subject")?,
        role: text("role")?.parse()?,
        scopes: serde_json::from_str(text("scopes")?)?,
        server_id: optional("server_id")?.map(str::parse).transpose()?,
        requests_per_minute: row
            .try_get::<Option<i64>, _>("requests_per_minute")?
            .map(u32::try_from)
            .transpose()?,
        hint: row.try_get("hint")?,
        hash: KeyHash(hash.try_into()?),
        created_by: row.try_get("created_by")?,
        created_at: rows::time(row.try_get("created_at")?)?,
        // A key without an end was not made by this program.
        expires_at: moment("expires_at")??.unwrap_or(Timestamp::UNIX_EPOCH),
        last_used_at: moment("last_used_at")??,
        uses: unsigned(row.try_get("uses")?),
        rotated_to: optional("rotated_to")?.map(str::parse).transpose()?,
        revoked_at: moment("revoked_at")??,
    })
}
