//! The queue for the connections of one server: shared fairly between callers, first come first served within one caller.
//!
//! A caller may take a connection while it holds fewer than [`SHARE`] times as many as are free (the dynamic threshold of
//! Choudhury and Hahne, as in `limit/concurrency.rs`). So one caller alone has four of five connections, and the rest is left
//! for others, however slow its calls are. A call that may not take one waits for as long as its deadline allows; a connection
//! that comes free goes to the waiting caller with the fewest, and among equals to the one that was served least recently.
//!
//! Invariants:
//! - Never more than `limit` connections are taken. Each occupies a slot that names its caller.
//! - A connection that is free at once costs atomics only: no lock, no allocation. The lock is taken by calls that wait, and by
//!   calls that end while others wait.
//! - A call that fails to take a connection hands out free ones afterwards, under the lock: its own attempt may have made another
//!   one fail.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::{QueueStats, Queued};
use crate::clock::Clock;
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::model::Configuration;

/// How many times as many connections as are free one caller may hold.
const SHARE: usize = 4;
/// The share of the gateway's own messages: probes, openings of sessions, notifications.
const GATEWAY: u64 = 1;
/// How long messages of the gateway's own wait.
const OWN_TIME_LIMIT: Duration = Duration::from_secs(10);
/// A call leaves the queue this long before its deadline, so that the caller learns the reason in time.
const LAST_MOMENT: Duration = Duration::from_millis(10);
/// When a caller that was refused may try again.
const RETRY: Duration = Duration::from_secs(1);

/// The connections of one server, and the calls that wait for one.
#[derive(Debug)]
pub(crate) struct ConnectionQueue {
    server: Arc<str>,
    limit: usize,
    most_waiting: usize,
    clock: Arc<dyn Clock>,
    /// The caller that holds each connection; 0: nobody.
    slots: Box<[AtomicU64]>,
    taken: AtomicUsize,
    /// Calls in the queue: a call that ends takes the lock only if there are any.
    waiting: AtomicUsize,
    state: Mutex<State>,
    waits: AtomicU64,
    waited_nanos: AtomicU64,
    refusals: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// The waiting calls of each caller that has any.
    callers: HashMap<u64, VecDeque<Waiter>>,
    /// Those callers; the one served least recently is first.
    round: VecDeque<u64>,
    tickets: u64,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    served: oneshot::Sender<Slot>,
}

/// A taken connection; its owner gives it back with [`ConnectionQueue::release`], once.
#[derive(Debug)]
pub(crate) struct Slot(usize);

impl ConnectionQueue {
    /// The queue for the connections of the server of this name.
    pub(crate) fn new(server: &str, configuration: &Configuration, clock: Arc<dyn Clock>) -> Self {
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let limit = count(configuration.max_connections.max(1));
        Self {
            server: server.into(),
            limit,
            most_waiting: count(configuration.max_queued),
            clock,
            slots: (0..limit).map(|_| AtomicU64::new(0)).collect(),
            taken: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            state: Mutex::default(),
            waits: AtomicU64::new(0),
            waited_nanos: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
        }
    }

    /// The most connections.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Connections that are not taken.
    pub(crate) fn free(&self) -> usize {
        self.limit.saturating_sub(self.taken.load(SeqCst))
    }

