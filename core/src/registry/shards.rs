//! A map whose copy costs the same with ten entries as with ten thousand.
//!
//! The registry and the index swap immutable states. Copying a plain map of 10,000 entries for every change would
//! make each change cost as much as the whole map; here a copy shares all shards, and a change copies one of them.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

const SHARDS: u64 = 256;

/// A hash map in 256 shared parts. Cloning shares all of them.
#[derive(Clone, Debug)]
pub(crate) struct Shards<K, V> {
    hasher: RandomState,
    parts: Vec<Arc<HashMap<K, V, RandomState>>>,
}

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        let hasher = RandomState::new();
        let empty = Arc::new(HashMap::with_hasher(hasher.clone()));
        Self { parts: (0..SHARDS).map(|_| empty.clone()).collect(), hasher }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Shards<K, V> {
    fn place<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        // The maps use the low and the highest bits; these are between.
        usize::try_from((self.hasher.hash_one(key) >> 40) % SHARDS).unwrap_or(0)
    }

    pub(crate) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.parts[self.place(key)].get(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        let place = self.place(&key);
        Arc::make_mut(&mut self.parts[place]).insert(key, value);
    }

    pub(crate) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let place = self.place(key);
        if !self.parts[place].contains_key(key) {
            return None;
        }
        Arc::make_mut(&mut self.parts[place]).remove(key)
    }

    /// All values, in no order that means anything.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.parts.iter().flat_map(|part| part.values())
    }

    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }

    /// The entries in which `self` and `older` differ: key, value before, value now. Parts that both share are passed
    /// over, so that comparing a state with the one before costs as much as the changes between them.
    pub(crate) fn changes<'a>(
        &'a self,
        older: &'a Self,
        same: impl Fn(&V, &V) -> bool,
    ) -> Vec<(K, Option<&'a V>, Option<&'a V>)> {
        let mut changes = Vec::new();
        if self.hasher_differs(older) {
            changes.extend(older.entries().map(|(key, value)| (key.clone(), Some(value), self.get(key))));
            let new = self.entries().filter(|(key, _)| older.get(*key).is_none());
            changes.extend(new.map(|(key, value)| (key.clone(), None, Some(value))));
            changes.retain(|change| !matches!(change, (_, Some(a), Some(b)) if same(a, b)));
            return changes;
        }
        for (now, before) in self.parts.iter().zip(&older.parts).filter(|(a, b)| !Arc::ptr_eq(a, b)) {
            for (key, value) in now.iter() {
                let old = before.get(key);
                if !old.is_some_and(|old| same(old, value)) {
                    changes.push((key.clone(), old, Some(value)));
                }
            }
            let gone = before.iter().filter(|(key, _)| !now.contains_key(*key));
            changes.extend(gone.map(|(key, value)| (key.clone(), Some(value), None)));
        }
        changes
    }

    fn entries(&self) -> impl Iterator<Item = (&K, &V)> {
        self.parts.iter().flat_map(|part| part.iter())
    }

    /// Whether the two maps do not descend from one another, so that their parts cannot be compared.
    fn hasher_differs(&self, older: &Self) -> bool {
        self.hasher.hash_one(0u8) != older.hasher.hash_one(0u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thousand() -> Shards<i32, i32> {
        let mut map = Shards::default();
        for n in 0..1000 {
            map.insert(n, n);
        }
        map
    }

    #[test]
    fn a_copy_keeps_what_it_had_when_the_original_changes() {
        let mut map = thousand();
        let before = map.clone();
        map.insert(7, 70);
        map.remove(&8);
        assert_eq!((map.get(&7), map.get(&8), map.len()), (Some(&70), None, 999));
        assert_eq!((before.get(&7), before.get(&8), before.len()), (Some(&7), Some(&8), 1000));
    }

    #[test]
    fn changes_name_exactly_what_differs_related_or_not() {
        let mut map = thousand();
        let before = map.clone();
        map.insert(7, 70);
        map.remove(&8);
        map.insert(1001, 1);
        map.insert(9, 9);
        for older in [&before, &thousand()] {
            let mut changes = map.changes(older, |a, b| a == b);
            changes.sort_unstable();
            assert_eq!(changes, [(7, Some(&7), Some(&70)), (8, Some(&8), None), (1001, None, Some(&1))]);
        }
    }
}
