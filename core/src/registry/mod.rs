//! The register of servers: their records, and the listing of each.
//!
//! Readers take an immutable [`RegistryState`] and no lock. Writers go one after another: first the store, then memory, then
//! the event; so a change in memory is on disk, and a receiver of an event finds the change. A write that has begun is
//! brought to its end also when its caller gives up: otherwise the store could have a change that memory does not have.
//!
//! Observed health is the other way round, memory first: it is promised to nobody, and calls must not go to a dead
//! server because a disk is slow.

pub mod import;
pub mod items;
mod mirrored;
mod observe;
mod once;
pub mod pins;
pub mod query;
mod schema;
pub mod server_json;
pub(crate) mod shards;
pub mod state;
mod tenants;
pub mod validate;
mod drift;
mod fields;
mod write;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::{Arc, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::{Mutex, broadcast, oneshot};

pub use drift::{Difference, Drifted};
pub(crate) use fields::SCHEMES;
pub use once::{Registered, Render};
pub use query::{Filter, Page};
pub(crate) use state::Change;
pub use state::{RegisteredEntry, RegistryState};

use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{AuditEntry, Event, Listing, Server, ServerId, TenantId};
use crate::store::Store;
use crate::tasks::Tasks;
use crate::transport::guard::Guard;

/// Events that a slow subscriber may be behind before it misses some. It then receives
/// [`RecvError::Lagged`](broadcast::error::RecvError::Lagged) and reads [`Registry::state`] anew.
pub const EVENTS_KEPT: usize = 4096;

/// The actor of an operation, for the audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// `user:…`, `key:…` or `local`.
    pub subject: String,
    /// Ties the audit row to the request's log lines.
    pub correlation_id: Option<String>,
}

/// The register. Clones share it.
#[derive(Clone, Debug)]
pub struct Registry {
    inner: Arc<RegistryCore>,
}

#[derive(Debug)]
struct RegistryCore {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    state: ArcSwap<RegistryState>,
    /// Held over store and memory: one change after another.
    writing: Mutex<()>,
    /// The same for observations, which do not wait for the changes.
    observing: Mutex<()>,
    /// Held while memory is swapped and its events are sent, never while waiting.
    swapping: std::sync::Mutex<()>,
    events: broadcast::Sender<Event>,
    tasks: Tasks,
    guard: Guard,
}

impl Registry {
    /// Loads everything from `store`.
    pub async fn open(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::guarded(store, clock, Guard::default()).await
    }

