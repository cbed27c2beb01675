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
    pub(crate) async fn forward(self: Arc<Self>, mut request: Box<ForwardRequest>) -> Result<Reply> {
        let ForwardRequest { forward, context } = &mut *request;
        if let Some(client) = &context.client {
            let raw_id = forward.message.id().unwrap_or("null");
            context.landing = Some(client.track(raw_id, context.record.active()));
            if client.ended.is_cancelled() {
                return Err(ended());
            }
        }
        let first = forward.service.replicas.first().map(|replica| &replica.server);
        let configured = first.map_or(Duration::from_secs(30), |server| server.configuration.timeout);
        let timeout = context
            .hints
            .as_ref()
            .and_then(|hints| hints.timeout)
            .map_or(configured, |wish| wish.min(configured));
        let mut started = self.clock.now();
        let deadline = started + timeout;
        let key = first.and_then(|server| affinity::key(server, context, &forward.message));
        if context.modern.is_none() {
            // They are slices of the buffer into which the connection reads, which is used again once nobody holds it.
            context.headers = HeaderMap::new();
        }
        let (forward, context) = (&*forward, &*context);

        // Beside those that were tried, those that the caller could not use.
        let mut excluded: Vec<ServerId> = Vec::new();
        let mut tried = 0;
        let mut renewed = false;
        let mut last: Option<Error> = None;
        let mut _retrying = None;
        loop {
            let (mut lease, replica) = match choose(forward, context, key, &excluded, started) {
                Ok(chosen) => chosen,
                Err(error) => return Err(last.unwrap_or(error)),
            };
            let own;
            let replica = if replica.is_by_caller() {
                match self.own_way(replica, &context.principal) {
                    Ok(way) => own = Box::new(way),
                    Err(error) => {
                        // A replica for which the caller has nothing to show is none that it could use.
                        lease.give_back();
                        excluded.push(replica.server.id);
                        last = Some(error);
                        continue;
                    }
                }
                &*own
            } else {
                replica
            };
            let error = match self.attempt(forward, context, replica, deadline).await {
                Ok(Sent { exchange, answering, asks_first, .. }) if context.modern.is_some() => {
                    let course = Course { exchange, answering, lease, started, deadline, asks_first };
                    return Box::pin(self.answer_downward(course, request)).await;
                }
                Ok(Sent { exchange: Exchange::One(message), answering, .. }) => {
                    let now = self.clock.now();
                    lease.record(outcome_of_answer(&message), now.since(started), now);
                    let message = self.of_tasks(context, &answering, message);
                    let server = Some(answering.server);
                    return Ok(Reply::Message { body: answering.response(&message), session: None, server });
                }
                Ok(Sent { exchange: Exchange::Many(messages), answering, pauses, .. }) => {
                    let context = request.context;
                    let flow = Flow { answering, messages, lease, started, deadline, context, pauses };
                    return Box::pin(self.follow(flow)).await;
                }
                Err(error) => {
                    error.with("service", &forward.service.name).with("server", &replica.server.name)
                }
            };
            let now = self.clock.now();
            lease.record(outcome_of(&error), now.since(started), now);
            drop(lease);
            started = now;
            if error.kind() == ErrorKind::RateLimited {
                replica.state.throttle(now + error.retry_delay().unwrap_or(THROTTLED).min(LONGEST_THROTTLE));
            }
            let over = now >= deadline || context.is_unwanted();
            // The server has forgotten the session, so it has not looked at the call: once more, with a new session.
            if error.kind() == ErrorKind::SessionNotFound && !renewed && !over {
                renewed = true;
                continue;
            }
            let safe = (error.delivery() == Delivery::NotSent || is_repeatable(forward, replica))
                && !(context.modern.is_some() && modern_to_modern::resumes(&forward.message));
            if !safe || over || tried + 1 >= ATTEMPTS || !self.retries.allows(self.observer.begun(), now) {
                return Err(context.settle(error));
            }
            let room = async { Ok(self.retries.take(self.observer.calls()).await) };
            match self.in_time(deadline.min(now + RETRY_PATIENCE), context, room).await {
                Ok(retrying) => _retrying = Some(retrying),
                Err(why) if why.kind() == ErrorKind::Cancelled => return Err(context.settle(why)),
                Err(_) => return Err(context.settle(error)),
            }
            tracing::debug!(correlation_id = &*context.correlation_id, %error, "sending elsewhere");
            started = self.clock.now();
            tried += 1;
            excluded.push(replica.server.id);
            last = Some(context.settle(error));
        }
    }

    async fn attempt(
        self: &Arc<Self>,
        forward: &ForwardPlan,
        context: &CallContext,
        replica: &Replica,
        deadline: Tick,
    ) -> Result<Sent> {
        let client = context.client.as_ref();
        let open = match &context.modern {
            Some(modern) if modern.may_share(replica) => replica.upstream.modern_session(),
            Some(_) => None,
            None => open_session(client, replica),
        };
        let session = if let Some(session) = open {
            session
        } else if let Some(modern) = &context.modern {
            let opening = Box::pin(self.session_downward(context, modern, replica));
            self.in_time(deadline, context, opening).await.map_err(Error::not_sent)?
        } else {
            let opening = Box::pin(self.session_for(client, replica, Some(&context.correlation_id)));
            self.in_time(deadline, context, opening).await.map_err(Error::not_sent)?
        };
        let message = &forward.message;
        if let Some(client) = client {
            client.bound.asked(message, replica.server.id);
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
        let (body, headers) = match &context.modern {
            None => (splice.apply(message.bytes()), None),
            Some(_) if session.era() == Era::Legacy => {
                (translate::request(message, id, forward.rename.as_ref()).map_err(Error::not_sent)?, None)
            }
            Some(_) => (splice.apply(message.bytes()), modern_to_modern::params(&context.headers)),
        };
        // Hardly any server numbers what it says; only then is there something to do likewise.
        let pauses = (context.resumes && session.numbers()).then(Arc::<Notify>::default);
        let outgoing = Outgoing {
            id,
            method: forward.method().clone(),
            body,
            correlation_id: Some(Arc::clone(&context.correlation_id)),
            headers,
            pauses: pauses.clone(),
        };
        let client = context.caller();
        let raw_id = message.id().unwrap_or("null");
        let relay =
            Relay { client: client.cloned(), session: Arc::clone(&session), server: replica.server.id };
        let mut answering =
            Answering::new(relay, id, raw_id, token.map(|(_, token)| token), replica.server.id);
        answering.lists_tasks = *forward.method() == Method::TasksList;
        if let Some(modern) = context.modern.as_ref().filter(|_| session.era() == Era::Legacy) {
            let asking = Box::pin(self.ask_first(&session, modern, context, message));
            if let Some(first) = self.in_time(deadline, context, asking).await.map_err(Error::not_sent)? {
                return Ok(Sent {
                    exchange: Exchange::One(first),
                    answering,
                    asks_first: true,
                    pauses: None,
                });
            }
        }
        match self.in_time(deadline, context, session.request(outgoing)).await {
            Ok(exchange) => Ok(Sent { exchange, answering, asks_first: false, pauses }),
            Err(error) => {
                match error.kind() {
                    ErrorKind::SessionNotFound => self.forget(client, replica, session),
                    ErrorKind::Timeout | ErrorKind::Cancelled => answering.give_up(&self.tasks, context),
                    _ if !session.is_open() => self.forget(client, replica, session),
                    _ => {}
                }
                Err(error)
            }
        }
    }

    fn forget(&self, client: Option<&Arc<Client>>, replica: &Replica, session: Arc<Session>) {
        if let (Some(client), true) = (client, session.is_own()) {
            client.forget(replica.upstream.number, &session);
        } else {
            replica.upstream.forget(&session);
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
        context: &CallContext,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let left = deadline.since(self.clock.now());
        tokio::select! {
            biased;
            result = work => result,
            () = context.cancel().cancelled() => Err(Error::new(ErrorKind::Cancelled, "the call was cancelled")),
            () = tokio::time::sleep(left) => Err(Error::new(ErrorKind::Timeout, "the server did not answer in time")),
        }
    }
}

/// A server for the call, rather one that does not limit its rate just now.
fn choose<'f>(
    forward: &'f ForwardPlan,
    context: &CallContext,
    key: Option<u64>,
    excluded: &[ServerId],
    now: Tick,
) -> Result<(Lease, &'f Replica)> {
    let (lease, replica) = pick(forward, context, key, excluded, now)?;
    if !replica.state.is_throttled(now) {
        return Ok((lease, replica));
    }
    let throttled = forward.service.replicas.iter().filter(|replica| replica.state.is_throttled(now));
    let others: Vec<_> = throttled.map(|replica| replica.server.id).chain(excluded.iter().copied()).collect();
    match pick(forward, context, key, &others, now) {
        Ok(chosen) => {
            lease.give_back();
            Ok(chosen)
        }
        Err(_) => Ok((lease, replica)),
    }
}

