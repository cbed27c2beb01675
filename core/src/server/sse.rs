//! HTTP+SSE of 2024-11-05, for clients that know nothing newer; off unless `server.sse` is true.
//!
//! `GET /sse`, or `/sse/{service}` for one service, opens a stream whose first event names where to post: `/messages` with the
//! stream's own id, which nobody can guess. Posts are accepted and answered on the stream. The stream is the connection: when
//! it closes, its session ends. This file and its row in the configuration are all there is of it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Path, RawQuery, Request, State};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use tokio::sync::mpsc;
use url::form_urlencoded;
use uuid::Uuid;

use super::answer::Failure;
use super::forwarding::prefix;
use super::{AppState, mcp};
use crate::auth::Credentials;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{Caller, ClientConnection, OpenStream};
use crate::model::{Endpoint, Principal, ServiceName};
use crate::rpc::{Message, sse};
use crate::server::connection::body;

/// Comments on a silent stream keep intermediaries between client and gateway from closing it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Such comments in a row after which a stream without a session is closed: a minute.
const UNUSED: u32 = 4;
const PARAMETER: &str = "session_id";
/// The path to which a client of such a stream posts.
pub(super) const MESSAGES: &str = "/messages";

/// The open streams.
struct Room {
    door: AppState,
    open: Mutex<HashMap<String, Seat>>,
}

/// The client at the other end of one stream.
#[derive(Clone)]
struct Seat {
    principal: Principal,
    attached: ClientConnection,
}

/// The routes, which answer that they are off unless they are on.
pub(super) fn routes(door: &AppState) -> axum::Router {
    let room = Arc::new(Room { door: Arc::clone(door), open: Mutex::default() });
    axum::Router::new()
        .route("/sse", get(open_all))
        .route("/sse/{service}", get(open_one))
        .route(MESSAGES, post(deliver))
        .method_not_allowed_fallback(super::answer::no_method)
        .with_state(room)
}

async fn open_all(
    State(room): State<Arc<Room>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response<Body>, Failure> {
    room.open(caller, Endpoint::all(), &prefix(&room.door, &headers))
}

async fn open_one(
    State(room): State<Arc<Room>>,
    Extension(caller): Extension<Caller>,
    Path(service): Path<String>,
    headers: HeaderMap,
) -> Result<Response<Body>, Failure> {
    let service =
        ServiceName::asked(&service).map_err(|_| Error::new(ErrorKind::NotFound, "no such service"))?;
    room.open(caller, Endpoint::of(service), &prefix(&room.door, &headers))
}

async fn deliver(
    State(room): State<Arc<Room>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response<Body> {
    let taken = async {
        room.check_on()?;
        body::check_json(request.headers())?;
        let seat = room.seat(query.as_deref().unwrap_or_default(), &caller.principal)?;
        seat.attached.renew(Credentials::Embedded(caller.principal.clone()));
        let content = body::read(request.into_body(), room.door.settings.max_body_bytes).await?;
        seat.attached.take(Message::parse(content)?, caller.correlation_id).await;
        Ok(())
    };
    match taken.await {
        Ok(()) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::ACCEPTED;
            response
        }
        Err(error) => mcp::refuse(None, &error),
    }
}

impl Room {
    fn check_on(&self) -> Result<()> {
        let off = || Error::new(ErrorKind::NotFound, "this route is off; `server.sse = true` turns it on");
        if self.door.settings.sse { Ok(()) } else { Err(off()) }
    }

    fn open(
        self: &Arc<Self>,
        caller: Caller,
        route: Endpoint,
        prefix: &str,
    ) -> Result<Response<Body>, Failure> {
        self.check_on()?;
        if !self.door.gateway.is_ready() {
            return Err(Error::new(ErrorKind::Unavailable, "the gateway is shutting down").into());
        }
        let id = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let credentials = Credentials::Embedded(caller.principal.clone());
        let (attached, heard) = ClientConnection::new(self.door.gateway.clone(), route, credentials, true);
        let open = self.door.gateway.open_stream(&caller)?;
        self.locked().insert(id.clone(), Seat { principal: caller.principal, attached: attached.clone() });
        let endpoint = format!("event: endpoint\ndata: {prefix}{MESSAGES}?{PARAMETER}={id}\n\n");
        let leaving = Leaving { room: Arc::clone(self), id, attached, open };
        Ok(stream_of(Bytes::from(endpoint), heard, leaving))
    }

    /// The stream that a message belongs to; one of somebody else is as unknown as one that never was.
    fn seat(&self, query: &str, principal: &Principal) -> Result<Seat> {
        let mut ids = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == PARAMETER);
        let id = ids.next().map(|(_, id)| id);
        let found = id.and_then(|id| self.locked().get(&*id).cloned());
        found.filter(|seat| seat.principal == *principal && ids.next().is_none()).ok_or_else(|| {
            Error::new(ErrorKind::SessionNotFound, "no such stream; open a new one with `GET /sse`")
        })
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Seat>> {
        // Every change is one insert or remove.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the session when the stream is dropped, by either side.
struct Leaving {
    room: Arc<Room>,
    id: String,
    attached: ClientConnection,
    open: OpenStream,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.room.locked().remove(&self.id);
        let attached = self.attached.clone();
        self.room.door.gateway.tasks().spawn(async move { attached.end().await });
    }
}

fn stream_of(endpoint: Bytes, heard: mpsc::Receiver<Bytes>, leaving: Leaving) -> Response<Body> {
    let events = stream::unfold((heard, leaving, 0_u32), |(mut heard, leaving, silent)| async move {
        let (event, silent) = tokio::select! {
            biased;
            message = heard.recv() => (sse::encode(&message?, None), 0),
            () = leaving.attached.over() => return None,
            () = leaving.open.ended() => return None,
            () = tokio::time::sleep(KEEP_ALIVE) => (sse::KEEP_ALIVE, silent + 1),
        };
        let unused = silent >= UNUSED && !leaving.attached.has_session();
        (!unused).then_some((event, (heard, leaving, silent)))
    });
    let events = stream::iter([endpoint]).chain(events).map(Ok::<_, Infallible>);
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
