//! One call at one server, over all its rounds: a task that reads the server's messages, sends the client those of the round,
//! and waits for the next round where the server has sent requests.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::sync::oneshot;

use super::parked::Lot;
use super::reply::{Notification, left};
use super::sealed::Bond;
use super::translate;
use super::translate::{Answer, Question};
use super::{Round, bond_of, may_ask, missing_capability};
use crate::clock::Tick;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Core;
use crate::gateway::call::limits::{IdleTimer, Passed, TimeLimits};
use crate::gateway::call::relay::mapped_progress;
use crate::gateway::session::pool::Borrowed;
use crate::gateway::upstream::outcome::{record_answer, record_error};
use crate::model::Principal;
use crate::rpc::answer::{error_response, result_response};
use crate::rpc::version::Era;
use crate::rpc::{Members, Message, Method, Shape};
use crate::select::Lease;
use crate::transport::Session;

/// How long further requests are waited for after one: servers send several at once.
const MORE: Duration = Duration::from_millis(20);
/// Requests that may be open at once.
const MOST_ASKED: usize = 64;
/// How long a client that is behind is waited for with the last message.
const LAST_WORD: Duration = Duration::from_secs(30);
/// How long a server may take to accept the notice that the request has no waiting caller any more.
const FAREWELL: Duration = Duration::from_secs(2);

/// The call.
pub(super) struct Talk {
    pub(super) gateway: Arc<Core>,
    /// Whether the server is a legacy one.
    pub(super) legacy: bool,
    pub(super) session: Arc<Session>,
    pub(super) upstream_id: u64,
    pub(super) method: Method,
    /// The client's first request.
    pub(super) message: Message,
    pub(super) principal: Principal,
    pub(super) lot: Lot,
    /// How long the server may take in each round.
    pub(super) limits: TimeLimits,
    /// Keeps the session in the pool.
    pub(super) _pooled: Option<Borrowed>,
    pub(super) messages: BoxStream<'static, Result<Message>>,
    pub(super) lease: Lease,
    pub(super) started: Tick,
    pub(super) asked: Vec<ServerRequest>,
    pub(super) keys: u32,
    /// How the call ended while it was parked.
    pub(super) end: Option<End>,
}

/// A server request that waits for an answer.
#[derive(Debug)]
pub(super) struct ServerRequest {
    key: String,
    /// The server's id, byte for byte.
    raw_id: String,
    question: Question,
}

/// How a round ends.
#[derive(Debug)]
pub(super) enum End {
    Answered(Box<Message>),
    /// The server waits for answers.
    AwaitsAnswers,
    /// The client has left.
    Left,
    Broken(Error),
}

impl Talk {
    /// Carries the call on to its end.
    pub(super) async fn go_on(mut self, mut round: Round) {
        loop {
            let end = match self.end.take() {
                Some(end) => end,
                None if self.pass_on(&mut round).await => End::AwaitsAnswers,
                None => self.listen(&round).await,
            };
            match end {
                End::AwaitsAnswers => {
                    let bond = bond_of(&round.context, &self.message);
                    match self.park(round, bond).await {
                        Some(next) => round = next,
                        None => return,
                    }
                }
                End::Answered(message) => return self.finish(&message, round).await,
                End::Left => {
                    self.give_up().await;
                    let error = Error::new(ErrorKind::Cancelled, "the client closed its connection");
                    round.context.record.outcome(Some(&error));
                    return;
                }
                End::Broken(error) => return self.break_off(error, round).await,
            }
        }
    }

    /// Ends the call with its answer.
    async fn finish(mut self, message: &Message, round: Round) {
        let now = self.gateway.clock.now();
        record_answer(&mut self.lease, message, now.since(self.started), now);
        self.leave_questions().await;
        let word = self.gateway.last_word(
            message,
            &round.client_id,
            &self.method,
            self.legacy,
            &round.context,
            self.lease.server_id(),
            || bond_of(&round.context, &self.message),
        );
        drop(self);
        match word {
            Ok(answer) => conclude(round, answer).await,
            Err(error) => fail(round, error).await,
        }
    }

