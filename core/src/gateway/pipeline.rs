//! The path of a call, from every entry point: authenticate, admit, resolve, send.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};

use super::call::modern::Modern;
use super::modern;
use super::{Core, Gateway};
use crate::auth::{Credentials, Operation};
use crate::clock::Tick;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::call::audit::is_refusal;
use crate::gateway::call::builtin;
use crate::gateway::call::context;
use crate::gateway::call::context::{CallContext, Destination, ForwardRequest};
use crate::gateway::call::lists::list_kind;
use crate::gateway::call::ongoing::{Ongoing, conclude};
use crate::gateway::call::reads::ReadKey;
use crate::gateway::legacy::conversation::take_up;
use crate::gateway::routing::service::Replica;
use crate::gateway::session::client::Client;
use crate::gateway::session::open_streams::OpenStream;
use crate::model::{Action, Call, CapabilityKind, Endpoint, Principal, Reply};
use crate::observe::Record;
use crate::rpc::answer::result_response;
use crate::rpc::method::RoutingKey;
use crate::rpc::version::Era;
use crate::rpc::{Message, Method, Shape};
use crate::transport::unread::{HasRoom as _, SMALL};

/// The action that a call resolves to; small, since it is passed on many times.
pub(crate) enum ResolvedCall {
    Open(Box<(Message, CallContext)>),
    Answer(Bytes),
    List(CapabilityKind, Box<(Message, CallContext)>),
    SetLevel(Box<(Message, CallContext)>),
    Forward(Box<ForwardRequest>),
    Note(Box<(Message, CallContext)>, Arc<Client>),
    Listen(Arc<Client>, Box<CallContext>),
    Resume(Arc<Client>, Box<str>, Box<CallContext>),
    Modern(Box<modern::ModernCall>, Box<CallContext>),
    Own(Box<builtin::BuiltinRequest>, Box<CallContext>),
    End(Arc<Client>, Box<CallContext>),
}

/// The action of the gateway itself for a legacy request.
enum Local {
    Open,
    Answer(Bytes),
    SetLevel,
    List(CapabilityKind),
}

impl Gateway {
    /// Takes one call and returns its reply. Every entry point calls this, and every decision lies inside of it.
    pub fn handle(
        &self,
        call: impl Into<Box<Call>>,
        credentials: &Credentials,
    ) -> impl Future<Output = Result<Reply>> + Send {
        // A call is hundreds of bytes, and each future that takes it would hold it twice.
        self.carry_out(call.into(), credentials)
    }

    async fn carry_out(&self, call: Box<Call>, credentials: &Credentials) -> Result<Reply> {
        let inner = &self.0;
        let record = inner.calls.begin(&call);
        let era = call.era;
        let outcome = match inner.admit(call, credentials, &record).await {
            Ok((route, resolved)) => {
                let running = AssertUnwindSafe(inner.run(&route, resolved, &record)).catch_unwind();
                running.await.unwrap_or_else(|_| Err(panicked()))
            }
            Err(error) => Err(error),
        };
        let outcome = match outcome {
            Ok(reply) if counts(&reply, era) => Box::pin(counted(reply, &record)).await,
            outcome => outcome,
        };
        conclude(&record, &outcome);
        match &outcome {
            Err(error) if is_refusal(error) => inner.audit_refusal(credentials, &record, error),
            _ => inner.observers.answered(record.active(), outcome.as_ref().err()),
        }
        outcome
    }
}

impl Core {
    /// Authenticates and admits a call, and resolves its action.
    async fn admit(
        &self,
        call: Box<Call>,
        credentials: &Credentials,
        record: &Arc<Record>,
    ) -> Result<(Endpoint, ResolvedCall)> {
        let principal = self.auth.authenticate(credentials).get().await?.at_door(call.builtin);
        // Set once: the record was begun by this very call. Before the limits, so that a refusal by them has a name.
        let _ = record.active().principal.set(principal.clone());
        let admission = self.limiter.admit(&principal).get().await?;
        self.gone.check(&principal)?;
        principal.may(Operation::of(&call.action))?;
        let modern = Modern::of(&call)?;
        let client = match self.client_of(&principal, &call, record.active().since) {
            Err(error) if error.kind() == ErrorKind::SessionNotFound => {
                Box::pin(self.note_owner(&call)).await;
                return Err(error);
            }
            found => found?,
        };
        let keeps_streams = client.is_some();
        let Call { route, action, headers, correlation_id, streams, resumes, hints, .. } = *call;
        let context = CallContext {
            principal,
            client,
            correlation_id,
            headers,
            streams,
            resumes: resumes && keeps_streams,
            hints,
            record: Arc::clone(record),
            modern,
            landing: None,
            admission,
        };
        let resolved = self.resolve(&route, action, context)?;
        Ok((route, resolved))
    }

