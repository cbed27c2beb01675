//! Uniformly at random, seeded.
//!
//! Among the candidates that the ask allows each has the same chance: an excluded one is drawn again. After
//! [`DRAWS`] draws that all met excluded candidates the next allowed one in the list is taken, which bounds the
//! cost; with one of two excluded that happens once in 256 picks and changes nothing.

use std::sync::Arc;

use super::candidates::Candidates;
use super::{BalanceRequest, Balancer};
use crate::random::Random;

pub(super) const DRAWS: usize = 8;

#[derive(Debug)]
pub(super) struct Uniform {
    candidates: Candidates,
    random: Arc<Random>,
}

impl Uniform {
    pub(super) fn new(candidates: Candidates, random: Arc<Random>) -> Self {
        Self { candidates, random }
    }
}

impl Balancer for Uniform {
    fn pick(&self, ask: &BalanceRequest<'_>) -> Option<usize> {
        draw(&self.candidates, &self.random, ask)
    }
}

/// A candidate that the ask allows, drawn uniformly.
pub(super) fn draw(candidates: &Candidates, random: &Random, ask: &BalanceRequest<'_>) -> Option<usize> {
    for _ in 0..DRAWS {
        let index = *candidates.list.get(random.below(candidates.list.len()))?;
        if ask.allows(index) {
            return Some(index);
        }
    }
    candidates.allowed_from(random.below(candidates.list.len()), ask)
}
