//! `/mcp/proxy`: one request that says what it needs of a server; `/legacy/mcp`: one that says nothing.

use std::time::Duration;

use http::Method;
use mcp_registry_gateway_tests::clock::Stopwatch;
use mcp_registry_gateway_tests::fake::Fake;
use mcp_registry_gateway_tests::process::{Gateway, Options};
use serde_json::{Value, json};

use crate::one;

/// A call of `tool` with the text `t`, and with `wishes` beside the JSON-RPC members.
#[expect(clippy::needless_pass_by_value, reason = "the wishes are written at the call")]
fn call(tool: &str, wishes: Value) -> Value {
    let mut request = json!({ "jsonrpc": "2.0", "id": "mine", "method": "tools/call",
        "params": { "name": tool, "arguments": { "text": "t", "ms": 20_000 } } });
    for (key, value) in wishes.as_object().into_iter().flatten() {
        request[key] = value.clone();
    }
    request
}

async fn proxy(gateway: &Gateway, request: &Value) -> (u16, Value) {
    gateway.http().json(Method::POST, "/mcp/proxy", Some(request)).await.expect("an answer")
}

/// The name of the server that answered `whoami`.
async fn chosen(gateway: &Gateway, wishes: Value) -> Result<String, Value> {
    let (status, answer) = proxy(gateway, &call("whoami", wishes)).await;
    let text = answer.pointer("/result/content/0/text").and_then(Value::as_str).map(str::to_owned);
    text.filter(|_| status == 200).ok_or(answer)
}

#[tokio::test]
async fn an_answer_says_which_server_gave_it_and_how_long_it_took() {
    let (gateway, fake, id) = one().await;
    for name in ["echo", "one__echo"] {
        let (status, answer) = proxy(&gateway, &call(name, json!({}))).await;
        assert_eq!(
            (status, &answer["jsonrpc"], &answer["id"]),
            (200, &json!("2.0"), &json!("mine")),
            "{answer}"
        );
        assert_eq!(answer["result"]["content"][0]["text"], "t", "{answer}");
        assert_eq!((&answer["server_id"], &answer["success"]), (&json!(id), &json!(true)), "{answer}");
        assert!(answer["response_time_ms"].as_f64().is_some_and(|took| took > 0.0), "{answer}");
    }
    assert_eq!(fake.ledger().deliveries("t"), 2);
    let read = json!({ "jsonrpc": "2.0", "id": 7, "method": "resources/read", "params": { "uri": "fake://one/card" } });
    let (_, answer) = proxy(&gateway, &read).await;
    assert_eq!(
        (&answer["id"], &answer["result"]["contents"][0]["text"]),
        (&json!(7), &json!("one")),
        "{answer}"
    );
}

#[tokio::test]
async fn what_a_caller_requires_finds_the_service_and_several_that_fit_are_never_guessed_between() {
    let gateway = Gateway::start().await;
    let both = Fake::start_many("service", 2).await;
    both[1].set_tools(&["whoami".to_owned(), "echo".to_owned(), "special".to_owned()], 10);
    for fake in &both {
        gateway.adopt(fake.name(), fake.name(), &fake.url()).await;
    }
    let ambiguous = chosen(&gateway, json!({})).await.expect_err("two services fit");
    let said = ambiguous["error"].to_string();
    assert!(said.contains("service-0") && said.contains("service-1"), "{said}");

    let tools = json!({ "required_tools": ["special", "echo"] });
    assert_eq!(chosen(&gateway, tools).await.expect("one fits"), "service-1");
    let resource = json!({ "required_resources": ["fake://service-0/card"] });
    assert_eq!(chosen(&gateway, resource).await.expect("one fits"), "service-0");
    for name in ["service-0", "service-1"] {
        let preferred = json!({ "preferred_servers": ["nobody", name] });
        assert_eq!(chosen(&gateway, preferred).await.expect("the preferred one"), name);
    }
    let nobody = call("whoami", json!({ "required_tools": ["special", "unheard-of"] }));
    let (status, answer) = proxy(&gateway, &nobody).await;
    assert_eq!((status, &answer["success"], &answer["id"]), (503, &json!(false), &json!("mine")), "{answer}");
}

