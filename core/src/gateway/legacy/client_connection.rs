//! A client on one connection for both directions: standard input and output, or the HTTP+SSE of 2024-11-05.
//!
//! Such a client has no separate reply to each message: its messages come in, and all messages for it go out through one queue.
//! Every message goes through [`Gateway::handle`], as at any other entry point; this module only decides how calls run
//! concurrently on one connection:
//! - Messages are begun in the order in which they came, so that a cancellation finds the request that it is about.
//! - The queue is bounded. A client that does not read slows its own calls down, and nobody else's.
//! - A request that the client cancelled gets no answer, as the specification requires where answers share a connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::StreamExt;
use http::HeaderMap;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Credentials;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Gateway;
use crate::model::{Action, Call, Endpoint, Reply};
use crate::rpc::answer::error_response;
use crate::rpc::meta::Meta;
use crate::rpc::version::Era;
use crate::rpc::{Members, Message, Method, Shape};

/// Requests of one client in flight at once.
const REQUESTS: usize = 1024;
/// Notifications and answers of one client in flight at once; further ones wait.
const NOTES: usize = 64;
/// Messages that wait for a client that reads slowly.
const WAITING: usize = 32;

/// A client that is attached to the gateway. Clones share it.
#[derive(Clone, Debug)]
pub struct ClientConnection(Arc<ConnectionState>);

#[derive(Debug)]
struct ConnectionState {
    gateway: Gateway,
    route: Endpoint,
    /// As they were last shown.
    credentials: ArcSwap<Credentials>,
    /// Whether it is offered the gateway's own service.
    builtin: bool,
    out: mpsc::Sender<Bytes>,
    /// The legacy session, once it is opened.
    session: Mutex<Option<Arc<str>>>,
    /// Requests in flight by the client's ids, each with the token that cancels it.
    under_way: Mutex<HashMap<Box<str>, Arc<CancellationToken>>>,
    requests: Arc<Semaphore>,
    notes: Arc<Semaphore>,
    running: TaskTracker,
    over: CancellationToken,
}

impl ClientConnection {
    /// Attaches a client that calls with these credentials, and is offered the gateway's own service if `builtin` says so.
    /// Messages for the client come out of the receiver, which must be read.
    pub fn new(
        gateway: Gateway,
        route: Endpoint,
        credentials: Credentials,
        builtin: bool,
    ) -> (Self, mpsc::Receiver<Bytes>) {
        let (out, heard) = mpsc::channel(WAITING);
        let line = ConnectionState {
            gateway,
            route,
            credentials: ArcSwap::from_pointee(credentials),
            builtin,
            out,
            session: Mutex::default(),
            under_way: Mutex::default(),
            requests: Arc::new(Semaphore::new(REQUESTS)),
            notes: Arc::new(Semaphore::new(NOTES)),
            running: TaskTracker::new(),
            over: CancellationToken::new(),
        };
        (Self(Arc::new(line)), heard)
    }

    /// Calls with these credentials from now on: another token of the same principal.
    pub fn renew(&self, credentials: Credentials) {
        self.0.credentials.store(Arc::new(credentials));
    }

    /// Takes one message as it came in. Bytes that are no message are answered at once with an error that has no id.
    pub async fn receive(&self, bytes: Bytes, correlation_id: Arc<str>) {
        match Message::parse(bytes) {
            Ok(message) => self.take(message, correlation_id).await,
            Err(error) => self.refuse(None, &error).await,
        }
    }

