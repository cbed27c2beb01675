//! Carries out a plan, step by step, towards whatever carries the messages.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;

use super::plan::Step;
use super::state::State;
use super::tools;

/// What a plan gives to its transport.
#[derive(Debug)]
pub(super) enum Out {
    Message(Value),
    Raw(Bytes),
    Reset,
    Stderr(usize),
    Exit(Option<i32>),
    Deaf,
}

/// Runs `steps` until they end or nobody takes what they give.
pub(super) async fn run(state: Arc<State>, steps: Vec<Step>, out: Sender<Out>) {
    for step in steps {
        let given = match step {
            Step::Wait(pause) => {
                tokio::time::sleep(pause).await;
                continue;
            }
            // Over HTTP the sender must stay alive, or the exchange would look finished.
            Step::Hang => return out.closed().await,
            Step::Ask { method, params, answers } => {
                let (question, reply) = state.ask(&method, &params);
                if out.send(Out::Message(question)).await.is_err() {
                    return;
                }
                let reply = tokio::select! {
                    reply = reply => reply.unwrap_or(Value::Null),
                    () = out.closed() => return,
                };
                Out::Message(tools::response(&answers, &tools::text(&reply.to_string())))
            }
            Step::Send(message) => Out::Message(message),
            Step::Raw(bytes) => Out::Raw(bytes),
            Step::Endless(bytes) => {
                while out.send(Out::Raw(bytes.clone())).await.is_ok() {}
                return;
            }
            Step::Reset => Out::Reset,
            Step::Stderr(bytes) => Out::Stderr(bytes),
            Step::Exit(code) => Out::Exit(code),
            Step::Deaf => Out::Deaf,
        };
        if out.send(given).await.is_err() {
            return;
        }
    }
}

/// The parse error that a server sends for a line that is no message.
pub(super) fn parse_error() -> Value {
    json!({ "jsonrpc": "2.0", "id": null, "error": { "code": -32700, "message": "not JSON" } })
}
