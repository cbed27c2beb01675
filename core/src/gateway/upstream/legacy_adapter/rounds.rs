//! One request of a legacy client at a modern server: the server's answer, or the questions that it asks first. Questions
//! go to the client as the requests that a legacy server would send; the client's answers go back with the request, which
//! is sent once more under a new id, as often as the server asks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::sync::oneshot;

use super::AdapterState;
use super::translate;
use super::translate::{Answered, ServerQuestions};
use crate::error::{Error, ErrorKind, Result};
use crate::rpc::{Message, Method, Shape};
use crate::transport::{Exchange, Outgoing};

/// The most rounds of questions about one request.
const ROUNDS: u32 = 64;

/// The wait before a request without questions is sent again, for each round, and at most.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A request in flight.
pub(super) struct Rounds {
    bridge: Arc<AdapterState>,
    /// The request as it was first sent to the server.
    request: Outgoing,
    message: Message,
    uri: Option<String>,
    turn: RoundOutcome,
    asked: u32,
}

enum RoundOutcome {
    /// The server sends messages.
    Hearing(BoxStream<'static, Result<Message>>),
    /// The server has answered; the answer is not read yet.
    Answered(Message),
    /// The server asks questions: `unheard` have not been sent to the client yet, `waiting` wait for its answers.
    Asking {
        unheard: VecDeque<Message>,
        waiting: Vec<(String, OpenRound)>,
        state: Option<String>,
    },
    Over,
}

/// A pending answer of the client. Dropping it forgets the question.
struct OpenRound {
    bridge: Arc<AdapterState>,
    id: u64,
    answer: oneshot::Receiver<Message>,
}

impl Drop for OpenRound {
    fn drop(&mut self) {
        self.bridge.questions().remove(&self.id);
    }
}

impl Rounds {
    /// Sends the request and returns its answer or, if more messages come, the stream that ends with the answer.
    pub(super) async fn begin(bridge: Arc<AdapterState>, request: Outgoing) -> Result<Exchange> {
        let message = Message::parse(request.body.clone()).map_err(Error::not_sent)?;
        let uri = (request.method == Method::ResourcesRead).then(|| translate::uri(&message)).flatten();
        let exchange = bridge.session.request(request.clone()).await?;
        let mut rounds = Self { bridge, request, message, uri, turn: RoundOutcome::Over, asked: 0 };
        match exchange {
            Exchange::Many(messages) => rounds.turn = RoundOutcome::Hearing(messages),
            Exchange::One(answer) => {
                if let Some(answer) = rounds.read(&answer)? {
                    return Ok(Exchange::One(answer));
                }
            }
        }
        let rest = stream::unfold(rounds, |mut rounds| async move { Some((rounds.next().await?, rounds)) });
        Ok(Exchange::Many(rest.boxed()))
    }

    async fn next(&mut self) -> Option<Result<Message>> {
        let next = self.step().await;
        if !matches!(&next, Ok(Some(message)) if message.shape() != Shape::Response) {
            self.turn = RoundOutcome::Over;
        }
        next.transpose()
    }

    async fn step(&mut self) -> Result<Option<Message>> {
        loop {
            match &mut self.turn {
                RoundOutcome::Over => return Ok(None),
                RoundOutcome::Hearing(messages) => {
                    let cut = || {
                        Error::new(ErrorKind::BadUpstream, "the server ended its stream without an answer")
                    };
                    let message = messages.next().await.ok_or_else(cut)??;
                    match message.shape() {
                        Shape::Notification => return translate::notification(&message).map(Some),
                        Shape::Response => self.turn = RoundOutcome::Answered(message),
                        Shape::Request => {
                            tracing::warn!("a server of the modern era asked out of turn; it gets no answer");
                        }
                    }
                }
                RoundOutcome::Answered(message) => {
                    let message = message.clone();
                    if let Some(answer) = self.read(&message)? {
                        return Ok(Some(answer));
                    }
                }
                RoundOutcome::Asking { unheard, waiting, state } => {
                    if let Some(question) = unheard.pop_front() {
                        return Ok(Some(question));
                    }
                    let mut answers = Vec::with_capacity(waiting.len());
                    for (key, waiting) in waiting.iter_mut() {
                        answers.push((std::mem::take(key), waiting.hear().await?));
                    }
                    let state = state.take();
                    self.turn = self.ask_again(&answers, state.as_deref()).await?;
                }
            }
        }
    }