    /// Takes one message. It has begun when this returns, and goes on by itself.
    pub async fn take(&self, message: Message, correlation_id: Arc<str>) {
        let is_request = message.shape() == Shape::Request;
        let is_held_open = message.method() == Some(&Method::Listen);
        let permits = if is_request { &self.0.requests } else { &self.0.notes };
        let permit = if is_request {
            let Ok(permit) = Arc::clone(permits).try_acquire_owned() else {
                let text = "as many requests of this connection are under way as may be; wait for some to be answered";
                let error = Error::new(ErrorKind::RateLimited, text).with("limit", REQUESTS);
                return self.refuse(message.id(), &error).await;
            };
            permit
        } else {
            // The semaphore is never closed.
            let Ok(permit) = Arc::clone(permits).acquire_owned().await else { return };
            permit
        };
        let line = Arc::clone(&self.0);
        let mut work = Box::pin(async move {
            line.carry_out(message, correlation_id).await;
            drop(permit);
        });
        // The first step runs in the order of arrival; the rest runs concurrently.
        if futures_util::poll!(&mut work).is_pending() {
            if is_held_open {
                // It ends with the connection, and nobody waits for that.
                self.0.gateway.tasks().spawn(work);
            } else {
                self.0.gateway.tasks().spawn(self.0.running.track_future(work));
            }
        }
    }

    /// Answers with an error that the entry point itself found.
    pub async fn refuse(&self, id: Option<&str>, error: &Error) {
        self.0.say(error_response(id, error, Era::Legacy)).await;
    }

    /// Waits until every message that was taken has been answered.
    pub async fn settled(&self) {
        self.0.running.close();
        self.0.running.wait().await;
        self.0.running.reopen();
    }

    /// Waits until the gateway has no more messages for this connection: the session ended, or the gateway stops.
    pub async fn over(&self) {
        let token = self.0.gateway.tasks().token();
        tokio::select! {
            () = self.0.over.cancelled() => {}
            () = token.cancelled() => {}
        }
    }

    /// Ends the session, if one was opened: calls in flight are cancelled.
    pub async fn end(&self) {
        self.0.over.cancel();
        let session = locked(&self.0.session).take();
        if let Some(session) = session {
            self.0.end(session).await;
        }
    }

    /// Whether the client has a session.
    pub fn has_session(&self) -> bool {
        locked(&self.0.session).is_some()
    }
}

impl ConnectionState {
    async fn carry_out(self: Arc<Self>, message: Message, correlation_id: Arc<str>) {
        if message.method() == Some(&Method::Cancelled) {
            self.silence(&message);
        }
        let turn = (message.shape() == Shape::Request).then(|| self.enter(message.id().unwrap_or("null")));
        let cancelled = || turn.as_ref().is_some_and(|turn| turn.cancelled.is_cancelled());
        if let (Some(turn), Ok(Some(_))) = (&turn, Meta::of(&message)) {
            // In this era further work of the server for a cancelled request is of no use.
            tokio::select! {
                () = self.carry_out_modern(message, correlation_id, turn) => {}
                () = turn.cancelled.cancelled() => {}
                () = self.over.cancelled() => {}
            }
            return;
        }
        match self.handle(Action::Send(message), Era::Legacy, correlation_id).await {
            Ok(Reply::Refused { body, .. }) => self.say(body).await,
            Ok(Reply::Message { body, session, .. }) => {
                let replaced =
                    session.as_ref().and_then(|new| locked(&self.session).replace(Arc::clone(new)));
                if !cancelled() {
                    self.say(body).await;
                }
                if let Some(replaced) = replaced {
                    Box::pin(self.end(replaced)).await;
                }
                if let Some(session) = session {
                    Box::pin(self.listen(session)).await;
                }
            }
            Ok(Reply::Stream { mut messages, .. }) => {
                while let Some(message) = messages.next().await {
                    if !cancelled() {
                        self.say(message).await;
                    }
                }
            }
            Ok(Reply::Accepted) => {}
            Err(error) => match &turn {
                Some(turn) if !cancelled() => {
                    self.say(error_response(Some(&turn.id), &error, Era::Legacy)).await;
                }
                Some(_) => {}
                None => tracing::debug!(%error, "a client's notification or answer led to nothing"),
            },
        }
    }

