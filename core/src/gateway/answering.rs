//! The way back of one request: its answer with the client's own id, or the stream that ends with it.
//!
//! A stream is pumped by a task of its own: a legacy client that drops its connection has not cancelled the call, so the
//! server is heard to the end; a client that reads slowly slows the server down, not the gateway.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc;

use super::Inner;
use super::errand::Passage;
use super::forward::outcome_of_answer;
use super::relay::Relay;
use crate::breaker::Outcome;
use crate::clock::Tick;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Reply, ServerId};
use crate::rpc::answer::error_response;
use crate::rpc::{Message, Shape};
use crate::select::Lease;

/// Messages that wait for a slow reader before its server is slowed down.
const WAITING: usize = 32;

/// How long the answer waits for a reader that is behind.
const LAST_WORD: Duration = Duration::from_secs(30);

/// What is needed to bring an answer home.
#[derive(Debug)]
pub(super) struct Answering {
    relay: Relay,
    upstream_id: u64,
    client_id: Box<str>,
    token: Option<String>,
    pub(super) server: ServerId,
}

/// How a stream ended.
enum End {
    Answered(Message),
    Broken(Error),
}

impl Answering {
    pub(super) fn new(
        relay: Relay,
        upstream_id: u64,
        client_id: &str,
        token: Option<String>,
        server: ServerId,
    ) -> Self {
        Self { relay, upstream_id, client_id: client_id.into(), token, server }
    }

    /// The response with the client's own id.
    pub(super) fn response(&self, message: &Message) -> Bytes {
        if let Some(client) = self.relay.client.as_ref().filter(|_| self.relay.session.declares("tasks")) {
            client.bound.answered(message, self.server);
        }
        message.with_id(&*self.client_id).apply(message.bytes())
    }

    /// Tells the server that nobody waits for the answer any more.
    pub(super) async fn give_up(&mut self, reason: &OnceLock<String>) {
        if self.relay.session.cancels_when_dropped() {
            return;
        }
        let reason = reason.get().map_or(r#""no longer wanted""#, String::as_str);
        let params = format!(r#"{{"requestId":{},"reason":{reason}}}"#, self.upstream_id);
        let message = Message::request(None, "notifications/cancelled", Some(&params));
        let told =
            tokio::time::timeout(std::time::Duration::from_secs(2), self.relay.session.notify(message)).await;
        if !matches!(told, Ok(Ok(()))) {
            tracing::debug!("a server could not be told that a call was cancelled");
        }
    }

    /// Passes the server's messages on as they come.
    pub(super) async fn stream(
        mut self,
        gateway: &Arc<Inner>,
        mut messages: BoxStream<'static, Result<Message>>,
        mut lease: Lease,
        started: Tick,
        deadline: Tick,
        passage: Arc<Passage>,
    ) -> Result<Reply> {
        let (sender, mut receiver) = mpsc::channel::<Bytes>(WAITING);
        let server = Some(self.server);
        let streams = passage.streams;
        let clock = Arc::clone(&gateway.clock);
        let (gateway, tasks) = (Arc::clone(gateway), gateway.tasks.clone());
        tasks.spawn(async move {
            let left = deadline.since(clock.now());
            let sink = if streams { Some(&sender) } else { None };
            let end = tokio::select! {
                biased;
                end = self.pump(&gateway, &mut messages, sink) => end,
                () = passage.cancel().cancelled() => End::Broken(Error::new(ErrorKind::Cancelled, "the call was cancelled")),
                () = tokio::time::sleep(left) => End::Broken(Error::new(ErrorKind::Timeout, "the server did not finish in time")),
            };
            let now = clock.now();
            let last = match end {
                End::Answered(message) => {
                    lease.record(outcome_of_answer(&message), now.since(started), now);
                    self.response(&message)
                }
                End::Broken(error) => {
                    if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Timeout) {
                        self.give_up(&passage.record.active().reason).await;
                    }
                    let cancelled = error.kind() == ErrorKind::Cancelled;
                    lease.record(if cancelled { Outcome::Ignored } else { Outcome::Failure }, now.since(started), now);
                    passage.record.outcome(Some(&error));
                    error_response(Some(&self.client_id), &error)
                }
            };
            drop((messages, lease));
            drop((self, passage));
            // Whoever no longer reads has left, and one who reads for so long does not want it; the answer is nobody's then.
            let _ = tokio::time::timeout(LAST_WORD, sender.send(last)).await;
        });
        if streams {
            let messages = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context)).boxed();
            return Ok(Reply::Stream { messages, server });
        }
        match receiver.recv().await {
            Some(body) => Ok(Reply::Message { body, session: None, server }),
            None => Err(Error::new(ErrorKind::Unavailable, "the gateway is shutting down")),
        }
    }

    async fn pump(
        &mut self,
        gateway: &Arc<Inner>,
        messages: &mut BoxStream<'static, Result<Message>>,
        sink: Option<&mpsc::Sender<Bytes>>,
    ) -> End {
        while let Some(next) = messages.next().await {
            let message = match next {
                Ok(message) => message,
                Err(error) => return End::Broken(error),
            };
            if message.shape() == Shape::Response {
                if message.id_number() == Some(self.upstream_id) {
                    return End::Answered(message);
                }
                tracing::warn!("a server answered a question that was not asked here; the answer is dropped");
                continue;
            }
            let token = self.token.as_deref().map(|own| (self.upstream_id, own));
            if let Err(error) = gateway.pass(&self.relay, &message, token, sink).await {
                return End::Broken(error);
            }
        }
        End::Broken(Error::new(ErrorKind::BadUpstream, "the server ended its stream without an answer"))
    }
}
