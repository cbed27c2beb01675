//! Equal reads at once are one fetch.
//!
//! A read is equal to another if the server could not tell them apart and the same caller may have the answer: the same view of
//! the service, authorization context, session, method, params (ids and trace contexts aside) and headers that are sent on. The
//! first is sent; those that come while it is under way wait for its answer. Nothing is kept once the answer is there.
//!
//! An answer is never older than the request for it could expect: once a call of a service is answered, or one of its servers says
//! that a list has changed, no read joins a fetch that began before.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::affinity;
use super::context::{CallContext, ForwardPlan, ForwardRequest};
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::routing::service::Service;
use crate::model::ids::KeyId;
use crate::model::{Reply, Role, ServerId, TenantId};
use crate::rpc::version::Era;
use crate::rpc::{Members, Message, Method, headers};

/// The members of `_meta` that tell requests apart for nobody but a trace.
const TRACE: [&str; 3] = ["traceparent", "tracestate", "baggage"];

/// The reads under way that others may join.
#[derive(Debug, Default)]
pub(crate) struct SharedReads {
    reads: Mutex<HashMap<ReadKey, SharedRead>>,
    /// The number of them: a call that is answered takes the lock only if there are any.
    open: AtomicUsize,
    joined: AtomicU64,
}

#[derive(Debug)]
struct SharedRead {
    service: Arc<Service>,
    end: watch::Receiver<Option<End>>,
}

/// The end of a read, for those that joined it.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// The response, with the id of the request that was sent.
    Answer(Message, Option<ServerId>),
    /// An error response to a modern client.
    Refused(Message, i32, Option<ServerId>),
    /// It failed.
    Failed(Arc<Error>),
    /// The answer is for the caller of the request alone.
    Alone,
}

/// Everything that tells reads apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ReadKey {
    /// Where the view of the service lies in memory, which is kept as long as reads of it are under way.
    service: usize,
    caller: (TenantId, Arc<str>, Role, Option<KeyId>),
    session: Option<Arc<str>>,
    era: Era,
    maker: Option<ServerId>,
    affinity: Option<u64>,
    method: Method,
    text: String,
}

impl ReadKey {
    /// The key of a request, if it is a read whose answer can be given to others: a list or a resource, asked for without a
    /// progress token. A resource is left alone where the server may ask its reader something.
    pub(crate) fn of(request: &ForwardRequest) -> Option<Self> {
        let ForwardRequest { forward, context, .. } = request;
        let method = forward.method();
        if !method.is_cacheable() || (!method.is_list() && can_be_asked(context)) {
            return None;
        }
        let modern = context.modern.as_ref();
        if modern.is_some_and(|modern| modern.log_level.is_some()) {
            return None;
        }
        let mut text = comparable(&forward.message)?;
        sent_along(context, &mut text);
        let principal = &context.principal;
        let first = forward.service.replicas.first();
        Some(Self {
            service: Arc::as_ptr(&forward.service).addr(),
            caller: (
                principal.tenant.clone(),
                Arc::clone(&principal.subject),
                principal.role,
                principal.grant.as_ref().and_then(|grant| grant.key),
            ),
            session: context.client.as_ref().map(|client| Arc::clone(&client.id)),
            era: context.era(),
            maker: forward.maker,
            affinity: first.and_then(|first| affinity::key(&first.server, context, &forward.message)),
            method: method.clone(),
            text,
        })
    }
}

/// The headers and hints of the request that decide where it goes and what its server gets.
fn sent_along(context: &CallContext, text: &mut String) {
    if context.modern.is_some() {
        let sent = context.headers.iter();
        for (name, value) in sent.filter(|(name, _)| name.as_str().starts_with(headers::PARAM_PREFIX)) {
            // Writing into a string cannot fail.
            let _ = write!(text, "\n{name}: {value:?}");
        }
    }
    if let Some(hints) = &context.hints {
        let _ = write!(text, "\n{hints:?}");
    }
}

/// Whether a server may ask the caller something in the middle of a call.
fn can_be_asked(context: &CallContext) -> bool {
    let declared = |capabilities: &str| {
        let Ok(members) = Members::parse(capabilities) else { return true };
        ["sampling", "elicitation", "roots", "tasks"].iter().any(|name| members.get(name).is_some())
    };
    match (&context.modern, &context.client) {
        (Some(modern), _) => declared(&modern.capabilities),
        (None, Some(client)) => client.can_be_asked(),
        (None, None) => false,
    }
}

/// The params without what only a trace tells apart; `None` if they name the one request that they came with.
fn comparable(message: &Message) -> Option<String> {
    let Some(params) = message.params() else { return Some(String::new()) };
    let mut text = String::with_capacity(params.len());
    let params = Members::parse(params).ok()?;
    for (key, value) in params.iter() {
        match key {
            "inputResponses" | "requestState" => return None,
            "_meta" => {
                let meta = Members::parse(value).ok()?;
                if meta.get("progressToken").is_some() {
                    return None;
                }
                for (key, value) in meta.iter().filter(|(key, _)| !TRACE.contains(key)) {
                    let _ = writeln!(text, "_meta {key:?}: {value}");
                }
            }
            _ => {
                let _ = writeln!(text, "{key:?}: {value}");
            }
        }
    }
    Some(text)
}

/// The part that a read plays.
pub(crate) enum Part<'r> {
    /// It is sent, and its end told to those that join.
    Leads(Leading<'r>),
    /// It waits for the end of one that is under way.
    Joins(watch::Receiver<Option<End>>),
}

