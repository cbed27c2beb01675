//! What becomes of a call whose client leaves, ends its session or asks for what is not there; and what is told of it.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use mcp_registry_gateway_tests::clock::eventually;
use mcp_registry_gateway_tests::fake::{Act, Fake};
use mcp_registry_gateway_tests::http::Http;
use mcp_registry_gateway_tests::mcp::{Client, VERSION};
use mcp_registry_gateway_tests::process::{Gateway, Options};
use serde_json::{Value, json};

use crate::one;

const PATIENCE: Duration = Duration::from_secs(5);

/// A call that takes `ms` milliseconds.
fn sleep(id: &Value, ms: u64) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": { "name": "sleep", "arguments": { "ms": ms, "text": "slept" } } })
}

/// The methods of what runs now.
async fn running(gateway: &Gateway) -> Vec<String> {
    let (_, body) = gateway.http().get("/api/v1/proxy/active-requests").await.expect("a list");
    let requests = body["requests"].as_array().cloned().unwrap_or_default();
    requests.iter().filter_map(|request| request["method"].as_str().map(str::to_owned)).collect()
}

/// Begins `call` on a connection of its own and breaks that as soon as the server has the call. Gives the session's id.
async fn left_alone(gateway: &Gateway, fake: &Fake, call: &Value) -> String {
    let http = Http::new(gateway.address());
    let client = Client::connect_with(&http, "/mcp/one", json!({})).await.expect("a session");
    let taken = async || (fake.ledger().count("tools/call") > 0).then_some(());
    tokio::select! {
        answer = client.post(call) => panic!("answered before the connection was broken: {answer:?}"),
        () = eventually("the call", PATIENCE, taken) => {}
    }
    client.session().to_owned()
}

/// F-14: a legacy client that leaves has cancelled nothing.
#[tokio::test]
async fn a_call_goes_on_although_its_client_broke_the_connection() {
    let (gateway, fake, id) = one().await;
    left_alone(&gateway, &fake, &sleep(&json!(1), 800)).await;
    let ended = async || (!running(&gateway).await.contains(&"tools/call".to_owned())).then_some(());
    eventually("the end of the call", PATIENCE, ended).await;
    let metrics = gateway.metrics(&id).await;
    let took = metrics["avg_response_time_ms"].as_f64().expect("a mean");
    assert!(took >= 700.0, "the answer was waited for: {metrics}");
    assert_eq!((&metrics["active_connections"], &metrics["error_rate"]), (&json!(0), &json!(0.0)));
    assert_eq!(fake.ledger().count("notifications/cancelled"), 0);
}

/// F-14: a legacy client that leaves has cancelled nothing.
#[tokio::test]
async fn a_call_whose_client_left_can_still_be_cancelled() {
    let (gateway, fake, _) = one().await;
    let session = left_alone(&gateway, &fake, &sleep(&json!("mine"), 60_000)).await;
    let cancel =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": "mine" } });
    let headers = [
        ("accept", "application/json, text/event-stream"),
        ("content-type", "application/json"),
        ("mcp-session-id", session.as_str()),
        ("mcp-protocol-version", VERSION),
    ];
    let body = Bytes::from(cancel.to_string());
    let accepted = gateway.http().send(Method::POST, "/mcp/one", &headers, body).await.expect("an answer");
    assert_eq!(accepted.status, 202);
    let told = async || fake.ledger().of("notifications/cancelled").pop();
    let told = eventually("the cancellation", PATIENCE, told).await;
    assert_eq!(Some(&told.params["requestId"]), fake.ledger().of("tools/call")[0].id.as_ref());
    let ended = async || running(&gateway).await.is_empty().then_some(());
    eventually("the end of the call", PATIENCE, ended).await;
}

