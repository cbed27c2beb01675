//! `mcp-gateway call`: one tool, as an MCP client.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::register::read;
use crate::api::At;
use crate::client::{Client, Reply};
use crate::exit::Failure;
use crate::table::{print, print_json};
use crate::wiring::Common;

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const REVISION: &str = "2025-11-25";

/// Calls a tool through a running gateway and prints its answer. Exit code 1 if the tool says that it failed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  mcp-gateway call calc__add '{\"a\": 1, \"b\": 2}'
  mcp-gateway call calc add '{\"a\": 1, \"b\": 2}'
  mcp-gateway call calc add - < arguments.json")]
pub(crate) struct Args {
    /// `SERVICE__TOOL`, or SERVICE and TOOL; then the arguments as a JSON object, or `-` for standard input
    #[arg(required = true, num_args = 1..=3, value_names = ["SERVICE__TOOL", "JSON"])]
    words: Vec<String>,
    /// Longest wait for the answer, in seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Print the whole result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

pub(crate) async fn run(common: &Common, args: Args) -> Result<(), Failure> {
    let wanted = ToolChoice::of(&args.words)?;
    let client = args.at.client(common)?;
    let mut session = Session {
        client,
        path: wanted.path,
        timeout: Duration::from_secs(args.timeout),
        headers: Vec::new(),
    };
    session.open().await?;
    let result = session
        .request(2, "tools/call", &json!({ "name": wanted.tool, "arguments": wanted.arguments }))
        .await;
    session.close().await;
    show(&result?, args.json)
}

/// The tool to call, and its gateway.
#[derive(Debug, PartialEq)]
struct ToolChoice {
    path: String,
    tool: String,
    arguments: Value,
}

impl ToolChoice {
    fn of(words: &[String]) -> Result<Self, Failure> {
        let (service, tool, arguments) = match words {
            [name] => (None, name, None),
            [name, arguments] if name.contains("__") => (None, name, Some(arguments)),
            [service, tool] => (Some(service), tool, None),
            [service, tool, arguments] => (Some(service), tool, Some(arguments)),
            _ => return Err(Failure::usage("say which tool")),
        };
        if service.is_none() && !tool.contains("__") {
            return Err(Failure::usage(format!("`{tool}`: say SERVICE__TOOL, or SERVICE and TOOL")));
        }
        let arguments = match arguments.map(String::as_str) {
            None => json!({}),
            Some("-") => parse(&read(Path::new("-"))?)?,
            Some(text) => parse(text)?,
        };
        let path = service.map_or_else(|| "/mcp".to_owned(), |service| format!("/mcp/{service}"));
        Ok(Self { path, tool: tool.clone(), arguments })
    }
}

fn parse(text: &str) -> Result<Value, Failure> {
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(Failure::usage("the arguments are not a JSON object")),
        Err(error) => Err(Failure::usage(format!("the arguments are not JSON: {error}"))),
    }
}

struct Session {
    client: Client,
    path: String,
    timeout: Duration,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Session {
    async fn open(&mut self) -> Result<(), Failure> {
        self.headers.push((ACCEPT, HeaderValue::from_static("application/json, text/event-stream")));
        let params = json!({
            "protocolVersion": REVISION,
            "capabilities": {},
            "clientInfo": { "name": "mcp-gateway", "version": env!("CARGO_PKG_VERSION") },
        });
        let reply = self
            .post(&json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params }))
            .await?;
        let result = outcome(&reply, 1)?;
        if let Some(id) = reply.headers.get(SESSION) {
            self.headers.push((SESSION, id.clone()));
        }
        let version = result["protocolVersion"].as_str().unwrap_or(REVISION);
        if let Ok(version) = HeaderValue::from_str(version) {
            self.headers.push((VERSION, version));
        }
        self.post(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await?;
        Ok(())
    }

    async fn request(&self, id: u64, method: &str, params: &Value) -> Result<Value, Failure> {
        let reply =
            self.post(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await?;
        outcome(&reply, id)
    }

    async fn post(&self, message: &Value) -> Result<Reply, Failure> {
        let body = Some(Bytes::from(message.to_string()));
        self.client.send(Method::POST, &self.path, &self.headers, body, self.timeout).await
    }

    /// The call is over: whether the session's end is received changes nothing for it.
    async fn close(&self) {
        let _ =
            self.client.send(Method::DELETE, &self.path, &self.headers, None, Duration::from_secs(2)).await;
    }
}

/// The result with this id, from a body of JSON or of events.
fn outcome(reply: &Reply, id: u64) -> Result<Value, Failure> {
    let text = String::from_utf8_lossy(&reply.body);
    let is_stream =
        reply.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    let message = if is_stream {
        events(&text)
            .filter_map(|data| serde_json::from_str::<Value>(&data).ok())
            .find(|message| message["id"] == id)
    } else {
        serde_json::from_str::<Value>(&text).ok()
    };
    let Some(message) = message else {
        let status = reply.status;
        return Err(match status {
            StatusCode::OK => {
                Failure::failed("the stream ended without the answer; whether the tool ran is not known")
            }
            _ => Failure::failed(format!("the gateway answered {status}")),
        });
    };
    match message.get("error") {
        Some(error) => {
            Err(Failure::failed(error["message"].as_str().unwrap_or("the gateway refused the call")))
        }
        None => Ok(message["result"].clone()),
    }
}

/// The data of each event of a whole stream.
fn events(text: &str) -> impl Iterator<Item = String> {
    let text = text.replace("\r\n", "\n");
    let blocks: Vec<String> = text.split("\n\n").map(str::to_owned).collect();
    blocks.into_iter().map(|block| {
        let data = block.lines().filter_map(|line| line.strip_prefix("data:"));
        data.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
    })
}

fn show(result: &Value, as_json: bool) -> Result<(), Failure> {
    if as_json {
        print_json(result)?;
    } else {
        for block in result["content"].as_array().into_iter().flatten() {
            match block["text"].as_str() {
                Some(text) => print(text)?,
                None => print_json(block)?,
            }
        }
    }
    if result["isError"] == true { Err(Failure::failed("the tool says that it failed")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(words: &[&str]) -> Result<ToolChoice, Failure> {
        ToolChoice::of(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_tool_is_named_in_one_word_or_in_two() {
        let one = wanted(&["calc__add", r#"{"a":1}"#]).unwrap();
        assert_eq!(
            (one.path.as_str(), one.tool.as_str(), &one.arguments["a"]),
            ("/mcp", "calc__add", &json!(1))
        );
        let two = wanted(&["calc", "add"]).unwrap();
        assert_eq!((two.path.as_str(), two.tool.as_str()), ("/mcp/calc", "add"));
        assert!(wanted(&["add"]).is_err());
        assert!(wanted(&["calc", "add", "[1]"]).is_err());
    }

    #[test]
    fn the_answer_is_found_among_the_events_of_a_stream() {
        let stream = "event: message\r\ndata: {\"method\":\"notifications/progress\"}\r\n\r\ndata: {\"id\":2,\r\ndata: \"result\":{}}\r\n\r\n";
        let found = events(stream)
            .filter_map(|data| serde_json::from_str::<Value>(&data).ok())
            .find(|m| m["id"] == 2);
        assert_eq!(found.unwrap()["result"], json!({}));
    }
}
