//! Legacy clients at a server that only speaks 2026-07-28.

use std::time::Duration;

use mcp_registry_gateway_tests::clock::eventually;
use mcp_registry_gateway_tests::fake::Modern;
use mcp_registry_gateway_tests::http::{Http, Reply};
use mcp_registry_gateway_tests::mcp::{Client, finish};
use mcp_registry_gateway_tests::modern::{Modern as Own, VERSION};
use mcp_registry_gateway_tests::process::Gateway;
use serde_json::{Value, json};

use crate::one;

const PATIENCE: Duration = Duration::from_secs(10);
const META: &str = "io.modelcontextprotocol";

/// A gateway in front of one modern server, whose service is called `one`.
async fn modern() -> (Gateway, Modern) {
    let (gateway, server) = (Gateway::start().await, Modern::start().await);
    gateway.adopt("one", "one", &server.url()).await;
    (gateway, server)
}

async fn asked(gateway: &Gateway, capabilities: Value) -> Client {
    let http = Http::new(gateway.address());
    Client::connect_with(&http, "/mcp/one", capabilities).await.expect("a session")
}

#[tokio::test]
async fn a_legacy_client_calls_a_modern_server_and_sees_nothing_of_its_era() {
    let (gateway, server) = modern().await;
    let client = asked(&gateway, json!({ "roots": {} })).await;
    assert_eq!(client.initialized["protocolVersion"], "2025-11-25");
    assert_eq!(client.initialized["serverInfo"], json!({ "name": "modern", "version": "2" }));
    assert_eq!(client.initialized["instructions"], "be modern");

    let answer = client.call("echo", json!({ "text": "hi", "region": "eu" })).await.expect("an answer");
    assert_eq!(answer.response["result"], json!({ "content": [{ "type": "text", "text": "hi" }] }));
    let calls = server.ledger().of("tools/call");
    let call = calls.last().expect("a call");
    assert_eq!(call.params["_meta"][format!("{META}/protocolVersion")], "2026-07-28");
    assert_eq!(call.params["_meta"][format!("{META}/clientInfo")]["name"], "test");
    assert_eq!(call.params["_meta"][format!("{META}/clientCapabilities")], json!({ "roots": {} }));
    assert_eq!(call.headers["mcp-protocol-version"], "2026-07-28");
    assert_eq!(call.headers["mcp-name"], "echo");
    assert_eq!(call.headers["mcp-param-region"], "eu");
    assert!(call.session.is_none());

    let list = client.request("tools/list", json!({})).await.expect("a list");
    let result = &list.response["result"];
    assert_eq!(result["tools"][0]["x-vendor"]["kept"], 12_345_678_901_234_567_u64);
    assert!(result.get("ttlMs").is_none() && result.get("resultType").is_none(), "{result}");
    let ping = client.request("ping", json!({})).await.expect("a pong");
    assert_eq!(ping.response["result"], json!({}));
    assert_eq!(server.ledger().count("ping") + server.ledger().count("notifications/initialized"), 0);
    assert!(server.ledger().count("initialize") <= 1, "it is tried once whether it speaks legacy, too");
}

/// B-18: name, header and route are rewritten together.
#[tokio::test]
async fn names_and_headers_agree_on_the_aggregated_route() {
    let (gateway, server) = modern().await;
    let client = gateway.client("/mcp").await;
    let answer = client.call("one__echo", json!({ "text": "all" })).await.expect("an answer");
    assert_eq!(answer.text(), "all");
    let call = server.ledger().of("tools/call").pop().expect("a call");
    assert_eq!((call.params["name"].as_str(), call.headers["mcp-name"].as_str()), (Some("echo"), "echo"));
    let list = client.request("tools/list", json!({})).await.expect("a list");
    assert_eq!(list.names_of_servers("tools").len(), 4);
}