    /// The session that the call belongs to. A call must have one unless it opens one or stands alone.
    fn client_of(&self, principal: &Principal, call: &Call, now: Tick) -> Result<Option<Arc<Client>>> {
        // While the gateway drains, calls under way may go on: answers to servers, cancellations, ends of sessions.
        let begins = match &call.action {
            Action::Send(message) => message.shape() == Shape::Request,
            Action::Listen | Action::Resume(_) => true,
            Action::End => false,
        };
        if begins && self.is_stopping() {
            return Err(Error::new(ErrorKind::Unavailable, "the gateway is shutting down").not_sent());
        }
        let opens =
            matches!(&call.action, Action::Send(message) if message.method() == Some(&Method::Initialize));
        // A modern request belongs to no session, whatever its headers say.
        if opens || call.hints.is_some() || call.era == Era::Modern {
            return Ok(None);
        }
        let Some(id) = &call.session else {
            if call.action.stands_alone() {
                return Ok(None);
            }
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                "the header Mcp-Session-Id is missing; send `initialize` first and then the id that it returns",
            ));
        };
        let client = self.sessions.find(id, principal, &call.route)?;
        client.touch(now);
        Ok(Some(client))
    }

    /// Logs which other replica has the session of a call that this one does not know. The client learns only that it must
    /// initialize again: the id may be somebody else's.
    async fn note_owner(&self, call: &Call) {
        let Some(id) = &call.session else { return };
        if let Some(node) = self.cluster.sessions.owner(id).get().await {
            tracing::info!(correlation_id = &*call.correlation_id, %node, "a call came for a session of another replica");
        }
    }

    /// Resolves the action of the call, without I/O.
    pub(crate) fn resolve(
        &self,
        route: &Endpoint,
        action: Action,
        mut context: CallContext,
    ) -> Result<ResolvedCall> {
        let message = match action {
            Action::Send(message) => message,
            Action::Listen => return Ok(ResolvedCall::Listen(client_in(&context)?, Box::new(context))),
            Action::Resume(id) => {
                return Ok(ResolvedCall::Resume(client_in(&context)?, id, Box::new(context)));
            }
            Action::End => return Ok(ResolvedCall::End(client_in(&context)?, Box::new(context))),
        };
        let maker = match message.method() {
            Some(method) if method.routing_key() == RoutingKey::TaskId => {
                self.maker(&context.principal, route, &message)?
            }
            _ => None,
        };
        if context.modern.is_some() {
            return Ok(match self.resolve_modern(route, message, maker.as_ref(), &mut context)? {
                modern::ModernDestination::Forward(forward) => {
                    ResolvedCall::Forward(Box::new(ForwardRequest { forward, context, since: None }))
                }
                modern::ModernDestination::Own(resolved) => {
                    ResolvedCall::Modern(Box::new(resolved), Box::new(context))
                }
            });
        }
        if context.client.is_none() && message.shape() == Shape::Notification {
            // Without a session there is nothing that it could be about.
            return Ok(ResolvedCall::Modern(Box::new(modern::ModernCall::Ignore), Box::new(context)));
        }
        if message.shape() != Shape::Request {
            let client = client_in(&context)?;
            return Ok(ResolvedCall::Note(Box::new((message, context)), client));
        }
        Ok(match self.answered_here(route, &message, &context)? {
            Some(Local::Answer(body)) => ResolvedCall::Answer(body),
            Some(Local::Open) => ResolvedCall::Open(Box::new((message, context))),
            Some(Local::SetLevel) => ResolvedCall::SetLevel(Box::new((message, context))),
            Some(Local::List(kind)) => ResolvedCall::List(kind, Box::new((message, context))),
            None => return self.resolve_target(route, message, maker, context),
        })
    }

    /// The action of the gateway itself for a legacy request; `None` if a server or service has to answer it.
    fn answered_here(
        &self,
        route: &Endpoint,
        message: &Message,
        context: &CallContext,
    ) -> Result<Option<Local>> {
        Ok(match message.method() {
            Some(Method::Initialize) if context.hints.is_some() => {
                let text = "calls here belong to no session, so there is nothing to initialize";
                return Err(Error::new(ErrorKind::MethodNotFound, text));
            }
            Some(Method::Initialize) => Some(Local::Open),
            Some(Method::Ping) => Some(Local::Answer(result_response(message.id().unwrap_or("null"), "{}"))),
            Some(Method::SetLevel) if context.client.is_some() => Some(Local::SetLevel),
            Some(method) => {
                list_kind(method).filter(|_| self.makes_lists(route, &context.principal)).map(Local::List)
            }
            None => None,
        })
    }

    /// Finds the destination of a legacy request: a server of some service, or the gateway as a service. `maker` is the replica
    /// that made the task to which it refers.
    fn resolve_target(
        &self,
        route: &Endpoint,
        message: Message,
        maker: Option<Replica>,
        context: CallContext,
    ) -> Result<ResolvedCall> {
        if let (Some(Method::ResourcesSubscribe), Some(client)) = (message.method(), &context.client) {
            client.set_apart();
        }
        // On the aggregated route a task is found by the server that made it: its id does not name that.
        let latest = match &context.client {
            Some(client) if route.is_aggregated() && message.method() == Some(&Method::TasksList) => {
                client.bound.server(&message).and_then(|server| self.replica(server))
            }
            _ => None,
        };
        let maker = maker.or(latest);
        let givers = self.givers_of(route, &context, &message);
        let target = self.router.with_view(&context.principal, |view| {
            let hints = context.hints.as_ref();
            context::forward(view, &context.principal, route, maker.as_ref(), hints, givers.as_ref(), message)
        })?;
        Ok(match target {
            Destination::Server(forward) => {
                forward.check_arguments()?;
                ResolvedCall::Forward(Box::new(ForwardRequest { forward, context, since: None }))
            }
            Destination::Own(ask) => ResolvedCall::Own(ask, Box::new(context)),
        })
    }

    pub(crate) async fn run(
        self: &Arc<Self>,
        route: &Endpoint,
        resolved: ResolvedCall,
        record: &Arc<Record>,
    ) -> Result<Reply> {
        match resolved {
            ResolvedCall::Forward(request) => self.run_forward(request, record).await,
            ResolvedCall::Modern(resolved, context) => {
                Box::pin(self.run_modern(route, *resolved, *context)).await
            }
            ResolvedCall::Own(ask, context) => {
                Ok(Reply::own(Box::pin(self.answer_builtin(*ask, *context)).await?))
            }
            // The rare ones are boxed: every call's future would carry their size.
            ResolvedCall::Open(opening) => Box::pin(self.open_session(route, &opening.0, &opening.1)).await,
            ResolvedCall::Answer(body) => Ok(Reply::own(body)),
            ResolvedCall::List(kind, list) => {
                let (message, context) = *list;
                let result = Box::pin(self.listed(route, kind, &message, &context.principal)).await?;
                Ok(Reply::own(result_response(message.id().unwrap_or("null"), &result)))
            }
            ResolvedCall::SetLevel(level) => Box::pin(self.set_level(&level.0, &level.1)).await,
            ResolvedCall::Note(note, client) => {
                Box::pin(self.note(&note.0, &client, &note.1.correlation_id)).await;
                Ok(Reply::Accepted)
            }
            ResolvedCall::Listen(client, context) => {
                let open = self.open_stream(&context.principal)?;
                Ok(held_open(self.listen(&client), *context, open))
            }
            ResolvedCall::Resume(client, id, context) => {
                let open = self.open_stream(&context.principal)?;
                Ok(held_open(take_up(&client, &id)?, *context, open))
            }
            ResolvedCall::End(client, _passage) => {
                Box::pin(self.end_session(&client)).await;
                Ok(Reply::Accepted)
            }
        }
    }

    async fn run_forward(
        self: &Arc<Self>,
        request: Box<ForwardRequest>,
        record: &Arc<Record>,
    ) -> Result<Reply> {
        if self.trail.has_calls() || self.observers.are_brought() {
            let _ = record.active().target.set(request.forward.target());
        }
        let departure = request.context.departure();
        if let Some(key) = ReadKey::of(&request) {
            let work = Box::pin(Arc::clone(self).read_once(key, request));
            return Ongoing::new(work, record, &self.tasks, departure).await;
        }
        let work = Box::pin(Arc::clone(self).forward(request));
        Ongoing::new(work, record, &self.tasks, departure).await
    }

    /// Runs a call that a tool of the gateway's own makes: it was admitted with the call of that tool.
    pub(super) async fn run_within(
        self: &Arc<Self>,
        action: Action,
        context: CallContext,
        record: &Arc<Record>,
    ) -> Result<Reply> {
        let resolved = self.resolve(&Endpoint::all(), action, context)?;
        if matches!(resolved, ResolvedCall::Own(..)) {
            return Err(Error::new(
                ErrorKind::InvalidParams,
                "the gateway's own tools cannot be called through `call_tool`; call them by name",
            ));
        }
        Box::pin(self.run(&Endpoint::all(), resolved, record)).await
    }
}

