//! `/api/v1/events`: live changes of servers and their health, as server-sent events or over WebSocket.
//!
//! The request chooses between the two: `Upgrade: websocket`, or a plain GET. Nothing is buffered for a reader: a stream keeps
//! its place in the gateway's ring of events, and one that falls behind gets `lagged` and reads the list anew.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::IntoResponse as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::schema::Refused;
use crate::auth::Credentials;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{Caller, Events};
use crate::rpc::sse;
use crate::server::AppState;
use crate::server::answer::Failure;
use crate::views::event::{ServerEvent, told};

/// How long a reader may take none of what is written to its WebSocket.
const STALL: Duration = Duration::from_secs(30);
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// Bytes of a client's key.
const KEY: usize = 16;
/// Clients have nothing to say here.
const MAX_FRAME: usize = 4096;

/// Watches servers and their health
///
/// A stream of server-sent events, each with its `type` for a name and JSON for data; with `Upgrade: websocket`, the same JSON as
/// text frames. It begins with the events from now on: read the list after the stream has opened. Where events were missed, also
/// by coming back with `Last-Event-ID`, there is an event `lagged`.
#[utoipa::path(get, path = "/api/v1/events", tag = "operation",
    params(("Last-Event-ID" = Option<String>, Header, description = "As browsers send it when they come back")),
    responses((status = 101, description = "A WebSocket"),
        (status = 200, description = "The stream", body = ServerEvent, content_type = "text/event-stream"),
        (status = 406, description = "`Accept` does not have `text/event-stream`", body = super::schema::ErrorAnswer),
        (status = 400, description = "No whole handshake of a WebSocket", body = super::schema::ErrorAnswer),
        (status = 426, description = "Another version of WebSocket than 13", body = super::schema::ErrorAnswer), Refused))]
pub(crate) async fn events(
    State(door): State<AppState>,
    caller: Caller,
    request: Request,
) -> Result<Response<Body>, Failure> {
    if asks_to_upgrade(request.headers()) {
        return upgrade(&door, &caller, request);
    }
    if !takes_events(request.headers()) {
        let error =
            Error::new(ErrorKind::MediaType, "send `Accept: text/event-stream`, or upgrade to a WebSocket");
        return Err(Failure::status(error, StatusCode::NOT_ACCEPTABLE));
    }
    let missed = request.headers().contains_key(LAST_EVENT_ID);
    let credentials = credentials_of(&request, &caller);
    Ok(event_stream(&door, door.gateway.events(&caller, credentials)?, missed))
}

/// The caller's credentials; its principal, where nothing was sent over a network.
fn credentials_of(request: &Request, caller: &Caller) -> Credentials {
    let shown = request.extensions().get::<Credentials>().cloned();
    shown.unwrap_or_else(|| Credentials::Embedded(caller.principal.clone()))
}

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