#[tokio::test]
async fn what_the_server_asks_is_asked_of_the_client_and_the_call_goes_on_in_rounds() {
    let (gateway, server) = modern().await;
    let client = asked(&gateway, json!({ "roots": {}, "elicitation": {}, "sampling": {} })).await;
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "ask", "arguments": {} } });
    let mut reply = client.post(&call).await.expect("a stream");
    assert!(reply.is_stream());
    for _ in 0..3 {
        let question = reply.next().await.expect("an event").expect("a question");
        let result = match question["method"].as_str().expect("a method") {
            "elicitation/create" => {
                assert_eq!(question["params"]["message"], "Who?");
                json!({ "action": "accept", "content": { "name": "Ada" } })
            }
            "roots/list" => json!({ "roots": [{ "uri": "file:///a" }, { "uri": "file:///b" }] }),
            "sampling/createMessage" => {
                json!({ "role": "assistant", "content": {"type": "text", "text": ""}, "model": "m" })
            }
            other => panic!("{other}"),
        };
        client
            .deliver(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": result }))
            .await
            .expect("taken");
    }
    let answer = finish(&mut reply).await.expect("an answer");
    assert_eq!(answer.response["id"], 1);
    assert_eq!(answer.text(), "two Ada 2 \"m\"");
    let calls = server.ledger().of("tools/call");
    assert_eq!(calls.len(), 3);
    let mut ids: Vec<_> = calls.iter().map(|call| call.id.clone()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 3, "each round has an id of its own");
}

#[tokio::test]
async fn a_client_is_never_asked_for_what_it_did_not_declare() {
    let (gateway, _server) = modern().await;
    let client = asked(&gateway, json!({ "roots": {} })).await;
    let answer = client.call("ask", json!({})).await.expect("an answer");
    assert!(answer.before.is_empty(), "{:?}", answer.before);
    assert_eq!(answer.response["error"]["data"]["kind"], "bad_upstream");
    let needs = client.call("capability", json!({})).await.expect("an answer");
    assert_eq!(needs.response["error"]["code"], -32600);
    assert_eq!(needs.response["error"]["data"]["requiredCapabilities"], json!({ "sampling": {} }));
}

#[tokio::test]
async fn progress_logs_and_a_missing_resource_come_as_legacy_has_them() {
    let (gateway, _server) = modern().await;
    let client = asked(&gateway, json!({})).await;
    let stream =
        json!({ "name": "stream", "arguments": { "text": "t" }, "_meta": { "progressToken": "mine" } });
    let quiet = client.request("tools/call", stream.clone()).await.expect("an answer");
    assert_eq!(quiet.before.len(), 1);
    assert_eq!(quiet.before[0]["params"], json!({ "progressToken": "mine", "progress": 1 }));
    let set = client.request("logging/setLevel", json!({ "level": "debug" })).await.expect("an answer");
    assert_eq!(set.response["result"], json!({}));
    let loud = client.request("tools/call", stream).await.expect("an answer");
    assert_eq!(loud.before[1]["params"], json!({ "level": "debug", "data": "log" }));

    let read = client.request("resources/read", json!({ "uri": "test://a" })).await.expect("an answer");
    assert_eq!(read.response["result"], json!({ "contents": [{ "uri": "test://a", "text": "A" }] }));
    let gone = client.request("resources/read", json!({ "uri": "test://b" })).await.expect("an answer");
    assert_eq!(gone.response["error"]["code"], -32002);
}

#[tokio::test]
async fn a_subscription_is_a_stream_in_the_clients_name_and_stands_again_when_it_is_cut() {
    let (gateway, server) = modern().await;
    let client = asked(&gateway, json!({})).await;
    let mut news = client.listen().await.expect("a stream");
    let before = server.listening();
    let uri = json!({ "uri": "test://a" });
    let answer = client.request("resources/subscribe", uri.clone()).await.expect("an answer");
    assert!(answer.is_result(), "{}", answer.response);
    assert_eq!(server.listening(), before + 1);
    let listen = server.ledger().of("subscriptions/listen").pop().expect("a stream");
    assert_eq!(listen.params["notifications"], json!({ "resourceSubscriptions": ["test://a"] }));
    assert_eq!(listen.params["_meta"][format!("{META}/clientInfo")]["name"], "test");

    server.notify("notifications/resources/updated", &uri);
    let told = news.next().await.expect("an event").expect("an update");
    assert_eq!((&told["method"], &told["params"]), (&json!("notifications/resources/updated"), &uri));
    server.cut();
    // What may have been missed is told when the streams stand again: of the lists, and of the resource.
    let updated = async |news: &mut Reply| loop {
        let told = news.next().await.expect("an event").expect("what may have been missed");
        if told["method"] == "notifications/resources/updated" {
            return;
        }
    };
    tokio::time::timeout(PATIENCE, updated(&mut news)).await.expect("an update");

    let answer = client.request("resources/unsubscribe", uri).await.expect("an answer");
    assert!(answer.is_result());
    let fewer = async || (server.listening() <= before).then_some(());
    eventually("the end of the subscription's stream", PATIENCE, fewer).await;
}

