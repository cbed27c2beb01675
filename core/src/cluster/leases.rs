//! Which replica does a job that one of them must do and none of the others need repeat.

use std::fmt;
use std::time::Duration;

use super::Deferred;
use crate::model::ServerId;

/// A periodic job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Job {
    /// Probes the health of a server.
    Probe(ServerId),
    /// Asks a server for its listing, on a schedule.
    Discovery(ServerId),
    /// Removes audit rows that were kept long enough.
    AuditRetention,
}

/// As a key of a shared store: `probe/6f…`.
impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probe(server) => write!(f, "probe/{server}"),
            Self::Discovery(server) => write!(f, "discovery/{server}"),
            Self::AuditRetention => f.write_str("audit-retention"),
        }
    }
}

/// Grants jobs, each to one replica at a time.
///
/// A lease bounds the beginning of a round, not its end: a round that takes longer than its lease can meet the next. All jobs
/// may be done twice, so an implementation that cannot reach its engine grants.
pub trait Leases: Send + Sync + fmt::Debug {
    /// Whether this replica does `job` now: it then holds the lease for `time`. The holder that asks again renews it.
    fn acquire<'a>(&'a self, job: &'a Job, time: Duration) -> Deferred<'a, bool>;

    /// Releases every lease of this replica, which is about to stop, so that another goes on at once.
    fn release_all(&self) -> Deferred<'_, ()>;
}

/// Grants everything: there is one replica.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalLeases;

impl Leases for LocalLeases {
    fn acquire<'a>(&'a self, _job: &'a Job, _time: Duration) -> Deferred<'a, bool> {
        Deferred::Now(true)
    }

    fn release_all(&self) -> Deferred<'_, ()> {
        Deferred::Now(())
    }
}
