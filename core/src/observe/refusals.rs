//! Decides which refused attempts get a row of their own: a flood of them is no flood of rows.
//!
//! Equal ones of one moment share a row that has their count. Of one caller, so many rows a minute are written; its refusals
//! beyond that are counted, and told by one row when the minute is over. All callers without a name count as one, and so do all
//! beyond the first thousand, so that neither paths, nor addresses, nor names that somebody makes up fill the trail.

use std::collections::HashMap;

use crate::model::{AuditEntry, TenantId};

/// Rows of one caller within a minute.
const ROWS: usize = 60;
/// Callers that are told apart within a minute.
const CALLERS: usize = 1000;
/// The length of the window, in microseconds.
const WINDOW: i64 = 60_000_000;
/// The action of a row that stands for many, and the actor of those that are not told apart.
const SEVERAL: &str = "(several)";

/// The refusals of the minute.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// When the minute began, in microseconds; by the times of the rows, which their writer has no clock to doubt.
    began: i64,
    callers: HashMap<(TenantId, String), Caller>,
}

#[derive(Debug, Default)]
struct Caller {
    rows: usize,
    more: Option<Several>,
}

#[derive(Debug)]
struct Several {
    row: AuditEntry,
    count: u64,
}

impl Several {
    fn row(self, actor: String) -> AuditEntry {
        let Self { mut row, count } = self;
        row.actor = actor;
        row.action = SEVERAL.into();
        row.correlation_id = None;
        row.detail = serde_json::json!({ "count": count, "last": row.detail });
        row
    }
}

impl Refusals {
    /// The rows to write for the refusals of one moment.
    pub(super) fn take(&mut self, refused: Vec<AuditEntry>) -> Vec<AuditEntry> {
        let mut rows = Vec::new();
        for (row, count) in merged(refused) {
            let at = row.at.as_microsecond();
            if at.saturating_sub(self.began) >= WINDOW {
                rows.extend(self.flush());
                self.began = at;
            }
            let caller = self.caller(&row);
            if caller.rows < ROWS {
                caller.rows += 1;
                rows.push(told(row, count));
            } else {
                let before = caller.more.take().map_or(0, |several| several.count);
                caller.more = Some(Several { row, count: before + count });
            }
        }
        rows
    }

    /// Whether something was counted that no row tells of yet.
    pub(super) fn has_more(&self) -> bool {
        self.callers.values().any(|caller| caller.more.is_some())
    }

    /// Ends the minute: one row for the refusals of each caller beyond its rows.
    pub(super) fn flush(&mut self) -> Vec<AuditEntry> {
        let callers = std::mem::take(&mut self.callers);
        let several = |((_, actor), caller): (_, Caller)| Some(caller.more?.row(actor));
        let mut rows: Vec<_> = callers.into_iter().filter_map(several).collect();
        rows.sort_by(|a, b| (&a.tenant_id, &a.actor).cmp(&(&b.tenant_id, &b.actor)));
        rows
    }

    fn caller(&mut self, row: &AuditEntry) -> &mut Caller {
        let mut who = (row.tenant_id.clone(), row.actor.clone());
        if self.callers.len() >= CALLERS && !self.callers.contains_key(&who) {
            SEVERAL.clone_into(&mut who.1);
        }
        self.callers.entry(who).or_default()
    }
}

/// Those that differ in their time alone as one, with their count.
fn merged(refused: Vec<AuditEntry>) -> Vec<(AuditEntry, u64)> {
    let mut rows: Vec<(AuditEntry, u64)> = Vec::with_capacity(refused.len());
    let mut known: HashMap<[String; 5], usize> = HashMap::new();
    for entry in refused {
        let AuditEntry { tenant_id, actor, action, target, outcome, .. } = entry.clone();
        let place =
            *known.entry([tenant_id.to_string(), actor, action, target, outcome]).or_insert(rows.len());
        match rows.get_mut(place) {
            Some((_, count)) => *count += 1,
            None => rows.push((entry, 1)),
        }
    }
    rows
}

fn told(mut row: AuditEntry, count: u64) -> AuditEntry {
    if count > 1 {
        row.detail["count"] = count.into();
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(actor: &str, action: String, second: i64) -> AuditEntry {
        AuditEntry {
            at: jiff::Timestamp::from_second(1_000_000 + second).unwrap(),
            tenant_id: TenantId::default_tenant(),
            actor: actor.into(),
            action,
            target: String::new(),
            outcome: "unauthenticated".into(),
            correlation_id: Some("c".into()),
            detail: serde_json::json!({ "message": "no" }),
        }
    }

    /// 100,000 attempts on as many paths are sixty rows and one with the count of the rest; another caller has its own
    #[test]
    fn a_flood_of_different_refusals_is_a_bounded_number_of_rows() {
        let mut refusals = Refusals::default();
        let flood = (0..100_000).map(|n| refused("unknown", format!("GET /{n}"), n / 5000)).collect();
        assert_eq!(refusals.take(flood).len(), ROWS);
        assert_eq!(refusals.take(vec![refused("key:a", "tools/call".into(), 21)]).len(), 1);
        assert!(refusals.has_more());
        let rows = refusals.take(vec![refused("unknown", "GET /".into(), 61)]);
        assert_eq!(rows.len(), 2, "{rows:?}");
        assert_eq!((rows[0].action.as_str(), rows[0].detail["count"].as_u64()), (SEVERAL, Some(99_940)));
        assert_eq!(rows[1].action, "GET /");
        assert!(!refusals.has_more() && refusals.flush().is_empty());
    }

    #[test]
    fn equal_refusals_of_one_moment_share_a_row_with_their_count() {
        let mut refusals = Refusals::default();
        let rows = refusals.take((0..100).map(|_| refused("key:a", "tools/call".into(), 1)).collect());
        assert_eq!((rows.len(), &rows[0].detail["count"]), (1, &serde_json::json!(100)));
        assert_eq!(rows[0].detail["message"], "no");
    }

    /// names that somebody makes up fill neither memory nor the trail
    #[test]
    fn callers_beyond_the_first_thousand_are_one() {
        let mut refusals = Refusals::default();
        let flood = (0..50_000).map(|n| refused(&format!("anonymous:{n}"), "GET /".into(), 1)).collect();
        assert_eq!(refusals.take(flood).len(), CALLERS + ROWS);
        let rest = refusals.flush();
        assert_eq!((rest.len(), rest[0].actor.as_str()), (1, SEVERAL));
        assert_eq!(rest[0].detail["count"], 50_000 - CALLERS - ROWS);
    }
}