    /// The name of the server.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    pub(crate) fn stats(&self) -> QueueStats {
        QueueStats {
            taken: self.taken.load(Relaxed).min(self.limit) as u64,
            waiting: self.waiting.load(Relaxed) as u64,
            waits: self.waits.load(Relaxed),
            waited: Duration::from_nanos(self.waited_nanos.load(Relaxed)),
            refusals: self.refusals.load(Relaxed),
        }
    }

    /// A connection, if the caller may have one at once. Calls that wait already come first.
    #[inline]
    pub(crate) fn try_take(&self, queued: Option<Queued>) -> Option<Slot> {
        if self.waiting.load(SeqCst) > 0 {
            return None;
        }
        self.take(caller_of(queued))
    }

    /// A connection as soon as it is the call's turn.
    ///
    /// [`ErrorKind::Unavailable`], not sent, with [`Cause::PoolExhausted`], if the queue is full or the deadline has come.
    pub(crate) async fn wait(&self, queued: Option<Queued>) -> Result<Slot> {
        let caller = caller_of(queued);
        let begun = self.clock.now();
        let time_limit = queued.map_or(OWN_TIME_LIMIT, |queued| queued.deadline.since(begun));
        let mut waiting = self.enter(caller)?;
        let turn = tokio::time::timeout(time_limit.saturating_sub(LAST_MOMENT), &mut waiting.turn).await;
        let waited = self.clock.now().since(begun);
        self.waits.fetch_add(1, Relaxed);
        self.waited_nanos.fetch_add(u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        match turn {
            Ok(Ok(slot)) => {
                waiting.over = true;
                Ok(slot)
            }
            _ => Err(self.late(time_limit)),
        }
    }

    /// Gives a connection back.
    #[inline]
    pub(crate) fn release(&self, Slot(at): Slot) {
        if let Some(slot) = self.slots.get(at) {
            slot.store(0, SeqCst);
        }
        self.taken.fetch_sub(1, SeqCst);
        if self.waiting.load(SeqCst) > 0 {
            self.hand_out(&mut self.state());
        }
    }

    /// Puts a call into the queue of its caller.
    fn enter(&self, caller: u64) -> Result<Waiting<'_>> {
        let mut state = self.state();
        let own = state.callers.get(&caller).map_or(0, VecDeque::len);
        let refusal = if self.waiting.load(SeqCst) >= self.most_waiting {
            Some(self.full())
        } else if own >= (self.most_waiting / 2).max(1) {
            Some(self.share_full(own))
        } else {
            None
        };
        if let Some(error) = refusal {
            self.refusals.fetch_add(1, Relaxed);
            self.hand_out(&mut state);
            return Err(error);
        }
        let (served, turn) = oneshot::channel();
        state.tickets += 1;
        let ticket = state.tickets;
        let queue = state.callers.entry(caller).or_default();
        queue.push_back(Waiter { ticket, served });
        if own == 0 {
            state.round.push_back(caller);
        }
        self.waiting.fetch_add(1, SeqCst);
        self.hand_out(&mut state);
        drop(state);
        Ok(Waiting { queue: self, caller, ticket, turn, over: false })
    }

    /// Takes a connection for the caller, if it may have one more.
    fn take(&self, caller: u64) -> Option<Slot> {
        let taken = self.taken.fetch_add(1, SeqCst);
        let most = self.limit.saturating_sub(taken).saturating_mul(SHARE);
        // As long as few are taken in all, nobody can have too many.
        let may = taken < most || (most > 0 && self.held(caller) < most);
        if !may {
            self.taken.fetch_sub(1, SeqCst);
            return None;
        }
        Some(self.occupy(caller, taken))
    }

    /// Writes the caller into a free slot. There is one: fewer slots are occupied than connections are taken.
    fn occupy(&self, caller: u64, near: usize) -> Slot {
        let start = usize::try_from(caller % self.limit as u64).unwrap_or(0).wrapping_add(near) % self.limit;
        loop {
            for at in (start..self.limit).chain(0..start) {
                let slot = &self.slots[at];
                if slot.load(Relaxed) == 0 && slot.compare_exchange(0, caller, SeqCst, Relaxed).is_ok() {
                    return Slot(at);
                }
            }
            // Only while another thread gives a slot back behind this one's search.
            std::hint::spin_loop();
        }
    }

    fn held(&self, caller: u64) -> usize {
        self.slots.iter().filter(|slot| slot.load(Relaxed) == caller).count()
    }

    /// Hands out free connections to calls that wait.
    fn hand_out(&self, state: &mut State) {
        while let Some(at) = self.next_in(state) {
            let Some(caller) = state.round.get(at).copied() else { return };
            // It has the fewest: if it may not have one more, neither may the others.
            let Some(slot) = self.take(caller) else { return };
            state.round.remove(at);
            let Some(queue) = state.callers.get_mut(&caller) else { return self.release_unseen(slot) };
            let waiter = queue.pop_front();
            if queue.is_empty() {
                state.callers.remove(&caller);
            } else {
                state.round.push_back(caller);
            }
            let Some(waiter) = waiter else { return self.release_unseen(slot) };
            self.waiting.fetch_sub(1, SeqCst);
            // A waiter leaves under the lock before its end of the channel goes, so that this cannot fail.
            if let Err(slot) = waiter.served.send(slot) {
                self.release_unseen(slot);
            }
        }
    }

    /// Gives a connection back under the lock, by code that hands out again itself.
    fn release_unseen(&self, Slot(at): Slot) {
        if let Some(slot) = self.slots.get(at) {
            slot.store(0, SeqCst);
        }
        self.taken.fetch_sub(1, SeqCst);
    }

    /// The position in the round of the caller with the fewest connections.
    fn next_in(&self, state: &State) -> Option<usize> {
        if state.round.len() < 2 {
            return (!state.round.is_empty()).then_some(0);
        }
        let mut held: HashMap<u64, usize> = HashMap::with_capacity(self.limit);
        for slot in &self.slots {
            *held.entry(slot.load(Relaxed)).or_default() += 1;
        }
        let held = |caller: &u64| held.get(caller).copied().unwrap_or(0);
        (0..state.round.len()).min_by_key(|at| state.round.get(*at).map_or(usize::MAX, held))
    }

    fn full(&self) -> Error {
        let Self { server, limit, most_waiting, .. } = self;
        Self::refused(format!(
            "the queue for the {limit} connections to server `{server}` is full: {most_waiting} calls wait, as many as \
             `configuration.max_queued` allows; send fewer calls at once, or raise `configuration.max_connections`"
        ))
    }

    fn share_full(&self, own: usize) -> Error {
        let Self { server, limit, most_waiting, .. } = self;
        Self::refused(format!(
            "{own} calls of this caller wait for the {limit} connections to server `{server}`, as many as one caller may have \
             in the queue: half of `configuration.max_queued` ({most_waiting}); send fewer calls at once"
        ))
    }

    fn late(&self, time_limit: Duration) -> Error {
        let Self { server, limit, .. } = self;
        let seconds = time_limit.as_secs_f64();
        Self::refused(format!(
            "all {limit} connections to server `{server}`, or the caller's share of them, stayed in use for the {seconds} s \
             that the call could wait; raise `configuration.max_connections`, or send fewer calls at once"
        ))
    }

    fn refused(message: String) -> Error {
        Error::new(ErrorKind::Unavailable, message)
            .because(Cause::PoolExhausted)
            .retry_after(RETRY)
            .not_sent()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The caller as slots name it.
fn caller_of(queued: Option<Queued>) -> u64 {
    queued.map_or(GATEWAY, |queued| queued.caller.max(GATEWAY + 1))
}

/// A call in the queue; leaves it when dropped.
struct Waiting<'a> {
    queue: &'a ConnectionQueue,
    caller: u64,
    ticket: u64,
    turn: oneshot::Receiver<Slot>,
    over: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let mut state = self.queue.state();
        let left = state.callers.get_mut(&self.caller).and_then(|queue| {
            let at = queue.iter().position(|waiter| waiter.ticket == self.ticket)?;
            queue.remove(at)?;
            Some(queue.is_empty())
        });
        let Some(last) = left else {
            // Served, and never told.
            drop(state);
            if let Ok(slot) = self.turn.try_recv() {
                self.queue.release(slot);
            }
            return;
        };
        self.queue.waiting.fetch_sub(1, SeqCst);
        if last {
            state.callers.remove(&self.caller);
            state.round.retain(|caller| *caller != self.caller);
        }
    }
}

#[cfg(test)]
mod tests;
