//! The audit trail: search, verification, and rows of refusals that an entry point reports.

use crate::auth::Operation;
use crate::error::{Error, Result};
use crate::gateway::{Caller, Gateway};
use crate::model::{AuditQuery, AuditRow, ChainReport};
use crate::observe::Attempt;

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

    /// Writes a refused attempt to the audit trail, if it was unauthenticated, not permitted or rate-limited. Attempts of
    /// unknown callers stand in the trail of the tenant `default`, whose administrators run the gateway.
    pub fn refused(&self, attempt: &Attempt<'_>, error: &Error) {
        self.0.audit_attempt(attempt, error);
    }
}