/// F-13: a modern client that closes its stream has cancelled.
#[tokio::test]
async fn a_call_without_a_session_ends_with_its_connection_and_the_server_is_told() {
    let (gateway, fake, _) = one().await;
    let http = Http::new(gateway.address());
    let call = sleep(&json!(1), 60_000);
    let taken = async || (fake.ledger().count("tools/call") > 0).then_some(());
    tokio::select! {
        answer = http.json(Method::POST, "/mcp/proxy", Some(&call)) => panic!("answered: {answer:?}"),
        () = eventually("the call", PATIENCE, taken) => {}
    }
    drop(http);
    let told = async || fake.ledger().of("notifications/cancelled").pop();
    let told = eventually("the cancellation", PATIENCE, told).await;
    assert_eq!(Some(&told.params["requestId"]), fake.ledger().of("tools/call")[0].id.as_ref());
    let ended = async || running(&gateway).await.is_empty().then_some(());
    eventually("the end of the call", PATIENCE, ended).await;
}

#[tokio::test]
async fn a_session_that_is_ended_in_the_middle_of_a_call_is_unknown_to_that_call() {
    let (gateway, fake, _) = one().await;
    let http = Http::new(gateway.address());
    let client = Client::connect_with(&http, "/mcp/one", json!({})).await.expect("a session");
    let ending = async {
        let taken = async || (fake.ledger().count("tools/call") > 0).then_some(());
        eventually("the call", PATIENCE, taken).await;
        let headers = [("mcp-session-id", client.session()), ("mcp-protocol-version", VERSION)];
        gateway
            .http()
            .send(Method::DELETE, "/mcp/one", &headers, Bytes::new())
            .await
            .expect("an answer")
            .status
    };
    let id = json!(1);
    let params = json!({ "name": "sleep", "arguments": { "ms": 60_000 } });
    let (answer, ended) = tokio::join!(client.request_as(&id, "tools/call", params), ending);
    let answer = answer.expect("an answer");
    assert_eq!((ended, answer.status), (204, 404), "{answer:?}");
    assert_eq!(answer.response["error"]["data"]["kind"], "session_not_found", "{answer:?}");
}

#[tokio::test]
async fn an_open_stream_is_among_what_runs_until_it_is_closed_or_cancelled() {
    let (gateway, _fake, _) = one().await;
    let client = gateway.client("/mcp/one").await;
    assert_eq!(running(&gateway).await, [""; 0]);
    let mut stream = client.listen().await.expect("a stream");
    let (_, body) = gateway.http().get("/api/v1/proxy/active-requests").await.expect("a list");
    assert_eq!(body["requests"][0]["method"], "GET", "{body}");
    let id = body["requests"][0]["request_id"].as_str().expect("an id");
    let path = format!("/api/v1/proxy/requests/{id}");
    let (status, _) = gateway.http().json(Method::DELETE, &path, None).await.expect("an answer");
    assert!((200..300).contains(&status), "{status}");
    assert_eq!(stream.next().await.expect("an end without an error"), None);
    let gone = async || running(&gateway).await.is_empty().then_some(());
    eventually("the end of the stream", PATIENCE, gone).await;

    let other = Http::new(gateway.address());
    let client = Client::connect_with(&other, "/mcp/one", json!({})).await.expect("a session");
    let stream = client.listen().await.expect("a stream");
    assert_eq!(running(&gateway).await, ["GET"]);
    drop((stream, client, other));
    eventually("the end of the stream", PATIENCE, gone).await;
}

#[tokio::test]
async fn a_resource_that_nobody_has_is_not_found_in_the_words_of_a_legacy_client() {
    let (gateway, _fake, _) = one().await;
    let client = gateway.client("/mcp").await;
    let answer = client.request("resources/read", json!({ "uri": "none://x" })).await.expect("an answer");
    assert_eq!((answer.status, &answer.response["error"]["code"]), (200, &json!(-32002)), "{answer:?}");
    assert_eq!(answer.response["error"]["data"]["uri"], "none://x", "{answer:?}");
}

#[tokio::test]
async fn a_server_of_another_version_is_the_servers_fault_and_not_the_clients() {
    let (gateway, fake, _) = one().await;
    let client = gateway.client("/mcp/one").await;
    fake.script().on("initialize", Act::RpcError(-32022));
    let answer = client.call("echo", json!({ "text": "t" })).await.expect("an answer");
    assert_eq!(answer.status, 502, "{answer:?}");
    let data = &answer.response["error"]["data"];
    assert_eq!((&data["kind"], &data["outcome"]), (&json!("bad_upstream"), &json!("not_sent")), "{answer:?}");
    assert_eq!(data.get("supported"), None, "that is what clients may speak: {answer:?}");
}