    /// Ends the call without an answer.
    async fn break_off(mut self, error: Error, round: Round) {
        let now = self.gateway.clock.now();
        record_error(&mut self.lease, &error, now.since(self.started), now);
        if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Timeout | ErrorKind::MissingCapability) {
            self.give_up().await;
        }
        drop(self);
        fail(round, error).await;
    }

    /// Sends the server the answers that came with the round. Whether it still waits for others.
    async fn pass_on(&mut self, round: &mut Round) -> bool {
        for asked in std::mem::take(&mut self.asked) {
            match round.answers.remove(&asked.key) {
                Some(result) => self.tell_server(result_response(&asked.raw_id, &result)).await,
                None => self.asked.push(asked),
            }
        }
        !self.asked.is_empty()
    }

    /// Requests that the server sent without waiting for their answers do not belong to this call: the client gets them before
    /// the next one.
    async fn leave_questions(&mut self) {
        for ServerRequest { raw_id, question, .. } in std::mem::take(&mut self.asked) {
            if !self.gateway.modern.ears.keep(&self.session, &raw_id, question) {
                let error = Error::new(
                    ErrorKind::MethodNotFound,
                    "the server sent a request of a kind that no client answers",
                );
                self.tell_server(error_response(Some(&raw_id), &error, Era::Legacy)).await;
            }
        }
    }

    /// Reads the server's messages until the round ends.
    async fn listen(&mut self, round: &Round) -> End {
        let deadline = round.deadline.max(self.started);
        let (now, idle_timer) = (self.gateway.clock.now(), IdleTimer::default());
        let in_all = (self.started + self.limits.total).since(now);
        let mut late = std::pin::pin!(idle_timer.passed(self.limits, deadline.since(now), in_all));
        let mut gone = std::pin::pin!(left(&round.sender));
        loop {
            // Requests that a server sends at the same time as the first are sent to the client together with it.
            let more = async {
                if self.asked.is_empty() {
                    std::future::pending::<()>().await;
                } else {
                    tokio::time::sleep(MORE).await;
                }
            };
            let next = tokio::select! {
                biased;
                next = self.messages.next() => next,
                () = &mut gone => return End::Left,
                () = round.context.cancel().cancelled() => {
                    return End::Broken(Error::new(ErrorKind::Cancelled, "the call was cancelled"));
                }
                () = more => return End::AwaitsAnswers,
                passed = &mut late => return self.late(passed),
            };
            let message = match self.sorted(next) {
                Ok(message) => message,
                Err(end) => return end,
            };
            if message.method() == Some(&Method::Progress) {
                idle_timer.renew();
            }
            if message.shape() == Shape::Request {
                let capabilities = round.context.modern.as_ref().map_or("{}", |modern| &modern.capabilities);
                if let Err(error) = self.ask(&message, capabilities).await {
                    return End::Broken(error);
                }
            } else if let Some(note) = self.note(&message, round) {
                tokio::select! {
                    biased;
                    sent = round.sender.send(Notification::Note(note)) => if sent.is_err() { return End::Left },
                    passed = &mut late => return self.late(passed),
                }
            }
        }
    }

    /// The end of a call that took too long.
    fn late(&self, passed: Passed) -> End {
        let name = self.gateway.name_of(self.lease.server_id());
        End::Broken(self.limits.error(passed, name.as_deref().unwrap_or("the server")))
    }

    /// The server's next message, if it is not the end.
    fn sorted(&self, next: Option<Result<Message>>) -> Result<Message, End> {
        let cut = || Error::new(ErrorKind::BadUpstream, "the server ended its stream without an answer");
        let message = next.unwrap_or_else(|| Err(cut())).map_err(End::Broken)?;
        if message.shape() == Shape::Response && message.id_number() == Some(self.upstream_id) {
            return Err(End::Answered(Box::new(message)));
        }
        Ok(message)
    }

    /// Takes a request of the server: answers it where that can be done, or keeps it for the client.
    ///
    /// [`ErrorKind::MissingCapability`] if the client has not declared that it takes such requests.
    async fn ask(&mut self, message: &Message, capabilities: &str) -> Result<()> {
        let id = message.id().unwrap_or("null");
        if message.method() == Some(&Method::Ping) {
            self.tell_server(result_response(id, "{}")).await;
            return Ok(());
        }
        let question = Question::of(message);
        let missing = if self.legacy && self.asked.len() < MOST_ASKED {
            question.missing(capabilities)
        } else {
            Err(Error::new(
                ErrorKind::MethodNotFound,
                "the server sent a request of a kind that no client answers",
            ))
        };
        match missing {
            // Such as a list: a request meanwhile belongs to no call, and the client gets it before the next one.
            Ok(None) if !may_ask(&self.method) => {
                if !self.gateway.modern.ears.keep(&self.session, id, question) {
                    let error = Error::new(
                        ErrorKind::MethodNotFound,
                        "the server sent a request of a kind that no client answers",
                    );
                    self.tell_server(error_response(Some(id), &error, Era::Legacy)).await;
                }
                Ok(())
            }
            Ok(None) => {
                self.keys += 1;
                self.asked.push(ServerRequest {
                    key: format!("q{}", self.keys),
                    raw_id: id.to_owned(),
                    question,
                });
                Ok(())
            }
            Ok(Some(required)) => {
                let error = missing_capability(required);
                self.tell_server(error_response(Some(id), &error, Era::Legacy)).await;
                if may_ask(&self.method) { Err(error) } else { Ok(()) }
            }
            Err(error) => {
                self.tell_server(error_response(Some(id), &error, Era::Legacy)).await;
                Ok(())
            }
        }
    }

    /// A notification as the client gets it, if it does.
    fn note(&mut self, message: &Message, round: &Round) -> Option<bytes::Bytes> {
        match message.method()? {
            Method::Progress => mapped_progress(message, Some((self.upstream_id, round.token.as_deref()?))),
            Method::LogMessage => {
                let wanted = round.log_level?;
                (translate::gravity(message) >= wanted).then(|| message.bytes().clone())
            }
            Method::Cancelled => {
                self.withdraw(message);
                None
            }
            // These are sent on streams of their own.
            Method::ToolsChanged
            | Method::PromptsChanged
            | Method::ResourcesChanged
            | Method::ResourceUpdated => {
                self.gateway.modern.ears.tell(&self.session, message);
                None
            }
            // A modern client learns of it by its retry.
            Method::Other(name) if &**name == "notifications/elicitation/complete" => None,
            _ => Some(message.bytes().clone()),
        }
    }

    /// Drops the request that the server withdraws.
    fn withdraw(&mut self, message: &Message) {
        let params = message.params().and_then(|params| Members::parse(params).ok());
        if let Some(raw) = params.and_then(|params| params.get("requestId")) {
            self.asked.retain(|asked| asked.raw_id != raw);
        }
    }

    /// Sends the client the server's requests, and waits for its retry. `None` if the retry does not come in time, or cannot.
    async fn park(&mut self, round: Round, bond: Bond) -> Option<Round> {
        let gateway = Arc::clone(&self.gateway);
        let now = gateway.clock.now();
        self.lease.record(crate::breaker::Outcome::Success, now.since(self.started), now);
        let until = now + gateway.settings.input_wait;
        let (number, waiting, state) = match gateway.reserve_slot(&self.principal, self.lot, &bond).await {
            Ok(taken) => taken,
            Err(error) => {
                self.give_up().await;
                fail(round, error).await;
                return None;
            }
        };
        let questions = self.asked.iter().map(|asked| (asked.key.as_str(), &asked.question));
        let result = translate::input_required(questions, &state);
        let capabilities = round.context.modern.as_ref().map(|modern| modern.capabilities.clone());
        let capabilities = capabilities.unwrap_or_else(|| "{}".into());
        let body = result_response(&round.client_id, &result);
        conclude(round, Answer { body, code: None }).await;
        let next = self.wait_for_retry(number, waiting, until, &capabilities).await;
        gateway.cluster.parked.release(number).get().await;
        next
    }

    /// Reads the server's messages until the retry comes. `None` if it does not come in time.
    async fn wait_for_retry(
        &mut self,
        replica: u64,
        mut waiting: oneshot::Receiver<Round>,
        until: Tick,
        capabilities: &str,
    ) -> Option<Round> {
        let gateway = Arc::clone(&self.gateway);
        let mut late = std::pin::pin!(tokio::time::sleep(until.since(gateway.clock.now())));
        loop {
            tokio::select! {
                biased;
                next = &mut waiting => return next.ok().map(|round| self.begin(round)),
                () = &mut late => {
                    if gateway.modern.modern_to_legacy.parked.take(replica).is_none() {
                        // The retry came at the last moment.
                        return waiting.await.ok().map(|round| self.begin(round));
                    }
                    self.give_up().await;
                    return None;
                }
                next = self.messages.next(), if self.end.is_none() => match self.sorted(next) {
                    Ok(message) if message.shape() == Shape::Request => {
                        if let Err(error) = self.ask(&message, capabilities).await {
                            self.end = Some(End::Broken(error));
                        }
                    }
                    Ok(message) if message.method() == Some(&Method::Cancelled) => self.withdraw(&message),
                    // Nobody reads these.
                    Ok(_) => {}
                    Err(end) => self.end = Some(end),
                },
            }
        }
    }

    fn begin(&mut self, round: Round) -> Round {
        let now = self.gateway.clock.now();
        self.started = now;
        Round { deadline: now + self.limits.idle, ..round }
    }

    async fn tell_server(&mut self, message: bytes::Bytes) {
        if let Err(error) = self.session.notify(message).await {
            // Its stream will end, or its answer will come all the same.
            tracing::info!(%error, "an answer did not reach the server that asked");
        }
    }

    /// Tells the server that nobody waits for the answer any more.
    async fn give_up(&mut self) {
        if self.session.cancels_when_dropped() {
            return;
        }
        let params = format!(r#"{{"requestId":{},"reason":"no longer wanted"}}"#, self.upstream_id);
        let message = Message::request(None, Method::Cancelled.as_str(), Some(&params));
        if !matches!(tokio::time::timeout(FAREWELL, self.session.notify(message)).await, Ok(Ok(()))) {
            tracing::debug!("a server could not be told that a call was cancelled");
        }
    }
}

async fn fail(round: Round, error: Error) {
    round.context.record.outcome(Some(&error));
    let body = error_response(Some(&round.client_id), &error, Era::Modern);
    conclude(round, Answer { body, code: Some(error.kind().row().rpc) }).await;
}

/// The last message of a round.
async fn conclude(round: Round, answer: Answer) {
    let Round { sender, context, .. } = round;
    drop(context);
    // A client that no longer reads has left.
    let _ = tokio::time::timeout(LAST_WORD, sender.send(Notification::Last(answer))).await;
}
