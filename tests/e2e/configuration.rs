//! What `configuration` of a registration promises: trust, connections, load.

use std::time::Duration;

use futures_util::future::join_all;
use mcp_registry_gateway_tests::clock::Stopwatch;
use mcp_registry_gateway_tests::fake::{Act, Fake};
use mcp_registry_gateway_tests::mcp::finish;
use mcp_registry_gateway_tests::process::Gateway;
use serde_json::{Value, json};

/// Two replicas of `pair` with this configuration.
async fn pair(gateway: &Gateway, configuration: Value) -> Vec<Fake> {
    let pair = Fake::start_many("replica", 2).await;
    for fake in &pair {
        let annotations = json!({ "idempotentHint": true });
        fake.define_tools(vec![
            json!({ "name": "echo", "inputSchema": { "type": "object" } }),
            json!({ "name": "put", "inputSchema": { "type": "object" }, "annotations": annotations }),
        ]);
        let server = json!({ "name": fake.name(), "service": "pair", "endpoint_url": fake.url(),
            "configuration": configuration });
        let id = gateway.register(&server).await["id"].as_str().expect("an id").to_owned();
        gateway.offers(&id, "put").await;
    }
    pair
}

/// How often a call of `tool` was delivered of which the first answer was lost, and whether it succeeded.
async fn after_a_lost_answer(trusted: bool, tool: &str) -> (usize, bool) {
    let gateway = Gateway::start().await;
    let pair = pair(&gateway, json!({ "trusted": trusted })).await;
    let client = gateway.client("/mcp/pair").await;
    for fake in &pair {
        fake.script().next("tools/call", 1, Act::ResetAfter);
    }
    // Each replica loses its first answer, so that a second attempt shows in the ledger and fails as well.
    let answer = client.call(tool, json!({ "text": "x" })).await.expect("an answer");
    let delivered = pair.iter().map(|fake| fake.ledger().deliveries("x")).sum();
    (delivered, answer.is_result())
}

/// F-11: a hint counts only where an operator vouches for it.
#[tokio::test]
async fn only_a_trusted_servers_word_makes_a_call_safe_to_repeat() {
    assert_eq!(after_a_lost_answer(false, "put").await, (1, false), "a hint alone is not believed");
    assert_eq!(after_a_lost_answer(true, "echo").await, (1, false), "this tool promises nothing");
    let (delivered, _) = after_a_lost_answer(true, "put").await;
    assert_eq!(delivered, 2, "the operator vouches for the server, and the server for the tool");
}

#[tokio::test]
async fn a_repeated_call_of_a_trusted_server_gives_the_answer_of_the_second_attempt() {
    let gateway = Gateway::start().await;
    let pair = pair(&gateway, json!({ "trusted": true })).await;
    let client = gateway.client("/mcp/pair").await;
    pair[0].script().on("tools/call", Act::ResetAfter);
    for n in 0..4 {
        let text = format!("call {n}");
        assert_eq!(client.call("put", json!({ "text": text })).await.expect("an answer").text(), text);
    }
}

#[tokio::test]
async fn no_more_connections_are_opened_than_configured_and_calls_wait_for_their_turn() {
    let (gateway, fake) = (Gateway::start().await, Fake::start("narrow").await);
    let server = json!({ "name": "narrow", "endpoint_url": fake.url(), "health_check": { "enabled": false },
        "configuration": { "max_connections": 2 } });
    let id = gateway.register(&server).await["id"].as_str().expect("an id").to_owned();
    gateway.offers(&id, "echo").await;
    let client = gateway.client("/mcp/narrow").await;
    assert!(client.call("echo", json!({ "text": "warm" })).await.expect("an answer").is_result());
    let watch = Stopwatch::start();
    let calls = (0..5).map(|_| client.call("sleep", json!({ "ms": 1200, "text": "long" })));
    for answer in join_all(calls).await {
        let answer = answer.expect("an answer");
        assert!(answer.is_result(), "{answer:?}");
    }
    assert!(watch.elapsed() >= Duration::from_millis(3 * 1200), "two at a time");
    assert_eq!(fake.ledger().deliveries("long"), 5);
}

/// How many of eight calls with one key each of four replicas got, all under way at the same time.
async fn eight_at_once(max_load: Option<f64>) -> Vec<usize> {
    let (gateway, group) = (Gateway::start().await, Fake::start_many("replica", 4).await);
    for fake in &group {
        let mut configuration = json!({ "algorithm": "consistent_hash", "affinity": { "header": "x-key" } });
        if let Some(max_load) = max_load {
            configuration["max_load"] = json!(max_load);
        }
        let server = json!({ "name": fake.name(), "service": "group", "endpoint_url": fake.url(),
            "configuration": configuration });
        let id = gateway.register(&server).await["id"].as_str().expect("an id").to_owned();
        gateway.offers(&id, "echo").await;
    }
    let client = gateway.client("/mcp/group").await;
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "sleep", "arguments": { "ms": 1000, "text": "long" } } });
    let calls = (0..8).map(async |n| {
        let mut call = call.clone();
        call["id"] = json!(n);
        let mut reply =
            client.post_bytes(call.to_string().into(), &[("x-key", "same")]).await.expect("an answer");
        assert!(finish(&mut reply).await.expect("a body").is_result());
    });
    tokio::time::timeout(Duration::from_secs(20), join_all(calls)).await.expect("the calls end");
    group.iter().map(|fake| fake.ledger().deliveries("long")).collect()
}

#[tokio::test]
async fn a_bounded_load_sends_the_overflow_of_one_key_to_others() {
    let mut all = eight_at_once(None).await;
    all.sort_unstable();
    assert_eq!(all, [0, 0, 0, 8], "without a bound they stay together");
    let bounded = eight_at_once(Some(1.25)).await;
    // 1.25 times the mean of two calls each, rounded up.
    assert!(bounded.iter().all(|count| *count <= 3), "{bounded:?}");
    assert_eq!(bounded.iter().sum::<usize>(), 8);
}
