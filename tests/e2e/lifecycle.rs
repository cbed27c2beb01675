//! How the program ends.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use mcp_registry_gateway_tests::clock::{Stopwatch, eventually};
use mcp_registry_gateway_tests::http::Http;
use mcp_registry_gateway_tests::mcp::Client;
use mcp_registry_gateway_tests::process::{Gateway, marked};
use mcp_registry_gateway_tests::rounds;
use serde_json::{Value, json};

use crate::{FAKE, one, stdio};

const PATIENCE: Duration = Duration::from_secs(10);

/// F-20: what is under way when the gateway stops comes to its end.
#[tokio::test]
async fn sigterm_lets_calls_under_way_end_and_takes_no_new_ones() {
    let (mut gateway, fake, _) = one().await;
    let client = gateway.client("/mcp/one").await;
    let call = client.call("sleep", json!({ "ms": 1500, "text": "drained" }));
    let stopping = async {
        eventually("the call", PATIENCE, async || (fake.ledger().count("tools/call") > 0).then_some(()))
            .await;
        gateway.terminate();
        let refused = async || Client::connect(gateway.address(), "/mcp/one").await.is_err().then_some(());
        eventually("that nobody new gets in", Duration::from_secs(1), refused).await;
    };
    let (answer, ()) = tokio::join!(call, stopping);
    assert_eq!(answer.expect("an answer").text(), "drained");
    let watch = Stopwatch::start();
    let status = gateway.ended(PATIENCE).await;
    assert!(status.success(), "{status}");
    assert!(watch.elapsed() < Duration::from_secs(5), "the end waits for nothing else");
}

#[tokio::test]
async fn sigterm_without_anything_under_way_ends_at_once_and_cleanly() {
    let (mut gateway, _fake, _) = one().await;
    let idle = gateway.client("/mcp/one").await;
    let stream = idle.listen().await;
    gateway.terminate();
    let watch = Stopwatch::start();
    assert!(gateway.ended(PATIENCE).await.success());
    assert!(watch.elapsed() < Duration::from_secs(3), "an idle session and its stream do not hold it up");
    drop(stream);
}

/// A gateway with three stdio servers that have children of their own, and the mark on all their command lines.
async fn family() -> (Gateway, String) {
    let gateway = Gateway::start().await;
    let mark = format!("mark-{}", gateway.pid());
    for n in 0..3 {
        let server = stdio(&format!("child-{n}"), &["--mark", &mark, "--grandchild"]);
        let id = gateway.register(&server).await["id"].as_str().expect("an id").to_owned();
        gateway.offers(&id, "echo").await;
        let client = gateway.client(&format!("/mcp/child-{n}")).await;
        assert_eq!(client.call("whoami", json!({})).await.expect("an answer").text(), format!("child-{n}"));
    }
    assert!(marked(&mark, None).len() >= 6, "three children and three grandchildren");
    (gateway, mark)
}

async fn nobody_is_left(mark: &str) {
    let gone = async || marked(mark, None).is_empty().then_some(());
    eventually("the end of children and grandchildren", PATIENCE, gone).await;
}

/// F-18: no process is left.
#[tokio::test]
async fn after_sigterm_no_child_or_grandchild_is_left() {
    let (mut gateway, mark) = family().await;
    gateway.terminate();
    assert!(gateway.ended(PATIENCE).await.success());
    assert_eq!(marked(&mark, None), [], "the gateway waits for them");
}

/// F-18: no process is left.
#[tokio::test]
async fn after_sigkill_no_child_is_left() {
    let (mut gateway, mark) = family().await;
    gateway.kill();
    nobody_is_left(&mark).await;
}

#[tokio::test]
async fn a_removed_server_takes_its_processes_along() {
    let (gateway, mark) = family().await;
    let (_, body) = gateway.http().get("/api/v1/servers").await.expect("a list");
    let servers: Vec<Value> = body["servers"].as_array().cloned().unwrap_or_default();
    for server in &servers {
        let path = format!("/api/v1/servers/{}", server["id"].as_str().expect("an id"));
        let (status, _) = gateway.http().json(http::Method::DELETE, &path, None).await.expect("an answer");
        assert!((200..300).contains(&status));
    }
    nobody_is_left(&mark).await;
    let zombies = async || marked(&mark, Some(gateway.pid())).is_empty().then_some(());
    eventually("that every child is reaped", PATIENCE, zombies).await;
}

