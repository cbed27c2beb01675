//! A script over streamable HTTP, under `/mcp`, and over HTTP+SSE, under `/sse` and `/messages`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use mcp_registry_gateway::tasks::Tasks;
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::script::{Reply, Script, fill};

type Body = UnsyncBoxBody<Bytes, io::Error>;

struct Server {
    script: Arc<Script>,
    /// The streams of HTTP+SSE clients, by number.
    streams: Mutex<HashMap<u64, UnboundedSender<Bytes>>>,
    next: AtomicU64,
}

pub(super) async fn serve(listener: TcpListener, script: Arc<Script>, tasks: Tasks) {
    let server = Arc::new(Server { script, streams: Mutex::default(), next: AtomicU64::new(1) });
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        drop(stream.set_nodelay(true));
        let server = Arc::clone(&server);
        tasks.spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&server)));
            // A connection that the script ends is an error here, and meant.
            let http = hyper::server::conn::http1::Builder::new();
            drop(http.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(request: Request<Incoming>, server: Arc<Server>) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let mut message: Value = serde_json::from_slice(&body).unwrap_or(Value::Object(Map::new()));
    let id = message.get("id").cloned();
    let headers = head.headers.iter().map(|(name, value)| {
        (name.to_string(), Value::from(String::from_utf8_lossy(value.as_bytes()).into_owned()))
    });
    message["headers"] = Value::Object(headers.collect());
    message["http"] = Value::from(format!("{} {}", head.method, head.uri));
    server.script.record(message.clone());
    let place = format!("{} {}", head.method, head.uri.path());
    let by_place = server.script.take(&place);
    if by_place.is_none() && head.method == Method::GET {
        return match head.uri.path() {
            "/sse" => open(&server),
            _ => status(405),
        };
    }
    let is_request = message.get("method").is_some() && id.is_some();
    let reply = match by_place {
        Some(reply) => Some(reply),
        None if head.method == Method::DELETE => return status(200),
        None if !is_request => {
            // A notification, or an answer of the client: a script may refuse one.
            message["method"].as_str().and_then(|method| server.script.take(method))
        }
        None => Some(server.script.reply(&message)),
    };
    let Some(reply) = reply else { return status(202) };
    let (pause, reply) = reply.timed();
    tokio::time::sleep(pause).await;
    let id = id.unwrap_or(Value::Null);
    match reply {
        Reply::Hang => std::future::pending().await,
        Reply::Reset | Reply::After(..) => Err(io::ErrorKind::ConnectionReset.into()),
        Reply::Http(code, headers, body) => {
            let mut response = Response::builder().status(code);
            let mut body = fill(&body, &id);
            for (name, value) in headers {
                body = if name == "content-encoding" { packed(&value, body)? } else { body };
                response = response.header(name, value);
            }
            response.body(whole(body)).map_err(io::Error::other)
        }
        reply => {
            let messages = reply.messages(&id).unwrap_or_default();
            match head.uri.query().and_then(|query| query.strip_prefix("session=")) {
                Some(session) => push(&server, session, &messages),
                None => written(&reply, &message, &messages),
            }
        }
    }
}

/// The answer of streamable HTTP.
fn written(reply: &Reply, message: &Value, messages: &[Vec<u8>]) -> io::Result<Response<Body>> {
    let mut response = Response::builder().status(200);
    if message["method"] == "initialize" {
        response = response.header("mcp-session-id", "field");
    }
    let (kind, body) = if matches!(reply, Reply::Events(_)) {
        ("text/event-stream", messages.iter().flat_map(|message| event(message)).collect())
    } else {
        ("application/json", messages.concat())
    };
    response.header("content-type", kind).body(whole(body)).map_err(io::Error::other)
}

/// Opens the stream of an HTTP+SSE client.
fn open(server: &Server) -> io::Result<Response<Body>> {
    let number = server.next.fetch_add(1, Ordering::Relaxed);
    let (sender, receiver) = unbounded_channel();
    drop(sender.send(Bytes::from(format!("event: endpoint\ndata: /messages?session={number}\n\n"))));
    server.streams.lock().unwrap_or_else(PoisonError::into_inner).insert(number, sender);
    let frames = stream::unfold(receiver, |mut receiver: UnboundedReceiver<Bytes>| async move {
        let bytes = receiver.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(bytes)), receiver))
    });
    let body = StreamBody::new(frames).map_err(|never| match never {}).boxed_unsync();
    Response::builder().header("content-type", "text/event-stream").body(body).map_err(io::Error::other)
}

/// Sends messages over the stream of an HTTP+SSE client.
fn push(server: &Server, session: &str, messages: &[Vec<u8>]) -> io::Result<Response<Body>> {
    let streams = server.streams.lock().unwrap_or_else(PoisonError::into_inner);
    let stream = session.parse().ok().and_then(|number: u64| streams.get(&number));
    for message in messages {
        drop(stream.map(|stream| stream.send(Bytes::from(event(message)))));
    }
    status(202)
}

/// `body` in this encoding; as it is in one that is not known.
fn packed(encoding: &str, body: Vec<u8>) -> io::Result<Vec<u8>> {
    let level = flate2::Compression::default();
    match encoding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(&body)?;
            encoder.finish()
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(&body)?;
            encoder.finish()
        }
        _ => Ok(body),
    }
}

fn event(message: &[u8]) -> Vec<u8> {
    [b"event: message\ndata: ", message, b"\n\n"].concat()
}

fn whole(bytes: Vec<u8>) -> Body {
    Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed_unsync()
}

fn status(code: u16) -> io::Result<Response<Body>> {
    Response::builder().status(code).body(whole(Vec::new())).map_err(io::Error::other)
}
