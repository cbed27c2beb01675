//! Picks a server, sends, and fails over where that is safe.
//!
//! A call is sent a second time only if no byte of it was written, or if doing it twice is the same as doing it once;
//! `tools/call` is not, unless the operator vouched for the server's own hint that it is. See `core/ARCHITECTURE.md`,
//! "What is sent twice".

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use smol_str::ToSmolStr;
use tokio::sync::Notify;

use super::Core;
use super::legacy::opening::apart;
use crate::clock::Tick;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::gateway::bridge::modern_to_legacy::{Course, translate};
use crate::gateway::bridge::modern_to_modern;
use crate::gateway::call::answering::{Answering, Flow};
use crate::gateway::call::context::{CallContext, ForwardPlan, ForwardRequest};
use crate::gateway::call::relay::{Relay, progress_token};
use crate::gateway::call::verdict::is_repeatable;
use crate::gateway::call::{affinity, proxy};
use crate::gateway::routing::service::Replica;
use crate::gateway::session::client::{Client, ended};
use crate::gateway::upstream::outcome::{outcome_of, outcome_of_answer};
use crate::model::{Reply, ServerId};
use crate::rpc::Method;
use crate::rpc::version::Era;
use crate::select::{Lease, PickRequest};
use crate::transport::{Exchange, Outgoing, Session};

/// Attempts that one call gets at most.
const ATTEMPTS: usize = 2;

/// How long a call waits for its turn to be sent a second time.
const RETRY_PATIENCE: Duration = Duration::from_millis(500);

/// How long calls lean away from a server that limits its rate and does not say for how long, and the longest that they do
/// if it says so: the limit may be that of one session.
const THROTTLED: Duration = Duration::from_secs(1);
const LONGEST_THROTTLE: Duration = Duration::from_secs(60);

/// What one attempt came to.
struct Sent {
    exchange: Exchange,
    answering: Answering,
    /// Nothing was sent: a modern client is asked something first.
    asks_first: bool,
    pauses: Option<Arc<Notify>>,
}

impl Core {
    /// Brings a request to a server and its answer back.
    pub(crate) async fn forward(self: Arc<Self>, mut journey: Box<ForwardRequest>) -> Result<Reply> {
        let ForwardRequest { forward, passage } = &mut *journey;
        if let Some(client) = &passage.client {
            let raw_id = forward.message.id().unwrap_or("null");
            passage.landing = Some(client.take_off(raw_id, passage.record.active()));
            if client.ended.is_cancelled() {
                return Err(ended());
            }
        }
        let first = forward.service.places.first().map(|place| &place.server);
        let configured = first.map_or(Duration::from_secs(30), |server| server.configuration.timeout);
        let timeout = passage
            .wishes
            .as_ref()
            .and_then(|wishes| wishes.timeout)
            .map_or(configured, |wish| wish.min(configured));
        let mut started = self.clock.now();
        let deadline = started + timeout;
        let key = first.and_then(|server| affinity::key(server, passage, &forward.message));
        if passage.modern.is_none() {
            // They are slices of the buffer into which the connection reads, which is used again once nobody holds it.
            passage.headers = HeaderMap::new();
        }
        let (forward, passage) = (&*forward, &*passage);

        // Beside those that were tried, those that the caller could not use.
        let mut excluded: Vec<ServerId> = Vec::new();
        let mut tried = 0;
        let mut renewed = false;
        let mut last: Option<Error> = None;
        let mut _retrying = None;
        loop {
            let (mut lease, place) = match choose(forward, passage, key, &excluded, started) {
                Ok(chosen) => chosen,
                Err(error) => return Err(last.unwrap_or(error)),
            };
            let own;
            let place = if place.is_by_caller() {
                match self.own_way(place, &passage.principal) {
                    Ok(way) => own = Box::new(way),
                    Err(error) => {
                        // A replica for which the caller has nothing to show is none that it could use.
                        lease.give_back();
                        excluded.push(place.server.id);
                        last = Some(error);
                        continue;
                    }
                }
                &*own
            } else {
                place
            };
            let error = match self.attempt(forward, passage, place, deadline).await {
                Ok(Sent { exchange, answering, asks_first, .. }) if passage.modern.is_some() => {
                    let course = Course { exchange, answering, lease, started, deadline, asks_first };
                    return Box::pin(self.answer_downward(course, journey)).await;
                }
                Ok(Sent { exchange: Exchange::One(message), answering, .. }) => {
                    let now = self.clock.now();
                    lease.record(outcome_of_answer(&message), now.since(started), now);
                    let message = self.of_tasks(passage, &answering, message);
                    let server = Some(answering.server);
                    return Ok(Reply::Message { body: answering.response(&message), session: None, server });
                }
                Ok(Sent { exchange: Exchange::Many(messages), answering, pauses, .. }) => {
                    let passage = journey.passage;
                    let flow = Flow { answering, messages, lease, started, deadline, passage, pauses };
                    return Box::pin(self.follow(flow)).await;
                }
                Err(error) => error.with("service", &forward.service.name).with("server", &place.server.name),
            };
            let now = self.clock.now();
            lease.record(outcome_of(&error), now.since(started), now);
            drop(lease);
            started = now;
            if error.kind() == ErrorKind::RateLimited {
                place.replica.throttle(now + error.retry_delay().unwrap_or(THROTTLED).min(LONGEST_THROTTLE));
            }
            let over = now >= deadline || passage.is_unwanted();
            // The server has forgotten the session, so it has not looked at the call: once more, with a new session.
            if error.kind() == ErrorKind::SessionNotFound && !renewed && !over {
                renewed = true;
                continue;
            }
            let safe = (error.delivery() == Delivery::NotSent || is_repeatable(forward, place))
                && !(passage.modern.is_some() && modern_to_modern::resumes(&forward.message));
            if !safe || over || tried + 1 >= ATTEMPTS || !self.retries.allows(self.observer.begun(), now) {
                return Err(passage.settle(error));
            }
            let room = async { Ok(self.retries.take(self.observer.calls()).await) };
            match self.in_time(deadline.min(now + RETRY_PATIENCE), passage, room).await {
                Ok(retrying) => _retrying = Some(retrying),
                Err(why) if why.kind() == ErrorKind::Cancelled => return Err(passage.settle(why)),
                Err(_) => return Err(passage.settle(error)),
            }
            tracing::debug!(correlation_id = &*passage.correlation_id, %error, "sending elsewhere");
            started = self.clock.now();
            tried += 1;
            excluded.push(place.server.id);
            last = Some(passage.settle(error));
        }
    }

