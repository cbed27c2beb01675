//! Picks a server, sends, and fails over where that is safe.
//!
//! A call is sent a second time only if no byte of it was written, or if doing it twice is the same as doing it once;
//! `tools/call` is not, unless the operator vouched for the server's own hint that it is. See `core/ARCHITECTURE.md`,
//! "What is sent twice".

use std::sync::Arc;
use std::time::Duration;

use smol_str::ToSmolStr;
use tokio::sync::Notify;

use super::Core;
use super::legacy::opening::apart;
use crate::balance::key_of;
use crate::clock::Tick;
use crate::error::{Cause, Delivery, Error, ErrorKind, Result};
use crate::gateway::bridge::modern_to_legacy::{Course, translate};
use crate::gateway::bridge::modern_to_modern;
use crate::gateway::call::answering::{Answering, Flow};
use crate::gateway::call::attempts::{Attempts, note_refusal};
use crate::gateway::call::context::{CallContext, ForwardPlan, ForwardRequest};
use crate::gateway::call::limits::TimeLimits;
use crate::gateway::call::relay::{Relay, progress_token};
use crate::gateway::call::verdict::is_repeatable;
use crate::gateway::routing::service::Replica;
use crate::gateway::session::client::{Client, ended};
use crate::gateway::upstream::outcome::{record_answer, record_error};
use crate::model::Reply;
use crate::observe::AttemptEnd;
use crate::rpc::version::Era;
use crate::rpc::{Message, Method};
use crate::select::Lease;
use crate::transport::unread::{HasRoom, SMALL, unread};
use crate::transport::{Exchange, Outgoing, Queued, Session};

/// How long a call waits for its turn to be sent a second time.
const RETRY_PATIENCE: Duration = Duration::from_millis(500);

/// When a caller may try again that found too many requests waiting.
const CROWDED: Duration = Duration::from_secs(1);

/// The result of one attempt.
struct SentAttempt {
    exchange: Exchange,
    answering: Answering,
    /// Nothing was sent: a modern client gets requests to answer first.
    asks_first: bool,
    pauses: Option<Arc<Notify>>,
}

impl Core {
    /// Sends a request to a server and returns its answer.
    pub(crate) async fn forward(self: Arc<Self>, mut request: Box<ForwardRequest>) -> Result<Reply> {
        track(&mut request)?;
        let mut attempts = Attempts::of(&mut request, self.settings.max_timeout, self.clock.now());
        loop {
            let ForwardRequest { forward, context, .. } = &*request;
            let (mut lease, replica) = attempts.next(&self, forward, context)?;
            let (started, deadline, limits) = (attempts.started, attempts.deadline, attempts.limits);
            let sent = self.attempt(forward, context, &replica, deadline).await;
            let sent = sent.map_err(|error| explained(error, &replica, limits));
            self.observers.attempted(context.record.active(), || AttemptEnd {
                service: forward.service.name.as_str(),
                server: &replica.server.name,
                took: self.clock.now().since(started),
                error: sent.as_ref().err(),
            });
            let error = match sent {
                Ok(SentAttempt { exchange, answering, asks_first, .. }) if context.modern.is_some() => {
                    let course = Course { exchange, answering, lease, started, deadline, limits, asks_first };
                    return Box::pin(self.answer_downward(course, request)).await;
                }
                Ok(SentAttempt { exchange: Exchange::One(message), answering, .. }) => {
                    let message = self.judged(&mut lease, forward, context, &answering, message, started);
                    let (body, server) = (answering.response(&message), Some(answering.server));
                    if body.len() > SMALL {
                        // The server and the gateway have the call until its last byte was written.
                        Arc::clone(&context.record).keep((lease, request.context.admission));
                    }
                    return Ok(Reply::Message { body, session: None, server });
                }
                Ok(SentAttempt { exchange: Exchange::Many(messages), answering, pauses, .. }) => {
                    let context = request.context;
                    let flow =
                        Flow { answering, messages, lease, started, deadline, limits, context, pauses };
                    return Box::pin(self.follow(flow)).await;
                }
                Err(error) => {
                    error.with("service", &forward.service.name).with("server", &replica.server.name)
                }
            };
            let now = self.clock.now();
            record_error(&mut lease, &error, now.since(started), now);
            drop(lease);
            attempts.started = now;
            note_refusal(&replica, &error, now);
            if !attempts.renews_session(&error, context) {
                Box::pin(self.turn_elsewhere(&mut attempts, forward, context, &replica, error)).await?;
            }
        }
    }

