//! The database beside its anchor, at each start: does it have what was acknowledged?

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::super::audit::{self, Stored};
use super::super::fault::DatabaseFile;
use super::super::rows::{self, signed};
use super::super::{DataLoss, digest, state, trail};
use crate::clock::SystemClock;
use crate::error::Result;
use crate::model::{AuditEntry, TenantId};
use crate::store::anchor::{Acknowledged, Anchor, Reading, Tip};
use crate::store::chain::Chain;
use crate::store::signing::SigningKey;

/// The hash of one row of a tenant.
pub(super) const HASH: &str = "SELECT hash FROM audit_logs WHERE tenant_id = $1 AND number = $2";
/// Whether nothing was ever written.
pub(super) const BLANK: &str = "SELECT NOT EXISTS (SELECT 1 FROM audit_logs) AND NOT EXISTS (SELECT 1 FROM mcp_servers) \
    AND NOT EXISTS (SELECT 1 FROM mcp_api_keys)";
/// Sentences of a refusal at most; the first ones say enough.
const SENTENCES: usize = 6;

/// Somebody opened the database although it lacked what was acknowledged.
const ACCEPTED: &str = "store.data_loss_accepted";
/// Somebody put a backup in the place of the database.
const RESTORED: &str = "store.restore";
/// The database had audit chains, and no record beside it said where they ended: the version before kept none, or the file was removed.
const ANCHORED: &str = "audit.anchor_made";

/// The facts that opening has besides the database.
pub(super) struct Opening<'a> {
    pub(super) key: &'a Arc<SigningKey>,
    /// Whether there was no key before.
    pub(super) key_made: bool,
    pub(super) recorded: Option<&'a Reading>,
    pub(super) loss: DataLoss,
}

/// The state of a database that was opened.
#[derive(Debug)]
pub(super) struct Settled {
    /// What it has now.
    pub(super) now: Acknowledged,
    /// The changes that it lacks, for a database that was opened to be inspected.
    pub(super) lacks: Vec<String>,
    /// Whether the record of what was acknowledged is to begin anew.
    pub(super) reset: bool,
}

/// The changes that a database lacks.
#[derive(Debug, Default)]
struct Losses {
    sentences: Vec<String>,
    /// Those of audit chains.
    trail: Vec<String>,
    tenants: BTreeSet<String>,
}

impl Losses {
    fn is_empty(&self) -> bool {
        self.sentences.is_empty() && self.trail.is_empty()
    }

    fn all(&self) -> Vec<&str> {
        self.sentences.iter().chain(&self.trail).map(String::as_str).collect()
    }

    fn text(&self) -> String {
        let all = self.all();
        let text = all.iter().take(SENTENCES).copied().collect::<Vec<_>>().join("; ");
        match all.len().saturating_sub(SENTENCES) {
            0 => text,
            more => format!("{text}; and {more} more"),
        }
    }
}

/// Compares the database with its record, refuses it or lets it in, and chains rows of versions that had no chains.
pub(super) async fn settle(
    tx: &mut SqliteConnection,
    at: DatabaseFile<'_>,
    opening: &Opening<'_>,
) -> Result<Settled> {
    let mut losses = damages(tx, at, opening.loss).await?;
    let chains = chains(tx, at).await?;
    let found = state::load(tx, at).await?;
    let trail = sqlx::query(audit::TRAIL).fetch_optional(&mut *tx).await.map_err(|e| at.reading(e))?;
    if let Some(reading) = opening.recorded {
        compare(tx, at, &found, &chains, &reading.says, &mut losses).await?;
    }
    recount(tx, at, &found, &mut losses).await?;
    // Rows are taken for those of a version without chains once: no chain was ever signed here.
    let adopts = trail.is_none()
        && chains.is_empty()
        && opening.recorded.is_none()
        && (opening.key_made || blank(tx, at).await?);
    if trail.is_none() && !adopts {
        losses.trail.push("the audit trail has lost its chains, and rows without a chain are not taken for the gateway's own".into());
    }
    match opening.loss {
        DataLoss::Refuse if !losses.is_empty() => return Err(at.lacks(&losses.text())),
        DataLoss::Inspect => {
            return Ok(Settled { now: with_tips(found, &chains), lacks: losses.sentences, reset: false });
        }
        DataLoss::Refuse | DataLoss::Accept | DataLoss::Restored => {}
    }
    if adopts {
        trail::adopt(tx, at, opening.key).await?;
    } else if trail.is_none() {
        let last = chains.values().map(|stored| stored.ordinal).max();
        audit::count(tx, at, opening.key, last.unwrap_or_default()).await?;
    }
    let reset = opening.loss == DataLoss::Restored || !losses.is_empty();
    if reset {
        let chains = self::chains(tx, at).await?;
        take_as_it_is(tx, at, opening, &chains, &losses).await?;
    } else if opening.recorded.is_none() && !chains.is_empty() {
        let anchor = Anchor::unwritten(Arc::clone(opening.key), BTreeMap::new());
        audit::append(tx, at, &anchor, &[entry(None, ANCHORED, serde_json::json!({}))]).await?;
    }
    let chains = self::chains(tx, at).await?;
    Ok(Settled { now: with_tips(state::load(tx, at).await?, &chains), lacks: Vec::new(), reset })
}

