//! One call's hold on one server.

use std::sync::Arc;
use std::time::Duration;

use super::Replica;
use crate::balance::Held;
use crate::breaker::{Outcome, Permit};
use crate::clock::Tick;
use crate::model::ServerId;

/// One call's hold on one server: the call is in flight until this is dropped. Dropped without a record, it counts
/// as neither success nor failure.
#[derive(Debug)]
#[must_use = "a lease that is dropped ends the call"]
pub struct Lease {
    replica: Arc<Replica>,
    index: usize,
    permit: Option<Permit>,
    _held: Held,
}

impl Lease {
    pub(super) fn new(replica: Arc<Replica>, index: usize, permit: Permit, held: Held) -> Self {
        replica.begin();
        Self { replica, index, permit: Some(permit), _held: held }
    }

    /// The server that was picked.
    pub fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    /// Its id.
    pub fn server_id(&self) -> ServerId {
        self.replica.id()
    }

    /// Its index among the members of the pool that picked it.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Records how the call went, for the breaker and the counts, while its answer may still be streaming. `latency`
    /// is the time to the first byte. Only the first record of a lease counts.
    pub fn record(&mut self, outcome: Outcome, latency: Duration, now: Tick) {
        if let Some(permit) = self.permit.take() {
            permit.finish(outcome, now);
            self.replica.count(outcome, latency);
        }
    }

    /// Ends a lease on which nothing was sent: it counts as no call.
    pub fn give_back(self) {
        self.replica.never_began();
    }

    /// Records how the call went and ends it.
    pub fn finish(mut self, outcome: Outcome, latency: Duration, now: Tick) {
        self.record(outcome, latency, now);
    }
}
