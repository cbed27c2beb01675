//! From a service to one server for one call: health, breaker and balancer together give a [`Lease`].
//!
//! A [`Pool`] is an immutable candidate set with its balancer; a [`Lease`] is one call's hold on a server and lives as
//! long as the answer's stream. Pools of different candidate sets (all replicas of a service, those that offer a
//! certain tool) share their [`ReplicaState`]s, and with them breaker, calls in flight and counts. [`Pool::pick`] is
//! synchronous and needs no runtime.
//!
//! Invariants:
//! - A drained member is never picked. An unavailable one is picked only when no other is left in the same pool; a
//!   pool never reaches beyond its members.
//! - Each lease holds a permit of its server's breaker; there is no way to a server around it.
//! - A member that is set aside (`aside.rs`) is picked only for a probe, or when no other is left.
//! - A call counts as in flight from pick to drop of the lease, whenever its outcome is recorded.

mod aside;
mod comparison;
mod lease;
mod pool;
mod replica;

pub use crate::balance::{Settings, key_of};
pub(crate) use comparison::Comparison;
pub(crate) use lease::Hold;
pub use lease::Lease;
pub use pool::{Member, PickRequest, Pool};
pub use replica::{ReplicaState, Stats};

#[cfg(test)]
mod tests;
