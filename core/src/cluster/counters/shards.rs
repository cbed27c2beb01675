//! A map of many small things that are used for a while and then forgotten, divided so that threads seldom meet.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Tick;

const SHARDS: usize = 32;
/// How often a shard looks for entries that can be forgotten, at most.
const SWEEP: Duration = Duration::from_secs(60);

/// Entries by key. An entry that is not in use is forgotten at most twice [`SWEEP`] after its end, when a new one comes.
#[derive(Debug)]
pub(crate) struct Shards<K, V> {
    /// Seeded at random, so that names cannot be chosen to fall all into one shard.
    hasher: RandomState,
    shards: Box<[Mutex<Shard<K, V>>]>,
}

#[derive(Debug)]
struct Shard<K, V> {
    entries: HashMap<K, V>,
    swept: Tick,
}

impl<K: Hash + Eq + Clone, V> Shards<K, V> {
    pub(crate) fn new() -> Self {
        let shard = || Mutex::new(Shard { entries: HashMap::new(), swept: Tick::default() });
        Self { hasher: RandomState::new(), shards: (0..SHARDS).map(|_| shard()).collect() }
    }

    /// Uses the entry of `key`, made by `make` where there is none; then those go for which `is_idle` holds.
    pub(crate) fn with<T>(
        &self,
        key: &K,
        now: Tick,
        make: impl FnOnce() -> V,
        mut is_idle: impl FnMut(&mut V) -> bool,
        work: impl FnOnce(&mut V) -> T,
    ) -> T {
        let mut shard = self.shard(key);
        if let Some(entry) = shard.entries.get_mut(key) {
            return work(entry);
        }
        if now.since(shard.swept) >= SWEEP {
            shard.swept = now;
            shard.entries.retain(|_, entry| !is_idle(entry));
            // Room that a flood of names left behind.
            let kept = shard.entries.len();
            shard.entries.shrink_to(kept * 2);
        }
        work(shard.entries.entry(key.clone()).or_insert_with(make))
    }

    /// Uses the entry of `key`, if there is one.
    pub(crate) fn look<T>(&self, key: &K, work: impl FnOnce(&mut V) -> T) -> Option<T> {
        self.shard(key).entries.get_mut(key).map(work)
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| locked(shard).entries.len()).sum()
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, Shard<K, V>> {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        let number = self.hasher.hash_one(key) as usize % SHARDS;
        locked(&self.shards[number])
    }
}

/// A panic elsewhere cannot leave a shard half changed: every change is one insert, or one of numbers.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