#[tokio::test]
async fn a_preferred_replica_gets_the_calls_of_its_service_while_it_lives() {
    let gateway = Gateway::start().await;
    let mut pair = Fake::start_many("replica", 2).await;
    let mut ids = Vec::new();
    for fake in &pair {
        ids.push(gateway.adopt(fake.name(), "pair", &fake.url()).await);
    }
    for wish in [json!("replica-1"), json!(ids[1])] {
        for _ in 0..6 {
            let preferred = json!({ "preferred_servers": [wish] });
            assert_eq!(chosen(&gateway, preferred).await.expect("an answer"), "replica-1");
        }
    }
    pair[1].stop().await;
    let other = chosen(&gateway, json!({ "preferred_servers": ["replica-1"] })).await;
    assert_eq!(other.expect("an answer"), "replica-0");
}

#[tokio::test]
async fn a_timeout_ends_the_call_and_the_error_is_the_gateways() {
    let (gateway, _fake, _) = one().await;
    let watch = Stopwatch::start();
    let (status, answer) = proxy(&gateway, &call("sleep", json!({ "timeout": 0.3 }))).await;
    assert!(watch.elapsed() < Duration::from_secs(5), "{:?}", watch.elapsed());
    assert_eq!(
        (status, &answer["success"], &answer["server_id"]),
        (504, &json!(false), &Value::Null),
        "{answer}"
    );
    assert_eq!(answer["error"]["data"]["source"], "gateway", "{answer}");
    assert_eq!(answer["error"]["data"]["outcome"], "unknown", "{answer}");
}

#[tokio::test]
async fn what_is_no_request_or_wishes_nonsense_is_refused() {
    let (gateway, fake, _) = one().await;
    let notification = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    let wrong = [
        notification,
        call("echo", json!({ "timeout": -1 })),
        call("echo", json!({ "timeout": "soon" })),
        call("echo", json!({ "required_tools": "echo" })),
        call("echo", json!({ "preferred_servers": [1] })),
    ];
    for request in &wrong {
        let (status, answer) = proxy(&gateway, request).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32600)), "{request}: {answer}");
    }
    let (status, answer) = proxy(&gateway, &call("unheard-of", json!({}))).await;
    assert_eq!(answer["error"]["code"], -32602, "{status} {answer}");
    assert_eq!(fake.ledger().count("tools/call"), 0);
}

#[tokio::test]
async fn plain_requests_without_a_handshake_are_served_only_where_it_is_configured() {
    let (gateway, _fake, _) = one().await;
    let legacy = async |gateway: &Gateway, request: &Value| {
        gateway.http().json(Method::POST, "/legacy/mcp", Some(request)).await.expect("an answer")
    };
    assert_eq!(legacy(&gateway, &call("echo", json!({}))).await.0, 404, "off unless it is turned on");

    let options = Options { env: vec![("MREG_SERVER__LEGACY", "true".to_owned())], ..Options::default() };
    let (gateway, fake) = (Gateway::start_with(options).await, Fake::start("one").await);
    gateway.adopt("one", "one", &fake.url()).await;
    let (status, answer) = legacy(&gateway, &call("one__echo", json!({}))).await;
    let plain =
        json!({ "jsonrpc": "2.0", "id": "mine", "result": { "content": [{ "type": "text", "text": "t" }] } });
    assert_eq!((status, answer), (200, plain));
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    let (_, answer) = legacy(&gateway, &list).await;
    assert!(answer["result"]["tools"].to_string().contains("one__echo"), "{answer}");
    let (_, answer) = legacy(&gateway, &call("one__unheard-of", json!({}))).await;
    assert!(answer["error"]["code"].is_number() && answer["id"] == "mine", "{answer}");
}
