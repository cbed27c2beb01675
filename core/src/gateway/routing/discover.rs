//! Queries of servers for their listings: once for all callers, again when a server reports a change, and on a schedule.
//!
//! One query of a server is in progress at a time. If a change is reported meanwhile, it is unknown whether the answer has it
//! already, so another query follows.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tracing::Instrument;

use super::freshness::DiscoveryTimes;
use super::refresh::is_reached_alike;
use super::service::Replica;
use crate::breaker::Outcome;
use crate::cluster::Job;
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::gateway::Core;
use crate::gateway::upstream::outcome::outcome_of;
use crate::model::{HealthStatus, Server, ServerId, Status};
use crate::tasks::awaited::{Awaited, Promise, promise};

/// Changes within this time of each other lead to one query. The time is doubled for a server whose lists keep changing.
const SETTLE: Duration = Duration::from_millis(100);
const LONGEST_SETTLE: Duration = Duration::from_secs(2);

/// The freshness that a caller needs, by its knowledge of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DiscoveryRequest {
    /// It knows of none: any answer will do, also that of a query in progress.
    Known,
    /// The listing may have changed by now, so the query must begin after this moment.
    Fresh,
    /// The listing changed, and more may change in the next moment.
    Settled,
}

/// The queries in progress, by server.
#[derive(Debug, Default)]
pub(crate) struct Discoveries {
    under_way: Mutex<HashMap<ServerId, RunningDiscovery>>,
    pub(super) asked: DiscoveryTimes,
    /// Locked while `under_way` is, where both are needed.
    first_round: Mutex<FirstRound>,
    /// Servers whose listing was stored before the start, and that have not answered since.
    unconfirmed: Mutex<HashSet<ServerId>>,
}

/// The rest of the first round of discovery.
#[derive(Debug)]
enum FirstRound {
    /// Servers whose first query has not ended.
    Awaits(HashSet<ServerId>),
    /// It was seen to be over, and does not begin again.
    Over,
}

impl Default for FirstRound {
    fn default() -> Self {
        Self::Awaits(HashSet::new())
    }
}

#[derive(Debug)]
struct RunningDiscovery {
    answer: Awaited<()>,
    /// Whether the server may have begun to answer: the answer may lack changes from now on.
    begun: bool,
    /// The query that follows.
    next: Option<(Promise<()>, Awaited<()>)>,
}

impl Discoveries {
    fn lock(&self) -> MutexGuard<'_, HashMap<ServerId, RunningDiscovery>> {
        // A panic elsewhere cannot leave the map half changed: every change is one insert, remove or assignment.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, id: ServerId) {
        if let Some(under_way) = self.lock().get_mut(&id) {
            under_way.begun = true;
        }
    }

    /// Adds a server to those whose first query the start waits for, unless that query has ended.
    fn await_first(&self, id: ServerId) {
        let under_way = self.lock();
        if (under_way.contains_key(&id) || !self.asked.knows(id))
            && let FirstRound::Awaits(servers) = &mut *self.lock_first_round()
        {
            servers.insert(id);
        }
    }

    /// Whether the first query of a server that was known at the start has not ended.
    pub(crate) fn is_first(&self, id: ServerId) -> bool {
        matches!(&*self.lock_first_round(), FirstRound::Awaits(servers) if servers.contains(&id))
    }

    /// Whether a server's listing is that of before the start.
    pub(crate) fn is_unconfirmed(&self, id: ServerId) -> bool {
        self.lock_unconfirmed().contains(&id)
    }

    /// Whether every server has answered whose listing was stored.
    pub(crate) fn are_confirmed(&self) -> bool {
        self.lock_unconfirmed().is_empty()
    }

    pub(super) fn lock_unconfirmed(&self) -> MutexGuard<'_, HashSet<ServerId>> {
        // As for the map: each change is one insert or remove.
        self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_first_round(&self) -> MutexGuard<'_, FirstRound> {
        // As for the map: each change is one insert, remove or assignment.
        self.first_round.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a query, whatever its outcome; returns the promise of the query that follows, if one does.
    fn end(&self, id: ServerId) -> Option<Promise<()>> {
        let mut all = self.lock();
        if let FirstRound::Awaits(servers) = &mut *self.lock_first_round() {
            servers.remove(&id);
        }
        if let Some(under_way) = all.get_mut(&id)
            && let Some((promise, answer)) = under_way.next.take()
        {
            (under_way.answer, under_way.begun) = (answer, false);
            return Some(promise);
        }
        all.remove(&id);
        None
    }
}

