//! The answers of an upstream server, as a table.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One answer to one request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// A response with this `result`, as it is written here.
    Result(String),
    /// A JSON-RPC error.
    Error(i64, String),
    /// A whole message instead of a response, `$ID` standing for the id of the request. It need not be JSON.
    Raw(String),
    /// The same in bytes that need not be UTF-8.
    Bytes(Vec<u8>),
    /// An event stream of these messages over HTTP; over the other transports, the messages one after the other.
    Events(Vec<String>),
    /// An HTTP answer as it is: status, headers, body, `$ID` standing for the id. Over stdio, the process ends.
    Http(u16, Vec<(String, String)>, Vec<u8>),
    /// Nothing, ever.
    Hang,
    /// Another reply after a while, in milliseconds.
    After(u64, Box<Reply>),
    /// Ends the connection or the process without an answer.
    Reset,
}

/// The replies of a server by method.
///
/// A key is `METHOD NAME` (the name of a tool or prompt, or a URI), `METHOD`, or the verb and path of an HTTP request
/// (`POST /mcp`, `GET /mcp`); the first that fits, in this order from the most special, wins. Without a rule a server answers
/// well: it has no items, and every tool, prompt and resource answers with its own name.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Script {
    capabilities: String,
    replies: BTreeMap<String, Vec<Reply>>,
    #[serde(skip)]
    given: Mutex<BTreeMap<String, usize>>,
    #[serde(skip)]
    received: Mutex<Vec<Value>>,
}

impl Script {
    /// A server that declares `capabilities`: raw JSON.
    pub fn declaring(capabilities: &str) -> Self {
        Self { capabilities: capabilities.to_owned(), ..Self::default() }
    }

    /// A server with these tools: a raw JSON array.
    pub fn tools(tools: &str) -> Self {
        Self::declaring(r#"{"tools":{}}"#).result("tools/list", format!(r#"{{"tools":{tools}}}"#))
    }

    /// A server with one good tool, `good`.
    pub fn good() -> Self {
        Self::tools(r#"[{"name":"good","inputSchema":{"type":"object"}}]"#)
    }

    /// Adds a reply: each request of `key` gets the next one, and the last one stays.
    #[must_use]
    pub fn on(mut self, key: &str, reply: Reply) -> Self {
        self.replies.entry(key.to_owned()).or_default().push(reply);
        self
    }

    /// Adds a reply with this raw `result`; line ends in it, which a message over stdio cannot have, become spaces.
    #[must_use]
    pub fn result(self, key: &str, result: impl Into<String>) -> Self {
        self.on(key, Reply::Result(result.into().replace('\n', " ")))
    }

    /// Adds a reply with an error.
    #[must_use]
    pub fn error(self, key: &str, code: i64) -> Self {
        self.on(key, Reply::Error(code, "as the script says".to_owned()))
    }

    /// The messages that were received.
    pub(super) fn received(&self) -> Vec<Value> {
        lock(&self.received).clone()
    }

    /// Writes a message down.
    pub(super) fn record(&self, message: Value) {
        lock(&self.received).push(message);
    }

    /// The next reply under `key`, if there is a rule.
    pub(super) fn take(&self, key: &str) -> Option<Reply> {
        let replies = self.replies.get(key)?;
        let mut given = lock(&self.given);
        let next = given.entry(key.to_owned()).or_default();
        let reply = replies.get((*next).min(replies.len() - 1)).cloned();
        *next += 1;
        reply
    }

    /// The reply to a request.
    pub(super) fn reply(&self, message: &Value) -> Reply {
        let method = message["method"].as_str().unwrap_or_default();
        let params = &message["params"];
        let name = params["name"].as_str().or_else(|| params["uri"].as_str()).unwrap_or_default();
        let found = self.take(&format!("{method} {name}")).or_else(|| self.take(method));
        found.unwrap_or_else(|| self.good_reply(method, name, params))
    }

    fn good_reply(&self, method: &str, name: &str, params: &Value) -> Reply {
        let result = match method {
            "initialize" => {
                let version = params["protocolVersion"].as_str().unwrap_or("2025-06-18");
                let capabilities = if self.capabilities.is_empty() { "{}" } else { &self.capabilities };
                return Reply::Result(format!(
                    r#"{{"protocolVersion":"{version}","capabilities":{capabilities},"serverInfo":{{"name":"field","version":"1"}}}}"#
                ));
            }
            "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => json!({}),
            "tools/list" => json!({ "tools": [] }),
            "resources/list" => json!({ "resources": [] }),
            "resources/templates/list" => json!({ "resourceTemplates": [] }),
            "prompts/list" => json!({ "prompts": [] }),
            "tools/call" => json!({ "content": [{ "type": "text", "text": name }] }),
            "prompts/get" => {
                json!({ "messages": [{ "role": "user", "content": { "type": "text", "text": name } }] })
            }
            "resources/read" => json!({ "contents": [{ "uri": name, "text": name }] }),
            _ => return Reply::Error(-32601, "Method not found".to_owned()),
        };
        Reply::Result(result.to_string())
    }
}

impl Reply {
    /// A wait before the reply, and the reply itself.
    pub(super) fn timed(self) -> (Duration, Self) {
        match self {
            Self::After(millis, reply) => {
                let (more, reply) = reply.timed();
                (Duration::from_millis(millis) + more, reply)
            }
            reply => (Duration::ZERO, reply),
        }
    }

    /// The messages of the reply to the request `id`; `None` if it has none.
    pub(super) fn messages(&self, id: &Value) -> Option<Vec<Vec<u8>>> {
        let filled = |text: &str| text.replace("$ID", &id.to_string()).into_bytes();
        Some(match self {
            Self::Result(result) => {
                vec![format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#).into_bytes()]
            }
            Self::Error(code, message) => {
                let error = json!({ "code": code, "message": message });
                vec![format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#).into_bytes()]
            }
            Self::Raw(text) => vec![filled(text)],
            Self::Bytes(bytes) => vec![fill(bytes, id)],
            Self::Events(messages) => messages.iter().map(|text| filled(text)).collect(),
            Self::Http(..) | Self::Hang | Self::After(..) | Self::Reset => return None,
        })
    }
}

/// `bytes` with `id` in place of `$ID`.
pub(super) fn fill(bytes: &[u8], id: &Value) -> Vec<u8> {
    let Some(at) = bytes.windows(3).position(|three| three == b"$ID") else { return bytes.to_vec() };
    [&bytes[..at], id.to_string().as_bytes(), &bytes[at + 3..]].concat()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
