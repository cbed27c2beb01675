//! The demo server over streamable HTTP, with sessions.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use bytes::Bytes;
use mcp_registry_gateway::rpc::{Message, Method};
use mcp_registry_gateway::{Error, ErrorKind, Result};
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;

use super::{Replica, error_response};

const SESSION: &str = "mcp-session-id";

#[derive(Debug)]
pub(super) struct Endpoint {
    server: Replica,
    sessions: Mutex<HashSet<String>>,
}

/// Serves on loopback until standard input ends; the first line of standard output is `listening on ADDRESS`.
pub(super) async fn serve(server: Replica, port: u16) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| {
        Error::new(ErrorKind::Unavailable, "the port cannot be listened on")
            .with("port", port)
            .with("reason", &error)
            .caused_by(error)
    })?;
    let address: SocketAddr = listener.local_addr().map_err(broken)?;
    println!("listening on {address}");
    let listener = listener.tap_io(|connection| {
        // Without it the worst that happens is a slower demo.
        let _ = connection.set_nodelay(true);
    });
    let input = spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    tokio::select! {
        served = axum::serve(listener, router(server)) => served.map_err(broken),
        _ = input => Ok(()),
    }
}

/// `/mcp` and, for looking without a session, `/ledger`.
pub(super) fn router(server: Replica) -> Router {
    let endpoint = Arc::new(Endpoint { server, sessions: Mutex::default() });
    Router::new().route("/mcp", post(receive).delete(end)).route("/ledger", get(ledger)).with_state(endpoint)
}

async fn receive(State(endpoint): State<Arc<Endpoint>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    // No page in a browser has business here.
    if headers.contains_key(ORIGIN) {
        return plain(StatusCode::FORBIDDEN);
    }
    let message = match Message::parse(body) {
        Ok(message) => message,
        Err(error) => return json(StatusCode::BAD_REQUEST, error_response("null", &error)),
    };
    let opens = message.method() == Some(&Method::Initialize);
    if !opens {
        match session(&headers) {
            None => return plain(StatusCode::BAD_REQUEST),
            Some(id) if !endpoint.sessions().contains(id) => return plain(StatusCode::NOT_FOUND),
            Some(_) => {}
        }
    }
    let Some(reply) = endpoint.server.answer(&message).await else {
        return plain(StatusCode::ACCEPTED);
    };
    let mut response = json(StatusCode::OK, reply);
    if opens {
        let id = uuid::Uuid::new_v4().simple().to_string();
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(SESSION, value);
        }
        endpoint.sessions().insert(id);
    }
    response
}

async fn end(State(endpoint): State<Arc<Endpoint>>, headers: HeaderMap) -> Response<Body> {
    let known = session(&headers).is_some_and(|id| endpoint.sessions().remove(id));
    plain(if known { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND })
}

async fn ledger(State(endpoint): State<Arc<Endpoint>>) -> Response<Body> {
    json(StatusCode::OK, serde_json::json!(endpoint.server.ledger.calls()).to_string().into())
}

impl Endpoint {
    fn sessions(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn session(headers: &HeaderMap) -> Option<&str> {
    headers.get(SESSION)?.to_str().ok()
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn json(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn broken(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Internal, "the demo server's endpoint broke")
        .with("reason", &error)
        .caused_by(error)
}
