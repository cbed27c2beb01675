//! Banned callers, and the end of each ban.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Tick;
use crate::model::TenantId;

type Who = (TenantId, Arc<str>);

#[derive(Debug, Default)]
pub(super) struct Bans {
    until: Mutex<HashMap<Who, Tick>>,
    /// As many as there are entries: no call asks for the lock while there are none.
    now: AtomicUsize,
    total: AtomicU64,
}

impl Bans {
    /// How long `who` is banned still.
    pub(super) fn left(&self, who: &impl Fn() -> Who, now: Tick) -> Option<Duration> {
        if self.now.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let until = self.entries().get(&who()).copied()?;
        (until > now).then(|| until.since(now))
    }

    pub(super) fn ban(&self, who: Who, now: Tick, length: Duration) {
        let mut entries = self.entries();
        entries.retain(|_, until| *until > now);
        entries.insert(who, now + length);
        self.now.store(entries.len(), Ordering::Relaxed);
        self.total.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there ever were.
    pub(super) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Who, Tick>> {
        // Every change is one insert or remove.
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
