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
}

impl Gateway {
    /// Counts of the caller's services, ordered by name: at most [`MAX_SERVICES`] and one for all others.
    pub fn service_metrics(&self, caller: &Caller) -> Result<Vec<ServiceMetrics>> {
        caller.may(Operation::MetricsRead)?;
        let view = self.0.view_for(&caller.principal);
        let now = self.0.clock.now();
        let mut all: Vec<ServiceMetrics> = Vec::new();
        for (name, service) in &view.services {
            if all.len() <= MAX_SERVICES {
                let service = (all.len() < MAX_SERVICES).then(|| name.to_string());
                all.push(ServiceMetrics { service, ..ServiceMetrics::default() });
            }
            let Some(counts) = all.last_mut() else { continue };
            for replica in &service.replicas {
                let stats = replica.state.stats();
                counts.servers += 1;
                counts.breakers_open += u64::from(replica.state.breaker().state(now) != BreakerState::Closed);
                counts.in_flight += stats.in_flight;
                counts.total += stats.total;
                counts.successes += stats.successes;
                counts.failures += stats.failures;
                counts.latency += stats.latency;
            }
        }
        Ok(all)
    }
}
