//! The owner of the snapshot: calls read the current one, and changes are made one at a time.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};

use super::claims::Claims;
use super::service::Replica;
use super::snapshot::{Snapshot, View};
use crate::auth::Restrictions;
use crate::model::{Principal, Server, TenantId};

/// The router: the views of all tenants at this moment, and the replicas in them.
pub(crate) struct Router {
    /// Shared with holders that pick without holding the gateway.
    snapshot: Arc<ArcSwap<Snapshot>>,
    changing: Mutex<()>,
    /// Whether a tenant without servers still has the gateway's own service.
    has_builtin: bool,
}

/// A change of the snapshot under way; no other begins before it is dropped.
pub(crate) struct Changing<'a> {
    router: &'a Router,
    _one_at_a_time: MutexGuard<'a, ()>,
    /// The snapshot as it was when the change began.
    pub(crate) before: Arc<Snapshot>,
}

impl Changing<'_> {
    /// Puts `after` in the place of the snapshot.
    pub(crate) fn finish(&self, after: Arc<Snapshot>) {
        self.router.snapshot.store(after);
    }
}

impl Router {
    /// A router that knows no server yet, and these claims on names.
    pub(crate) fn new(claims: HashMap<TenantId, Arc<Claims>>, has_builtin: bool) -> Self {
        let snapshot = Snapshot { claims, ..Snapshot::default() };
        Self { snapshot: Arc::new(ArcSwap::from_pointee(snapshot)), changing: Mutex::default(), has_builtin }
    }

    /// The current snapshot, for as long as the guard lives: a short while.
    #[inline]
    pub(crate) fn load(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// The snapshots, now and later, for a holder that does not keep the gateway.
    pub(crate) fn snapshots(&self) -> &Arc<ArcSwap<Snapshot>> {
        &self.snapshot
    }

    /// Begins a change of the snapshot; waits for the one under way.
    pub(crate) fn change(&self) -> Changing<'_> {
        let guard = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        Changing { router: self, _one_at_a_time: guard, before: self.snapshot.load_full() }
    }

    /// The replica to which calls to this server go.
    pub(crate) fn place(&self, server: &Server) -> Option<Replica> {
        self.load().place_of(server).cloned()
    }

    /// Lends the current view of a caller to `with`. Unlike [`Router::view_for`] it shares no counter with other threads, unless
    /// something is hidden from the caller.
    pub(crate) fn with_view<T>(&self, principal: &Principal, with: impl FnOnce(&View) -> T) -> T {
        self.load().with_view(principal, |view| match view {
            Some(view) => with(view),
            None => with(&self.view_for(principal)),
        })
    }

    /// The current view of a caller.
    pub(crate) fn view_for(&self, principal: &Principal) -> Arc<View> {
        self.view(&principal.tenant).for_principal(principal)
    }

    /// The current view of a tenant.
    pub(crate) fn view(&self, tenant: &TenantId) -> Arc<View> {
        let snapshot = self.load();
        let nothing = || {
            let (services, index) = (BTreeMap::default(), Arc::clone(&snapshot.index));
            Arc::new(View::new(tenant.clone(), services, index, Restrictions::default(), self.has_builtin))
        };
        snapshot.tenants.get(tenant).cloned().unwrap_or_else(nothing)
    }
}

impl Drop for Router {
    /// Empties the snapshot: a remaining picker finds nothing, and keeps nothing in memory.
    fn drop(&mut self) {
        self.snapshot.store(Arc::default());
    }
}
