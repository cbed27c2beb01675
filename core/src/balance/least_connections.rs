//! To the one with the fewest calls in flight, counted until the end of the answer's stream.
//!
//! Up to [`EXACT`] candidates the minimum is exact and ties are broken at random (reservoir sampling), since a fixed
//! choice would send every first call of a quiet pool to the same server. Above that it is the better of two drawn at
//! random: the longest queue grows as log log n instead of log n / log log n (Mitzenmacher, *The Power of Two Choices
//! in Randomized Load Balancing*, 2001), and looking at all of thousands would cost more than it gives.

use std::sync::Arc;

use super::candidates::Candidates;
use super::random::draw;
use super::{BalanceRequest, Balancer};
use crate::random::Random;

/// The largest set that is looked through in whole.
pub(super) const EXACT: usize = 32;

#[derive(Debug)]
pub(super) struct LeastConnections {
    candidates: Candidates,
    random: Arc<Random>,
}

impl LeastConnections {
    pub(super) fn new(candidates: Candidates, random: Arc<Random>) -> Self {
        Self { candidates, random }
    }

    fn load(&self, index: usize) -> u64 {
        self.candidates.roster[index].load.get()
    }

    fn exact(&self, ask: &BalanceRequest<'_>) -> Option<usize> {
        let mut best = None;
        let mut least = u64::MAX;
        let mut ties = 0;
        for index in self.candidates.list.iter().copied().filter(|index| ask.allows(*index)) {
            let load = self.load(index);
            if load < least {
                (best, least, ties) = (Some(index), load, 1);
            } else if load == least {
                ties += 1;
                if self.random.below(ties) == 0 {
                    best = Some(index);
                }
            }
        }
        best
    }

    fn better_of_two(&self, ask: &BalanceRequest<'_>) -> Option<usize> {
        let one = draw(&self.candidates, &self.random, ask)?;
        let other = draw(&self.candidates, &self.random, ask)?;
        Some(if self.load(other) < self.load(one) { other } else { one })
    }
}

impl Balancer for LeastConnections {
    fn pick(&self, ask: &BalanceRequest<'_>) -> Option<usize> {
        if self.candidates.list.len() <= EXACT { self.exact(ask) } else { self.better_of_two(ask) }
    }
}
