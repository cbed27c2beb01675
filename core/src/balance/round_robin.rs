//! In turn: every member that stays a candidate is picked exactly once a round, also while others come and go.
//!
//! The turn is a place in the order of all members (by id), candidates or not; the pick is the first candidate
//! at or after it, looked up in a table. A number modulo the size of the set, as is usual, would mean another member
//! in each set: with sets that alternate, some members would never be met and others always.
//! A new pool of other members takes over the id that was picked last and goes on behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::candidates::Candidates;
use super::{BalanceRequest, Balancer, Entry};
use crate::model::ServerId;

/// The next turn among all members of a pool.
#[derive(Debug)]
pub(super) struct Cursor {
    /// Members in the order of turns.
    order: Vec<usize>,
    ids: Vec<ServerId>,
    /// The place in `order` that has the next turn.
    next: AtomicUsize,
}

impl Cursor {
    /// The turn over these members, going on where `previous` stopped; `previous` itself if it is of the same ones in
    /// the same order, since the pool that it comes from may still be in use for a moment.
    pub(super) fn over(roster: &[Entry], previous: Option<&Arc<Self>>) -> Arc<Self> {
        let mut order: Vec<usize> = (0..roster.len()).collect();
        order.sort_by_key(|index| roster[*index].id);
        let ids: Vec<ServerId> = order.iter().map(|index| roster[*index].id).collect();
        if let Some(same) = previous.filter(|previous| previous.order == order && previous.ids == ids) {
            return Arc::clone(same);
        }
        let next = match previous.and_then(|previous| previous.last()) {
            Some(last) => ids.partition_point(|id| *id <= last) % ids.len().max(1),
            None => 0,
        };
        Arc::new(Self { order, ids, next: AtomicUsize::new(next) })
    }

    /// The member that had the last turn.
    fn last(&self) -> Option<ServerId> {
        let next = self.next.load(Ordering::Relaxed);
        let last = next.checked_sub(1).or_else(|| self.ids.len().checked_sub(1))?;
        self.ids.get(last).copied()
    }
}

#[derive(Debug)]
pub(super) struct RoundRobin {
    turn: Arc<Cursor>,
    /// For each place in the order of turns the place of the first candidate at or after it, going round. Empty
    /// without candidates.
    first: Vec<usize>,
}

impl RoundRobin {
    pub(super) fn new(candidates: &Candidates, turn: Arc<Cursor>) -> Self {
        let order = &turn.order;
        let Some(start) = order.iter().position(|index| candidates.contains(*index)) else {
            return Self { turn, first: Vec::new() };
        };
        let mut first = vec![start; order.len()];
        let mut seen = start;
        for place in (0..order.len()).rev() {
            if candidates.contains(order[place]) {
                seen = place;
            }
            first[place] = seen;
        }
        Self { turn, first }
    }

    /// The place that has the turn after `place`.
    fn after(&self, place: usize) -> usize {
        // A division would take longer than all the rest of a pick here.
        let after = place + 1;
        if after == self.first.len() { 0 } else { after }
    }

    /// The place of the first candidate at or after `place` that the ask allows.
    fn allowed_from(&self, mut place: usize, ask: &BalanceRequest<'_>) -> Option<usize> {
        for _ in 0..=ask.exclude.len() {
            place = *self.first.get(place)?;
            if ask.allows(self.turn.order[place]) {
                return Some(place);
            }
            place = self.after(place);
        }
        None
    }
}

impl Balancer for RoundRobin {
    fn pick(&self, ask: &BalanceRequest<'_>) -> Option<usize> {
        let next = &self.turn.next;
        let mut seen = next.load(Ordering::Relaxed);
        loop {
            let place = self.allowed_from(seen, ask)?;
            let after = self.after(place);
            if after == seen {
                // It is always its turn, as where there is but one.
                return Some(self.turn.order[place]);
            }
            match next.compare_exchange_weak(seen, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(self.turn.order[place]),
                Err(current) => seen = current,
            }
        }
    }
}
