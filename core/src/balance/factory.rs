//! How one pool spreads its calls: makes a balancer for each candidate set and keeps the state that outlives it.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use super::candidates::Candidates;
use super::consistent_hash::{Books, ConsistentHash};
use super::custom::CustomBalancer;
use super::least_connections::LeastConnections;
use super::random::Uniform;
use super::ring::Ring;
use super::round_robin::{Cursor, RoundRobin};
use super::weighted::{Phase, Weighted};
use super::{Balancer, Entry, InFlight, InFlightGuard};
use crate::model::Algorithm;
use crate::random::Random;

/// How a pool balances.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Bounded loads for consistent hashing: no server gets a call that would give it more than this factor of the
    /// mean in flight, rounded up. Below 1 counts as 1; a resolution of a thousandth.
    pub max_load: Option<f64>,
    /// Determines every random choice.
    pub seed: u64,
    /// Balances in the place of the algorithm.
    pub own: Option<CustomBalancer>,
}

/// The part of an algorithm that belongs to a pool and not to a candidate set.
#[derive(Debug)]
pub struct BalancerFactory {
    settings: Settings,
    roster: Arc<[Entry]>,
    random: Arc<Random>,
    turn: Arc<Cursor>,
    counter: Arc<AtomicU64>,
    phase: Arc<Mutex<Phase>>,
    ring: Option<Arc<Ring>>,
    books: Option<Books>,
}

impl BalancerFactory {
    /// The factory for these members. It goes on where `previous` stands: the next turn, the picks and
    /// the calls in flight, and the hash ring if names, weights and their order are the same.
    pub fn new(settings: Settings, roster: Vec<Entry>, previous: Option<&Self>) -> Self {
        let roster: Arc<[Entry]> = roster.into();
        let random = match previous {
            Some(previous) if previous.settings.seed == settings.seed => Arc::clone(&previous.random),
            _ => Arc::new(Random::seeded(settings.seed)),
        };
        let turn = Cursor::over(&roster, previous.map(|previous| &previous.turn));
        let counter = previous.map_or_else(Arc::default, |previous| Arc::clone(&previous.counter));
        let phase = previous.map_or_else(Arc::default, |previous| Arc::clone(&previous.phase));
        let hashes = settings.algorithm == Algorithm::ConsistentHash;
        let ring = hashes.then(|| Ring::over(&roster, previous.and_then(|previous| previous.ring.as_ref())));
        let books = settings.max_load.filter(|_| hashes).map(|factor| books(factor, &roster, previous));
        Self { settings, roster, random, turn, counter, phase, ring, books }
    }

    /// A balancer over the members that `usable` names by index. Those of weight 0 are never among them.
    pub fn over(&self, usable: impl Fn(usize) -> bool) -> Box<dyn Balancer> {
        let candidates = Candidates::new(Arc::clone(&self.roster), usable);
        if let Some(own) = &self.settings.own {
            return Box::new(own.over(candidates));
        }
        let random = Arc::clone(&self.random);
        match (self.settings.algorithm, &self.ring) {
            (Algorithm::RoundRobin, _) => Box::new(RoundRobin::new(&candidates, Arc::clone(&self.turn))),
            (Algorithm::Weighted, _) => {
                Box::new(Weighted::new(candidates, Arc::clone(&self.counter), &self.phase))
            }
            (Algorithm::LeastConnections, _) => Box::new(LeastConnections::new(candidates, random)),
            (Algorithm::ConsistentHash, Some(ring)) => {
                Box::new(ConsistentHash::new(candidates, Arc::clone(ring), random, self.books.clone()))
            }
            (Algorithm::Random | Algorithm::ConsistentHash, _) => Box::new(Uniform::new(candidates, random)),
        }
    }

    /// Books a call of the member at `index` as in flight until the returned guard is dropped; `None` where loads are not
    /// bounded. The member's own calls in flight are counted by the owner of the member.
    #[inline]
    pub fn book(&self, index: usize) -> Option<InFlightGuard> {
        let books = self.books.as_ref()?;
        Some(InFlightGuard::new(books.own.get(index)?.clone(), books.all.clone()))
    }

    /// The members, in the order of their indexes.
    pub fn roster(&self) -> &[Entry] {
        &self.roster
    }

    #[cfg(test)]
    pub(super) fn set_own(&mut self, own: CustomBalancer) {
        self.settings.own = Some(own);
    }

    #[cfg(test)]
    pub(super) fn shares_ring(&self, other: &Self) -> bool {
        matches!((&self.ring, &other.ring), (Some(one), Some(another)) if Arc::ptr_eq(one, another))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from float saturates, and the factor is at least 1"
)]
fn books(factor: f64, roster: &[Entry], previous: Option<&BalancerFactory>) -> Books {
    let before = previous.and_then(|previous| Some((previous, previous.books.as_ref()?)));
    let factor = (factor.max(1.0) * 1000.0).round() as u64;
    let Some((previous, books)) = before else {
        return Books {
            factor,
            own: roster.iter().map(|_| InFlight::default()).collect(),
            all: InFlight::default(),
        };
    };
    let known: std::collections::HashMap<_, _> =
        previous.roster.iter().map(|entry| entry.id).zip(books.own.iter()).collect();
    let own = roster
        .iter()
        .map(|entry| known.get(&entry.id).map_or_else(InFlight::default, |load| (*load).clone()));
    Books { factor, own: own.collect(), all: books.all.clone() }
}
