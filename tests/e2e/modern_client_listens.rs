//! Clients of the modern era that listen for changes at servers of the legacy era.

use std::time::Duration;

use mcp_registry_gateway_tests::clock::eventually;
use mcp_registry_gateway_tests::http::Reply;
use mcp_registry_gateway_tests::modern::Modern;
use serde_json::{Value, json};

use crate::one;

const PATIENCE: Duration = Duration::from_secs(5);
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// Opens a stream for `wanted`; gives it and what the gateway granted.
async fn listen(client: &Modern, id: &Value, wanted: Value) -> (Reply, Value) {
    let message = client.message(id, "subscriptions/listen", json!({ "notifications": wanted }));
    let mut reply = client.post(&message, &[]).await.expect("an answer");
    assert!(reply.is_stream(), "{}", reply.status);
    let first = reply.next().await.expect("a message").expect("the acknowledgement");
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{first}");
    assert_eq!(first["params"]["_meta"][SUBSCRIPTION], *id);
    (reply, first["params"]["notifications"].clone())
}

async fn next(stream: &mut Reply) -> Value {
    let next = tokio::time::timeout(PATIENCE, stream.next()).await.expect("in time");
    next.expect("a message").expect("not the end")
}

/// T-07: what belongs to one client reaches that client alone.
#[tokio::test]
async fn changes_of_lists_are_told_to_those_who_asked_for_them_and_under_their_own_ids() {
    let (gateway, fake, _) = one().await;
    let service = Modern::new(gateway.address(), "/mcp/one");
    let (mut tools, granted) = listen(&service, &json!("a"), json!({ "toolsListChanged": true })).await;
    assert_eq!(granted, json!({ "toolsListChanged": true }));
    let (mut nothing, granted) = listen(&service, &json!(7), json!({})).await;
    assert_eq!(granted, json!({}));
    let all = Modern::new(gateway.address(), "/mcp");
    let (mut merged, _) =
        listen(&all, &json!(8), json!({ "toolsListChanged": true, "promptsListChanged": false })).await;
    fake.set_tools(&["new".to_owned()], usize::MAX);
    eventually("listeners", PATIENCE, async || {
        (fake.notify("notifications/tools/list_changed", &json!({})) >= 2).then_some(())
    })
    .await;
    for (stream, id) in [(&mut tools, json!("a")), (&mut merged, json!(8))] {
        let told = next(stream).await;
        assert_eq!(told["method"], "notifications/tools/list_changed", "{told}");
        assert_eq!(told["params"]["_meta"][SUBSCRIPTION], id);
    }
    assert!(tokio::time::timeout(Duration::from_millis(300), nothing.next()).await.is_err());
}

#[tokio::test]
async fn a_flood_of_changes_is_told_at_most_ten_times_a_second() {
    let (gateway, fake, _) = one().await;
    let client = Modern::new(gateway.address(), "/mcp/one");
    let (mut stream, _) = listen(&client, &json!(1), json!({ "toolsListChanged": true })).await;
    let flood = async {
        for _ in 0..200 {
            fake.notify("notifications/tools/list_changed", &json!({}));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let mut told = 0;
    let counting = async {
        while let Ok(next) = tokio::time::timeout(Duration::from_millis(1500), stream.next()).await {
            next.expect("a message").expect("not the end");
            told += 1;
        }
    };
    tokio::join!(flood, counting);
    assert!((2..=20).contains(&told), "{told} notifications of about a second of changes");
}

#[tokio::test]
async fn resources_are_subscribed_to_for_as_long_as_somebody_listens() {
    let (gateway, fake, _) = one().await;
    for path in ["/mcp/one", "/mcp"] {
        fake.ledger().clear();
        let client = Modern::new(gateway.address(), path);
        let wanted = json!({ "resourceSubscriptions": ["fake://one/card"] });
        let (mut first, granted) = listen(&client, &json!(1), wanted.clone()).await;
        assert_eq!(granted, wanted);
        let (mut second, _) = listen(&client, &json!(2), wanted).await;
        assert_eq!(fake.ledger().count("resources/subscribe"), 1, "one subscription for both");
        let update = json!({ "uri": "fake://one/card", "more": 1 });
        eventually("listeners", PATIENCE, async || {
            fake.notify("notifications/resources/updated", &json!({ "uri": "fake://one/other" }));
            (fake.notify("notifications/resources/updated", &update) >= 1).then_some(())
        })
        .await;
        for (stream, id) in [(&mut first, 1), (&mut second, 2)] {
            let told = next(stream).await;
            assert_eq!(told["params"]["uri"], "fake://one/card", "{told}");
            assert_eq!(
                (&told["params"]["more"], &told["params"]["_meta"][SUBSCRIPTION]),
                (&json!(1), &json!(id))
            );
        }
        drop((first, second));
        eventually("the end of the subscription", PATIENCE, async || {
            (fake.ledger().count("resources/unsubscribe") == 1).then_some(())
        })
        .await;
    }
}

/// F-20: what is under way when the gateway stops comes to its end.
#[tokio::test]
async fn streams_end_with_their_response_when_the_gateway_stops() {
    let (mut gateway, _fake, _) = one().await;
    let client = Modern::new(gateway.address(), "/mcp/one");
    let (mut stream, _) = listen(&client, &json!("s"), json!({ "toolsListChanged": true })).await;
    gateway.terminate();
    let last = next(&mut stream).await;
    assert_eq!((&last["id"], &last["result"]["resultType"]), (&json!("s"), &json!("complete")), "{last}");
    assert_eq!(last["result"]["_meta"][SUBSCRIPTION], "s");
    assert!(gateway.ended(PATIENCE).await.success());
}
