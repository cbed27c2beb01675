//! The use of the gateway's grants: their renewal before they end, and the meaning of a server's refusal.

use std::sync::{Arc, PoisonError};

use http::StatusCode;
use http::header::HeaderMap;

use super::credential_cache::origin_of;
use super::credential_cache::{ActiveGrant, described};
use crate::auth::Grant;
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::gateway::Core;
use crate::model::{AuditEntry, Server, ServerId};
use crate::oauth::{self, Challenge, Wire};
use crate::tasks::awaited::promise;
use crate::transport::credential_provider::{CredentialRequest, ProvidedCredentials, Refusal, RetryAdvice};

/// The header in which an access token is sent (RFC 6750 section 2.1).
pub(crate) const HEADER: &str = "authorization";
const HOW: &str =
    "log in with `mcp-gateway credentials login SERVER`, or `POST /api/v1/servers/{id}/credentials/login`";

impl Core {
    /// The credentials that replace a token that is over: a new one, for which every request that needs it waits.
    pub(crate) fn renewed(
        self: &Arc<Self>,
        wanted: &CredentialRequest<'_>,
        held: &Arc<ActiveGrant>,
    ) -> ProvidedCredentials {
        if held.grant.refresh_token.is_none() {
            return ProvidedCredentials::Missing(ended(wanted.server));
        }
        let mut renewing = held.renewing.lock().unwrap_or_else(PoisonError::into_inner);
        let awaited = if let Some(under_way) = &*renewing {
            under_way.clone()
        } else {
            let (promise, awaited) = promise();
            *renewing = Some(awaited.clone());
            let (this, held) = (Arc::clone(self), Arc::clone(held));
            let (server, subject) = (wanted.server, wanted.subject.map(str::to_owned));
            // Continues when the request that needed it gives up: a used refresh token is worth nothing, and its replacement must
            // be kept.
            self.tasks.spawn_to_end(async move {
                promise.keep(this.renew(server, subject.as_deref(), &held).await);
            });
            awaited
        };
        ProvidedCredentials::Later(Box::pin(awaited.outcome()))
    }

    async fn renew(
        self: &Arc<Self>,
        server: ServerId,
        subject: Option<&str>,
        held: &Arc<ActiveGrant>,
    ) -> Result<Arc<HeaderMap>> {
        let renewed = self.exchanged(server, held).await;
        let kept = match renewed {
            Ok(grant) => self.keep_grant(server, subject, held, grant, "credential.renew").await,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                // The grant cannot be renewed any more: from now on, every request that needs it fails at once.
                let dead = Grant {
                    refresh_token: None,
                    expires_at: Some(self.clock.timestamp()),
                    ..held.grant.clone()
                };
                let kept = self.keep_grant(server, subject, held, dead, "credential.end").await;
                kept.and_then(|_| Err(ended(server).caused_by(error)))
            }
            Err(error) => Err(error.with("server_id", server)),
        };
        if kept.is_err() {
            // The next request that needs it tries again.
            *held.renewing.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        kept
    }

    async fn exchanged(&self, server: ServerId, held: &ActiveGrant) -> Result<Grant> {
        let replica = self.replica(server).ok_or_else(|| ended(server))?;
        let wire = self.wire(&replica.server)?;
        oauth::renew(&held.grant, wire, self.clock.timestamp()).await
    }

    /// Keeps `grant` in place of the one in use, unless another one was set meanwhile.
    async fn keep_grant(
        &self,
        server: ServerId,
        subject: Option<&str>,
        before: &Arc<ActiveGrant>,
        grant: Grant,
        action: &str,
    ) -> Result<Arc<HeaderMap>> {
        let _writing = self.book.writing.lock().await;
        let replica = self.replica(server).ok_or_else(|| ended(server))?;
        let tenant = &replica.server.tenant_id;
        let shown = self.book.shown(server, subject, HEADER).ok_or_else(|| ended(server))?;
        if shown.held.as_ref().is_some_and(|held| Arc::ptr_eq(held, before)) {
            let sealed = self.book.seal(tenant, &shown.about, &grant.sealable()?)?;
            let fresh = self.book.open(&sealed)?;
            let audit = AuditEntry {
                at: self.clock.timestamp(),
                tenant_id: tenant.clone(),
                actor: "gateway".to_owned(),
                action: action.to_owned(),
                target: server.to_string(),
                outcome: "ok".to_owned(),
                correlation_id: None,
                detail: described(&fresh.about),
            };
            let stored = self.store.put_credential(&sealed, &audit).await;
            // A refresh token is valid once, so its replacement is the only one left, stored or not.
            self.book.put(fresh);
            if let Err(error) = stored {
                tracing::error!(%server, %error, "what was renewed is not stored; a restart will need another login");
            }
        }
        self.book.worn(server, subject, &shown.about.origin).ok_or_else(|| ended(server))
    }

    /// The requests of a login or a renewal for a server.
    pub(crate) fn wire(&self, server: &Server) -> Result<Wire> {
        let guard = &self.settings.guard;
        Ok(Wire {
            origin: origin_of(server)?,
            server: guard.for_server(server),
            elsewhere: guard.for_tenant(&server.tenant_id),
        })
    }

    /// The advice on a server's refusal.
    pub(crate) fn server_refused(
        &self,
        wanted: &CredentialRequest<'_>,
        refusal: &Refusal<'_>,
    ) -> RetryAdvice {
        let Some(challenge) = Challenge::of(refusal.headers) else { return RetryAdvice::Unknown };
        let held = self.book.held(wanted.server, wanted.subject);
        let late = refusal.status == StatusCode::UNAUTHORIZED;
        if late && held.as_ref().is_some_and(|held| held.refuse(self.clock.timestamp())) && !refusal.last {
            return RetryAdvice::Again;
        }
        let remedy = match (late, &held) {
            (true, None) => {
                let set = "set a token that it takes with `mcp-gateway credentials set SERVER Authorization`";
                told(format!("the server wants to be authorized; {set}, or {HOW}"), "required")
            }
            (true, Some(_)) => {
                told(format!("the server does not take its authorization any more; {HOW}"), "required")
            }
            (false, _) if !challenge.is_short_of_scope => return RetryAdvice::Unknown,
            (false, held) => {
                let asked = held.as_ref().map_or(&[][..], |held| &held.grant.asked);
                if challenge.scopes.iter().all(|scope| asked.contains(scope)) {
                    let message = "the server wants scopes that were asked for when it was authorized, and were not granted; \
                        the account that authorized it may not have them; authorize it with one that does";
                    told(message.to_owned(), "refused")
                } else {
                    told(
                        format!("the server wants more scopes than it was authorized for; {HOW}"),
                        "insufficient_scope",
                    )
                }
            }
        };
        let remedy = remedy.status(refusal.status.as_u16());
        let remedy = if challenge.scopes.is_empty() {
            remedy
        } else {
            remedy.with("scope", challenge.scopes.join(" "))
        };
        self.logins.challenged(wanted.server, wanted.subject, challenge);
        RetryAdvice::Because(remedy)
    }
}

fn told(message: String, authorization: &'static str) -> Error {
    Error::new(ErrorKind::BadUpstream, message)
        .because(Cause::AuthorizationRequired)
        .with("authorization", authorization)
}

fn ended(server: ServerId) -> Error {
    told(format!("the authorization of the server has ended; {HOW}"), "required").with("server_id", server)
}
