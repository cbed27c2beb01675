//! Sessions that nobody ends leave nothing behind.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use mcp_registry_gateway_tests::clock::{Stopwatch, eventually};
use mcp_registry_gateway_tests::fake::Fake;
use mcp_registry_gateway_tests::http::Http;
use mcp_registry_gateway_tests::mcp::Client;
use mcp_registry_gateway_tests::process::{Gateway, Options, Usage};
use mcp_registry_gateway_tests::rounds;
use serde_json::json;

/// Long enough that the sessions of a short run live at the same time, but for a machine that takes longer to open them.
const IDLE: Duration = Duration::from_secs(10);
/// What a session may cost while it idles, in bytes.
const EACH: u64 = 16 * 1024;
/// Connections to one server at most.
const CONNECTIONS: usize = 50;

async fn sessions(gateway: &Gateway) -> u64 {
    let (_, stats) = gateway.http().get("/api/v1/admin/stats").await.expect("stats");
    stats["sessions"].as_u64().expect("a count of sessions")
}

/// Opens `count` sessions over 64 connections at a time, uses every tenth, ends none.
async fn abandon(gateway: &Gateway, http: &Http, count: usize) {
    let opened = stream::iter(0..count).map(async |n| {
        let path = if n % 2 == 0 { "/mcp" } else { "/mcp/one" };
        let client = Client::connect_with(http, path, json!({})).await.expect("a session");
        if n % 10 == 1 {
            assert!(client.call("echo", json!({ "text": "t" })).await.expect("an answer").is_result());
        }
    });
    opened.buffer_unordered(64).collect::<()>().await;
    assert!(sessions(gateway).await > 0);
}

/// What the gateway uses once that is within a tenth of what it used `fresh`. Threads trim their caches every few seconds.
async fn recovered(gateway: &Gateway, fresh: &Usage) -> Usage {
    let most = fresh.memory + fresh.memory / 10;
    let what = format!("at most {most} bytes in use again");
    let back = async || Some(gateway.usage()).filter(|now| now.memory <= most);
    eventually(&what, Duration::from_secs(30), back).await
}

#[tokio::test]
async fn thousands_of_abandoned_sessions_leave_memory_and_descriptors_where_they_were() {
    let count = rounds(3_000, 10_000);
    let idle = if count > 3_000 { IDLE * 3 } else { IDLE };
    let env = vec![("MREG_SESSION__IDLE_SECONDS", idle.as_secs().to_string())];
    let gateway = Gateway::start_with(Options { env, ..Options::default() }).await;
    let fake = Fake::start("one").await;
    gateway.adopt("one", "one", &fake.url()).await;
    let fresh = gateway.usage();
    // The first flood opens what is opened once, as the store's connections.
    let warm = Http::new(gateway.address());
    abandon(&gateway, &warm, count).await;
    let gone = async || (sessions(&gateway).await == 0).then_some(());
    eventually("the end of the first sessions", idle + Duration::from_secs(60), gone).await;
    drop(warm);
    let before = recovered(&gateway, &fresh).await;

    let http = Http::new(gateway.address());
    let began = Stopwatch::start();
    abandon(&gateway, &http, count).await;
    let (alive, full) = (sessions(&gateway).await, gateway.usage());
    if began.elapsed() < idle {
        assert_eq!(alive, u64::try_from(count).expect("a count"), "all live at the same time");
    }
    // The clients go away without a word.
    drop(http);
    let each = full.memory.saturating_sub(before.memory) / alive;
    assert!(each <= EACH, "{each} bytes for each idle session");

    eventually("the end of all sessions", idle + Duration::from_secs(60), gone).await;
    let after = recovered(&gateway, &fresh).await;
    let story = format!("before {before:?}, with all sessions {full:?}, afterwards {after:?}");
    // The store opens each of its few connections when it first needs it, and as many connections to the server as there may be
    // rest for 90 s; a session's leak would be thousands.
    assert!(after.descriptors <= before.descriptors + 16 + CONNECTIONS, "descriptors: {story}");
    let (health, _) = gateway.http().get("/health").await.expect("health");
    assert_eq!(health, 200);
}

#[tokio::test]
async fn an_opening_that_is_refused_and_a_session_that_is_ended_leave_no_entry() {
    let gateway = Gateway::start().await;
    let fake = Fake::start("one").await;
    gateway.adopt("one", "one", &fake.url()).await;
    let before = sessions(&gateway).await;
    for _ in 0..50 {
        let client = gateway.client("/mcp/one").await;
        assert!([200, 202, 204].contains(&client.end().await.expect("an answer")));
        let refused = Client::connect(gateway.address(), "/mcp/nobody").await;
        assert!(refused.is_err(), "a service that does not exist");
    }
    assert_eq!(sessions(&gateway).await, before);
}

#[tokio::test]
async fn over_the_cap_an_opening_is_refused_and_health_still_tells_the_truth() {
    let env = vec![("MREG_SESSION__MAX_PER_PRINCIPAL", "5".to_owned())];
    let gateway = Gateway::start_with(Options { env, ..Options::default() }).await;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(gateway.client("/mcp").await);
    }
    let error =
        Client::connect(gateway.address(), "/mcp").await.expect_err("a sixth is too many").to_string();
    assert!(error.contains("429") || error.contains("503"), "{error}");
    assert_eq!(sessions(&gateway).await, 5);
    assert_eq!(gateway.http().get("/health").await.expect("health").0, 200);
    held.pop().expect("a session").end().await.expect("an end");
    assert!(Client::connect(gateway.address(), "/mcp").await.is_ok(), "there is room again");
}
