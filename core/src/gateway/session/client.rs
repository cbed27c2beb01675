//! One legacy client's session: its declarations, its own sessions with servers, its calls in flight, the requests that
//! servers sent to it, and its outbox.
//!
//! Invariant: every message that a server sends in one of this client's own upstream sessions goes to this client alone,
//! and an id that crosses the gateway is replaced in both directions.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::quality::RandomState;
use smol_str::SmolStr;
use tokio_util::sync::CancellationToken;

use super::outbox::Outbox;
use super::pending_requests::PendingRequests;
use super::replay::Replays;
use super::sticky_routes::StickyRoutes;
use crate::clock::Tick;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Endpoint, Principal, ServerId};
use crate::observe::Active;
use crate::rpc::Members;
use crate::tasks::awaited::{Awaited, Promise, promise};
use crate::transport::{Hello, Session};

/// A client's session.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: Arc<str>,
    pub(crate) principal: Principal,
    pub(crate) route: Endpoint,
    pub(crate) hello: Hello,
    pub(crate) opened: Tick,
    touched: AtomicU64,
    /// Whether a server would keep state for this client.
    apart: AtomicBool,
    /// Its own sessions with servers, by upstream number: the session of a replaced upstream is no longer found.
    upstreams: Mutex<BTreeMap<u64, Tie>>,
    /// The requests in flight, by the client's own ids.
    flights: Mutex<HashMap<SmolStr, Arc<Active>, RandomState>>,
    /// The requests of servers to this client that wait for an answer.
    pub(crate) questions: PendingRequests,
    /// The replicas that keep state for it.
    pub(crate) bound: StickyRoutes,
    pub(crate) outbox: Outbox,
    /// The streams of its calls.
    pub(crate) replays: Replays,
    pub(crate) log_level: Mutex<Option<String>>,
    pub(crate) ended: CancellationToken,
}

/// A client's session with one server.
#[derive(Debug)]
struct Tie {
    server: ServerId,
    state: TieState,
}

#[derive(Debug)]
enum TieState {
    /// A task opens the session. Every caller that needs it waits for the task.
    Opening(Awaited<Arc<Session>>),
    Open(Arc<Session>),
}

/// How a client gets its session with a server.
pub(crate) enum SessionSlot {
    Open(Arc<Session>),
    Opening(Awaited<Arc<Session>>),
    /// The caller must open it in a task and keep the promise.
    Begin {
        promise: Promise<Arc<Session>>,
        awaited: Awaited<Arc<Session>>,
        /// The broken session that it replaces.
        broken: Option<Arc<Session>>,
    },
}

