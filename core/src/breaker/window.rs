//! Calls and failures over a time that slides in ten steps, each step one atomic word.
//!
//! A word tells which lap around the ten it counts (20 bits), for which generation of the breaker (8 bits), calls and
//! failures (18 bits each). A word of another lap or generation reads as nothing and is started anew by the first
//! call that finds it, in the same compare-and-swap that counts the call: nothing has to be cleared, and no task turns
//! the window.

use super::atomic::{AtomicU64, Ordering};

/// Parts of the window.
pub(super) const BUCKETS: usize = 10;

const COUNT: u64 = (1 << 18) - 1;
const LAP: u64 = (1 << 20) - 1;

/// The last ten parts of time.
#[derive(Debug)]
pub(super) struct Window([AtomicU64; BUCKETS]);

impl Window {
    /// An empty window.
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    /// Counts one call in its tenth of the window. A tenth that is full (2^18 calls) keeps its ratio.
    pub(super) fn count(&self, generation: u64, failed: bool, part: u64) {
        let (index, tag) = place(part, generation);
        let one = 1 << 18 | u64::from(failed);
        let bucket = &self.0[index];
        let mut seen = bucket.load(Ordering::Acquire);
        loop {
            let next = if seen >> 36 == tag {
                if seen >> 18 & COUNT == COUNT {
                    return;
                }
                seen + one
            } else {
                let same_lap = seen >> 44 == tag >> 8;
                let behind = is_later(seen >> 44, tag >> 8, LAP)
                    || same_lap && is_later(seen >> 36 & 0xff, tag & 0xff, 0xff);
                if behind {
                    return;
                }
                tag << 36 | one
            };
            match bucket.compare_exchange(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(current) => seen = current,
            }
        }
    }

    /// Calls and failures of this generation in the last ten parts, `part` being the present one.
    pub(super) fn sum(&self, generation: u64, part: u64) -> (u64, u64) {
        let (mut calls, mut failures) = (0, 0);
        for part in (part.saturating_sub(BUCKETS as u64 - 1)..=part).rev() {
            let (index, tag) = place(part, generation);
            let seen = self.0[index].load(Ordering::Acquire);
            if seen >> 36 == tag {
                calls += seen >> 18 & COUNT;
                failures += seen & COUNT;
            }
        }
        (calls, failures)
    }
}

/// Where a part of the window is kept, and the tag by which it is known.
fn place(part: u64, generation: u64) -> (usize, u64) {
    let index = part % BUCKETS as u64;
    let lap = part / BUCKETS as u64;
    (usize::try_from(index).unwrap_or(0), (lap & LAP) << 8 | generation & 0xff)
}

/// Whether `a` comes a little after `b` on a circle of `mask` + 1 numbers. Only a thread that was held up between
/// two instructions is behind, so never by much; anything further away is a leftover from long ago.
pub(super) fn is_later(a: u64, b: u64, mask: u64) -> bool {
    (1..=16).contains(&(a.wrapping_sub(b) & mask))
}
