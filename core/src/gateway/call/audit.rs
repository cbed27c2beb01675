//! Audit rows of calls and of refused attempts.

use std::sync::Arc;

use jiff::Timestamp;

use crate::auth::{Authorization, Credentials};
use crate::clock::{Clock, Tick};
use crate::error::{Error, ErrorKind};
use crate::gateway::Core;
use crate::model::{AuditEntry, Principal, TenantId};
use crate::observe::{Active, Attempt, Observer, Record, Trail};

/// The audit trail as an observer: a row for each refusal and, where calls are written down, for each call.
#[derive(Debug)]
pub(crate) struct CallAudit {
    pub(crate) trail: Arc<Trail>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether the settings define how credentials are judged, so that invalid ones have their rows already.
    pub(crate) judges_credentials: bool,
}

impl Core {
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

    /// Notifies the observers of an attempt that was refused as unauthenticated, not permitted or rate-limited.
    pub(crate) fn audit_attempt(&self, attempt: &Attempt<'_>, error: &Error) {
        if is_refusal(error) {
            self.observers.refused(attempt, error);
        }
    }
}

impl CallAudit {
    /// Writes down a call that began at `since` and has ended.
    pub(crate) fn ended(
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

    /// To the microsecond, as stores keep it.
    fn now(&self) -> Timestamp {
        let now = self.clock.timestamp();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }
}

impl Observer for CallAudit {
    fn call_answered(&self, call: &Active, error: Option<&Error>) {
        if !self.trail.has_calls() {
            return;
        }
        let Some(principal) = call.principal.get() else { return };
        let target = call.target.get().map(ToString::to_string).unwrap_or_default();
        let outcome = error.map_or("ok", |error| error.kind().row().name);
        self.ended(principal, &call.correlation_id, call.method.as_str(), target, outcome, call.since);
    }

    fn refused(&self, attempt: &Attempt<'_>, error: &Error) {
        let peer = match attempt.credentials {
            // Credentials that do not hold have their rows already: the checkpoint writes them, with the reason.
            Some(Credentials::Network { authorization, .. })
                if self.judges_credentials
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
}

/// Whether an error is a refusal: unauthenticated, not permitted or rate-limited.
pub(crate) fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unauthenticated | ErrorKind::PermissionDenied | ErrorKind::RateLimited)
}
