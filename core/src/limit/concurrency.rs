//! Permits for calls under way: so many in all, divided so that no tenant's slowness becomes another's.
//!
//! A tenant may take a permit while it has fewer than `share` times as many as are free (the dynamic threshold of Choudhury and
//! Hahne, IEEE/ACM Transactions on Networking 6(2), 1998). So a tenant that is alone gets `share / (share + 1)` of all permits
//! and several that want everything get equal parts, and there are always free ones for a tenant that uses few: it never waits
//! for the others, however slow their servers are. A call that may not take a permit waits a while in a queue of its tenant's;
//! permits that come free go round the tenants that wait. Processes of this machine stand outside of that and only need a permit
//! to be free.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::settings::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::model::TenantId;

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    most_each: usize,
    share: usize,
    wait: Duration,
    most_waiting: usize,
    taken: AtomicUsize,
    /// Those in all queues: a call that ends looks at the queues only if there are any.
    waiting: AtomicUsize,
    state: Mutex<ConcurrencyState>,
}

#[derive(Debug, Default)]
struct ConcurrencyState {
    tenants: HashMap<TenantId, TenantQueue>,
    /// The tenants with somebody waiting; the first is served next.
    round: VecDeque<TenantId>,
    tickets: u64,
}

/// Kept while it has a permit or waits for one.
#[derive(Debug, Default)]
struct TenantQueue {
    taken: usize,
    queue: VecDeque<(u64, oneshot::Sender<()>)>,
}

/// A permit, released when dropped.
#[derive(Debug)]
pub(super) struct ConcurrencyPermit {
    places: Arc<Places>,
    tenant: Option<TenantId>,
}

impl Places {
    pub(super) fn new(settings: &Settings) -> Arc<Self> {
        let most = settings.max_calls;
        Arc::new(Self {
            most,
            most_each: if settings.max_calls_per_tenant == 0 { most } else { settings.max_calls_per_tenant },
            share: settings.share as usize,
            wait: settings.wait,
            most_waiting: settings.max_waiting,
            taken: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            state: Mutex::default(),
        })
    }

