//! Routing counters by service, for dashboards.

use std::time::Duration;

use crate::auth::Operation;
use crate::breaker::BreakerState;
use crate::error::Result;
use crate::gateway::{Caller, Gateway};

/// Services that are counted by name; those beyond, in order of their names, are counted together.
pub const MAX_SERVICES: usize = 500;

/// Counts of one service, over the servers that it has now, since each was first routed to in this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceMetrics {
    /// The service; `None` for those beyond [`MAX_SERVICES`].
    pub service: Option<String>,
    /// Its servers.
    pub servers: u64,
    /// Those whose breaker does not let every call through.
    pub breakers_open: u64,
    /// Calls in flight.
    pub in_flight: u64,
    /// Calls sent.
    pub total: u64,
    /// Calls that a server answered.
    pub successes: u64,
    /// Calls that a server failed.
    pub failures: u64,
    /// Times to the first byte of the answers, added up.
    pub latency: Duration,
    /// Servers whose calls others take, except for probes: they refused calls, or are outliers.
    pub set_aside: u64,
    /// How often a server refused calls and was paused.
    pub pauses: u64,
    /// How often a server became an outlier among its replicas.
    pub ejections: u64,
    /// Connections in use.
    pub connections: u64,
    /// Calls that wait for a connection.
    pub queued: u64,
    /// Calls that have waited for one, those in vain included.
    pub queue_waits: u64,
    /// The time that they waited, added up.
    pub queue_wait: Duration,
    /// Calls that were refused because the queue was full.
    pub queue_refusals: u64,
}

impl Gateway {
    /// Counts of the caller's services, ordered by name: at most [`MAX_SERVICES`] and one for all others.
    pub fn service_metrics(&self, caller: &Caller) -> Result<Vec<ServiceMetrics>> {
        caller.may(Operation::MetricsRead)?;
        let view = self.0.router.view_for(&caller.principal);
        let now = self.0.clock.now();
        let mut all: Vec<ServiceMetrics> = Vec::new();
        for (name, service) in &view.services {
            if all.len() <= MAX_SERVICES {
                let service = (all.len() < MAX_SERVICES).then(|| name.to_string());
                all.push(ServiceMetrics { service, ..ServiceMetrics::default() });
            }
            let Some(counts) = all.last_mut() else { continue };
            counts.ejections += service.comparison.ejections();
            for replica in &service.replicas {
                let stats = replica.state.stats();
                counts.servers += 1;
                counts.breakers_open += u64::from(replica.state.breaker().state(now) != BreakerState::Closed);
                counts.in_flight += stats.in_flight;
                counts.total += stats.total;
                counts.successes += stats.successes;
                counts.failures += stats.failures;
                counts.latency += stats.latency;
                counts.set_aside += u64::from(replica.state.is_set_aside());
                counts.pauses += replica.state.pauses();
                let queue = replica.upstream.queue().unwrap_or_default();
                counts.connections += queue.taken;
                counts.queued += queue.waiting;
                counts.queue_waits += queue.waits;
                counts.queue_wait += queue.waited;
                counts.queue_refusals += queue.refusals;
            }
        }
        Ok(all)
    }
}
