//! A circuit breaker: closed, open, half-open; it keeps calls away from a server that fails.
//!
//! It is passive: no task, no timer, time is a parameter. So it decides the same under a manual clock as under
//! the system's, and it can be embedded anywhere. The states are those of Nygard, *Release It!*; the limits are
//! [`Settings`].
//!
//! Invariants:
//! - While closed, [`Breaker::try_acquire`] is one atomic load; nothing on the path of a call takes a lock.
//! - A [`Permit`] belongs to one generation. A result that comes after the breaker has moved on changes nothing.
//! - A permit that is dropped is released without counting, so a cancelled or panicking probe cannot wedge a
//!   half-open breaker.
//! - Half-open lets in as many calls as it needs successes, and no more, however many ask at once.
//! - The share of failures is looked at when a failure comes in; a success alone never opens a breaker.

mod gate;
mod settings;
mod signal;
mod window;

pub use settings::Settings;
pub use signal::Signal;

use std::fmt;
use std::sync::atomic;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::clock::Tick;
use crate::random::Random;

use gate::{Ending, Gate, Phase, Rules, Ticket};
use settings::nanos;

/// The treatment of calls by a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// Lets everything in.
    Closed,
    /// Lets nothing in.
    Open,
    /// Lets a few in, to see.
    HalfOpen,
}

impl BreakerState {
    /// `closed`, `open` or `half_open`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl fmt::Display for BreakerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a call ended, in the terms of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The server did its part, whatever its answer.
    Success,
    /// The server failed: no connection, no answer in time, a broken answer.
    Failure,
    /// It says nothing about the server: the caller gave up, or a limit of our own.
    Ignored,
}

/// A call was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    /// When asking again makes sense.
    pub retry_after: Duration,
}

/// The answer that a breaker would give, without asking it for a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It would let a call in.
    Ready,
    /// It is open until then.
    Until(Tick),
    /// All probes of half-open are under way; the time of their end is unknown.
    Full,
}

/// The right to one call, without the breaker that granted it: its owner returns it to that breaker, once. It is the content of a
/// [`Permit`], for callers that have the breaker anyway.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawPermit(Ticket);

/// The breaker of one server. Clones share it.
#[derive(Clone, Debug)]
pub struct Breaker(Arc<BreakerCore>);

#[derive(Debug)]
struct BreakerCore {
    settings: Settings,
    rules: Rules,
    gate: Gate,
    random: Random,
    watchers: Mutex<Vec<Weak<Signal>>>,
}

impl Breaker {
    /// A closed breaker. `seed` determines its jitter.
    pub fn new(settings: Settings, seed: u64) -> Self {
        let rules = settings.rules();
        let random = Random::seeded(seed);
        Self(Arc::new(BreakerCore { settings, rules, gate: Gate::new(), random, watchers: Mutex::default() }))
    }

    /// A permit for one call, or when to ask again.
    pub fn try_acquire(&self, now: Tick) -> Result<Permit, Denied> {
        let place = self.acquire_raw(now)?;
        Ok(Permit { breaker: Arc::clone(&self.0), place: Some(place) })
    }

    /// As [`Self::try_acquire`], for callers that release the permit themselves: [`Self::release_raw`].
    #[inline]
    pub(crate) fn acquire_raw(&self, now: Tick) -> Result<RawPermit, Denied> {
        match self.0.gate.enter(now.as_nanos(), self.0.rules.probes) {
            Ok(entered) => {
                if entered.filled {
                    self.0.tell();
                }
                Ok(RawPermit(entered.ticket))
            }
            Err(phase) => Err(Denied { retry_after: self.0.wait(phase, now) }),
        }
    }

    /// Releases a permit, and records how the call ended. An ignored ending looks at no time.
    #[inline]
    pub(crate) fn release_raw(&self, place: RawPermit, outcome: Outcome, now: Tick) {
        self.0.leave(place, outcome, now);
    }

