//! The same key to the same server, from every process and machine; [`super::ring`] says how that is computed.
//!
//! The ring holds all members with a weight, usable or not. A pick walks from the key's place to the first server
//! that is a candidate, is not excluded, and has room; so when a server's health flips, only its own keys
//! move, to the servers behind it, and come back, and nothing is rebuilt. After [`WALK`] points (then there are hardly any
//! candidates) a candidate is taken from the list by the same key, which bounds the cost.
//!
//! Bounded loads (Mirrokni, Thorup, Zadimoghaddam, *Consistent Hashing with Bounded Loads*, 2018): a server has room
//! while its calls in flight are below ceil(c · mean), the mean being that of the pool with this call, in proportion to
//! weights. It is looked at when picking; calls that are picked in the same instant do not see one another.

use std::sync::Arc;

use super::candidates::Candidates;
use super::ring::Ring;
use super::{BalanceRequest, Balancer, InFlight};
use crate::random::Random;

const WALK: usize = 128;

/// The counts of bounded loads: the calls that this pool has in flight, by member and in all.
#[derive(Clone, Debug)]
pub(super) struct Books {
    /// The factor c in thousandths.
    pub(super) factor: u64,
    pub(super) own: Arc<[InFlight]>,
    pub(super) all: InFlight,
}

#[derive(Debug)]
pub(super) struct ConsistentHash {
    candidates: Candidates,
    ring: Arc<Ring>,
    random: Arc<Random>,
    books: Option<Books>,
    weights: u64,
}

impl ConsistentHash {
    pub(super) fn new(
        candidates: Candidates,
        ring: Arc<Ring>,
        random: Arc<Random>,
        books: Option<Books>,
    ) -> Self {
        let weights = candidates.list.iter().map(|index| u64::from(candidates.roster[*index].weight)).sum();
        Self { candidates, ring, random, books, weights }
    }

    fn has_room(&self, index: usize) -> bool {
        let Some(books) = &self.books else { return true };
        let load = books.own.get(index).map_or(0, InFlight::get);
        let weight = u128::from(self.candidates.roster[index].weight);
        let with_this = u128::from(books.all.get()) + 1;
        let room = u128::from(books.factor) * with_this * weight;
        u128::from(load) < room.div_ceil(u128::from(self.weights.max(1)) * 1000)
    }

    fn list_pick(&self, key: u64, ask: &BalanceRequest<'_>) -> Option<usize> {
        let list = &self.candidates.list;
        let start = usize::try_from(key % (list.len().max(1) as u64)).unwrap_or(0);
        let (before, after) = list.split_at_checked(start)?;
        let roomy = |index: &usize| ask.allows(*index) && self.has_room(*index);
        after.iter().chain(before).copied().find(roomy).or_else(|| self.candidates.allowed_from(start, ask))
    }
}

impl Balancer for ConsistentHash {
    fn pick(&self, ask: &BalanceRequest<'_>) -> Option<usize> {
        let key = ask.key.unwrap_or_else(|| self.random.next());
        let mut place = key;
        for _ in 0..WALK {
            let point = self.ring.at(place)?;
            let member = point.member;
            if self.candidates.contains(member) && ask.allows(member) && self.has_room(member) {
                return Some(member);
            }
            place = point.place.wrapping_add(1);
        }
        self.list_pick(key, ask)
    }
}
