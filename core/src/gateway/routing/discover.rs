//! Asking servers what they offer: once for all who want to know, again when they say that it changed, and on a schedule.
//!
//! Of one server one question is under way at a time. Who hears of a change while the server is being asked cannot know
//! whether the answer has it already, so another question follows.

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
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Core;
use crate::gateway::upstream::outcome::outcome_of;
use crate::model::{Server, ServerId, Status};
use crate::tasks::awaited::{Awaited, Promise, promise};

/// Changes within this time of each other are asked about once. For a server whose lists keep changing it is doubled.
const SETTLE: Duration = Duration::from_millis(100);
const LONGEST_SETTLE: Duration = Duration::from_secs(2);

/// What whoever wants to know has reason to believe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// Nothing: any answer will do, also to a question that is under way.
    Known,
    /// Something may have changed by now, so the question must be asked after this.
    Fresh,
    /// Something changed, and more may change in the next moment.
    Settled,
}

/// The questions under way, by server.
#[derive(Debug, Default)]
pub(crate) struct Discoveries {
    under_way: Mutex<HashMap<ServerId, UnderWay>>,
    asked: DiscoveryTimes,
    /// Locked while `under_way` is, where both are needed.
    first_round: Mutex<FirstRound>,
}

/// What is left of the first round of discovery.
#[derive(Debug)]
enum FirstRound {
    /// Servers whose first question has not ended.
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
struct UnderWay {
    answer: Awaited<()>,
    /// Whether the server may have begun to answer: what changes now may be missing in what it says.
    begun: bool,
    /// The question that follows.
    next: Option<(Promise<()>, Awaited<()>)>,
}

impl Discoveries {
    fn lock(&self) -> MutexGuard<'_, HashMap<ServerId, UnderWay>> {
        // A panic elsewhere cannot leave the map half changed: every change is one insert, remove or assignment.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, id: ServerId) {
        if let Some(under_way) = self.lock().get_mut(&id) {
            under_way.begun = true;
        }
    }

    /// Adds a server to those whose first question the start waits for, unless that has ended.
    fn await_first(&self, id: ServerId) {
        let under_way = self.lock();
        if (under_way.contains_key(&id) || !self.asked.knows(id))
            && let FirstRound::Awaits(servers) = &mut *self.lock_first_round()
        {
            servers.insert(id);
        }
    }

    fn lock_first_round(&self) -> MutexGuard<'_, FirstRound> {
        // As for the map: each change is one insert, remove or assignment.
        self.first_round.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a question, whatever came of it; the promise of the one that follows, if one does.
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
    /// Asks a server what it offers, or joins whoever is asking, and waits until the register knows.
    pub(crate) async fn discover_now(self: &Arc<Self>, id: ServerId) -> Result<()> {
        self.discovery(id, Wish::Known).outcome().await
    }

    /// Asks a server what it offers as of now, and waits until the register knows.
    pub(crate) async fn discover_afresh(self: &Arc<Self>, id: ServerId) -> Result<()> {
        self.discovery(id, Wish::Fresh).outcome().await
    }

    /// Asks in the background, unless it is being asked.
    pub(crate) fn discover_soon(self: &Arc<Self>, id: ServerId) {
        drop(self.discovery(id, Wish::Known));
    }

    /// Asks in the background, after this moment: the server may be another than it was.
    pub(crate) fn discover_again(self: &Arc<Self>, id: ServerId) {
        drop(self.discovery(id, Wish::Fresh));
    }

    /// Asks in the background once the server has finished changing what it offers.
    pub(crate) fn discover_changed(self: &Arc<Self>, id: ServerId) {
        drop(self.discovery(id, Wish::Settled));
    }

    fn discovery(self: &Arc<Self>, id: ServerId, wish: Wish) -> Awaited<()> {
        let mut all = self.discoveries.lock();
        if let Some(under_way) = all.get_mut(&id) {
            if wish == Wish::Known || !under_way.begun {
                return under_way.answer.clone();
            }
            return under_way.next.get_or_insert_with(promise).1.clone();
        }
        let (promise, answer) = promise();
        all.insert(id, UnderWay { answer: answer.clone(), begun: false, next: None });
        drop(all);
        // Goes on although whoever asked first gives up: others may wait, and the session that it opens must be closed.
        let this = Arc::clone(self);
        self.tasks.spawn_to_end(async move { this.keep_asking(id, wish, promise).await });
        answer
    }

    /// Asks until nobody knows of a change that came after the question.
    async fn keep_asking(self: &Arc<Self>, id: ServerId, wish: Wish, mut promise: Promise<()>) {
        let (mut settle, mut waits) = (SETTLE, wish == Wish::Settled);
        loop {
            if waits {
                tokio::select! {
                    () = self.tasks.token().cancelled() => {}
                    () = tokio::time::sleep(settle) => {}
                }
                settle = (settle * 2).min(LONGEST_SETTLE);
            }
            self.discoveries.begin(id);
            // Nobody's request has an id for the lines of what is asked on a schedule, or for many at once.
            let run = tracing::info_span!("discovery", correlation_id = %self.random.uuid().hyphenated(), server = %id);
            let asking = async {
                let outcome = self.ask_server(id).await;
                if let Err(error) = &outcome {
                    tracing::info!(server = %id, %error, "a server could not be asked what it offers");
                }
                outcome
            };
            let outcome = asking.instrument(run).await;
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
                    .retry_after(denied.retry_after)
                    .not_sent()
            })?;
            let found = replica.upstream.discover().await;
            if !self.is_reached_so(&replica) {
                // It was another server that answered, or failed to: the permit goes back unused.
                self.refresh();
                continue;
            }
            permit.finish(found.as_ref().map_or_else(outcome_of, |_| Outcome::Success), self.clock.now());
            self.registry.set_listing(id, found?).await?;
            self.refresh();
            // The shared session hears of later changes.
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

    /// Whether the register still says that the server is reached as `replica` says.
    fn is_reached_so(&self, replica: &Replica) -> bool {
        let state = self.registry.state();
        let Some(server) = state.server(replica.server.id) else { return true };
        let now = self.replica(replica.server.id);
        now.is_some_and(|now| Arc::ptr_eq(&now.upstream, &replica.upstream))
            && is_reached_alike(&replica.server, server)
    }

    /// Makes the start wait for the first question to a server, if it is one that is asked at all.
    pub(crate) fn await_first_discovery(&self, server: &Server) {
        if is_asked(server) {
            self.discoveries.await_first(server.id);
        }
    }

    /// The same for every server of the register.
    pub(crate) fn await_first_discoveries(&self) {
        self.registry.state().servers().for_each(|server| self.await_first_discovery(server));
    }

    /// How many of the servers that were known at the start have not been asked to the end what they offer. Once there is none, it
    /// stays so.
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

    /// Asks every server that may be asked and whose time has come, a few at a time.
    pub(crate) async fn rediscover(self: &Arc<Self>) {
        let due = {
            let state = self.registry.state();
            let listings: Vec<_> = state
                .servers()
                .filter(|server| is_asked(server))
                .map(|server| (server.id, state.listing(server.id)))
                .collect();
            let servers = listings.iter().map(|(id, listing)| (*id, &**listing));
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

    pub(crate) fn replica(&self, id: ServerId) -> Option<Replica> {
        let server = Arc::clone(self.registry.state().server(id)?);
        self.view(&server.tenant_id).services.get(&server.service)?.replica(id).cloned()
    }
}

/// Whether a server is asked by itself what it offers.
fn is_asked(server: &Server) -> bool {
    server.status == Status::Active && server.auto_discover
}
