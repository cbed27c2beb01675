//! Clients of the modern era and what comes in the middle of a call: questions, progress, log messages, and leaving.

use std::time::Duration;

use mcp_registry_gateway_tests::clock::eventually;
use mcp_registry_gateway_tests::fake::{Act, Fake};
use mcp_registry_gateway_tests::modern::Modern;
use mcp_registry_gateway_tests::process::{Gateway, Options};
use serde_json::{Value, json};

use crate::{one, stdio};

const PATIENCE: Duration = Duration::from_secs(5);

fn able() -> Value {
    json!({ "sampling": {}, "elicitation": {}, "roots": {} })
}

fn question(method: &str) -> Value {
    json!({ "method": method, "params": { "for": method, "big": 9_007_199_254_740_993_u64 } })
}

/// What is asked, and the state to send back.
fn asked(answer: &mcp_registry_gateway_tests::mcp::Answer) -> (Value, Value) {
    let result = &answer.response["result"];
    assert_eq!(result["resultType"], "input_required", "{answer:?}");
    (result["inputRequests"].clone(), result["requestState"].clone())
}

#[tokio::test]
async fn a_question_in_the_middle_of_a_call_is_asked_and_its_answer_resumes_the_call() {
    let (gateway, fake, _) = one().await;
    for (path, tool) in [("/mcp/one", "ask"), ("/mcp", "one__ask")] {
        let client = Modern::new(gateway.address(), path).with(able());
        for method in ["sampling/createMessage", "elicitation/create", "roots/list"] {
            let calls = fake.ledger().count("tools/call");
            let answer = client.call(tool, question(method)).await.expect("an answer");
            let (questions, state) = asked(&answer);
            assert_eq!(questions["q1"], json!({ "method": method, "params": question(method)["params"] }));
            let reply = json!({ "action": "accept", "content": { "n": 1 } });
            let end = client.retry(tool, question(method), json!({ "q1": reply }), &state).await;
            let end = end.expect("the end");
            assert_eq!(end.text(), reply.to_string(), "{end:?}");
            assert_eq!(end.response["result"]["resultType"], "complete");
            assert_eq!(fake.ledger().count("tools/call"), calls + 1, "the call was made once");
        }
    }
}

