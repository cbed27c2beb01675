//! The audit trail as a whole: chaining rows of older versions, following the chains, retention, legal hold.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection, SqlitePool};

use super::audit::{self, BROKEN, Stored};
use super::fault::DatabaseFile;
use super::opening::reconcile;
use super::rows::{self, signed, unsigned};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{AuditEntry, ChainReport, TenantId};
use crate::store::anchor::{Anchor, Tip};
use crate::store::chain::{self, Chain, Follower, Raw, hex};
use crate::store::signing::SigningKey;

/// All of them: for background jobs.
pub(super) const CHAINS: &str = "SELECT tenant_id AS id, ordinal, first_number, first_hash, last_number, last_hash, \
    hold, key_id, signature FROM audit_chains ORDER BY tenant_id";
/// Rows of a tenant from a number on, in order.
pub(super) const ROWS: &str = "SELECT at, tenant_id, actor, action, target, outcome, correlation_id, detail, number, \
    hash FROM audit_logs WHERE tenant_id = $1 AND number > $2 ORDER BY number LIMIT $3";
pub(super) const UNCHAINED: &str = "SELECT seq, at, tenant_id, actor, action, target, outcome, correlation_id, detail \
    FROM audit_logs WHERE hash IS NULL ORDER BY seq LIMIT 500";
pub(super) const ENTER: &str = "UPDATE audit_logs SET number = $2, hash = $3 WHERE seq = $1";
pub(super) const STRAY: &str = "SELECT count(*) FROM audit_logs WHERE hash IS NULL";
/// The ends of the oldest rows that are kept, in order.
pub(super) const OLDEST: &str =
    "SELECT number, hash, at FROM audit_logs WHERE tenant_id = $1 AND number >= $2 ORDER BY number LIMIT $3";
pub(super) const REMOVE: &str = "DELETE FROM audit_logs WHERE tenant_id = $1 AND number < $2";

/// Rows that are read at once.
const PAGE: i64 = 1000;

/// Chains the rows that a version without chains has written, once: later, a row without a hash is one that the gateway did
/// not write.
pub(super) async fn adopt(tx: &mut SqliteConnection, at: DatabaseFile<'_>, key: &SigningKey) -> Result<()> {
    let mut chains: Vec<(String, Chain)> = Vec::new();
    loop {
        let rows = sqlx::query(UNCHAINED).fetch_all(&mut *tx).await.map_err(|e| at.reading(e))?;
        if rows.is_empty() {
            break;
        }
        for row in &rows {
            let raw = raw(row).map_err(|e| at.reading(e))?;
            let known = chains.iter().position(|(tenant, _)| tenant == raw.tenant);
            let place = known.unwrap_or(chains.len());
            if known.is_none() {
                chains.push((raw.tenant.to_owned(), Chain::new(&TenantId::new(raw.tenant)?)));
            }
            let (number, hash) = chains[place].1.push(&raw);
            let entering = sqlx::query(ENTER)
                .bind(row.try_get::<i64, _>("seq").map_err(|e| at.reading(e))?)
                .bind(signed(number))
                .bind(&hash[..]);
            entering.execute(&mut *tx).await.map_err(|e| at.writing(e))?;
        }
    }
    for ((tenant, chain), ordinal) in chains.iter().zip(1..) {
        audit::save(tx, at, key, tenant, chain, ordinal).await?;
    }
    audit::count(tx, at, key, chains.len() as u64).await
}

/// Follows the chain of `tenant`, or all chains, from beginning to end, in one snapshot.
pub(super) async fn verify(
    pool: &SqlitePool,
    at: DatabaseFile<'_>,
    anchor: &Anchor,
    tenant: Option<&TenantId>,
) -> Result<Vec<ChainReport>> {
    // Before the snapshot, which then reaches as far at least.
    let mut tips = anchor.tips();
    let asked = |name: &str| tenant.is_none_or(|tenant| tenant.as_str() == name);
    let mut tx = pool.begin().await.map_err(|e| at.reading(e))?;
    let rows = sqlx::query(CHAINS).fetch_all(&mut *tx).await.map_err(|e| at.reading(e))?;
    let mut reports = Vec::new();
    for row in &rows {
        let name: String = row.try_get("id").map_err(|e| at.reading(e))?;
        let tip = tips.remove(&name);
        if asked(&name) {
            let stored = rows::decode(at, row, audit::stored)?;
            reports.push(follow(&mut tx, at, anchor.key(), name, &stored, tip).await?);
        }
    }
    for (name, tip) in tips.into_iter().filter(|(name, _)| asked(name)) {
        let problem = reconcile::chain_missing(&name, tip);
        reports.push(ChainReport { tenant_id: name, ..finding(anchor.key(), problem) });
    }
    if let Some(problem) = whole(&mut tx, at, anchor.key(), rows.len()).await? {
        reports.push(finding(anchor.key(), problem));
    }
    Ok(reports)
}

