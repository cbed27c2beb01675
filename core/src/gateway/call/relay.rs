//! Relays a server's messages to a client: ids and progress tokens mapped back, server requests numbered anew.
//!
//! A message that cannot be delivered to its owner is dropped; a server request that no client can answer is answered for the
//! client, so that the server does not wait.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::sink::Sink;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Core;
use crate::gateway::session::client::Client;
use crate::gateway::session::outbox::List;
use crate::gateway::session::pending_requests::PendingRequest;
use crate::model::ServerId;
use crate::rpc::answer::result_response;
use crate::rpc::object::range_in;
use crate::rpc::{Members, Message, Method, Shape, Splice};
use crate::transport::Session;
use bytes::Bytes;

/// How long a server may take to accept a notification or an answer.
pub(crate) const TAKING: Duration = Duration::from_secs(10);
/// The interval of the check for server requests that no stream takes: one that waits from one check to the next but one is
/// answered for the client.
const LOOK: Duration = Duration::from_secs(30);

/// Made once: making it costs more than the search.
static TOKEN: LazyLock<memchr::memmem::Finder<'static>> =
    LazyLock::new(|| memchr::memmem::Finder::new(b"progressToken"));

/// The return path from one session with a server to one client.
#[derive(Clone, Debug)]
pub(crate) struct Relay {
    /// The client that gets requests and notifications; `None` for calls without a session.
    pub(crate) client: Option<Arc<Client>>,
    pub(crate) session: Arc<Session>,
    pub(crate) server: ServerId,
}

/// The outcome of a server's message.
#[derive(Debug)]
enum Heard {
    /// The client gets this message.
    Message(Bytes),
    /// The client gets this request, under this number.
    Question(u64, Bytes),
    /// The server gets this in return.
    Return(Bytes),
    /// Nobody gets anything.
    Nothing,
}

impl Core {
    /// Delivers a notification or a request of the server: into the `sink` of the call that it belongs to, otherwise to the
    /// client's own stream. `token` is the progress token that the server was given, and the client's own, byte for byte. An
    /// error if the server does not accept the reply.
    pub(crate) async fn pass(
        self: &Arc<Self>,
        relay: &Relay,
        message: &Message,
        token: Option<(u64, &str)>,
        sink: Option<&Sink>,
    ) -> Result<()> {
        if let Some(list) = changed_list(message) {
            self.discover_changed(relay.server);
            self.reads.part_from(relay.server);
            if relay.client.is_none() {
                self.tell_change(relay.server, list);
            }
            if let Some(client) = &relay.client {
                // The merged lists change when discovery has seen the change, and clients are told then.
                if client.route.is_aggregated() {
                    return Ok(());
                }
                if sink.is_none() {
                    client.outbox.announce(list, message.bytes().clone(), &self.tasks);
                    return Ok(());
                }
            }
        }
        let (heard, crowded_out) = relay.hear(message, token);
        refuse(crowded_out).await;
        match (heard, &relay.client) {
            (Heard::Message(message), client) => match (sink, client) {
                (Some(sink), _) => sink.send(message).await,
                (None, Some(client)) => drop(client.outbox.push(message, None)),
                (None, None) => {}
            },
            (Heard::Question(number, message), Some(client)) => {
                let unasked = match sink {
                    Some(sink) => sink.ask(message).await,
                    None => Some(message),
                };
                if let Some(message) = unasked {
                    self.ask_outside(client, number, message).await;
                }
            }
            (Heard::Return(message), _) => {
                let late = |_| {
                    Error::new(ErrorKind::Timeout, "the server did not accept the client's answer in time")
                };
                tokio::time::timeout(TAKING, relay.session.notify(message)).await.map_err(late)??;
            }
            (Heard::Question(..) | Heard::Nothing, _) => {}
        }
        Ok(())
    }

