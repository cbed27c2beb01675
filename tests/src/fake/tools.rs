//! The tools that every fake server has, whatever its script says; what they do is chosen by their arguments,
//! so that they work over any transport.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::plan::Step;

/// Names and descriptions, in the order of `tools/list`.
const TOOLS: [(&str, &str); 12] = [
    ("echo", "Answers `text`"),
    ("whoami", "Answers the server's name"),
    ("sleep", "Answers after `ms` milliseconds"),
    ("fail", "Answers `isError: true`"),
    ("progress", "Reports progress `n` times, logs once, answers"),
    ("ask", "Sends `method` with `params` to the client and answers what it replied"),
    ("huge", "Answers a text of `bytes` bytes"),
    ("list_changed", "Says that the tool list changed"),
    ("noise", "stdio: writes a line to stdout that is not JSON, then answers"),
    ("flood", "stdio: writes `bytes` bytes to stderr, then answers"),
    ("crash", "stdio: exits with `code`, or aborts without one"),
    ("deaf", "stdio: never reads its input again"),
];

/// The definitions of the tools that every fake server has.
pub(super) fn definitions() -> Vec<Value> {
    TOOLS.iter().map(|(name, description)| definition(name, description)).collect()
}

/// A tool's definition with a member that no typed model knows, which must reach the client all the same.
pub(super) fn definition(name: &str, description: &str) -> Value {
    json!({
        "name": name,
        "description": description,
        "inputSchema": { "type": "object", "$defs": { "any": {} }, "properties": { "text": { "type": "string" } } },
        "x-vendor": { "kept": 12_345_678_901_234_567_u64 },
    })
}

/// A tool result with one text.
pub(super) fn text(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }] })
}

/// The response to request `id`.
pub(super) fn response(id: &Value, result: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

/// `times` progress notifications for the request's token, if it has one, and a log message.
pub(super) fn progress(params: &Value, times: u32) -> Vec<Step> {
    let token = params.pointer("/_meta/progressToken").cloned();
    let notes = (1..=times).filter_map(|n| {
        let params = json!({ "progressToken": token.clone()?, "progress": n, "total": times });
        Some(notification("notifications/progress", &params))
    });
    let log = notification("notifications/message", &json!({ "level": "info", "data": "halfway" }));
    notes.chain([log]).map(Step::Send).collect()
}

/// A notification of the server's.
pub(super) fn notification(method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": params })
}

/// What a call of `tool` does, ending with the answer to `id`. Whether it needs an event stream comes first.
pub(super) fn call(server: &str, tool: &str, id: &Value, params: &Value) -> Option<(bool, Vec<Step>)> {
    let arguments = &params["arguments"];
    let said = arguments["text"].as_str().unwrap_or_default();
    let number = |name: &str| arguments[name].as_u64().unwrap_or(0);
    let size = usize::try_from(number("bytes")).unwrap_or(usize::MAX);
    let answer = Step::Send(response(id, &text(said)));
    let plain = |steps: Vec<Step>| Some((false, steps));
    match tool {
        "echo" => plain(vec![answer]),
        "whoami" => plain(vec![Step::Send(response(id, &text(server)))]),
        "sleep" => plain(vec![Step::Wait(Duration::from_millis(number("ms"))), answer]),
        "fail" => plain(vec![Step::Send(response(id, &failure()))]),
        "huge" => plain(vec![Step::Send(response(id, &text(&"x".repeat(size))))]),
        "progress" => {
            let mut steps = progress(params, u32::try_from(number("n")).unwrap_or(u32::MAX));
            steps.push(answer);
            Some((true, steps))
        }
        "ask" => {
            let method = arguments["method"].as_str().unwrap_or("roots/list").to_owned();
            Some((true, vec![Step::Ask { method, params: arguments["params"].clone(), answers: id.clone() }]))
        }
        "list_changed" => {
            let changed = notification("notifications/tools/list_changed", &json!({}));
            Some((true, vec![Step::Send(changed), answer]))
        }
        "noise" => plain(vec![Step::Raw(Bytes::from_static(b"this line is not JSON\n")), answer]),
        "flood" => plain(vec![Step::Stderr(size), answer]),
        "crash" => {
            let code = arguments["code"].as_i64().and_then(|code| i32::try_from(code).ok());
            plain(vec![Step::Exit(code)])
        }
        "deaf" => plain(vec![Step::Deaf, answer]),
        _ => None,
    }
}

/// A tool result that says that the tool failed.
pub(super) fn failure() -> Value {
    json!({ "content": [{ "type": "text", "text": "the tool failed" }], "isError": true })
}
