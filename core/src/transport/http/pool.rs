//! The connections of one server: bounded, reused newest first and on the thread that opened them, closed when they have been idle for long.
//!
//! Invariant: a connection is either held with a permit or idle, and one is opened only when no idle one can be
//! used; so calls never have more than `limit` connections open. Streams that only listen have permits of their
//! own, and their connections are not reused, so that they cannot keep calls out. A connection that carried what is shown for
//! one caller carries nothing else: some servers let a connection in, not a request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::dial::Dial;
use super::wire::{Rest, Wire};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::tasks::Tasks;

/// An idle connection is closed after this time.
const IDLE: Duration = Duration::from_secs(90);
/// For so long after its last answer, what a connection's own thread has heard of it is all there is to hear: a look at what
/// the system knows costs a system call. A call that is written to a connection which the server has closed may have been executed,
/// for all that anybody can tell.
const HEARD: Duration = Duration::from_millis(1);
/// Time between two looks at the idle connections.
const SWEEP: Duration = Duration::from_secs(30);
/// Longest wait for one of the connections to come free.
const WAIT: Duration = Duration::from_secs(1);

// Boxed: a wire is hundreds of bytes and passes through many hands.
type Wires = Vec<Box<Wire>>;

/// Listening streams that there may be for each connection for calls: a stream costs a client's session next to nothing
/// while it is silent, and a client without one misses what its server has to say.
const LISTENS_PER_CALL: usize = 20;

/// What a connection is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Call,
    Listen,
}

/// The connections of one server.
pub(super) struct Pool {
    pub(super) dial: Dial,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    limit: usize,
    calls: Arc<Semaphore>,
    listens: Arc<Semaphore>,
    idle: Mutex<Wires>,
    sweeping: AtomicBool,
}

