//! A real MCP client, as small as the demo needs it: one kept connection, one session, one call at a time.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::request::Builder;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use mcp_registry_gateway::rpc::{Message, version};
use mcp_registry_gateway::tasks::Tasks;
use mcp_registry_gateway::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// One HTTP connection that is kept, and opened anew when the other side closed it.
#[derive(Debug)]
pub(super) struct Http {
    address: SocketAddr,
    tasks: Tasks,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Http {
    /// A client of the server at `address`; connects with the first request.
    pub(super) fn new(address: SocketAddr, tasks: &Tasks) -> Self {
        Self { address, tasks: tasks.clone(), sender: None }
    }

    /// Sends one request and reads the whole answer.
    pub(super) async fn send(&mut self, request: Builder, body: Bytes) -> Result<Response<Bytes>> {
        let request = request
            .header(HOST, self.address.to_string())
            .body(Full::new(body))
            .map_err(|error| broken("the request cannot be built", self.address, error))?;
        let mut sender = match self.sender.take() {
            Some(mut kept) => match kept.ready().await {
                Ok(()) => kept,
                Err(_) => self.connect().await?,
            },
            None => self.connect().await?,
        };
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| broken("the connection broke during a request", self.address, error))?;
        let (head, body) = response.into_parts();
        let body = body
            .collect()
            .await
            .map_err(|error| broken("the connection broke during an answer", self.address, error))?
            .to_bytes();
        self.sender = Some(sender);
        Ok(Response::from_parts(head, body))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(|error| broken("cannot connect", self.address, error))?;
        // Without it the worst that happens is a slower demo.
        let _ = stream.set_nodelay(true);
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken("cannot speak HTTP", self.address, error))?;
        self.tasks.spawn(async move {
            // A broken connection shows in the request that uses it.
            let _ = connection.await;
        });
        Ok(sender)
    }
}

/// Whether a call that failed can have reached a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// No byte of it: sending it again is safe.
    No,
    /// It may have been executed (`data.outcome` is `unknown`).
    Unknown,
    /// The error does not say, so it is the server's own answer.
    Answered,
}

/// The outcome of a request.
#[derive(Debug)]
pub(super) enum Answer {
    /// Its result.
    Result(Value),
    /// A JSON-RPC error.
    Failure {
        /// The error's message.
        message: String,
        /// The error's word on whether the call was sent.
        sent: Sent,
    },
}

/// An initialized MCP session.
#[derive(Debug)]
pub(super) struct Session {
    http: Http,
    path: Arc<str>,
    id: Option<HeaderValue>,
    next: u64,
}

impl Session {
    /// Connects, initializes and confirms.
    pub(super) async fn open(address: SocketAddr, path: Arc<str>, tasks: &Tasks) -> Result<Self> {
        let mut session = Self { http: Http::new(address, tasks), path, id: None, next: 0 };
        let hello = json!({
            "protocolVersion": version::LATEST_LEGACY,
            "capabilities": {},
            "clientInfo": {"name": "mcp-gateway demo", "version": env!("CARGO_PKG_VERSION")},
        });
        if let Answer::Failure { message, .. } = session.request("initialize", &hello).await? {
            return Err(Error::new(ErrorKind::BadUpstream, "initialize was refused").with("reason", message));
        }
        let confirmation = Message::request(None, "notifications/initialized", None);
        let answer = session.post(confirmation).await?;
        if answer.status() == StatusCode::ACCEPTED {
            return Ok(session);
        }
        Err(Error::new(ErrorKind::BadUpstream, "notifications/initialized must be answered by 202")
            .with("status", answer.status()))
    }

    /// Calls a tool.
    pub(super) async fn call(&mut self, tool: &str, arguments: &Value) -> Result<Answer> {
        self.request("tools/call", &json!({"name": tool, "arguments": arguments})).await
    }

