//! Log lines for programs, and the id that ties them to a call.

use std::collections::BTreeSet;
use std::time::Duration;

use mcp_registry_gateway_tests::clock::eventually;
use mcp_registry_gateway_tests::fake::{Act, Fake};
use mcp_registry_gateway_tests::mcp::finish;
use mcp_registry_gateway_tests::process::{Gateway, Options};
use mcp_registry_gateway_tests::proxy::refused;
use serde_json::{Value, json};

#[tokio::test]
async fn every_line_is_json_and_a_failed_calls_id_is_in_its_line_and_at_the_server() {
    let args = ["--log-format", "json", "--log-level", "debug"].map(str::to_owned).into();
    let gateway = Gateway::start_with(Options { args, ..Options::default() }).await;
    let fake = Fake::start("one").await;
    gateway.adopt("one", "one", &fake.url()).await;
    let client = gateway.client("/mcp/one").await;
    fake.script().next("tools/call", 1, Act::Status { code: 500, retry_after: None });
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "echo", "arguments": { "text": "line\nbreak \u{1b}[31m" } } });
    let headers = [("x-correlation-id", "order-66.b")];
    let mut reply = client.post_bytes(call.to_string().into(), &headers).await.expect("an answer");
    assert_eq!(reply.header("x-correlation-id"), "order-66.b");
    assert!(!finish(&mut reply).await.expect("a body").is_result());

    let sent = fake.ledger().of("tools/call");
    let ids: Vec<_> =
        sent.iter().map(|call| call.headers.get("x-correlation-id").map(String::as_str)).collect();
    assert_eq!(ids, [Some("order-66.b")]);
    let failure = eventually("the line of the failure", Duration::from_secs(5), async || {
        lines(&gateway).into_iter().find(|line| line["correlation_id"] == "order-66.b")
    })
    .await;
    assert_eq!((&failure["level"], &failure["method"]), (&json!("INFO"), &json!("tools/call")), "{failure}");
    assert!(failure["error"].is_string() && failure["timestamp"].is_string(), "{failure}");
}

/// The log, each line as an object; fails if one is none.
fn lines(gateway: &Gateway) -> Vec<Value> {
    let log = gateway.log();
    // The last one may be half written.
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    let read = |line: &str| serde_json::from_str(line).expect(line);
    whole.lines().map(read).filter(|line: &Value| line.is_object()).collect()
}

#[tokio::test]
async fn a_call_without_an_id_gets_one_that_the_server_and_the_client_see() {
    let (gateway, fake, _) = crate::one().await;
    let client = gateway.client("/mcp/one").await;
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "echo", "arguments": { "text": "t" } } });
    let reply = client.post(&call).await.expect("an answer");
    let given = reply.header("x-correlation-id").to_owned();
    assert!(!given.is_empty());
    assert_eq!(fake.ledger().of("tools/call")[0].headers.get("x-correlation-id"), Some(&given));
}

#[tokio::test]
async fn what_is_logged_of_asking_a_server_what_it_offers_has_the_id_of_that_asking() {
    let args = ["--log-format", "json"].map(str::to_owned).into();
    let gateway = Gateway::start_with(Options { args, ..Options::default() }).await;
    for name in ["one", "two"] {
        let server = json!({ "name": name, "endpoint_url": format!("http://{}/mcp", refused()) });
        gateway.register(&server).await;
    }
    let ids = eventually("a line of each", Duration::from_secs(5), async || {
        let told = "a server could not be asked what it offers";
        let lines = lines(&gateway).into_iter().filter(|line| line["message"] == told);
        let ids: BTreeSet<_> =
            lines.map(|line| line["span"]["correlation_id"].as_str().expect("an id").to_owned()).collect();
        (ids.len() >= 2).then_some(ids)
    })
    .await;
    assert!(ids.iter().all(|id| id.len() == 36), "{ids:?}");
}
