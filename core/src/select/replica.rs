//! Routing's record of one server, shared by all pools that it is in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::balance::InFlight;
use crate::breaker::{Breaker, Outcome};
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
    throttled_until: AtomicU64,
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
            throttled_until: AtomicU64::new(0),
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

    /// Notes that the server wants fewer calls until then.
    pub fn throttle(&self, until: Tick) {
        self.throttled_until.fetch_max(until.as_nanos(), Ordering::Relaxed);
    }

    /// Whether the server wanted fewer calls for a time that has not passed.
    pub fn is_throttled(&self, now: Tick) -> bool {
        now.as_nanos() < self.throttled_until.load(Ordering::Relaxed)
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
