//! What is known of a server that says nothing: that it is down, or that it changed.

use std::time::Duration;

use mcp_registry_gateway_tests::clock::eventually;
use mcp_registry_gateway_tests::fake::Fake;
use mcp_registry_gateway_tests::process::{Gateway, Options};
use mcp_registry_gateway_tests::proxy::refused;
use serde_json::{Value, json};

#[tokio::test]
async fn a_tool_that_a_server_added_without_a_word_is_found_on_schedule() {
    let env = vec![("MREG_UPSTREAM__REFRESH_SECONDS", "0.3".to_owned())];
    let gateway = Gateway::start_with(Options { env, ..Options::default() }).await;
    let fake = Fake::start("one").await;
    let id = gateway.adopt("one", "one", &fake.url()).await;
    fake.set_tools(&["brand-new".to_owned()], 10);
    gateway.offers(&id, "brand-new").await;
    let list = gateway.client("/mcp").await.request("tools/list", json!({})).await.expect("a list");
    assert_eq!(list.names_of_servers("tools"), ["one__brand-new"]);
}

/// A server at `url` that declares a tool, a resource and a prompt.
fn declared(url: &str) -> Value {
    json!({ "name": "down", "endpoint_url": url, "health_check": { "enabled": false }, "capabilities": {
        "tools": [{ "name": "declared", "description": "was promised", "inputSchema": { "type": "object" } }],
        "resources": [{ "uri": "promised://x", "name": "x" }],
        "prompts": [{ "name": "promise" }],
    } })
}

#[tokio::test]
async fn what_a_server_that_is_down_declared_is_found() {
    let gateway = Gateway::start().await;
    let server = gateway.register(&declared(&format!("http://{}/mcp", refused()))).await;
    let questions = [("tools", "declared"), ("resources", "promised://x"), ("prompts", "promise")];
    for (kind, name) in questions {
        let path = format!("/api/v1/discovery/{kind}?{kind}={name}");
        let (_, found) = gateway.http().get(&path).await.expect("an answer");
        assert_eq!(found["servers"][0]["id"], server["id"], "{found}");
    }
    let (_, found) = gateway.http().get("/api/v1/discovery/search?q=promised").await.expect("an answer");
    let names: Vec<_> = found["results"].as_array().into_iter().flatten().map(|hit| &hit["name"]).collect();
    assert!(names.contains(&&json!("declared")), "{found}");
    let (_, offered) = gateway.http().get("/mcp/tools").await.expect("an answer");
    assert_eq!(offered["tools"][0]["name"], "down__declared", "{offered}");
}

#[tokio::test]
async fn what_a_server_says_of_itself_replaces_what_was_declared_for_it() {
    let (gateway, mut fake) = (Gateway::start().await, Fake::start("down").await);
    fake.stop().await;
    let id = gateway.register(&declared(&fake.url())).await["id"].as_str().expect("an id").to_owned();
    gateway.offers(&id, "declared").await;
    fake.restart().await;
    let path = format!("/api/v1/servers/{id}/health-check");
    eventually("what the server says itself", Duration::from_secs(20), async || {
        gateway.http().json(http::Method::POST, &path, Some(&json!({}))).await.ok()?;
        let (_, offered) = gateway.http().get("/mcp/tools").await.ok()?;
        let offered = offered.to_string();
        (offered.contains("down__echo") && !offered.contains("down__declared")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_list_has_what_a_server_that_is_down_declared_and_says_that_it_is_down() {
    let (gateway, fake) = (Gateway::start().await, Fake::start("up").await);
    gateway.register(&declared(&format!("http://{}/mcp", refused()))).await;
    gateway.adopt("up", "up", &fake.url()).await;
    let client = gateway.client("/mcp").await;
    let list = client.request("tools/list", json!({})).await.expect("a list");
    let names = list.names("tools");
    assert!(
        ["down__declared", "up__echo"].iter().all(|name| names.contains(&(*name).to_owned())),
        "{names:?}"
    );
    assert!(list.response["result"]["_meta"].to_string().contains("down"), "{list:?}");
    let call = client.call("down__declared", json!({})).await.expect("an answer");
    assert!(!call.is_result() && call.response["error"]["data"]["source"] == "gateway", "{call:?}");
}

#[tokio::test]
async fn a_list_of_nothing_but_a_server_that_is_down_has_what_it_declared() {
    let gateway = Gateway::start().await;
    gateway.register(&declared(&format!("http://{}/mcp", refused()))).await;
    let client = gateway.client("/mcp").await;
    let list = client.request("tools/list", json!({})).await.expect("a list");
    assert_eq!(list.names_of_servers("tools"), ["down__declared"], "{list:?}");
    assert!(list.response["result"]["_meta"].to_string().contains("down"), "{list:?}");
}
