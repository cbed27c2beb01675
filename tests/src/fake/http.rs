//! Streamable HTTP of the legacy era.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use mcp_registry_gateway::tasks::Tasks;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::ledger::Entry;
use super::plan::Plan;
use super::run::{Out, run};
use super::state::{Reaction, State};

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Accepts for ever.
pub(super) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>, tasks: Tasks) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            drop(stream.set_nodelay(true));
            tasks.spawn(connection(stream, tls.clone(), Arc::clone(&state), tasks.clone()));
        }
    }
}

/// What answering one request needs to know.
#[derive(Clone, Debug)]
struct Place {
    state: Arc<State>,
    tasks: Tasks,
    socket: Arc<OwnedFd>,
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, state: Arc<State>, tasks: Tasks) {
    let Ok(socket) = stream.as_fd().try_clone_to_owned() else { return };
    let place = Place { state, tasks, socket: Arc::new(socket) };
    let service = service_fn(move |request| answer(request, place.clone()));
    let server = hyper::server::conn::http1::Builder::new();
    // A connection that the script reset, or that a client does not trust, ends in an error, which is what was wanted.
    match tls {
        None => drop(server.serve_connection(TokioIo::new(stream), service).await),
        Some(tls) => {
            let Ok(stream) = tls.accept(stream).await else { return };
            drop(server.serve_connection(TokioIo::new(stream), service).await);
        }
    }
}

/// Makes the kernel send RST instead of FIN when the connection is dropped, which the error brings about.
fn reset(socket: &OwnedFd) -> io::Error {
    // If this fails the client sees FIN, which is a broken answer too.
    let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
    io::Error::from(io::ErrorKind::ConnectionReset)
}

async fn answer(request: Request<Incoming>, place: Place) -> Result<Response<Body>, io::Error> {
    let state = &place.state;
    let (head, body) = request.into_parts();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: BTreeMap<_, _> =
        head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    let session = headers.get("mcp-session-id").cloned();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    if head.method != Method::POST {
        let entry = Entry {
            via: head.method.to_string(),
            session: session.clone(),
            method: None,
            id: None,
            params: Value::Null,
            headers,
            executed: true,
        };
        state.ledger.record(entry);
        let known = session.as_deref().is_some_and(|id| state.knows_session(id));
        return Ok(match head.method {
            Method::GET if known => news(state),
            Method::DELETE if session.is_some_and(|id| state.close_session(&id)) => empty(StatusCode::OK),
            Method::GET | Method::DELETE => empty(StatusCode::NOT_FOUND),
            _ => empty(StatusCode::METHOD_NOT_ALLOWED),
        });
    }
    let Ok(message) = serde_json::from_slice::<Value>(&body) else {
        return Ok(empty(StatusCode::BAD_REQUEST));
    };
    let opens = message["method"] == "initialize";
    if !opens && !session.as_deref().is_some_and(|id| state.knows_session(id)) {
        return Ok(empty(StatusCode::NOT_FOUND));
    }
    match state.receive("POST", session, headers, &message) {
        Reaction::Taken => Ok(empty(StatusCode::ACCEPTED)),
        Reaction::Do(mut plan) => {
            if opens && plan.executes {
                plan.headers.push(("mcp-session-id", state.open_session()));
            }
            carry_out(plan, place.clone()).await
        }
    }
}

/// Waits for the first thing the plan sends, then answers, with a stream where more may follow.
async fn carry_out(plan: Plan, place: Place) -> Result<Response<Body>, io::Error> {
    let mut response = Response::builder().status(plan.status);
    for (name, value) in &plan.headers {
        response = response.header(*name, value);
    }
    let kind = if plan.stream { "text/event-stream" } else { "application/json" };
    let (sender, mut out) = mpsc::channel(16);
    place.tasks.spawn(run(Arc::clone(&place.state), plan.steps, sender));
    let body = if plan.stream {
        response = response.header("content-type", kind);
        flow(None, out, move |message| event(&message), place.socket)
    } else {
        match out.recv().await {
            None => whole(Bytes::new()),
            Some(Out::Message(message)) => {
                response = response.header("content-type", kind);
                whole(Bytes::from(message.to_string()))
            }
            Some(Out::Raw(bytes)) => {
                response = response.header("content-type", kind);
                flow(Some(bytes), out, |message| Bytes::from(message.to_string()), place.socket)
            }
            Some(_) => return Err(reset(&place.socket)),
        }
    };
    response.body(body).map_err(io::Error::other)
}

fn flow<F>(first: Option<Bytes>, out: mpsc::Receiver<Out>, write: F, socket: Arc<OwnedFd>) -> Body
where
    F: Fn(Value) -> Bytes + Send + 'static,
{
    let frames =
        stream::unfold((first, out, write, socket), |(mut first, mut out, write, socket)| async move {
            let frame = match first.take() {
                Some(bytes) => Ok(bytes),
                None => match out.recv().await? {
                    Out::Message(message) => Ok(write(message)),
                    Out::Raw(bytes) => Ok(bytes),
                    Out::Reset | Out::Stderr(_) | Out::Exit(_) | Out::Deaf => Err(reset(&socket)),
                },
            };
            Some((frame.map(Frame::data), (None, out, write, socket)))
        });
    StreamBody::new(frames).boxed_unsync()
}

/// The stream outside any exchange.
fn news(state: &State) -> Response<Body> {
    let frames = stream::unfold(state.news.subscribe(), |mut news| async move {
        let message = news.recv().await.ok()?;
        Some((Ok::<_, io::Error>(Frame::data(event(&message))), news))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert("content-type", HeaderValue::from_static("text/event-stream"));
    response
}

fn event(message: &Value) -> Bytes {
    Bytes::from(format!("event: message\ndata: {message}\n\n"))
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(whole(Bytes::new()));
    *response.status_mut() = status;
    response
}