fn event_stream(door: &AppState, events: Events, missed: bool) -> Response<Body> {
    let clock = door.clock.clone();
    let mut first = vec![Bytes::from_static(b"retry: 2000\n\n")];
    if missed {
        first.push(written(0, &ServerEvent::lagged(clock.timestamp())));
    }
    let rest = stream::unfold((events, 1_u64), move |(mut events, number)| {
        let clock = clock.clone();
        async move {
            Some(match told(events.next().await?, clock.timestamp()) {
                None => (sse::KEEP_ALIVE, (events, number)),
                Some(event) => (written(number, &event), (events, number + 1)),
            })
        }
    });
    let mut response =
        Response::new(Body::from_stream(stream::iter(first).chain(rest).map(Ok::<_, Infallible>)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// JSON has no raw line breaks in it as it is written here, so that one `data` line holds it.
fn written(number: u64, event: &ServerEvent) -> Bytes {
    let data = serde_json::to_string(event).unwrap_or_default();
    format!("event: {}\nid: {number}\ndata: {data}\n\n", event.kind).into()
}

fn takes_events(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(header::ACCEPT).iter().peekable();
    accepted.peek().is_none()
        || accepted.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|range| {
            let range = range.split(';').next().unwrap_or("").trim();
            ["text/event-stream", "text/*", "*/*"].iter().any(|taken| range.eq_ignore_ascii_case(taken))
        })
}

fn asks_to_upgrade(headers: &HeaderMap) -> bool {
    let upgrades = headers.get_all(header::UPGRADE).iter().filter_map(|value| value.to_str().ok());
    upgrades.flat_map(|value| value.split(',')).any(|protocol| {
        // A protocol may have a version behind it.
        protocol.split('/').next().unwrap_or_default().trim().eq_ignore_ascii_case("websocket")
    })
}

/// The server's answer to the client's key.
///
/// The whole opening handshake is checked, as RFC 6455 (section 4.2.1) has it: an intermediary that sees less than a handshake takes
/// what follows for requests. `Host` and `Origin` were held against the settings before this, and the router took no method but GET.
fn accepted(request: &Request) -> Result<HeaderValue, Failure> {
    let headers = request.headers();
    let wrong = |message: &'static str| Failure::from(Error::new(ErrorKind::InvalidRequest, message));
    if request.version() != Version::HTTP_11 {
        return Err(wrong("a WebSocket is opened by HTTP/1.1"));
    }
    if !lists(headers, &header::UPGRADE, "websocket") {
        return Err(wrong("send `Upgrade: websocket`"));
    }
    if !lists(headers, &header::CONNECTION, "upgrade") {
        return Err(wrong("send `Connection: Upgrade` with `Upgrade: websocket`"));
    }
    let length = headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
    if length || headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(wrong("a request that opens a WebSocket has no body"));
    }
    if only(headers, &header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let error = Error::new(ErrorKind::InvalidRequest, "send `Sec-WebSocket-Version: 13`");
        return Err(Failure::status(error, StatusCode::UPGRADE_REQUIRED));
    }
    let key = only(headers, &header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    let is_key = |key: &&[u8]| STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == KEY);
    let key =
        key.filter(is_key).ok_or_else(|| wrong("send one `Sec-WebSocket-Key`: 16 random bytes in base64"))?;
    HeaderValue::try_from(derive_accept_key(key)).map_err(|_| wrong("send another `Sec-WebSocket-Key`"))
}

/// The one value of a header; `None` if there is none, or another beside it.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether the header, which is a list, has this token.
fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(token))
}

/// The server's part of the opening handshake (RFC 6455, section 4.2).
fn upgrade(door: &AppState, caller: &Caller, mut request: Request) -> Result<Response<Body>, Failure> {
    let accept = match accepted(&request) {
        Ok(accept) => accept,
        Err(failure) => {
            let mut response = failure.into_response();
            if response.status() == StatusCode::UPGRADE_REQUIRED {
                response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            return Ok(response);
        }
    };
    let credentials = credentials_of(&request, caller);
    let socket = request.extensions_mut().remove::<OnUpgrade>().ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidRequest,
            "this connection cannot become a WebSocket; leave out `Upgrade` to get events",
        )
    })?;
    let events = door.gateway.events(caller, credentials)?;
    let clock = door.clock.clone();
    door.gateway.tasks().spawn(async move {
        match socket.await {
            Ok(socket) => talk(TokioIo::new(socket), events, move || clock.timestamp()).await,
            Err(error) => tracing::debug!(%error, "a WebSocket for events was not opened"),
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

/// Sends events until either side ends it. The client's frames are read, for its pings and its farewell, and passed over.
async fn talk<S>(socket: S, mut events: Events, now: impl Fn() -> Timestamp)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let config = WebSocketConfig::default()
        .read_buffer_size(MAX_FRAME)
        .write_buffer_size(0)
        .max_message_size(Some(MAX_FRAME))
        .max_frame_size(Some(MAX_FRAME));
    let mut socket = WebSocketStream::from_raw_socket(socket, Role::Server, Some(config)).await;
    loop {
        let frame = tokio::select! {
            said = socket.next() => match said {
                Some(Ok(Frame::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => continue,
            },
            heard = events.next() => match heard.map(|heard| told(heard, now())) {
                Some(Some(event)) => Frame::text(serde_json::to_string(&event).unwrap_or_default()),
                Some(None) => Frame::Ping(Bytes::new()),
                None => {
                    let _ = tokio::time::timeout(FAREWELL, socket.close(None)).await;
                    return;
                }
            },
        };
        let sent = tokio::select! {
            biased;
            // At once, also where the client takes nothing.
            () = events.ended() => return,
            sent = tokio::time::timeout(STALL, socket.send(frame)) => sent,
        };
        if !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}
