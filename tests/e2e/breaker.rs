//! When a server is left alone, for how long, and what does not count against it.

use std::time::Duration;

use futures_util::future::join_all;
use mcp_registry_gateway_tests::fake::Act;
use mcp_registry_gateway_tests::process::Gateway;
use serde_json::json;

use crate::one;

/// F-03: an open breaker answers without a word to the server; `call-bench` has the time that this takes.
#[tokio::test]
async fn an_open_breaker_fails_fast_says_when_to_come_back_and_sends_nothing() {
    let (gateway, fake, id) = one().await;
    let client = gateway.client("/mcp/one").await;
    fake.script().on("tools/call", Act::Status { code: 503, retry_after: None });
    let mut sent = 0;
    while gateway.metrics(&id).await["circuit_breaker_state"] != "open" {
        let answer = client.call("echo", json!({ "text": "x" })).await.expect("an answer");
        assert!(!answer.is_result());
        sent += 1;
        assert!(sent <= 5, "five failures in a row open it");
    }
    let before = fake.ledger().count("tools/call");
    let answer = client.call("echo", json!({ "text": "fast" })).await.expect("an answer");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.retry_after.is_some_and(|seconds| (1..=60).contains(&seconds)), "{answer:?}");
    assert_eq!(answer.response["error"]["data"]["retryable"], true, "{answer:?}");
    assert_eq!(fake.ledger().count("tools/call"), before, "nothing reaches a server whose breaker is open");
}

/// F-04: what is no failure of the server does not count.
#[tokio::test]
async fn what_a_tool_or_a_client_does_wrong_never_opens_the_breaker() {
    let (gateway, fake, id) = one().await;
    let client = gateway.client("/mcp/one").await;
    let acts = [
        Act::ToolError,
        Act::RpcError(-32602),
        Act::RpcError(-32601),
        Act::Status { code: 400, retry_after: None },
    ];
    for act in &acts {
        fake.script().clear();
        fake.script().on("tools/call", act.clone());
        for _ in 0..250 {
            client.call("echo", json!({ "text": "x" })).await.expect("an answer");
        }
        assert_eq!(gateway.metrics(&id).await["circuit_breaker_state"], "closed", "after {act:?}");
    }
    assert_eq!(fake.ledger().count("tools/call"), 1000, "every one reached the server");
    fake.script().clear();
    assert!(client.call("echo", json!({ "text": "x" })).await.expect("an answer").is_result());
}

/// F-04: what is no failure of the server does not count.
#[tokio::test]
async fn a_cancelled_call_does_not_count_against_the_server() {
    let (gateway, fake, id) = one().await;
    let client = gateway.client("/mcp/one").await;
    for n in 0..30 {
        let call = json!({ "jsonrpc": "2.0", "id": format!("c{n}"), "method": "tools/call",
            "params": { "name": "sleep", "arguments": { "ms": 60_000, "text": "x" } } });
        let cancel = async {
            let seen = async || (fake.ledger().count("tools/call") > n).then_some(());
            mcp_registry_gateway_tests::clock::eventually("the call", Duration::from_secs(5), seen).await;
            client
                .notify("notifications/cancelled", json!({ "requestId": format!("c{n}") }))
                .await
                .expect("accepted");
        };
        // Whatever a cancelled request is answered with, the exchange ends.
        let answer = async { drop(client.post(&call).await.expect("an answer").bytes().await) };
        tokio::time::timeout(
            Duration::from_secs(10),
            join_all([Box::pin(cancel) as std::pin::Pin<Box<dyn Future<Output = ()>>>, Box::pin(answer)]),
        )
        .await
        .expect("a cancelled call ends");
    }
    assert_eq!(gateway.metrics(&id).await["circuit_breaker_state"], "closed");
}

#[tokio::test]
async fn a_throttled_server_keeps_its_breaker_closed() {
    let (gateway, fake, id) = one().await;
    let client = gateway.client("/mcp/one").await;
    fake.script().on("tools/call", Act::Status { code: 429, retry_after: Some(1) });
    for _ in 0..30 {
        assert!(!client.call("echo", json!({ "text": "x" })).await.expect("an answer").is_result());
    }
    assert_eq!(gateway.metrics(&id).await["circuit_breaker_state"], "closed");
}

async fn open(gateway: &Gateway, id: &str, client: &mcp_registry_gateway_tests::mcp::Client) {
    for _ in 0..5 {
        client.call("echo", json!({ "text": "x" })).await.expect("an answer");
    }
    gateway.breaker(id, "open").await;
}

/// F-05: half-open lets exactly three in.
#[tokio::test]
async fn a_half_open_breaker_lets_exactly_three_calls_in_and_closes_when_they_succeed() {
    let (gateway, fake, id) = one().await;
    let client = gateway.client("/mcp/one").await;
    fake.script().on("tools/call", Act::Status { code: 503, retry_after: None });
    open(&gateway, &id, &client).await;
    fake.script().on("tools/call", Act::Delay(Duration::from_millis(500)));
    fake.ledger().clear();
    gateway.breaker(&id, "half_open").await;
    let answers = join_all((0..50).map(|_| client.call("echo", json!({ "text": "probe" })))).await;
    let good = answers.iter().filter(|answer| answer.as_ref().expect("an answer").is_result()).count();
    let refused = answers.iter().filter(|answer| answer.as_ref().expect("an answer").status == 503).count();
    assert_eq!((fake.ledger().deliveries("probe"), good, refused), (3, 3, 47));
    assert_eq!(gateway.metrics(&id).await["circuit_breaker_state"], "closed");
}

#[tokio::test]
async fn one_failure_while_half_open_opens_it_again() {
    let (gateway, fake, id) = one().await;
    let client = gateway.client("/mcp/one").await;
    fake.script().on("tools/call", Act::Status { code: 503, retry_after: None });
    open(&gateway, &id, &client).await;
    gateway.breaker(&id, "half_open").await;
    fake.ledger().clear();
    client.call("echo", json!({ "text": "probe" })).await.expect("an answer");
    assert_eq!(gateway.metrics(&id).await["circuit_breaker_state"], "open");
    assert_eq!(client.call("echo", json!({ "text": "later" })).await.expect("an answer").status, 503);
    assert_eq!((fake.ledger().deliveries("probe"), fake.ledger().deliveries("later")), (1, 0));
}
