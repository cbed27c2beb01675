//! Five ways to spread calls over the replicas of a service, each in a file of its own, and room for one of the program's own.
//!
//! A [`Balancer`] picks from one immutable candidate set; [`BalancerFactory`] makes balancers for a pool and holds the
//! state that outlives a candidate set: the next turn, the number of picks, the hash ring.
//!
//! Invariants:
//! - A pick takes no lock, allocates nothing, and costs the same for 3 candidates as for 10,000 (the hash ring: the
//!   logarithm of its size).
//! - Weight 0 is drained under every algorithm: it is never a candidate.
//! - No candidates, or all of them excluded, is `None`, never a panic.
//! - State that a candidate set cannot tell (the next turn) is kept in terms that hold in any other set.

mod candidates;
mod consistent_hash;
mod least_connections;
mod in_flight;
mod custom;
mod random;
mod ring;
mod round_robin;
mod factory;
mod weighted;

pub use custom::CustomBalancer;
pub use factory::{BalancerFactory, Settings};
pub use in_flight::{InFlight, InFlightGuard};
pub use ring::{HASH_SEED, key_of};

use std::fmt;
use std::sync::Arc;

use crate::model::ServerId;

/// A member of a pool, as far as balancing looks at it.
///
/// ```
/// use mcp_registry_gateway::Entry;
///
/// /// The one with the fewest calls in flight for its weight.
/// fn idlest(entries: &[Entry]) -> Option<usize> {
///     (0..entries.len()).min_by_key(|place| entries[*place].load.get() * 1000 / u64::from(entries[*place].weight))
/// }
/// assert_eq!(idlest(&[]), None);
/// ```
#[derive(Clone, Debug)]
pub struct Entry {
    /// Decides the order of turns.
    pub id: ServerId,
    /// Decides its places on the hash ring; unique in the pool.
    pub name: Arc<str>,
    /// Its share under `weighted` and `consistent_hash`; 0 is drained.
    pub weight: u32,
    /// Its calls in flight.
    pub load: InFlight,
}

/// The request for one pick.
///
/// ```
/// use mcp_registry_gateway::BalanceRequest;
///
/// let ask = BalanceRequest { key: None, exclude: &[0] };      // the first was tried already
/// assert!(!ask.allows(0) && ask.allows(1));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct BalanceRequest<'a> {
    /// Hash of the affinity key, of [`key_of`]; without one, consistent hashing picks at random.
    pub key: Option<u64>,
    /// Members not to pick, by index.
    pub exclude: &'a [usize],
}

impl BalanceRequest<'_> {
    /// Whether the member at `index` may be picked.
    pub fn allows(&self, index: usize) -> bool {
        !self.exclude.contains(&index)
    }
}

/// Picks from one immutable candidate set.
///
/// A program that embeds the gateway brings an algorithm of its own by implementing it:
///
/// ```
/// use std::sync::Arc;
/// use mcp_registry_gateway::{BalanceRequest, Balancer, Entry, Gateway};
///
/// /// The replica whose name comes first, as long as it can take calls.
/// #[derive(Debug)]
/// struct FirstByName(Arc<[Entry]>);
///
/// impl Balancer for FirstByName {
///     fn pick(&self, ask: &BalanceRequest<'_>) -> Option<usize> {
///         let allowed = (0..self.0.len()).filter(|place| ask.allows(*place));
///         allowed.min_by_key(|place| &self.0[*place].name)
///     }
/// }
///
/// let builder = Gateway::builder().balancer("docs", |candidates| Box::new(FirstByName(candidates)));
/// # let _ = builder;
/// ```
pub trait Balancer: Send + Sync + fmt::Debug {
    /// The index of the member picked, or `None` if there is no candidate that the ask allows.
    fn pick(&self, ask: &BalanceRequest<'_>) -> Option<usize>;
}

#[cfg(test)]
mod tests;
