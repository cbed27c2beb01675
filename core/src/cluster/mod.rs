//! The state that gateway replicas share while they run: counters, directories of sessions and parked calls, leases, notices.
//!
//! Durable data is the [`store`](crate::store)'s; this state may be lost at a restart. A [`Cluster`] gathers five
//! traits, each of which can be brought by the program. The local form has one member, keeps everything in this process,
//! and answers without waiting.
//!
//! Invariants: a gateway asks no trait on the path of a call but [`Counters`], and never holds a lock while it waits for one.

mod broadcast;
pub mod counters;
mod directory;
mod leases;

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

pub use self::broadcast::{Broadcast, LocalBroadcast, Notice, Notices};
pub use self::counters::{Counters, MemoryCounters};
pub use self::directory::{LocalParked, LocalSessions, Parked, Sessions};
pub use self::leases::{Job, Leases, LocalLeases};
use crate::clock::Clock;

/// The name of one replica, unique in its cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// The node that `name` names.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A result that is known at once, or when a future ends.
///
/// The local form of every trait answers with [`Deferred::Now`], so that nothing is allocated and no caller waits.
pub enum Deferred<'a, T> {
    /// Known.
    Now(T),
    /// Known when this ends.
    Later(BoxFuture<'a, T>),
}

impl<T> Deferred<'_, T> {
    /// The result, waited for where it must be.
    pub async fn get(self) -> T {
        match self {
            Self::Now(known) => known,
            Self::Later(known) => known.await,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Deferred<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(known) => f.debug_tuple("Now").field(known).finish(),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

/// The replicas of one system, as one of them sees the others.
///
/// A program replaces the parts that it brings, and takes the local form for the rest:
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use mcp_registry_gateway::cluster::{Deferred, Job, Leases};
/// use mcp_registry_gateway::{Cluster, Gateway, SystemClock};
///
/// /// Leaves periodic work to the other replicas.
/// #[derive(Debug)]
/// struct Idle;
///
/// impl Leases for Idle {
///     fn acquire<'a>(&'a self, _job: &'a Job, _time: Duration) -> Deferred<'a, bool> {
///         Deferred::Now(false)
///     }
///
///     fn release_all(&self) -> Deferred<'_, ()> {
///         Deferred::Now(())
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> mcp_registry_gateway::Result<()> {
/// let cluster = Cluster { leases: Arc::new(Idle), ..Cluster::local(&SystemClock::shared()) };
/// let gateway = Gateway::builder().cluster(cluster).open().await?;
/// gateway.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Cluster {
    /// This replica.
    pub node: NodeId,
    /// Counts requests.
    pub counters: Arc<dyn Counters>,
    /// Says which replica has a client's session.
    pub sessions: Arc<dyn Sessions>,
    /// Says at which replica a call waits for its client's answers.
    pub parked: Arc<dyn Parked>,
    /// Says which replica does a periodic job.
    pub leases: Arc<dyn Leases>,
    /// Tells all replicas the notices that must take effect at once.
    pub broadcast: Arc<dyn Broadcast>,
}

impl Cluster {
    /// The cluster of one: everything is kept in this process. `clock` is the time by which requests are counted.
    pub fn local(clock: &Arc<dyn Clock>) -> Self {
        Self {
            node: NodeId::new("local"),
            counters: Arc::new(MemoryCounters::new(Arc::clone(clock))),
            sessions: Arc::new(LocalSessions),
            parked: Arc::new(LocalParked::default()),
            leases: Arc::new(LocalLeases),
            broadcast: Arc::new(LocalBroadcast::default()),
        }
    }
}
