//! Decides how to handle a call, once the principal is known: from the message, the route and the snapshot, without I/O.

use std::ops::Range;
use std::sync::Arc;

use http::HeaderMap;
use smol_str::SmolStr;
use tokio_util::sync::CancellationToken;

use super::builtin;
use super::given::Givers;
use super::modern::Modern;
use super::ongoing::Departure;
use super::verdict;
use crate::clock::Tick;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::routing::names::shown;
use crate::gateway::routing::service::{Replica, Service};
use crate::gateway::routing::snapshot::View;
use crate::gateway::session::client::{Client, RequestGuard};
use crate::limit::Admission;
use crate::model::{CapabilityKind, Endpoint, Principal, RoutingHints, ServerId};
use crate::observe::Record;
use crate::rpc::envelope::quote;
use crate::rpc::method::RoutingKey;
use crate::rpc::version::Era;
use crate::rpc::{Members, Message, Method, object};

/// The method that stands for a missing one; a message has been checked to have one.
const NONE: &Method = &Method::Ping;

/// The context of a call, which lasts as long as the call, its stream included.
#[derive(Debug)]
pub(crate) struct CallContext {
    pub(crate) principal: Principal,
    pub(crate) client: Option<Arc<Client>>,
    pub(crate) correlation_id: Arc<str>,
    pub(crate) headers: HeaderMap,
    pub(crate) streams: bool,
    /// Whether the caller can resume a stream where it broke.
    pub(crate) resumes: bool,
    pub(crate) hints: Option<RoutingHints>,
    pub(crate) record: Arc<Record>,
    /// The metadata of a modern request; `None` for the legacy era.
    pub(crate) modern: Option<Box<Modern>>,
    /// Keeps the request registered in its client's session, so that it can be cancelled.
    pub(crate) landing: Option<RequestGuard>,
    /// The call's slot among those that may be under way.
    pub(crate) admission: Admission,
}

impl CallContext {
    /// The caller's era.
    pub(crate) fn era(&self) -> Era {
        if self.modern.is_some() { Era::Modern } else { Era::Legacy }
    }

    /// Cancelled when the client or an administrator cancels the call.
    pub(crate) fn cancel(&self) -> &CancellationToken {
        &self.record.active().cancel
    }

    /// The client whose sessions with servers the call uses, if there is one.
    pub(crate) fn caller(&self) -> Option<&Arc<Client>> {
        let pooled = self.modern.as_ref().and_then(|modern| modern.pooled.get());
        pooled.map(|pooled| &**pooled).or(self.client.as_ref())
    }

    /// Whether nobody wants the answer any more: the call was cancelled, or its client's session was ended.
    pub(crate) fn is_unwanted(&self) -> bool {
        self.cancel().is_cancelled() || self.client.as_ref().is_some_and(|client| client.ended.is_cancelled())
    }

    /// The effect of a client that breaks the connection before it has the answer. None within a legacy session; a call that
    /// stands alone could neither be cancelled nor answered afterwards.
    pub(crate) fn departure(&self) -> Departure {
        if self.client.is_some() { Departure::GoesOn } else { Departure::Cancels }
    }

    /// The error as the client gets it.
    pub(crate) fn settle(&self, error: Error) -> Error {
        match &self.client {
            Some(client) if client.ended.is_cancelled() => verdict::session_ended(error),
            _ => verdict::settle(error),
        }
    }
}

/// A request that goes to a server, and its context.
#[derive(Debug)]
pub(crate) struct ForwardRequest {
    pub(crate) forward: ForwardPlan,
    pub(crate) context: CallContext,
    /// When it began to wait for another one's answer, if it did.
    pub(crate) since: Option<Tick>,
}

/// A request that goes to a server of a service.
#[derive(Debug)]
pub(crate) struct ForwardPlan {
    pub(crate) service: Arc<Service>,
    pub(crate) message: Message,
    /// The item that the server must offer.
    pub(crate) what: Option<(CapabilityKind, SmolStr)>,
    /// The range of the name in the message, and the name that the server knows.
    pub(crate) rename: Option<(Range<usize>, String)>,
    /// The one server that can answer: it made the task to which the message refers.
    pub(crate) maker: Option<ServerId>,
}

impl ForwardPlan {
    /// The service, and the item of it that the request names.
    pub(crate) fn target(&self) -> Box<str> {
        let what = self.what.as_ref().map_or("", |(_, name)| name.as_str());
        format!("{}/{what}", self.service.name).into()
    }

    pub(crate) fn method(&self) -> &Method {
        self.message.method().unwrap_or(NONE)
    }