    /// Carries out a request that is complete in itself. The request is cancelled when this is dropped.
    async fn carry_out_modern(&self, message: Message, correlation_id: Arc<str>, turn: &EnteredRequest) {
        match self.handle(Action::Send(message), Era::Modern, correlation_id).await {
            Ok(Reply::Message { body, .. } | Reply::Refused { body, .. }) => self.say(body).await,
            Ok(Reply::Stream { mut messages, .. }) => {
                while let Some(message) = messages.next().await {
                    self.say(message).await;
                }
            }
            Ok(Reply::Accepted) => {}
            Err(error) => self.say(error_response(Some(&turn.id), &error, Era::Modern)).await,
        }
    }

    async fn handle(&self, action: Action, era: Era, correlation_id: Arc<str>) -> Result<Reply> {
        let opens = matches!(&action, Action::Send(message) if message.method() == Some(&Method::Initialize));
        let session = locked(&self.session).as_deref().map(str::to_owned).filter(|_| !opens);
        if session.is_none() && era == Era::Legacy && !opens {
            let message = "this connection has no session yet; send `initialize` first";
            return Err(Error::new(ErrorKind::InvalidRequest, message));
        }
        let call = Call {
            route: self.route.clone(),
            action,
            era,
            session,
            headers: HeaderMap::new(),
            correlation_id,
            streams: true,
            resumes: false,
            hints: None,
            builtin: self.builtin,
            over_network: false,
        };
        self.gateway.handle(call, &self.credentials.load_full()).await
    }

    /// Sends the client the messages that belong to none of its requests, as long as the session lives.
    async fn listen(self: &Arc<Self>, session: Arc<str>) {
        let Ok(Reply::Stream { mut messages, .. }) = self.handle(Action::Listen, Era::Legacy, own_id()).await
        else {
            return;
        };
        let line = Arc::clone(self);
        self.gateway.tasks().spawn(async move {
            while let Some(message) = messages.next().await {
                line.say(message).await;
            }
            // Another session may have replaced it.
            if locked(&line.session).as_ref() == Some(&session) {
                line.over.cancel();
            }
        });
    }

    async fn end(&self, session: Arc<str>) {
        let call = Call {
            route: self.route.clone(),
            action: Action::End,
            era: Era::Legacy,
            session: Some(session.to_string()),
            headers: HeaderMap::new(),
            correlation_id: own_id(),
            streams: false,
            resumes: false,
            hints: None,
            builtin: self.builtin,
            over_network: false,
        };
        if let Err(error) = self.gateway.handle(call, &self.credentials.load_full()).await {
            tracing::debug!(%error, "the session had ended already");
        }
    }

    async fn say(&self, message: Bytes) {
        // A client that no longer reads has left.
        let _ = self.out.send(message).await;
    }

    fn enter(self: &Arc<Self>, id: &str) -> EnteredRequest {
        let turn = EnteredRequest { line: Arc::clone(self), id: id.into(), cancelled: Arc::default() };
        locked(&self.under_way).insert(turn.id.clone(), Arc::clone(&turn.cancelled));
        turn
    }

    /// Suppresses the answer to the request that `message` cancels.
    fn silence(&self, message: &Message) {
        let params = message.params().and_then(|params| Members::parse(params).ok());
        let Some(id) = params.as_ref().and_then(|params| params.get("requestId")) else { return };
        if let Some(cancelled) = locked(&self.under_way).get(id) {
            cancelled.cancel();
        }
    }
}

/// A request in flight, entered until this is dropped.
struct EnteredRequest {
    line: Arc<ConnectionState>,
    id: Box<str>,
    cancelled: Arc<CancellationToken>,
}

impl Drop for EnteredRequest {
    fn drop(&mut self) {
        let mut under_way = locked(&self.line.under_way);
        // Of two requests with the same id, the later one stays entered.
        if under_way.get(&self.id).is_some_and(|entered| Arc::ptr_eq(entered, &self.cancelled)) {
            under_way.remove(&self.id);
        }
    }
}

fn own_id() -> Arc<str> {
    uuid::Uuid::new_v4().to_string().into()
}

/// A panic elsewhere cannot leave these half changed: every change is one insert, replace or remove.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