impl Core {
    /// Asks a server what it offers, or joins a query in progress, and waits until the registry has the answer.
    pub(crate) async fn discover_now(self: &Arc<Self>, id: ServerId) -> Result<()> {
        self.discovery(id, DiscoveryRequest::Known).outcome().await
    }

    /// Asks a server what it offers as of now, and waits until the registry has the answer.
    pub(crate) async fn discover_afresh(self: &Arc<Self>, id: ServerId) -> Result<()> {
        self.discovery(id, DiscoveryRequest::Fresh).outcome().await
    }

    /// Asks in the background, unless a query is in progress.
    pub(crate) fn discover_soon(self: &Arc<Self>, id: ServerId) {
        drop(self.discovery(id, DiscoveryRequest::Known));
    }

    /// Asks in the background, after this moment: the server may have changed.
    pub(crate) fn discover_again(self: &Arc<Self>, id: ServerId) {
        drop(self.discovery(id, DiscoveryRequest::Fresh));
    }

    /// Asks in the background once the server has finished changing what it offers.
    pub(crate) fn discover_changed(self: &Arc<Self>, id: ServerId) {
        drop(self.discovery(id, DiscoveryRequest::Settled));
    }

    fn discovery(self: &Arc<Self>, id: ServerId, wish: DiscoveryRequest) -> Awaited<()> {
        let mut all = self.discoveries.lock();
        if let Some(under_way) = all.get_mut(&id) {
            if wish == DiscoveryRequest::Known || !under_way.begun {
                return under_way.answer.clone();
            }
            return under_way.next.get_or_insert_with(promise).1.clone();
        }
        let (promise, answer) = promise();
        all.insert(id, RunningDiscovery { answer: answer.clone(), begun: false, next: None });
        drop(all);
        // Continues when the first caller gives up: others may wait, and the session that it opens must be closed.
        let this = Arc::clone(self);
        self.tasks.spawn_to_end(async move { this.keep_asking(id, wish, promise).await });
        answer
    }

    /// Asks until no change was reported after the last query began.
    async fn keep_asking(self: &Arc<Self>, id: ServerId, wish: DiscoveryRequest, mut promise: Promise<()>) {
        let (mut settle, mut waits) = (SETTLE, wish == DiscoveryRequest::Settled);
        loop {
            if waits {
                tokio::select! {
                    () = self.tasks.token().cancelled() => {}
                    () = tokio::time::sleep(settle) => {}
                }
                settle = (settle * 2).min(LONGEST_SETTLE);
            }
            self.discoveries.begin(id);
            // A query on a schedule, or for many callers at once, belongs to no request whose id its log lines could have.
            let run = tracing::info_span!("discovery", correlation_id = %self.random.uuid().hyphenated(), server = %id);
            let asking = async {
                let outcome = self.ask_server(id).await;
                if let Err(error) = &outcome {
                    tracing::info!(server = %id, %error, "a server could not be asked what it offers");
                }
                outcome
            };
            let outcome = asking.instrument(run).await;
            self.note_discovery(id, &outcome);
            let next = self.discoveries.end(id);
            promise.keep(outcome);
            let Some(next) = next else { return };
            (promise, waits) = (next, true);
        }
    }

    async fn ask_server(self: &Arc<Self>, id: ServerId) -> Result<()> {
        loop {
            if self.is_stopping() {
                let text = "the gateway is shutting down";
                return Err(Error::new(ErrorKind::Unavailable, text).not_sent());
            }
            let replica =
                self.replica(id).ok_or_else(|| Error::new(ErrorKind::NotFound, "no such server"))?;
            self.discoveries.asked.note(id, self.clock.now());
            let permit = replica.state.breaker().try_acquire(self.clock.now()).map_err(|denied| {
                Error::new(ErrorKind::Unavailable, "the server's breaker is open")
                    .because(Cause::PutOff)
                    .retry_after(denied.retry_after)
                    .not_sent()
            })?;
            let found = self.listing_of(&replica).await;
            if !self.is_reached_so(&replica) {
                // Another server answered, or failed to: the permit goes back unused.
                self.refresh();
                continue;
            }
            permit.finish(found.as_ref().map_or_else(outcome_of, |_| Outcome::Success), self.clock.now());
            self.take_up(&replica, found).await?;
            self.probe_started(&replica);
            // The shared session is notified of later changes.
            let this = Arc::clone(self);
            let watching = async move {
                let watching = Arc::clone(&this);
                if let Err(error) = replica.upstream.shared(move |session| watching.watch(id, session)).await
                {
                    tracing::debug!(server = replica.server.name, %error, "no shared session yet");
                }
            };
            self.tasks.spawn(watching.in_current_span());
            return Ok(());
        }
    }