    async fn ask_again(&mut self, answers: &[(String, String)], state: Option<&str>) -> Result<RoundOutcome> {
        if answers.is_empty() {
            // The server only wants to be asked later: it is given longer and longer to be ready.
            tokio::time::sleep((PAUSE * self.asked).min(LONGEST_PAUSE)).await;
        }
        let id = self.bridge.session.next_id();
        let body = translate::retry(&self.message, id, answers, state)?;
        let outgoing = Outgoing { id, body, ..self.request.clone() };
        // The first round was executed, whatever the outcome of this one.
        let delivered = |error: Error| {
            let lost = error.kind() == ErrorKind::SessionNotFound;
            let kind = if lost { ErrorKind::BadUpstream } else { error.kind() };
            Error::new(
                kind,
                format!("the answer to the server's request could not be sent: {}", error.message()),
            )
        };
        Ok(match self.bridge.session.request(outgoing).await.map_err(delivered)? {
            Exchange::One(answer) => RoundOutcome::Answered(answer),
            Exchange::Many(messages) => RoundOutcome::Hearing(messages),
        })
    }

    /// The response for the client; `None` if the server asks first.
    fn read(&mut self, answer: &Message) -> Result<Option<Message>> {
        match translate::answer(answer, &self.request.method, self.uri.as_deref())? {
            Answered::Complete(answer) if self.asked == 0 => Ok(Some(answer)),
            Answered::Complete(answer) => {
                let body = answer.with_id(self.request.id.to_string()).apply(answer.bytes());
                Message::parse(body).map(Some)
            }
            Answered::Asks(questions) => {
                self.turn = self.ask(questions)?;
                Ok(None)
            }
        }
    }

    fn ask(&mut self, questions: ServerQuestions) -> Result<RoundOutcome> {
        self.asked += 1;
        if self.asked > ROUNDS {
            let message = format!("the server asked more than {ROUNDS} times before it answered");
            return Err(Error::new(ErrorKind::BadUpstream, message));
        }
        let (mut unheard, mut waiting) = (VecDeque::new(), Vec::new());
        for (key, method, params) in questions.asked {
            if !translate::may_ask(&self.bridge.hello.capabilities, &method, params.as_deref()) {
                let method: String = method.as_str().chars().take(80).collect();
                let message = "the server asks what this client did not declare that it can be asked";
                return Err(Error::new(ErrorKind::BadUpstream, message).with("method", method));
            }
            let (id, question) = self.bridge.wait_for_answer();
            unheard.push_back(translate::question(id, &method, params.as_deref())?);
            waiting.push((key, OpenRound { bridge: Arc::clone(&self.bridge), id, answer: question }));
        }
        Ok(RoundOutcome::Asking { unheard, waiting, state: questions.state })
    }
}

impl OpenRound {
    /// The raw result in the client's answer.
    ///
    /// [`ErrorKind::InvalidRequest`] if it answers with an error, which cannot be passed on to a modern server.
    async fn hear(&mut self) -> Result<String> {
        let gone = |_| Error::new(ErrorKind::Cancelled, "the client left before it answered the server");
        let answer = (&mut self.answer).await.map_err(gone)?;
        if let Some(result) = answer.result() {
            return Ok(result.to_owned());
        }
        let said: String = answer.error().unwrap_or("none").chars().take(300).collect();
        let message = "the server asked the client something, and the client answered with an error";
        Err(Error::new(ErrorKind::InvalidRequest, message).with("error", said))
    }
}

/// A response that the adapter makes itself.
pub(super) fn own(id: u64, result: &str) -> Result<Exchange> {
    let body: Bytes = crate::rpc::answer::result_response(&id.to_string(), result);
    Message::parse(body).map(Exchange::One)
}