impl Client {
    pub(crate) fn new(
        id: Arc<str>,
        principal: Principal,
        route: Endpoint,
        hello: Hello,
        now: Tick,
    ) -> Arc<Self> {
        let can_be_asked = can_be_asked(&hello);
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
            questions: PendingRequests::default(),
            bound: StickyRoutes::default(),
            outbox: Outbox::default(),
            replays: Replays::default(),
            log_level: Mutex::default(),
            ended: CancellationToken::new(),
        })
    }

    pub(crate) fn touch(&self, now: Tick) {
        self.touched.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// The time of the last activity, or `None` while an open stream or a request in flight keeps the session alive.
    pub(crate) fn idle_since(&self) -> Option<Tick> {
        let busy = self.outbox.is_attached() || !locked(&self.flights).is_empty();
        (!busy).then(|| Tick::from_nanos(self.touched.load(Ordering::Relaxed)))
    }

    /// Whether it stands for modern clients, which have no session: it receives only messages that a client listens for.
    pub(crate) fn is_pooled(&self) -> bool {
        self.id.is_empty()
    }

    /// Whether it declared a capability that lets servers send it requests.
    pub(crate) fn can_be_asked(&self) -> bool {
        can_be_asked(&self.hello)
    }

    pub(crate) fn wants_own_session(&self) -> bool {
        self.apart.load(Ordering::Relaxed)
    }

    /// Notes that servers keep state for this client from now on: a log level, a subscription.
    pub(crate) fn set_apart(&self) {
        self.apart.store(true, Ordering::Relaxed);
    }

    /// This client's session with the upstream of this number, if it is open.
    pub(crate) fn session_with(&self, number: u64) -> Option<Arc<Session>> {
        locked(&self.upstreams).get(&number).and_then(Tie::open).filter(|session| session.is_open()).cloned()
    }

    /// How this client gets its session with the upstream of this number. [`ErrorKind::SessionNotFound`] if the client's own
    /// session was ended.
    pub(crate) fn way_to(&self, number: u64, server: ServerId) -> Result<SessionSlot> {
        let mut upstreams = locked(&self.upstreams);
        // Checked under the lock: an end that comes later finds the entry that is made here.
        if self.ended.is_cancelled() {
            return Err(ended());
        }
        let broken = match upstreams.get(&number).map(|tie| &tie.state) {
            Some(TieState::Open(session)) if session.is_open() => {
                return Ok(SessionSlot::Open(Arc::clone(session)));
            }
            Some(TieState::Opening(awaited)) => return Ok(SessionSlot::Opening(awaited.clone())),
            Some(TieState::Open(broken)) => Some(Arc::clone(broken)),
            None => None,
        };
        let (promise, awaited) = promise();
        upstreams.insert(number, Tie { server, state: TieState::Opening(awaited.clone()) });
        Ok(SessionSlot::Begin { promise, awaited, broken })
    }

    /// Assigns an opened session to this client. False if the client has ended meanwhile, or if `is_gone` says that the
    /// upstream has: the session then belongs to no client, and the caller closes it.
    pub(crate) fn adopt(
        &self,
        number: u64,
        opening: &Awaited<Arc<Session>>,
        session: &Arc<Session>,
        is_gone: impl FnOnce() -> bool,
    ) -> bool {
        let mut upstreams = locked(&self.upstreams);
        let Some(tie) = upstreams.get_mut(&number).filter(|tie| tie.is(opening)) else { return false };
        if self.ended.is_cancelled() || is_gone() {
            return false;
        }
        tie.state = TieState::Open(Arc::clone(session));
        true
    }

    /// Forgets an opening that failed.
    pub(crate) fn give_up(&self, number: u64, opening: &Awaited<Arc<Session>>) {
        let mut upstreams = locked(&self.upstreams);
        if upstreams.get(&number).is_some_and(|tie| tie.is(opening)) {
            upstreams.remove(&number);
        }
    }

    /// Takes this client's session with an upstream that was removed. A session that is being opened is closed by the task
    /// that opens it.
    pub(crate) fn take_upstream(&self, number: u64) -> Option<Arc<Session>> {
        let session = locked(&self.upstreams).remove(&number)?.open().cloned()?;
        self.questions.forget(&session);
        Some(session)
    }

    /// This client's open sessions with servers.
    pub(crate) fn upstreams(&self) -> Vec<(ServerId, Arc<Session>)> {
        let upstreams = locked(&self.upstreams);
        upstreams.values().filter_map(|tie| Some((tie.server, Arc::clone(tie.open()?)))).collect()
    }

    /// Forgets a session that the server has forgotten or that broke.
    pub(crate) fn forget(&self, number: u64, lost: &Arc<Session>) {
        let mut upstreams = locked(&self.upstreams);
        if upstreams.get(&number).and_then(Tie::open).is_some_and(|session| Arc::ptr_eq(session, lost)) {
            upstreams.remove(&number);
        }
        drop(upstreams);
        self.questions.forget(lost);
    }

    /// Enters a request; the entry lasts as long as the returned guard.
    pub(crate) fn track(self: &Arc<Self>, raw_id: &str, active: &Arc<Active>) -> RequestGuard {
        let raw_id = SmolStr::from(raw_id);
        locked(&self.flights).insert(raw_id.clone(), Arc::clone(active));
        RequestGuard { client: Arc::clone(self), raw_id, active: Arc::clone(active) }
    }

    /// Cancels the request that has the client's id `raw_id`; false if none is in flight.
    /// `reason` is the client's, a raw JSON string.
    pub(crate) fn cancel(&self, raw_id: &str, reason: Option<&str>) -> bool {
        let Some(active) = locked(&self.flights).get(raw_id).cloned() else { return false };
        if let Some(reason) = reason {
            // The first reason stands; a second cancellation changes nothing.
            let _ = active.reason.set(reason.to_owned());
        }
        active.cancel.cancel();
        true
    }

    /// Ends the session: cancels its calls in flight and closes its sessions with servers. A session that is being opened is
    /// closed by the task that opens it.
    pub(crate) async fn end(&self) {
        self.ended.cancel();
        self.outbox.end();
        self.replays.end();
        for active in locked(&self.flights).values() {
            active.cancel.cancel();
        }
        let ties = std::mem::take(&mut *locked(&self.upstreams));
        let closing = ties.values().filter_map(Tie::open).map(|session| session.close());
        futures_util::future::join_all(closing).await;
        self.questions.clear();
    }
}

impl Tie {
    fn open(&self) -> Option<&Arc<Session>> {
        match &self.state {
            TieState::Open(session) => Some(session),
            TieState::Opening(_) => None,
        }
    }

    fn is(&self, opening: &Awaited<Arc<Session>>) -> bool {
        matches!(&self.state, TieState::Opening(awaited) if awaited.is(opening))
    }
}

fn can_be_asked(hello: &Hello) -> bool {
    Members::parse(&hello.capabilities).is_ok_and(|capabilities| {
        ["sampling", "elicitation", "roots", "tasks"].iter().any(|name| capabilities.get(name).is_some())
    })
}

/// The error for a client that uses a session which it has ended.
pub(crate) fn ended() -> Error {
    Error::new(ErrorKind::SessionNotFound, "the session was ended").not_sent()
}

/// Keeps a request entered until it is answered, cancelled or given up.
#[derive(Debug)]
pub(crate) struct RequestGuard {
    client: Arc<Client>,
    raw_id: SmolStr,
    active: Arc<Active>,
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let mut flights = locked(&self.client.flights);
        let Some((id, active)) = flights.remove_entry(&self.raw_id) else { return };
        // Of two requests with the same id, the later one stays entered.
        if !Arc::ptr_eq(&active, &self.active) {
            flights.insert(id, active);
        }
    }
}

/// A panic elsewhere cannot leave these maps half changed: every change is one insert or remove.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