/// The error for the client of a call that panicked. All state that calls share is changed in single steps, so that other calls
/// go on.
fn panicked() -> Error {
    Error::new(ErrorKind::Internal, "the call failed inside the gateway; see the gateway's log")
}

/// Whether the reply has bytes that may have to be counted until they were read. The messages of a legacy client's streams are
/// counted where they wait for it.
fn counts(reply: &Reply, era: Era) -> bool {
    match reply {
        Reply::Message { body, .. } | Reply::Refused { body, .. } => body.len() > SMALL,
        Reply::Stream { .. } => era == Era::Modern,
        Reply::Accepted => false,
    }
}

/// The reply, whose large messages count as unread until their last byte was written.
async fn counted(reply: Reply, record: &Record) -> Result<Reply> {
    Ok(match reply {
        Reply::Message { body, session, server } => {
            Reply::Message { body: record.counted(body).await?, session, server }
        }
        Reply::Refused { body, code, server } => {
            Reply::Refused { body: record.counted(body).await?, code, server }
        }
        Reply::Stream { messages, server, numbering } => {
            let Some(room) = record.room() else {
                return Ok(Reply::Stream { messages, server, numbering });
            };
            let messages = messages.then(move |message| {
                let room = Arc::clone(&room);
                async move { if message.len() > SMALL { room.hold_in_time(message).await } else { message } }
            });
            Reply::Stream { messages: messages.boxed(), server, numbering }
        }
        Reply::Accepted => Reply::Accepted,
    })
}

/// A stream that counts among the calls under way for as long as it is open, and that can be cancelled as any call.
fn held_open(reply: Reply, context: CallContext, open: OpenStream) -> Reply {
    let Reply::Stream { messages, server, numbering } = reply else { return reply };
    // A stream has no failure that its record could tell; it counts as ended well from the start.
    context.record.outcome(None);
    let cancelled = context.cancel().clone().cancelled_owned();
    // Lasts for hours, and is none of the calls that may be under way: a session has one stream, which another ends.
    drop(context.admission);
    let record = context.record;
    let over = async move {
        // Here for as long as the stream is.
        let _record = record;
        tokio::select! {
            () = cancelled => {}
            () = open.ended() => {}
        }
    };
    let messages = messages.take_until(Box::pin(over));
    Reply::Stream { messages: messages.boxed(), server, numbering }
}

/// The session of a call that makes no sense without one.
fn client_in(context: &CallContext) -> Result<Arc<Client>> {
    let missing =
        || Error::new(ErrorKind::InvalidRequest, "this method needs a session; send `initialize` first");
    context.client.clone().ok_or_else(missing)
}
