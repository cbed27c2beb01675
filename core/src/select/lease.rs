//! One call's hold on one server.

use std::sync::Arc;
use std::time::Duration;

use super::Replica;
use crate::balance::Booked;
use crate::breaker::{Outcome, Place};
use crate::clock::Tick;
use crate::model::ServerId;

/// One call's hold on one server: the call is in flight until this is dropped. Dropped without a record, it counts
/// as neither success nor failure.
#[derive(Debug)]
#[must_use = "a lease that is dropped ends the call"]
pub struct Lease {
    replica: Arc<Replica>,
    index: usize,
    /// Taken when an outcome is recorded.
    place: Option<Place>,
    _booked: Option<Booked>,
}

impl Lease {
    /// `place` is of the replica's own breaker.
    #[inline]
    pub(super) fn new(replica: Arc<Replica>, index: usize, place: Place, booked: Option<Booked>) -> Self {
        replica.begin();
        replica.load().add();
        Self { replica, index, place: Some(place), _booked: booked }
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
        if let Some(place) = self.place.take() {
            self.replica.breaker().leave_place(place, outcome, now);
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

impl Drop for Lease {
    #[inline]
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            // An ignored ending looks at no time.
            self.replica.breaker().leave_place(place, Outcome::Ignored, Tick::default());
        }
        self.replica.load().sub();
    }
}
