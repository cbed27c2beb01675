//! An MCP client of the modern era, as thin as can be: each request stands alone, with its `_meta` and its headers.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::http::{Http, Reply};
use crate::mcp::{Answer, finish};

/// The revision that this client speaks.
pub const VERSION: &str = "2026-07-28";

/// A client of one route.
#[derive(Clone, Debug)]
pub struct Modern {
    http: Http,
    path: String,
    /// What every request declares.
    pub capabilities: Value,
    /// The log level that every request asks for.
    pub log_level: Option<String>,
}

impl Modern {
    /// A client of the route `path` that offers the server nothing.
    pub fn new(address: SocketAddr, path: &str) -> Self {
        Self { http: Http::new(address), path: path.to_owned(), capabilities: json!({}), log_level: None }
    }

    /// A client of the route `path` over the connections of `http`.
    pub fn over(http: &Http, path: &str) -> Self {
        Self { http: http.clone(), path: path.to_owned(), capabilities: json!({}), log_level: None }
    }

    /// The same client, with `capabilities`.
    #[must_use]
    pub fn with(self, capabilities: Value) -> Self {
        Self { capabilities, ..self }
    }

    /// The request as this client sends it.
    pub fn message(&self, id: &Value, method: &str, params: Value) -> Value {
        let mut params = params;
        let mut meta = json!({
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": self.capabilities,
        });
        if let Some(level) = &self.log_level {
            meta["io.modelcontextprotocol/logLevel"] = level.as_str().into();
        }
        for (key, value) in params["_meta"].as_object().into_iter().flatten() {
            meta[key] = value.clone();
        }
        params["_meta"] = meta;
        json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
    }

    /// Posts a message with the headers that belong to it; `more` replaces or adds some, and an empty value leaves one out.
    pub async fn post(&self, message: &Value, more: &[(&str, &str)]) -> io::Result<Reply> {
        let method = message["method"].as_str().unwrap_or_default();
        let params = &message["params"];
        let name = match method {
            "tools/call" | "prompts/get" => params["name"].as_str(),
            "resources/read" => params["uri"].as_str(),
            _ => None,
        };
        let name = name.map(mcp_registry_gateway::rpc::headers::encode);
        let mut headers = vec![
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
            ("mcp-protocol-version", VERSION),
            ("mcp-method", method),
        ];
        let name = name.as_ref().and_then(|name| name.to_str().ok());
        headers.extend(name.map(|name| ("mcp-name", name)));
        headers.retain(|(name, _)| !more.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)));
        headers.extend(more.iter().filter(|(_, value)| !value.is_empty()));
        self.http.send(Method::POST, &self.path, &headers, Bytes::from(message.to_string())).await
    }

    /// Sends a request and reads the answer to its end.
    pub async fn request(&self, method: &str, params: Value) -> io::Result<Answer> {
        self.request_as(&json!(1), method, params).await
    }

    /// As [`Modern::request`], with this id; an error if the response has another one.
    pub async fn request_as(&self, id: &Value, method: &str, params: Value) -> io::Result<Answer> {
        let mut reply = self.post(&self.message(id, method, params), &[]).await?;
        if !reply.header("mcp-session-id").is_empty() {
            return Err(io::Error::other("a session was minted for a modern client"));
        }
        let answer = finish(&mut reply).await?;
        if answer.response["id"] != *id {
            return Err(io::Error::other(format!("asked with id {id}, answered with {}", answer.response)));
        }
        Ok(answer)
    }

    /// Calls a tool.
    pub async fn call(&self, tool: &str, arguments: Value) -> io::Result<Answer> {
        self.request("tools/call", json!({ "name": tool, "arguments": arguments })).await
    }

    /// Sends a call again with the answers to what was asked.
    pub async fn retry(
        &self,
        tool: &str,
        arguments: Value,
        responses: Value,
        state: &Value,
    ) -> io::Result<Answer> {
        let params = json!({ "name": tool, "arguments": arguments, "inputResponses": responses, "requestState": state });
        self.request_as(&json!("again"), "tools/call", params).await
    }
}
