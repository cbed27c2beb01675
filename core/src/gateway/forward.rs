//! Picks a server, sends, and fails over where that is safe.
//!
//! A call is sent a second time only if no byte of it was written, or if doing it twice is the same as doing it once;
//! `tools/call` is not, unless the operator vouched for the server's own hint that it is. See `core/ARCHITECTURE.md`,
//! "What is sent twice".

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::answering::Answering;
use super::bridge::across;
use super::client::Client;
use super::errand::{Forward, Passage};
use super::relay::{Relay, progress_token};
use super::service::Place;
use super::{Inner, affinity, proxy};
use tokio::sync::Notify;

use crate::breaker::Outcome;
use crate::clock::Tick;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::model::{CapabilityKind, Reply, ServerId, Sharing, TransportType};
use crate::rpc::{Members, Message, Method};
use crate::select::{Ask, Lease};
use crate::transport::{Exchange, Outgoing, Session};

/// Attempts that one call gets at most.
const ATTEMPTS: usize = 2;

/// How long a call waits for its turn to be sent a second time.
const RETRY_PATIENCE: Duration = Duration::from_millis(500);

/// How many second attempts may be under way: 20 % of the active calls, and at least 3. Those beyond wait.
#[derive(Debug, Default)]
pub(super) struct RetryBudget {
    under_way: AtomicUsize,
    freed: Notify,
}

impl RetryBudget {
    async fn take(&self, active: usize) -> Retrying<'_> {
        let most = (active / 5).max(3);
        loop {
            let freed = self.freed.notified();
            let room = |now: usize| (now < most).then_some(now + 1);
            if self.under_way.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).is_ok() {
                return Retrying(self);
            }
            freed.await;
        }
    }
}

struct Retrying<'a>(&'a RetryBudget);

impl Drop for Retrying<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
        self.0.freed.notify_one();
    }
}

/// What one attempt came to.
struct Sent {
    exchange: Exchange,
    answering: Answering,
}

impl Inner {
    /// Brings a request to a server and its answer back.
    pub(super) async fn forward(self: &Arc<Self>, forward: Forward, mut passage: Passage) -> Result<Reply> {
        if let Some(client) = &passage.client {
            let raw_id = forward.message.id().unwrap_or("null");
            passage.landing = Some(client.take_off(raw_id, passage.record.active()));
            if client.ended.is_cancelled() {
                return Err(Error::new(ErrorKind::SessionNotFound, "the session was ended"));
            }
        }
        let passage = Arc::new(passage);
        let first = forward.service.places.first().map(|place| &place.server);
        let configured = first.map_or(Duration::from_secs(30), |server| server.configuration.timeout);
        let timeout = passage
            .wishes
            .as_ref()
            .and_then(|wishes| wishes.timeout)
            .map_or(configured, |wish| wish.min(configured));
        let deadline = self.clock.now() + timeout;
        let key = first.and_then(|server| affinity::key(server, &passage, &forward.message));

        let mut excluded: Vec<ServerId> = Vec::new();
        let mut renewed = false;
        let mut last: Option<Error> = None;
        let mut _retrying = None;
        loop {
            let (mut lease, place) = match self.choose(&forward, &passage, key, &excluded) {
                Ok(chosen) => chosen,
                Err(error) => return Err(last.unwrap_or(error)),
            };
            let started = self.clock.now();
            let error = match self.attempt(&forward, &passage, place, deadline).await {
                Ok(Sent { exchange, answering }) => {
                    return self.answer(exchange, answering, lease, started, deadline, passage).await;
                }
                Err(error) => error.with("server", &place.server.name),
            };
            lease.record(outcome_of(&error), self.clock.now().since(started), self.clock.now());
            drop(lease);
            // The server has forgotten the session, so it has not looked at the call: once more, with a new session.
            if error.kind() == ErrorKind::SessionNotFound && !renewed {
                renewed = true;
                continue;
            }
            let safe = (error.delivery() == Delivery::NotSent || is_repeatable(&forward, place))
                && !(passage.is_modern() && across::resumes(&forward.message));
            let spent = excluded.len() + 1 >= ATTEMPTS || self.clock.now() >= deadline;
            if !safe || spent || passage.cancel().is_cancelled() {
                return Err(settle(error));
            }
            let room = self.retries.take(self.observer.count());
            let Ok(retrying) = tokio::time::timeout(RETRY_PATIENCE, room).await else {
                return Err(settle(error));
            };
            _retrying = Some(retrying);
            tracing::debug!(correlation_id = &*passage.correlation_id, %error, "sending elsewhere");
            excluded.push(place.server.id);
            last = Some(settle(error));
        }
    }

