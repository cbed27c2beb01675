//! A call that the embedding program answers itself, held to the gateway's rules: authentication, permission, limits, and a
//! record of the outcome.
//!
//! The pipeline applies the same to calls that pass through the gateway; such a call never does, so that the gateway knows of
//! it only from the program. It is none of the calls under way, and nobody but the program can cancel it.

use std::fmt;
use std::sync::Arc;

use crate::auth::{Credentials, Operation, Restrictions};
use crate::clock::Tick;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::call::audit::is_refusal;
use crate::gateway::{Caller, Core, Gateway};
use crate::limit::Admission;
use crate::model::{CapabilityKind, Principal};
use crate::observe::Attempt;
use crate::rpc::Method;

/// A call that the embedding program would answer.
#[derive(Clone, Debug)]
pub struct AdmissionRequest {
    /// The method of the request.
    pub method: Method,
    /// The service name by which the rules of `access` and the audit trail know the program's items; it need not be registered.
    pub service: String,
    /// The tool's or prompt's name, or the resource's URI.
    pub name: Option<String>,
}

/// A permit to answer a call, held until it is answered. Dropped without a recorded outcome, the call was cancelled.
#[must_use = "the call counts as under way until this is dropped"]
pub struct Admitted {
    inner: Arc<Core>,
    ask: AdmissionRequest,
    caller: Caller,
    since: Tick,
    outcome: &'static str,
    _admission: Admission,
}

impl Gateway {
    /// A permit for the embedding program to answer a call itself. A call that names something has an audit row when it has
    /// ended; another has one if calls have (`audit.calls`), and a refusal always.
    ///
    /// Errors: [`ErrorKind::Unauthenticated`], [`ErrorKind::PermissionDenied`], [`ErrorKind::RateLimited`] with the time after
    /// which the same call can succeed, [`ErrorKind::NotFound`] for an item that the rules hide from the caller, who learns no
    /// more than that.
    pub async fn admit_call(&self, ask: AdmissionRequest, credentials: &Credentials) -> Result<Admitted> {
        let inner = &self.0;
        let (since, correlation_id) = (inner.clock.now(), Arc::<str>::from(uuid::Uuid::new_v4().to_string()));
        let mut known = None;
        match inner.let_in(&ask, credentials, &mut known).await {
            Ok((principal, admission)) => Ok(Admitted {
                inner: Arc::clone(inner),
                ask,
                caller: Caller::sent(principal, correlation_id),
                since,
                outcome: CANCELLED,
                _admission: admission,
            }),
            Err(error) => {
                let attempt = Attempt {
                    principal: known.as_ref(),
                    credentials: Some(credentials),
                    action: ask.method.as_str(),
                    correlation_id: &correlation_id,
                };
                match known.as_ref().filter(|_| !is_refusal(&error)) {
                    Some(principal) => {
                        let caller = Caller::sent(principal.clone(), correlation_id);
                        inner.note_ended(&ask, &caller, since, error.kind().row().name);
                    }
                    None => self.refused(&attempt, &error),
                }
                Err(error)
            }
        }
    }
}

/// The outcome of a call for which none was recorded.
const CANCELLED: &str = ErrorKind::Cancelled.row().name;

impl Core {
    async fn let_in(
        &self,
        ask: &AdmissionRequest,
        credentials: &Credentials,
        known: &mut Option<Principal>,
    ) -> Result<(Principal, Admission)> {
        if self.is_stopping() {
            return Err(Error::new(ErrorKind::Unavailable, "the gateway is shutting down").not_sent());
        }
        let principal = self.auth.authenticate(credentials).get().await?;
        *known = Some(principal.clone());
        let admission = self.limiter.admit(&principal).get().await?;
        self.gone.check(&principal)?;
        principal.may(Operation::of_request(&ask.method))?;
        match (kind_of(&ask.method), &ask.name) {
            (Some(kind), Some(name)) if !self.leaves(&principal, &ask.service, kind, name) => {
                let unknown = Error::new(ErrorKind::NotFound, "no tool, prompt or resource has this name");
                Err(unknown.with("name", crate::gateway::routing::names::shown(name)))
            }
            _ => Ok((principal, admission)),
        }
    }

    /// Whether the rules allow `principal` the program's item of this name.
    fn leaves(&self, principal: &Principal, service: &str, kind: CapabilityKind, name: &str) -> bool {
        let bound = |to: &crate::model::Grant| {
            to.server.is_some() || to.service.as_ref().is_some_and(|only| only.as_str() != service)
        };
        if principal.grant.as_deref().is_some_and(bound) {
            return false;
        }
        if let Some(view) = self.router.load().tenants.get(&principal.tenant) {
            return !view.denied_to(principal).named(service, kind, name);
        }
        // A tenant without a server has no view yet.
        let rules = Restrictions::of(&self.access.load(), &principal.tenant, std::iter::empty());
        !rules.denied_to(principal).named(service, kind, name)
    }

    fn note_ended(&self, ask: &AdmissionRequest, caller: &Caller, since: Tick, outcome: &str) {
        if ask.name.is_some() || self.trail.has_calls() {
            let target = format!("{}/{}", ask.service, ask.name.as_deref().unwrap_or_default());
            let (principal, id) = (&caller.principal, &caller.correlation_id);
            self.audit.ended(principal, id, ask.method.as_str(), target, outcome, since);
        }
    }
}

/// The kind of item that a method names.
fn kind_of(method: &Method) -> Option<CapabilityKind> {
    match method {
        Method::ToolsCall => Some(CapabilityKind::Tool),
        Method::ResourcesRead | Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => {
            Some(CapabilityKind::Resource)
        }
        Method::PromptsGet => Some(CapabilityKind::Prompt),
        _ => None,
    }
}

impl Admitted {
    /// The caller.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether the caller may know of the program's item of this name: items that it may not use are not listed.
    pub fn sees(&self, kind: CapabilityKind, name: &str) -> bool {
        self.inner.leaves(&self.caller.principal, &self.ask.service, kind, name)
    }

    /// Records that the call was answered.
    pub fn succeeded(&mut self) {
        self.outcome = "ok";
    }

    /// Records that the program failed to answer it.
    pub fn failed(&mut self) {
        self.outcome = "failed";
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.inner.note_ended(&self.ask, &self.caller, self.since, self.outcome);
    }
}

impl fmt::Debug for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admitted").field("ask", &self.ask).finish_non_exhaustive()
    }
}