/// A read that is sent. Dropped without an end, those that joined it are sent themselves: one, and the others join that.
pub(crate) struct Leading<'r> {
    reads: &'r SharedReads,
    key: ReadKey,
    end: watch::Sender<Option<End>>,
}

impl SharedReads {
    /// The part of a read of this key, which is one of `service`.
    pub(crate) fn join(&self, key: &ReadKey, service: &Arc<Service>) -> Part<'_> {
        let mut reads = self.lock();
        if let Some(read) = reads.get(key) {
            self.joined.fetch_add(1, Ordering::Relaxed);
            return Part::Joins(read.end.clone());
        }
        let (end, receiver) = watch::channel(None);
        reads.insert(key.clone(), SharedRead { service: Arc::clone(service), end: receiver });
        self.open.store(reads.len(), Ordering::SeqCst);
        Part::Leads(Leading { reads: self, key: key.clone(), end })
    }

    /// No read joins from now on that is under way at a service with this server: something may have changed there.
    pub(crate) fn part_from(&self, server: ServerId) {
        if self.open.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut reads = self.lock();
        reads.retain(|_, read| read.service.replica(server).is_none());
        self.open.store(reads.len(), Ordering::SeqCst);
    }

    /// Reads that were answered by another one's fetch.
    pub(crate) fn joined(&self) -> u64 {
        self.joined.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ReadKey, SharedRead>> {
        // Every change is one insert, remove or retain.
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leading<'_> {
    /// Tells the end to those that joined; those that come later ask anew.
    pub(crate) fn tell(self, outcome: &Result<Reply>) {
        self.withdraw();
        if self.end.receiver_count() > 0
            && let Some(end) = end_of(outcome)
        {
            self.end.send_replace(Some(end));
        }
    }

    fn withdraw(&self) {
        let mut reads = self.reads.lock();
        // Another one may lead meanwhile.
        if reads.get(&self.key).is_some_and(|read| read.end.same_channel(&self.end.subscribe())) {
            reads.remove(&self.key);
        }
        self.reads.open.store(reads.len(), Ordering::SeqCst);
    }
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

/// The end as those that joined get it; `None` if it says nothing about the server: they ask themselves.
fn end_of(outcome: &Result<Reply>) -> Option<End> {
    Some(match outcome {
        Err(error) if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::SessionNotFound) => {
            return None;
        }
        Err(error) => End::Failed(Arc::new(error.repeat())),
        Ok(Reply::Message { body, server, .. }) => match Message::parse(body.clone()) {
            Ok(message) if !asks(&message) => End::Answer(message, *server),
            _ => End::Alone,
        },
        Ok(Reply::Refused { body, code, server }) => match Message::parse(body.clone()) {
            Ok(message) => End::Refused(message, *code, *server),
            Err(_) => End::Alone,
        },
        Ok(Reply::Stream { .. } | Reply::Accepted) => End::Alone,
    })
}

/// Whether the answer asks the client something: the state in it is bound to the one request.
fn asks(message: &Message) -> bool {
    let result = message.result().and_then(|result| Members::parse(result).ok());
    result.is_some_and(|result| result.text("resultType").is_some_and(|kind| kind != "complete"))
}

impl End {
    /// The reply to a request that joined; `None` if it has to be sent itself.
    pub(crate) fn reply_to(self, forward: &ForwardPlan, context: &CallContext) -> Option<Result<Reply>> {
        let id = forward.message.id().unwrap_or("null");
        let renumbered = |message: &Message| message.with_id(id).apply(message.bytes());
        Some(match self {
            Self::Answer(message, server) => {
                Ok(Reply::Message { body: renumbered(&message), session: None, server })
            }
            Self::Refused(message, code, server) => {
                Ok(Reply::Refused { body: renumbered(&message), code, server })
            }
            Self::Failed(error) => Err(context.settle(error.repeat())),
            Self::Alone => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(params: &str) -> Message {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{params}}}"#);
        Message::parse(text.into()).unwrap()
    }

    #[test]
    fn requests_are_compared_without_their_trace_and_never_if_they_carry_something_of_their_own() {
        let same = [r#"{"cursor":"a"}"#, r#"{"cursor":"a","_meta":{"traceparent":"00-1"}}"#];
        let [one, other] = same.map(|params| comparable(&message(params)).unwrap());
        assert_eq!(one, other);
        for different in
            [r#"{"cursor":"b"}"#, r#"{"cursor":"a","_meta":{"x":1}}"#, r#"{"cursor":"a","x":1}"#, "{}"]
        {
            assert_ne!(comparable(&message(different)).unwrap(), one, "{different}");
        }
        for own in [r#"{"_meta":{"progressToken":1}}"#, r#"{"requestState":"s"}"#, r#"{"inputResponses":{}}"#]
        {
            assert_eq!(comparable(&message(own)), None, "{own}");
        }
    }

    #[test]
    fn a_cancelled_read_tells_nothing_and_one_that_asks_is_for_its_caller_alone() {
        assert!(end_of(&Err(Error::new(ErrorKind::Cancelled, "m"))).is_none());
        assert!(matches!(end_of(&Err(Error::new(ErrorKind::Timeout, "m"))), Some(End::Failed(_))));
        let answer =
            |result: &str| Ok(Reply::own(format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#).into()));
        assert!(matches!(end_of(&answer(r#"{"resultType":"complete"}"#)), Some(End::Answer(..))));
        assert!(matches!(end_of(&answer(r#"{"resultType":"input_required"}"#)), Some(End::Alone)));
    }
}