    fn choose<'f>(
        &self,
        forward: &'f Forward,
        passage: &Passage,
        key: Option<u64>,
        excluded: &[ServerId],
    ) -> Result<(Lease, &'f Place)> {
        let now = self.clock.now();
        let what = forward.what.as_ref().map(|(kind, name)| (*kind, name.as_str()));
        let service = &forward.service;
        // What one replica keeps for the client is nothing that the others could speak of.
        if let Some(id) = passage.client.as_ref().and_then(|client| client.bound.server(&forward.message))
            && service.place(id).is_some()
        {
            let others = service.places.iter().map(|place| place.server.id).filter(|other| *other != id);
            let others: Vec<_> = others.chain(excluded.iter().copied()).collect();
            let there = service.pick(None, &Ask { key: None, exclude: &others }, now);
            // A new subscription can as well be another replica's.
            if there.is_ok() || *forward.method() != Method::ResourcesSubscribe {
                return there;
            }
        }
        for wish in passage.wishes.iter().flat_map(|wishes| proxy::preferred(service, wishes)) {
            if !excluded.contains(&wish) {
                let others: Vec<_> =
                    service.places.iter().map(|place| place.server.id).filter(|id| *id != wish).collect();
                if let Ok(chosen) = service.pick(what, &Ask { key, exclude: &others }, now) {
                    return Ok(chosen);
                }
            }
        }
        service.pick(what, &Ask { key, exclude: excluded }, now)
    }

    async fn attempt(
        self: &Arc<Self>,
        forward: &Forward,
        passage: &Arc<Passage>,
        place: &Place,
        deadline: Tick,
    ) -> Result<Sent> {
        let client = passage.client.as_ref();
        let modern = passage.is_modern();
        let open = if modern { place.upstream.modern_session() } else { open_session(client, place) };
        let session = if let Some(session) = open {
            session
        } else {
            let opening = Box::pin(async {
                if modern && let Some(session) = self.session_across(place).await? {
                    return Ok(session);
                }
                self.session_for(client, place).await
            });
            self.in_time(deadline, passage, opening).await.map_err(Error::not_sent)?
        };
        let message = &forward.message;
        if let Some(client) = client {
            client.bound.asked(message, place.server.id);
        }
        let id = session.next_id();
        let mut splice = message.with_id(id.to_string());
        if let Some((range, name)) = &forward.rename {
            splice.replace(range.clone(), name.clone());
        }
        let token = progress_token(message);
        if let Some((range, _)) = &token {
            splice.replace(range.clone(), id.to_string());
        }
        let outgoing = Outgoing {
            id,
            method: forward.method().clone(),
            body: splice.apply(message.bytes()),
            correlation_id: Some(Arc::clone(&passage.correlation_id)),
            headers: if modern { across::params(&passage.headers) } else { None },
        };
        let raw_id = message.id().unwrap_or("null");
        let relay =
            Relay { client: passage.client.clone(), session: Arc::clone(&session), server: place.server.id };
        let mut answering = Answering::new(relay, id, raw_id, token.map(|(_, token)| token), place.server.id);
        match self.in_time(deadline, passage, session.request(outgoing)).await {
            Ok(exchange) => Ok(Sent { exchange, answering }),
            Err(error) => {
                match error.kind() {
                    ErrorKind::SessionNotFound => self.forget(client, place, &session).await,
                    ErrorKind::Timeout | ErrorKind::Cancelled => {
                        answering.give_up(&passage.record.active().reason).await;
                    }
                    _ if !session.is_open() => self.forget(client, place, &session).await,
                    _ => {}
                }
                Err(error)
            }
        }
    }

    async fn answer(
        self: &Arc<Self>,
        exchange: Exchange,
        answering: Answering,
        mut lease: Lease,
        started: Tick,
        deadline: Tick,
        passage: Arc<Passage>,
    ) -> Result<Reply> {
        match exchange {
            Exchange::One(message) => {
                lease.record(outcome_of_answer(&message), self.clock.now().since(started), self.clock.now());
                let server = Some(answering.server);
                Ok(Reply::Message { body: answering.response(&message), session: None, server })
            }
            Exchange::Many(messages) => {
                Box::pin(answering.stream(self, messages, lease, started, deadline, passage)).await
            }
        }
    }

    async fn forget(&self, client: Option<&Arc<Client>>, place: &Place, session: &Arc<Session>) {
        if let (Some(client), true) = (client, session.is_own()) {
            client.forget(place.upstream.number, session);
        } else {
            place.upstream.forget(session);
        }
        if !session.is_open() {
            session.close().await;
        }
    }

    /// `work`, unless the deadline passes or the call is cancelled first.
    async fn in_time<T>(
        &self,
        deadline: Tick,
        passage: &Passage,
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

/// Whether the client's calls reach the server in a session of the client's own.
pub(super) fn apart(client: &Client, place: &Place) -> bool {
    match place.server.configuration.sharing {
        Sharing::Shared => false,
        Sharing::Session => true,
        // Elsewhere a session costs a process or a connection for as long as it lives.
        Sharing::Auto => place.server.transport_type == TransportType::Http || client.wants_own_session(),
    }
}

/// The client's own session with the server, if there is one already: nearly every call finds it so.
fn open_session(client: Option<&Arc<Client>>, place: &Place) -> Option<Arc<Session>> {
    let client = client.filter(|client| apart(client, place))?;
    client.session_with(place.upstream.number)
}

/// What a failed attempt says about the server: a refusal by HTTP 4xx is its good right, and a pool of ours that is full
/// is not its fault; a child process that waits to be started again is.
pub(super) fn outcome_of(error: &Error) -> Outcome {
    let status = error.context().iter().find(|(key, _)| *key == "status");
    let refused = status.is_some_and(|(_, value)| value.len() == 3 && value.starts_with('4'));
    match error.kind() {
        ErrorKind::BadUpstream if refused => Outcome::Ignored,
        ErrorKind::Unavailable if error.retry_delay().is_none() => Outcome::Ignored,
        ErrorKind::BadUpstream | ErrorKind::Timeout | ErrorKind::Unavailable => Outcome::Failure,
        _ => Outcome::Ignored,
    }
}

/// What an answer says about the server: an internal error counts against it, every other answer speaks for it.
pub(super) fn outcome_of_answer(message: &Message) -> Outcome {
    let internal = message.error().is_some_and(|error| {
        Members::parse(error).is_ok_and(|members| members.get("code") == Some("-32603"))
    });
    if internal { Outcome::Failure } else { Outcome::Success }
}

/// Whether the call may be sent again although the server may have seen it.
fn is_repeatable(forward: &Forward, place: &Place) -> bool {
    if forward.method().is_repeatable() {
        return true;
    }
    let Some((CapabilityKind::Tool, name)) = &forward.what else { return false };
    if *forward.method() != Method::ToolsCall || !place.server.configuration.trusted {
        return false;
    }
    let hinted = |definition: &str| {
        let tool = Members::parse(definition).ok()?;
        let annotations = Members::parse(tool.get("annotations")?).ok()?;
        let says = |hint| annotations.get(hint) == Some("true");
        Some(says("readOnlyHint") || says("idempotentHint"))
    };
    let definition = forward.service.definition(CapabilityKind::Tool, name);
    definition.and_then(|item| hinted(item.definition.get())).unwrap_or(false)
}

/// The error as the client gets it: a session that a server lost is that server's failure, not the client's.
fn settle(error: Error) -> Error {
    if error.kind() == ErrorKind::SessionNotFound {
        return Error::new(ErrorKind::BadUpstream, "the server forgets the sessions that it opens")
            .caused_by(error);
    }
    error
}
