//! One legacy client's session: what it declared, its own sessions with servers, its calls under way, what servers
//! asked it, and where to reach it.
//!
//! Invariant: everything that a server says within one of these sessions' own upstream sessions goes to this client
//! and to nobody else, and an id that crosses the gateway is replaced in both directions.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::outbox::Outbox;
use crate::clock::Tick;
use crate::model::{Principal, Route};
use crate::observe::Active;
use crate::rpc::Members;
use crate::transport::{Hello, Session};

/// Questions of servers that may wait for one client.
const MOST_ASKED: usize = 256;
/// Longest id of a server's question, in bytes.
const LONGEST_ID: usize = 256;

/// A client's session.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: Arc<str>,
    pub(super) principal: Principal,
    pub(super) route: Route,
    pub(super) hello: Hello,
    pub(super) opened: Tick,
    touched: AtomicU64,
    /// Whether a server would have something to remember of this client.
    apart: AtomicBool,
    /// Its own sessions, by the number of the upstream: one that was replaced is not found any more.
    upstreams: Mutex<HashMap<u64, Arc<tokio::sync::OnceCell<Arc<Session>>>>>,
    /// The requests under way, by the client's own ids.
    flights: Mutex<HashMap<Box<str>, Arc<Active>>>,
    asked: Mutex<HashMap<u64, Asked>>,
    next_ask: AtomicU64,
    pub(super) outbox: Outbox,
    pub(super) log_level: Mutex<Option<String>>,
    pub(super) ended: CancellationToken,
}

/// A request of a server to this client, waiting for the answer.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) session: Arc<Session>,
    /// The id that the server gave, byte for byte.
    pub(super) raw_id: String,
}

impl Client {
    pub(super) fn new(
        id: Arc<str>,
        principal: Principal,
        route: Route,
        hello: Hello,
        now: Tick,
    ) -> Arc<Self> {
        let can_be_asked = Members::parse(&hello.capabilities).is_ok_and(|capabilities| {
            ["sampling", "elicitation", "roots", "tasks"].iter().any(|name| capabilities.get(name).is_some())
        });
        Arc::new(Self {
            id,
            principal,
            route,
            hello,
            opened: now,
            touched: AtomicU64::new(now.as_nanos()),
            apart: AtomicBool::new(can_be_asked),
            upstreams: Mutex::default(),
            flights: Mutex::default(),
            asked: Mutex::default(),
            next_ask: AtomicU64::new(1),
            outbox: Outbox::default(),
            log_level: Mutex::default(),
            ended: CancellationToken::new(),
        })
    }

