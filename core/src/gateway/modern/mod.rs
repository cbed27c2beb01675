//! Modern clients: what their requests bring, and what of it the gateway answers itself. Everything else goes the way of
//! all calls.

mod discover;
mod ears;
mod held;
mod listen;
mod lists;
mod streams;

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

pub(super) use self::ears::Ears;
use self::held::Held;
pub(super) use self::listen::Changes;
use super::bridge::downward::{AGAIN, Downward, bond_of};
use super::bridge::pool::Borrowed;
use super::bridge::sealed::{self, Ticket};
use super::client::Client;
use super::errand::{self, Forward, Passage, Target};
use super::opening::tell_level;
use super::service::Place;
use super::{Inner, names, own};
use crate::auth::Vault;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Action, Call, CapabilityKind, Principal, Reply, Route, TransportType};
use crate::rpc::meta::{self, LOG_LEVELS, Meta};
use crate::rpc::version::{Era, MODERN};
use crate::rpc::{Members, Message, Method, Shape, object};

/// What a client may say of itself in one request, in bytes: it can be kept for a while.
const MAX_INTRODUCTION: usize = 8 * 1024;

/// What serving modern clients needs.
#[derive(Debug)]
pub(super) struct State {
    pub(super) downward: Downward,
    held: Held,
    pub(super) changes: Changes,
    pub(super) ears: Ears,
    /// Cancelled when the gateway shuts down: streams that clients hold open end.
    pub(super) ending: CancellationToken,
}

impl State {
    /// `vault` is what the key of states is derived from. [`ErrorKind::Internal`] if the operating system gives no random bytes.
    pub(super) fn new(vault: Option<&Vault>) -> Result<Self> {
        Ok(Self {
            downward: Downward::new(vault)?,
            held: Held::default(),
            changes: Changes::default(),
            ears: Ears::default(),
            ending: CancellationToken::new(),
        })
    }
}

/// What a modern request says besides its body.
#[derive(Debug)]
pub(super) struct Modern {
    pub(super) route: Route,
    /// Raw object.
    pub(super) capabilities: Box<str>,
    /// Raw object.
    client_info: Box<str>,
    /// How grave a log message must be to be told; `None`: none is told.
    pub(super) log_level: Option<usize>,
    pub(super) state: Option<Box<str>>,
    /// Raw `inputResponses`.
    pub(super) responses: Option<Box<str>>,
    /// The request is a retry that its server gets as if it were the first.
    pub(super) again: bool,
    /// The sessions of the pool that it uses, once it does.
    pub(super) pooled: OnceLock<Borrowed>,
}

/// What a modern request comes down to.
#[derive(Debug)]
pub(super) enum Errand {
    Discover(Message),
    List(CapabilityKind, Message),
    Listen(Message),
    Resume(Ticket, Message),
    /// To the gateway's own service.
    Own(Box<own::Ask>),
    /// A notification: this era has none for a server over HTTP.
    Ignore,
}

/// Who answers it.
#[derive(Debug)]
pub(super) enum Course {
    /// The gateway itself.
    Own(Errand),
    /// A server.
    Forward(Forward),
}

