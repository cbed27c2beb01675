//! `mcp-gateway doctor`, and the reasons that managers read and others do not.

use std::process::{Command, Output};
use std::time::Duration;

use mcp_registry_gateway_tests::clock::eventually;
use mcp_registry_gateway_tests::fake::Fake;
use mcp_registry_gateway_tests::process::{Gateway, binary};
use serde_json::{Value, json};

use crate::stdio;

fn doctor(gateway: &Gateway, args: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.arg("doctor").args(args).arg("--data-dir").arg(gateway.data());
    command.env("MREG_URL", format!("http://{}", gateway.address()));
    command.output().expect("mcp-gateway runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

// The command blocks a thread; the fake server runs on the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn good_servers_pass_every_step() {
    let (gateway, fake) = (Gateway::start().await, Fake::start("far").await);
    gateway.register(&json!({ "name": "far", "endpoint_url": fake.url() })).await;
    gateway.register(&stdio("near", &[])).await;
    let output = doctor(&gateway, &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found["ok"], true, "{found}");
    let steps = |name: &str| -> Vec<String> {
        let servers = found["servers"].as_array().expect("servers");
        let server = servers.iter().find(|server| server["name"] == name).expect("the server");
        let steps = server["steps"].as_array().expect("steps");
        steps.iter().map(|step| step["step"].as_str().unwrap_or_default().to_owned()).collect()
    };
    for (name, first) in
        [("far", ["resolve", "connect", "initialize"]), ("near", ["program", "start", "initialize"])]
    {
        let steps = steps(name);
        assert_eq!(steps[..3], first, "{found}");
        for step in ["tools/list", "items", "ping"] {
            assert!(steps.iter().any(|one| one == step), "{step} in {steps:?}");
        }
    }
}

#[tokio::test]
async fn a_program_that_fails_to_start_is_told_with_its_last_lines_and_without_secrets() {
    let gateway = Gateway::start().await;
    let script = "for n in $(seq 30); do echo line $n >&2; done; echo no space left for $TOKEN >&2; exit 3";
    let server = json!({ "name": "broken", "transport_type": "stdio", "command": "sh", "args": ["-c", script],
        "env": { "TOKEN": "canary-secret" } });
    let id = gateway.register(&server).await["id"].as_str().expect("an id").to_owned();
    let record = eventually("its failure", Duration::from_secs(20), async || {
        let record = gateway.http().get(&format!("/api/v1/servers/{id}")).await.ok()?.1;
        record["last_output"].is_array().then_some(record)
    })
    .await;
    let lines: Vec<_> =
        record["last_output"].as_array().expect("lines").iter().filter_map(Value::as_str).collect();
    assert_eq!(lines.len(), 20, "{record}");
    assert!(lines[19].starts_with("no space left for"), "{record}");
    assert_eq!(record["state"], "unreachable", "{record}");
    let output = doctor(&gateway, &["broken"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no space left") && said.contains("→"), "{said}");
    let log = gateway.log();
    assert!(log.contains("| no space left"), "{log}");
    for shown in [said, log, record.to_string()] {
        assert!(!shown.contains("canary-secret"), "{shown}");
    }
}

#[tokio::test]
async fn what_stands_in_the_way_is_named_with_the_next_step() {
    let gateway = Gateway::start().await;
    for (server, step, advice) in [
        (json!({ "name": "gone", "endpoint_url": "http://127.0.0.1:9/mcp" }), "connect", "start the server"),
        (
            json!({ "name": "nowhere", "transport_type": "stdio", "command": "no-such-program-here" }),
            "program",
            "install the program",
        ),
        (
            json!({ "name": "unknown", "endpoint_url": "http://name.invalid/mcp" }),
            "resolve",
            "correct the host",
        ),
    ] {
        gateway.register(&server).await;
        let output = doctor(&gateway, &[server["name"].as_str().expect("a name"), "--json"]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let steps = found["servers"][0]["steps"].as_array().expect("steps");
        let last = steps.last().expect("a step");
        assert_eq!((&last["step"], &last["outcome"]), (&json!(step), &json!("failed")), "{found}");
        assert!(last["advice"].to_string().contains(advice), "{found}");
    }
    let output = doctor(&gateway, &["nobody"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
}

#[tokio::test]
async fn a_server_that_is_switched_off_is_not_started() {
    let gateway = Gateway::start().await;
    let id = gateway.register(&stdio("off", &[])).await["id"].as_str().expect("an id").to_owned();
    gateway.offers(&id, "echo").await;
    let path = format!("/api/v1/servers/{id}");
    let patch = json!({ "status": "inactive" });
    gateway.http().json(http::Method::PUT, &path, Some(&patch)).await.expect("an answer");
    let record = gateway.http().get(&path).await.expect("an answer").1;
    assert_eq!(record["state"], "paused", "{record}");
    let found: Value = serde_json::from_slice(&doctor(&gateway, &["off", "--json"]).stdout).expect("JSON");
    let steps = found["servers"][0]["steps"].as_array().expect("steps");
    assert_eq!((steps.len(), &steps[0]["outcome"]), (1, &json!("skipped")), "{found}");
}
