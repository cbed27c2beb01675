//! The MCP entry points: HTTP in, a [`Call`] to the gateway, its [`Reply`] out as JSON or as a stream of events.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use smol_str::SmolStr;

use super::{McpCaller, Shared, answer, modern, proxy};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Action, Call, Endpoint, Numbering, Reply, ServiceName};
use crate::rpc::answer::error_response;
use crate::rpc::headers::{LAST_EVENT_ID, PROTOCOL_VERSION, SESSION};
use crate::rpc::version::Era;
use crate::rpc::{Message, sse, version};
use crate::server::connection::body;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
/// Comments on a silent stream keep intermediaries between client and gateway from closing it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a client is to wait before it takes up a stream that ended before its call.
const RETRY: Duration = Duration::from_millis(500);

/// An MCP endpoint, by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum McpRoute {
    /// `/mcp`: everything that the asker may see.
    All,
    /// `/mcp/{service}`: one service, or none if no service can have such a name.
    One(Option<ServiceName>),
    /// `/mcp/proxy`: one call with routing wishes.
    Proxy,
    /// `/legacy/mcp`: one plain call.
    Legacy,
}

impl McpRoute {
    /// The entry point of this path; `None` if it is not an MCP endpoint.
    pub(super) fn of(path: &str) -> Option<Self> {
        if path == "/legacy/mcp" {
            return Some(Self::Legacy);
        }
        match path.strip_prefix("/mcp")? {
            "" => Some(Self::All),
            "/proxy" => Some(Self::Proxy),
            "/" | "/tools" | "/resources" => None,
            rest => {
                let service = rest.strip_prefix('/')?;
                (!service.contains('/')).then(|| Self::One(ServiceName::asked(service).ok()))
            }
        }
    }

    /// Whether its calls belong to no session.
    fn stands_alone(&self) -> bool {
        matches!(self, Self::Proxy | Self::Legacy)
    }

    fn route(&self) -> Result<Endpoint> {
        match self {
            Self::All | Self::Proxy | Self::Legacy => Ok(Endpoint::all()),
            Self::One(name) => {
                let name = name.clone().ok_or_else(|| Error::new(ErrorKind::NotFound, "no such service"))?;
                Ok(Endpoint::of(name))
            }
        }
    }
}

pub(super) async fn answer<B>(
    shared: &Shared,
    door: McpRoute,
    asker: McpCaller,
    request: Box<Request<B>>,
) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    // Not the whole head: what is left of it would be kept until the answer is there.
    let (http::request::Parts { method, headers, .. }, content) = request.into_parts();
    if door == McpRoute::Legacy && !shared.settings.legacy {
        let message = "this route is off; `server.legacy = true` turns it on";
        return refuse(None, &Error::new(ErrorKind::NotFound, message));
    }
    match method {
        Method::POST => posted(shared, door, asker, headers, content).await,
        Method::GET | Method::DELETE if !door.stands_alone() && modern::says_modern(&headers) => {
            method_not_allowed("POST")
        }
        Method::GET if !door.stands_alone() => {
            if !accepts(&headers, "text/event-stream") {
                let message = "send `Accept: text/event-stream` to open a stream";
                let mut response = refuse(None, &Error::new(ErrorKind::MediaType, message));
                *response.status_mut() = StatusCode::NOT_ACCEPTABLE;
                return response;
            }
            let id = headers.get(&LAST_EVENT_ID).map(|id| id.to_str().unwrap_or_default().into());
            let action = id.map_or(Action::Listen, Action::Resume);
            bare(shared, &door, &asker, headers, action).await
        }
        Method::DELETE if !door.stands_alone() => bare(shared, &door, &asker, headers, Action::End).await,
        _ => method_not_allowed(if door.stands_alone() { "POST" } else { "POST, GET, DELETE" }),
    }
}

/// Answers a message that was posted.
async fn posted<B>(
    shared: &Shared,
    door: McpRoute,
    asker: McpCaller,
    headers: HeaderMap,
    content: B,
) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    if let Err(error) = body::check_json(&headers) {
        Box::pin(body::discard(content)).await;
        return refuse(None, &error);
    }
    match body::read(content, shared.settings.max_body_bytes).await {
        Ok(content) if door.stands_alone() => {
            let hints = door == McpRoute::Proxy;
            Box::pin(proxy::answer(shared, asker, headers, content, hints)).await
        }
        Ok(content) => match asked(&door, &asker, headers, content) {
            Ok(asked) => carry_out(shared, &asker, asked).await,
            Err(refused) => *refused,
        },
        Err(error) => refuse(None, &error),
    }
}

