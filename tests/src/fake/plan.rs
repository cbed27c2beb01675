//! What a fake server does with one request, before any transport is involved.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::script::Act;
use super::state::State;
use super::tools;

/// One thing to do.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Sends a message.
    Send(Value),
    /// Sends bytes that need not be a message.
    Raw(Bytes),
    /// Sends bytes over and over until nobody takes them.
    Endless(Bytes),
    /// Does nothing for a while.
    Wait(Duration),
    /// Asks the client and answers the request `answers` with what the client replied.
    Ask { method: String, params: Value, answers: Value },
    /// Never goes on.
    Hang,
    /// Resets the connection; over stdio, exits.
    Reset,
    /// Writes this many bytes to stderr; stdio only.
    Stderr(usize),
    /// Ends the process with a code, or by a signal; stdio only.
    Exit(Option<i32>),
    /// Stops reading input; stdio only.
    Deaf,
}

/// What to do with one request.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The HTTP status.
    pub status: u16,
    /// HTTP headers besides the content type.
    pub headers: Vec<(&'static str, String)>,
    /// Whether the answer is an event stream.
    pub stream: bool,
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// Whether the server does what was asked.
    pub executes: bool,
}

impl Plan {
    fn of(stream: bool, steps: Vec<Step>) -> Self {
        Self { status: 200, headers: Vec::new(), stream, steps, executes: true }
    }

    /// An HTTP answer without a message.
    pub(super) fn status(status: u16) -> Self {
        Self { status, ..Self::of(false, Vec::new()) }
    }
}

/// What `state`'s server does with the request `id`.
pub(super) fn plan(state: &State, id: &Value, method: &str, params: &Value) -> Plan {
    let tool = params["name"].as_str();
    match state.script.take(method, tool) {
        None | Some(Act::Answer) => regular(state, id, method, params),
        Some(act) => scripted(state, &act, id, method, params),
    }
}

fn regular(state: &State, id: &Value, method: &str, params: &Value) -> Plan {
    let result = match method {
        "initialize" => state.initialize(params),
        "tools/list" => state.tools_page(params["cursor"].as_str()),
        "resources/list" => json!({ "resources": [resource(&state.name)] }),
        "resources/templates/list" => json!({ "resourceTemplates": [] }),
        "prompts/list" => json!({ "prompts": [{ "name": "greet", "description": "Says hello" }] }),
        "resources/read" => {
            json!({ "contents": [{ "uri": params["uri"], "mimeType": "text/plain", "text": state.name }] })
        }
        "prompts/get" => {
            json!({ "messages": [{ "role": "user", "content": { "type": "text", "text": state.name } }] })
        }
        "completion/complete" => json!({ "completion": { "values": [state.name], "hasMore": false } }),
        "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => json!({}),
        "tools/call" => {
            let name = params["name"].as_str().unwrap_or_default();
            if let Some((stream, steps)) = tools::call(&state.name, name, id, params) {
                return Plan::of(stream, steps);
            }
            if !state.has_tool(name) {
                return error(id, -32602, "unknown tool");
            }
            tools::text(params.pointer("/arguments/text").and_then(Value::as_str).unwrap_or_default())
        }
        _ => return error(id, -32601, "no such method"),
    };
    Plan::of(false, vec![Step::Send(tools::response(id, &result))])
}

fn scripted(state: &State, act: &Act, id: &Value, method: &str, params: &Value) -> Plan {
    let mut plan = regular(state, id, method, params);
    let prefix = |mut plan: Plan, steps: Vec<Step>| {
        plan.steps.splice(0..0, steps);
        plan
    };
    match act {
        Act::Answer => plan,
        Act::Sse => Plan { stream: true, ..plan },
        Act::Delay(pause) => prefix(plan, vec![Step::Wait(*pause)]),
        Act::Hang => Plan { executes: false, ..Plan::of(false, vec![Step::Hang]) },
        Act::ResetBefore => Plan { executes: false, ..Plan::of(false, vec![Step::Reset]) },
        Act::ResetAfter => Plan::of(false, vec![Step::Reset]),
        Act::Garbage => {
            Plan::of(false, vec![Step::Raw(Bytes::from_static(b"{\"jsonrpc\":\"2.0\",\"id\":<nonsense>\n"))])
        }
        Act::WrongId => {
            Plan::of(false, vec![Step::Send(tools::response(&json!("nobody"), &tools::text("lost")))])
        }
        Act::Status { code, retry_after } => {
            let headers = retry_after.iter().map(|seconds| ("retry-after", seconds.to_string())).collect();
            Plan { headers, executes: false, ..Plan::status(*code) }
        }
        Act::RpcError(code) => error(id, *code, "as the script says"),
        Act::ToolError => Plan::of(false, vec![Step::Send(tools::response(id, &tools::failure()))]),
        Act::Progress(times) => {
            plan.stream = true;
            prefix(plan, tools::progress(params, *times))
        }
        Act::Ask { method, params } => {
            let ask = Step::Ask { method: method.clone(), params: params.clone(), answers: id.clone() };
            Plan::of(true, vec![ask])
        }
        Act::Huge(bytes) => {
            Plan::of(false, vec![Step::Send(tools::response(id, &tools::text(&"x".repeat(*bytes))))])
        }
        Act::Endless { stream, piece } => {
            Plan::of(*stream, vec![Step::Endless(Bytes::copy_from_slice(piece))])
        }
        Act::Events(text) => {
            Plan::of(true, vec![Step::Raw(Bytes::from(text.replace("$ID", &id.to_string())))])
        }
        Act::Slow(pause) => {
            let body: Vec<u8> = plan
                .steps
                .iter()
                .filter_map(sent)
                .flat_map(|message| message.to_string().into_bytes())
                .collect();
            let pieces = body
                .chunks(16)
                .flat_map(|piece| [Step::Raw(Bytes::copy_from_slice(piece)), Step::Wait(*pause)]);
            Plan::of(false, pieces.collect())
        }
    }
}

fn sent(step: &Step) -> Option<&Value> {
    if let Step::Send(message) = step { Some(message) } else { None }
}

fn error(id: &Value, code: i32, message: &str) -> Plan {
    let body = json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } });
    Plan::of(false, vec![Step::Send(body)])
}

fn resource(name: &str) -> Value {
    json!({ "uri": format!("fake://{name}/card"), "name": format!("{name} card"), "mimeType": "text/plain" })
}
