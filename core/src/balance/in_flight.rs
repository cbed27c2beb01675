//! Calls in flight, counted until the last byte of the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A count of calls in flight. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<AtomicU64>);

impl InFlight {
    /// Calls in flight now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn sub(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One call in flight in the books of bounded loads, of its member and of the whole pool, until it is dropped.
#[derive(Debug)]
#[must_use = "a call counts only as long as this lives"]
pub struct InFlightGuard {
    own: InFlight,
    all: InFlight,
}

impl InFlightGuard {
    pub(super) fn new(own: InFlight, all: InFlight) -> Self {
        own.add();
        all.add();
        Self { own, all }
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.own.sub();
        self.all.sub();
    }
}