    /// Calls under way, and calls that wait.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.taken.load(SeqCst), self.waiting.load(SeqCst))
    }

    /// A permit for a process of this machine, if one is free.
    pub(super) fn enter_local(self: &Arc<Self>) -> Result<ConcurrencyPermit> {
        let free = self.taken.fetch_add(1, SeqCst) < self.most;
        // Its drop releases a permit that was taken in vain.
        let place = ConcurrencyPermit { places: Arc::clone(self), tenant: None };
        if free { Ok(place) } else { Err(self.full()) }
    }

    /// A permit for a call of `tenant`, at once or after a wait.
    pub(super) fn enter(self: &Arc<Self>, tenant: &TenantId) -> Result<SlotGrant> {
        let mut state = self.state();
        let ConcurrencyState { tenants, round, tickets } = &mut *state;
        let own = tenants.entry(tenant.clone()).or_default();
        // Calls that wait already come first.
        if own.queue.is_empty() && self.reserve(own.taken) {
            own.taken += 1;
            return Ok(SlotGrant::Now(ConcurrencyPermit {
                places: Arc::clone(self),
                tenant: Some(tenant.clone()),
            }));
        }
        if own.queue.len() >= self.most_waiting {
            state.forget(tenant);
            return Err(self.crowded());
        }
        let (served, turn) = oneshot::channel();
        *tickets += 1;
        let ticket = *tickets;
        if own.queue.is_empty() {
            round.push_back(tenant.clone());
        }
        own.queue.push_back((ticket, served));
        self.waiting.fetch_add(1, SeqCst);
        // A process of this machine may have left since, and seen no call waiting.
        self.hand_out(&mut state);
        drop(state);
        Ok(SlotGrant::Later(QueuedCall {
            places: Arc::clone(self),
            tenant: tenant.clone(),
            ticket,
            turn,
            over: false,
        }))
    }

    /// Takes a permit for a tenant that has `own`, if it may have one more.
    fn reserve(&self, own: usize) -> bool {
        let taken = self.taken.fetch_add(1, SeqCst);
        let free = self.most.saturating_sub(taken);
        let may = free > 0 && own < self.share.saturating_mul(free) && own < self.most_each;
        if !may {
            self.taken.fetch_sub(1, SeqCst);
        }
        may
    }

    /// Hands out free permits to calls that wait, one tenant after the other.
    fn hand_out(&self, state: &mut ConcurrencyState) {
        let mut in_vain = 0;
        while in_vain < state.round.len() {
            let Some(tenant) = state.round.pop_front() else { return };
            let Some(own) = state.tenants.get_mut(&tenant) else { continue };
            if !self.reserve(own.taken) {
                in_vain += 1;
                state.round.push_back(tenant);
                continue;
            }
            in_vain = 0;
            if let Some((_, served)) = own.queue.pop_front() {
                self.waiting.fetch_sub(1, SeqCst);
                own.taken += 1;
                // The permit of a call that left is taken back by the drop of its `QueuedCall`, as that of one that was served.
                let _ = served.send(());
            }
            if !own.queue.is_empty() {
                state.round.push_back(tenant);
            }
        }
    }

    fn leave(&self, tenant: Option<&TenantId>) {
        self.taken.fetch_sub(1, SeqCst);
        if tenant.is_none() && self.waiting.load(SeqCst) == 0 {
            return;
        }
        let mut state = self.state();
        if let Some(tenant) = tenant {
            if let Some(own) = state.tenants.get_mut(tenant) {
                own.taken -= 1;
            }
            state.forget(tenant);
        }
        self.hand_out(&mut state);
    }

    /// Why there is no permit: the gateway has none left, or the tenant has its share.
    fn crowded(&self) -> Error {
        if self.taken.load(SeqCst) >= self.most {
            return self.full();
        }
        Error::new(
            ErrorKind::RateLimited,
            "this tenant's share of concurrent calls is used up; send fewer at once",
        )
        .retry_after(Duration::from_secs(1))
        .not_sent()
    }

    fn full(&self) -> Error {
        Error::new(ErrorKind::Unavailable, "the gateway's limit of concurrent calls is reached; try again")
            .with("limit", self.most)
            .retry_after(Duration::from_secs(1))
            .not_sent()
    }

    fn state(&self) -> MutexGuard<'_, ConcurrencyState> {
        // No code that holds the lock can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConcurrencyState {
    fn forget(&mut self, tenant: &TenantId) {
        if self.tenants.get(tenant).is_some_and(|own| own.taken == 0 && own.queue.is_empty()) {
            self.tenants.remove(tenant);
        }
    }
}

impl Drop for ConcurrencyPermit {
    fn drop(&mut self) {
        self.places.leave(self.tenant.as_ref());
    }
}

/// A permit, or a turn in the queue for one.
pub(super) enum SlotGrant {
    Now(ConcurrencyPermit),
    Later(QueuedCall),
}

/// Somebody in a queue.
pub(super) struct QueuedCall {
    places: Arc<Places>,
    tenant: TenantId,
    ticket: u64,
    turn: oneshot::Receiver<()>,
    over: bool,
}

impl QueuedCall {
    /// The permit, once it is this one's turn.
    pub(super) async fn place(mut self) -> Result<ConcurrencyPermit> {
        match tokio::time::timeout(self.places.wait, &mut self.turn).await {
            Ok(Ok(())) => {
                self.over = true;
                Ok(ConcurrencyPermit { places: Arc::clone(&self.places), tenant: Some(self.tenant.clone()) })
            }
            _ => Err(self.places.crowded()),
        }
    }
}

impl Drop for QueuedCall {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let mut state = self.places.state();
        let own = state.tenants.get_mut(&self.tenant);
        let place = own.and_then(|own| {
            let place = own.queue.iter().position(|(ticket, _)| *ticket == self.ticket)?;
            own.queue.remove(place)?;
            Some(own.queue.is_empty())
        });
        let Some(last) = place else {
            // Served, and never told.
            drop(state);
            return self.places.leave(Some(&self.tenant));
        };
        self.places.waiting.fetch_sub(1, SeqCst);
        if last {
            state.round.retain(|tenant| *tenant != self.tenant);
        }
        state.forget(&self.tenant);
    }
}
