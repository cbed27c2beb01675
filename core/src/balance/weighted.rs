//! In exact proportion to the weights, without bursts.
//!
//! The candidates share a circle of W slots, W the sum of their weights over the greatest common divisor: each has as
//! many neighbouring slots as its weight. Pick n takes slot (start + n · step) mod W. Since the step has no divisor
//! in common with W, any W picks in a row meet every slot once: proportions are exact in every period, wherever it
//! begins. Since the step is near W/φ, any k picks in a row are spread over the circle almost evenly: how often a
//! candidate was picked differs from its share of k by no more than about 1 + ln k (tested). That holds as long as the
//! continued fraction of step/W has small terms (Niederreiter, *Random Number Generation and Quasi-Monte Carlo
//! Methods*, 1992, theorem 3.3), so among the steps near W/φ one with small terms is taken.
//!
//! Only a counter is kept between picks. A different candidate set starts on its circle at the same angle at which the
//! golden sequence stands (counter · 1/φ, Weyl), so that sets which alternate at every pick are spread as well.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::candidates::Candidates;
use super::random::DRAWS;
use super::{BalanceRequest, Balancer};

/// Where a candidate set stands on its circle. It outlives the balancer: one that is made anew over the same candidates goes on
/// in the same period, so that the proportions stay exact whatever else changes meanwhile.
#[derive(Debug, Default)]
pub(super) struct Phase {
    list: Vec<usize>,
    ends: Vec<u64>,
    start: u64,
    base: u64,
}

/// 2^64/φ.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
/// Steps looked at on either side of W/φ.
const STEPS: u64 = 64;
/// A largest term of the continued fraction that is good enough; the golden ratio itself has only ones.
const SMALL: u64 = 4;

#[derive(Debug)]
pub(super) struct Weighted {
    candidates: Candidates,
    /// For each candidate the slot behind its last one.
    ends: Vec<u64>,
    /// The circle is cut into as many equal arcs as there are candidates; where in `ends` the first slot of each
    /// arc lies (Chen and Asau's guide table). It makes a lookup cost the same for any number of candidates.
    guide: Vec<usize>,
    slots: u64,
    step: u64,
    start: u64,
    base: u64,
    counter: Arc<AtomicU64>,
}

impl Weighted {
    pub(super) fn new(candidates: Candidates, counter: Arc<AtomicU64>, phase: &Mutex<Phase>) -> Self {
        let weight = |index: &usize| u64::from(candidates.roster[*index].weight);
        let divisor = candidates.list.iter().map(weight).fold(0, gcd).max(1);
        let mut slots = 0;
        let mut ends = Vec::with_capacity(candidates.list.len());
        for index in &candidates.list {
            slots += weight(index) / divisor;
            ends.push(slots);
        }
        let arcs = ends.len() as u64;
        let guide = (0..arcs)
            .map(|arc| ends.partition_point(|end| *end <= scale(arc, slots, arcs)))
            .chain(std::iter::once(ends.len()))
            .collect();
        let mut phase = phase.lock().unwrap_or_else(PoisonError::into_inner);
        if phase.ends != ends || phase.list[..] != candidates.list[..] {
            let base = counter.load(Ordering::Relaxed);
            let start = part(GOLDEN.wrapping_mul(base), slots);
            *phase = Phase { list: candidates.list.clone(), ends: ends.clone(), start, base };
        }
        let (start, base) = (phase.start, phase.base);
        drop(phase);
        Self { candidates, ends, guide, slots, step: step(slots), start, base, counter }
    }

    /// The position in the list whose slots `slot` lies among.
    fn owner(&self, slot: u64) -> usize {
        let arc = usize::try_from(scale(slot, self.ends.len() as u64, self.slots)).unwrap_or(0);
        let first = self.guide.get(arc).copied().unwrap_or(0);
        // Rounding can put the slot just behind the next arc's first owner, hence one more.
        let last = self.guide.get(arc + 1).map_or(self.ends.len(), |last| (last + 1).min(self.ends.len()));
        first + self.ends[first..last].partition_point(|end| *end <= slot)
    }
}

impl Balancer for Weighted {
    fn pick(&self, ask: &BalanceRequest<'_>) -> Option<usize> {
        let mut owner = 0;
        for _ in 0..DRAWS {
            let count = self.counter.fetch_add(1, Ordering::Relaxed).wrapping_sub(self.base);
            let turned = turn(count.checked_rem(self.slots)?, self.step, self.slots);
            owner = self.owner((self.start + turned) % self.slots);
            let index = *self.candidates.list.get(owner)?;
            if ask.allows(index) {
                return Some(index);
            }
        }
        self.candidates.allowed_from(owner, ask)
    }
}

/// The step with no divisor in common with `slots` near slots/φ whose continued fraction has small terms.
fn step(slots: u64) -> u64 {
    let middle = part(GOLDEN, slots);
    let near = (0..=STEPS).flat_map(|away| [middle.checked_add(away), middle.checked_sub(away)]).flatten();
    let mut best = (u64::MAX, 1);
    for step in near.filter(|step| (1..slots).contains(step)) {
        let Some(term) = largest_term(step, slots) else { continue };
        best = best.min((term, step));
        if term <= SMALL {
            break;
        }
    }
    best.1
}

/// The largest term of the continued fraction of `step`/`slots`, or `None` if they have a divisor in common.
fn largest_term(step: u64, slots: u64) -> Option<u64> {
    let (mut above, mut below, mut largest) = (slots, step, 0);
    while below > 0 {
        largest = largest.max(above / below);
        (above, below) = (below, above % below);
    }
    (above == 1).then_some(largest)
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// a · b / divisor, rounded down.
fn scale(a: u64, b: u64, divisor: u64) -> u64 {
    match a.checked_mul(b) {
        Some(product) => product.checked_div(divisor).unwrap_or(0),
        None => narrow((u128::from(a) * u128::from(b)).checked_div(u128::from(divisor)).unwrap_or(0)),
    }
}

/// a · b mod divisor.
fn turn(a: u64, b: u64, divisor: u64) -> u64 {
    match a.checked_mul(b) {
        Some(product) => product.checked_rem(divisor).unwrap_or(0),
        None => narrow((u128::from(a) * u128::from(b)).checked_rem(u128::from(divisor)).unwrap_or(0)),
    }
}

/// The slot at an angle, given as a fraction of 2^64.
fn part(angle: u64, slots: u64) -> u64 {
    narrow((u128::from(angle) * u128::from(slots)) >> 64)
}

fn narrow(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
