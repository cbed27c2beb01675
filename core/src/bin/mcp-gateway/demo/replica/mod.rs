//! A small MCP server that the demo runs as a child process: its items, and its answers.
//!
//! It speaks the revisions that open with `initialize`. Each `echo` stands in the ledger before it takes effect.

mod http;
mod stdio;

use std::io::BufReader;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use clap::ValueEnum;
use mcp_registry_gateway::rpc::{Message, Method, Shape, version};
use mcp_registry_gateway::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ledger::Ledger;

/// Arguments of the hidden subcommand that runs one demo server.
#[derive(clap::Args, Debug)]
pub(crate) struct ServerArgs {
    /// The name that the server reports
    #[arg(long)]
    name: String,
    /// Loopback port of its streamable HTTP endpoint; 0 is any free one
    #[arg(long, conflicts_with = "stdio", required_unless_present = "stdio")]
    port: Option<u16>,
    /// Speak over standard input and output
    #[arg(long)]
    stdio: bool,
    /// Which tools it has
    #[arg(long, value_enum, default_value = "calc")]
    offer: Offer,
    /// File to which executed calls are appended
    #[arg(long)]
    ledger: Option<PathBuf>,
}

/// A set of tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Offer {
    /// `add`, `whoami`, `echo`.
    Calc,
    /// `write`, `read`.
    Notes,
}

/// Runs one demo server until its standard input ends, so that it never outlives its parent process.
pub(super) async fn serve(args: ServerArgs) -> Result<()> {
    let server = Replica {
        name: args.name,
        offer: args.offer,
        ledger: Ledger::open(args.ledger.as_deref())?,
        notes: Mutex::default(),
    };
    match args.port {
        Some(port) => http::serve(server, port).await,
        None => stdio::serve(&server, BufReader::new(std::io::stdin()), &mut std::io::stdout()).await,
    }
}

#[derive(Debug)]
struct Replica {
    name: String,
    offer: Offer,
    ledger: Ledger,
    notes: Mutex<Vec<String>>,
}

#[derive(Deserialize)]
struct ToolCall {
    name: String,
    #[serde(default)]
    arguments: Value,
}

#[derive(Deserialize)]
struct Add {
    a: f64,
    b: f64,
}

#[derive(Deserialize)]
struct Echo {
    call_id: String,
    text: String,
    #[serde(default)]
    hold_ms: u64,
}

#[derive(Deserialize)]
struct Write {
    text: String,
}

impl Replica {
    /// The response to a request; `None` for a notification or a response, which need none.
    async fn answer(&self, message: &Message) -> Option<Bytes> {
        let (Shape::Request, Some(method), Some(id)) = (message.shape(), message.method(), message.id())
        else {
            return None;
        };
        Some(match self.result(method, message).await {
            Ok(result) => mcp_registry_gateway::rpc::answer::result_response(id, &result.to_string()),
            Err(error) => error_response(id, &error),
        })
    }

    async fn result(&self, method: &Method, message: &Message) -> Result<Value> {
        match method.as_str() {
            "initialize" => {
                let asked =
                    message.params_members()?.text("protocolVersion").unwrap_or_default().into_owned();
                Ok(json!({
                    "protocolVersion": version::negotiate(&asked),
                    "capabilities": {"tools": {}, "resources": {}},
                    "serverInfo": {"name": self.name, "version": env!("CARGO_PKG_VERSION")},
                }))
            }
            "ping" => Ok(json!({})),
            "tools/list" => Ok(json!({"tools": self.tools()})),
            "tools/call" => {
                let call: ToolCall = read(message.params().unwrap_or("{}"))?;
                self.call(call).await
            }
            "resources/list" => Ok(json!({"resources": [{
                "uri": "ledger://calls", "name": "ledger", "mimeType": "application/json",
                "description": "The calls that this server executed, in order",
            }]})),
            "resources/read" => {
                if message.params_members()?.text("uri").as_deref() != Some("ledger://calls") {
                    return Err(Error::new(
                        ErrorKind::InvalidParams,
                        "the only resource is `ledger://calls`",
                    ));
                }
                let text = json!(self.ledger.calls()).to_string();
                Ok(
                    json!({"contents": [{"uri": "ledger://calls", "mimeType": "application/json", "text": text}]}),
                )
            }
            other => Err(Error::new(ErrorKind::MethodNotFound, "no such method").with("method", other)),
        }
    }

    fn tools(&self) -> Value {
        match self.offer {
            Offer::Calc => json!([
                {"name": "add", "description": "Adds two numbers", "inputSchema": {"type": "object",
                    "properties": {"a": {"type": "number"}, "b": {"type": "number"}}, "required": ["a", "b"]}},
                {"name": "whoami", "description": "The name of the replica that answers",
                    "inputSchema": {"type": "object"}},
                {"name": "echo", "description": "Enters `call_id` in the ledger and gives `text` back",
                    "inputSchema": {"type": "object", "properties": {"call_id": {"type": "string"},
                    "text": {"type": "string"}, "hold_ms": {"type": "integer", "minimum": 0, "maximum": 1000}},
                    "required": ["call_id", "text"]}},
            ]),
            Offer::Notes => json!([
                {"name": "write", "description": "Adds a note and gives their number", "inputSchema": {"type": "object",
                    "properties": {"text": {"type": "string"}}, "required": ["text"]}},
                {"name": "read", "description": "All notes, one a line", "inputSchema": {"type": "object"}},
            ]),
        }
    }

    async fn call(&self, call: ToolCall) -> Result<Value> {
        match (self.offer, call.name.as_str()) {
            (Offer::Calc, "add") => {
                let Add { a, b } = read_value(call.arguments)?;
                Ok(said(&json!(a + b).to_string()))
            }
            (Offer::Calc, "whoami") => Ok(said(&self.name)),
            (Offer::Calc, "echo") => {
                let Echo { call_id, text, hold_ms } = read_value(call.arguments)?;
                // The effect lies in the middle, so that a kill can hit before as well as after it.
                let half = Duration::from_millis(hold_ms.min(1000)) / 2;
                hold(half).await;
                self.ledger.enter(&call_id)?;
                hold(half).await;
                let mut result = said(&text);
                result["structuredContent"] = json!({"replica": self.name, "call_id": call_id});
                Ok(result)
            }
            (Offer::Notes, "write") => {
                let Write { text } = read_value(call.arguments)?;
                let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
                notes.push(text);
                Ok(said(&notes.len().to_string()))
            }
            (Offer::Notes, "read") => {
                Ok(said(&self.notes.lock().unwrap_or_else(PoisonError::into_inner).join("\n")))
            }
            (_, other) => Err(Error::new(ErrorKind::InvalidParams, "no such tool").with("tool", other)),
        }
    }
}

async fn hold(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

fn said(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

fn read<'a, T: Deserialize<'a>>(raw: &'a str) -> Result<T> {
    serde_json::from_str(raw).map_err(|error| Error::new(ErrorKind::InvalidParams, error.to_string()))
}

fn read_value<T: for<'a> Deserialize<'a>>(value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|error| Error::new(ErrorKind::InvalidParams, error.to_string()))
}

fn error_response(id: &str, error: &Error) -> Bytes {
    let error = json!({"code": error.kind().row().rpc, "message": error.to_string()});
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#).into()
}

#[cfg(test)]
mod tests;
