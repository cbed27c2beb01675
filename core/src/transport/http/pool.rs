//! The connections of one server: bounded, reused newest first and on the thread that opened them, closed when they have been idle for long.
//!
//! Invariant: a connection is either held with a permit or idle, and one is opened only when no idle one can be used; so calls
//! never have more than `limit` connections open. Streams that only listen have permits of their own, and their connections are
//! not reused, so that they cannot keep calls out. A connection that carried one caller's credentials carries nothing else: some
//! servers authenticate a connection, not a request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::sync::Semaphore;

use super::dial::Dial;
use super::wire::{Rest, Wire};
use crate::clock::Clock;
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::model::Server;
use crate::per_thread::PerThread;
use crate::rpc::Method;
use crate::tasks::Tasks;
use crate::transport::Queued;
use crate::transport::queue::{ConnectionQueue, Slot};

/// An idle connection is closed after this time.
const IDLE: Duration = Duration::from_secs(90);
/// For this long after its last answer, the events that a connection's own thread has received are taken as complete: asking the
/// system costs a system call. A call that is written to a connection which the server has closed may have been executed, for all
/// that anybody can tell.
const HEARD: Duration = Duration::from_millis(1);
/// Time between two looks at the idle connections.
const SWEEP: Duration = Duration::from_secs(30);
/// Longest wait of a stream that only listens for a permit.
const WAIT: Duration = Duration::from_secs(1);

// Boxed: a wire is hundreds of bytes and passes through many hands.
type Wires = Vec<Box<Wire>>;

/// Listening streams that there may be for each connection for calls: a stream costs a client's session next to nothing
/// while it is silent, and a client without one misses what its server has to say.
const LISTENS_PER_CALL: usize = 20;

/// The purpose of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Call,
    /// A message that begins a session: a server that hears it twice has one session more that nobody uses.
    Begin,
    Listen,
}

impl Purpose {
    /// The purpose of a message of this method.
    pub(super) fn of(method: &Method) -> Self {
        match method {
            Method::Initialize | Method::Initialized | Method::Discover => Self::Begin,
            _ => Self::Call,
        }
    }
}

/// The connections of one server.
pub(super) struct Pool {
    pub(super) dial: Dial,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    /// The connections for calls.
    pub(super) calls: ConnectionQueue,
    listens: Semaphore,
    /// Where the threads that opened them look first.
    idle: PerThread<Mutex<Wires>>,
    sweeping: AtomicBool,
}

/// A connection in use. Dropping it closes the connection.
pub(super) struct PooledConnection {
    wire: Box<Wire>,
    // Behind the wire, so that the connection is closed before another may be opened.
    permit: ConnectionPermit,
}

/// A permit for one more connection, given back when dropped. Not the semaphore's own, which would count its holders beside those
/// of the pool.
struct ConnectionPermit {
    pool: Arc<Pool>,
    /// The connection of a call; a stream that only listens has none.
    slot: Option<Slot>,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        match self.slot.take() {
            Some(slot) => self.pool.calls.release(slot),
            None => self.pool.listens.add_permits(1),
        }
    }
}