fn pick<'f>(
    forward: &'f ForwardPlan,
    context: &CallContext,
    key: Option<u64>,
    excluded: &[ServerId],
    now: Tick,
) -> Result<(Lease, &'f Replica)> {
    let what = forward.what.as_ref().map(|(kind, name)| (*kind, name.as_str()));
    let service = &forward.service;
    // What one replica keeps for the client is nothing that the others could speak of.
    let bound = || context.client.as_ref().and_then(|client| client.bound.server(&forward.message));
    if let Some(id) = forward.maker.or_else(bound)
        && service.replica(id).is_some()
    {
        let others = service.replicas.iter().map(|replica| replica.server.id).filter(|other| *other != id);
        let others: Vec<_> = others.chain(excluded.iter().copied()).collect();
        let there = service.pick(None, &PickRequest { key: None, exclude: &others }, now);
        // A new subscription can as well be another replica's.
        if there.is_ok() || *forward.method() != Method::ResourcesSubscribe {
            return there;
        }
    }
    for wish in context.hints.iter().flat_map(|hints| proxy::preferred(service, hints)) {
        if !excluded.contains(&wish) {
            let others: Vec<_> =
                service.replicas.iter().map(|replica| replica.server.id).filter(|id| *id != wish).collect();
            if let Ok(chosen) = service.pick(what, &PickRequest { key, exclude: &others }, now) {
                return Ok(chosen);
            }
        }
    }
    service.pick(what, &PickRequest { key, exclude: excluded }, now)
}

/// The client's own session with the server, if there is one already: nearly every call finds it so.
fn open_session(client: Option<&Arc<Client>>, replica: &Replica) -> Option<Arc<Session>> {
    let client = client.filter(|client| apart(client, replica))?;
    client.session_with(replica.upstream.number)
}
