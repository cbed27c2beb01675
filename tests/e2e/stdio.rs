//! A stdio server that misbehaves hurts nobody but itself.

use std::time::Duration;

use mcp_registry_gateway_tests::clock::eventually;
use mcp_registry_gateway_tests::fake::Fake;
use mcp_registry_gateway_tests::mcp::Client;
use mcp_registry_gateway_tests::process::Gateway;
use serde_json::json;

use crate::{FAKE, stdio};

/// A gateway with a stdio server `child` and an HTTP server `other` that must not notice.
async fn pair() -> (Gateway, Fake) {
    let (gateway, other) = (Gateway::start().await, Fake::start("other").await);
    let mut server = stdio("child", &[]);
    server["configuration"] = json!({ "timeout_seconds": 3.0 });
    let id = gateway.register(&server).await["id"].as_str().expect("an id").to_owned();
    gateway.offers(&id, "echo").await;
    gateway.adopt("other", "other", &other.url()).await;
    (gateway, other)
}

async fn works(client: &Client) -> bool {
    client.call("echo", json!({ "text": "alive" })).await.is_ok_and(|answer| answer.text() == "alive")
}

/// Waits until the child answers again; the other server must work all the while.
async fn recovers(gateway: &Gateway) {
    let other = gateway.client("/mcp/other").await;
    eventually("the child's return", Duration::from_secs(20), async || {
        assert!(works(&other).await, "the other server is hurt");
        let child = Client::connect(gateway.address(), "/mcp/child").await.ok()?;
        works(&child).await.then_some(())
    })
    .await;
}

/// F-17: a child harms nobody but itself.
#[tokio::test]
async fn a_child_that_exits_or_aborts_is_started_again() {
    for arguments in [json!({ "code": 0 }), json!({ "code": 3 }), json!({})] {
        let (gateway, _other) = pair().await;
        let child = gateway.client("/mcp/child").await;
        let answer = child.call("crash", arguments).await.expect("an answer");
        assert!(!answer.is_result(), "{answer:?}");
        assert_eq!(answer.response["error"]["data"]["source"], "gateway", "{answer:?}");
        recovers(&gateway).await;
    }
}

/// F-17: a child harms nobody but itself.
#[tokio::test]
async fn a_child_that_floods_its_stderr_is_drained() {
    let (gateway, _other) = pair().await;
    let child = gateway.client("/mcp/child").await;
    let before = gateway.usage().memory;
    let flood = json!({ "bytes": 64 * 1024 * 1024, "text": "flooded" });
    assert_eq!(child.call("flood", flood).await.expect("an answer").text(), "flooded");
    let after = gateway.usage().memory;
    assert!(after < before + 16 * 1024 * 1024, "kept {} bytes of it", after - before);
    assert!(gateway.output().len() < 4 * 1024 * 1024, "the log is not where it goes");
    assert!(works(&child).await);
}

/// F-17: a child harms nobody but itself.
#[tokio::test]
async fn a_gigabyte_of_stderr_passes_while_calls_go_on_and_leaves_nothing_behind() {
    let (gateway, folder) = (Gateway::start().await, tempfile::tempdir().expect("a folder"));
    let done = folder.path().join("done");
    // Zeros without a line's end, as fast as they can be written, beside a server that works.
    let script = "(head -c 1073741824 /dev/zero >&2; : >\"$0\") & exec \"$@\"";
    let server = json!({ "name": "loud", "transport_type": "stdio", "command": "sh",
        "args": ["-c", script, done, FAKE, "--name", "loud"] });
    let before = gateway.usage().memory;
    let id = gateway.register(&server).await["id"].as_str().expect("an id").to_owned();
    gateway.offers(&id, "echo").await;
    let client = gateway.client("/mcp/loud").await;
    let (mut calls, mut most) = (0, 0);
    eventually("the end of the flood", Duration::from_secs(60), async || {
        assert!(works(&client).await, "after {calls} calls");
        calls += 1;
        most = gateway.usage().memory.max(most);
        done.exists().then_some(())
    })
    .await;
    assert!(works(&client).await);
    assert!(most < before + 24 * 1024 * 1024, "grew by {} bytes over {calls} calls", most - before);
    assert!(gateway.output().len() < 1024 * 1024, "the log is not where it goes");
}

/// F-17: a child harms nobody but itself.
#[tokio::test]
async fn a_line_that_is_no_message_is_passed_over() {
    let (gateway, _other) = pair().await;
    let child = gateway.client("/mcp/child").await;
    for n in 0..20 {
        let answer = child.call("noise", json!({ "text": format!("call {n}") })).await.expect("an answer");
        assert_eq!(answer.text(), format!("call {n}"), "{answer:?}");
    }
}

/// F-17: a child harms nobody but itself.
#[tokio::test]
async fn a_child_that_stops_reading_blocks_nobody_else() {
    let (gateway, _other) = pair().await;
    let child = gateway.client("/mcp/child").await;
    drop(child.call("deaf", json!({ "text": "t" })).await);
    let other = gateway.client("/mcp/other").await;
    // More than any pipe holds.
    let large = json!({ "text": "x".repeat(1024 * 1024) });
    let stuck = child.call("echo", large);
    let free = async {
        for _ in 0..50 {
            assert!(works(&other).await);
        }
    };
    let (stuck, ()) = tokio::time::timeout(Duration::from_secs(15), async { tokio::join!(stuck, free) })
        .await
        .expect("a call to a child that does not read ends");
    assert!(!stuck.expect("an answer").is_result());
}

#[tokio::test]
async fn a_program_that_does_not_exist_can_be_registered_and_says_what_is_wrong() {
    let gateway = Gateway::start().await;
    let server = json!({ "name": "nowhere", "transport_type": "stdio", "command": "no-such-program-here" });
    gateway.register(&server).await;
    let client = Client::connect(gateway.address(), "/mcp/nowhere").await;
    let error = match client {
        Err(error) => error.to_string(),
        Ok(client) => client.call("echo", json!({})).await.expect("an answer").response.to_string(),
    };
    assert!(error.contains("gateway"), "{error}");
    assert_eq!(gateway.http().get("/health").await.expect("health").0, 200);
}
