//! Files that callers and operators name: what is no regular file holds up nobody, and few may name one.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use mcp_registry_gateway_tests::clock::{Stopwatch, eventually};
use mcp_registry_gateway_tests::fake::Fake;
use mcp_registry_gateway_tests::process::{Gateway, Options, binary};
use mcp_registry_gateway_tests::tls::Authority;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long `/health` may take on a loaded machine.
const PROMPT: Duration = Duration::from_secs(2);

/// A named pipe that nobody writes to.
fn pipe(folder: &Path) -> PathBuf {
    let path = folder.join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success());
    path
}

async fn start(data: &Path) -> Gateway {
    Gateway::start_with(Options { data: Some(data.to_owned()), ..Options::default() }).await
}

/// Asks for `/health` often enough that each thread would be held up.
async fn healthy(gateway: &Gateway) {
    for _ in 0..24 {
        let watch = Stopwatch::start();
        let (status, said) =
            tokio::time::timeout(PROMPT, gateway.http().get("/health")).await.expect("in time").expect("an answer");
        assert_eq!(status, 200, "{said} after {:?}", watch.elapsed());
    }
}

/// The newest probe's words about server `id`, once there are some.
async fn said_of(gateway: &Gateway, id: &str) -> String {
    let path = format!("/api/v1/servers/{id}/health");
    eventually("the probe", Duration::from_secs(20), async || {
        let (_, body) = gateway.http().get(&path).await.ok()?;
        body["history"][0]["error"].as_str().map(str::to_owned)
    })
    .await
}

/// a named pipe as a server's `ca_file` costs that server alone: the gateway answers, stops in time, and starts again with it.
#[tokio::test]
async fn x_01_a_pipe_as_ca_file_costs_its_own_server_alone() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a folder"));
    let fake = Fake::start_tls("stuck", authority.acceptor("127.0.0.1")).await;
    let (pipe, data) = (pipe(folder.path()), folder.path().join("data"));
    let mut gateway = start(&data).await;
    let configuration = json!({ "ca_file": pipe });
    let mut ids = Vec::new();
    // As many as there are threads, and more.
    for number in 0..8 {
        let server = json!({ "name": format!("stuck{number}"), "endpoint_url": fake.url(), "configuration": configuration });
        ids.push(gateway.register(&server).await["id"].as_str().expect("an id").to_owned());
    }
    for round in ["first start", "second start"] {
        healthy(&gateway).await;
        for id in &ids {
            let said = said_of(&gateway, id).await;
            assert!(said.contains("configuration.ca_file is a named pipe"), "{round}: {said}");
            assert!(said.contains("name a regular file") && said.contains("cause: configuration"), "{said}");
        }
        gateway.terminate();
        assert!(gateway.ended(Duration::from_secs(10)).await.success(), "{round}");
        gateway = start(&data).await;
    }
    healthy(&gateway).await;
    assert_eq!(fake.ledger().all().len(), 0, "nothing is sent to whom the gateway cannot believe");
}

/// What a gateway that asks for keys is made of.
struct House {
    gateway: Gateway,
    folder: TempDir,
    data: PathBuf,
}

impl House {
    async fn open(config: impl Fn(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (data, file) = (folder.path().join("data"), folder.path().join("mcp-gateway.toml"));
        std::fs::write(&file, format!("[auth]\napi_keys = true\n{}", config(folder.path()))).expect("a file");
        let args = vec!["--config".to_owned(), file.display().to_string()];
        let gateway = Gateway::start_with(Options { data: Some(data.clone()), args, ..Options::default() }).await;
        Self { gateway, folder, data }
    }

    /// A new key of this role, made while no gateway has the data.
    fn key(data: &Path, role: &str) -> String {
        let mut command = Command::new(binary());
        command.args(["keys", "create", "--role", role, "--json", role, "--data-dir"]).arg(data);
        let output = command.output().expect("mcp-gateway runs");
        let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        said["key"].as_str().expect("a key").to_owned()
    }
}
