//! Names on the aggregate and on a route of one service.

use mcp_registry_gateway_tests::fake::Fake;
use mcp_registry_gateway_tests::process::Gateway;
use serde_json::{Value, json};

async fn two() -> (Gateway, Vec<Fake>) {
    let gateway = Gateway::start().await;
    let pair = Fake::start_many("service", 2).await;
    for fake in &pair {
        gateway.adopt(fake.name(), fake.name(), &fake.url()).await;
    }
    (gateway, pair)
}

/// B-16: full names are one to one.
#[tokio::test]
async fn the_aggregate_prefixes_names_and_a_single_service_leaves_them_alone() {
    let (gateway, _pair) = two().await;
    let all = gateway.client("/mcp").await;
    let names = all.request("tools/list", json!({})).await.expect("a list").names("tools");
    assert!(
        names.contains(&"service-0__whoami".to_owned()) && names.contains(&"service-1__whoami".to_owned())
    );
    let one = gateway.client("/mcp/service-1").await;
    let names = one.request("tools/list", json!({})).await.expect("a list").names("tools");
    assert!(
        names.contains(&"whoami".to_owned()) && !names.iter().any(|name| name.contains("__")),
        "{names:?}"
    );
}

#[tokio::test]
async fn a_call_by_either_name_reaches_the_server_under_its_own_name() {
    let (gateway, pair) = two().await;
    let all = gateway.client("/mcp").await;
    let answer = all.call("service-1__whoami", json!({})).await.expect("an answer");
    assert_eq!(answer.text(), "service-1", "{answer:?}");
    let one = gateway.client("/mcp/service-1").await;
    assert_eq!(one.call("whoami", json!({})).await.expect("an answer").text(), "service-1");
    assert!(pair[1].ledger().of("tools/call").iter().all(|call| call.params["name"] == "whoami"));
    assert_eq!((pair[0].ledger().count("tools/call"), pair[1].ledger().count("tools/call")), (0, 2));
}

#[tokio::test]
async fn a_definition_passes_with_members_that_nobody_knows() {
    let (gateway, _pair) = two().await;
    for (path, name) in [("/mcp", "service-0__echo"), ("/mcp/service-0", "echo")] {
        let client = gateway.client(path).await;
        let answer = client.request("tools/list", json!({})).await.expect("a list");
        let tools = answer.response["result"]["tools"].as_array().cloned().unwrap_or_default();
        let echo = tools.iter().find(|tool| tool["name"] == name).cloned().unwrap_or(Value::Null);
        assert_eq!(echo["x-vendor"]["kept"], 12_345_678_901_234_567_u64, "{echo}");
        assert!(echo["inputSchema"].get("$defs").is_some(), "{echo}");
    }
}

#[tokio::test]
async fn an_unknown_tool_is_the_callers_mistake_and_is_executed_nowhere() {
    let (gateway, pair) = two().await;
    let calls = [("/mcp", "service-0__nothing"), ("/mcp", "whoami"), ("/mcp/service-0", "service-0__whoami")];
    for (path, name) in calls {
        let answer = gateway.client(path).await.call(name, json!({})).await.expect("an answer");
        assert_eq!(answer.response["error"]["code"], -32602, "{path} {name}: {answer:?}");
    }
    // A server may be asked for a name that it does not have: its own list is the truth. Another one never is.
    assert!(pair[0].ledger().of("tools/call").iter().all(|call| call.params["name"] != "whoami"));
    assert_eq!(pair[1].ledger().count("tools/call"), 0);
}

#[tokio::test]
async fn a_list_of_many_pages_is_complete_on_the_aggregate() {
    let (gateway, fake) = (Gateway::start().await, Fake::start("many").await);
    let mut names: Vec<String> = (0..250).map(|n| format!("tool-{n}")).collect();
    names.push("echo".to_owned());
    fake.set_tools(&names, 20);
    gateway.adopt("many", "many", &fake.url()).await;
    let client = gateway.client("/mcp").await;
    let (mut found, mut cursor) = (Vec::new(), json!({}));
    loop {
        let answer = client.request("tools/list", cursor).await.expect("a list");
        found.extend(answer.names("tools"));
        match answer.response["result"].get("nextCursor") {
            Some(next) => cursor = json!({ "cursor": next }),
            None => break,
        }
    }
    found.retain(|name| !name.starts_with("gateway"));
    assert_eq!(found.len(), 251);
    assert!(names.iter().all(|name| found.contains(&format!("many__{name}"))));
}
