//! The return path of one request: its answer with the client's own id, or the stream that ends with it.
//!
//! A task of its own pumps each stream: a legacy client that drops its connection has not cancelled the call, so the gateway
//! reads the server to the end, while a call that stands alone ends with its stream. A client that reads slowly slows the
//! server down, not the gateway, and that time does not count against the server.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::OptionFuture;
use futures_util::stream::BoxStream;
use smol_str::SmolStr;
use tokio::sync::Notify;

use super::context::CallContext;
use super::limits::{IdleTimer, TimeLimits};
use super::ongoing::Departure;
use super::relay::Relay;
use super::sink::Sink;
use crate::breaker::Outcome;
use crate::clock::Tick;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Core;
use crate::gateway::upstream::outcome::{record_answer, record_error};
use crate::limit::Admission;
use crate::model::{Reply, ServerId};
use crate::rpc::answer::error_response;
use crate::rpc::{Message, Method, Shape};
use crate::select::Lease;
use crate::tasks::Tasks;

/// How long a server may take to accept the notice that the request has no waiting caller any more.
const CANCELLING: Duration = Duration::from_secs(2);

/// The state that the gateway needs to return an answer to its client.
#[derive(Debug)]
pub(crate) struct Answering {
    pub(crate) relay: Relay,
    pub(crate) upstream_id: u64,
    pub(crate) client_id: SmolStr,
    pub(crate) token: Option<String>,
    pub(crate) server: ServerId,
    /// The method of the request.
    pub(crate) method: Method,
    /// The answer is a list of tasks.
    pub(crate) lists_tasks: bool,
    handing: Handing,
}

/// The time spent on forwarding the server's messages, during which nobody waited for the server.
#[derive(Debug, Default)]
struct Handing {
    so_far: Duration,
    since: Option<Tick>,
}

impl Handing {
    fn begin(&mut self, now: Tick) {
        self.since = Some(now);
    }

    fn end(&mut self, now: Tick) {
        self.so_far = self.until(now);
        self.since = None;
    }

    fn until(&self, now: Tick) -> Duration {
        self.so_far + self.since.map_or(Duration::ZERO, |since| now.since(since))
    }
}

/// An answer that comes as a stream, and the state that lasts as long as the stream.
pub(crate) struct Flow {
    pub(crate) answering: Answering,
    pub(crate) messages: BoxStream<'static, Result<Message>>,
    pub(crate) lease: Lease,
    pub(crate) started: Tick,
    pub(crate) deadline: Tick,
    pub(crate) limits: TimeLimits,
    pub(crate) context: CallContext,
    /// Notified each time that the server ends its stream and wants a request for the rest.
    pub(crate) pauses: Option<Arc<Notify>>,
}

impl Core {
    /// Forwards the messages of a stream to the client as they come. A client that does not take streams gets the answer alone,
    /// and the rest on the stream of its session.
    pub(crate) async fn follow(self: &Arc<Self>, flow: Flow) -> Result<Reply> {
        let server = Some(flow.answering.server);
        if !flow.context.streams {
            let record = Arc::clone(&flow.context.record);
            let (body, kept) = flow.run(self, None).await;
            let body = body?;
            record.keep(kept);
            return Ok(Reply::Message { body, session: None, server });
        }
        let (sink, messages, numbering) = Sink::of(&flow.context);
        let gateway = Arc::clone(self);
        self.tasks.spawn(async move {
            let (id, era) = (flow.answering.client_id.clone(), flow.context.era());
            let record = Arc::clone(&flow.context.record);
            let (outcome, kept) = flow.run(&gateway, Some(&sink)).await;
            let outcome = match outcome {
                Ok(answer) => sink.answer(answer, kept).await,
                failed => {
                    drop(kept);
                    failed
                }
            };
            record.outcome(outcome.as_ref().err());
            let now = gateway.clock.now();
            drop((record, gateway));
            let last = outcome.unwrap_or_else(|error| error_response(Some(&id), &error, era));
            sink.end(last, now).await;
        });
        Ok(Reply::Stream { messages, server, numbering })
    }
}

impl Flow {
    /// Reads the server's messages up to its answer, which it returns with the client's own id, and with what the call holds;
    /// earlier messages go to `sink`.
    async fn run(mut self, gateway: &Arc<Core>, sink: Option<&Sink>) -> (Result<Bytes>, (Lease, Admission)) {
        let outcome = self.read(gateway, sink).await;
        (outcome, (self.lease, self.context.admission))
    }

