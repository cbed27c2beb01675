//! One call's hold on one server.

use std::sync::Arc;
use std::time::Duration;

use super::ReplicaState;
use crate::balance::InFlightGuard;
use crate::breaker::{Outcome, RawPermit};
use crate::clock::Tick;
use crate::model::ServerId;

/// One call's hold on one server: the call is in flight until this is dropped. Dropped without a record, it counts
/// as neither success nor failure.
#[derive(Debug)]
#[must_use = "a lease that is dropped ends the call"]
pub struct Lease {
    replica: Arc<ReplicaState>,
    hold: Hold,
}

/// One call's hold on one server, without the server: an owner of the server names it at each step and ends this, once. It is
/// the content of a [`Lease`]; for callers that pick so often that one more counter shared by threads is felt.
#[derive(Debug)]
#[must_use = "the call is in flight until this is ended"]
pub(crate) struct Hold {
    index: usize,
    /// Taken when an outcome is recorded.
    place: Option<RawPermit>,
    /// The subject by which the answer is compared with those of other replicas.
    subject: u64,
    _booked: Option<InFlightGuard>,
}

impl Hold {
    /// `place` is a permit of the replica's own breaker.
    #[inline]
    pub(super) fn begin(
        replica: &ReplicaState,
        index: usize,
        place: RawPermit,
        booked: Option<InFlightGuard>,
    ) -> Self {
        replica.begin();
        replica.load().add();
        Self { index, place: Some(place), subject: 0, _booked: booked }
    }

    /// The server's index among the members of the pool that picked it.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// As [`Lease::record`].
    pub(crate) fn record(&mut self, replica: &ReplicaState, outcome: Outcome, latency: Duration, now: Tick) {
        if let Some(place) = self.place.take() {
            replica.breaker().release_raw(place, outcome, now);
            replica.count(outcome, latency);
            if outcome == Outcome::Success {
                replica.answered(before(now, latency), now);
            }
        }
    }

    /// As [`Lease::record_answer`].
    fn record_answer(&mut self, replica: &ReplicaState, bad: bool, latency: Duration, now: Tick) {
        if let Some(place) = self.place.take() {
            replica.breaker().release_raw(place, Outcome::Success, now);
            replica.count(if bad { Outcome::Failure } else { Outcome::Success }, latency);
            replica.answered(before(now, latency), now);
            replica.compare(self.subject, bad, now);
        }
    }

    /// The call is in flight no more.
    #[inline]
    pub(crate) fn end(mut self, replica: &ReplicaState) {
        self.leave(replica);
    }

    #[inline]
    fn leave(&mut self, replica: &ReplicaState) {
        if let Some(place) = self.place.take() {
            // An ignored ending looks at no time.
            replica.breaker().release_raw(place, Outcome::Ignored, Tick::default());
        }
        replica.load().sub();
    }
}

/// The tick so long before.
fn before(now: Tick, latency: Duration) -> Tick {
    Tick::from_nanos(now.as_nanos().saturating_sub(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX)))
}

impl Lease {
    /// `hold` is of this replica.
    #[inline]
    pub(super) fn new(replica: Arc<ReplicaState>, hold: Hold) -> Self {
        Self { replica, hold }
    }

    /// The server that was picked.
    pub fn replica(&self) -> &Arc<ReplicaState> {
        &self.replica
    }

    /// Its id.
    pub fn server_id(&self) -> ServerId {
        self.replica.id()
    }

    /// Its index among the members of the pool that picked it.
    pub fn index(&self) -> usize {
        self.hold.index
    }

    /// Records how the call went, for the breaker and the counts, while its answer may still be streaming. `latency`
    /// is the time to the first byte. Only the first record of a lease counts.
    pub fn record(&mut self, outcome: Outcome, latency: Duration, now: Tick) {
        self.hold.record(&self.replica, outcome, latency, now);
    }

    /// Says what the call is about, its method and its tool, so that its answer is compared with other replicas' to the same.
    pub fn set_subject(&mut self, subject: u64) {
        self.hold.subject = subject;
    }

    /// Records that the server answered, with a result or with an error of its own (`bad`): that is no failure for the breaker, but
    /// one for the counts, and for the comparison with other replicas. Otherwise as [`Lease::record`].
    pub fn record_answer(&mut self, bad: bool, latency: Duration, now: Tick) {
        self.hold.record_answer(&self.replica, bad, latency, now);
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
        self.hold.leave(&self.replica);
    }
}