    /// Puts a server request on the client's own stream. One that no stream takes is answered for the client.
    async fn ask_outside(&self, client: &Arc<Client>, number: u64, message: Bytes) {
        if !client.outbox.push(message, Some(number)) {
            return refuse(client.questions.take(number)).await;
        }
        if !client.outbox.begin_to_mind() {
            return;
        }
        let client = Arc::clone(client);
        self.tasks.spawn(async move {
            while let Some(untaken) = client.outbox.untaken() {
                for number in untaken {
                    refuse(client.questions.take(number)).await;
                }
                tokio::select! {
                    () = client.ended.cancelled() => return,
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
        });
    }
}

/// Tells a server that its request will not be answered.
async fn refuse(asked: Option<PendingRequest>) {
    let Some(asked) = asked else { return };
    let told = tokio::time::timeout(TAKING, asked.session.notify(unanswerable(&asked.raw_id))).await;
    if !matches!(told, Ok(Ok(()))) {
        tracing::debug!(session = ?asked.session, "a server could not be told that its question is not answered");
    }
}

impl Relay {
    /// The outcome of `message`, and the server request that had to make room for it.
    fn hear(&self, message: &Message, token: Option<(u64, &str)>) -> (Heard, Option<PendingRequest>) {
        let heard = match message.shape() {
            Shape::Request => return self.question(message),
            Shape::Notification => match message.method() {
                Some(Method::Progress) => progress(message, token),
                Some(Method::Cancelled) => self.question_cancelled(message),
                _ => Heard::Message(message.bytes().clone()),
            },
            Shape::Response => Heard::Nothing,
        };
        (heard, None)
    }

    fn question(&self, message: &Message) -> (Heard, Option<PendingRequest>) {
        let id = message.id().unwrap_or("null");
        if message.method() == Some(&Method::Ping) {
            return (Heard::Return(result_response(id, "{}")), None);
        }
        // On a shared session no client declared that it takes requests.
        let client = self.client.as_ref().filter(|_| self.session.is_own());
        let token = progress_token(message);
        let raw_token = token.as_ref().map(|(_, token)| token.as_str());
        let entered = client.and_then(|client| client.questions.enter(&self.session, id, raw_token));
        let Some((number, oldest)) = entered else {
            return (Heard::Return(unanswerable(id)), None);
        };
        let mut splice = message.with_id(number.to_string());
        if let Some((range, _)) = token {
            splice.replace(range, number.to_string());
        }
        (Heard::Question(number, splice.apply(message.bytes())), oldest)
    }

    fn question_cancelled(&self, message: &Message) -> Heard {
        let mapped = || {
            let client = self.client.as_ref()?;
            let params = message.params()?;
            let members = Members::parse(params).ok()?;
            let raw = members.get("requestId")?;
            let number = client.questions.number(&self.session, raw)?;
            // Nobody waits for the answer any more.
            client.questions.take(number);
            if client.outbox.withdraw(number) {
                return None;
            }
            let mut splice = Splice::new();
            splice.replace(message.range_of(raw), number.to_string());
            Some(splice.apply(message.bytes()))
        };
        mapped().map_or(Heard::Nothing, Heard::Message)
    }
}

/// A client's progress notification for the server that asked for it: the session, and the message with the server's own token.
pub(crate) fn client_progress(message: &Message, client: &Client) -> Option<(Arc<Session>, Bytes)> {
    let members = Members::parse(message.params()?).ok()?;
    let raw = members.get("progressToken")?;
    let asked = client.questions.get(raw.parse().ok()?)?;
    let mut splice = Splice::new();
    splice.replace(message.range_of(raw), String::from(asked.raw_token?));
    Some((asked.session, splice.apply(message.bytes())))
}

/// Progress carries the gateway's token; the client gets its own.
fn progress(message: &Message, token: Option<(u64, &str)>) -> Heard {
    mapped_progress(message, token).map_or(Heard::Nothing, Heard::Message)
}

/// Progress of the request that was given the gateway's token, with the client's own.
pub(crate) fn mapped_progress(message: &Message, token: Option<(u64, &str)>) -> Option<Bytes> {
    let (given, own) = token?;
    let params = message.params()?;
    let members = Members::parse(params).ok()?;
    let raw = members.get("progressToken")?;
    if raw.parse() != Ok(given) {
        return None;
    }
    let mut splice = Splice::new();
    splice.replace(message.range_of(raw), own);
    Some(splice.apply(message.bytes()))
}

fn unanswerable(id: &str) -> Bytes {
    let error = r#"{"code":-32601,"message":"no client can be asked here"}"#;
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#).into()
}

/// The range of the progress token in a request's params, and the token.
pub(crate) fn progress_token(message: &Message) -> Option<(std::ops::Range<usize>, String)> {
    // Most requests have none: one search is cheaper than reading every object.
    // A key can also be written with escapes, and what is not seen is not mapped.
    let bytes = message.params_bytes()?;
    if TOKEN.find(bytes).is_none() && memchr::memchr(b'\\', bytes).is_none() {
        return None;
    }
    let params = message.params()?;
    let members = Members::parse(params).ok()?;
    let meta = members.get("_meta")?;
    let meta_members = Members::parse(meta).ok()?;
    let token = meta_members.get("progressToken")?;
    let base = message.range_of(params).start;
    let range = range_in(params, token);
    Some((base + range.start..base + range.end, token.to_owned()))
}

/// The list that the message says has changed.
pub(crate) fn changed_list(message: &Message) -> Option<List> {
    match message.method()? {
        Method::ToolsChanged => Some(List::Tools),
        Method::ResourcesChanged => Some(List::Resources),
        Method::PromptsChanged => Some(List::Prompts),
        _ => None,
    }
}
