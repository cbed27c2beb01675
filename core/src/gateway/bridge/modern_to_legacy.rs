//! A call of a modern client: passed through at a modern server; at a legacy one carried on over as many rounds as the server
//! has requests.
//!
//! A legacy server sends a request in the middle of a call and waits; a modern client gets that request, leaves, and comes back
//! with a request of its own. Between the two the call is parked: a task keeps the server's stream. A client that closes its
//! connection cancels the call, at once.

mod codes;
mod first;
pub(crate) mod parked;
mod reply;
pub(crate) mod sealed;
mod talk;
pub(crate) mod translate;

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::stream::BoxStream;
use smol_str::SmolStr;
use tokio::sync::{mpsc, oneshot};

use self::parked::{Lot, Parked};
pub(crate) use self::reply::{Notification, replied};
use self::sealed::{Bond, Seal, Ticket};
use self::talk::Talk;
use crate::auth::Vault;
use crate::clock::Tick;
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::gateway::Core;
use crate::gateway::call::answering::Answering;
use crate::gateway::call::context::{CallContext, ForwardPlan, ForwardRequest};
use crate::gateway::call::limits::TimeLimits;
use crate::gateway::call::lists;
use crate::gateway::call::modern::Modern;
use crate::gateway::routing::service::Replica;
use crate::gateway::session::pool::Pool;
use crate::gateway::upstream::outcome::record_answer;
use crate::model::{Endpoint, Principal, Reply, ServerId};
use crate::rpc::answer::result_response;
use crate::rpc::version::Era;
use crate::rpc::{Message, Method};
use crate::select::Lease;
use crate::transport::unread::SMALL;
use crate::transport::{Exchange, Session};

/// Messages that wait for a slow reader before its server is slowed down.
const WAITING: usize = 32;

/// The state that the calls of modern clients share.
#[derive(Debug)]
pub(crate) struct ModernToLegacy {
    pub(crate) pool: Pool,
    pub(crate) parked: Parked<Round>,
    pub(crate) seal: Seal,
}

impl ModernToLegacy {
    /// Errors as of [`Seal::new`].
    pub(crate) fn new(vault: Option<&Vault>) -> Result<Self> {
        Ok(Self { pool: Pool::default(), parked: Parked::default(), seal: Seal::new(vault)? })
    }
}

/// One request of a client for a call, the first or a retry.
#[derive(Debug)]
pub(crate) struct Round {
    sender: mpsc::Sender<Notification>,
    client_id: SmolStr,
    /// The client's own progress token, raw.
    token: Option<String>,
    /// The least severity of log messages that the client gets; `None`: it gets none.
    log_level: Option<usize>,
    deadline: Tick,
    context: Arc<CallContext>,
    /// Raw answers to the server's requests, by key.
    answers: HashMap<String, String>,
}

impl Round {
    /// The first request of a call.
    fn first(
        sender: mpsc::Sender<Notification>,
        answering: &Answering,
        deadline: Tick,
        context: &Arc<CallContext>,
    ) -> Self {
        Self {
            sender,
            client_id: answering.client_id.clone(),
            token: answering.token.clone(),
            log_level: context.modern.as_ref().and_then(|modern| modern.log_level),
            deadline,
            context: Arc::clone(context),
            answers: HashMap::new(),
        }
    }
}

/// The exchange of a call with a server, and its context.
pub(crate) struct Course {
    pub(crate) exchange: Exchange,
    pub(crate) answering: Answering,
    pub(crate) lease: Lease,
    pub(crate) started: Tick,
    pub(crate) deadline: Tick,
    pub(crate) limits: TimeLimits,
    /// The server has not seen the call: the client first gets the requests in `exchange`.
    pub(crate) asks_first: bool,
}

impl Core {
    /// The session in which a modern client's call reaches a server: the shared one, or one of the pool.
    pub(crate) async fn session_downward(
        self: &Arc<Self>,
        context: &CallContext,
        modern: &Modern,
        replica: &Replica,
    ) -> Result<Arc<Session>> {
        if modern.may_share(replica)
            && let Some(session) = self.session_across(replica).await?
        {
            return Ok(session);
        }
        if modern.state.is_some() && !modern.again {
            return Err(sealed::refused());
        }
        let client = if modern.may_share(replica) {
            self.pooled(&context.principal, modern)?
        } else {
            self.pooled_alone(&context.principal, modern).await?
        };
        if let Some(level) = modern.log_level {
            self.hear_from(client, level, &context.correlation_id).await;
        }
        self.session_for(Some(client), replica, Some(&context.correlation_id)).await
    }

