//! `configuration.sharing`: who shares an upstream session, or a child process, with whom.

use std::collections::BTreeSet;
use std::time::Duration;

use mcp_registry_gateway_tests::clock::eventually;
use mcp_registry_gateway_tests::fake::Fake;
use mcp_registry_gateway_tests::http::Http;
use mcp_registry_gateway_tests::mcp::Client;
use mcp_registry_gateway_tests::process::{Gateway, marked};
use serde_json::{Value, json};

use crate::stdio;

/// How many upstream sessions carried the calls of three clients.
async fn sessions_of_three(sharing: Option<&str>) -> usize {
    let (gateway, fake) = (Gateway::start().await, Fake::start("one").await);
    let configuration = sharing.map_or(json!({}), |sharing| json!({ "sharing": sharing }));
    let server = json!({ "name": "one", "endpoint_url": fake.url(), "configuration": configuration });
    let id = gateway.register(&server).await["id"].as_str().expect("an id").to_owned();
    gateway.offers(&id, "echo").await;
    for n in 0..3 {
        let client = gateway.client("/mcp/one").await;
        for _ in 0..2 {
            let text = format!("client {n}");
            assert_eq!(client.call("echo", json!({ "text": text })).await.expect("an answer").text(), text);
        }
    }
    fake.ledger().of("tools/call").into_iter().map(|call| call.session).collect::<BTreeSet<_>>().len()
}

#[tokio::test]
async fn over_http_each_client_has_a_session_of_its_own_unless_they_are_told_to_share() {
    assert_eq!(sessions_of_three(None).await, 3);
    assert_eq!(sessions_of_three(Some("auto")).await, 3);
    assert_eq!(sessions_of_three(Some("session")).await, 3);
    assert_eq!(sessions_of_three(Some("shared")).await, 1);
}

/// A gateway with a stdio server `child`, and the mark on the command lines of its processes.
async fn child(sharing: &str) -> (Gateway, String) {
    let gateway = Gateway::start().await;
    let mark = format!("sharing-{}", gateway.pid());
    let mut server = stdio("child", &["--mark", &mark]);
    server["configuration"] = json!({ "sharing": sharing });
    let id = gateway.register(&server).await["id"].as_str().expect("an id").to_owned();
    gateway.offers(&id, "echo").await;
    (gateway, mark)
}

/// Waits until exactly `count` children run.
async fn children(mark: &str, count: usize) {
    let what = format!("{count} children");
    eventually(&what, Duration::from_secs(10), async || (marked(mark, None).len() == count).then_some(()))
        .await;
}

async fn client(gateway: &Gateway, capabilities: Value) -> Client {
    let http = Http::new(gateway.address());
    let client = Client::connect_with(&http, "/mcp/child", capabilities).await.expect("a session");
    assert_eq!(client.call("whoami", json!({})).await.expect("an answer").text(), "child");
    client
}

#[tokio::test]
async fn a_child_is_shared_but_by_clients_that_can_be_asked() {
    let (gateway, mark) = child("auto").await;
    let plain = [client(&gateway, json!({})).await, client(&gateway, json!({})).await];
    children(&mark, 1).await;
    let asked = client(&gateway, json!({ "sampling": {} })).await;
    children(&mark, 2).await;
    assert_eq!(asked.end().await.expect("an end"), 204);
    children(&mark, 1).await;
    drop(plain);
}

#[tokio::test]
async fn no_more_children_are_started_than_configured_and_the_error_names_the_setting() {
    let gateway = Gateway::start().await;
    let mark = format!("few-{}", gateway.pid());
    let mut server = stdio("child", &["--mark", &mark]);
    server["configuration"] = json!({ "sharing": "session", "max_connections": 2 });
    let id = gateway.register(&server).await["id"].as_str().expect("an id").to_owned();
    gateway.offers(&id, "echo").await;
    // One child answers probes and lists, so one client finds room.
    children(&mark, 1).await;
    let first = client(&gateway, json!({})).await;
    let second = gateway.client("/mcp/child").await;
    let refused = second.call("whoami", json!({})).await.expect("an answer");
    assert!(refused.response.to_string().contains("max_connections"), "{refused:?}");
    children(&mark, 2).await;
    assert_eq!(first.end().await.expect("an end"), 204);
    children(&mark, 1).await;
    assert!(second.call("whoami", json!({})).await.expect("an answer").is_result(), "there is room again");
}

#[tokio::test]
async fn a_child_can_be_each_clients_own_or_everybodys() {
    let (gateway, mark) = child("session").await;
    let clients = [client(&gateway, json!({})).await, client(&gateway, json!({})).await];
    // Those of the clients, and the one that probes and lists go to.
    children(&mark, 3).await;
    drop(clients);

    let (gateway, mark) = child("shared").await;
    let clients = [client(&gateway, json!({ "sampling": {} })).await, client(&gateway, json!({})).await];
    children(&mark, 1).await;
    drop(clients);
}
