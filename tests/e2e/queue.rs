//! Connections to a server are shared: calls wait in order as long as they may, equal reads are one fetch, one caller leaves room for
//! others, and a replica that refuses or errs is left to those that answer.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use mcp_registry_gateway_tests::clock::{Stopwatch, eventually};
use mcp_registry_gateway_tests::fake::{Act, Fake};
use mcp_registry_gateway_tests::mcp::Client;
use mcp_registry_gateway_tests::modern::Modern;
use mcp_registry_gateway_tests::process::{Gateway, Options, binary};
use serde_json::{Value, json};

use crate::one;

/// A gateway with one server of this configuration.
async fn with(configuration: Value) -> (Gateway, Fake) {
    let (gateway, fake) = (Gateway::start().await, Fake::start("one").await);
    let server = json!({ "name": "one", "endpoint_url": fake.url(), "health_check": { "enabled": false },
        "configuration": configuration });
    let id = gateway.register(&server).await["id"].as_str().expect("an id").to_owned();
    gateway.offers(&id, "echo").await;
    (gateway, fake)
}

async fn metrics(gateway: &Gateway) -> String {
    let reply =
        gateway.http().send(Method::GET, "/metrics", &[], bytes::Bytes::new()).await.expect("an answer");
    String::from_utf8(reply.bytes().await.expect("a body").to_vec()).expect("text")
}

/// a thousand equal lists at once are one fetch, and each gets its own id back.
#[tokio::test]
async fn a_thousand_equal_lists_at_once_are_one_fetch() {
    let (gateway, fake) = with(json!({})).await;
    let client = gateway.client("/mcp/one").await;
    assert!(client.call("echo", json!({ "text": "warm" })).await.expect("an answer").is_result());
    let before = fake.ledger().count("tools/list");
    fake.script().on("tools/list", Act::Delay(Duration::from_secs(10)));
    let asking = (0..1000).map(|n| {
        let (client, id) = (&client, json!(n + 10_000));
        async move {
            let answer = client.request_as(&id, "tools/list", json!({})).await.expect("an answer");
            assert!(answer.is_result() && answer.response["id"] == id, "{answer:?}");
        }
    });
    join_all(asking).await;
    assert_eq!(fake.ledger().count("tools/list") - before, 1);
    fake.script().clear();
    assert!(client.request("tools/list", json!({})).await.expect("an answer").is_result());
    assert_eq!(fake.ledger().count("tools/list") - before, 2, "nothing is kept");
}

/// the same for clients that have no session.
#[tokio::test]
async fn equal_lists_of_a_modern_client_are_one_fetch_and_others_ask_alone() {
    let (gateway, fake) = with(json!({})).await;
    let client = Modern::new(gateway.address(), "/mcp/one");
    let other = Modern::new(gateway.address(), "/mcp/one").with(json!({ "sampling": {} }));
    for client in [&client, &other] {
        assert!(client.call("echo", json!({ "text": "warm" })).await.expect("an answer").is_result());
    }
    let before = fake.ledger().count("tools/list");
    fake.script().on("tools/list", Act::Delay(Duration::from_secs(5)));
    let asking = (0..100).map(|n| {
        let (client, id) = (if n % 10 == 0 { &other } else { &client }, json!(format!("id-{n}")));
        async move {
            let answer = client.request_as(&id, "tools/list", json!({})).await.expect("an answer");
            assert!(answer.is_result() && answer.response["id"] == id, "{answer:?}");
        }
    });
    join_all(asking).await;
    assert_eq!(fake.ledger().count("tools/list") - before, 2, "one for each of the two");
}

/// From FIELD.md: 300 calls of 0.2 s at a server with 50 connections.
#[tokio::test]
async fn three_hundred_calls_at_once_all_have_their_turn() {
    let (gateway, fake, _) = one().await;
    let client = gateway.client("/mcp/one").await;
    let calls = (0..300).map(|_| client.call("sleep", json!({ "ms": 200, "text": "x" })));
    for answer in join_all(calls).await {
        let answer = answer.expect("an answer");
        assert!(answer.is_result(), "{answer:?}");
    }
    assert_eq!(fake.ledger().count("tools/call"), 300);
    let page = metrics(&gateway).await;
    let waits = page
        .lines()
        .find(|line| line.starts_with("mcp_gateway_service_queue_seconds_count{service=\"one\"}"));
    let waits: u64 = waits.and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("the metric");
    assert!(waits >= 200, "{waits}");
    assert!(page.contains("mcp_gateway_service_queued{service=\"one\"} 0"), "{page}");
}

