//! A registration that is done once, however often a client asks for it because it did not receive the answer.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::validate::{self, Checked};
use super::write::described;
use super::{Actor, Registry, RegistryCore};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Event, Listing, Registration, Server, ServerId, TenantId};
use crate::store::Once;

/// The function by which an entry point writes the answer to a creation.
pub type Render = fn(&Server, &Listing) -> Result<String>;

/// The outcome of a creation that is done once.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The server; it may be gone by now, if it was created before.
    pub id: ServerId,
    /// The answer: always the same.
    pub answer: String,
    /// The server, if it was created now and not by an earlier request.
    pub server: Option<Arc<Server>>,
}

impl Registry {
    /// Registers a server once: the same registration under the same `key` by the same actor is answered in the same words
    /// for [`ONCE_KEPT`](crate::store::ONCE_KEPT), without registering anything.
    ///
    /// Errors: those of [`Registry::register`], and [`ErrorKind::Conflict`] if the key was used for another registration.
    /// A registration that fails leaves the key unused.
    pub async fn register_once(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        registration: Registration,
        key: &str,
        render: Render,
    ) -> Result<Registered> {
        let (tenant, actor, key) = (tenant.clone(), actor.clone(), key.to_owned());
        self.to_end(move |inner| async move {
            let target = registration.name.clone();
            let outcome = inner.register_once(&tenant, &actor, registration, key, render).await;
            inner.refused(&tenant, &actor, "server.register", &target, outcome).await
        })
        .await
    }
}

impl RegistryCore {
    async fn register_once(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        registration: Registration,
        key: String,
        render: Render,
    ) -> Result<Registered> {
        let request = digest(&registration)?;
        let Checked { server, listing } = validate::registration(tenant, registration, self.now())?;
        self.may_lead(&server)?;
        let listing = listing.unwrap_or_default();
        let answer = render(&server, &listing)?;
        let subject = actor.subject.clone();
        let once = Once { tenant_id: tenant.clone(), subject, key, request, answer, at: server.created_at };
        let _writing = self.writing.lock().await;
        let audit =
            self.audit(tenant, actor, "server.register", &server.id.to_string(), "ok", described(&server));
        if let Some(done) = self.store.insert_server_once(&server, &listing, &audit, &once).await? {
            return Ok(Registered { id: done.made.parse()?, answer: done.answer, server: None });
        }
        let server = self.swap(|state, tell| {
            tell(Event::Registered { tenant_id: tenant.clone(), id: server.id });
            state.put(server, Arc::new(listing))
        });
        Ok(Registered { id: server.id, answer: once.answer, server: Some(server) })
    }
}

/// Tells one registration from another. Written anew, so that blanks and the order of members make no difference.
fn digest(registration: &Registration) -> Result<String> {
    let text = serde_json::to_vec(registration).map_err(|error| {
        Error::new(ErrorKind::Internal, "the registration cannot be written as JSON").caused_by(error)
    })?;
    let digest = ring::digest::digest(&ring::digest::SHA256, &text);
    Ok(STANDARD_NO_PAD.encode(digest))
}