/// A server behind a shell that waits for it, as `npx` and its like do.
fn wrapped(name: &str, mark: &str) -> Value {
    let script = "exec 3<&0; \"$0\" \"$@\" <&3 & wait";
    json!({ "name": name, "transport_type": "stdio", "command": "sh",
        "args": ["-c", script, FAKE, "--name", name, "--mark", mark] })
}

/// Waits until exactly the processes of the configured servers run, one, and two of the wrapped one, and those that
/// ran `before` have been replaced; gives them.
async fn only_the_configured(gateway: &Gateway, mark: &str, before: &[u32], when: &str) -> Vec<u32> {
    eventually(&format!("three processes {when}"), PATIENCE, async || {
        let now: Vec<u32> = marked(mark, Some(gateway.pid())).into_iter().map(|(pid, _)| pid).collect();
        (now.len() == 3 && now != before).then_some(now)
    })
    .await
}

/// A gateway with a plain and a wrapped stdio server after this many rounds of connecting, reloading and registering anew.
async fn churned(rounds: usize) -> (Gateway, String) {
    let gateway = Gateway::start().await;
    let mark = format!("churn-{}", gateway.pid());
    let offered = async |server: &Value| {
        let id = gateway.register(server).await["id"].as_str().expect("an id").to_owned();
        gateway.offers(&id, "echo").await;
        id
    };
    let plain = offered(&stdio("plain", &["--mark", &mark])).await;
    let mut wrapper = offered(&wrapped("wrapped", &mark)).await;
    let mut running = only_the_configured(&gateway, &mark, &[], "at the start").await;
    for round in 0..rounds {
        match round % 3 {
            0 => {
                // A client that can be asked has a child of its own.
                let (http, can) = (Http::new(gateway.address()), json!({ "sampling": {} }));
                let client = Client::connect_with(&http, "/mcp/plain", can).await.expect("a session");
                assert!(client.call("whoami", json!({})).await.expect("an answer").is_result());
                assert_eq!(client.end().await.expect("an end"), 204);
            }
            1 => {
                let path = format!("/api/v1/servers/{plain}");
                let changed = json!({ "env": { "ROUND": round.to_string() } });
                let (status, body) =
                    gateway.http().json(http::Method::PUT, &path, Some(&changed)).await.expect("an answer");
                assert_eq!(status, 200, "{body}");
            }
            _ => {
                let path = format!("/api/v1/servers/{wrapper}");
                let (status, _) =
                    gateway.http().json(http::Method::DELETE, &path, None).await.expect("an answer");
                assert_eq!(status, 204);
                wrapper = offered(&wrapped("wrapped", &mark)).await;
            }
        }
        let replaced: &[u32] = if round % 3 == 0 { &[] } else { &running };
        running = only_the_configured(&gateway, &mark, replaced, &format!("after round {round}")).await;
    }
    (gateway, mark)
}

/// F-18: no process is left.
#[tokio::test]
async fn a_hundred_connections_reloads_and_registrations_leave_as_many_processes_as_are_configured() {
    let (mut gateway, mark) = churned(100).await;
    gateway.terminate();
    assert!(gateway.ended(PATIENCE).await.success());
    assert_eq!(marked(&mark, None), [], "the gateway waits for them");
}

/// F-18: no process is left.
#[tokio::test]
async fn after_sigkill_nothing_is_left_of_a_wrapper_and_what_it_wraps() {
    let (mut gateway, mark) = churned(6).await;
    gateway.kill();
    nobody_is_left(&mark).await;
}

/// F-18: no process is left.
#[tokio::test]
async fn many_starts_and_ends_of_stdio_servers_leave_as_many_processes_as_are_configured() {
    let gateway = Gateway::start().await;
    let mark = format!("cycles-{}", gateway.pid());
    let cycles = stream::iter(0..rounds(30, 100)).map(async |n| {
        let server = stdio(&format!("cycle-{n}"), &["--mark", &mark, "--grandchild"]);
        let id = gateway.register(&server).await["id"].as_str().expect("an id").to_owned();
        gateway.offers(&id, "echo").await;
        let path = format!("/api/v1/servers/{id}");
        let (status, _) = gateway.http().json(http::Method::DELETE, &path, None).await.expect("an answer");
        assert!((200..300).contains(&status));
    });
    cycles.buffer_unordered(10).collect::<()>().await;
    nobody_is_left(&mark).await;
    let zombies = async || marked(&mark, Some(gateway.pid())).is_empty().then_some(());
    eventually("that every child is reaped", PATIENCE, zombies).await;
}
