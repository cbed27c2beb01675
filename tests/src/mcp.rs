//! An MCP client of the legacy era, as thin as can be: what is sent and what comes back stay visible.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::http::{Http, Reply};

/// The revision that this client asks for.
pub const VERSION: &str = "2025-11-25";

/// One client session on one route.
#[derive(Debug)]
pub struct Client {
    http: Http,
    path: String,
    session: String,
    /// The server's `initialize` result.
    pub initialized: Value,
    next: AtomicU64,
}

/// What came back for one request: the HTTP status, and every message, the response last.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
    /// What came before the response.
    pub before: Vec<Value>,
    /// The response; null where there was none.
    pub response: Value,
}

impl Answer {
    /// The text of a tool's first content, empty where there is none.
    pub fn text(&self) -> &str {
        self.response.pointer("/result/content/0/text").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether it is a result, over HTTP and in JSON-RPC alike.
    pub fn is_result(&self) -> bool {
        self.status == 200 && self.response.get("result").is_some()
    }

    /// The names in a list's result.
    pub fn names(&self, member: &str) -> Vec<String> {
        let items = self.response["result"][member].as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().filter_map(|item| item["name"].as_str().map(str::to_owned)).collect()
    }

    /// As [`Answer::names`], without what the gateway itself offers on `/mcp`.
    pub fn names_of_servers(&self, member: &str) -> Vec<String> {
        let mut names = self.names(member);
        names.retain(|name| !name.starts_with("gateway__"));
        names
    }
}

impl Client {
    /// Opens a session on `path` that offers the server nothing.
    pub async fn connect(address: SocketAddr, path: &str) -> io::Result<Self> {
        Self::connect_with(&Http::new(address), path, json!({})).await
    }

    /// Opens a session that declares `capabilities`, over the connections of `http`.
    pub async fn connect_with(http: &Http, path: &str, capabilities: Value) -> io::Result<Self> {
        let mut client = Self {
            http: http.clone(),
            path: path.to_owned(),
            session: String::new(),
            initialized: Value::Null,
            next: AtomicU64::new(1),
        };
        let params = json!({
            "protocolVersion": VERSION,
            "capabilities": capabilities,
            "clientInfo": { "name": "test", "version": "1" },
        });
        let opening = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params });
        let mut reply = client.post(&opening).await?;
        client.session = reply.header("mcp-session-id").to_owned();
        let status = reply.status;
        let answer = finish(&mut reply).await?;
        let result = answer.response.get("result").cloned();
        client.initialized =
            result.ok_or_else(|| io::Error::other(format!("initialize: {status} {}", answer.response)))?;
        client.notify("notifications/initialized", json!({})).await?;
        Ok(client)
    }

    /// The session's id.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// Posts one message and leaves the answer to the caller.
    pub async fn post(&self, message: &Value) -> io::Result<Reply> {
        self.post_bytes(Bytes::from(message.to_string()), &[]).await
    }

    /// Posts bytes with the headers that MCP wants, and `more`.
    pub async fn post_bytes(&self, body: Bytes, more: &[(&str, &str)]) -> io::Result<Reply> {
        let mut headers =
            vec![("accept", "application/json, text/event-stream"), ("content-type", "application/json")];
        if !self.session.is_empty() {
            headers.extend([("mcp-session-id", self.session.as_str()), ("mcp-protocol-version", VERSION)]);
        }
        headers.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
        headers.extend(more);
        self.http.send(Method::POST, &self.path, &headers, body).await
    }

    /// Sends a notification; an error unless it is accepted.
    pub async fn notify(&self, method: &str, params: Value) -> io::Result<()> {
        self.deliver(&json!({ "jsonrpc": "2.0", "method": method, "params": params })).await
    }

    /// Sends a notification or a response; an error unless it is accepted.
    pub async fn deliver(&self, message: &Value) -> io::Result<()> {
        let reply = self.post(message).await?;
        let status = reply.status;
        let body = reply.bytes().await?;
        if status == 202 { Ok(()) } else { Err(io::Error::other(format!("{status}: {body:?}"))) }
    }

    /// Sends a request with the next id.
    pub async fn request(&self, method: &str, params: Value) -> io::Result<Answer> {
        self.request_as(&json!(self.next.fetch_add(1, Ordering::Relaxed)), method, params).await
    }

    /// Sends a request with an id of the caller's choice; an error if the response has another one.
    pub async fn request_as(&self, id: &Value, method: &str, params: Value) -> io::Result<Answer> {
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let answer = finish(&mut self.post(&message).await?).await?;
        match answer.response.get("id") {
            Some(found) if found != id && answer.status == 200 => {
                Err(io::Error::other(format!("asked with id {id}, answered with {found}")))
            }
            _ => Ok(answer),
        }
    }

    /// Calls a tool.
    pub async fn call(&self, tool: &str, arguments: Value) -> io::Result<Answer> {
        self.request("tools/call", json!({ "name": tool, "arguments": arguments })).await
    }

    /// Opens the stream outside any exchange.
    pub async fn listen(&self) -> io::Result<Reply> {
        let headers = [
            ("accept", "text/event-stream"),
            ("mcp-session-id", self.session.as_str()),
            ("mcp-protocol-version", VERSION),
        ];
        self.http.send(Method::GET, &self.path, &headers, Bytes::new()).await
    }

    /// Takes up the stream of a call behind the event `id`.
    pub async fn resume(&self, id: &str) -> io::Result<Reply> {
        let headers = [
            ("accept", "text/event-stream"),
            ("mcp-session-id", self.session.as_str()),
            ("mcp-protocol-version", VERSION),
            ("last-event-id", id),
        ];
        self.http.send(Method::GET, &self.path, &headers, Bytes::new()).await
    }

    /// Ends the session; gives the HTTP status.
    pub async fn end(self) -> io::Result<u16> {
        let headers = [("mcp-session-id", self.session.as_str()), ("mcp-protocol-version", VERSION)];
        let reply = self.http.send(Method::DELETE, &self.path, &headers, Bytes::new()).await?;
        let status = reply.status;
        reply.bytes().await?;
        Ok(status)
    }
}

/// Reads an answer to its end.
pub async fn finish(reply: &mut Reply) -> io::Result<Answer> {
    let retry_after = reply.header("retry-after").parse().ok();
    let mut answer = Answer { status: reply.status, retry_after, before: Vec::new(), response: Value::Null };
    while let Some(message) = reply.next().await? {
        if message.get("method").is_some() {
            answer.before.push(message);
        } else {
            answer.response = message;
        }
        if !reply.is_stream() {
            break;
        }
    }
    Ok(answer)
}
