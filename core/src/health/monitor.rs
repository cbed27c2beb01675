//! The loop that probes the servers that are due and hands on the conclusions.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, FutureExt, OptionFuture};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Notify;

use super::observe::{Observation, Outcome};
use super::schedule::Schedule;
use crate::clock::Clock;
use crate::cluster::{Job, Leases};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{HealthCheck, ProbeKind, ServerId};
use crate::random::Random;
use crate::store::HealthRecord;

/// Probes at once.
const AT_ONCE: usize = 512;

/// Asks one server.
#[async_trait]
pub trait Probe: Send + Sync {
    /// Whether the server answers as it should. The monitor ends a probe that takes too long by dropping it.
    async fn probe(&self, id: ServerId, kind: ProbeKind) -> Result<()>;
}

/// Takes the conclusions.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Observations in the order they were made, of servers that were still watched then. While it runs probes go on,
    /// and their results wait for the next batch.
    async fn observed(&self, records: Vec<(ServerId, HealthRecord)>);
}

struct WatchedServer {
    check: HealthCheck,
    observation: Observation,
}

struct MonitorState {
    servers: HashMap<ServerId, WatchedServer>,
    schedule: Schedule,
}

/// Watches the health of servers.
pub struct Monitor {
    clock: Arc<dyn Clock>,
    leases: Arc<dyn Leases>,
    probe: Arc<dyn Probe>,
    sink: Arc<dyn Sink>,
    state: Mutex<MonitorState>,
    changed: Notify,
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Monitor({} servers)", self.lock().servers.len())
    }
}

impl Monitor {
    /// A monitor that watches nothing yet. It probes a server on schedule while it has the lease for that.
    pub fn new(
        clock: Arc<dyn Clock>,
        random: Arc<Random>,
        leases: Arc<dyn Leases>,
        probe: Arc<dyn Probe>,
        sink: Arc<dyn Sink>,
    ) -> Self {
        let state = MonitorState { servers: HashMap::new(), schedule: Schedule::new(random) };
        Self { clock, leases, probe, sink, state: Mutex::new(state), changed: Notify::new() }
    }

    /// From now on watches each of these servers as said; not at all those without a check. The record of a server stays as long
    /// as it is watched; a new one is probed within half a second. A server whose check is not enabled is probed on demand only.
    pub fn update(&self, servers: impl IntoIterator<Item = (ServerId, Option<HealthCheck>)>) {
        let now = self.clock.now();
        let mut state = self.lock();
        let MonitorState { servers: watched, schedule } = &mut *state;
        for (id, check) in servers {
            let Some(check) = check else {
                watched.remove(&id);
                schedule.remove(id);
                continue;
            };
            if check.enabled {
                schedule.put(id, check.interval, now);
            } else {
                schedule.remove(id);
            }
            match watched.get_mut(&id) {
                Some(known) => known.check = check,
                None => {
                    watched.insert(id, WatchedServer { check, observation: Observation::default() });
                }
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Probes a server now, whether its check is enabled or not, hands the record to the sink, and returns it.
    /// [`ErrorKind::NotFound`] if the server is not watched.
    pub async fn probe_now(&self, id: ServerId) -> Result<HealthRecord> {
        let unwatched = || {
            Error::new(
                ErrorKind::NotFound,
                "this server has no health checks: it is in maintenance, or was removed",
            )
            .with("id", id)
        };
        if !self.lock().servers.contains_key(&id) {
            return Err(unwatched());
        }
        let record = self.ask(id).await.ok_or_else(unwatched)?;
        self.changed.notify_one();
        self.sink.observed(vec![(id, record.clone())]).await;
        Ok(record)
    }

    /// As [`Monitor::probe_now`], for a server whose connection or credentials have changed: earlier conclusions about it
    /// do not count any more.
    pub async fn probe_anew(&self, id: ServerId) -> Result<HealthRecord> {
        if let Some(known) = self.lock().servers.get_mut(&id) {
            known.observation = Observation::default();
        }
        self.probe_now(id).await
    }

    /// Probes the servers that are due until it is dropped. One call of it at a time.
    pub async fn run(&self) {
        let now = self.clock.now();
        self.lock().schedule.resume(now);
        let mut probes = FuturesUnordered::new();
        let mut batch = Vec::new();
        let mut delivery: Option<BoxFuture<'_, ()>> = None;
        loop {
            while probes.len() < AT_ONCE
                && let Some(id) = self.take_due()
            {
                probes.push(async move { self.ask_on_schedule(id).await.map(|record| (id, record)) });
            }
            if delivery.is_none() && !batch.is_empty() {
                delivery = Some(self.sink.observed(std::mem::take(&mut batch)));
            }
            // At the limit it is the end of a probe that makes the next one possible.
            let wait = self.wait().filter(|_| probes.len() < AT_ONCE);
            tokio::select! {
                Some(record) = probes.next(), if !probes.is_empty() => {
                    batch.extend(record);
                    // Probes that are ready at the same time go into the same batch.
                    while let Some(Some(record)) = probes.next().now_or_never() {
                        batch.extend(record);
                    }
                }
                Some(()) = OptionFuture::from(delivery.as_mut()) => delivery = None,
                Some(()) = OptionFuture::from(wait.map(tokio::time::sleep)) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Probes a server that is due; `None` if another replica has the lease for it, or it is not watched any more.
    async fn ask_on_schedule(&self, id: ServerId) -> Option<HealthRecord> {
        let HealthCheck { interval, timeout, .. } = self.lock().servers.get(&id)?.check;
        // Long enough to be renewed by the next probe, so that a server keeps its prober.
        let lease = interval * 2 + timeout;
        if self.leases.acquire(&Job::Probe(id), lease).get().await {
            return self.ask(id).await;
        }
        let now = self.clock.now();
        let mut state = self.lock();
        let failures = state.servers.get(&id)?.observation.failures();
        state.schedule.probed(id, failures, now);
        None
    }

    /// Probes one server and concludes; `None` if it is not watched when the answer comes.
    async fn ask(&self, id: ServerId) -> Option<HealthRecord> {
        let check = self.lock().servers.get(&id)?.check.clone();
        let started = self.clock.now();
        let late = |_| {
            let waited = format!("no answer within {} s", check.timeout.as_secs_f64());
            Err(Error::new(ErrorKind::Timeout, waited))
        };
        let answer = tokio::time::timeout(check.timeout, self.probe.probe(id, check.kind)).await;
        let result = answer.unwrap_or_else(late);
        let now = self.clock.now();
        let mut state = self.lock();
        let MonitorState { servers, schedule } = &mut *state;
        let WatchedServer { check, observation } = servers.get_mut(&id)?;
        let status = observation.record(Outcome::of(&result), check);
        schedule.probed(id, observation.failures(), now);
        Some(HealthRecord {
            at: self.clock.timestamp(),
            status,
            latency_ms: u64::try_from(now.since(started).as_millis()).unwrap_or(u64::MAX),
            error: result.err().map(|error| error.to_string()),
        })
    }

    /// The time until the next probe of a server on schedule, if one is planned.
    pub fn next_probe(&self, id: ServerId) -> Option<Duration> {
        let now = self.clock.now();
        self.lock().schedule.due(id).map(|due| due.since(now))
    }

    fn take_due(&self) -> Option<ServerId> {
        let now = self.clock.now();
        self.lock().schedule.take_due(now)
    }

    fn wait(&self) -> Option<Duration> {
        let now = self.clock.now();
        self.lock().schedule.next_due().map(|due| due.since(now))
    }

    fn lock(&self) -> MutexGuard<'_, MonitorState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