#[tokio::test]
async fn lists_that_change_are_heard_of_by_clients() {
    let (gateway, server) = modern().await;
    let client = asked(&gateway, json!({})).await;
    assert!(client.call("echo", json!({ "text": "t" })).await.expect("an answer").is_result());
    let mut news = client.listen().await.expect("a stream");
    eventually("the gateway's watch", PATIENCE, async || (server.listening() > 0).then_some(())).await;
    let lists = server.ledger().count("tools/list");
    server.notify("notifications/tools/list_changed", &json!({}));
    let told = tokio::time::timeout(PATIENCE, news.next()).await.expect("within the time");
    assert_eq!(told.expect("an event").expect("a change")["method"], "notifications/tools/list_changed");
    let again = async || (server.ledger().count("tools/list") > lists).then_some(());
    eventually("that the gateway asks again", PATIENCE, again).await;
}

/// F-13: a modern client that closes its stream has cancelled.
#[tokio::test]
async fn a_cancelled_call_closes_the_stream_at_the_server_within_a_quarter_second() {
    let (gateway, server) = modern().await;
    let client = asked(&gateway, json!({})).await;
    let call = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": { "name": "sleep", "arguments": {} } });
    let mut reply = client.post(&call).await.expect("a stream");
    assert!(reply.next().await.expect("an event").is_some());
    let cancel = json!({ "requestId": 7, "reason": "enough" });
    client.notify("notifications/cancelled", cancel).await.expect("taken");
    let seen = async || (server.cancelled() == 1).then_some(());
    eventually("that the server notices", Duration::from_millis(250), seen).await;
    assert_eq!(server.ledger().count("notifications/cancelled"), 0);
}

#[tokio::test]
async fn a_server_that_changes_its_era_is_noticed_by_the_next_call() {
    let (gateway, server) = modern().await;
    let client = asked(&gateway, json!({})).await;
    assert_eq!(client.call("echo", json!({ "text": "new" })).await.expect("an answer").text(), "new");
    server.downgrade(true);
    assert_eq!(client.call("echo", json!({ "text": "new" })).await.expect("an answer").text(), "old");
    server.downgrade(false);
    assert_eq!(client.call("echo", json!({ "text": "new" })).await.expect("an answer").text(), "new");
}

#[tokio::test]
async fn a_modern_server_hears_of_the_legacy_era_only_once_a_legacy_client_wants_it() {
    let (gateway, server) = modern().await;
    let own = Own::new(gateway.address(), "/mcp/one");
    assert_eq!(own.call("echo", json!({ "text": "t" })).await.expect("an answer").text(), "t");
    for entry in server.ledger().all() {
        assert_eq!(entry.headers.get("mcp-protocol-version").map(String::as_str), Some(VERSION), "{entry:?}");
    }
    for _ in 0..2 {
        let client = asked(&gateway, json!({})).await;
        assert_eq!(client.call("echo", json!({ "text": "t" })).await.expect("an answer").text(), "t");
    }
    assert_eq!(server.ledger().count("initialize"), 1);
}

#[tokio::test]
async fn a_server_of_both_eras_hears_each_client_in_its_own() {
    let (gateway, server) = (Gateway::start().await, Modern::start().await);
    server.speak_both();
    gateway.adopt("one", "one", &server.url()).await;
    let own = Own::new(gateway.address(), "/mcp/one");
    assert_eq!(own.call("echo", json!({ "text": "new" })).await.expect("an answer").text(), "new");
    let client = asked(&gateway, json!({})).await;
    assert_eq!(client.initialized["serverInfo"]["name"], "old", "as the server says it to legacy clients");
    assert_eq!(client.call("echo", json!({ "text": "new" })).await.expect("an answer").text(), "old");
    let all = gateway.client("/mcp").await;
    assert_eq!(all.call("one__echo", json!({ "text": "new" })).await.expect("an answer").text(), "old");
    assert_eq!(own.call("echo", json!({ "text": "new" })).await.expect("an answer").text(), "new");
}

#[tokio::test]
async fn a_legacy_server_is_asked_for_its_era_once() {
    let (gateway, fake, _) = one().await;
    for _ in 0..3 {
        let client = gateway.client("/mcp/one").await;
        assert!(client.call("echo", json!({ "text": "t" })).await.expect("an answer").is_result());
    }
    assert_eq!(fake.ledger().count("server/discover"), 0, "the fake refuses it before it writes it down");
    let (_, metrics) = gateway.http().get("/api/v1/router/metrics").await.expect("metrics");
    assert!(!metrics.to_string().contains("open\""), "{metrics}");
}
