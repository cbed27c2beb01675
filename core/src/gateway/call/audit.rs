//! Audit rows of calls and of refused attempts.

use jiff::Timestamp;

use crate::auth::{Authorization, Credentials};
use crate::clock::Tick;
use crate::error::{Error, ErrorKind};
use crate::gateway::Core;
use crate::model::{AuditEntry, Principal, TenantId};
use crate::observe::Record;

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

    pub(crate) fn audit_attempt(&self, attempt: &Attempt<'_>, error: &Error) {
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
