//! Where the state of a client lives that only one replica has: its session, or a call of it that waits.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Deferred, NodeId};
use crate::error::Result;

/// Says which replica has the session of a legacy client.
pub trait Sessions: Send + Sync + fmt::Debug {
    /// Enters that this replica has session `id`, before the client is notified of it. Fails where the session could not be found
    /// again; the client is then refused.
    fn claim<'a>(&'a self, id: &'a str) -> Deferred<'a, Result<()>>;

    /// The other replica that has session `id`; `None` where no other has it. Asked for sessions that this replica does not know.
    fn owner<'a>(&'a self, id: &'a str) -> Deferred<'a, Option<NodeId>>;

    /// Removes the entry of session `id`, which has ended here.
    fn release<'a>(&'a self, id: &'a str) -> Deferred<'a, ()>;
}

/// Says at which replica a call of a modern client waits for its retry.
pub trait Parked: Send + Sync + fmt::Debug {
    /// Returns the number for a call that is about to wait at this replica: above 0, and given to no other call of the cluster.
    fn claim(&self) -> Deferred<'_, Result<u64>>;

    /// The other replica at which call `number` waits; `None` where it waits at no other. Asked for calls that do not wait at
    /// this replica.
    fn owner(&self, number: u64) -> Deferred<'_, Option<NodeId>>;

    /// Removes the entry of call `number`, which does not wait any more.
    fn release(&self, number: u64) -> Deferred<'_, ()>;
}

/// The directory of a cluster of one, which is empty: no other replica has a session.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalSessions;

impl Sessions for LocalSessions {
    fn claim<'a>(&'a self, _id: &'a str) -> Deferred<'a, Result<()>> {
        Deferred::Now(Ok(()))
    }

    fn owner<'a>(&'a self, _id: &'a str) -> Deferred<'a, Option<NodeId>> {
        Deferred::Now(None)
    }

    fn release<'a>(&'a self, _id: &'a str) -> Deferred<'a, ()> {
        Deferred::Now(())
    }
}

/// The directory of a cluster of one: it counts, and no call waits elsewhere.
#[derive(Debug, Default)]
pub struct LocalParked {
    given: AtomicU64,
}

impl Parked for LocalParked {
    fn claim(&self) -> Deferred<'_, Result<u64>> {
        Deferred::Now(Ok(self.given.fetch_add(1, Ordering::Relaxed) + 1))
    }

    fn owner(&self, _number: u64) -> Deferred<'_, Option<NodeId>> {
        Deferred::Now(None)
    }

    fn release(&self, _number: u64) -> Deferred<'_, ()> {
        Deferred::Now(())
    }
}