    /// The current state; an open breaker whose time has passed is half-open.
    pub fn state(&self, now: Tick) -> BreakerState {
        match self.0.gate.phase() {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { due } if now.as_nanos() < due => BreakerState::Open,
            Phase::Open { .. } | Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// The answer that [`Self::try_acquire`] would give.
    pub fn readiness(&self, now: Tick) -> Readiness {
        match self.0.gate.phase() {
            Phase::Open { due } if now.as_nanos() < due => Readiness::Until(Tick::from_nanos(due)),
            Phase::HalfOpen { out, successes } if out + successes >= self.0.rules.probes => Readiness::Full,
            _ => Readiness::Ready,
        }
    }

    /// Whether it lets a probe in and none is under way.
    pub(crate) fn awaits_probe(&self, now: Tick) -> bool {
        match self.0.gate.phase() {
            Phase::Closed => false,
            Phase::Open { due } => now.as_nanos() >= due,
            Phase::HalfOpen { out, .. } => out == 0,
        }
    }

    /// Failures in a row; while open or half-open, those that led there and those of probes since.
    pub fn failure_count(&self) -> u32 {
        u32::try_from(self.0.gate.failures_in_a_row()).unwrap_or(u32::MAX)
    }

    /// When asking again makes sense, or `None` while it lets calls in. For a half-open breaker whose probes are
    /// all under way this is the first open time of the settings: a guess.
    pub fn retry_after(&self, now: Tick) -> Option<Duration> {
        match self.readiness(now) {
            Readiness::Ready => None,
            Readiness::Until(due) => Some(due.since(now)),
            Readiness::Full => Some(self.0.settings.open),
        }
    }

    /// Raises the signals of those that watch, for a change of the server that is not the breaker's.
    pub(crate) fn announce(&self) {
        self.0.tell();
    }

    /// Has `signal` raised whenever this breaker would answer otherwise than before, except by the mere passing
    /// of time. Watching twice with the same signal is watching once; a dropped signal is forgotten.
    pub fn watch(&self, signal: &Arc<Signal>) {
        let mut watchers = self.0.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|other| other.strong_count() > 0);
        if !watchers.iter().any(|other| std::ptr::eq(other.as_ptr(), Arc::as_ptr(signal))) {
            watchers.push(Arc::downgrade(signal));
        }
    }
}

impl BreakerCore {
    fn wait(&self, phase: Phase, now: Tick) -> Duration {
        match phase {
            Phase::Open { due } => Tick::from_nanos(due).since(now),
            Phase::Closed | Phase::HalfOpen { .. } => self.settings.open,
        }
    }

    #[inline]
    fn leave(&self, RawPermit(ticket): RawPermit, outcome: Outcome, now: Tick) {
        let ending = match outcome {
            Outcome::Success => Ending::Success,
            Outcome::Failure => Ending::Failure,
            Outcome::Ignored => Ending::Ignored,
        };
        let open_for =
            |trips| nanos(self.random.jitter(self.settings.open_time(trips), self.settings.jitter));
        if self.gate.finish(ticket, ending, now.as_nanos(), &self.rules, open_for) {
            self.tell();
        }
    }

    fn tell(&self) {
        let watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        for signal in watchers.iter().filter_map(Weak::upgrade) {
            signal.raise();
        }
    }
}

/// The right to one call. Dropped without [`Permit::finish`] it counts as neither success nor failure.
#[derive(Debug)]
#[must_use = "a permit that is dropped counts for nothing"]
pub struct Permit {
    breaker: Arc<BreakerCore>,
    place: Option<RawPermit>,
}

impl Permit {
    /// Says how the call ended. Late results, of a breaker that has moved on since, change nothing.
    pub fn finish(mut self, outcome: Outcome, now: Tick) {
        if let Some(place) = self.place.take() {
            self.breaker.leave(place, outcome, now);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            // An ignored ending looks at no time.
            self.breaker.leave(place, Outcome::Ignored, Tick::default());
        }
    }
}

#[cfg(test)]
mod tests;