    /// Records an answer that came at once, and returns it as the client may see it.
    fn judged(
        &self,
        lease: &mut Lease,
        forward: &ForwardPlan,
        context: &CallContext,
        answering: &Answering,
        message: Message,
        started: Tick,
    ) -> Message {
        let now = self.clock.now();
        record_answer(lease, &message, now.since(started), now);
        if !forward.method().is_cacheable() {
            self.reads.part_from(answering.server);
        }
        self.of_tasks(context, answering, message)
    }

    /// Waits for a permit to send the call a second time, after it failed at `replica` with `error`; else the error as the
    /// client gets it.
    async fn turn_elsewhere<'g>(
        &'g self,
        attempts: &mut Attempts<'g>,
        forward: &ForwardPlan,
        context: &CallContext,
        replica: &Replica,
        error: Error,
    ) -> Result<()> {
        let now = attempts.started;
        let safe = (error.delivery() == Delivery::NotSent || is_repeatable(forward, replica))
            && !(context.modern.is_some() && modern_to_modern::resumes(&forward.message));
        // A refusal cost the server nothing, and the second attempt is the first that runs.
        let refused = error.kind() == ErrorKind::RateLimited;
        let allowed = || refused || self.retries.allows(self.call_metrics.begun(), now);
        if !safe || attempts.are_exhausted(context) || !allowed() {
            return Err(context.settle(error));
        }
        let room = async { Ok(self.retries.take(self.calls.calls()).await) };
        let until = attempts.deadline.min(now + RETRY_PATIENCE);
        let retrying = match self.in_time(until, context, room).await {
            Ok(retrying) => retrying,
            Err(why) if why.kind() == ErrorKind::Cancelled => return Err(context.settle(why)),
            Err(_) => return Err(context.settle(error)),
        };
        tracing::debug!(correlation_id = &*context.correlation_id, %error, "sending elsewhere");
        attempts.go_elsewhere(replica, context.settle(error), retrying, self.clock.now());
        Ok(())
    }

    /// Sends the call to the server at `replica` once.
    async fn attempt(
        self: &Arc<Self>,
        forward: &ForwardPlan,
        context: &CallContext,
        replica: &Replica,
        deadline: Tick,
    ) -> Result<SentAttempt> {
        let session = match ready_session(context, replica) {
            Some(session) => session,
            None => Box::pin(self.open_session_at(replica, context, deadline)).await?,
        };
        if let Some(client) = &context.client {
            client.bound.asked(&forward.message, replica.server.id);
        }
        let (outgoing, answering) = compose(forward, context, replica, &session, deadline)?;
        if let Some(modern) = context.modern.as_ref().filter(|_| session.era() == Era::Legacy) {
            let asking = Box::pin(self.ask_first(&session, modern, context, &forward.message));
            if let Some(first) = self.in_time(deadline, context, asking).await.map_err(Error::not_sent)? {
                return Ok(SentAttempt {
                    exchange: Exchange::One(first),
                    answering,
                    asks_first: true,
                    pauses: None,
                });
            }
        }
        let pauses = outgoing.pauses.clone();
        match self.in_time(deadline, context, session.request(outgoing)).await {
            Ok(exchange) => Ok(SentAttempt { exchange, answering, asks_first: false, pauses }),
            Err(error) if error.kind() == ErrorKind::Timeout && context.record.is_starved() => {
                answering.give_up(&self.tasks, context);
                // Nobody's fault but the caller's: it counts against no server.
                Err(Error::new(ErrorKind::Unavailable, unread().message().to_owned()))
            }
            Err(error) => {
                match error.kind() {
                    ErrorKind::SessionNotFound => self.forget(context.caller(), replica, session),
                    ErrorKind::Timeout | ErrorKind::Cancelled => answering.give_up(&self.tasks, context),
                    _ if !session.is_open() => self.forget(context.caller(), replica, session),
                    _ => {}
                }
                Err(error)
            }
        }
    }

    /// Opens the session in which the call reaches the server at `replica`, or finds it opened meanwhile.
    async fn open_session_at(
        self: &Arc<Self>,
        replica: &Replica,
        context: &CallContext,
        deadline: Tick,
    ) -> Result<Arc<Session>> {
        let opened = if let Some(modern) = &context.modern {
            self.in_time(deadline, context, Box::pin(self.session_downward(context, modern, replica))).await
        } else {
            let opening = self.session_for(context.client.as_ref(), replica, Some(&context.correlation_id));
            self.in_time(deadline, context, opening).await
        };
        opened.map_err(|error| crowded(error, replica).not_sent())
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

    /// Runs `work`, unless the deadline passes or the call is cancelled first.
    pub(super) async fn in_time<T>(
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
            () = tokio::time::sleep(left) => {
                let late = Error::new(ErrorKind::Timeout, "the server did not answer in time; raise `timeout_seconds` if its calls need longer");
                Err(late.because(Cause::DeadlinePassed))
            }
        }
    }
}