impl Pool {
    pub(super) fn new(dial: Dial, server: &Server, clock: Arc<dyn Clock>, tasks: Tasks) -> Arc<Self> {
        let calls = ConnectionQueue::new(&server.name, &server.configuration, Arc::clone(&clock));
        let listens = calls.limit().saturating_mul(LISTENS_PER_CALL).min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            dial,
            clock,
            tasks,
            calls,
            listens: Semaphore::new(listens),
            idle: PerThread::new(Mutex::default),
            sweeping: AtomicBool::new(false),
        })
    }

    /// Sends a request and returns the head of the answer, with the connection that the body will come on.
    ///
    /// [`ErrorKind::Unavailable`], not sent, as of [`ConnectionQueue::wait`]; else [`ErrorKind::BadUpstream`], which says whether
    /// anything was sent. A request that was not written on a connection that turns out to be closed is sent on a new
    /// one, once; so is a message that begins a session, written or not. `owner`: the only caller whose calls the connection
    /// carries.
    pub(super) async fn send(
        self: &Arc<Self>,
        purpose: Purpose,
        owner: Option<&Arc<str>>,
        queued: Option<Queued>,
        request: impl Fn() -> Request<Full<Bytes>>,
    ) -> Result<(PooledConnection, Response<Incoming>)> {
        let slot = match purpose {
            Purpose::Listen => Box::pin(self.listen_permit()).await?,
            Purpose::Call | Purpose::Begin => match self.calls.try_take(queued) {
                Some(slot) => Some(slot),
                None => Some(Box::pin(self.calls.wait(queued)).await?),
            },
        };
        let permit = ConnectionPermit { pool: Arc::clone(self), slot };
        if purpose != Purpose::Listen
            && let Some(mut wire) = self.take_idle(owner)
        {
            match wire.send(request()).await {
                Ok(response) => return Ok((PooledConnection { wire, permit }, response)),
                // A server may close an idle connection just when it is written to (RFC 9112, section 9.5).
                Err(error) if wire.wrote() && purpose != Purpose::Begin => return Err(self.broken(error)),
                Err(error) => tracing::debug!(server = ?self.dial, %error, "an idle connection was closed"),
            }
        }
        // Boxed: hardly any call needs the room.
        Box::pin(async move {
            let socket = self.dial.open().await?;
            let mut wire = Wire::new(socket).await.map_err(|error| self.broken(error).not_sent())?;
            wire.owner = owner.cloned();
            match wire.send(request()).await {
                Ok(response) => Ok((PooledConnection { wire, permit }, response)),
                Err(error) if wire.wrote() => Err(self.broken(error)),
                Err(error) => Err(self.broken(error).not_sent()),
            }
        })
        .await
    }

    /// Takes a permit for a stream that only listens; it occupies no connection of those for calls.
    async fn listen_permit(&self) -> Result<Option<Slot>> {
        let refused = || {
            let message = format!(
                "server `{}` has as many listening streams as it may have, {LISTENS_PER_CALL} times \
                 `configuration.max_connections`, and none ended within 1 s; raise `configuration.max_connections`",
                self.calls.server()
            );
            Error::new(ErrorKind::Unavailable, message)
                .because(Cause::PoolExhausted)
                .with_private("address", format!("{:?}", self.dial))
                .not_sent()
        };
        let waiting = tokio::time::timeout(WAIT, self.listens.acquire());
        waiting.await.map_err(|_| refused())?.map_err(|_| refused())?.forget();
        Ok(None)
    }

    /// The newest idle connection of this owner that can be used; those found closed or too old are dropped.
    fn take_idle(&self, owner: Option<&Arc<str>>) -> Option<Box<Wire>> {
        let mut busy = Vec::new();
        let found = loop {
            let Some(mut wire) = self.pop_idle(owner) else { break None };
            let rested = self.clock.now().since(wire.idle_since);
            if rested >= IDLE {
                continue;
            }
            let heard = rested < HEARD && wire.thread == std::thread::current().id();
            match if heard { wire.rest() } else { wire.rest_asked() } {
                Rest::Ready => break Some(wire),
                Rest::Busy => busy.push(wire),
                Rest::Dead => {}
            }
        };
        if !busy.is_empty() || found.is_none() {
            // Back where they were, oldest first; but the one about to be opened needs a slot. A permit is given back after its
            // connection was put among the idle ones: looked at in this order, none is overlooked.
            busy.reverse();
            let room = if found.is_some() { self.calls.limit() } else { self.calls.free() };
            lock(self.idle.mine()).splice(0..0, busy);
            self.close_excess(room);
        }
        found
    }

    /// The newest idle connection of this owner and thread, else one of the owner's.
    fn pop_idle(&self, owner: Option<&Arc<str>>) -> Option<Box<Wire>> {
        let here = std::thread::current().id();
        let fits = |wire: &Wire| wire.owner.as_ref() == owner;
        self.idle.all().find_map(|idle| {
            let mut idle = lock(idle);
            let near = idle.iter().rposition(|wire| wire.thread == here && fits(wire));
            let place = near.or_else(|| idle.iter().rposition(|wire| fits(wire)))?;
            Some(idle.remove(place))
        })
    }

    /// Closes idle connections, the oldest of each thread first, until `room` are left.
    fn close_excess(&self, room: usize) {
        let mut kept = 0;
        for idle in self.idle.all() {
            let mut idle = lock(idle);
            let excess = (kept + idle.len()).saturating_sub(room).min(idle.len());
            idle.drain(..excess);
            kept += idle.len();
        }
    }

    fn put_idle(self: &Arc<Self>, mut wire: Box<Wire>) {
        if wire.rest_driven() == Rest::Dead {
            return;
        }
        wire.idle_since = self.clock.now();
        lock(self.idle.of(wire.stripe)).push(wire);
        if !self.sweeping.swap(true, Ordering::Relaxed) {
            let pool = Arc::downgrade(self);
            self.tasks.spawn(sweep(pool));
        }
    }

    fn is_old(&self, wire: &Wire) -> bool {
        self.clock.now().since(wire.idle_since) >= IDLE
    }

    /// Closes idle connections that are too old or were closed by the server; returns whether any is left.
    pub(super) fn close_old(&self) -> bool {
        for idle in self.idle.all() {
            lock(idle).retain_mut(|wire| !self.is_old(wire) && wire.rest() != Rest::Dead);
        }
        self.has_idle()
    }

    fn has_idle(&self) -> bool {
        self.idle.all().any(|idle| !lock(idle).is_empty())
    }

    fn broken(&self, error: hyper::Error) -> Error {
        let message = if error.is_parse() {
            "the server's answer is not HTTP/1.1"
        } else {
            "the connection to the server broke before its answer came"
        };
        Error::new(ErrorKind::BadUpstream, message)
            .with_private("address", format!("{:?}", self.dial))
            .caused_by(error)
    }

    #[cfg(test)]
    pub(super) fn idle_count(&self) -> usize {
        self.idle.all().map(|idle| lock(idle).len()).sum()
    }

    #[cfg(test)]
    pub(super) fn ready_count(&self) -> usize {
        let ready = |idle: &Mutex<Wires>| {
            lock(idle).iter_mut().map(|wire| wire.rest()).filter(|rest| *rest == Rest::Ready).count()
        };
        self.idle.all().map(ready).sum()
    }
}