    /// As [`Registry::open`]; a server is registered, or pointed elsewhere, only where `guard` lets it.
    pub async fn guarded(store: Arc<dyn Store>, clock: Arc<dyn Clock>, guard: Guard) -> Result<Self> {
        let servers = store.servers().await?;
        let mut listings: std::collections::HashMap<ServerId, Listing> =
            store.listings().await?.into_iter().collect();
        let servers = servers.into_iter().map(|server| {
            let listing = listings.remove(&server.id).unwrap_or_default();
            (server, listing)
        });
        let state = ArcSwap::from_pointee(RegistryState::load(servers.collect()));
        let (events, _) = broadcast::channel(EVENTS_KEPT);
        let inner = RegistryCore {
            store,
            clock,
            state,
            writing: Mutex::default(),
            observing: Mutex::default(),
            swapping: std::sync::Mutex::default(),
            events,
            tasks: Tasks::default(),
            guard,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The register as it is now.
    pub fn state(&self) -> Arc<RegistryState> {
        self.inner.state.load_full()
    }

    /// The changes from now on, in the order in which they take effect.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.inner.events.subscribe()
    }

    /// Tells the subscribers of a change that is not one of the register itself.
    pub(crate) fn tell(&self, event: Event) {
        // Fails only if there are no subscribers.
        drop(self.inner.events.send(event));
    }

    /// A living server of this tenant.
    pub fn get(&self, tenant: &TenantId, id: ServerId) -> Option<Arc<Server>> {
        let state = self.inner.state.load();
        state.server(id).filter(|server| server.tenant_id == *tenant).cloned()
    }

    /// The living server of this name.
    pub fn find(&self, tenant: &TenantId, name: &str) -> Option<Arc<Server>> {
        self.inner.state.load().find(tenant, name).cloned()
    }

    /// One page of a tenant's servers, ordered by name.
    ///
    /// Errors: [`ErrorKind::InvalidParams`] for a limit above [`Filter::MAX_LIMIT`].
    pub fn list(&self, tenant: &TenantId, filter: &Filter) -> Result<Page> {
        self.state().list(tenant, filter)
    }

    /// Writes to the audit trail that something was refused: the outcome is the error's kind. That the trail cannot
    /// be written is logged and does not hide the refusal.
    pub async fn refuse(&self, tenant: &TenantId, actor: &Actor, action: &str, target: &str, error: &Error) {
        self.inner.refuse(tenant, actor, action, target, error).await;
    }

    /// Writes an action to the audit trail that touched no record, such as starting a stdio server.
    ///
    /// Errors: [`ErrorKind::Storage`].
    pub async fn log(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        action: &str,
        target: &str,
        detail: serde_json::Value,
    ) -> Result<()> {
        let entry = self.inner.audit(tenant, actor, action, target, "ok", detail);
        self.inner.store.append_audit(&entry).await
    }

    /// The tenant's newest audit rows first.
    pub async fn audit(&self, tenant: &TenantId, limit: u32) -> Result<Vec<AuditEntry>> {
        self.inner.store.audit(tenant, limit).await
    }

    /// Whether the store can be read and written now.
    pub async fn check(&self) -> Result<()> {
        self.inner.store.check().await
    }

    /// Waits for the writes that have begun, then closes the store. Writes after this fail.
    pub async fn close(&self) {
        self.inner.tasks.stop().await;
        self.inner.store.close().await;
    }

    /// Runs `work` to its end even if the caller stops waiting for it.
    async fn to_end<T, F, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
        W: FnOnce(Arc<RegistryCore>) -> F,
    {
        let (done, outcome) = oneshot::channel();
        let work = work(self.inner.clone());
        self.inner.tasks.spawn_to_end(async move {
            // The caller may have gone; the work is done all the same.
            drop(done.send(work.await));
        });
        outcome.await.unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::Internal,
                "the write was cut short; read the server to see whether it took",
            ))
        })
    }
}

impl RegistryCore {
    /// To the microsecond, as stores keep it: times in memory equal those that are read after a restart.
    fn now(&self) -> Timestamp {
        micros(self.clock.timestamp())
    }

    /// Changes memory and tells the events, so that events come in the order of the changes.
    fn swap<T>(&self, change: impl FnOnce(&mut RegistryState, &mut dyn FnMut(Event)) -> T) -> T {
        // Nothing that can be half done is done under this lock.
        let _swapping = self.swapping.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = (*self.state.load_full()).clone();
        let mut events = Vec::new();
        let outcome = change(&mut state, &mut |event| events.push(event));
        self.state.store(Arc::new(state));
        for event in events {
            // Fails only if there are no subscribers.
            drop(self.events.send(event));
        }
        outcome
    }

    fn audit(
        &self,
        tenant: &TenantId,
        actor: &Actor,
        action: &str,
        target: &str,
        outcome: &str,
        detail: serde_json::Value,
    ) -> AuditEntry {
        AuditEntry {
            at: self.now(),
            tenant_id: tenant.clone(),
            actor: actor.subject.clone(),
            action: action.to_owned(),
            // A target can be a name that a stranger sent.
            target: target.chars().take(128).collect(),
            outcome: outcome.to_owned(),
            correlation_id: actor.correlation_id.clone(),
            detail,
        }
    }

    async fn refuse(&self, tenant: &TenantId, actor: &Actor, action: &str, target: &str, error: &Error) {
        let detail = serde_json::json!({ "message": error.message() });
        let entry = self.audit(tenant, actor, action, target, error.kind().row().name, detail);
        if let Err(fault) = self.store.append_audit(&entry).await {
            tracing::error!(%fault, action, refused = %error, "a refusal could not be written to the audit trail");
        }
    }
}

fn micros(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

fn no_server(id: ServerId) -> Error {
    Error::new(ErrorKind::NotFound, "no such server").with("id", id)
}
