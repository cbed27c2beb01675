//! What is refused, and with which answer.

use bytes::Bytes;
use http::Method;
use mcp_registry_gateway_tests::mcp::finish;
use serde_json::{Value, json};

use crate::one;

/// Status and JSON-RPC code of the answer to `body` with the headers `more`.
async fn refused(body: impl Into<Bytes>, more: &[(&str, &str)]) -> (u16, Value) {
    let (gateway, fake, _) = one().await;
    let client = gateway.client("/mcp/one").await;
    let mut reply = client.post_bytes(body.into(), more).await.expect("an answer");
    let answer = finish(&mut reply).await.expect("a body");
    assert_eq!(fake.ledger().count("tools/call"), 0, "what is refused reaches nobody");
    let (health, _) = gateway.http().get("/health").await.expect("the gateway lives");
    assert_eq!(health, 200);
    (answer.status, answer.response["error"]["code"].clone())
}

fn call(text: &str) -> String {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "echo", "arguments": { "text": text } } })
        .to_string()
}

/// B-08: only a single message is taken, and its id comes back as it was.
#[tokio::test]
async fn a_batch_is_refused() {
    assert_eq!(refused(format!("[{}]", call("t")), &[]).await, (400, json!(-32600)));
}

/// B-04: what is no JSON, or nests too deep, is refused at little cost.
#[tokio::test]
async fn what_is_not_json_is_refused() {
    assert_eq!(refused("{\"jsonrpc\":", &[]).await, (400, json!(-32700)));
    assert_eq!(refused(Bytes::from_static(b"\xff\xfe{}"), &[]).await, (400, json!(-32700)));
}

/// B-09: keys are exact, and none stands twice.
#[tokio::test]
async fn a_member_that_comes_twice_is_refused() {
    let twice = call("t").replacen('{', "{\"method\":\"tools/list\",", 1);
    assert_eq!(refused(twice, &[]).await.0, 400);
}

/// B-04: what is no JSON, or nests too deep, is refused at little cost.
#[tokio::test]
async fn json_that_nests_deeper_than_the_limit_is_refused() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    // The message, its params and the arguments are three levels above.
    let deep = call("t").replace("\"t\"", &nested(126));
    assert_eq!(refused(deep, &[]).await, (400, json!(-32700)));
    let (gateway, _fake, _) = one().await;
    let fits = call("t").replace("\"t\"", &nested(124));
    let reply = gateway.client("/mcp/one").await.post_bytes(Bytes::from(fits), &[]).await.expect("an answer");
    assert_eq!(reply.status, 200, "127 levels are allowed, which is as deep as the fake can read");
}

/// B-01: a body over the limit is refused before it is parsed, and the limit named.
#[tokio::test]
async fn a_body_over_four_mebibytes_is_refused_and_one_below_passes() {
    assert_eq!(refused(call(&"x".repeat(4 * 1024 * 1024)), &[]).await.0, 413);
    let (gateway, _fake, _) = one().await;
    let client = gateway.client("/mcp/one").await;
    let text = "x".repeat(4 * 1024 * 1024 - 1024);
    assert_eq!(
        client.call("echo", json!({ "text": text })).await.expect("an answer").text().len(),
        text.len()
    );
}

#[tokio::test]
async fn another_content_type_is_refused() {
    assert_eq!(refused(call("t"), &[("content-type", "text/plain")]).await.0, 415);
}

#[tokio::test]
async fn a_foreign_host_or_origin_is_refused() {
    assert_eq!(refused(call("t"), &[("host", "gateway.example.com")]).await.0, 403);
    assert_eq!(refused(call("t"), &[("origin", "https://evil.example.com")]).await.0, 403);
    let (gateway, _fake, _) = one().await;
    let headers = [("origin", "https://evil.example.com")];
    let reply =
        gateway.http().send(Method::GET, "/api/v1/servers", &headers, Bytes::new()).await.expect("an answer");
    assert_eq!(reply.status, 403, "the REST API looks too");
}

#[tokio::test]
async fn a_session_that_nobody_opened_is_not_found() {
    let stranger = [("mcp-session-id", "00000000-0000-4000-8000-000000000000")];
    assert_eq!(refused(call("t"), &stranger).await.0, 404);
}

/// B-02: an answer over the limit is cut and the limit named.
#[tokio::test]
async fn a_server_that_answers_too_much_is_an_error_that_names_the_limit() {
    let (gateway, _fake, _) = one().await;
    let client = gateway.client("/mcp/one").await;
    let answer = client.call("huge", json!({ "bytes": 17 * 1024 * 1024 })).await.expect("an answer");
    let error = answer.response["error"].to_string();
    assert!(!answer.is_result() && error.contains("16"), "{error:.300}");
    assert!(client.call("echo", json!({ "text": "t" })).await.expect("an answer").is_result());
}