    pub(super) fn touch(&self, now: Tick) {
        self.touched.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// The last sign of life, or `None` while something keeps the session alive by itself.
    pub(super) fn idle_since(&self) -> Option<Tick> {
        let busy = self.outbox.is_attached() || !locked(&self.flights).is_empty();
        (!busy).then(|| Tick::from_nanos(self.touched.load(Ordering::Relaxed)))
    }

    /// Whether it stands for modern clients, who have no session: it hears only what somebody listens to.
    pub(super) fn is_pooled(&self) -> bool {
        self.id.is_empty()
    }

    pub(super) fn wants_own_session(&self) -> bool {
        self.apart.load(Ordering::Relaxed)
    }

    /// From now on servers have something to remember of this client: a log level, a subscription.
    pub(super) fn set_apart(&self) {
        self.apart.store(true, Ordering::Relaxed);
    }

    /// The place of this client's session with the upstream of this number.
    pub(super) fn upstream(&self, number: u64) -> Arc<tokio::sync::OnceCell<Arc<Session>>> {
        Arc::clone(locked(&self.upstreams).entry(number).or_default())
    }

    /// Takes this client's session with an upstream that is no more.
    pub(super) fn take_upstream(&self, number: u64) -> Option<Arc<Session>> {
        locked(&self.upstreams).remove(&number)?.get().cloned()
    }

    /// This client's session with the upstream of this number, if it was opened.
    pub(super) fn session_with(&self, number: u64) -> Option<Arc<Session>> {
        locked(&self.upstreams).get(&number)?.get().cloned()
    }

    /// This client's open sessions with servers.
    pub(super) fn upstreams(&self) -> Vec<Arc<Session>> {
        locked(&self.upstreams).values().filter_map(|cell| cell.get().cloned()).collect()
    }

    /// Forgets a session that the server has forgotten or that broke.
    pub(super) fn forget(&self, number: u64, lost: &Arc<Session>) {
        let mut upstreams = locked(&self.upstreams);
        if upstreams
            .get(&number)
            .and_then(|cell| cell.get())
            .is_some_and(|session| Arc::ptr_eq(session, lost))
        {
            upstreams.remove(&number);
        }
    }

    /// Enters a request; the entry lasts as long as the returned guard.
    pub(super) fn take_off(self: &Arc<Self>, raw_id: &str, active: &Arc<Active>) -> Landing {
        locked(&self.flights).insert(raw_id.into(), Arc::clone(active));
        Landing { client: Arc::clone(self), raw_id: raw_id.into(), active: Arc::clone(active) }
    }

    /// Cancels the request that the client calls `raw_id`; false if none is under way.
    /// `reason` is the client's, a raw JSON string.
    pub(super) fn cancel(&self, raw_id: &str, reason: Option<&str>) -> bool {
        let Some(active) = locked(&self.flights).get(raw_id).cloned() else { return false };
        if let Some(reason) = reason {
            // The first reason stands; a second cancellation changes nothing.
            let _ = active.reason.set(reason.to_owned());
        }
        active.cancel.cancel();
        true
    }

    /// Notes that a server asks this client something, and gives the id under which the client hears it; `None` if too
    /// many questions are open, or the server's id is longer than any id has to be.
    pub(super) fn ask(&self, session: &Arc<Session>, raw_id: &str) -> Option<u64> {
        if raw_id.len() > LONGEST_ID || locked(&self.asked).len() >= MOST_ASKED {
            return None;
        }
        let id = self.next_ask.fetch_add(1, Ordering::Relaxed);
        locked(&self.asked).insert(id, Asked { session: Arc::clone(session), raw_id: raw_id.into() });
        Some(id)
    }

    /// Who asked what the client now answers; each question is answered once.
    pub(super) fn answered(&self, id: u64) -> Option<Asked> {
        locked(&self.asked).remove(&id)
    }

    /// The id by which the client knows the question that the server calls `raw_id`.
    pub(super) fn asked_as(&self, session: &Arc<Session>, raw_id: &str) -> Option<u64> {
        locked(&self.asked)
            .iter()
            .find(|(_, asked)| Arc::ptr_eq(&asked.session, session) && asked.raw_id == raw_id)
            .map(|(id, _)| *id)
    }

    /// Sends a message that belongs to no exchange.
    pub(super) fn tell(&self, message: Bytes) {
        self.outbox.push(message);
    }

    /// Ends the session: calls under way are cancelled, sessions with servers closed.
    pub(super) async fn end(&self) {
        self.ended.cancel();
        self.outbox.detach();
        for active in locked(&self.flights).values() {
            active.cancel.cancel();
        }
        let sessions: Vec<_> = std::mem::take(&mut *locked(&self.upstreams)).into_values().collect();
        let closing = sessions.iter().filter_map(|cell| cell.get()).map(|session| session.close());
        futures_util::future::join_all(closing).await;
    }
}

/// Keeps a request entered until it is answered, cancelled or given up.
#[derive(Debug)]
pub(super) struct Landing {
    client: Arc<Client>,
    raw_id: Box<str>,
    active: Arc<Active>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut flights = locked(&self.client.flights);
        // A client that gives two requests the same id has the later one entered.
        if flights.get(&self.raw_id).is_some_and(|active| Arc::ptr_eq(active, &self.active)) {
            flights.remove(&self.raw_id);
        }
    }
}

/// A panic elsewhere cannot leave these maps half changed: every change is one insert or remove.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
