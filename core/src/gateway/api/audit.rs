//! The audit trail: search, verification, rows of what was refused, and how long rows are kept.

use std::time::Duration;

use jiff::{Timestamp, ToSpan};

use crate::auth::{Authorization, Credentials, Operation};
use crate::clock::Tick;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{Caller, Gateway, Inner};
use crate::model::{AuditEntry, AuditQuery, AuditRow, ChainReport, Principal, TenantId};
use crate::observe::Record;

/// How often it is looked for rows that are old enough to go.
const ROUND: Duration = Duration::from_secs(3600);
/// Rows that go in one transaction: no mutation waits long behind it.
const BATCH: u32 = 500;

/// An attempt that was refused, as a door saw it.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Who, if that is known.
    pub principal: Option<&'a Principal>,
    /// What was shown, if it came so far.
    pub credentials: Option<&'a Credentials>,
    /// What was attempted: an MCP method, or method and path of a request.
    pub action: &'a str,
    /// Ties it to the log lines of the request.
    pub correlation_id: &'a str,
}

impl Gateway {
    /// The rows of the audit trail of the caller's tenant that `query` asks for, newest first.
    pub async fn audit(&self, caller: &Caller, query: &AuditQuery) -> Result<Vec<AuditRow>> {
        caller.may(Operation::AuditRead)?;
        self.0.store.find_audit(&caller.principal.tenant, query).await
    }

    /// Follows the audit chain of the caller's tenant from beginning to end.
    pub async fn verify_audit(&self, caller: &Caller) -> Result<Option<ChainReport>> {
        caller.may(Operation::AuditRead)?;
        let reports = self.0.store.verify_audit(Some(&caller.principal.tenant)).await?;
        Ok(reports.into_iter().find(|report| report.tenant_id == caller.principal.tenant.as_str()))
    }

    /// Writes to the audit trail that an attempt was refused, if it was for want of identity, right or patience. Attempts of
    /// whoever is not known stand in the trail of the tenant `default`, whose administrators run the gateway.
    pub fn refused(&self, attempt: &Attempt<'_>, error: &Error) {
        self.0.audit_attempt(attempt, error);
    }
}

impl Inner {
    pub(crate) fn audit_refusal(&self, credentials: &Credentials, record: &Record, error: &Error) {
        let active = record.active();
        let attempt = Attempt {
            principal: active.principal.get(),
            credentials: Some(credentials),
            action: active.method.as_str(),
            correlation_id: &active.correlation_id,
        };
        self.audit_attempt(&attempt, error);
    }

    /// Writes down a call, where calls are.
    pub(crate) fn audit_call(&self, record: &Record, error: Option<&Error>) {
        let active = record.active();
        let Some(principal) = active.principal.get() else { return };
        let target = active.target.get().map(ToString::to_string).unwrap_or_default();
        let outcome = error.map_or("ok", |error| error.kind().row().name);
        let method = active.method.as_str();
        self.audit_ended(principal, &active.correlation_id, method, target, outcome, active.since);
    }

    /// Writes down a call that began at `since` and has ended.
    pub(crate) fn audit_ended(
        &self,
        principal: &Principal,
        correlation_id: &str,
        method: &str,
        target: String,
        outcome: &str,
        since: Tick,
    ) {
        let took = self.clock.now().since(since);
        self.trail.note(AuditEntry {
            at: self.now(),
            tenant_id: principal.tenant.clone(),
            actor: principal.subject.to_string(),
            action: method.to_owned(),
            target,
            outcome: outcome.to_owned(),
            correlation_id: Some(correlation_id.to_owned()),
            detail: serde_json::json!({ "micros": u64::try_from(took.as_micros()).unwrap_or(u64::MAX) }),
        });
    }

    fn audit_attempt(&self, attempt: &Attempt<'_>, error: &Error) {
        if !is_refusal(error) {
            return;
        }
        let peer = match attempt.credentials {
            // What is shown and does not hold has its rows already: the checkpoint tells of it, with what was wrong.
            Some(Credentials::Network { authorization, .. })
                if self.settings.auth.is_configured()
                    && attempt.principal.is_none()
                    && error.kind() != ErrorKind::PermissionDenied
                    && !matches!(authorization, Authorization::Absent) =>
            {
                return;
            }
            Some(Credentials::Network { peer, .. }) => Some(peer.to_canonical().to_string()),
            Some(Credentials::Embedded(_)) | None => None,
        };
        let actor = attempt.principal.map(|principal| principal.subject.to_string());
        self.trail.refuse(AuditEntry {
            at: self.now(),
            tenant_id: attempt
                .principal
                .map_or_else(TenantId::default_tenant, |principal| principal.tenant.clone()),
            actor: actor.unwrap_or_else(|| "unknown".into()),
            action: attempt.action.chars().take(128).collect(),
            target: String::new(),
            outcome: error.kind().row().name.to_owned(),
            correlation_id: Some(attempt.correlation_id.to_owned()),
            detail: serde_json::json!({ "message": error.message(), "peer": peer }),
        });
    }

    /// Removes rows that are older than they must be, in batches, and looks again every hour.
    pub(crate) async fn keep_audit(&self) {
        loop {
            while let Some(before) = horizon(self.clock.timestamp(), self.settings.audit.keep_years) {
                match self.store.retain_audit(before, BATCH).await {
                    Ok(0) => break,
                    Ok(rows) => {
                        tracing::info!(rows, %before, "removed audit rows that were kept long enough");
                    }
                    Err(error) => {
                        tracing::error!(%error, "old audit rows cannot be removed");
                        break;
                    }
                }
            }
            tokio::time::sleep(ROUND).await;
        }
    }

    /// To the microsecond, as stores keep it.
    fn now(&self) -> Timestamp {
        let now = self.clock.timestamp();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }
}

/// Whether an error says that somebody was not let.
pub(crate) fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unauthenticated | ErrorKind::PermissionDenied | ErrorKind::RateLimited)
}

/// The time that lies `years` calendar years before `now` in UTC; what is older may go. The 29th of February of a year that has
/// none is the 28th, so that a row of a leap day is kept until the 1st of March.
fn horizon(now: Timestamp, years: u16) -> Option<Timestamp> {
    let then = now.to_zoned(jiff::tz::TimeZone::UTC).checked_sub(i64::from(years).years());
    then.ok().map(|then| then.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D-09: seven years less a day are kept, a day more is removed; a leap day is kept to its end
    #[test]
    fn rows_are_kept_for_seven_calendar_years() {
        for (written, now, kept) in [
            ("2019-03-10T12:00:00Z", "2026-03-09T12:00:00Z", true),
            ("2019-03-10T12:00:00Z", "2026-03-10T12:00:00Z", true),
            ("2019-03-10T12:00:00Z", "2026-03-10T12:00:01Z", false),
            ("2019-03-10T12:00:00Z", "2026-03-11T12:00:00Z", false),
            ("2024-02-29T12:00:00Z", "2031-02-28T23:59:59Z", true),
            ("2024-02-29T12:00:00Z", "2031-03-01T00:00:00Z", false),
            ("2025-02-28T12:00:00Z", "2032-02-28T11:00:00Z", true),
            ("2025-02-28T12:00:00Z", "2032-02-29T12:00:01Z", false),
        ] {
            let (row, now): (Timestamp, Timestamp) = (written.parse().unwrap(), now.parse().unwrap());
            assert_eq!(row >= horizon(now, 7).unwrap(), kept, "{written} at {now}");
        }
    }
}
