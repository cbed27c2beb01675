//! Kind D: the wrong reason told.

use mcp_registry_gateway_tests::field::{Over, Reply, Script};
use mcp_registry_gateway_tests::mcp::Client;
use serde_json::Value;

use crate::case::{Case, Seen, case, run, sees};

#[tokio::test]
async fn the_reason_is_told() {
    run("D", CASES).await;
}

/// The server's record once it is in this state.
async fn record_in(at: &Seen<'_>, state: &str) -> Value {
    at.until(state, async || Some(at.record().await).filter(|record| record["state"] == state)).await
}

const CASES: &[Case] = &[
    case(
        "refuses-to-initialize",
        || Script::good().error("initialize", -32603),
        sees!(|at| {
            let record = record_in(at, "unreachable").await;
            let problem = &record["problems"][0];
            let reason = problem["reason"].as_str().expect("a reason");
            for part in [at.name.as_str(), "as the script says", "mcp-gateway doctor"] {
                assert!(reason.contains(part), "{part} in {record}");
            }
            assert!(problem["next_attempt"].is_string() && problem["since"].is_string(), "{record}");
            let path = format!("/mcp/{}", at.name);
            let refused = Client::connect(at.gateway.address(), &path).await.expect_err("no introduction");
            let refused = refused.to_string();
            assert!(
                refused.contains("as the script says") && refused.contains("asked again in"),
                "{refused}"
            );
        }),
    ),
    case(
        "wants-credentials",
        || Script::good().on("initialize", Reply::Http(401, Vec::new(), Vec::new())),
        sees!(|at| {
            let record = record_in(at, "unauthorized").await;
            assert_eq!(record["problems"][0]["what"], "unauthorized", "{record}");
            assert!(record["last_error"].to_string().contains("credentials"), "{record}");
        }),
    )
    .registered(|server| server["configuration"] = serde_json::json!({ "era": "legacy" }))
    .http(),
    case(
        "ends-at-its-start",
        || Script::good().on("initialize", Reply::Reset),
        sees!(|at| {
            let record = record_in(at, "unreachable").await;
            assert!(record["last_error"].to_string().contains("process ended"), "{record}");
        }),
    )
    .over(&[Over::Stdio]),
];
