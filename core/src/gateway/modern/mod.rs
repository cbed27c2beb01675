//! Modern clients: reads their requests, and answers some of them in the gateway itself. Everything else takes the path of all
//! calls.

mod discover;
mod notification_reader;
mod listen;
mod lists;
mod streams;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub(crate) use self::listen::Changes;
pub(crate) use self::notification_reader::NotificationReader;
use super::Core;
use crate::auth::Vault;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::bridge::modern_to_legacy::sealed;
use crate::gateway::bridge::modern_to_legacy::sealed::Ticket;
use crate::gateway::bridge::modern_to_legacy::{AGAIN, ModernToLegacy, bond_of};
use crate::gateway::call::builtin;
use crate::gateway::call::context;
use crate::gateway::call::context::{CallContext, Destination, ForwardPlan};
use crate::gateway::call::modern::Modern;
use crate::gateway::legacy::opening::tell_level;
use crate::gateway::routing::names;
use crate::gateway::routing::service::Replica;
use crate::gateway::session::client::Client;
use crate::gateway::session::pool::Borrowed;
use crate::model::{CapabilityKind, Endpoint, Principal, Reply};
use crate::rpc::meta::{self, LOG_LEVELS};
use crate::rpc::{Message, Method, Shape};

/// The state for serving modern clients.
#[derive(Debug)]
pub(crate) struct ModernState {
    pub(crate) modern_to_legacy: ModernToLegacy,
    pub(crate) changes: Changes,
    pub(crate) ears: NotificationReader,
    /// Cancelled when the gateway shuts down: streams that clients hold open end.
    pub(crate) ending: CancellationToken,
}

impl ModernState {
    /// The key of states is derived from `vault`. [`ErrorKind::Internal`] if the operating system returned no random bytes.
    pub(crate) fn new(vault: Option<&Vault>) -> Result<Self> {
        Ok(Self {
            modern_to_legacy: ModernToLegacy::new(vault)?,
            changes: Changes::default(),
            ears: NotificationReader::default(),
            ending: CancellationToken::new(),
        })
    }
}

/// The action for a modern request that the gateway answers itself.
#[derive(Debug)]
pub(crate) enum ModernCall {
    Discover(Message),
    List(CapabilityKind, Message),
    Listen(Message),
    Resume(Ticket, Message),
    /// To the gateway's own service.
    Own(Box<builtin::BuiltinRequest>),
    /// A notification: this era has none for a server over HTTP.
    Ignore,
}

/// The destination of a modern request.
#[derive(Debug)]
pub(crate) enum ModernDestination {
    /// The gateway itself.
    Own(ModernCall),
    /// A server.
    Forward(ForwardPlan),
}

impl Core {
    /// Decides the destination of a modern request, without I/O.
    pub(crate) fn resolve_modern(
        &self,
        route: &Endpoint,
        message: Message,
        maker: Option<&Replica>,
        context: &mut CallContext,
    ) -> Result<ModernDestination> {
        match message.shape() {
            Shape::Request => {}
            Shape::Notification => return Ok(ModernDestination::Own(ModernCall::Ignore)),
            Shape::Response => {
                let text = "clients of this era answer by sending their request again, not with responses";
                return Err(Error::new(ErrorKind::InvalidRequest, text));
            }
        }
        let Some(method) = message.method() else { return Ok(ModernDestination::Own(ModernCall::Ignore)) };
        let list = CapabilityKind::ALL.into_iter().find(|kind| kind.list_method() == method.as_str());
        match (method, list) {
            (Method::Discover, _) => return Ok(ModernDestination::Own(ModernCall::Discover(message))),
            (Method::Listen, _) => return Ok(ModernDestination::Own(ModernCall::Listen(message))),
            (_, Some(kind)) if self.makes_lists(route, &context.principal) => {
                return Ok(ModernDestination::Own(ModernCall::List(kind, message)));
            }
            (method, _) if is_gone(method) => {
                let text = format!("Method not found: {}", names::shown(method.as_str()));
                return Err(Error::new(ErrorKind::MethodNotFound, text));
            }
            _ => {}
        }
        if let Some(ticket) = self.ticket_of(&message, context)? {
            return Ok(ModernDestination::Own(ModernCall::Resume(ticket, message)));
        }
        let view = self.router.view_for(&context.principal);
        let givers = self.givers_of(route, context, &message);
        let destination =
            context::forward(&view, &context.principal, route, maker, None, givers.as_ref(), message)?;
        let forward = match destination {
            Destination::Server(forward) => forward,
            Destination::Own(ask) => return Ok(ModernDestination::Own(ModernCall::Own(ask))),
        };
        check_forward(&forward, context)?;
        Ok(ModernDestination::Forward(forward))
    }

