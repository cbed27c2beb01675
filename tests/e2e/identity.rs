//! Many clients over few connections: nobody ever sees what belongs to somebody else.

use std::time::Duration;

use futures_util::future::join_all;
use mcp_registry_gateway_tests::clock::eventually;
use mcp_registry_gateway_tests::http::Http;
use mcp_registry_gateway_tests::mcp::Client;
use serde_json::{Value, json};

use crate::one;

/// T-07: two hundred clients with the same ids get their own answers.
#[tokio::test]
async fn two_hundred_clients_with_the_same_ids_get_their_own_answers() {
    let (gateway, fake, _) = one().await;
    let clients = join_all((0..200).map(|_| gateway.client("/mcp/one"))).await;
    let rounds = clients.iter().enumerate().map(|(number, client)| async move {
        for id in 1..=3 {
            let text = format!("client {number} call {id}");
            let params = json!({ "name": "sleep", "arguments": { "ms": 7 * (number % 5), "text": text } });
            let answer = client.request_as(&json!(id), "tools/call", params).await.expect("its own id");
            assert_eq!(answer.text(), text);
        }
    });
    join_all(rounds).await;
    assert_eq!(fake.ledger().count("tools/call"), 600);
}

/// T-07: what belongs to one client reaches that client alone.
#[tokio::test]
async fn ids_come_back_as_the_client_wrote_them() {
    let (gateway, _fake, _) = one().await;
    let client = gateway.client("/mcp/one").await;
    let big: Value = serde_json::from_str("9007199254740993").expect("a number");
    for id in [json!("a \"quoted\" id"), json!(0), json!(-7), big, json!("")] {
        let params = json!({ "name": "echo", "arguments": { "text": "t" } });
        let answer = client.request_as(&id, "tools/call", params).await.expect("the same id");
        assert_eq!(answer.response["id"], id);
    }
}

/// T-07: progress reaches the client that asked.
#[tokio::test]
async fn progress_reaches_the_client_that_asked_under_its_own_token() {
    let (gateway, fake, _) = one().await;
    let clients = join_all((0..20).map(|_| gateway.client("/mcp/one"))).await;
    let calls = clients.iter().enumerate().map(|(number, client)| async move {
        let text = format!("client {number}");
        let params = json!({ "name": "progress", "arguments": { "n": 3, "text": text }, "_meta": { "progressToken": "mine" } });
        let answer = client.request_as(&json!(1), "tools/call", params).await.expect("an answer");
        assert_eq!(answer.text(), text);
        let notes: Vec<_> =
            answer.before.iter().filter(|note| note["method"] == "notifications/progress").collect();
        assert_eq!(notes.len(), 3, "{answer:?}");
        assert!(notes.iter().all(|note| note["params"]["progressToken"] == "mine"), "{notes:?}");
        assert!(notes.iter().map(|note| &note["params"]["progress"]).eq([1, 2, 3].iter()), "in order: {notes:?}");
    });
    join_all(calls).await;
    let tokens: Vec<_> = fake
        .ledger()
        .of("tools/call")
        .iter()
        .map(|call| (call.session.clone(), call.params["_meta"]["progressToken"].to_string()))
        .collect();
    let distinct: std::collections::BTreeSet<_> = tokens.iter().collect();
    assert_eq!(distinct.len(), tokens.len(), "two calls of one upstream session shared a token");
}

/// Calls the tool `ask` and answers what the server asks; gives the question and the tool's text.
async fn asked(client: &Client, tool: &str, method: &str, reply: Value) -> (Value, String) {
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": tool, "arguments": { "method": method, "params": { "for": method } } } });
    let mut stream = client.post(&call).await.expect("an answer");
    loop {
        let message = stream.next().await.expect("a message").expect("the stream ends with the response");
        if message["method"] == method {
            let answer = json!({ "jsonrpc": "2.0", "id": message["id"], "result": reply });
            client.deliver(&answer).await.expect("accepted");
            let end = stream.next().await.expect("a message").expect("the response");
            assert_eq!(end["id"], 1, "{end}");
            let text = end.pointer("/result/content/0/text").and_then(Value::as_str).unwrap_or_default();
            return (message, text.to_owned());
        }
        assert!(message.get("method").is_some(), "the call ended without asking: {message}");
    }
}

/// T-07: what belongs to one client reaches that client alone.
#[tokio::test]
async fn what_a_server_asks_in_the_middle_of_a_call_is_answered_by_that_client() {
    let (gateway, _fake, _) = one().await;
    for (path, tool) in [("/mcp/one", "ask"), ("/mcp", "one__ask")] {
        let capabilities = json!({ "sampling": {}, "elicitation": {}, "roots": {} });
        let http = Http::new(gateway.address());
        let clients = join_all((0..5).map(|_| Client::connect_with(&http, path, capabilities.clone()))).await;
        let methods = ["sampling/createMessage", "elicitation/create", "roots/list"];
        let talks = clients.iter().enumerate().map(|(number, client)| async move {
            let client = client.as_ref().expect("a session");
            for method in methods {
                let (question, text) = asked(client, tool, method, json!({ "client": number })).await;
                assert_eq!(question["params"]["for"], method);
                assert_eq!(text, json!({ "client": number }).to_string(), "another client's reply");
            }
        });
        join_all(talks).await;
    }
}

/// T-07: a cancellation goes to the call of the client that cancels.
#[tokio::test]
async fn a_cancellation_reaches_the_server_under_the_id_that_the_server_knows() {
    let (gateway, fake, _) = one().await;
    let client = gateway.client("/mcp/one").await;
    let call = json!({ "jsonrpc": "2.0", "id": "mine", "method": "tools/call",
        "params": { "name": "sleep", "arguments": { "ms": 60_000, "text": "t" } } });
    let patience = Duration::from_secs(5);
    let cancelling = async {
        let upstream = eventually("the call", patience, async || fake.ledger().of("tools/call").pop()).await;
        client
            .notify("notifications/cancelled", json!({ "requestId": "mine", "reason": "enough" }))
            .await
            .expect("accepted");
        let cancel = eventually("the cancellation", patience, async || {
            fake.ledger().of("notifications/cancelled").pop()
        })
        .await;
        assert_eq!(Some(&cancel.params["requestId"]), upstream.id.as_ref());
        assert_eq!(cancel.params["reason"], "enough", "the client's own words");
        assert_eq!(cancel.session, upstream.session);
    };
    let calling = async { drop(client.post(&call).await.expect("an answer").bytes().await) };
    tokio::time::timeout(patience * 2, async { tokio::join!(cancelling, calling) })
        .await
        .expect("a cancelled call ends");
}

/// T-07: what belongs to one client reaches that client alone.
#[tokio::test]
async fn one_client_cannot_cancel_what_another_one_called() {
    let (gateway, fake, _) = one().await;
    let (victim, stranger) = (gateway.client("/mcp/one").await, gateway.client("/mcp/one").await);
    let params = json!({ "name": "sleep", "arguments": { "ms": 300, "text": "mine" } });
    let id = json!(1);
    let calling = victim.request_as(&id, "tools/call", params);
    let cancelling = async {
        let seen = async || (fake.ledger().count("tools/call") > 0).then_some(());
        eventually("the call", Duration::from_secs(5), seen).await;
        stranger.notify("notifications/cancelled", json!({ "requestId": id })).await.expect("accepted");
    };
    let (answer, ()) = tokio::join!(calling, cancelling);
    assert_eq!(answer.expect("an answer").text(), "mine");
    assert_eq!(fake.ledger().count("notifications/cancelled"), 0);
}