    async fn read(&mut self, gateway: &Arc<Core>, sink: Option<&Sink>) -> Result<Bytes> {
        let clock = &gateway.clock;
        let left = self.deadline.since(clock.now());
        let in_all = (self.started + self.limits.total).since(clock.now());
        let (limits, idle_timer) = (self.limits, IdleTimer::default());
        let gone = async {
            match sink {
                Some(sink) if self.context.departure() == Departure::Cancels => sink.left().await,
                _ => std::future::pending().await,
            }
        };
        let pauses = self.pauses.take();
        let pausing = OptionFuture::from(sink.map(|sink| sink.pause(pauses.as_deref())));
        let mut late = false;
        let end = tokio::select! {
            biased;
            Some(never) = pausing => match never {},
            end = self.answering.pump(gateway, &self.context, &mut self.messages, sink, &idle_timer) => end,
            () = self.context.cancel().cancelled() => Err(Error::new(ErrorKind::Cancelled, "the call was cancelled")),
            () = gone => Err(Error::new(ErrorKind::Cancelled, "the client closed the stream of its call")),
            passed = idle_timer.passed(limits, left, in_all) => {
                late = true;
                Err(limits.error(passed, gateway.name_of(self.answering.server).as_deref().unwrap_or("the server")))
            }
        };
        let now = clock.now();
        let took = now.since(self.started);
        // A deadline that passes while the client does not read says nothing about the server.
        let hindered = late && !took.is_zero() && self.answering.handing.until(now) * 2 >= took;
        match end {
            Ok(message) => {
                record_answer(&mut self.lease, &message, took, now);
                let message = gateway.of_tasks(&self.context, &self.answering, message);
                gateway.reads.part_from(self.answering.server);
                Ok(self.answering.response(&message))
            }
            Err(_) if hindered => {
                self.lease.record(Outcome::Ignored, took, now);
                let seconds = took.as_secs();
                let text = format!("timed out after {seconds} s; the client was not reading the stream");
                Err(self.failed(gateway, Error::new(ErrorKind::Timeout, text)))
            }
            Err(error) => {
                record_error(&mut self.lease, &error, took, now);
                Err(self.failed(gateway, error))
            }
        }
    }

    /// The error as the client gets it; the server is notified where it would otherwise go on.
    fn failed(&self, gateway: &Core, error: Error) -> Error {
        if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Timeout) {
            self.answering.give_up(&gateway.tasks, &self.context);
        }
        let error = match gateway.replica(self.answering.server) {
            Some(replica) => {
                error.with("service", &replica.server.service).with("server", &replica.server.name)
            }
            None => error,
        };
        self.context.settle(error)
    }
}

impl Answering {
    pub(crate) fn new(
        relay: Relay,
        upstream_id: u64,
        client_id: &str,
        token: Option<String>,
        server: ServerId,
    ) -> Self {
        let handing = Handing::default();
        let method = Method::Ping;
        Self {
            relay,
            upstream_id,
            client_id: client_id.into(),
            token,
            server,
            method,
            lists_tasks: false,
            handing,
        }
    }

    /// The response with the client's own id.
    pub(crate) fn response(&self, message: &Message) -> Bytes {
        if let Some(client) = self.relay.client.as_ref().filter(|_| self.relay.session.declares("tasks")) {
            client.bound.answered(message, self.server);
        }
        message.with_id(&*self.client_id).apply(message.bytes())
    }

    /// Tells the server, in the background, that nobody waits for the answer any more.
    pub(crate) fn give_up(&self, tasks: &Tasks, context: &CallContext) {
        if self.relay.session.cancels_when_dropped() {
            return;
        }
        let reason = context.record.active().reason.get().map_or(r#""no longer wanted""#, String::as_str);
        let params = format!(r#"{{"requestId":{},"reason":{reason}}}"#, self.upstream_id);
        let message = Message::request(None, "notifications/cancelled", Some(&params));
        let session = Arc::clone(&self.relay.session);
        let correlation_id = Arc::clone(&context.correlation_id);
        tasks.spawn(async move {
            let told = tokio::time::timeout(CANCELLING, session.notify(message)).await;
            if !matches!(told, Ok(Ok(()))) {
                let correlation_id = &*correlation_id;
                tracing::debug!(correlation_id, "a server could not be told that a call was cancelled");
            }
        });
    }

    async fn pump(
        &mut self,
        gateway: &Arc<Core>,
        context: &CallContext,
        messages: &mut BoxStream<'static, Result<Message>>,
        sink: Option<&Sink>,
        idle_timer: &IdleTimer,
    ) -> Result<Message> {
        while let Some(next) = messages.next().await {
            let message = next?;
            if message.method() == Some(&Method::Progress) {
                idle_timer.renew();
            }
            if message.shape() == Shape::Response {
                if message.id_number() == Some(self.upstream_id) {
                    return Ok(message);
                }
                tracing::warn!(
                    correlation_id = &*context.correlation_id,
                    server = gateway.replica(self.server).map(|replica| replica.server.name.clone()),
                    "a server answered a question that was not asked here; the answer is dropped"
                );
                continue;
            }
            self.handing.begin(gateway.clock.now());
            let token = self.token.as_deref().map(|own| (self.upstream_id, own));
            gateway.pass(&self.relay, &message, token, sink).await?;
            self.handing.end(gateway.clock.now());
        }
        Err(Error::new(ErrorKind::BadUpstream, "the server ended its stream without an answer"))
    }
}

#[cfg(test)]
mod tests;