#[tokio::test]
async fn questions_over_stdio_are_asked_and_answered_like_any() {
    let gateway = Gateway::start().await;
    gateway.register(&stdio("child", &[])).await;
    let client = Modern::new(gateway.address(), "/mcp/child").with(able());
    let answer = client.call("ask", question("roots/list")).await.expect("an answer");
    let (_, state) = asked(&answer);
    let end = client.retry("ask", question("roots/list"), json!({ "q1": { "roots": [] } }), &state).await;
    assert_eq!(end.expect("the end").text(), r#"{"roots":[]}"#);
}

/// T-06: state that is changed, foreign or used is refused without the server hearing of it.
#[tokio::test]
async fn a_state_that_is_changed_foreign_or_used_is_refused_without_the_server_hearing_of_it() {
    let (gateway, fake, _) = one().await;
    let client = Modern::new(gateway.address(), "/mcp/one").with(able());
    let arguments = question("roots/list");
    let (_, state) = asked(&client.call("ask", arguments.clone()).await.expect("an answer"));
    let text = state.as_str().expect("a string").to_owned();
    // What the gateway does of its own accord meanwhile, such as opening a stream, tells the server nothing of it.
    let heard = || {
        let told = fake.ledger().all();
        let told = told.iter().filter(|entry| match entry.method.as_deref() {
            Some(method) => method == "tools/call",
            None => entry.via == "POST",
        });
        told.count()
    };
    let before = heard();
    assert_eq!(before, 1, "the call");
    let flipped = |at: usize| {
        let mut bytes = text.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        json!(String::from_utf8(bytes).expect("text"))
    };
    let responses = json!({ "q1": { "roots": [] } });
    for wrong in [flipped(text.len() - 3), flipped(20), flipped(0), json!(""), json!(text[..40])] {
        let refused =
            client.retry("ask", arguments.clone(), responses.clone(), &wrong).await.expect("an answer");
        assert_eq!((refused.status, &refused.response["error"]["code"]), (400, &json!(-32602)), "{wrong}");
    }
    let others = [("ask", question("sampling/createMessage")), ("echo", arguments.clone())];
    for (tool, arguments) in others {
        let refused = client.retry(tool, arguments, responses.clone(), &state).await.expect("an answer");
        assert_eq!(refused.response["error"]["code"], -32602, "of another call");
    }
    let elsewhere = Modern::new(gateway.address(), "/mcp").with(able());
    let refused = elsewhere.retry("one__ask", arguments.clone(), responses.clone(), &state).await;
    assert_eq!(refused.expect("an answer").response["error"]["code"], -32602, "of another route");
    let malformed =
        client.retry("ask", arguments.clone(), json!({ "q1": 1 }), &state).await.expect("an answer");
    assert_eq!(malformed.response["error"]["code"], -32602);
    assert_eq!(heard(), before, "the server heard nothing");
    let end = client.retry("ask", arguments.clone(), responses.clone(), &state).await.expect("the end");
    assert_eq!(end.text(), r#"{"roots":[]}"#);
    assert_eq!(heard(), before + 1, "the answer, which shows that one is seen");
    let again = client.retry("ask", arguments, responses, &state).await.expect("an answer");
    assert_eq!((again.status, &again.response["error"]["code"]), (400, &json!(-32602)), "used twice");
}

#[tokio::test]
async fn what_was_not_answered_is_asked_again() {
    let (gateway, _fake, _) = one().await;
    let client = Modern::new(gateway.address(), "/mcp/one").with(able());
    let (questions, state) = asked(&client.call("ask", question("roots/list")).await.expect("an answer"));
    let still = client.retry("ask", question("roots/list"), json!({ "other": {} }), &state).await;
    let (again, state) = asked(&still.expect("an answer"));
    assert_eq!(questions, again);
    let end = client.retry("ask", question("roots/list"), json!({ "q1": { "roots": [1] } }), &state).await;
    assert_eq!(end.expect("the end").text(), r#"{"roots":[1]}"#);
}

#[tokio::test]
async fn a_call_whose_client_does_not_come_back_expires_and_its_server_is_told() {
    let env = vec![("MREG_SESSION__INPUT_WAIT_SECONDS", "1".to_owned())];
    let gateway = Gateway::start_with(Options { env, ..Options::default() }).await;
    let fake = Fake::start("one").await;
    gateway.adopt("one", "one", &fake.url()).await;
    let client = Modern::new(gateway.address(), "/mcp/one").with(able());
    let (_, state) = asked(&client.call("ask", question("roots/list")).await.expect("an answer"));
    let call = fake.ledger().of("tools/call").pop().expect("the call");
    let cancelled =
        eventually("the cancellation", PATIENCE, async || fake.ledger().of("notifications/cancelled").pop());
    let cancelled = cancelled.await;
    assert_eq!(Some(&cancelled.params["requestId"]), call.id.as_ref());
    let late =
        client.retry("ask", question("roots/list"), json!({ "q1": {} }), &state).await.expect("an answer");
    assert_eq!((late.status, &late.response["error"]["code"]), (400, &json!(-32602)));
}

#[tokio::test]
async fn a_question_that_the_client_did_not_say_it_can_answer_is_named_as_missing() {
    let (gateway, fake, _) = one().await;
    let client = Modern::new(gateway.address(), "/mcp/one").with(json!({ "roots": {} }));
    let answer = client.call("ask", question("sampling/createMessage")).await.expect("an answer");
    let error = &answer.response["error"];
    assert_eq!((answer.status, &error["code"]), (400, &json!(-32021)), "{answer:?}");
    assert_eq!(error["data"]["requiredCapabilities"], json!({ "sampling": {} }));
    let opened = fake
        .ledger()
        .of("initialize")
        .into_iter()
        .filter(|entry| entry.params["clientInfo"]["name"] == "test");
    let declared: Vec<_> = opened.map(|entry| entry.params["capabilities"].clone()).collect();
    assert_eq!(declared, [json!({ "roots": {} })], "the server is told what the request declares");
}

#[tokio::test]
async fn progress_comes_under_the_clients_token_and_logs_from_the_level_it_asks_for() {
    let (gateway, fake, _) = one().await;
    let mut client = Modern::new(gateway.address(), "/mcp/one");
    let call = async |client: &Modern| {
        let params = json!({ "name": "progress", "arguments": { "n": 3, "text": "t" }, "_meta": { "progressToken": "mine" } });
        client.request("tools/call", params).await.expect("an answer")
    };
    let of = |answer: &mcp_registry_gateway_tests::mcp::Answer, method: &str| {
        answer.before.iter().filter(|note| note["method"] == method).cloned().collect::<Vec<_>>()
    };
    let silent = call(&client).await;
    assert_eq!(silent.text(), "t");
    let progress = of(&silent, "notifications/progress");
    assert_eq!(progress.len(), 3, "{silent:?}");
    assert!(progress.iter().all(|note| note["params"]["progressToken"] == "mine"));
    assert!(of(&silent, "notifications/message").is_empty(), "logs were not asked for");
    client.log_level = Some("info".into());
    assert_eq!(of(&call(&client).await, "notifications/message").len(), 1);
    client.log_level = Some("error".into());
    assert!(of(&call(&client).await, "notifications/message").is_empty(), "the message is of level info");
    let levels: Vec<_> =
        fake.ledger().of("logging/setLevel").iter().map(|set| set.params["level"].clone()).collect();
    assert_eq!(levels, ["info"], "the session stays at the finest level that was asked for");
    client.log_level = Some("loud".into());
    assert_eq!(call(&client).await.response["error"]["code"], -32602);
}

/// F-13: a modern client that closes its stream has cancelled.
#[tokio::test]
async fn closing_the_connection_cancels_the_call_at_once() {
    let (gateway, fake, _) = one().await;
    let client = Modern::new(gateway.address(), "/mcp/one").with(able());
    let slow = json!({ "name": "sleep", "arguments": { "ms": 60_000, "text": "t" } });
    // Once before anything of the answer has come, once in the middle of its stream.
    for (number, act) in [None, Some(Act::Progress(1))].into_iter().enumerate() {
        if act.is_some() {
            fake.script().on_tool("sleep", Act::Progress(1));
        }
        let mut params = slow.clone();
        params["_meta"] = json!({ "progressToken": 1 });
        let message = client.message(&json!(1), "tools/call", params);
        let calling = async {
            let mut reply = client.post(&message, &[]).await.expect("an answer");
            reply.next().await.expect("a message");
            reply
        };
        let open = if number == 0 {
            tokio::select! {
                _ = calling => panic!("the tool sleeps"),
                _ = eventually("the call", PATIENCE, async || fake.ledger().of("tools/call").pop()) => None,
            }
        } else {
            Some(calling.await)
        };
        let call = fake.ledger().of("tools/call").pop().expect("the call");
        drop(open);
        let cancelled = eventually("the cancellation", PATIENCE, async || {
            fake.ledger().of("notifications/cancelled").into_iter().nth(number)
        });
        let cancelled = cancelled.await;
        assert_eq!(Some(&cancelled.params["requestId"]), call.id.as_ref());
        eventually("the end of the call", PATIENCE, async || {
            let (_, running) = gateway.http().get("/api/v1/proxy/active-requests").await.expect("an answer");
            (running["active_request_count"] == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn what_a_server_asks_outside_of_any_call_is_asked_before_the_next_one() {
    let (gateway, fake, _) = one().await;
    let client = Modern::new(gateway.address(), "/mcp/one").with(able());
    assert_eq!(client.call("echo", json!({ "text": "first" })).await.expect("an answer").text(), "first");
    let (questions, state) = eventually("the question", PATIENCE, async || {
        fake.notify_raw(
            &json!({ "jsonrpc": "2.0", "id": "r1", "method": "roots/list", "params": { "n": 1 } }),
        );
        let answer = client.call("echo", json!({ "text": "second" })).await.expect("an answer");
        (answer.text() != "second").then(|| asked(&answer))
    })
    .await;
    let calls = fake.ledger().count("tools/call");
    let key = questions.as_object().and_then(|all| all.keys().next()).expect("a question").clone();
    assert_eq!(questions[&key], json!({ "method": "roots/list", "params": { "n": 1 } }));
    let responses = json!({ key: { "roots": [] } });
    let end = client.retry("echo", json!({ "text": "second" }), responses, &state).await.expect("the end");
    assert_eq!(end.text(), "second");
    assert_eq!(fake.ledger().count("tools/call"), calls + 1, "the call reached the server once");
    // The session that the gateway shares is asked as well, and has nobody who could answer.
    let answers: Vec<_> =
        fake.ledger().all().into_iter().filter(|entry| entry.id == Some(json!("r1"))).collect();
    assert!(answers.iter().any(|answer| answer.params == json!({ "roots": [] })), "{answers:?}");
}

#[tokio::test]
async fn what_a_server_asks_while_it_lists_is_asked_before_the_next_call_and_not_in_the_list() {
    let (gateway, fake, _) = one().await;
    let client = Modern::new(gateway.address(), "/mcp/one").with(able());
    let events = concat!(
        r#"data: {"jsonrpc":"2.0","id":"r2","method":"roots/list"}"#,
        "\n\n",
        r#"data: {"jsonrpc":"2.0","id":$ID,"result":{"tools":[]}}"#,
        "\n\n",
    );
    fake.script().next("tools/list", 1, Act::Events(events.into()));
    let list = client.request("tools/list", json!({})).await.expect("a list");
    assert_eq!(list.response["result"]["tools"], json!([]), "{list:?}");

    let answer = client.call("echo", json!({ "text": "t" })).await.expect("an answer");
    let (questions, state) = asked(&answer);
    let key = questions.as_object().and_then(|all| all.keys().next()).expect("a question").clone();
    assert_eq!(questions[&key], json!({ "method": "roots/list" }));
    let responses = json!({ key: { "roots": [] } });
    let end = client.retry("echo", json!({ "text": "t" }), responses, &state).await.expect("the end");
    assert_eq!(end.text(), "t");
}
