//! Calls in flight, counted until the last byte of the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A count of calls in flight. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Load(Arc<AtomicU64>);

impl Load {
    /// Calls in flight now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn sub(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One call in flight: counted from when it is made until it is dropped.
#[derive(Debug)]
#[must_use = "a call counts only as long as this lives"]
pub struct Held {
    member: Load,
    /// The same call in the books of bounded loads: of the member, and of the whole pool.
    bounded: Option<(Load, Load)>,
}

impl Held {
    pub(super) fn new(member: Load, bounded: Option<(Load, Load)>) -> Self {
        member.add();
        if let Some((own, all)) = &bounded {
            own.add();
            all.add();
        }
        Self { member, bounded }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.member.sub();
        if let Some((own, all)) = &self.bounded {
            own.sub();
            all.sub();
        }
    }
}
