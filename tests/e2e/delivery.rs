//! A tool call is delivered once or not at all.

use mcp_registry_gateway::random::Random;
use mcp_registry_gateway_tests::fake::{Act, Fake};
use mcp_registry_gateway_tests::process::Gateway;
use mcp_registry_gateway_tests::proxy::{Proxy, Way};
use mcp_registry_gateway_tests::rounds;
use serde_json::json;

use crate::one;

/// F-10: a call that may have been executed is not sent again.
#[tokio::test]
async fn a_call_that_was_executed_and_lost_its_answer_is_not_sent_again() {
    let (gateway, fake, _) = one().await;
    let client = gateway.client("/mcp/one").await;
    fake.script().next("tools/call", 1, Act::ResetAfter);
    let answer = client.call("echo", json!({ "text": "once" })).await.expect("an answer");
    assert!([502, 504].contains(&answer.status), "{answer:?}");
    assert_eq!(answer.response["error"]["data"]["outcome"], "unknown", "{answer:?}");
    assert_eq!(fake.ledger().deliveries("once"), 1);
    assert!(client.call("echo", json!({ "text": "next" })).await.expect("an answer").is_result());
}

/// F-10: a call that may have been executed is not sent again.
#[tokio::test]
async fn a_call_that_is_not_answered_in_time_is_not_sent_again() {
    let (gateway, fake) = (Gateway::start().await, Fake::start("slow").await);
    let server =
        json!({ "name": "slow", "endpoint_url": fake.url(), "configuration": { "timeout_seconds": 0.5 } });
    let id = gateway.register(&server).await["id"].as_str().expect("an id").to_owned();
    gateway.offers(&id, "echo").await;
    let client = gateway.client("/mcp/slow").await;
    fake.script().next("tools/call", 1, Act::Hang);
    let answer = client.call("echo", json!({ "text": "once" })).await.expect("an answer");
    assert_eq!(answer.status, 504, "{answer:?}");
    assert_eq!(answer.response["error"]["data"]["outcome"], "unknown", "{answer:?}");
    assert_eq!(fake.ledger().deliveries("once"), 1);
}

/// F-10: a call that may have been executed is not sent again.
#[tokio::test]
async fn no_call_is_delivered_twice_wherever_its_connection_is_cut() {
    let gateway = Gateway::start().await;
    let pair = Fake::start_many("replica", 2).await;
    let mut proxies = Vec::new();
    for fake in &pair {
        let proxy = Proxy::start(fake.address()).await;
        gateway.adopt(fake.name(), "pair", &proxy.url()).await;
        proxies.push(proxy);
    }
    let client = gateway.client("/mcp/pair").await;
    let random = Random::seeded(20_261_121);
    // Cuts that must have happened.
    let cuts = rounds(100, 500);
    let (mut calls, mut results, mut lost) = (0, 0, 0);
    while proxies.iter().map(Proxy::fired).sum::<usize>() < cuts {
        // Three calls in four pass, so that the breakers stay closed and the cuts meet calls.
        let armed = calls % 4 == 0;
        if armed {
            let way = if random.below(2) == 0 { Way::Up } else { Way::Down };
            let after = random.below(900);
            for proxy in &proxies {
                proxy.cut(way, after);
            }
        }
        let text = format!("call {calls}");
        let answer = client.call("echo", json!({ "text": text })).await.expect("the gateway always answers");
        let delivered: usize = pair.iter().map(|fake| fake.ledger().deliveries(&text)).sum();
        assert!(delivered <= 1, "{text} was delivered {delivered} times");
        if answer.is_result() {
            assert_eq!((answer.text(), delivered), (text.as_str(), 1));
            results += 1;
        } else {
            assert_eq!(answer.response["error"]["data"]["source"], "gateway", "{answer:?}");
            lost += 1;
        }
        for proxy in &proxies {
            proxy.disarm();
        }
        calls += 1;
        assert!(calls < 20 * cuts, "the cuts do not meet the calls");
    }
    assert!(
        lost > cuts / 10 && results > calls / 2,
        "of {calls} calls {results} succeeded and {lost} were lost"
    );
}

#[tokio::test]
async fn a_call_that_never_left_goes_to_another_replica() {
    let gateway = Gateway::start().await;
    let mut pair = Fake::start_many("replica", 2).await;
    for fake in &pair {
        gateway.adopt(fake.name(), "pair", &fake.url()).await;
    }
    let client = gateway.client("/mcp/pair").await;
    pair[0].stop().await;
    for n in 0..20 {
        let answer = client.call("echo", json!({ "text": format!("call {n}") })).await.expect("an answer");
        assert_eq!(answer.text(), format!("call {n}"), "{answer:?}");
        assert_eq!(pair[1].ledger().deliveries(&format!("call {n}")), 1);
    }
}
