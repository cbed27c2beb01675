//! The attempts of one call: the next server, the servers that were tried, and the time that is left.

use std::ops::Deref;
use std::time::Duration;

use http::HeaderMap;

use super::context::{CallContext, ForwardPlan, ForwardRequest};
use super::limits::TimeLimits;
use super::retries::Retrying;
use super::{affinity, proxy};
use crate::balance::key_of;
use crate::clock::Tick;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Core;
use crate::gateway::routing::service::Replica;
use crate::model::ServerId;
use crate::rpc::Method;
use crate::select::{Lease, PickRequest};

/// Attempts that one call gets at most.
const MOST: usize = 2;

/// With less time than this left, nothing more is sent: a call that waited for a connection in vain has a few milliseconds.
const LAST_MOMENT: Duration = Duration::from_millis(20);

/// The state that the attempts of one call share.
pub(crate) struct Attempts<'g> {
    /// When the call must have ended.
    pub(crate) deadline: Tick,
    /// The limits that progress moves, or does not.
    pub(crate) limits: TimeLimits,
    /// When the attempt under way began.
    pub(crate) started: Tick,
    /// The key that keeps related calls together.
    key: Option<u64>,
    /// Servers that were tried, and those that the caller could not use.
    excluded: Vec<ServerId>,
    tried: usize,
    renewed: bool,
    last: Option<Error>,
    /// Counts this call among those that are sent a second time.
    retrying: Option<Retrying<'g>>,
}

/// A replica, and the connection by which the call reaches it.
pub(crate) enum Reached<'f> {
    /// Over the connection that all callers share.
    Shared(&'f Replica),
    /// Over a connection of the caller's own, with the caller's own credential.
    PerCaller(Box<Replica>),
}

impl Deref for Reached<'_> {
    type Target = Replica;

    fn deref(&self) -> &Replica {
        match self {
            Self::Shared(replica) => replica,
            Self::PerCaller(replica) => replica,
        }
    }
}

impl<'g> Attempts<'g> {
    /// No attempt yet; `longest`: how long a call may take in all where its server is not configured. The headers of a legacy call
    /// are dropped: nothing needs them after this.
    pub(crate) fn of(request: &mut ForwardRequest, longest: Duration, now: Tick) -> Self {
        let ForwardRequest { forward, context, since } = request;
        let first = forward.service.replicas.first().map(|replica| &replica.server);
        let wished = context.hints.as_ref().and_then(|hints| hints.timeout);
        let limits = TimeLimits::of(first.map(|server| &server.configuration), wished, longest);
        let key = first.and_then(|server| affinity::key(server, context, &forward.message));
        if context.modern.is_none() {
            // They are slices of the connection's read buffer, which is used again once nobody holds it.
            context.headers = HeaderMap::new();
        }
        Self {
            deadline: since.unwrap_or(now) + limits.idle,
            limits,
            started: now,
            key,
            excluded: Vec::new(),
            tried: 0,
            renewed: false,
            last: None,
            retrying: None,
        }
    }

    /// The server of the next attempt. With none left the error of the last attempt, if there was one.
    pub(crate) fn next<'f>(
        &mut self,
        gateway: &Core,
        forward: &'f ForwardPlan,
        context: &CallContext,
    ) -> Result<(Lease, Reached<'f>)> {
        loop {
            let (lease, replica) = match choose(forward, context, self.key, &self.excluded, self.started) {
                Ok(chosen) => chosen,
                Err(error) => return Err(self.last.take().unwrap_or(error)),
            };
            if !replica.is_by_caller() {
                return Ok((lease, Reached::Shared(replica)));
            }
            match gateway.own_way(replica, &context.principal) {
                Ok(way) => return Ok((lease, Reached::PerCaller(Box::new(way)))),
                Err(error) => {
                    // The caller cannot use a replica for which it has no credential.
                    lease.give_back();
                    self.excluded.push(replica.server.id);
                    self.last = Some(error);
                }
            }
        }
    }

    /// Whether the call is to be sent to the same server again, with a new session: the server has forgotten the session, so it
    /// has not looked at the call. True once.
    pub(crate) fn renews_session(&mut self, error: &Error, context: &CallContext) -> bool {
        let renews = error.kind() == ErrorKind::SessionNotFound && !self.renewed && !self.is_over(context);
        self.renewed |= renews;
        renews
    }

    /// Whether the call has no further attempt, as of the end of the last one.
    pub(crate) fn are_exhausted(&self, context: &CallContext) -> bool {
        self.is_over(context) || self.tried + 1 >= MOST
    }

    /// The next attempt goes elsewhere than to `replica`, which failed with `error`.
    pub(crate) fn go_elsewhere(
        &mut self,
        replica: &Replica,
        error: Error,
        retrying: Retrying<'g>,
        now: Tick,
    ) {
        self.retrying = Some(retrying);
        self.started = now;
        self.tried += 1;
        self.excluded.push(replica.server.id);
        self.last = Some(error);
    }

    fn is_over(&self, context: &CallContext) -> bool {
        self.started + LAST_MOMENT >= self.deadline || context.is_unwanted()
    }
}

/// How long a call may take: as the service says, or shorter if the caller wishes.
pub(crate) fn time_limit(forward: &ForwardPlan, context: &CallContext) -> Duration {
    let first = forward.service.replicas.first();
    let configured = first.map_or(Duration::from_secs(30), |replica| replica.server.configuration.timeout);
    let wished = context.hints.as_ref().and_then(|hints| hints.timeout);
    wished.map_or(configured, |wish| wish.min(configured))
}

/// Makes other replicas take the calls of one that limits its rate, for the period in `error` or for one that grows.
pub(crate) fn note_refusal(replica: &Replica, error: &Error, now: Tick) {
    if error.kind() == ErrorKind::RateLimited {
        replica.state.refused(error.retry_delay(), now);
    }
}

/// A server for the call. Its answer is compared with those of other replicas to the same.
fn choose<'f>(
    forward: &'f ForwardPlan,
    context: &CallContext,
    key: Option<u64>,
    excluded: &[ServerId],
    now: Tick,
) -> Result<(Lease, &'f Replica)> {
    let (mut lease, replica) = pick(forward, context, key, excluded, now)?;
    if forward.service.replicas.len() > 1 {
        let item = forward.what.as_ref().map_or("", |(_, name)| name.as_str());
        lease.set_subject(key_of(forward.method().as_str()) ^ key_of(item).rotate_left(1));
    }
    Ok((lease, replica))
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
    // Other replicas know nothing of the state that one replica keeps for the client.
    let bound = || context.client.as_ref().and_then(|client| client.bound.server(&forward.message));
    if let Some(id) = forward.maker.or_else(bound)
        && service.replica(id).is_some()
    {
        let others = service.replicas.iter().map(|replica| replica.server.id).filter(|other| *other != id);
        let others: Vec<_> = others.chain(excluded.iter().copied()).collect();
        let there = service.pick(None, &PickRequest { key: None, exclude: &others }, now);
        // A new subscription can as well go to another replica.
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
