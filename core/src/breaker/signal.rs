//! A counter that says "look again": a value that was derived from a breaker before it was raised is out of date.
//!
//! To derive a value, read the count first, then look at the breakers; a change in between raises the
//! count and shows at the next comparison.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts changes.
#[derive(Debug, Default)]
pub struct Signal(AtomicU64);

impl Signal {
    /// Says that something changed.
    pub fn raise(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    /// How often it was raised.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}