impl Modern {
    /// What a call brought, if it is a modern one.
    ///
    /// [`ErrorKind::InvalidParams`] if something is missing or of the wrong form, [`ErrorKind::TooLarge`].
    pub(super) fn of(call: &Call) -> Result<Option<Box<Self>>> {
        let (Era::Modern, Action::Send(message)) = (call.era, &call.action) else { return Ok(None) };
        let invalid = |what: String| Error::new(ErrorKind::InvalidParams, what);
        let said = Meta::of(message)?;
        let capabilities = match &said {
            Some(said) => said.required_capabilities()?,
            None => "{}",
        };
        if let Some(said) = said.as_ref().filter(|said| said.version != MODERN) {
            let message = "this protocol version is not spoken here without `initialize`";
            let shown = names::shown(&said.version).into_owned();
            return Err(Error::new(ErrorKind::UnsupportedVersion, message).with("requested", shown));
        }
        let info = said.as_ref().and_then(|said| said.client_info);
        let info = info.unwrap_or(r#"{"name":"unknown","version":"0"}"#);
        if Members::parse(capabilities).is_err() || Members::parse(info).is_err() {
            return Err(invalid("clientCapabilities and clientInfo in `_meta` must be objects".into()));
        }
        if capabilities.len() + info.len() > MAX_INTRODUCTION {
            let message = "clientCapabilities and clientInfo are larger than the limit, together";
            return Err(Error::new(ErrorKind::TooLarge, message).with("limit_bytes", MAX_INTRODUCTION));
        }
        let level = said.as_ref().and_then(|said| said.log_level);
        let log_level = level
            .map(|raw| {
                let known = object::text(raw).and_then(|level| meta::gravity(&level));
                known
                    .ok_or_else(|| invalid(format!("the log level must be one of {}", LOG_LEVELS.join(", "))))
            })
            .transpose()?;
        let params = message.params_members()?;
        let state = params.get("requestState").map(|raw| {
            let text = object::text(raw).map(|text| Box::from(&*text));
            text.ok_or_else(|| invalid("`requestState` must be a string".into()))
        });
        Ok(Some(Box::new(Self {
            route: call.route.clone(),
            capabilities: capabilities.into(),
            client_info: info.into(),
            log_level,
            state: state.transpose()?,
            responses: params.get("inputResponses").map(Into::into),
            again: false,
            pooled: OnceLock::new(),
        })))
    }
}

impl Modern {
    /// Whether the request can meet others in the session through which it goes. Where all messages come over one connection,
    /// a log message says nothing of the request that it belongs to: so there is only one, if it wants to hear any.
    pub(super) fn may_share(&self, place: &Place) -> bool {
        self.log_level.is_none() || place.server.transport_type == TransportType::Http
    }
}

impl Inner {
    /// Decides what a modern request comes down to, without talking to anybody.
    pub(super) fn resolve_modern(
        &self,
        route: &Route,
        message: Message,
        maker: Option<&Place>,
        passage: &mut Passage,
    ) -> Result<Course> {
        match message.shape() {
            Shape::Request => {}
            Shape::Notification => return Ok(Course::Own(Errand::Ignore)),
            Shape::Response => {
                let text = "clients of this era answer by sending their request again, not with responses";
                return Err(Error::new(ErrorKind::InvalidRequest, text));
            }
        }
        let Some(method) = message.method() else { return Ok(Course::Own(Errand::Ignore)) };
        let list = CapabilityKind::ALL.into_iter().find(|kind| kind.list_method() == method.as_str());
        match (method, list, route) {
            (Method::Discover, ..) => return Ok(Course::Own(Errand::Discover(message))),
            (Method::Listen, ..) => return Ok(Course::Own(Errand::Listen(message))),
            (_, Some(kind), Route::All) => return Ok(Course::Own(Errand::List(kind, message))),
            (_, Some(kind), Route::Service(name)) if self.is_veiled(&passage.principal, name) => {
                return Ok(Course::Own(Errand::List(kind, message)));
            }
            (method, ..) if is_gone(method) => {
                let text = format!("Method not found: {}", names::shown(method.as_str()));
                return Err(Error::new(ErrorKind::MethodNotFound, text));
            }
            _ => {}
        }
        if let Some(ticket) = self.ticket_of(&message, passage)? {
            return Ok(Course::Own(Errand::Resume(ticket, message)));
        }
        let view = self.sight(&passage.principal);
        let forward = match errand::forward(&view, &passage.principal, route, maker, None, message)? {
            Target::Server(forward) => forward,
            Target::Own(ask) => return Ok(Course::Own(Errand::Own(ask))),
        };
        let speaks_modern = forward.service.places.iter().any(|place| place.listing.modern.is_some());
        let stateful = passage.modern.as_ref().is_some_and(|modern| modern.state.is_some() && !modern.again);
        if stateful && !speaks_modern {
            return Err(sealed::refused());
        }
        if let Some((CapabilityKind::Tool, name)) = &forward.what {
            forward.service.places.iter().try_for_each(|place| {
                place.upstream.mirrors().agree(name, &forward.message, &passage.headers)
            })?;
        }
        Ok(Course::Forward(forward))
    }

    /// What the request's `requestState` says, if it is one of the gateway's and names a call that is parked.
    fn ticket_of(&self, message: &Message, passage: &mut Passage) -> Result<Option<Ticket>> {
        let state = passage.modern.as_ref().and_then(|modern| modern.state.clone());
        let Some(state) = state.filter(|state| sealed::is_ours(state)) else { return Ok(None) };
        let bond = bond_of(passage, message);
        let shown = self.modern.downward.seal.open(&state, &bond, self.clock.timestamp())?;
        if shown.ticket.place != AGAIN {
            return if shown.own { Ok(Some(shown.ticket)) } else { Err(sealed::elsewhere()) };
        }
        if let Some(modern) = &mut passage.modern {
            modern.again = true;
            if !shown.own {
                // They answer what the server asked there.
                modern.responses = None;
            }
        }
        Ok(None)
    }

    pub(super) async fn run_modern(
        self: &Arc<Self>,
        route: &Route,
        errand: Errand,
        passage: Passage,
    ) -> Result<Reply> {
        match errand {
            Errand::Ignore => Ok(Reply::Accepted),
            Errand::Own(ask) => Ok(Reply::own(self.answer_own(*ask, passage).await?)),
            Errand::Discover(message) => self.introduce_modern(route, &message, &passage.principal).await,
            Errand::List(kind, message) => self.list_modern(route, kind, &message, &passage.principal).await,
            Errand::Listen(message) => self.listen_modern(route, &message, passage).await,
            Errand::Resume(ticket, message) => self.resume(ticket, &message, passage).await,
        }
    }

    /// The sessions of the pool for this request.
    pub(super) fn pooled<'m>(
        self: &Arc<Self>,
        principal: &Principal,
        modern: &'m Modern,
    ) -> Result<&'m Borrowed> {
        if let Some(pooled) = modern.pooled.get() {
            return Ok(pooled);
        }
        let pool = &self.modern.downward.pool;
        let lent = pool.borrow(principal, &modern.capabilities, &modern.client_info, self.clock.now())?;
        Ok(self.hold(modern, lent))
    }

    /// Sessions of the pool that nobody else uses while this request lasts.
    pub(super) async fn pooled_alone<'m>(
        self: &Arc<Self>,
        principal: &Principal,
        modern: &'m Modern,
    ) -> Result<&'m Borrowed> {
        if let Some(pooled) = modern.pooled.get() {
            return Ok(pooled);
        }
        let pool = &self.modern.downward.pool;
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

    /// Lets servers send log messages of this gravity to the client's sessions; which of them a request hears is decided
    /// where they come in.
    pub(super) async fn hear_from(&self, client: &Arc<Client>, level: usize, cause: &str) {
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
