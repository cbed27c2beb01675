//! A replica is killed while calls go on, and comes back.
//!
//! A call that was in flight on the killed replica is answered with `data.outcome: "unknown"`: the gateway never
//! repeats a `tools/call` that a server may have seen. The demo then acts as a careful client: it looks into
//! the ledger, counts the call as executed if it stands there, and sends it again with the same id only if not.
//!
//! A call of which no byte reached a server is sent to another replica by the gateway itself, as long as its budget of
//! second attempts lasts. Beyond that it answers that the call was not sent; the client then sends it again, and every
//! such answer is counted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{join, join_all};
use mcp_registry_gateway::clock::{Clock, Tick};
use mcp_registry_gateway::{Error, ErrorKind, Result};
use serde::Serialize;
use tokio::time::sleep;

use super::admin::{Admin, POLL};
use super::children::Replica;
use super::client::Session;
use super::ledger::Executions;
use super::load::{Outcome, echo};
use super::screen::Screen;
use super::statistics::rounded;

/// How long a server works on a call: long enough that some are in flight at any moment.
const HOLD_MS: u64 = 3;
/// How long the load goes on before the kill, while the replica is down, and after it is back.
const STRETCH: Duration = Duration::from_millis(300);
/// How long the breaker may take to open, and to close again after the replica is back.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a client sends a call of which it is told that it was not sent.
const ATTEMPTS: usize = 3;
const PREFIX: &str = "failover";

/// The effect of the kill, as the demo reports it.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Failover {
    /// The replica that was killed.
    pub(super) killed: String,
    /// Calls sent.
    pub(super) calls: u64,
    /// Calls that ended without having been executed and answered for.
    pub(super) errors: u64,
    /// Executions beyond the first of each call, over all ledgers.
    pub(super) duplicates: u64,
    /// Calls that were answered or counted as executed, but stand in no ledger.
    pub(super) lost: u64,
    /// From the kill until the breaker was seen open, in milliseconds.
    pub(super) breaker_opened_ms: Option<f64>,
    /// From the moment the replica listened again until its breaker was closed and it answered calls, in milliseconds.
    pub(super) recovered_ms: Option<f64>,
    /// Answers that said that the call was not sent; each was followed by another attempt of the client.
    pub(super) not_sent: u64,
    /// Calls that were in flight on the replica at the kill.
    pub(super) in_flight_at_kill: InFlight,
    /// Which promise broke.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) broken: Option<String>,
}

/// The calls with an unknown outcome.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct InFlight {
    /// All of them.
    pub(super) calls: u64,
    /// Those that stood in the ledger.
    pub(super) executed: u64,
    /// Those that did not, and were sent again.
    pub(super) sent_again: u64,
}

/// The parts of the scenario.
pub(super) struct Scene<'a> {
    pub(super) admin: &'a mut Admin,
    pub(super) sessions: &'a mut [Session],
    pub(super) replicas: &'a mut [Replica],
    /// The replicas' ids in the gateway, in their order.
    pub(super) ids: &'a [String],
    pub(super) clock: &'a dyn Clock,
    pub(super) screen: &'a Screen,
}

/// Calls as they went, for the director to look at and for the settlement.
#[derive(Debug, Default)]
struct Tally {
    sent: AtomicU64,
    stop: AtomicBool,
    calls: Mutex<Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    answered: Vec<String>,
    by: BTreeMap<String, u64>,
    unknown: Vec<String>,
    not_sent: u64,
    failed: Vec<String>,
}

impl Tally {
    fn calls(&self) -> std::sync::MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered_by(&self, replica: &str) -> u64 {
        self.calls().by.get(replica).copied().unwrap_or(0)
    }
}

/// Kills the replica `victim` under load, starts it again, and settles the outcome of every call.
pub(super) async fn run(scene: Scene<'_>, victim: usize) -> Result<Failover> {
    let Scene { admin, sessions, replicas, ids, clock, screen } = scene;
    let tally = Tally::default();
    let work = join_all(sessions.iter_mut().map(|session| work(session, &tally, screen)));
    let direct = async {
        let mut director = Director { admin, ids, clock, screen, victim };
        let times = director.play(&mut replicas[victim], &tally).await;
        tally.stop.store(true, Ordering::Relaxed);
        times
    };
    let (times, _) = join(direct, work).await;
    let times = times?;
    let ledgers: Vec<PathBuf> = replicas.iter().map(|replica| replica.ledger.clone()).collect();
    let calls = std::mem::take(&mut *tally.calls());
    let session = sessions.first_mut().ok_or_else(|| Error::new(ErrorKind::Internal, "no session"))?;
    let mut report = settle(calls, session, &ledgers).await?;
    report.killed.clone_from(&replicas[victim].name);
    report.calls = tally.sent.load(Ordering::Relaxed);
    report.breaker_opened_ms = times.opened.map(milliseconds);
    report.recovered_ms = times.recovered.map(milliseconds);
    report.broken = report.broken.take().or_else(|| report.judge());
    Ok(report)
}