    /// Refuses the call of a tool in whose arguments a key stands twice, if the gateway or an intermediary reads some of them.
    pub(crate) fn check_arguments(&self) -> Result<()> {
        let Some((CapabilityKind::Tool, name)) = &self.what else { return Ok(()) };
        let mut replicas = self.service.replicas.iter();
        replicas.try_for_each(|replica| replica.upstream.mirrors().check(name, &self.message))
    }
}

/// The destination of a request that names something, or belongs to a service.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one, and is taken apart at once")]
pub(crate) enum Destination {
    /// A server.
    Server(ForwardPlan),
    /// The gateway itself, as a service.
    Own(Box<builtin::BuiltinRequest>),
}

/// The service and the server's own name for the item that `message` asks for; `maker` is the replica that made its task, and
/// `givers` are the services that gave the caller the URI which it names.
pub(crate) fn forward(
    view: &View,
    principal: &Principal,
    route: &Endpoint,
    maker: Option<&Replica>,
    hints: Option<&RoutingHints>,
    givers: Option<&Givers>,
    message: Message,
) -> Result<Destination> {
    let method = message.method().cloned().unwrap_or(Method::Other("".into()));
    let members = message.params_members()?;
    let (raw, kind) = match method.routing_key() {
        RoutingKey::Name => {
            let kind =
                if method == Method::PromptsGet { CapabilityKind::Prompt } else { CapabilityKind::Tool };
            (Some(required(&members, "name")?), kind)
        }
        RoutingKey::Uri => (Some(required(&members, "uri")?), CapabilityKind::Resource),
        RoutingKey::Ref => reference(&members)?,
        RoutingKey::None | RoutingKey::TaskId => (None, CapabilityKind::Tool),
    };
    let named = raw.map(|raw| Ok::<_, Error>((raw, text_of(raw)?))).transpose()?;
    let range = named.as_ref().map(|(raw, _)| message.range_of(raw));
    let name = named.map(|(_, name)| SmolStr::from(name));
    drop(members);

    if let Some(own) = builtin::asked(view, principal, route, kind, name.as_deref())? {
        return Ok(Destination::Own(Box::new(builtin::BuiltinRequest { message, name: own })));
    }
    if let Some(maker) = maker {
        let service = Arc::clone(view.service(maker.server.service.as_str())?);
        let forward = finish(service, message, kind, None, None, None)?;
        return Ok(Destination::Server(ForwardPlan { maker: Some(maker.server.id), ..forward }));
    }
    let (service, rename) = match name.as_deref() {
        Some(uri) if givers.is_some() || is_page(view, route, kind, uri) => {
            (given(view, givers, uri, &message)?, None)
        }
        name => service_of(view, route, hints, kind, name, &message)?,
    };
    finish(service, message, kind, name, range, rename).map(Destination::Server)
}

/// The service, and the name there of the item that the aggregated route calls `name`, if it differs.
fn service_of(
    view: &View,
    route: &Endpoint,
    hints: Option<&RoutingHints>,
    kind: CapabilityKind,
    name: Option<&str>,
    message: &Message,
) -> Result<(Arc<Service>, Option<String>)> {
    if let Some(hints) = hints.filter(|_| route.is_aggregated())
        && let Some(service) = super::proxy::service_of(view, hints, kind, name)?
    {
        return Ok((service, None));
    }
    let method = message.method().unwrap_or(NONE);
    if let Some(service) = view.service_at(route)? {
        super::proxy::meets(service, hints)?;
        return Ok((Arc::clone(service), None));
    }
    match name {
        Some(name) => found(view, kind, name, message),
        None if method.routing_key() == RoutingKey::TaskId => Err(Error::new(
            ErrorKind::InvalidParams,
            "you have no task with this id; ask for it on the route of its service",
        )),
        None => Err(unknown_method(method)),
    }
}

fn finish(
    service: Arc<Service>,
    message: Message,
    kind: CapabilityKind,
    name: Option<SmolStr>,
    range: Option<Range<usize>>,
    rename: Option<String>,
) -> Result<ForwardPlan> {
    // Where part of a service is hidden from the caller, every name that is not listed is unknown: also names that do not
    // exist, so that the two cannot be told apart.
    if let Some(own) = rename.as_deref().or(name.as_deref())
        && !service.shows(kind, own)
    {
        return Err(unknown_name(kind, name.as_deref().unwrap_or(own), &message));
    }
    let own_name = rename.as_deref().map(SmolStr::from).or(name);
    // Templates and completions name no item that a replica lists one by one.
    let what = own_name.filter(|name| service.definition(kind, name).is_some()).map(|name| (kind, name));
    let rename = range.zip(rename).map(|(range, name)| (range, quote(&name)));
    Ok(ForwardPlan { service, message, what, rename, maker: None })
}