    /// Returns a server's answer to a modern client.
    pub(crate) async fn answer_downward(
        self: &Arc<Self>,
        course: Course,
        request: Box<ForwardRequest>,
    ) -> Result<Reply> {
        let Course { exchange, answering, mut lease, started, deadline, limits, asks_first } = course;
        let ForwardRequest { forward, context, .. } = *request;
        let context = Arc::new(context);
        let legacy = answering.relay.session.era() == Era::Legacy;
        let server = answering.server;
        let messages = match exchange {
            Exchange::One(message) if asks_first => return Ok(Reply::own(answering.response(&message))),
            Exchange::One(message) => {
                let now = self.clock.now();
                record_answer(&mut lease, &message, now.since(started), now);
                let (id, method) = (&answering.client_id, forward.method());
                let bond = || bond_of(&context, &forward.message);
                let answer = self.last_word(&message, id, method, legacy, &context, server, bond)?;
                if answer.body.len() > SMALL {
                    context.record.keep(lease);
                }
                return Ok(answer.reply(Some(server)));
            }
            Exchange::Many(messages) => messages,
        };
        let (sender, receiver) = mpsc::channel(WAITING);
        let streams = context.streams;
        let round = Round::first(sender, &answering, deadline, &context);
        let talk = Talk { limits, ..self.talk(&forward, &context, &answering, messages, lease, started)? };
        self.tasks.spawn(talk.go_on(round));
        replied(receiver, streams, Some(server)).await
    }

    /// The call to which the server answers with `messages`.
    fn talk(
        self: &Arc<Self>,
        forward: &ForwardPlan,
        context: &CallContext,
        answering: &Answering,
        messages: BoxStream<'static, Result<Message>>,
        lease: Lease,
        started: Tick,
    ) -> Result<Talk> {
        let replica = forward.service.replica(answering.server);
        let replica = replica
            .ok_or_else(|| Error::new(ErrorKind::Internal, "the call reached no replica of its service"))?;
        Ok(Talk {
            gateway: Arc::clone(self),
            legacy: answering.relay.session.era() == Era::Legacy,
            session: Arc::clone(&answering.relay.session),
            upstream_id: answering.upstream_id,
            method: forward.method().clone(),
            message: forward.message.clone(),
            principal: context.principal.clone(),
            lot: Lot::at(replica),
            limits: TimeLimits::of(Some(&replica.server.configuration), None, self.settings.max_timeout),
            _pooled: context.modern.as_ref().and_then(|modern| modern.pooled.get().cloned()),
            messages,
            lease,
            started,
            asked: Vec::new(),
            keys: 0,
            end: None,
        })
    }

    /// Whether an answer that this server labels `public` may be given to others than its caller.
    fn may_be_public(&self, server: ServerId) -> bool {
        let credentials = self.book.has(server);
        self.replica(server).is_some_and(|replica| replica.server.configuration.may_be_public(credentials))
    }

    /// The response as the client gets it: the server's own, or the requests to answer first.
    #[expect(clippy::too_many_arguments, reason = "all that an answer depends on")]
    fn last_word(
        &self,
        message: &Message,
        client_id: &str,
        method: &Method,
        legacy: bool,
        context: &CallContext,
        server: ServerId,
        bond: impl FnOnce() -> Bond,
    ) -> Result<translate::Answer> {
        self.owners.note(&context.principal, message, server);
        let mended = lists::mended(method, message);
        let message = mended.as_ref().unwrap_or(message);
        self.note_given(context, message, server);
        if !method.is_cacheable() {
            self.reads.part_from(server);
        }
        let pages =
            if legacy && message.error().is_some() { translate::pages_to_visit(message) } else { None };
        let Some(pages) = pages else {
            let withheld = if legacy || !method.is_cacheable() || self.may_be_public(server) {
                None
            } else {
                translate::withheld(message)
            };
            return Ok(translate::answer(withheld.as_ref().unwrap_or(message), client_id, method, legacy));
        };
        let capabilities = context.modern.as_ref().map_or("{}", |modern| &modern.capabilities);
        for page in &pages {
            if let Some(required) = page.missing(capabilities)? {
                return Err(missing_capability(required));
            }
        }
        let state = self.seal(AGAIN, &bond())?;
        let keys: Vec<_> = (1..=pages.len()).map(|n| format!("q{n}")).collect();
        let result = translate::input_required(keys.iter().map(String::as_str).zip(&pages), &state);
        Ok(translate::Answer { body: result_response(client_id, &result), code: None })
    }