async fn work(session: &mut Session, tally: &Tally, screen: &Screen) {
    while !tally.stop.load(Ordering::Relaxed) {
        let id = format!("{PREFIX}-{}", tally.sent.fetch_add(1, Ordering::Relaxed));
        let mut outcome = echo(session, &id, &id, HOLD_MS).await;
        for _ in 1..ATTEMPTS {
            if !matches!(outcome, Outcome::NotSent(_)) {
                break;
            }
            tally.calls().not_sent += 1;
            sleep(POLL).await;
            outcome = echo(session, &id, &id, HOLD_MS).await;
        }
        let failed = !matches!(outcome, Outcome::By(_));
        {
            let mut calls = tally.calls();
            match outcome {
                Outcome::By(replica) => {
                    *calls.by.entry(replica).or_default() += 1;
                    calls.answered.push(id);
                }
                Outcome::Unknown(_) => calls.unknown.push(id),
                Outcome::NotSent(reason) | Outcome::Failed(reason) => {
                    calls.failed.push(format!("{id}: {reason}"));
                }
            }
            screen.update(|board| board.failover.per_server.clone_from(&calls.by));
        }
        if failed {
            // A client that fails at once must not spin.
            sleep(POLL).await;
        }
    }
}

#[derive(Debug, Default)]
struct Times {
    opened: Option<Duration>,
    recovered: Option<Duration>,
}

struct Director<'a> {
    admin: &'a mut Admin,
    ids: &'a [String],
    clock: &'a dyn Clock,
    screen: &'a Screen,
    victim: usize,
}

impl Director<'_> {
    async fn play(&mut self, replica: &mut Replica, tally: &Tally) -> Result<Times> {
        let mut times = Times::default();
        self.say(format!("load on all replicas, {} is about to be killed", replica.name));
        sleep(STRETCH).await;
        let killed = self.clock.now();
        replica.kill().await?;
        self.say(format!("{} killed", replica.name));
        times.opened = self.until(killed, |state| state == "open").await?;
        let Some(opened) = times.opened else { return Ok(times) };
        self.say(format!("breaker of {} open after {:.0} ms", replica.name, milliseconds(opened)));
        sleep(STRETCH).await;
        replica.start_again().await?;
        let back = self.clock.now();
        let before = tally.answered_by(&replica.name);
        self.say(format!("{} started again, its breaker is still open", replica.name));
        let name = replica.name.clone();
        times.recovered =
            self.until(back, |state| state == "closed" && tally.answered_by(&name) > before).await?;
        let Some(recovered) = times.recovered else { return Ok(times) };
        self.say(format!("{name} takes calls again after {:.0} ms", milliseconds(recovered)));
        sleep(STRETCH).await;
        Ok(times)
    }

    /// Time from `start` until the victim's breaker is as wished; `None` if it takes longer than [`PATIENCE`].
    async fn until(&mut self, start: Tick, wished: impl Fn(&str) -> bool) -> Result<Option<Duration>> {
        loop {
            let states = self.admin.breakers(self.ids).await?;
            let passed = self.clock.now().since(start);
            let there = states.get(self.victim).is_some_and(|state| wished(state));
            self.screen.update(|board| board.failover.breakers = states);
            if there {
                return Ok(Some(passed));
            }
            if passed > PATIENCE {
                return Ok(None);
            }
            sleep(POLL).await;
        }
    }

    fn say(&self, what: String) {
        self.screen.line(&format!("failover: {what}"));
        self.screen.update(|board| board.failover.steps.push(what));
    }
}

/// Finds the outcome of calls where it is unknown from the ledgers, and sends those again that had no effect.
async fn settle(calls: Calls, session: &mut Session, ledgers: &[PathBuf]) -> Result<Failover> {
    let mut report =
        Failover { errors: calls.failed.len() as u64, not_sent: calls.not_sent, ..Failover::default() };
    let mut broken = calls.failed.into_iter().next().map(|first| format!("a call failed: {first}"));
    let mut settled = calls.answered;
    let executions = Executions::read(ledgers)?;
    for id in calls.unknown {
        report.in_flight_at_kill.calls += 1;
        if executions.of(&id) > 0 {
            report.in_flight_at_kill.executed += 1;
            settled.push(id);
            continue;
        }
        report.in_flight_at_kill.sent_again += 1;
        match echo(session, &id, &id, 0).await {
            Outcome::By(_) => settled.push(id),
            Outcome::Unknown(reason) | Outcome::NotSent(reason) | Outcome::Failed(reason) => {
                report.errors += 1;
                broken.get_or_insert(format!("{id}, sent again, failed: {reason}"));
            }
        }
    }
    let executions = Executions::read(ledgers)?;
    report.duplicates = executions.surplus(PREFIX);
    report.lost = settled.iter().filter(|id| executions.of(id) == 0).count() as u64;
    report.broken = broken;
    Ok(report)
}

impl Failover {
    fn judge(&self) -> Option<String> {
        if self.duplicates > 0 {
            return Some(format!("{} calls were executed more than once", self.duplicates));
        }
        if self.lost > 0 {
            return Some(format!("{} answered calls stand in no ledger", self.lost));
        }
        if self.breaker_opened_ms.is_none() {
            return Some(format!("the breaker of {} did not open", self.killed));
        }
        if self.recovered_ms.is_none() {
            return Some(format!("{} got no calls after it came back", self.killed));
        }
        None
    }
}

fn milliseconds(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64() * 1e3)
}