/// A connection in use. Dropping it closes the connection.
pub(super) struct Held {
    pool: Arc<Pool>,
    wire: Box<Wire>,
    purpose: Purpose,
    // Behind the wire, so that the connection is closed before another may be opened.
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(dial: Dial, limit: u32, clock: Arc<dyn Clock>, tasks: Tasks) -> Arc<Self> {
        let limit = usize::try_from(limit.max(1)).unwrap_or(1).min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            dial,
            clock,
            tasks,
            limit,
            calls: Arc::new(Semaphore::new(limit)),
            listens: Arc::new(Semaphore::new(
                limit.saturating_mul(LISTENS_PER_CALL).min(Semaphore::MAX_PERMITS),
            )),
            idle: Mutex::default(),
            sweeping: AtomicBool::new(false),
        })
    }

    /// Sends a request and gives the head of the answer, with the connection that the body will come on.
    ///
    /// [`ErrorKind::Unavailable`], not sent, if all connections stay in use for 1 s; else
    /// [`ErrorKind::BadUpstream`], which says whether anything was sent. What was not written on a connection that
    /// turns out to be closed is sent on a new one, once. `owner`: whose calls alone the connection carries.
    pub(super) async fn send(
        self: &Arc<Self>,
        purpose: Purpose,
        owner: Option<&Arc<str>>,
        request: impl Fn() -> Request<Full<Bytes>>,
    ) -> Result<(Held, Response<Incoming>)> {
        let permit = self.permit(purpose).await?;
        let held = |wire| Held { pool: self.clone(), wire, purpose, _permit: permit };
        if purpose == Purpose::Call
            && let Some(mut wire) = self.take_idle(owner)
        {
            match wire.send(request()).await {
                Ok(response) => return Ok((held(wire), response)),
                Err(error) if wire.wrote() => return Err(self.broken(error)),
                Err(error) => tracing::debug!(server = ?self.dial, %error, "an idle connection was closed"),
            }
        }
        let socket = self.dial.open().await?;
        let mut wire = Wire::new(socket).await.map_err(|error| self.broken(error).not_sent())?;
        wire.owner = owner.cloned();
        match wire.send(request()).await {
            Ok(response) => Ok((held(wire), response)),
            Err(error) if wire.wrote() => Err(self.broken(error)),
            Err(error) => Err(self.broken(error).not_sent()),
        }
    }

    async fn permit(&self, purpose: Purpose) -> Result<OwnedSemaphorePermit> {
        let permits = match purpose {
            Purpose::Call => &self.calls,
            Purpose::Listen => &self.listens,
        };
        if let Ok(permit) = permits.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let refused = || {
            let message = format!(
                "all {} connections to the server are in use (configuration.max_connections); none came free within 1 s",
                self.limit
            );
            Error::new(ErrorKind::Unavailable, message).with("address", format!("{:?}", self.dial)).not_sent()
        };
        let waiting = tokio::time::timeout(WAIT, permits.clone().acquire_owned());
        waiting.await.map_err(|_| refused())?.map_err(|_| refused())
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
            let mut idle = self.lock();
            // Back where they were, oldest first; but the one about to be opened needs a place.
            busy.reverse();
            let room = if found.is_some() { self.limit } else { self.calls.available_permits() };
            idle.splice(0..0, busy);
            let excess = idle.len().saturating_sub(room);
            idle.drain(..excess);
        }
        found
    }

    /// The newest idle connection of this owner and thread, else the newest of the owner's.
    fn pop_idle(&self, owner: Option<&Arc<str>>) -> Option<Box<Wire>> {
        let here = std::thread::current().id();
        let mut idle = self.lock();
        let fits = |wire: &Wire| wire.owner.as_ref() == owner;
        let near = idle.iter().rposition(|wire| wire.thread == here && fits(wire));
        let place = near.or_else(|| idle.iter().rposition(|wire| fits(wire)))?;
        Some(idle.remove(place))
    }

    fn put_idle(self: &Arc<Self>, mut wire: Box<Wire>) {
        if wire.rest_driven() == Rest::Dead {
            return;
        }
        wire.idle_since = self.clock.now();
        self.lock().push(wire);
        if !self.sweeping.swap(true, Ordering::Relaxed) {
            let pool = Arc::downgrade(self);
            self.tasks.spawn(sweep(pool));
        }
    }

    fn is_old(&self, wire: &Wire) -> bool {
        self.clock.now().since(wire.idle_since) >= IDLE
    }

    /// Closes what is too old or was closed by the server; whether any idle connection is left.
    pub(super) fn close_old(&self) -> bool {
        let mut idle = self.lock();
        idle.retain_mut(|wire| !self.is_old(wire) && wire.rest() != Rest::Dead);
        !idle.is_empty()
    }

    fn broken(&self, error: hyper::Error) -> Error {
        let message = if error.is_parse() {
            "the server's answer is not HTTP/1.1"
        } else {
            "the connection to the server broke before its answer came"
        };
        Error::new(ErrorKind::BadUpstream, message)
            .with("address", format!("{:?}", self.dial))
            .caused_by(error)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Wires> {
        // What the list holds is whole after any panic: wires are moved in and out.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn idle_count(&self) -> usize {
        self.lock().len()
    }

    #[cfg(test)]
    pub(super) fn ready_count(&self) -> usize {
        self.lock().iter_mut().map(|wire| wire.rest()).filter(|rest| *rest == Rest::Ready).count()
    }
}

impl Held {
    /// The next piece of the answer's body; `None` at its end.
    pub(super) fn poll_chunk(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes>>> {
        self.wire.poll_chunk(body, cx).map_err(|error| {
            let message = "the connection to the server broke in the middle of its answer";
            Error::new(ErrorKind::BadUpstream, message)
                .with("address", format!("{:?}", self.pool.dial))
                .caused_by(error)
        })
    }

    /// Gives the connection back. `body` is what may still come of the answer and is not wanted.
    pub(super) fn release(self, body: Option<Incoming>) {
        let Self { pool, mut wire, purpose, _permit } = self;
        if let Some(body) = body {
            wire.leave(body);
        }
        if purpose == Purpose::Call {
            pool.put_idle(wire);
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
        if pool.lock().is_empty() || pool.sweeping.swap(true, Ordering::Relaxed) {
            return;
        }
    }
}
