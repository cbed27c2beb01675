//! How the health monitor reaches servers, and where its observations go.

use std::sync::{Arc, Weak};

use async_trait::async_trait;

use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Core;
use crate::health::{Monitor, Probe, Sink};
use crate::model::{ProbeKind, ServerId};
use crate::random::Random;
use crate::store::HealthRecord;

/// The gateway as the monitor sees it; weak, since the gateway owns the monitor.
#[derive(Debug)]
struct ProbeView(Weak<Core>);

pub(crate) fn monitor(
    gateway: &Weak<Core>,
    clock: &Arc<dyn Clock>,
    random: &Arc<Random>,
    cluster: &Cluster,
) -> Arc<Monitor> {
    let seen = Arc::new(ProbeView(Weak::clone(gateway)));
    let probe = Arc::clone(&seen) as Arc<dyn Probe>;
    Arc::new(Monitor::new(Arc::clone(clock), Arc::clone(random), Arc::clone(&cluster.leases), probe, seen))
}

#[async_trait]
impl Probe for ProbeView {
    async fn probe(&self, id: ServerId, kind: ProbeKind) -> Result<()> {
        let gone = || Error::new(ErrorKind::NotFound, "the server is no longer registered");
        let gateway = self.0.upgrade().ok_or_else(gone)?;
        let replica = gateway.replica(id).ok_or_else(gone)?;
        let watching = Arc::clone(&gateway);
        // A probe that the monitor ends counts against the server; a program that is starting has done nothing wrong.
        let start_wait = replica.server.health_check.timeout.mul_f64(0.8);
        replica.upstream.probe(kind, start_wait, move |session| watching.watch(id, session)).await
    }
}

#[async_trait]
impl Sink for ProbeView {
    async fn observed(&self, records: Vec<(ServerId, HealthRecord)>) {
        let Some(gateway) = self.0.upgrade() else { return };
        gateway.note_probes(&records);
        if let Err(error) = gateway.registry.record_health(records).await {
            tracing::warn!(%error, "health observations could not be written; routing goes by them all the same");
        }
    }
}