/// The report of a problem that is not one chain's.
pub(super) fn finding(key: &SigningKey, problem: String) -> ChainReport {
    ChainReport {
        tenant_id: "*".into(),
        first: 0,
        last: 0,
        hash: String::new(),
        key_id: key.id().to_owned(),
        hold: false,
        row: None,
        problem: Some(problem),
    }
}

/// The fault of the trail as a whole, if it has one.
async fn whole(
    tx: &mut SqliteConnection,
    at: DatabaseFile<'_>,
    key: &SigningKey,
    found: usize,
) -> Result<Option<String>> {
    let stray: i64 = sqlx::query_scalar(STRAY).fetch_one(&mut *tx).await.map_err(|e| at.reading(e))?;
    if stray > 0 {
        return Ok(Some(format!("{stray} rows have no hash: the gateway did not write them")));
    }
    let Some(row) = sqlx::query(audit::TRAIL).fetch_optional(tx).await.map_err(|e| at.reading(e))? else {
        return Ok(Some("the count of the chains is missing".into()));
    };
    let read = || {
        Ok::<_, sqlx::Error>((
            row.try_get("chains")?,
            row.try_get::<String, _>("key_id")?,
            row.try_get("signature")?,
        ))
    };
    let Ok((chains, by, signature)) = read() else {
        return Ok(Some("the count of the chains cannot be read: it was changed".into()));
    };
    let (chains, signature): (u64, Vec<u8>) = (unsigned(chains), signature);
    if by == key.id() && !key.signed(&chain::trail_statement(chains), &signature) {
        return Ok(Some("the count of the chains was changed".into()));
    }
    Ok((chains != found as u64).then(|| format!("there are {found} chains, and there were {chains}")))
}

async fn follow(
    tx: &mut SqliteConnection,
    at: DatabaseFile<'_>,
    key: &SigningKey,
    tenant: String,
    stored: &Stored,
    tip: Option<Tip>,
) -> Result<ChainReport> {
    let chain = &stored.chain;
    let mut found = walk(tx, at, &tenant, chain).await?;
    if found.is_none() && !stored.holds(key, &tenant) {
        found = Some(if stored.key_id == key.id() {
            (chain.last_number, "is not the end that was signed: the beginning or the end was changed".into())
        } else {
            let what = "is signed by another key than the one beside the database; verify with that one";
            (chain.last_number, what.into())
        });
    }
    let (row, problem) = match (found, tip) {
        (Some((row, what)), _) => (Some(row), Some(format!("row {row} {what}"))),
        (None, Some(tip)) => {
            let missing = reconcile::end_missing(tx, at, &tenant, chain, tip).await?;
            (missing.as_ref().map(|_| tip.number), missing)
        }
        (None, None) => (None, None),
    };
    Ok(ChainReport {
        tenant_id: tenant,
        first: chain.first_number,
        last: chain.last_number,
        hash: hex(&chain.last_hash),
        key_id: stored.key_id.clone(),
        hold: chain.hold,
        row,
        problem,
    })
}