/// What a disk has changed. Where the trees of pages are damaged nothing can be done with the file but to look at it.
async fn damages(tx: &mut SqliteConnection, at: DatabaseFile<'_>, loss: DataLoss) -> Result<Losses> {
    let mut losses = Losses::default();
    if let Some(fault) = digest::damage(tx, at).await? {
        if loss != DataLoss::Inspect {
            return Err(at.damaged(&fault));
        }
        losses.sentences.push(format!("the file is damaged: {fault}"));
    }
    if state::sealed(tx, at).await? {
        losses.sentences.extend(digest::changed(tx, at).await?);
    } else if loss != DataLoss::Inspect {
        digest::seal_all(tx, at).await?;
        state::seal(tx, at).await?;
    }
    Ok(losses)
}

/// All chains, by tenant.
async fn chains(tx: &mut SqliteConnection, at: DatabaseFile<'_>) -> Result<BTreeMap<String, Stored>> {
    let rows = sqlx::query(trail::CHAINS).fetch_all(tx).await.map_err(|e| at.reading(e))?;
    let name = |row: &SqliteRow| row.try_get::<String, _>("id").map_err(|e| at.reading(e));
    rows.iter().map(|row| Ok((name(row)?, rows::decode(at, row, audit::stored)?))).collect()
}

fn with_tips(state: Acknowledged, chains: &BTreeMap<String, Stored>) -> Acknowledged {
    let tip = |stored: &Stored| Tip { number: stored.chain.last_number, hash: stored.chain.last_hash };
    Acknowledged {
        chains: chains.iter().map(|(tenant, stored)| (tenant.clone(), tip(stored))).collect(),
        ..state
    }
}

async fn blank(tx: &mut SqliteConnection, at: DatabaseFile<'_>) -> Result<bool> {
    sqlx::query_scalar(BLANK).fetch_one(tx).await.map_err(|e| at.reading(e))
}

async fn compare(
    tx: &mut SqliteConnection,
    at: DatabaseFile<'_>,
    found: &Acknowledged,
    chains: &BTreeMap<String, Stored>,
    says: &Acknowledged,
    losses: &mut Losses,
) -> Result<()> {
    if found.revision < says.revision {
        losses.sentences.push(format!(
            "the database is at revision {}, and revision {} was acknowledged",
            found.revision, says.revision
        ));
    } else if found.database != says.database {
        losses.sentences.push("it is another database than the one whose changes were acknowledged".into());
    }
    if found.revision <= says.revision {
        for ((one, many, had), (_, _, has)) in says.counts.named().into_iter().zip(found.counts.named()) {
            if has < had {
                losses.sentences.push(missing(had - has, one, many, has, had));
            }
        }
    }
    for (tenant, tip) in &says.chains {
        let problem = match chains.get(tenant) {
            Some(stored) => end_missing(tx, at, tenant, &stored.chain, *tip).await?,
            None => Some(chain_missing(tenant, *tip)),
        };
        if let Some(problem) = problem {
            losses.trail.push(problem);
            losses.tenants.insert(tenant.clone());
        }
    }
    Ok(())
}

fn missing(number: u64, one: &str, many: &str, has: u64, had: u64) -> String {
    let (subject, verb) = if number == 1 { (one, "is") } else { (many, "are") };
    format!("{number} {subject} {verb} missing ({has} of {had} are there)")
}

/// Whether the tables have as many records as were counted when they were written.
async fn recount(
    tx: &mut SqliteConnection,
    at: DatabaseFile<'_>,
    found: &Acknowledged,
    losses: &mut Losses,
) -> Result<()> {
    let present = state::present(tx, at).await?;
    for ((_, many, counted), (_, _, has)) in found.counts.named().into_iter().zip(present.named()) {
        if has != counted {
            losses
                .sentences
                .push(format!("the database counted {counted} {many} as they were written, and has {has}"));
        }
    }
    Ok(())
}

