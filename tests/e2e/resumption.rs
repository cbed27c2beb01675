//! A legacy client that loses the stream of a call takes it up again with `Last-Event-ID`.

use mcp_registry_gateway_tests::http::{Http, Reply};
use mcp_registry_gateway_tests::mcp::{Client, finish};
use mcp_registry_gateway_tests::process::Gateway;
use serde_json::{Value, json};

use crate::one;

async fn client(gateway: &Gateway) -> Client {
    let http = Http::new(gateway.address());
    Client::connect_with(&http, "/mcp/one", json!({ "elicitation": {} })).await.expect("a session")
}

/// Begins a call that asks its client something; gives the stream, and the question that came on it.
async fn ask(client: &Client) -> (Reply, Value) {
    let call = json!({ "jsonrpc": "2.0", "id": "mine", "method": "tools/call", "params": {
        "name": "ask", "arguments": { "method": "elicitation/create", "params": { "message": "?" } } } });
    let mut stream = client.post(&call).await.expect("an answer");
    let question = stream.next().await.expect("a message").expect("a question");
    assert_eq!(question["method"], "elicitation/create", "{question}");
    (stream, question)
}

async fn answer(client: &Client, question: &Value) {
    let reply = json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "action": "decline" } });
    client.deliver(&reply).await.expect("accepted");
}

/// F-14: the call goes on, and its result is there for who comes back.
#[tokio::test]
async fn the_result_of_a_call_whose_stream_broke_is_there_on_resume() {
    let (gateway, fake, _) = one().await;
    let client = client(&gateway).await;
    let (stream, question) = ask(&client).await;
    let id = stream.last_id().expect("the event has an id").to_owned();
    drop(stream);
    answer(&client, &question).await;
    for _ in 0..2 {
        let mut rest = client.resume(&id).await.expect("an answer");
        assert!(rest.status == 200 && rest.is_stream(), "{}", rest.status);
        let last = finish(&mut rest).await.expect("the rest");
        assert!(last.before.is_empty(), "what was seen does not come again: {last:?}");
        assert_eq!(
            (&last.response["id"], last.text()),
            (&json!("mine"), r#"{"action":"decline"}"#),
            "{last:?}"
        );
    }
    assert_eq!(fake.ledger().count("tools/call"), 1);
    assert_eq!(fake.ledger().count("notifications/cancelled"), 0);
}

/// F-14: a stream can be taken up before anything was heard on it, and what was missed comes with it.
#[tokio::test]
async fn who_has_heard_nothing_yet_hears_all_of_it_on_resume() {
    let (gateway, _fake, _) = one().await;
    let client = client(&gateway).await;
    let (stream, _) = ask(&client).await;
    let id = stream.last_id().expect("an id").to_owned();
    let first = id.split_once('-').map(|(stream, _)| format!("{stream}-0")).expect("stream and number");
    drop(stream);
    let mut again = client.resume(&first).await.expect("an answer");
    let question = again.next().await.expect("a message").expect("the question");
    assert_eq!(question["method"], "elicitation/create");
    assert_eq!(again.last_id(), Some(&*id), "the same event has the same id");
    answer(&client, &question).await;
    let last = finish(&mut again).await.expect("the answer");
    assert_eq!(last.text(), r#"{"action":"decline"}"#, "{last:?}");
}

/// F-14, T-01: an id belongs to the session that it was given to.
#[tokio::test]
async fn an_event_id_of_somebody_else_is_nothing() {
    let (gateway, _fake, _) = one().await;
    let (owner, stranger) = (client(&gateway).await, client(&gateway).await);
    let (stream, _) = ask(&owner).await;
    let id = stream.last_id().expect("an id").to_owned();
    for (who, id) in
        [(&stranger, &*id), (&owner, "999-0"), (&owner, ""), (&owner, "1-999"), (&owner, "\u{fc}")]
    {
        let refused = who.resume(id).await.expect("an answer");
        assert_eq!(refused.status, 400, "{id}");
        let text = refused.bytes().await.expect("a body");
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(text.contains("Last-Event-ID") && !text.contains("elicitation"), "{text}");
    }
}

/// F-14: an explicit cancellation does cancel, whether its client is there or not.
#[tokio::test]
async fn a_call_that_was_cancelled_while_its_client_was_away_says_so_on_resume() {
    let (gateway, _fake, _) = one().await;
    let client = client(&gateway).await;
    let (stream, _) = ask(&client).await;
    let id = stream.last_id().expect("an id").to_owned();
    drop(stream);
    client.notify("notifications/cancelled", json!({ "requestId": "mine" })).await.expect("accepted");
    let last = finish(&mut client.resume(&id).await.expect("an answer")).await.expect("the rest");
    assert_eq!(last.response["error"]["data"]["kind"], "cancelled", "{last:?}");
}

/// An answer that is one JSON document has neither ids nor a stream.
#[tokio::test]
async fn an_ordinary_answer_is_one_document() {
    let (gateway, _fake, _) = one().await;
    let client = client(&gateway).await;
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "echo", "arguments": { "text": "t" } } });
    let reply = client.post(&call).await.expect("an answer");
    assert!(!reply.is_stream() && reply.last_id().is_none());
}