    async fn attempt(
        self: &Arc<Self>,
        forward: &ForwardPlan,
        passage: &CallContext,
        place: &Replica,
        deadline: Tick,
    ) -> Result<Sent> {
        let client = passage.client.as_ref();
        let open = match &passage.modern {
            Some(modern) if modern.may_share(place) => place.upstream.modern_session(),
            Some(_) => None,
            None => open_session(client, place),
        };
        let session = if let Some(session) = open {
            session
        } else if let Some(modern) = &passage.modern {
            let opening = Box::pin(self.session_downward(passage, modern, place));
            self.in_time(deadline, passage, opening).await.map_err(Error::not_sent)?
        } else {
            let opening = Box::pin(self.session_for(client, place, Some(&passage.correlation_id)));
            self.in_time(deadline, passage, opening).await.map_err(Error::not_sent)?
        };
        let message = &forward.message;
        if let Some(client) = client {
            client.bound.asked(message, place.server.id);
        }
        let id = session.next_id();
        let own_id = id.to_smolstr();
        let mut splice = message.with_id(own_id.as_str());
        if let Some((range, name)) = &forward.rename {
            splice.replace(range.clone(), name);
        }
        let token = progress_token(message);
        if let Some((range, _)) = &token {
            splice.replace(range.clone(), own_id.as_str());
        }
        let (body, headers) = match &passage.modern {
            None => (splice.apply(message.bytes()), None),
            Some(_) if session.era() == Era::Legacy => {
                (translate::request(message, id, forward.rename.as_ref()).map_err(Error::not_sent)?, None)
            }
            Some(_) => (splice.apply(message.bytes()), modern_to_modern::params(&passage.headers)),
        };
        // Hardly any server numbers what it says; only then is there something to do likewise.
        let pauses = (passage.resumes && session.numbers()).then(Arc::<Notify>::default);
        let outgoing = Outgoing {
            id,
            method: forward.method().clone(),
            body,
            correlation_id: Some(Arc::clone(&passage.correlation_id)),
            headers,
            pauses: pauses.clone(),
        };
        let client = passage.caller();
        let raw_id = message.id().unwrap_or("null");
        let relay = Relay { client: client.cloned(), session: Arc::clone(&session), server: place.server.id };
        let mut answering = Answering::new(relay, id, raw_id, token.map(|(_, token)| token), place.server.id);
        answering.lists_tasks = *forward.method() == Method::TasksList;
        if let Some(modern) = passage.modern.as_ref().filter(|_| session.era() == Era::Legacy) {
            let asking = Box::pin(self.ask_first(&session, modern, passage, message));
            if let Some(first) = self.in_time(deadline, passage, asking).await.map_err(Error::not_sent)? {
                return Ok(Sent {
                    exchange: Exchange::One(first),
                    answering,
                    asks_first: true,
                    pauses: None,
                });
            }
        }
        match self.in_time(deadline, passage, session.request(outgoing)).await {
            Ok(exchange) => Ok(Sent { exchange, answering, asks_first: false, pauses }),
            Err(error) => {
                match error.kind() {
                    ErrorKind::SessionNotFound => self.forget(client, place, session),
                    ErrorKind::Timeout | ErrorKind::Cancelled => answering.give_up(&self.tasks, passage),
                    _ if !session.is_open() => self.forget(client, place, session),
                    _ => {}
                }
                Err(error)
            }
        }
    }

