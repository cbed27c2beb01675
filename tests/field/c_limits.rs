//! Kind C: limits nobody can set.

use mcp_registry_gateway_tests::field::{Over, Reply, Script};
use serde_json::json;

use crate::case::{Case, case, run, sees};

#[tokio::test]
async fn limits_can_be_set() {
    run("C", CASES).await;
}

/// The introduction of a good server.
const INTRODUCTION: &str = r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"field","version":"1"}}"#;

/// A good server that takes so long to introduce itself.
fn slow(seconds: u64) -> Script {
    let reply = Reply::Result(INTRODUCTION.to_owned());
    Script::good().on("initialize", Reply::After(seconds * 1000, Box::new(reply)))
}

const CASES: &[Case] = &[
    case(
        "slow-start",
        || slow(12),
        sees!(|at| {
            assert_eq!(at.record().await["state"], "starting");
            assert_eq!(at.call("good").await.text(), "good", "a call waits for the start");
            let record = at
                .until("the tools", async || {
                    let record = at.record().await;
                    (record["state"] == "ready").then_some(record)
                })
                .await;
            assert!(record["last_start_ms"].as_u64().is_some_and(|took| took >= 12_000), "{record}");
            assert_eq!(at.upstream.asked("initialize").len(), 1, "discovery, probe and call share one start");
        }),
    )
    .registered(|server| server["health_check"] = json!({ "enabled": true }))
    .over(&[Over::Stdio]),
    case(
        "start-timeout",
        || slow(3600),
        sees!(|at| {
            let reason = at
                .until("its failure", async || at.record().await["last_error"].as_str().map(str::to_owned))
                .await;
            assert!(reason.contains("did not answer `initialize` within 2 s"), "{reason}");
            assert!(reason.contains("start_timeout_seconds"), "{reason}");
            assert!(reason.contains(&at.name), "{reason}");
        }),
    )
    .registered(|server| server["configuration"] = json!({ "start_timeout_seconds": 2, "era": "legacy" }))
    .over(&[Over::Http, Over::Stdio]),
    case(
        "silent-call",
        || Script::good().on("tools/call", Reply::Hang),
        sees!(|at| {
            let answer = at.call("good").await.response.to_string();
            assert!(answer.contains("2 s; raise `configuration.timeout_seconds`"), "{answer}");
            assert!(answer.contains(&at.name), "{answer}");
        }),
    )
    .registered(|server| server["configuration"] = json!({ "timeout_seconds": 2 })),
];