/// Finds the item that the aggregated route calls `name`: the service, and the name there if it differs.
fn found(
    view: &View,
    kind: CapabilityKind,
    name: &str,
    message: &Message,
) -> Result<(Arc<Service>, Option<String>)> {
    if kind == CapabilityKind::Resource || kind == CapabilityKind::ResourceTemplate {
        return match view.service_of_resource(name) {
            Some(service) => Ok((Arc::clone(service), None)),
            None => Err(unknown_name(kind, name, message)),
        };
    }
    if let Some((service, own)) = view.resolve(name) {
        return Ok((Arc::clone(service), Some(own)));
    }
    Err(unknown_name(kind, name, message))
}

/// Whether a tool names this URI as its page.
fn is_page(view: &View, route: &Endpoint, kind: CapabilityKind, uri: &str) -> bool {
    kind == CapabilityKind::Resource && route.is_aggregated() && !view.services_of_page(uri).is_empty()
}

/// The service to which a URI belongs that servers gave to the caller: the one that lists it; else the one that gave it, alone.
///
/// [`ErrorKind::InvalidParams`] if several gave it.
fn given(view: &View, givers: Option<&Givers>, uri: &str, message: &Message) -> Result<Arc<Service>> {
    if let Some(service) = view.lister(uri) {
        return Ok(Arc::clone(service));
    }
    let told = givers.into_iter().flat_map(|givers| std::iter::once(&givers.first).chain(&givers.second));
    let mut services: Vec<&Arc<Service>> = Vec::new();
    for service in told.chain(view.services_of_page(uri)).filter_map(|name| view.services.get(name)) {
        if !services.iter().any(|known| known.name == service.name) {
            services.push(service);
        }
    }
    match services.as_slice() {
        // A caller that sees a part of a service sees what is listed.
        [service] if !service.is_veiled() => Ok(Arc::clone(service)),
        [first, second, ..] => {
            let text = format!(
                "{} was given by `{first}` and by `{second}`, so that `/mcp` cannot tell which one is meant; read it \
                 on `/mcp/{first}` or `/mcp/{second}`",
                shown(uri),
                first = first.name,
                second = second.name,
            );
            Err(Error::new(ErrorKind::InvalidParams, text))
        }
        _ => view
            .service_of_resource(uri)
            .map(Arc::clone)
            .ok_or_else(|| unknown_name(CapabilityKind::Resource, uri, message)),
    }
}

/// The error for a name that does not exist, or that the caller may not know of.
pub(crate) fn unknown_name(kind: CapabilityKind, name: &str, message: &Message) -> Error {
    let name = shown(name);
    if kind == CapabilityKind::Resource || kind == CapabilityKind::ResourceTemplate {
        return Error::new(ErrorKind::ResourceNotFound, "no service offers this resource").with("uri", name);
    }
    let what = if message.method() == Some(&Method::ToolsCall) { "tool" } else { "prompt" };
    let text = format!("Unknown {what}: {name}. Names on `/mcp` are `service__{what}`, as the list has them");
    Error::new(ErrorKind::InvalidParams, text)
}

/// The name or URI that a completion refers to.
fn reference<'a>(members: &Members<'a>) -> Result<(Option<&'a str>, CapabilityKind)> {
    let reference = Members::parse(required(members, "ref")?)?;
    match reference.text("type").as_deref() {
        Some("ref/prompt") => Ok((Some(required(&reference, "name")?), CapabilityKind::Prompt)),
        Some("ref/resource") => Ok((Some(required(&reference, "uri")?), CapabilityKind::ResourceTemplate)),
        _ => Err(Error::new(ErrorKind::InvalidParams, "`ref.type` must be `ref/prompt` or `ref/resource`")),
    }
}

fn required<'a>(members: &Members<'a>, key: &'static str) -> Result<&'a str> {
    members
        .get(key)
        .ok_or_else(|| Error::new(ErrorKind::InvalidParams, format!("`params` must have a member `{key}`")))
}

fn text_of(raw: &str) -> Result<std::borrow::Cow<'_, str>> {
    object::text(raw).ok_or_else(|| Error::new(ErrorKind::InvalidParams, "names and URIs must be strings"))
}

fn unknown_method(method: &Method) -> Error {
    Error::new(ErrorKind::MethodNotFound, format!("Method not found: {}", shown(method.as_str())))
}
