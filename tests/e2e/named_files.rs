//! Files that callers and operators name: what is no regular file holds up nobody, and few may name one.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use mcp_registry_gateway_tests::clock::{Stopwatch, eventually};
use mcp_registry_gateway_tests::fake::Fake;
use mcp_registry_gateway_tests::mcp::Client;
use mcp_registry_gateway_tests::process::{Gateway, Options, binary};
use mcp_registry_gateway_tests::tls::Authority;
use serde_json::{Value, json};

/// How long `/health` may take on a loaded machine.
const PROMPT: Duration = Duration::from_secs(2);

/// How long anything else may take there.
const PATIENCE: Duration = Duration::from_secs(20);

const SERVERS: &str = "/api/v1/servers";

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
        let (status, said) = tokio::time::timeout(PROMPT, gateway.http().get("/health"))
            .await
            .expect("in time")
            .expect("an answer");
        assert_eq!(status, 200, "{said} after {:?}", watch.elapsed());
    }
}

/// The newest probe's words about server `id`, once there are some.
async fn said_of(gateway: &Gateway, id: &str) -> String {
    let path = format!("/api/v1/servers/{id}/health");
    eventually("the probe", PATIENCE, async || {
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
        let made = tokio::time::timeout(PATIENCE, gateway.register(&server)).await.expect("in time");
        ids.push(made["id"].as_str().expect("an id").to_owned());
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

/// A new key of this role, made while no gateway has the data.
fn key(data: &Path, role: &str) -> String {
    let mut command = Command::new(binary());
    command.args(["keys", "create", "--role", role, "--json", role, "--data-dir"]).arg(data);
    let output = command.output().expect("mcp-gateway runs");
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    said["key"].as_str().expect("a key").to_owned()
}

/// a manager names no file through any door, but in the folder that the operator lends; an administrator does.
#[tokio::test]
async fn x_01_a_manager_names_no_file_outside_of_the_lent_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, lent, pipe) = (folder.path().join("data"), folder.path().join("lent"), pipe(folder.path()));
    std::fs::create_dir(&lent).expect("a folder");
    let authority = Authority::new().file(&lent);
    let [admin, manager] = ["admin", "manager"].map(|role| key(&data, role));
    let file = folder.path().join("mcp-gateway.toml");
    let config = format!("[auth]\napi_keys = true\n[outbound]\nca_folder = '{}'\n", lent.display());
    std::fs::write(&file, config).expect("a file");
    let args = vec!["--config".to_owned(), file.display().to_string()];
    let gateway = Gateway::start_with(Options { data: Some(data), args, ..Options::default() }).await;
    let [admin, manager] = [admin, manager].map(|key| gateway.http().showing(&key));
    let named = |name: &str, file: &Path| json!({ "name": name, "endpoint_url": "https://a.example/mcp", "configuration": { "ca_file": file } });
    let refused = |(status, said): (u16, Value)| {
        assert_eq!((status, &said["error"]["code"]), (403, &json!("PERMISSION_DENIED")), "{said}");
        assert_eq!(said["error"]["details"]["member"], "configuration.ca_file", "{said}");
    };
    let passwords = Path::new("/etc/passwd");
    for file in [&pipe, passwords] {
        let body = named("strange", file);
        refused(manager.json(Method::POST, SERVERS, Some(&body)).await.expect("an answer"));
        let headers = [("content-type", "application/json"), ("idempotency-key", "1")];
        let sent = Bytes::from(body.to_string());
        let once = manager.send(Method::POST, SERVERS, &headers, sent).await.expect("an answer");
        assert_eq!(once.status, 403);
    }
    let (status, own) =
        manager.json(Method::POST, SERVERS, Some(&named("own", &authority))).await.expect("an answer");
    assert_eq!(status, 201, "{own}");
    let path = format!("{SERVERS}/{}", own["id"].as_str().expect("an id"));
    let change = json!({ "configuration": { "ca_file": pipe } });
    refused(manager.json(Method::PUT, &path, Some(&change)).await.expect("an answer"));
    let tools = Client::connect_with(&manager, "/mcp/gateway", json!({})).await.expect("a session");
    let said = tools.call("register_server", named("strange", &pipe)).await.expect("an answer");
    assert!(said.text().contains("configuration.ca_file"), "{said:?}");
    let (_, listed) = admin.get(SERVERS).await.expect("an answer");
    assert_eq!(listed["total"], 1, "{listed}");
    let (status, said) = admin.json(Method::PUT, &path, Some(&change)).await.expect("an answer");
    assert_eq!(status, 200, "{said}");
    healthy(&gateway).await;
}

/// a named pipe that an operator names, or a command line, is refused at once with its name; nothing waits for it.
#[tokio::test]
async fn x_01_a_pipe_as_configuration_key_or_certificate_is_refused_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = pipe(folder.path());
    let at = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    let key = at("key.toml", &format!("[credentials]\nkey_file = '{}'\n", pipe.display()));
    let tls = at("tls.toml", &format!("[server.tls]\ncert = '{0}'\nkey = '{0}'\n", pipe.display()));
    let import = at("import.toml", &format!("import = '{}'\n", pipe.display()));
    let store = at("store.toml", &format!("[store]\npath = '{}'\n", pipe.display()));
    let serve = ["serve", "--port", "0", "--config"];
    for (number, (words, file)) in [
        (&serve[..], &pipe),
        (&serve, &key),
        (&serve, &tls),
        (&serve, &import),
        (&serve, &store),
        (&["register", "--from"], &pipe),
        (&["import"], &pipe),
    ]
    .into_iter()
    .enumerate()
    {
        let (said, data) =
            (folder.path().join(format!("said{number}")), folder.path().join(format!("data{number}")));
        let mut command = Command::new(binary());
        command.args(words).arg(file).arg("--data-dir").arg(data).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(std::fs::File::create(&said).expect("a file"));
        let mut child = Ended(command.spawn().expect("mcp-gateway runs"));
        let look = async || child.0.try_wait().ok().flatten();
        let status = eventually("the refusal", PATIENCE, look).await;
        let said = std::fs::read_to_string(&said).expect("a file");
        assert!(!status.success() && said.contains("is a named pipe"), "{words:?}: {said}");
        assert!(said.contains(pipe.to_str().expect("a path")), "{words:?}: {said}");
        assert!(said.contains("name a regular file"), "{words:?}: {said}");
    }
}

/// Ends a program that did not end by itself.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It has ended, as a rule.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
