//! The members of a pool that may be picked now.

use std::sync::Arc;

use super::{BalanceRequest, Entry};

/// An immutable candidate set: a list to draw from, and a bitmap to look up in.
#[derive(Debug)]
pub(super) struct Candidates {
    pub(super) roster: Arc<[Entry]>,
    /// Indexes of the candidates, in the order of the roster.
    pub(super) list: Vec<usize>,
    present: Vec<u64>,
}

impl Candidates {
    /// The members that `usable` names, without those of weight 0.
    pub(super) fn new(roster: Arc<[Entry]>, usable: impl Fn(usize) -> bool) -> Self {
        let list: Vec<usize> =
            (0..roster.len()).filter(|index| roster[*index].weight > 0 && usable(*index)).collect();
        let mut present = vec![0; roster.len().div_ceil(64)];
        for index in &list {
            present[index / 64] |= 1 << (index % 64);
        }
        Self { roster, list, present }
    }

    pub(super) fn contains(&self, index: usize) -> bool {
        self.present.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// The first candidate at or after position `from` of the list, going round, that the ask allows. It looks at
    /// no more than one candidate more than the ask excludes.
    pub(super) fn allowed_from(&self, from: usize, ask: &BalanceRequest<'_>) -> Option<usize> {
        let (before, after) = self.list.split_at_checked(from)?;
        after.iter().chain(before).copied().find(|index| ask.allows(*index))
    }
}
