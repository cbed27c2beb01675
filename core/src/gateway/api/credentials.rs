//! Credentials for servers: set, listed without their values, removed. Their use is described in `book`.

use super::admin::actor;
use crate::auth::Operation;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::upstream::credential_cache::described;
use crate::gateway::upstream::credential_cache::origin_of;
use crate::gateway::{Caller, Gateway};
use crate::model::{AuditEntry, Credential, CredentialKind, Server, ServerId};
use crate::registry::validate;

/// Credentials of one server at most that are for all callers, and of each caller there.
const MOST: usize = 64;
/// Callers who may have credentials of their own for one server.
const MOST_CALLERS: usize = 10_000;
/// Longest subject, in bytes.
const MAX_SUBJECT: usize = 512;

/// The calls in which the gateway sends a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialScope<'a> {
    /// In all calls, or, where each caller has credentials of its own, in the gateway's own requests.
    All,
    /// In the caller's calls.
    Own,
    /// In the calls of this subject of the tenant; see [`Principal::subject`](crate::model::Principal).
    Of(&'a str),
}

impl<'a> CredentialScope<'a> {
    pub(crate) fn subject(self, caller: &'a Caller) -> Option<&'a str> {
        match self {
            Self::All => None,
            Self::Own => Some(&caller.principal.subject),
            Self::Of(subject) => Some(subject),
        }
    }

    pub(crate) fn operation(self, caller: &Caller) -> Operation {
        match self {
            Self::All => Operation::CredentialsWrite,
            Self::Of(subject) if *subject != *caller.principal.subject => Operation::CredentialsOthers,
            Self::Of(_) | Self::Own => Operation::CredentialsOwn,
        }
    }
}

impl Gateway {
    /// Sets the credential that the gateway sends to a server in `header` of every request, or of each request for one caller,
    /// in place of the one that was set before.
    ///
    /// [`ErrorKind::NotFound`], [`ErrorKind::InvalidParams`] if the server is a command, the header cannot be set, or it is one
    /// caller's and the server gets the same credentials in all calls; [`ErrorKind::PermissionDenied`] if this gateway has no
    /// key to seal with, [`ErrorKind::Storage`].
    pub async fn set_credential(
        &self,
        caller: &Caller,
        server: ServerId,
        whose: CredentialScope<'_>,
        header: &str,
        value: &str,
    ) -> Result<Credential> {
        caller.may(whose.operation(caller))?;
        let subject = whose.subject(caller);
        let outcome = self.put_credential(caller, server, subject, header, value).await;
        self.told(caller, "credential.set", server, outcome).await
    }

    /// A server's credentials without their values, also those that are one caller's.
    pub fn credentials(&self, caller: &Caller, server: ServerId) -> Result<Vec<Credential>> {
        caller.may(Operation::CredentialsRead)?;
        Ok(self.0.book.of(self.visible(caller, server)?.id))
    }

    /// The caller's own credentials for a server, without their values.
    pub fn own_credentials(&self, caller: &Caller, server: ServerId) -> Result<Vec<Credential>> {
        caller.may(Operation::CredentialsOwn)?;
        let server = self.visible(caller, server)?;
        Ok(self.0.book.of_caller(server.id, Some(&caller.principal.subject)))
    }

    /// Removes the credential that the gateway sends to a server in `header`.
    ///
    /// [`ErrorKind::NotFound`], [`ErrorKind::Storage`].
    pub async fn remove_credential(
        &self,
        caller: &Caller,
        server: ServerId,
        whose: CredentialScope<'_>,
        header: &str,
    ) -> Result<()> {
        caller.may(whose.operation(caller))?;
        let (subject, header) = (whose.subject(caller), header.to_ascii_lowercase());
        let outcome = self.take_credential(caller, server, subject, &header).await;
        self.told(caller, "credential.remove", server, outcome).await
    }

    async fn put_credential(
        &self,
        caller: &Caller,
        server: ServerId,
        subject: Option<&str>,
        header: &str,
        value: &str,
    ) -> Result<Credential> {
        let inner = &self.0;
        let server = self.visible(caller, server)?;
        validate::header(header, value)?;
        if let Some(subject) = subject {
            fits(subject, &server)?;
        }
        let about = Credential {
            kind: CredentialKind::Header,
            authorized: None,
            server_id: server.id,
            subject: subject.map(str::to_owned),
            header: header.to_ascii_lowercase(),
            origin: origin_of(&server)?,
            key_id: inner.book.key_id()?.to_owned(),
            created_by: caller.principal.subject.to_string(),
            created_at: inner.clock.timestamp(),
        };
        self.keep_credential(caller, &server, about, value.as_bytes()).await
    }

    /// Stores a credential and sends it from now on. `plain` is the value to seal.
    pub(crate) async fn keep_credential(
        &self,
        caller: &Caller,
        server: &Server,
        about: Credential,
        plain: &[u8],
    ) -> Result<Credential> {
        let inner = &self.0;
        let subject = about.subject.as_deref();
        let _writing = inner.book.writing.lock().await;
        let before = inner.book.of_caller(server.id, subject);
        if subject.is_some() && before.is_empty() && inner.book.callers(server.id) >= MOST_CALLERS {
            let message = "as many callers have credentials for the server as may have; remove some";
            return Err(Error::new(ErrorKind::InvalidParams, message).with("limit", MOST_CALLERS));
        }
        if before.len() >= MOST && before.iter().all(|other| other.header != about.header) {
            let message = "the server has as many credentials as it may have; remove one";
            return Err(Error::new(ErrorKind::InvalidParams, message).with("limit", MOST));
        }
        let sealed = inner.book.seal(&server.tenant_id, &about, plain)?;
        let shown = inner.book.open(&sealed)?;
        let told = shown.about.clone();
        let audit = entry(self, caller, "credential.set", server.id, described(&told));
        inner.store.put_credential(&sealed, &audit).await?;
        inner.book.put(shown);
        if let Some(subject) = subject {
            inner.leave_caller(server.id, subject);
        } else {
            inner.meet_again(server.id);
        }
        Ok(told)
    }

    async fn take_credential(
        &self,
        caller: &Caller,
        server: ServerId,
        subject: Option<&str>,
        header: &str,
    ) -> Result<()> {
        let inner = &self.0;
        let server = self.visible(caller, server)?;
        let mut detail = serde_json::json!({ "header": header });
        if let Some(subject) = subject {
            detail["subject"] = subject.into();
        }
        let audit = entry(self, caller, "credential.remove", server.id, detail);
        let _writing = inner.book.writing.lock().await;
        inner
            .store
            .remove_credential(&server.tenant_id, server.id, subject.unwrap_or_default(), header, &audit)
            .await?;
        inner.book.take(server.id, subject, header);
        if let Some(subject) = subject {
            inner.leave_caller(server.id, subject);
        } else {
            inner.meet_again(server.id);
        }
        Ok(())
    }

    pub(crate) async fn told<T>(
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

/// Whether a server takes a credential of this caller's own.
pub(crate) fn fits(subject: &str, server: &Server) -> Result<()> {
    if server.configuration.credentials.is_shared() {
        let message = "all calls of this server carry the same credentials; an operator sets `configuration.credentials` to \
            `caller` before callers set their own";
        return Err(Error::new(ErrorKind::InvalidParams, message).with("server", &server.name));
    }
    if !(1..=MAX_SUBJECT).contains(&subject.len()) || subject.chars().any(char::is_control) {
        let message = "a subject has 1 to 512 bytes and no control characters, such as `key:…` or `user:…`";
        return Err(Error::new(ErrorKind::InvalidParams, message).with("member", "subject"));
    }
    Ok(())
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
