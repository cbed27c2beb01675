//! How the program ends.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use mcp_registry_gateway_tests::clock::{Stopwatch, eventually};
use mcp_registry_gateway_tests::mcp::Client;
use mcp_registry_gateway_tests::process::{Gateway, marked};
use serde_json::{Value, json};

use crate::{one, stdio};

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn sigterm_lets_calls_under_way_end_and_takes_no_new_ones() {
    let (mut gateway, fake, _) = one().await;
    let client = gateway.client("/mcp/one").await;
    let call = client.call("sleep", json!({ "ms": 1500, "text": "drained" }));
    let stopping = async {
        eventually("the call", PATIENCE, async || (fake.ledger().count("tools/call") > 0).then_some(()))
            .await;
        gateway.terminate();
        let refused = async || Client::connect(gateway.address(), "/mcp/one").await.is_err().then_some(());
        eventually("that nobody new gets in", Duration::from_secs(1), refused).await;
    };
    let (answer, ()) = tokio::join!(call, stopping);
    assert_eq!(answer.expect("an answer").text(), "drained");
    let watch = Stopwatch::start();
    let status = gateway.ended(PATIENCE).await;
    assert!(status.success(), "{status}");
    assert!(watch.elapsed() < Duration::from_secs(5), "the end waits for nothing else");
}

#[tokio::test]
async fn sigterm_without_anything_under_way_ends_at_once_and_cleanly() {
    let (mut gateway, _fake, _) = one().await;
    let idle = gateway.client("/mcp/one").await;
    let stream = idle.listen().await;
    gateway.terminate();
    let watch = Stopwatch::start();
    assert!(gateway.ended(PATIENCE).await.success());
    assert!(watch.elapsed() < Duration::from_secs(3), "an idle session and its stream do not hold it up");
    drop(stream);
}

/// A gateway with three stdio servers that have children of their own, and the mark on all their command lines.
async fn family() -> (Gateway, String) {
    let gateway = Gateway::start().await;
    let mark = format!("mark-{}", gateway.pid());
    for n in 0..3 {
        let server = stdio(&format!("child-{n}"), &["--mark", &mark, "--grandchild"]);
        let id = gateway.register(&server).await["id"].as_str().expect("an id").to_owned();
        gateway.offers(&id, "echo").await;
        let client = gateway.client(&format!("/mcp/child-{n}")).await;
        assert_eq!(client.call("whoami", json!({})).await.expect("an answer").text(), format!("child-{n}"));
    }
    assert!(marked(&mark, None).len() >= 6, "three children and three grandchildren");
    (gateway, mark)
}

async fn nobody_is_left(mark: &str) {
    let gone = async || marked(mark, None).is_empty().then_some(());
    eventually("the end of children and grandchildren", PATIENCE, gone).await;
}

#[tokio::test]
async fn after_sigterm_no_child_or_grandchild_is_left() {
    let (mut gateway, mark) = family().await;
    gateway.terminate();
    assert!(gateway.ended(PATIENCE).await.success());
    assert_eq!(marked(&mark, None), [], "the gateway waits for them");
}

#[tokio::test]
async fn after_sigkill_no_child_is_left() {
    let (mut gateway, mark) = family().await;
    gateway.kill();
    nobody_is_left(&mark).await;
}

#[tokio::test]
async fn a_removed_server_takes_its_processes_along() {
    let (gateway, mark) = family().await;
    let (_, body) = gateway.http().get("/api/v1/servers").await.expect("a list");
    let servers: Vec<Value> = body["servers"].as_array().cloned().unwrap_or_default();
    for server in &servers {
        let path = format!("/api/v1/servers/{}", server["id"].as_str().expect("an id"));
        let (status, _) = gateway.http().json(http::Method::DELETE, &path, None).await.expect("an answer");
        assert!((200..300).contains(&status));
    }
    nobody_is_left(&mark).await;
    let zombies = async || marked(&mark, Some(gateway.pid())).is_empty().then_some(());
    eventually("that every child is reaped", PATIENCE, zombies).await;
}

#[tokio::test]
async fn a_hundred_starts_and_ends_of_stdio_servers_leave_as_many_processes_as_are_configured() {
    let gateway = Gateway::start().await;
    let mark = format!("cycles-{}", gateway.pid());
    let cycles = stream::iter(0..100).map(async |n| {
        let server = stdio(&format!("cycle-{n}"), &["--mark", &mark, "--grandchild"]);
        let id = gateway.register(&server).await["id"].as_str().expect("an id").to_owned();
        gateway.offers(&id, "echo").await;
        let path = format!("/api/v1/servers/{id}");
        let (status, _) = gateway.http().json(http::Method::DELETE, &path, None).await.expect("an answer");
        assert!((200..300).contains(&status));
    });
    cycles.buffer_unordered(10).collect::<()>().await;
    nobody_is_left(&mark).await;
    let zombies = async || marked(&mark, Some(gateway.pid())).is_empty().then_some(());
    eventually("that every child is reaped", PATIENCE, zombies).await;
}
