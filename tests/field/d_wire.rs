//! Kind D on the wire: an answer that cannot be read, and a message of the handshake that is refused.

use mcp_registry_gateway_tests::field::{Reply, Script};

use crate::case::{Case, PATIENCE, Seen, case, run, sees};

#[tokio::test]
async fn an_answer_that_cannot_be_read_says_so_at_once() {
    run("D", CASES).await;
}

fn raw(text: &str) -> Script {
    Script::good().on("tools/call", Reply::Raw(text.to_owned()))
}

/// The call failed at once, for this reason.
async fn fails(at: &Seen<'_>, reason: &str) {
    // Well before the call would time out.
    let answer = tokio::time::timeout(PATIENCE, at.call("good")).await.expect("an answer at once");
    let message = answer.response["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("not an MCP message") && message.contains(reason), "{answer:?}");
}

const CASES: &[Case] = &[
    case(
        "an-answer-that-is-no-json",
        || raw(r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[],"x":NaN}}"#),
        sees!(|at| { fails(at, "").await }),
    ),
    case(
        "an-answer-that-is-cut",
        || raw(r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[{"type":"text","te"#),
        sees!(|at| { fails(at, "EOF").await }),
    ),
    case(
        "an-answer-with-a-key-twice",
        || raw(r#"{"jsonrpc":"2.0","id":$ID,"result":{},"result":{}}"#),
        sees!(|at| { fails(at, "\"result\" stands twice").await }),
    ),
    case(
        "an-answer-whose-id-comes-last",
        || raw(r#"{"jsonrpc":"2.0","result":{"x":.5},"id":"$ID"}"#),
        sees!(|at| { fails(at, "").await }),
    ),
];
