//! Credentials for servers: set, listed without their values, removed. What they are used for stands in `book`.

use url::Url;

use super::admin::actor;
use super::book::described;
use super::{Caller, Gateway};
use crate::auth::Operation;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{AuditEntry, Credential, Server, ServerId};
use crate::registry::validate;
use crate::transport::supply::origin;

/// Credentials of one server at most.
const MOST: usize = 64;

impl Gateway {
    /// Sets what a server is shown in `header` of every request, in the place of what was set before.
    ///
    /// [`ErrorKind::NotFound`], [`ErrorKind::InvalidParams`] if the server is a command, or the header cannot be set,
    /// [`ErrorKind::PermissionDenied`] if this gateway has no key to seal with, [`ErrorKind::Storage`].
    pub async fn set_credential(
        &self,
        caller: &Caller,
        server: ServerId,
        header: &str,
        value: &str,
    ) -> Result<Credential> {
        caller.may(Operation::CredentialsWrite)?;
        let outcome = self.put_credential(caller, server, header, value).await;
        self.told(caller, "credential.set", server, outcome).await
    }

    /// What is told of a server's credentials: everything but their values.
    pub fn credentials(&self, caller: &Caller, server: ServerId) -> Result<Vec<Credential>> {
        caller.may(Operation::CredentialsRead)?;
        Ok(self.0.book.of(self.visible(caller, server)?.id))
    }

    /// Shows a server nothing in `header` any more.
    ///
    /// [`ErrorKind::NotFound`], [`ErrorKind::Storage`].
    pub async fn remove_credential(&self, caller: &Caller, server: ServerId, header: &str) -> Result<()> {
        caller.may(Operation::CredentialsWrite)?;
        let outcome = self.take_credential(caller, server, &header.to_ascii_lowercase()).await;
        self.told(caller, "credential.remove", server, outcome).await
    }

    async fn put_credential(
        &self,
        caller: &Caller,
        server: ServerId,
        header: &str,
        value: &str,
    ) -> Result<Credential> {
        let inner = &self.0;
        let server = self.visible(caller, server)?;
        validate::header(header, value)?;
        let about = Credential {
            server_id: server.id,
            subject: None,
            header: header.to_ascii_lowercase(),
            origin: origin_of(&server)?,
            key_id: inner.book.key_id()?.to_owned(),
            created_by: caller.principal.subject.to_string(),
            created_at: inner.clock.timestamp(),
        };
        let _writing = inner.book.writing.lock().await;
        let before = inner.book.of(server.id);
        if before.len() >= MOST && before.iter().all(|other| other.header != about.header) {
            let message = "the server has as many credentials as it may have; remove one";
            return Err(Error::new(ErrorKind::InvalidParams, message).with("limit", MOST));
        }
        let sealed = inner.book.seal(&server.tenant_id, &about, value.as_bytes())?;
        let shown = inner.book.open(&sealed)?;
        let audit = entry(self, caller, "credential.set", server.id, described(&about));
        inner.store.put_credential(&sealed, &audit).await?;
        inner.book.put(shown);
        if server.auto_discover {
            // What the server offers may depend on who asks.
            inner.discover_again(server.id);
        }
        Ok(about)
    }

    async fn take_credential(&self, caller: &Caller, server: ServerId, header: &str) -> Result<()> {
        let inner = &self.0;
        let server = self.visible(caller, server)?;
        let detail = serde_json::json!({ "header": header });
        let audit = entry(self, caller, "credential.remove", server.id, detail);
        let _writing = inner.book.writing.lock().await;
        inner.store.remove_credential(&server.tenant_id, server.id, "", header, &audit).await?;
        inner.book.take(server.id, Some(header));
        Ok(())
    }

    async fn told<T>(
        &self,
        caller: &Caller,
        action: &str,
        server: ServerId,
        outcome: Result<T>,
    ) -> Result<T> {
        if let Err(error) = &outcome {
            let (tenant, target) = (&caller.principal.tenant, server.to_string());
            self.0.registry.refuse(tenant, &actor(caller), action, &target, error).await;
        }
        outcome
    }
}

/// Where a server's requests go.
///
/// [`ErrorKind::InvalidParams`] for a command, which has no requests.
pub(super) fn origin_of(server: &Server) -> Result<String> {
    let url = server.endpoint.url().and_then(|url| Url::parse(url).ok());
    url.as_ref().map(origin).ok_or_else(|| {
        let message = "a server that is a command has no headers; give it a variable with `env`";
        Error::new(ErrorKind::InvalidParams, message)
    })
}

fn entry(
    gateway: &Gateway,
    caller: &Caller,
    action: &str,
    server: ServerId,
    detail: serde_json::Value,
) -> AuditEntry {
    AuditEntry {
        at: gateway.0.clock.timestamp(),
        tenant_id: caller.principal.tenant.clone(),
        actor: caller.principal.subject.to_string(),
        action: action.to_owned(),
        target: server.to_string(),
        outcome: "ok".to_owned(),
        correlation_id: Some(caller.correlation_id.to_string()),
        detail,
    }
}
