//! The audit trail: each action with its actor, its target and its outcome.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::TenantId;

/// Longest of a row's short members, in characters.
const MAX_TEXT: usize = 256;
/// Longest detail of a row, in bytes of JSON.
pub const MAX_DETAIL: usize = 8 * 1024;

/// One line of the audit trail. It has no foreign keys: it outlives its subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// In which tenant.
    pub tenant_id: TenantId,
    /// The actor.
    pub actor: String,
    /// The action: `server.register`, `server.update`, …
    pub action: String,
    /// The target: an id, or a name where there is none yet.
    pub target: String,
    /// `ok`, or the error's kind; `failed` where the embedding program says so of a call that it answered itself.
    pub outcome: String,
    /// Ties it to the request's log lines.
    pub correlation_id: Option<String>,
    /// More, as a JSON object; secrets never.
    pub detail: serde_json::Value,
}

impl AuditEntry {
    /// The entry as a store keeps it: text from a stranger may be a megabyte long. Short members are cut after 256 characters,
    /// and a detail of more than 8 KiB is kept as the beginning of its text.
    #[must_use]
    pub fn bounded(&self) -> Self {
        let cut = |text: &String| text.chars().take(MAX_TEXT).collect::<String>();
        let text = self.detail.to_string();
        let detail = if text.len() <= MAX_DETAIL {
            self.detail.clone()
        } else {
            let begins: String = text.chars().take(MAX_DETAIL / 8).collect();
            serde_json::json!({ "truncated": true, "bytes": text.len(), "begins": begins })
        };
        Self {
            at: self.at,
            tenant_id: self.tenant_id.clone(),
            actor: cut(&self.actor),
            action: cut(&self.action),
            target: cut(&self.target),
            outcome: cut(&self.outcome),
            correlation_id: self.correlation_id.as_ref().map(cut),
            detail,
        }
    }
}

/// A row of the audit trail as it is stored: the entry, and its place in its tenant's chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditRow {
    /// Counts the rows of the tenant from 1.
    pub number: u64,
    /// The entry.
    #[serde(flatten)]
    pub entry: AuditEntry,
    /// The SHA-256 of the row and of the hash before it, in hexadecimal digits.
    pub hash: String,
}

/// Which rows of a tenant are asked for; newest first. Members that are `None` ask for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Not older than this.
    pub from: Option<Timestamp>,
    /// Older than this.
    pub to: Option<Timestamp>,
    /// By this actor.
    pub actor: Option<String>,
    /// Of this action.
    pub action: Option<String>,
    /// Done to this.
    pub target: Option<String>,
    /// That ended like this.
    pub outcome: Option<String>,
    /// Only rows with a smaller number: the next page begins where the last one ended.
    pub before: Option<u64>,
    /// Rows at most.
    pub limit: u32,
}

impl AuditQuery {
    /// The newest rows.
    pub fn newest(limit: u32) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Whether this row is one of those that are asked for.
    pub fn matches(&self, row: &AuditRow) -> bool {
        let entry = &row.entry;
        let is = |asked: &Option<String>, text: &str| asked.as_ref().is_none_or(|asked| asked == text);
        self.from.is_none_or(|from| entry.at >= from)
            && self.to.is_none_or(|to| entry.at < to)
            && is(&self.actor, &entry.actor)
            && is(&self.action, &entry.action)
            && is(&self.target, &entry.target)
            && is(&self.outcome, &entry.outcome)
            && self.before.is_none_or(|before| row.number < before)
    }
}

/// The outcome of following a tenant's chain from its beginning to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChainReport {
    /// The tenant.
    pub tenant_id: String,
    /// The number of the first row that is kept; those before it were removed by retention.
    pub first: u64,
    /// The number of the last row.
    pub last: u64,
    /// The hash of the last row, in hexadecimal digits. Kept elsewhere as well, it tells whether the database was put back to
    /// an earlier state.
    pub hash: String,
    /// The key that signed the chain's end.
    pub key_id: String,
    /// Whether nothing of it may be removed (legal hold).
    pub hold: bool,
    /// The first row that is wrong.
    pub row: Option<u64>,
    /// The fault; `None` if there is none.
    pub problem: Option<String>,
}
