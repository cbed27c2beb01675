//! The audit trail: the tables `audit_logs`, `audit_chains` and `audit_trail`. Rows are appended, and removed by retention alone.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection, SqlitePool};

use super::fault::DatabaseFile;
use super::rows::{self, json, signed, unsigned};
use crate::error::Result;
use crate::model::{AuditEntry, AuditQuery, AuditRow, TenantId};
use crate::store::anchor::{Anchor, Tip};
use crate::store::chain::{self, Chain, Hash, Raw, hex};
use crate::store::signing::SigningKey;

pub(super) const APPEND: &str = "INSERT INTO audit_logs (at, tenant_id, actor, action, target, outcome, \
    correlation_id, detail, number, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
/// Rows of one tenant, newest first.
pub(super) const FIND: &str = "SELECT CAST(seq AS TEXT) AS id, at, tenant_id, actor, action, target, outcome, \
    correlation_id, detail, number, hash FROM audit_logs WHERE tenant_id = $1 AND number < $2 \
    AND at >= $3 AND at < $4 AND ($5 IS NULL OR actor = $5) AND ($6 IS NULL OR action = $6) \
    AND ($7 IS NULL OR target = $7) AND ($8 IS NULL OR outcome = $8) ORDER BY number DESC LIMIT $9";
pub(super) const CHAIN: &str = "SELECT tenant_id AS id, ordinal, first_number, first_hash, last_number, last_hash, \
    hold, key_id, signature FROM audit_chains WHERE tenant_id = $1";
pub(super) const TRAIL: &str = "SELECT chains, key_id, signature FROM audit_trail WHERE id = 1";
pub(super) const SAVE: &str = "INSERT INTO audit_chains (tenant_id, ordinal, first_number, first_hash, last_number, \
    last_hash, hold, key_id, signature) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
    ON CONFLICT (tenant_id) DO UPDATE SET first_number = $3, first_hash = $4, last_number = $5, last_hash = $6, \
    hold = $7, key_id = $8, signature = $9";
pub(super) const SAVE_TRAIL: &str = "INSERT INTO audit_trail (id, chains, key_id, signature) VALUES (1, $1, $2, $3) \
    ON CONFLICT (id) DO UPDATE SET chains = $1, key_id = $2, signature = $3";

/// The newest row of a tenant.
pub(super) const NEWEST: &str = "SELECT number, hash FROM audit_logs WHERE tenant_id = $1 AND number > 0 \
    ORDER BY number DESC LIMIT 1";
pub(super) const LAST: &str = "SELECT coalesce(max(ordinal), 0) FROM audit_chains";

/// A chain as it is stored.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) chain: Chain,
    pub(super) ordinal: u64,
    pub(super) key_id: String,
    pub(super) signature: Vec<u8>,
}

impl Stored {
    pub(super) fn holds(&self, key: &SigningKey, tenant: &str) -> bool {
        key.signed(&self.chain.statement(tenant, self.ordinal), &self.signature)
    }
}

/// Writes the rows of one transaction, and signs where their chains end then; says where that is.
pub(super) async fn append(
    tx: &mut SqliteConnection,
    at: DatabaseFile<'_>,
    anchor: &Anchor,
    entries: &[AuditEntry],
) -> Result<BTreeMap<String, Tip>> {
    let mut chains: HashMap<TenantId, (Chain, u64)> = HashMap::new();
    for entry in entries {
        let (chain, _) = match chains.entry(entry.tenant_id.clone()) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(new) => new.insert(open(tx, at, anchor, entry).await?),
        };
        add(tx, at, chain, &entry.bounded()).await?;
    }
    let mut tips = BTreeMap::new();
    for (tenant, (chain, ordinal)) in &chains {
        save(tx, at, anchor.key(), tenant.as_str(), chain, *ordinal).await?;
        tips.insert(tenant.to_string(), Tip { number: chain.last_number, hash: chain.last_hash });
    }
    Ok(tips)
}