/// the queue is bounded, and the refusal names the server, the setting and when to come back.
#[tokio::test]
async fn a_full_queue_refuses_and_names_the_server_and_the_setting() {
    let (gateway, fake) = with(json!({ "max_connections": 1, "max_queued": 2 })).await;
    let client = gateway.client("/mcp/one").await;
    assert!(client.call("echo", json!({ "text": "warm" })).await.expect("an answer").is_result());
    let calls = (0..6).map(|_| client.call("sleep", json!({ "ms": 1500, "text": "long" })));
    let answers: Vec<_> =
        join_all(calls).await.into_iter().map(|answer| answer.expect("an answer")).collect();
    let (good, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.is_result());
    assert_eq!((good.len(), fake.ledger().deliveries("long")), (2, 2), "one runs, one waits: {answers:?}");
    for answer in refused {
        let text = answer.response.to_string();
        assert!(text.contains("`one`") && text.contains("configuration.max_queued"), "{answer:?}");
        assert_eq!((answer.status, answer.retry_after), (503, Some(1)), "{answer:?}");
        assert_eq!(answer.response["error"]["data"]["retryable"], true, "{answer:?}");
    }
    assert!(client.call("echo", json!({ "text": "after" })).await.expect("an answer").is_result());
}

/// A call whose turn does not come before its deadline is told why, and the server does not pay for it.
#[tokio::test]
async fn a_call_that_waited_in_vain_names_the_connections_and_opens_no_breaker() {
    let (gateway, fake) = with(json!({ "max_connections": 1, "timeout_seconds": 3 })).await;
    let client = gateway.client("/mcp/one").await;
    assert!(client.call("echo", json!({ "text": "warm" })).await.expect("an answer").is_result());
    let calls = (0..12).map(|_| client.call("sleep", json!({ "ms": 2500, "text": "long" })));
    let answers: Vec<_> =
        join_all(calls).await.into_iter().map(|answer| answer.expect("an answer")).collect();
    let waited: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert!(waited.len() >= 10, "{answers:?}");
    for answer in waited {
        assert!(answer.response.to_string().contains("configuration.max_connections"), "{answer:?}");
    }
    assert!(fake.ledger().deliveries("long") <= 2);
    assert!(client.call("echo", json!({ "text": "after" })).await.expect("an answer").is_result());
}

/// The first key of a gateway that asks for keys.
fn first_key(data: &Path, config: &Path) -> String {
    let mut command = Command::new(binary());
    command.args(["keys", "create", "--role", "admin", "--json", "operator", "--data-dir"]).arg(data);
    let made = command.arg("--config").arg(config).output().expect("the program runs");
    assert!(made.status.success(), "{made:?}");
    let made: Value = serde_json::from_slice(&made.stdout).expect("JSON");
    made["key"].as_str().expect("a key").to_owned()
}

/// sixty slow calls of one caller leave connections to the others.
#[tokio::test]
async fn sixty_slow_calls_of_one_caller_hold_up_nobody_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let fake = Fake::start("one").await;
    let (data, file) = (folder.path().join("data"), folder.path().join("mcp-gateway.toml"));
    let server = format!(
        "[[servers]]\nname = 'one'\nendpoint_url = '{}'\nhealth_check = {{ enabled = false }}\n",
        fake.url()
    );
    std::fs::write(&file, format!("[auth]\napi_keys = true\n{server}")).expect("a file");
    let key = first_key(&data, &file);
    let args = vec!["--config".to_owned(), file.display().to_string()];
    let gateway = Gateway::start_with(Options { data: Some(data), args, ..Options::default() }).await;
    let admin = gateway.http().showing(&key);
    let mut clients = Vec::new();
    for name in ["slow", "quick"] {
        let wish = json!({ "name": name, "role": "developer" });
        let (status, made) =
            admin.json(Method::POST, "/api/v1/api-keys", Some(&wish)).await.expect("an answer");
        assert_eq!(status, 201, "{made}");
        let http = gateway.http().showing(made["key"].as_str().expect("a key"));
        clients.push(Client::connect_with(&http, "/mcp/one", json!({})).await.expect("a session"));
    }
    let (slow, quick) = (&clients[0], &clients[1]);
    for client in &clients {
        assert!(client.call("echo", json!({ "text": "warm" })).await.expect("an answer").is_result());
    }
    let slow_calls = join_all((0..60).map(|_| slow.call("sleep", json!({ "ms": 6000, "text": "slow" }))));
    let others = async {
        let running = async || (fake.ledger().deliveries("slow") >= 40).then_some(());
        eventually("forty calls under way", Duration::from_secs(5), running).await;
        for _ in 0..20 {
            let watch = Stopwatch::start();
            let answer = quick.call("echo", json!({ "text": "quick" })).await.expect("an answer");
            assert!(answer.is_result(), "{answer:?}");
            assert!(watch.elapsed() < Duration::from_secs(2), "it waited for the slow ones");
        }
        assert_eq!(fake.ledger().deliveries("slow"), 40, "one caller has four of five");
    };
    let (answers, ()) = futures_util::future::join(slow_calls, others).await;
    assert!(
        answers.into_iter().all(|answer| answer.expect("an answer").is_result()),
        "they all had their turn"
    );
}

