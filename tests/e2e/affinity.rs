//! Consistent hashing: calls with the same key stay together, calls with different keys are spread.

use std::collections::BTreeSet;

use bytes::Bytes;
use mcp_registry_gateway_tests::fake::Fake;
use mcp_registry_gateway_tests::mcp::{Answer, Client, finish};
use mcp_registry_gateway_tests::process::Gateway;
use serde_json::{Value, json};

/// A gateway with four replicas of `group`, balanced by a hash over what `affinity` says.
async fn group(affinity: Value) -> (Gateway, Vec<Fake>) {
    let (gateway, replicas) = (Gateway::start().await, Fake::start_many("replica", 4).await);
    for fake in &replicas {
        let configuration = json!({ "algorithm": "consistent_hash", "affinity": affinity });
        let server = json!({ "name": fake.name(), "service": "group", "endpoint_url": fake.url(),
            "configuration": configuration });
        let id = gateway.register(&server).await["id"].as_str().expect("an id").to_owned();
        gateway.offers(&id, "echo").await;
    }
    (gateway, replicas)
}

/// Calls `whoami`; gives the replica that answered.
async fn ask(client: &Client, arguments: Value, headers: &[(&str, &str)]) -> String {
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "whoami", "arguments": arguments } });
    let body = Bytes::from(call.to_string());
    let answer: Answer =
        finish(&mut client.post_bytes(body, headers).await.expect("an answer")).await.expect("a body");
    assert!(answer.is_result(), "{answer:?}");
    answer.text().to_owned()
}

#[tokio::test]
async fn a_session_stays_with_one_replica_and_many_sessions_use_several() {
    let (gateway, _replicas) = group(json!("session")).await;
    let mut used = BTreeSet::new();
    for _ in 0..24 {
        let client = gateway.client("/mcp/group").await;
        let home = ask(&client, json!({}), &[]).await;
        for n in 0..4 {
            assert_eq!(ask(&client, json!({ "n": n }), &[]).await, home);
        }
        used.insert(home);
    }
    assert!(used.len() > 1, "24 sessions all went to {used:?}");
}

#[tokio::test]
async fn a_principal_stays_with_one_replica_over_all_its_sessions() {
    let (gateway, _replicas) = group(json!("principal")).await;
    let mut used = BTreeSet::new();
    for n in 0..12 {
        let client = gateway.client("/mcp/group").await;
        used.insert(ask(&client, json!({ "n": n }), &[]).await);
    }
    assert_eq!(used.len(), 1, "one caller, {used:?}");
}

#[tokio::test]
async fn a_header_is_the_key_whichever_session_brings_it() {
    let (gateway, _replicas) = group(json!({ "header": "X-Customer" })).await;
    let (first, second) = (gateway.client("/mcp/group").await, gateway.client("/mcp/group").await);
    let mut used = BTreeSet::new();
    for n in 0..24 {
        let name = format!("customer {n}");
        let header = [("x-customer", name.as_str())];
        let home = ask(&first, json!({}), &header).await;
        assert_eq!(ask(&second, json!({ "other": true }), &header).await, home, "{name}");
        used.insert(home);
    }
    assert!(used.len() > 1, "24 customers all went to {used:?}");
    let without = ask(&first, json!({}), &[]).await;
    assert_eq!(ask(&first, json!({}), &[]).await, without, "without the header it is the session");
}

#[tokio::test]
async fn an_argument_is_the_key_on_the_aggregated_route_too() {
    let (gateway, _replicas) = group(json!({ "argument": "/user/id" })).await;
    let (one, all) = (gateway.client("/mcp/group").await, gateway.client("/mcp").await);
    let mut used = BTreeSet::new();
    for id in 0..24 {
        let home = ask(&one, json!({ "user": { "id": id }, "n": 1 }), &[]).await;
        assert_eq!(ask(&one, json!({ "n": 2, "user": { "name": "x", "id": id } }), &[]).await, home);
        let through = all.call("group__whoami", json!({ "user": { "id": id } })).await.expect("an answer");
        assert_eq!(through.text(), home, "{through:?}");
        used.insert(home);
    }
    assert!(used.len() > 1, "24 users all went to {used:?}");
}