    /// A state for the retry of a request: its call is parked under `number`, as long as an answer is waited for.
    pub(crate) fn seal(&self, number: u64, bond: &Bond) -> Result<String> {
        let until = self.clock.timestamp().saturating_add(self.settings.input_wait);
        let until = until.unwrap_or(jiff::Timestamp::MAX);
        self.modern.modern_to_legacy.seal.seal(Ticket { number, until }, bond)
    }

    /// A slot for a parked call, known to the cluster, and the state by which the retry names it.
    async fn reserve_slot(
        &self,
        principal: &Principal,
        lot: Lot,
        bond: &Bond,
    ) -> Result<(u64, oneshot::Receiver<Round>, String)> {
        let (cluster, parked) = (&self.cluster.parked, &self.modern.modern_to_legacy.parked);
        let replica = cluster.claim().get().await?;
        let entered = parked.enter(principal, lot, replica).and_then(|waiting| {
            let state = self.seal(replica, bond)?;
            Ok((replica, waiting, state))
        });
        if entered.is_err() {
            drop(parked.take(replica));
            cluster.release(replica).get().await;
        }
        entered
    }

    /// Resumes the call that the request's `requestState` names.
    ///
    /// [`ErrorKind::InvalidParams`] if no call waits for this request.
    pub(crate) async fn resume(
        self: &Arc<Self>,
        ticket: Ticket,
        message: &Message,
        context: CallContext,
    ) -> Result<Reply> {
        let modern = context.modern.as_ref().ok_or_else(sealed::refused)?;
        let answers = translate::responses(modern.responses.as_deref())?.into_iter().collect();
        let Some(waiting) = self.modern.modern_to_legacy.parked.take(ticket.number) else {
            let owner = self.cluster.parked.owner(ticket.number).get().await;
            if let Some(node) = owner {
                tracing::info!(%node, number = ticket.number, "a retry came for a call that waits at another replica");
            }
            return Err(sealed::refused());
        };
        let (sender, receiver) = mpsc::channel(WAITING);
        let token = crate::gateway::call::relay::progress_token(message).map(|(_, token)| token);
        let (log_level, streams) = (modern.log_level, context.streams);
        let round = Round {
            sender,
            client_id: message.id().unwrap_or("null").into(),
            token,
            log_level,
            // The parked call knows how long its server may take.
            deadline: self.clock.now(),
            context: Arc::new(context),
            answers,
        };
        waiting.send(round).map_err(|_| sealed::refused())?;
        replied(receiver, streams, None).await
    }
}

/// The slot in a ticket of a call that is not parked: the retry is sent to the server as if it were the first.
pub(crate) const AGAIN: u64 = 0;

/// The bond of a `requestState` for this request.
pub(crate) fn bond_of(context: &CallContext, message: &Message) -> Bond {
    let route = context.modern.as_ref().map(|modern| &modern.route);
    let method = message.method().map_or("", Method::as_str);
    let params = message.params_members().ok();
    let text = |key| params.as_ref().and_then(|params| params.text(key)).unwrap_or_default();
    let arguments = params.as_ref().and_then(|params| params.get("arguments")).unwrap_or("{}");
    // A client may write the same arguments in another order when it comes back.
    let arguments: serde_json::Value = serde_json::from_str(arguments).unwrap_or_default();
    let parts = [&*text("name"), &*text("uri"), &*arguments.to_string()];
    Bond::new(&context.principal, route.unwrap_or(&Endpoint::all()), method, &parts)
}

/// Whether the answer to a request of this method may be `input_required` (Multi Round-Trip Requests, 2026-07-28).
fn may_ask(method: &Method) -> bool {
    matches!(method, Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead)
}

pub(crate) fn missing_capability(required: &str) -> Error {
    let message = "the server needs a capability that this request does not declare";
    Error::new(ErrorKind::MissingCapability, message)
        .because(Cause::MissingCapabilities(required.to_owned()))
        .with("requiredCapabilities", required)
}