const ALGORITHMS: [&str; 5] = ["round_robin", "weighted", "least_connections", "random", "consistent_hash"];

/// Eight callers make so many calls of a service; how many succeed.
async fn succeeded(client: &Client, calls: usize) -> usize {
    let each = (0..8).map(|_| async {
        let mut good = 0;
        for _ in 0..calls / 8 {
            good += usize::from(
                client.call("echo", json!({ "text": "x" })).await.expect("an answer").is_result(),
            );
        }
        good
    });
    join_all(each).await.into_iter().sum()
}

/// beside a replica that takes 20 ms, one that answers 429, 500 or an internal error at once costs at most one call in a
/// hundred, whatever the algorithm; the refusals cost none.
#[tokio::test]
async fn a_replica_that_refuses_or_errs_is_left_to_those_that_answer() {
    let faults = [
        Act::Status { code: 429, retry_after: None },
        Act::Status { code: 429, retry_after: Some(0) },
        Act::Status { code: 500, retry_after: None },
        Act::RpcError(-32603),
    ];
    let gateway = Gateway::start().await;
    for (n, algorithm) in ALGORITHMS.into_iter().enumerate() {
        for (m, fault) in faults.iter().enumerate() {
            let fakes = Fake::start_many(&format!("pair-{n}-{m}"), 2).await;
            let service = format!("pair-{n}-{m}");
            for fake in &fakes {
                let server = json!({ "name": fake.name(), "service": service, "endpoint_url": fake.url(),
                    "health_check": { "enabled": false }, "configuration": { "algorithm": algorithm } });
                let id = gateway.register(&server).await["id"].as_str().expect("an id").to_owned();
                gateway.offers(&id, "echo").await;
            }
            fakes[0].script().on("tools/call", fault.clone());
            fakes[1].script().on("tools/call", Act::Delay(Duration::from_millis(20)));
            let client = gateway.client(&format!("/mcp/{service}")).await;
            let learning = succeeded(&client, 240).await;
            let good = succeeded(&client, 400).await;
            assert!(good >= 396, "{algorithm}, {fault:?}: {good} of 400, {learning} of 240 before");
            if matches!(fault, Act::Status { code: 429, .. }) {
                assert_eq!(
                    (learning, good),
                    (240, 400),
                    "{algorithm}: a refused call is tried at the other replica"
                );
                let refused = fakes[0].ledger().count("tools/call");
                assert!(refused < 40, "{algorithm}: {refused} calls were refused: pauses grow");
            }
        }
    }
}

/// `Retry-After` is honoured.
#[tokio::test]
async fn a_replica_that_names_a_time_gets_no_call_before_it_has_passed() {
    let (gateway, fakes) = (Gateway::start().await, Fake::start_many("named", 2).await);
    for fake in &fakes {
        gateway.adopt(fake.name(), "named", &fake.url()).await;
    }
    fakes[0].script().on("tools/call", Act::Status { code: 429, retry_after: Some(60) });
    let client = gateway.client("/mcp/named").await;
    assert_eq!(succeeded(&client, 200).await, 200);
    let refused = fakes[0].ledger().count("tools/call");
    assert!((1..=8).contains(&refused), "{refused}");
    let page = metrics(&gateway).await;
    assert!(page.contains("mcp_gateway_service_set_aside{service=\"named\"} 1"), "{page}");
}

/// What one replica answers with an internal error and the only replica of another service, too: a single one is never left alone.
#[tokio::test]
async fn the_only_replica_gets_every_call_whatever_it_answers() {
    let (gateway, fake, id) = one().await;
    let client = gateway.client("/mcp/one").await;
    fake.script().on_tool("echo", Act::RpcError(-32603));
    for _ in 0..100 {
        assert!(!client.call("echo", json!({ "text": "x" })).await.expect("an answer").is_result());
    }
    assert_eq!(fake.ledger().count("tools/call"), 100);
    assert_eq!(gateway.metrics(&id).await["circuit_breaker_state"], "closed");
    assert!(client.call("sleep", json!({ "ms": 1, "text": "x" })).await.expect("an answer").is_result());
}