/// The error with the setting that would have let the call go on, if it was its deadline that ended it.
fn explained(error: Error, replica: &Replica, limits: TimeLimits) -> Error {
    if *error.cause() != Cause::DeadlinePassed {
        return error;
    }
    let told = replica.upstream.starting().map_or_else(
        || limits.silent(&replica.server.name),
        |starting| starting.still(&replica.server.name, limits.idle),
    );
    let sent = error.delivery() == Delivery::Unknown;
    if sent { told } else { told.not_sent() }
}

/// Registers the call in its client's session, so that it can be cancelled.
pub(super) fn track(request: &mut ForwardRequest) -> Result<()> {
    let ForwardRequest { forward, context, .. } = request;
    if let Some(client) = &context.client {
        let raw_id = forward.message.id().unwrap_or("null");
        context.landing = Some(client.track(raw_id, context.record.active()));
        if client.ended.is_cancelled() {
            return Err(ended());
        }
    }
    Ok(())
}

/// The session in which the call reaches the server, if there is one already: nearly every call finds it so.
fn ready_session(context: &CallContext, replica: &Replica) -> Option<Arc<Session>> {
    if let Some(modern) = &context.modern {
        return modern.may_share(replica).then(|| replica.upstream.modern_session()).flatten();
    }
    let client = context.client.as_ref().filter(|client| apart(client, replica))?;
    client.session_with(replica.upstream.number)
}

/// The error of a session that was not opened in time: if requests wait for the server's connections, the server is not at fault.
fn crowded(error: Error, replica: &Replica) -> Error {
    let waiting = replica.upstream.queue().map_or(0, |queue| queue.waiting);
    if error.kind() != ErrorKind::Timeout || waiting == 0 {
        return error;
    }
    let message = format!(
        "no session with server `{}` could be opened in time, while {waiting} requests wait for one of its connections; raise \
         `configuration.max_connections`",
        replica.server.name
    );
    error.recast(ErrorKind::Unavailable, message).because(Cause::PoolExhausted).retry_after(CROWDED)
}

/// The request as the server gets it in `session`, and the state that returns its answer.
fn compose(
    forward: &ForwardPlan,
    context: &CallContext,
    replica: &Replica,
    session: &Arc<Session>,
    deadline: Tick,
) -> Result<(Outgoing, Answering)> {
    let message = &forward.message;
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
    let outgoing = Outgoing {
        id,
        method: forward.method().clone(),
        body,
        correlation_id: Some(Arc::clone(&context.correlation_id)),
        headers,
        // Hardly any server numbers its messages; only then are pauses to mirror.
        call: Some(Arc::clone(&context.record) as Arc<dyn HasRoom>),
        pauses: (context.resumes && session.numbers()).then(Arc::<Notify>::default),
        queued: Some(Queued { caller: key_of(&context.principal.subject), deadline }),
    };
    let raw_id = message.id().unwrap_or("null");
    let server = replica.server.id;
    let relay = Relay { client: context.caller().cloned(), session: Arc::clone(session), server };
    let mut answering = Answering::new(relay, id, raw_id, token.map(|(_, token)| token), server);
    answering.lists_tasks = *forward.method() == Method::TasksList;
    answering.method = forward.method().clone();
    Ok((outgoing, answering))
}
