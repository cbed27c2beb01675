//! The audit trail.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::between;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{Caller, Gateway};
use crate::model::{AuditEntry, AuditQuery, AuditRow};
use crate::registry::Filter;

/// Which rows are asked for; members that are absent ask for all.
#[derive(Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "server", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditSearch {
    /// Not older than this (RFC 3339).
    #[cfg_attr(feature = "server", param(value_type = Option<String>, format = DateTime))]
    from: Option<Timestamp>,
    /// Older than this (RFC 3339).
    #[cfg_attr(feature = "server", param(value_type = Option<String>, format = DateTime))]
    to: Option<Timestamp>,
    /// The actor, such as `local` or `key:…`.
    actor: Option<String>,
    /// The action, such as `server.register`.
    action: Option<String>,
    /// The target: an id, or a name where there was none.
    target: Option<String>,
    /// `ok`, or the kind of the error.
    outcome: Option<String>,
    /// Only rows with a smaller number: `next` of the page before.
    #[cfg_attr(feature = "server", param(minimum = 1))]
    before: Option<u64>,
    /// Rows a page.
    #[cfg_attr(feature = "server", param(minimum = 1, maximum = 200, default = 50))]
    limit: Option<u32>,
}

/// One page of the audit trail, newest first.
#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct AuditAnswer {
    rows: Vec<AuditRowView>,
    /// `before` of the next page; `null` if this is the last.
    next: Option<u64>,
}

/// One row of the audit trail.
#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(as = AuditRow))]
struct AuditRowView {
    /// Counts the rows of the tenant.
    number: u64,
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    at: Timestamp,
    tenant_id: String,
    actor: String,
    action: String,
    target: String,
    outcome: String,
    correlation_id: Option<String>,
    #[cfg_attr(feature = "server", schema(value_type = Object))]
    detail: serde_json::Value,
    /// SHA-256 of the row and of the hash before it.
    hash: String,
}

impl AuditAnswer {
    /// A page of the trail of the caller's tenant.
    pub(crate) async fn of(gateway: &Gateway, caller: &Caller, asked: AuditSearch) -> Result<Self> {
        let AuditSearch { from, to, actor, action, target, outcome, before, limit } = asked;
        let limit = between("limit", limit, Filter::DEFAULT_LIMIT, Filter::MAX_LIMIT)?;
        // One more than the page tells whether there is another.
        let query = AuditQuery { from, to, actor, action, target, outcome, before, limit: limit + 1 };
        let mut rows = gateway.audit(caller, &query).await?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| more).map(|row| row.number);
        Ok(Self { rows: rows.into_iter().map(Into::into).collect(), next })
    }
}

impl From<AuditRow> for AuditRowView {
    fn from(row: AuditRow) -> Self {
        let AuditRow { number, entry, hash } = row;
        let AuditEntry { at, tenant_id, actor, action, target, outcome, correlation_id, detail } = entry;
        let tenant_id = tenant_id.to_string();
        Self { number, at, tenant_id, actor, action, target, outcome, correlation_id, detail, hash }
    }
}

/// The outcome of following the chain of the tenant's rows.
#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct ChainAnswer {
    /// The number of the first row that is kept.
    first: u64,
    /// The number of the last row.
    last: u64,
    /// The hash of the last row.
    hash: String,
    /// The key that signed the chain's end.
    key_id: String,
    /// Whether the trail is on legal hold.
    hold: bool,
    /// Whether nothing is wrong.
    intact: bool,
    /// The first row that is wrong.
    row: Option<u64>,
    /// The fault of it.
    problem: Option<String>,
}

impl ChainAnswer {
    /// Follows the chain of the caller's tenant. [`ErrorKind::NotFound`] where nothing was ever written.
    pub(crate) async fn of(gateway: &Gateway, caller: &Caller) -> Result<Self> {
        let report = gateway.verify_audit(caller).await?;
        let missing = || Error::new(ErrorKind::NotFound, "this tenant's audit trail has no entry yet");
        let report = report.ok_or_else(missing)?;
        Ok(Self {
            first: report.first,
            last: report.last,
            hash: report.hash,
            key_id: report.key_id,
            hold: report.hold,
            intact: report.problem.is_none(),
            row: report.row,
            problem: report.problem,
        })
    }
}
