//! The audit trail of started programs: each leaves a row before it runs, and one that cannot is not started.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use crate::clock::Clock;
use crate::error::Result;
use crate::model::{AuditEntry, Server, ServerEndpoint, redact};
use crate::store::Store;
use crate::transport::stdio::Starts;

/// Writes starts to the audit trail of the server's tenant.
#[derive(Debug)]
pub(crate) struct Trail {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
}

#[async_trait]
impl Starts for Trail {
    async fn starting(&self, server: &Server, program: &Path) -> Result<()> {
        let covered = |text: &str| redact::covered(text, &server.configuration.secrets);
        // Neither the arguments nor the values of the variables: both often carry secrets.
        let (arguments, variables, folder) = match &server.endpoint {
            ServerEndpoint::Command { args, env, cwd, .. } => {
                (args.len(), env.keys().cloned().collect::<Vec<_>>(), cwd.as_deref().map(covered))
            }
            ServerEndpoint::Url { .. } => (0, Vec::new(), None),
        };
        let entry = AuditEntry {
            at: self.clock.timestamp(),
            tenant_id: server.tenant_id.clone(),
            actor: "gateway".to_owned(),
            action: "stdio.start".to_owned(),
            target: server.id.to_string(),
            outcome: "ok".to_owned(),
            correlation_id: None,
            detail: serde_json::json!({
                "name": server.name,
                "program": covered(&program.display().to_string()),
                "arguments": arguments,
                "variables": variables,
                "folder": folder,
            }),
        };
        self.store.append_audit(&entry).await
    }
}