fn method_not_allowed(allowed: &'static str) -> Response<Body> {
    let text = format!("this route has {allowed}");
    let mut response = refuse(None, &Error::new(ErrorKind::MethodNotAllowed, text));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// A request, parsed.
struct ParsedRequest {
    call: Box<Call>,
    /// The message's own id.
    id: Option<SmolStr>,
}

/// The request in a posted message; else the refusal.
fn asked(
    door: &McpRoute,
    asker: &McpCaller,
    headers: HeaderMap,
    content: Bytes,
) -> Result<ParsedRequest, Box<Response<Body>>> {
    let message = Message::parse(content).map_err(|error| Box::new(refuse(None, &error)))?;
    let id = message.id().map(SmolStr::from);
    let raw_id = || id.as_deref();
    let era =
        modern::era_of(&headers, &message).map_err(|error| Box::new(modern::refuse(raw_id(), &error)))?;
    let call = call(door, asker, headers, Action::Send(message), era);
    let call = call.map_err(|error| Box::new(refusal(era)(raw_id(), &error)))?;
    Ok(ParsedRequest { call, id })
}

/// Carries out a request that came without a message.
async fn bare(
    shared: &Shared,
    door: &McpRoute,
    asker: &McpCaller,
    headers: HeaderMap,
    action: Action,
) -> Response<Body> {
    match call(door, asker, headers, action, Era::Legacy) {
        Ok(call) => carry_out(shared, asker, ParsedRequest { call, id: None }).await,
        Err(error) => refuse(None, &error),
    }
}

fn call(
    door: &McpRoute,
    asker: &McpCaller,
    headers: HeaderMap,
    action: Action,
    era: Era,
) -> Result<Box<Call>> {
    if era == Era::Legacy {
        check_version(&headers)?;
    }
    Ok(Box::new(Call {
        route: door.route()?,
        action,
        era,
        session: headers.get(&SESSION).and_then(|value| value.to_str().ok()).map(str::to_owned),
        streams: accepts(&headers, "text/event-stream"),
        resumes: era == Era::Legacy,
        headers,
        correlation_id: Arc::clone(&asker.correlation_id),
        hints: None,
        builtin: asker.builtin,
        over_network: true,
    }))
}

/// How a client of this era is told of an error.
fn refusal(era: Era) -> fn(Option<&str>, &Error) -> Response<Body> {
    if era == Era::Modern { modern::refuse } else { refuse }
}

async fn carry_out(
    shared: &Shared,
    asker: &McpCaller,
    ParsedRequest { call, id }: ParsedRequest,
) -> Response<Body> {
    let refuse = refusal(call.era);
    let ends = matches!(call.action, Action::End);
    match shared.gateway.handle(call, &asker.credentials).await {
        Ok(Reply::Message { body, session, .. }) => {
            let mut response = json(StatusCode::OK, body);
            if let Some(session) = session.and_then(|session| HeaderValue::from_str(&session).ok()) {
                response.headers_mut().insert(SESSION, session);
            }
            response
        }
        Ok(Reply::Refused { body, code, .. }) => json(modern::status_of(code), body),
        Ok(Reply::Stream { messages, numbering, .. }) => events(messages, numbering),
        Ok(Reply::Accepted) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = if ends { StatusCode::NO_CONTENT } else { StatusCode::ACCEPTED };
            response
        }
        Err(error) => refuse(id.as_deref(), &error),
    }
}

/// An answer as JSON.
pub(super) fn json(status: StatusCode, content: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(content));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// Whether an error of this kind is the answer to a request that was understood.
fn shows(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::InvalidParams | ErrorKind::ResourceNotFound | ErrorKind::MethodNotFound)
}

/// An error as JSON-RPC. An error that a legacy client's library would otherwise not show to its user, because the status is not
/// 200, is answered with 200: a wrong name and an unknown method or resource.
pub(super) fn refuse(id: Option<&str>, error: &Error) -> Response<Body> {
    let shown = id.is_some() && shows(error.kind());
    let status = if shown { StatusCode::OK } else { answer::status_of(error.kind()) };
    let mut response = json(status, error_response(id, error, version::Era::Legacy));
    answer::retry_after(&mut response, error);
    response
}

/// Messages as server-sent events, with comments while nothing is said. Where they are numbered each has an id, and a stream
/// begins with an event that has nothing but one, so that it can be taken up again before anything was said.
fn events(messages: BoxStream<'static, Bytes>, numbering: Option<Numbering>) -> Response<Body> {
    let silent = futures_util::stream::unfold((messages, 0), move |(mut messages, count)| async move {
        match tokio::time::timeout(KEEP_ALIVE, messages.next()).await {
            Ok(Some(message)) => {
                let id = numbering.map(|numbering| numbering.id(count + 1));
                Some((sse::encode_in_pieces(message, id.as_deref()), (messages, count + 1)))
            }
            Ok(None) => None,
            Err(_) => Some(([sse::KEEP_ALIVE, Bytes::new(), Bytes::new()], (messages, count))),
        }
    });
    let silent = silent
        .flat_map(|pieces| futures_util::stream::iter(pieces.into_iter().filter(|piece| !piece.is_empty())));
    let first = numbering.filter(|numbering| numbering.polls);
    let first = first.map(|numbering| sse::primer(&numbering.id(0), RETRY));
    let silent = futures_util::stream::iter(first).chain(silent);
    let mut response = Response::new(Body::from_stream(silent.map(Ok::<_, std::convert::Infallible>)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, EVENTS);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn check_version(headers: &HeaderMap) -> Result<()> {
    let Some(value) = headers.get(&PROTOCOL_VERSION) else { return Ok(()) };
    let text = value.to_str().unwrap_or("?");
    // Only `initialize` comes here with the modern one, and names its version itself.
    if version::LEGACY.contains(&text) || text == version::MODERN {
        return Ok(());
    }
    let shown: String = text.chars().take(40).collect();
    Err(Error::new(ErrorKind::UnsupportedVersion, "this protocol version is not supported")
        .with("requested", shown))
}

/// The value of `Accept` that the specification has every client send, which most do in these very bytes.
const USUAL: &[u8] = b"application/json, text/event-stream";

fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    if headers.get(header::ACCEPT).is_some_and(|value| value.as_bytes() == USUAL) {
        return true;
    }
    headers.get_all(header::ACCEPT).iter().any(|value| {
        value.as_bytes().split(|byte| *byte == b',').any(|part| {
            let essence = part.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            essence.eq_ignore_ascii_case(wanted.as_bytes()) || essence == b"*/*"
        })
    })
}
