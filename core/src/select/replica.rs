//! Routing's record of one server, shared by all pools that it is in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::aside::Aside;
use super::comparison::Comparison;
use crate::balance::InFlight;
use crate::breaker::{Breaker, BreakerState, Outcome};
use crate::clock::Tick;
use crate::model::ServerId;

/// One server as routing sees it.
#[derive(Debug)]
pub struct ReplicaState {
    id: ServerId,
    name: Arc<str>,
    breaker: Breaker,
    load: InFlight,
    total: AtomicU64,
    successes: AtomicU64,
    failures: AtomicU64,
    latency_nanos: AtomicU64,
    /// When the last call ended that the server answered.
    last_answer: AtomicU64,
    aside: Aside,
    /// The other replicas of its service, if there are any.
    comparison: ArcSwapOption<Comparison>,
}

/// Counts of one server since it was first routed to in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stats {
    /// Calls in flight, up to the end of their answers' streams.
    pub in_flight: u64,
    /// Calls sent.
    pub total: u64,
    /// Calls that the server answered.
    pub successes: u64,
    /// Calls that the server failed.
    pub failures: u64,
    /// Times to the first byte of the answers (or to the failures), added up.
    pub latency: Duration,
}

impl Stats {
    /// Share of the calls with a result that failed, 0 to 1; 0 while there were none.
    pub fn error_rate(&self) -> f64 {
        match self.successes + self.failures {
            0 => 0.0,
            results => as_float(self.failures) / as_float(results),
        }
    }

    /// Share of the calls with a result that did not fail, 0 to 1; 1 while there were none.
    pub fn success_rate(&self) -> f64 {
        1.0 - self.error_rate()
    }

    /// Mean time to the first byte, in milliseconds; 0 while there were no results.
    pub fn mean_latency_ms(&self) -> f64 {
        match self.successes + self.failures {
            0 => 0.0,
            results => self.latency.as_secs_f64() * 1000.0 / as_float(results),
        }
    }
}

impl ReplicaState {
    /// A server that was not called yet.
    pub fn new(id: ServerId, name: impl Into<Arc<str>>, breaker: Breaker) -> Self {
        Self {
            id,
            name: name.into(),
            breaker,
            load: InFlight::default(),
            total: AtomicU64::new(0),
            successes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            latency_nanos: AtomicU64::new(0),
            last_answer: AtomicU64::new(0),
            aside: Aside::default(),
            comparison: ArcSwapOption::empty(),
        }
    }

    /// Which server.
    pub fn id(&self) -> ServerId {
        self.id
    }

    /// Its name; the hash ring places it by this.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its breaker.
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Notes that the server refused a call because it has too many, and wants none for this time, if it said so. Other replicas
    /// take its calls meanwhile.
    pub fn refused(&self, wanted: Option<Duration>, now: Tick) {
        if self.aside.refused(wanted, now) {
            self.breaker.announce();
        }
    }

    /// Whether other replicas take its calls, except for probes: it refused calls, or is an outlier.
    pub fn is_set_aside(&self) -> bool {
        self.aside.is_set()
    }

    /// Whether it refused calls and has answered none since.
    pub fn is_paused(&self) -> bool {
        self.aside.is_paused()
    }

    /// Whether it answers worse than the other replicas of its service.
    pub fn is_outlier(&self) -> bool {
        self.aside.one_in() != 0
    }

    /// How often it made a pause.
    pub fn pauses(&self) -> u64 {
        self.aside.pauses()
    }

    /// Whether it answered a call since then, as far as calls have ended.
    pub fn answered_since(&self, then: Tick) -> bool {
        self.last_answer.load(Ordering::Relaxed) > then.as_nanos()
    }

    /// Compares it with the others of its service from now on.
    pub(crate) fn compare_in(self: &Arc<Self>, comparison: Option<&Arc<Comparison>>) {
        if let Some(comparison) = comparison {
            comparison.join(self);
        }
        self.comparison.store(comparison.cloned());
        if comparison.is_none() && self.is_outlier() {
            self.set_one_in(0);
        }
    }

    /// Whether others take its calls where there are others: it is set aside, or its breaker is not closed.
    pub(super) fn is_on_trial(&self, now: Tick) -> bool {
        self.aside.is_set() || self.breaker.state(now) != BreakerState::Closed
    }

    /// Whether a call is to go there to find out how it is; one at a time while its breaker is half-open.
    pub(super) fn takes_probe(&self, now: Tick) -> bool {
        let closed = self.breaker.state(now) == BreakerState::Closed;
        if self.aside.is_set() {
            return (closed || self.breaker.awaits_probe(now)) && self.aside.takes_probe(now);
        }
        !closed && self.breaker.awaits_probe(now)
    }

    pub(super) fn set_one_in(&self, one_in: u32) {
        self.aside.set_one_in(one_in);
        self.breaker.announce();
    }

    /// The server answered a call that was sent at `sent`.
    pub(super) fn answered(&self, sent: Tick, now: Tick) {
        self.last_answer.store(now.as_nanos(), Ordering::Relaxed);
        if self.aside.answered(sent) {
            self.breaker.announce();
        }
    }

    /// Compares an answer about `subject` with those of the other replicas.
    pub(super) fn compare(&self, subject: u64, bad: bool, now: Tick) {
        if let Some(comparison) = &*self.comparison.load() {
            comparison.answered(self, subject, bad, now);
        }
    }

    /// Calls in flight, in all pools.
    pub fn in_flight(&self) -> u64 {
        self.load.get()
    }

    /// The counts now. They are read one after the other, so under load they may differ by the calls in between.
    pub fn stats(&self) -> Stats {
        Stats {
            in_flight: self.load.get(),
            total: self.total.load(Ordering::Relaxed),
            successes: self.successes.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            latency: Duration::from_nanos(self.latency_nanos.load(Ordering::Relaxed)),
        }
    }

    pub(super) fn load(&self) -> &InFlight {
        &self.load
    }

    pub(super) fn begin(&self) {
        self.total.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn never_began(&self) {
        self.total.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn count(&self, outcome: Outcome, latency: Duration) {
        let counter = match outcome {
            Outcome::Success => &self.successes,
            Outcome::Failure => &self.failures,
            Outcome::Ignored => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latency_nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

#[expect(clippy::cast_precision_loss, reason = "53 bits are plenty for a share")]
fn as_float(count: u64) -> f64 {
    count as f64
}