    /// Sends a request; its answer must carry its id.
    pub(super) async fn request(&mut self, method: &str, params: &Value) -> Result<Answer> {
        self.next += 1;
        let id = self.next;
        let answer = self.post(Message::request(Some(id), method, Some(&params.to_string()))).await?;
        if let Some(session) = answer.headers().get("mcp-session-id") {
            self.id = Some(session.clone());
        }
        if answer.status() == StatusCode::NOT_FOUND && answer.body().is_empty() {
            return Err(Error::new(ErrorKind::SessionNotFound, "the session is gone"));
        }
        for message in messages(answer.headers(), answer.body()) {
            let message: Value = serde_json::from_slice(message).map_err(|error| {
                Error::new(ErrorKind::BadUpstream, "the answer is not JSON")
                    .with("status", answer.status())
                    .caused_by(error)
            })?;
            if let Some(answer) = response_to(id, message) {
                return Ok(answer);
            }
        }
        Err(Error::new(ErrorKind::BadUpstream, "no answer with the id of the request")
            .with("id", id)
            .with("status", answer.status()))
    }

    /// Ends the session.
    pub(super) async fn close(&mut self) -> Result<()> {
        let request = self.head(Method::DELETE);
        self.http.send(request, Bytes::new()).await.map(drop)
    }

    async fn post(&mut self, body: Bytes) -> Result<Response<Bytes>> {
        let request = self.head(Method::POST);
        self.http.send(request, body).await
    }

    fn head(&self, method: Method) -> Builder {
        let builder = Request::builder()
            .method(method)
            .uri(&*self.path)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream");
        match &self.id {
            Some(id) => {
                builder.header("mcp-session-id", id).header("mcp-protocol-version", version::LATEST_LEGACY)
            }
            None => builder,
        }
    }
}

/// The messages of a body: one, or one an event. The gateway and the demo's servers write each on one `data:` line.
fn messages<'a>(headers: &HeaderMap, body: &'a [u8]) -> Vec<&'a [u8]> {
    let events = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("text/event-stream"));
    if !events {
        return vec![body];
    }
    let data = body.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data:"));
    data.map(<[u8]>::trim_ascii).filter(|data| !data.is_empty()).collect()
}

fn response_to(id: u64, mut message: Value) -> Option<Answer> {
    let error = message.get("error");
    // An error may stand without an id if the id could not be read.
    if message["id"] != id && !(error.is_some() && message["id"].is_null()) {
        return None;
    }
    if let Some(error) = error {
        return Some(Answer::Failure {
            message: error["message"].as_str().unwrap_or("an error without a message").to_owned(),
            sent: sent(&error["data"]),
        });
    }
    message.get_mut("result").map(|result| Answer::Result(result.take()))
}

/// The gateway says `not_sent`, or that the very same call can succeed later.
fn sent(data: &Value) -> Sent {
    match data["outcome"].as_str() {
        Some("unknown") => Sent::Unknown,
        Some("not_sent") => Sent::No,
        _ if data["retryable"] == true => Sent::No,
        _ => Sent::Answered,
    }
}

fn broken(
    what: &'static str,
    address: SocketAddr,
    error: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    Error::new(ErrorKind::Unavailable, what).with("address", address).with("reason", &error).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_found_among_the_events_of_a_stream() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        let body = b"id: 1\ndata:\n\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"x\"}\n\ndata: {\"id\":7,\"result\":{}}\r\n\n";
        let found = messages(&headers, body);
        assert_eq!(found.len(), 2);
        let answers = found.iter().filter_map(|m| response_to(7, serde_json::from_slice(m).unwrap()));
        assert_eq!(answers.count(), 1);
    }

    #[test]
    fn an_error_of_unknown_outcome_is_told_from_one_of_a_call_that_was_not_sent() {
        let failure = |data: Value| match response_to(1, json!({"id": 1, "error": {"data": data}})) {
            Some(Answer::Failure { sent, .. }) => sent,
            other => panic!("{other:?}"),
        };
        assert_eq!(failure(json!({"outcome": "unknown", "retryable": true})), Sent::Unknown);
        assert_eq!(failure(json!({"outcome": "not_sent"})), Sent::No);
        assert_eq!(failure(json!({"retryable": true})), Sent::No);
        assert_eq!(failure(json!({})), Sent::Answered);
    }
}