fn lock(idle: &Mutex<Wires>) -> MutexGuard<'_, Wires> {
    // The list is consistent after any panic: wires are moved in and out.
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PooledConnection {
    /// The next piece of the answer's body; `None` at its end.
    pub(super) fn poll_chunk(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes>>> {
        self.wire.poll_chunk(body, cx).map_err(|error| {
            let message = "the connection to the server broke in the middle of its answer";
            Error::new(ErrorKind::BadUpstream, message)
                .with_private("address", format!("{:?}", self.permit.pool.dial))
                .caused_by(error)
        })
    }

    /// Gives the connection back. `body` is the rest of the answer, which is not wanted.
    pub(super) fn release(self, body: Option<Incoming>) {
        let Self { mut wire, permit } = self;
        if let Some(body) = body {
            wire.leave(body);
        }
        if permit.slot.is_some() {
            permit.pool.put_idle(wire);
        }
        // The permit is dropped last: see the invariant.
    }
}

/// Looks at the idle connections as long as there are any.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(pool) = pool.upgrade() else { return };
        if pool.close_old() {
            continue;
        }
        pool.sweeping.store(false, Ordering::Relaxed);
        // One may have been put in after the look and before the mark was taken away.
        if !pool.has_idle() || pool.sweeping.swap(true, Ordering::Relaxed) {
            return;
        }
    }
}