    fn forget(&self, client: Option<&Arc<Client>>, place: &Replica, session: Arc<Session>) {
        if let (Some(client), true) = (client, session.is_own()) {
            client.forget(place.upstream.number, &session);
        } else {
            place.upstream.forget(&session);
        }
        if !session.is_open() {
            // A child may take its time to go; the call does not wait for that.
            self.tasks.spawn(async move { session.close().await });
        }
    }

    /// `work`, unless the deadline passes or the call is cancelled first.
    async fn in_time<T>(
        &self,
        deadline: Tick,
        passage: &CallContext,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let left = deadline.since(self.clock.now());
        tokio::select! {
            biased;
            result = work => result,
            () = passage.cancel().cancelled() => Err(Error::new(ErrorKind::Cancelled, "the call was cancelled")),
            () = tokio::time::sleep(left) => Err(Error::new(ErrorKind::Timeout, "the server did not answer in time")),
        }
    }
}

/// A server for the call, rather one that does not limit its rate just now.
fn choose<'f>(
    forward: &'f ForwardPlan,
    passage: &CallContext,
    key: Option<u64>,
    excluded: &[ServerId],
    now: Tick,
) -> Result<(Lease, &'f Replica)> {
    let (lease, place) = pick(forward, passage, key, excluded, now)?;
    if !place.replica.is_throttled(now) {
        return Ok((lease, place));
    }
    let throttled = forward.service.places.iter().filter(|place| place.replica.is_throttled(now));
    let others: Vec<_> = throttled.map(|place| place.server.id).chain(excluded.iter().copied()).collect();
    match pick(forward, passage, key, &others, now) {
        Ok(chosen) => {
            lease.give_back();
            Ok(chosen)
        }
        Err(_) => Ok((lease, place)),
    }
}

fn pick<'f>(
    forward: &'f ForwardPlan,
    passage: &CallContext,
    key: Option<u64>,
    excluded: &[ServerId],
    now: Tick,
) -> Result<(Lease, &'f Replica)> {
    let what = forward.what.as_ref().map(|(kind, name)| (*kind, name.as_str()));
    let service = &forward.service;
    // What one replica keeps for the client is nothing that the others could speak of.
    let bound = || passage.client.as_ref().and_then(|client| client.bound.server(&forward.message));
    if let Some(id) = forward.maker.or_else(bound)
        && service.place(id).is_some()
    {
        let others = service.places.iter().map(|place| place.server.id).filter(|other| *other != id);
        let others: Vec<_> = others.chain(excluded.iter().copied()).collect();
        let there = service.pick(None, &PickRequest { key: None, exclude: &others }, now);
        // A new subscription can as well be another replica's.
        if there.is_ok() || *forward.method() != Method::ResourcesSubscribe {
            return there;
        }
    }
    for wish in passage.wishes.iter().flat_map(|wishes| proxy::preferred(service, wishes)) {
        if !excluded.contains(&wish) {
            let others: Vec<_> =
                service.places.iter().map(|place| place.server.id).filter(|id| *id != wish).collect();
            if let Ok(chosen) = service.pick(what, &PickRequest { key, exclude: &others }, now) {
                return Ok(chosen);
            }
        }
    }
    service.pick(what, &PickRequest { key, exclude: excluded }, now)
}

/// The client's own session with the server, if there is one already: nearly every call finds it so.
fn open_session(client: Option<&Arc<Client>>, place: &Replica) -> Option<Arc<Session>> {
    let client = client.filter(|client| apart(client, place))?;
    client.session_with(place.upstream.number)
}
