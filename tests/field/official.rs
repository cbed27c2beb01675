//! The official clients for TypeScript and Python read the lists of a gateway with every faulty server of kinds A and B at once.

use std::collections::BTreeSet;

use mcp_registry_gateway_tests::clock::eventually;
use mcp_registry_gateway_tests::field::{Over, Script, Upstream};
use mcp_registry_gateway_tests::process::Gateway;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::case::{PATIENCE, PROGRAM};
use crate::{a_parts, b_names};

#[tokio::test]
async fn the_official_clients_read_the_lists_of_every_faulty_server_together() {
    let gateway = Gateway::start().await;
    let mut upstreams = Vec::new();
    for case in a_parts::CASES.iter().chain(b_names::CASES) {
        let upstream = Upstream::start(Over::Http, (case.script)()).await;
        let mut registration = upstream.registration(case.name, PROGRAM);
        (case.register)(&mut registration);
        // One that refuses the gateway once is registered all the same.
        gateway.register(&registration).await;
        upstreams.push(upstream);
    }
    let last = Upstream::start(Over::Http, Script::good()).await;
    let id = gateway.register(&last.registration("last", PROGRAM)).await["id"].clone();
    gateway.offers(id.as_str().expect("an id"), "good").await;
    let client = gateway.client("/mcp").await;
    let mut raw = json!({});
    // Servers that are slow are there once they have answered.
    eventually("lists that stay the same", PATIENCE, async || {
        let before = raw.clone();
        for (kind, method) in LISTS {
            let page = client.request(method, json!({})).await.ok()?;
            raw[kind] = json!(keys(&page.response["result"][kind]));
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        (before == raw).then_some(())
    })
    .await;
    let url = format!("http://{}/mcp", gateway.address());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/field/official.py");
    let out = Command::new("python3").args([script, &url]).output().await.expect("python3 runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8_lossy(&out.stdout);
    let seen: Value = serde_json::from_str(text.lines().last().unwrap_or_default()).expect("JSON");
    let clients = seen.as_object().expect("an object");
    for (name, seen) in clients {
        for (kind, _) in LISTS {
            assert_eq!(seen[kind], raw[kind], "{kind} of {name}");
        }
        println!("ok     official client {name}: {} tools", seen["tools"].as_array().map_or(0, Vec::len));
    }
    let usable = |name: &String| {
        (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    let tools: BTreeSet<String> = serde_json::from_value(raw["tools"].clone()).expect("names");
    assert!(tools.iter().all(usable) && tools.len() > 20, "{tools:?}");
    assert_eq!(clients.len(), 6);
}

const LISTS: [(&str, &str); 4] = [
    ("tools", "tools/list"),
    ("resources", "resources/list"),
    ("resourceTemplates", "resources/templates/list"),
    ("prompts", "prompts/list"),
];

fn keys(items: &Value) -> Vec<String> {
    let key = |item: &Value| {
        ["uri", "uriTemplate", "name"].iter().find_map(|key| item[key].as_str()).map(str::to_owned)
    };
    items.as_array().into_iter().flatten().filter_map(key).collect()
}