    /// Probes a program that has just started: the probes that came meanwhile learned nothing.
    fn probe_started(self: &Arc<Self>, replica: &Replica) {
        let (server, checks) =
            (&replica.server, self.settings.probing && replica.server.health_check.enabled);
        if checks && replica.upstream.starts_process() && server.health_status != HealthStatus::Healthy {
            let (this, id) = (Arc::clone(self), server.id);
            self.tasks.spawn(async move { drop(this.monitor.probe_now(id).await) });
        }
    }

    /// Whether the server is still registered with the connection of `replica`.
    pub(super) fn is_reached_so(&self, replica: &Replica) -> bool {
        let state = self.registry.state();
        let Some(server) = state.server(replica.server.id) else { return true };
        let now = self.replica(replica.server.id);
        now.is_some_and(|now| Arc::ptr_eq(&now.upstream, &replica.upstream))
            && is_reached_alike(&replica.server, server)
    }

    /// Makes the start wait for the first query of a server, if the server is asked at all.
    pub(crate) fn await_first_discovery(&self, server: &Server) {
        if is_asked(server) {
            self.discoveries.await_first(server.id);
        }
    }

    /// The same for every server of the registry.
    pub(crate) fn await_first_discoveries(&self) {
        let state = self.registry.state();
        for server in state.servers() {
            self.await_first_discovery(server);
            if is_asked(server) && state.listing(server.id).initialize.is_some() {
                self.discoveries.lock_unconfirmed().insert(server.id);
            }
        }
    }

    /// The number of servers that were known at the start and whose first query has not ended. Once it is 0, it stays 0.
    pub(crate) fn awaited_discoveries(&self) -> usize {
        let mut first_round = self.discoveries.lock_first_round();
        let FirstRound::Awaits(servers) = &mut *first_round else { return 0 };
        // A server that was removed or paused meanwhile is waited for no more.
        let state = self.registry.state();
        servers.retain(|id| state.server(*id).is_some_and(|server| is_asked(server)));
        let left = servers.len();
        if left == 0 {
            *first_round = FirstRound::Over;
        }
        left
    }

    /// Asks every server that may be asked and is due, a few at a time.
    pub(crate) async fn rediscover(self: &Arc<Self>) {
        let due = {
            let state = self.registry.state();
            self.problems.retain(|id| state.server(id).is_some());
            let listings: Vec<_> = state
                .servers()
                .filter(|server| is_asked(server))
                .map(|server| (server.id, state.listing(server.id)))
                .collect();
            let servers = listings.iter().map(|(id, listing)| (*id, &**listing));
            self.problems.retain(|id| state.server(id).is_some());
            self.discoveries.asked.due(servers, self.settings.refresh, self.clock.now())
        };
        futures_util::stream::iter(due)
            .for_each_concurrent(16, |id| async move {
                if !self.cluster.leases.acquire(&Job::Discovery(id), self.settings.refresh).get().await {
                    // Another replica asks it, and the store has the answer.
                    return self.discoveries.asked.note(id, self.clock.now());
                }
                // It has been logged where it failed.
                let _ = self.discover_now(id).await;
            })
            .await;
    }

    /// The name of a server that can be called.
    pub(crate) fn name_of(&self, id: ServerId) -> Option<String> {
        self.replica(id).map(|replica| replica.server.name.clone())
    }

    pub(crate) fn replica(&self, id: ServerId) -> Option<Replica> {
        let server = Arc::clone(self.registry.state().server(id)?);
        self.router.place(&server)
    }
}

/// Whether a server is asked automatically what it offers.
pub(crate) fn is_asked(server: &Server) -> bool {
    server.status == Status::Active && server.auto_discover
}