/// The chain that `entry` belongs to. A fault of its end is written into it before anything else, since that end is signed anew with
/// the next row: it is not the one that this gateway signed, or rows are missing that it wrote.
async fn open(
    tx: &mut SqliteConnection,
    at: DatabaseFile<'_>,
    anchor: &Anchor,
    entry: &AuditEntry,
) -> Result<(Chain, u64)> {
    let (tenant, key) = (&entry.tenant_id, anchor.key());
    let stored = load(tx, at, tenant.as_str()).await?;
    let (mut chain, ordinal) = match &stored {
        Some(stored) => (stored.chain.clone(), stored.ordinal),
        None => (Chain::new(tenant), next_ordinal(tx, at, key).await?),
    };
    let lost = lost(tx, at, anchor, tenant.as_str(), stored.as_ref()).await?;
    if let Some(tip) = lost {
        chain.end_at(tip.number, tip.hash);
    }
    let fault = match &stored {
        _ if lost.is_some() => Some((BROKEN, "end_missing")),
        Some(stored) if stored.holds(key, tenant.as_str()) => None,
        Some(stored) if stored.key_id == key.id() => Some((BROKEN, "signature_invalid")),
        Some(_) => Some((NEW_KEY, "ok")),
        None => None,
    };
    if let Some((action, outcome)) = fault {
        tracing::error!(%tenant, action, outcome, "the end of the audit trail is not the one that this gateway signed");
        let before = stored.as_ref().map(|stored| &stored.key_id);
        let told = AuditEntry {
            actor: "gateway".into(),
            action: action.into(),
            target: tenant.to_string(),
            outcome: outcome.into(),
            correlation_id: None,
            detail: serde_json::json!({ "key_before": before, "key": key.id() }),
            ..entry.clone()
        };
        add(tx, at, &mut chain, &told).await?;
    }
    Ok((chain, ordinal))
}

/// The end that the chain of `tenant` had, if the database does not have it any more: rows go on after it, and do not take the numbers
/// of others.
async fn lost(
    tx: &mut SqliteConnection,
    at: DatabaseFile<'_>,
    anchor: &Anchor,
    tenant: &str,
    stored: Option<&Stored>,
) -> Result<Option<Tip>> {
    let known = anchor.lost(tenant, stored.map(|stored| &stored.chain));
    if stored.is_some() && known.is_none() {
        return Ok(None);
    }
    // Rows may be left of a chain that is gone.
    let row = sqlx::query(NEWEST).bind(tenant).fetch_optional(tx).await.map_err(|e| at.reading(e))?;
    let left = row.and_then(|row| {
        let hash = row.try_get::<&[u8], _>("hash").ok()?.try_into().ok()?;
        Some(Tip { number: unsigned(row.try_get("number").ok()?), hash })
    });
    Ok(known.into_iter().chain(left).max_by_key(|tip| tip.number))
}

/// Counts one chain more; says how many there are then.
async fn next_ordinal(tx: &mut SqliteConnection, at: DatabaseFile<'_>, key: &SigningKey) -> Result<u64> {
    let last: i64 = sqlx::query_scalar(LAST).fetch_one(&mut *tx).await.map_err(|e| at.reading(e))?;
    let ordinal = chains(tx, at).await?.max(unsigned(last)) + 1;
    count(tx, at, key, ordinal).await?;
    Ok(ordinal)
}

/// The signature of a chain did not hold when the row after it was written.
pub(super) const BROKEN: &str = "audit.broken";
/// The key that signs was another one before this row.
pub(super) const NEW_KEY: &str = "audit.new_key";

async fn add(
    tx: &mut SqliteConnection,
    at: DatabaseFile<'_>,
    chain: &mut Chain,
    entry: &AuditEntry,
) -> Result<()> {
    let detail = json(at, &entry.detail)?;
    let row = Raw::of(entry, &detail);
    let (number, hash) = chain.push(&row);
    sqlx::query(APPEND)
        .bind(row.at)
        .bind(row.tenant)
        .bind(row.actor)
        .bind(row.action)
        .bind(row.target)
        .bind(row.outcome)
        .bind(row.correlation_id)
        .bind(row.detail)
        .bind(signed(number))
        .bind(&hash[..])
        .execute(tx)
        .await
        .map_err(|e| at.writing(e))?;
    Ok(())
}