    /// The ticket in the request's `requestState`, if it is one of the gateway's and names a call that is parked.
    fn ticket_of(&self, message: &Message, context: &mut CallContext) -> Result<Option<Ticket>> {
        let state = context.modern.as_ref().and_then(|modern| modern.state.clone());
        let Some(state) = state.filter(|state| sealed::is_ours(state)) else { return Ok(None) };
        let bond = bond_of(context, message);
        let shown = self.modern.modern_to_legacy.seal.open(&state, &bond, self.clock.timestamp())?;
        if shown.ticket.number != AGAIN {
            return if shown.own { Ok(Some(shown.ticket)) } else { Err(sealed::elsewhere()) };
        }
        if let Some(modern) = &mut context.modern {
            modern.again = true;
            if !shown.own {
                // They answer requests that the server sent there.
                modern.responses = None;
            }
        }
        Ok(None)
    }

    pub(crate) async fn run_modern(
        self: &Arc<Self>,
        route: &Endpoint,
        resolved: ModernCall,
        context: CallContext,
    ) -> Result<Reply> {
        match resolved {
            ModernCall::Ignore => Ok(Reply::Accepted),
            ModernCall::Own(ask) => Ok(Reply::own(self.answer_builtin(*ask, context).await?)),
            ModernCall::Discover(message) => self.introduce_modern(route, &message, &context.principal).await,
            ModernCall::List(kind, message) => {
                self.list_modern(route, kind, &message, &context.principal).await
            }
            ModernCall::Listen(message) => self.listen_modern(route, &message, context).await,
            ModernCall::Resume(ticket, message) => self.resume(ticket, &message, context).await,
        }
    }

    /// The sessions of the pool for this request.
    pub(crate) fn pooled<'m>(
        self: &Arc<Self>,
        principal: &Principal,
        modern: &'m Modern,
    ) -> Result<&'m Borrowed> {
        if let Some(pooled) = modern.pooled.get() {
            return Ok(pooled);
        }
        let pool = &self.modern.modern_to_legacy.pool;
        let lent = pool.borrow(principal, &modern.capabilities, &modern.client_info, self.clock.now())?;
        Ok(self.hold(modern, lent))
    }

    /// Sessions of the pool that nobody else uses while this request lasts.
    pub(crate) async fn pooled_alone<'m>(
        self: &Arc<Self>,
        principal: &Principal,
        modern: &'m Modern,
    ) -> Result<&'m Borrowed> {
        if let Some(pooled) = modern.pooled.get() {
            return Ok(pooled);
        }
        let pool = &self.modern.modern_to_legacy.pool;
        let lent = pool.borrow_alone(principal, &modern.capabilities, &modern.client_info, self.clock.now());
        Ok(self.hold(modern, lent.await?))
    }

    fn hold<'m>(&self, modern: &'m Modern, lent: (Borrowed, Option<Arc<Client>>)) -> &'m Borrowed {
        let (borrowed, left) = lent;
        if let Some(left) = left {
            self.tasks.spawn(async move { left.end().await });
        }
        modern.pooled.get_or_init(|| borrowed)
    }

    /// Lets servers send log messages of this severity to the client's sessions; which of them a request gets is decided where
    /// they come in.
    pub(crate) async fn hear_from(&self, client: &Arc<Client>, level: usize, cause: &str) {
        client.set_apart();
        let changed = {
            let mut current = client.log_level.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let fine = current.as_deref().and_then(meta::gravity).is_some_and(|current| current <= level);
            if !fine {
                *current = LOG_LEVELS.get(level).map(|level| (*level).to_owned());
            }
            !fine
        };
        if changed {
            let sessions = client.upstreams();
            let telling = sessions.iter().map(|(_, session)| tell_level(client, session, Some(cause)));
            futures_util::future::join_all(telling).await;
        }
    }
}

/// Whether a request can go to the servers of its service: only modern ones have given states, and mirrored headers agree with
/// the body.
fn check_forward(forward: &ForwardPlan, context: &CallContext) -> Result<()> {
    let replicas = &forward.service.replicas;
    let speaks_modern = replicas.iter().any(|replica| replica.listing.modern.is_some());
    let stateful = context.modern.as_ref().is_some_and(|modern| modern.state.is_some() && !modern.again);
    if stateful && !speaks_modern {
        return Err(sealed::refused());
    }
    let Some((CapabilityKind::Tool, name)) = &forward.what else { return Ok(()) };
    replicas
        .iter()
        .try_for_each(|replica| replica.upstream.mirrors().agree(name, &forward.message, &context.headers))
}

/// Whether the modern era has no such method, although an older one had.
fn is_gone(method: &Method) -> bool {
    matches!(
        method,
        Method::Initialize
            | Method::Ping
            | Method::SetLevel
            | Method::ResourcesSubscribe
            | Method::ResourcesUnsubscribe
            | Method::TasksResult
            | Method::TasksList
            | Method::CreateMessage
            | Method::Elicit
            | Method::RootsList
    )
}