/// The fault of a missing database file; `None` if no change was acknowledged.
pub(in crate::store::sqlite) fn file_missing(says: &Acknowledged) -> Option<String> {
    let named = says.counts.named().into_iter().filter(|(_, _, number)| *number > 0);
    let had: Vec<_> = named
        .map(|(one, many, number)| format!("{number} {}", if number == 1 { one } else { many }))
        .collect();
    let (revision, had) = (says.revision, had.join(", "));
    if says.is_nothing() {
        return None;
    }
    let had = if had.is_empty() { String::new() } else { format!(" with {had}") };
    Some(format!("its file is gone, and revision {revision}{had} was acknowledged"))
}

/// The fault of a chain of which no row is left.
pub(in crate::store::sqlite) fn chain_missing(tenant: &str, tip: Tip) -> String {
    format!("the audit trail of `{tenant}` is missing: its row {} was acknowledged", tip.number)
}

/// Whether the chain lacks the row `tip`, or has another in its place.
pub(in crate::store::sqlite) async fn end_missing(
    tx: &mut SqliteConnection,
    at: DatabaseFile<'_>,
    tenant: &str,
    chain: &Chain,
    tip: Tip,
) -> Result<Option<String>> {
    let number = tip.number;
    if chain.last_number < number {
        let last = chain.last_number;
        return Ok(Some(format!(
            "the audit trail of `{tenant}` ends at row {last}, and row {number} was acknowledged"
        )));
    }
    let is_the_same = if chain.last_number == number {
        chain.last_hash == tip.hash
    } else if number + 1 == chain.first_number {
        chain.first_hash == tip.hash
    } else if number < chain.first_number {
        // Retention has removed it.
        true
    } else {
        let row = sqlx::query(HASH).bind(tenant).bind(signed(number)).fetch_optional(tx).await;
        let row = row.map_err(|e| at.reading(e))?;
        row.is_some_and(|row| row.try_get::<&[u8], _>("hash").is_ok_and(|hash| hash == tip.hash))
    };
    Ok((!is_the_same).then(|| {
        format!("row {number} of the audit trail of `{tenant}` is not the one that was acknowledged")
    }))
}

/// Takes the database as it is, and writes that into the audit trail of each tenant that lost rows. A chain that was signed goes on
/// where it ends; one that is gone, or that somebody else has ended, goes on after the row that was acknowledged.
async fn take_as_it_is(
    tx: &mut SqliteConnection,
    at: DatabaseFile<'_>,
    opening: &Opening<'_>,
    chains: &BTreeMap<String, Stored>,
    losses: &Losses,
) -> Result<()> {
    let present = state::present(tx, at).await?;
    state::recount(tx, at, present).await?;
    digest::seal_all(tx, at).await?;
    let says = opening.recorded.map(|reading| &reading.says);
    let untrusted =
        |tenant: &str| !chains.get(tenant).is_some_and(|stored| stored.holds(opening.key, tenant));
    let tips = says.into_iter().flat_map(|says| &says.chains);
    let tips = tips.filter(|(tenant, _)| losses.tenants.contains(*tenant) && untrusted(tenant));
    let tips = tips.map(|(tenant, tip)| (tenant.clone(), *tip)).collect();
    let anchor = Anchor::unwritten(Arc::clone(opening.key), tips);
    let detail = serde_json::json!({
        "acknowledged_revision": says.map(|says| says.revision),
        "lacked": losses.all().into_iter().take(SENTENCES).collect::<Vec<_>>(),
    });
    let action = if opening.loss == DataLoss::Restored { RESTORED } else { ACCEPTED };
    let mut entries = vec![entry(None, action, detail.clone())];
    for tenant in losses.tenants.iter().filter_map(|tenant| TenantId::new(tenant).ok()) {
        if tenant != TenantId::default_tenant() {
            entries.push(entry(Some(tenant), action, detail.clone()));
        }
    }
    audit::append(tx, at, &anchor, &entries).await?;
    tracing::warn!(lacked = losses.text(), "the database is used as it is");
    Ok(())
}

fn entry(tenant: Option<TenantId>, action: &str, detail: serde_json::Value) -> AuditEntry {
    AuditEntry {
        at: SystemClock::shared().timestamp(),
        tenant_id: tenant.unwrap_or_else(TenantId::default_tenant),
        actor: "local".into(),
        action: action.into(),
        target: "database".into(),
        outcome: "ok".into(),
        correlation_id: None,
        detail,
    }
}
