//! Servers that restart, forget, change what they offer, or answer wrongly.

use std::time::Duration;

use mcp_registry_gateway_tests::clock::eventually;
use mcp_registry_gateway_tests::fake::Act;
use serde_json::json;

use crate::one;

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_server_that_forgot_its_sessions_is_initialized_again_and_nobody_notices() {
    let (gateway, fake, _) = one().await;
    let client = gateway.client("/mcp/one").await;
    assert!(client.call("echo", json!({ "text": "first" })).await.expect("an answer").is_result());
    fake.forget_sessions();
    let answer = client.call("echo", json!({ "text": "second" })).await.expect("an answer");
    assert_eq!(answer.text(), "second", "{answer:?}");
    assert_eq!(fake.ledger().deliveries("second"), 1, "the one that met an unknown session was not taken");
}

#[tokio::test]
async fn a_server_that_restarted_serves_the_old_clients() {
    let (gateway, mut fake, _) = one().await;
    let client = gateway.client("/mcp/one").await;
    assert!(client.call("echo", json!({ "text": "first" })).await.expect("an answer").is_result());
    fake.restart().await;
    let back = async || client.call("echo", json!({ "text": "again" })).await.ok()?.is_result().then_some(());
    eventually("the server's return", PATIENCE, back).await;
}

/// B-17: a changed list is seen, and who listens is told.
#[tokio::test]
async fn a_changed_tool_list_is_seen_and_clients_are_told() {
    let (gateway, fake, id) = one().await;
    let client = gateway.client("/mcp/one").await;
    let mut news = client.listen().await.expect("a stream");
    assert_eq!(news.status, 200);
    fake.set_tools(&["brand-new".to_owned()], 10);
    eventually("someone who listens", PATIENCE, async || {
        (fake.notify("notifications/tools/list_changed", &json!({})) > 0).then_some(())
    })
    .await;
    gateway.offers(&id, "brand-new").await;
    let told = tokio::time::timeout(PATIENCE, async {
        loop {
            let message = news.next().await.expect("a message").expect("the stream goes on");
            if message["method"] == "notifications/tools/list_changed" {
                return;
            }
        }
    });
    told.await.expect("the client hears of it");
    let names = client.request("tools/list", json!({})).await.expect("a list").names("tools");
    assert_eq!(names, ["brand-new"]);
}

#[tokio::test]
async fn an_answer_that_is_no_answer_is_an_error_of_the_gateways_own() {
    let (gateway, fake, _) = one().await;
    let client = gateway.client("/mcp/one").await;
    for act in [Act::Garbage, Act::WrongId, Act::Status { code: 500, retry_after: None }] {
        fake.script().next("tools/call", 1, act.clone());
        let answer = client.call("echo", json!({ "text": "t" })).await.expect("an answer");
        assert!([502, 503, 504].contains(&answer.status), "{act:?}: {answer:?}");
        assert_eq!(answer.response["error"]["data"]["source"], "gateway", "{act:?}: {answer:?}");
        assert!(client.call("echo", json!({ "text": "t" })).await.expect("an answer").is_result());
    }
}

#[tokio::test]
async fn answers_arrive_whole_however_the_server_sends_them() {
    let (gateway, fake, _) = one().await;
    let client = gateway.client("/mcp/one").await;
    for act in
        [Act::Answer, Act::Sse, Act::Delay(Duration::from_millis(50)), Act::Slow(Duration::from_millis(2))]
    {
        fake.script().next("tools/call", 1, act.clone());
        let answer = client.call("echo", json!({ "text": "whole" })).await.expect("an answer");
        assert_eq!(answer.text(), "whole", "{act:?}");
    }
    fake.script().next("tools/call", 1, Act::Huge(3_000_000));
    assert_eq!(client.call("echo", json!({})).await.expect("an answer").text().len(), 3_000_000);
}

#[tokio::test]
async fn resources_prompts_and_completion_come_from_the_server_too() {
    let (gateway, _fake, _) = one().await;
    let client = gateway.client("/mcp/one").await;
    let read =
        client.request("resources/read", json!({ "uri": "fake://one/card" })).await.expect("an answer");
    assert_eq!(read.response["result"]["contents"][0]["text"], "one", "{read:?}");
    let prompt = client.request("prompts/get", json!({ "name": "greet" })).await.expect("an answer");
    assert_eq!(prompt.response["result"]["messages"][0]["content"]["text"], "one", "{prompt:?}");
    let argument =
        json!({ "ref": { "type": "ref/prompt", "name": "greet" }, "argument": { "name": "a", "value": "" } });
    let complete = client.request("completion/complete", argument).await.expect("an answer");
    assert_eq!(complete.response["result"]["completion"]["values"], json!(["one"]), "{complete:?}");
    let ping = client.request("ping", json!({})).await.expect("an answer");
    assert_eq!(ping.response["result"], json!({}));
}