/// How many chains there are.
pub(super) async fn chains(tx: &mut SqliteConnection, at: DatabaseFile<'_>) -> Result<u64> {
    let row = sqlx::query(TRAIL).fetch_optional(tx).await.map_err(|e| at.reading(e))?;
    let chains = row.map(|row| row.try_get("chains").map(unsigned)).transpose();
    Ok(chains.map_err(|e| at.reading(e))?.unwrap_or_default())
}

/// Writes how many chains there are, signed.
pub(super) async fn count(
    tx: &mut SqliteConnection,
    at: DatabaseFile<'_>,
    key: &SigningKey,
    chains: u64,
) -> Result<()> {
    sqlx::query(SAVE_TRAIL)
        .bind(signed(chains))
        .bind(key.id())
        .bind(key.sign(&chain::trail_statement(chains)))
        .execute(tx)
        .await
        .map_err(|e| at.writing(e))?;
    Ok(())
}

pub(super) async fn load(
    tx: &mut SqliteConnection,
    at: DatabaseFile<'_>,
    tenant: &str,
) -> Result<Option<Stored>> {
    let row = sqlx::query(CHAIN).bind(tenant).fetch_optional(tx).await.map_err(|e| at.reading(e))?;
    row.map(|row| rows::decode(at, &row, stored)).transpose()
}

pub(super) async fn save(
    tx: &mut SqliteConnection,
    at: DatabaseFile<'_>,
    key: &SigningKey,
    tenant: &str,
    chain: &Chain,
    ordinal: u64,
) -> Result<()> {
    sqlx::query(SAVE)
        .bind(tenant)
        .bind(signed(ordinal))
        .bind(signed(chain.first_number))
        .bind(&chain.first_hash[..])
        .bind(signed(chain.last_number))
        .bind(&chain.last_hash[..])
        .bind(chain.hold)
        .bind(key.id())
        .bind(key.sign(&chain.statement(tenant, ordinal)))
        .execute(tx)
        .await
        .map_err(|e| at.writing(e))?;
    Ok(())
}

pub(super) async fn find(
    pool: &SqlitePool,
    at: DatabaseFile<'_>,
    tenant: &TenantId,
    query: &AuditQuery,
) -> Result<Vec<AuditRow>> {
    let rows = sqlx::query(FIND)
        .bind(tenant.as_str())
        .bind(query.before.map_or(i64::MAX, signed))
        .bind(query.from.map_or(i64::MIN, jiff::Timestamp::as_microsecond))
        .bind(query.to.map_or(i64::MAX, jiff::Timestamp::as_microsecond))
        .bind(&query.actor)
        .bind(&query.action)
        .bind(&query.target)
        .bind(&query.outcome)
        .bind(query.limit)
        .fetch_all(pool)
        .await
        .map_err(|e| at.reading(e))?;
    rows.iter().map(|row| rows::decode(at, row, entry)).collect()
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

fn entry(row: &SqliteRow) -> Result<AuditRow, Cause> {
    let entry = AuditEntry {
        at: rows::time(row.try_get("at")?)?,
        tenant_id: TenantId::new(row.try_get("tenant_id")?)?,
        actor: row.try_get("actor")?,
        action: row.try_get("action")?,
        target: row.try_get("target")?,
        outcome: row.try_get("outcome")?,
        correlation_id: row.try_get("correlation_id")?,
        detail: serde_json::from_str(row.try_get("detail")?)?,
    };
    let hash: &[u8] = row.try_get("hash")?;
    Ok(AuditRow { number: unsigned(row.try_get("number")?), entry, hash: hex(hash) })
}

pub(super) fn stored(row: &SqliteRow) -> Result<Stored, Cause> {
    let hash = |column: &str| -> Result<Hash, Cause> { Ok(row.try_get::<&[u8], _>(column)?.try_into()?) };
    let number = |column: &str| -> Result<u64, Cause> { Ok(unsigned(row.try_get(column)?)) };
    Ok(Stored {
        chain: Chain {
            first_number: number("first_number")?,
            first_hash: hash("first_hash")?,
            last_number: number("last_number")?,
            last_hash: hash("last_hash")?,
            hold: row.try_get("hold")?,
        },
        ordinal: number("ordinal")?,
        key_id: row.try_get("key_id")?,
        signature: row.try_get("signature")?,
    })
}