/// The first row that is wrong, and how.
async fn walk(
    tx: &mut SqliteConnection,
    at: DatabaseFile<'_>,
    tenant: &str,
    chain: &Chain,
) -> Result<Option<(u64, String)>> {
    let mut follower = Follower::new(chain);
    let mut broken = None;
    let mut last = 0;
    loop {
        let page = sqlx::query(ROWS).bind(tenant).bind(last).bind(PAGE).fetch_all(&mut *tx).await;
        let page = page.map_err(|e| at.reading(e))?;
        for row in &page {
            last = row.try_get("number").map_err(|e| at.reading(e))?;
            let read = raw(row).and_then(|raw| Ok((raw, row.try_get::<&[u8], _>("hash")?)));
            let Ok((raw, hash)) = read else {
                return Ok(Some((unsigned(last), "cannot be read: it was changed".into())));
            };
            if let Err((row, what)) = follower.take(unsigned(last), &raw, hash) {
                return Ok(Some((row, what.into())));
            }
            if raw.action == BROKEN {
                broken.get_or_insert_with(|| {
                    let what = "tells that the chain's signature did not hold when it was written: \
                        something before it may have been cut off";
                    (unsigned(last), what.to_owned())
                });
            }
        }
        if page.is_empty() {
            break;
        }
    }
    Ok(follower.finish(chain).err().map(|(row, what)| (row, what.into())).or(broken))
}

/// Removes at most `most` rows older than `before` from the beginnings of chains that are not on hold; says how many.
pub(super) async fn retain(
    tx: &mut SqliteConnection,
    at: DatabaseFile<'_>,
    key: &SigningKey,
    before: Timestamp,
    most: u32,
) -> Result<u64> {
    let rows = sqlx::query(CHAINS).fetch_all(&mut *tx).await.map_err(|e| at.reading(e))?;
    let mut left = i64::from(most);
    for row in &rows {
        let tenant: String = row.try_get("id").map_err(|e| at.reading(e))?;
        let mut stored = rows::decode(at, row, audit::stored)?;
        // Of a chain that was tampered with nothing more goes.
        if left == 0 || stored.chain.hold || !stored.holds(key, &tenant) {
            continue;
        }
        let first = signed(stored.chain.first_number);
        let oldest = sqlx::query(OLDEST).bind(&tenant).bind(first).bind(left).fetch_all(&mut *tx).await;
        let oldest = oldest.map_err(|e| at.reading(e))?;
        let old = oldest
            .iter()
            .take_while(|row| row.try_get::<i64, _>("at").is_ok_and(|at| at < before.as_microsecond()));
        let Some(last) = old.last() else { continue };
        let (Ok(hash), Ok(number)) = (last.try_get::<&[u8], _>("hash"), last.try_get("number")) else {
            continue;
        };
        let Ok(hash) = hash.try_into() else { continue };
        stored.chain.begin_after(unsigned(number), hash);
        audit::save(tx, at, key, &tenant, &stored.chain, stored.ordinal).await?;
        let removing = sqlx::query(REMOVE).bind(&tenant).bind(signed(stored.chain.first_number));
        let removed = removing.execute(&mut *tx).await.map_err(|e| at.writing(e))?.rows_affected();
        left -= i64::try_from(removed).unwrap_or(left).min(left);
    }
    Ok(u64::from(most) - unsigned(left))
}

/// Puts a tenant's chain on hold, or ends that, and writes the row that tells of it.
pub(super) async fn hold(
    tx: &mut SqliteConnection,
    at: DatabaseFile<'_>,
    anchor: &Anchor,
    hold: bool,
    entry: &AuditEntry,
) -> Result<BTreeMap<String, Tip>> {
    let tips = audit::append(tx, at, anchor, std::slice::from_ref(entry)).await?;
    let tenant = entry.tenant_id.as_str();
    let stored = audit::load(tx, at, tenant).await?;
    let mut stored = stored.ok_or_else(|| Error::new(ErrorKind::Internal, "a chain was not written"))?;
    stored.chain.hold = hold;
    audit::save(tx, at, anchor.key(), tenant, &stored.chain, stored.ordinal).await?;
    Ok(tips)
}

fn raw(row: &SqliteRow) -> sqlx::Result<Raw<'_>> {
    Ok(Raw {
        at: row.try_get("at")?,
        tenant: row.try_get("tenant_id")?,
        actor: row.try_get("actor")?,
        action: row.try_get("action")?,
        target: row.try_get("target")?,
        outcome: row.try_get("outcome")?,
        correlation_id: row.try_get("correlation_id")?,
        detail: row.try_get("detail")?,
    })
}
