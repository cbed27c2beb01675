//! Attempts of clients to choose the credential that a server is sent: ignored, and recorded in the audit trail.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::auth::Credentials;
use crate::clock::Tick;
use crate::gateway::Gateway;
use crate::model::{AuditEntry, TenantId};

/// One row a principal in this time: a client that always sends the header writes no row for each call.
const QUIET: Duration = Duration::from_secs(60);
/// Principals that are remembered at once.
const MOST: usize = 1024;

/// The principals that were recorded lately, and when.
#[derive(Debug, Default)]
pub(crate) struct Overrides(Mutex<HashMap<(TenantId, Arc<str>), Tick>>);

impl Overrides {
    /// Whether this principal must be recorded now.
    fn is_news(&self, tenant: &TenantId, subject: &Arc<str>, now: Tick) -> bool {
        // Every change is one insert, or removes old entries.
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MOST {
            seen.retain(|_, then| now.since(*then) < QUIET);
        }
        let key = (tenant.clone(), Arc::clone(subject));
        let quiet = seen.get(&key).is_some_and(|then| now.since(*then) < QUIET);
        if quiet || seen.len() >= MOST {
            return false;
        }
        seen.insert(key, now);
        true
    }
}

impl Gateway {
    /// Records that a client sent a header to choose the credential that a server is sent. The header reaches no server.
    pub async fn note_override(&self, credentials: &Credentials, correlation_id: &Arc<str>, header: &str) {
        let inner = &self.0;
        let Ok(caller) = self.authenticate(credentials, correlation_id).await else { return };
        let principal = &caller.principal;
        if !inner.overrides.is_news(&principal.tenant, &principal.subject, inner.clock.now()) {
            return;
        }
        let entry = AuditEntry {
            at: inner.clock.timestamp(),
            tenant_id: principal.tenant.clone(),
            actor: principal.subject.to_string(),
            action: "credential.override".to_owned(),
            target: header.to_owned(),
            outcome: "ignored".to_owned(),
            correlation_id: Some(correlation_id.to_string()),
            detail: serde_json::json!({}),
        };
        if let Err(error) = inner.store.append_audit(&entry).await {
            tracing::error!(%error, "an attempt to choose a credential could not be written to the audit trail");
        }
    }
}