#[tokio::test]
async fn who_limits_its_rate_is_left_alone_for_as_long_as_it_asks_and_keeps_its_breaker_closed() {
    let gateway = Gateway::start().await;
    let pair = Fake::start_many("replica", 2).await;
    let mut ids = Vec::new();
    for fake in &pair {
        ids.push(gateway.adopt(fake.name(), "pair", &fake.url()).await);
    }
    let client = gateway.client("/mcp/pair").await;
    for fake in &pair {
        fake.script().next("tools/call", 1, Act::Status { code: 429, retry_after: Some(30) });
    }
    let refused = client.call("echo", json!({ "text": "refused" })).await.expect("an answer");
    assert_eq!((refused.status, refused.retry_after), (429, Some(30)), "{refused:?}");
    let (busy, other) = if pair[0].ledger().deliveries("refused") > 0 { (0, 1) } else { (1, 0) };
    pair[other].script().clear();
    for _ in 0..10 {
        assert!(client.call("echo", json!({ "text": "next" })).await.expect("an answer").is_result());
    }
    assert_eq!((pair[busy].ledger().deliveries("next"), pair[other].ledger().deliveries("next")), (0, 10));
    let metrics = gateway.metrics(&ids[busy]).await;
    assert_eq!((&metrics["failure_count"], &metrics["total_requests"]), (&json!(0), &json!(1)), "{metrics}");
    // Nobody else is left: then it is asked all the same.
    let mut pair = pair;
    pair[other].stop().await;
    pair[busy].script().clear();
    let last = client.call("echo", json!({ "text": "last" })).await.expect("an answer");
    assert!(last.is_result(), "{last:?}");
}

#[tokio::test]
async fn what_answers_a_servers_questions_is_sent_once_although_its_method_could_be_repeated() {
    let gateway = Gateway::start().await;
    let pair = Fake::start_many("replica", 2).await;
    for fake in &pair {
        gateway.adopt(fake.name(), "pair", &fake.url()).await;
    }
    let client = gateway.client("/mcp/pair").await;
    let reads = async |params: Value| {
        for fake in &pair {
            fake.script().clear();
            fake.ledger().clear();
            fake.script().next("resources/read", 1, Act::ResetAfter);
        }
        // Each attempt meets a server that breaks off, so the number of attempts is that of the broken ones.
        let answer = client.request("resources/read", params).await.expect("an answer");
        let sent: usize = pair.iter().map(|fake| fake.ledger().count("resources/read")).sum();
        (answer.status, sent)
    };
    assert_eq!(
        reads(json!({ "uri": "fake://x" })).await,
        (502, 2),
        "a plain one goes to the other replica, once"
    );
    assert_eq!(reads(json!({ "uri": "fake://x", "requestState": "s" })).await, (502, 1));
    assert_eq!(reads(json!({ "uri": "fake://x", "inputResponses": {} })).await, (502, 1));
}

#[tokio::test]
async fn one_id_ties_together_what_the_client_the_server_and_the_log_know_of_a_failed_call() {
    let env = vec![("MREG_LOG__FORMAT", "json".to_owned())];
    let gateway = Gateway::start_with(Options { env, ..Options::default() }).await;
    let fake = Fake::start("one").await;
    gateway.adopt("one", "one", &fake.url()).await;
    let client = gateway.client("/mcp/one").await;
    fake.script().next("tools/call", 1, Act::ResetAfter);
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "echo" } });
    let headers = [("x-correlation-id", "trace-me-42")];
    let reply = client.post_bytes(Bytes::from(call.to_string()), &headers).await.expect("an answer");
    assert_eq!((reply.status, reply.header("x-correlation-id")), (502, "trace-me-42"));
    assert_eq!(fake.ledger().of("tools/call")[0].headers["x-correlation-id"], "trace-me-42");
    let lines: Vec<Value> =
        gateway.output().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let told = lines.iter().filter(|line| line["correlation_id"] == "trace-me-42").collect::<Vec<_>>();
    let line = told.iter().find(|line| line["level"] == "INFO").expect("a line of the call");
    assert_eq!((&line["method"], &line["server"]), (&json!("tools/call"), &json!("one")), "{line}");
}
