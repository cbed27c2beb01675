//! Without authentication: a loopback address alone is believed for little, since whoever comes through a reverse proxy of this machine has
//! one, too; and whoever says that it came through one is nobody.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use mcp_registry_gateway_tests::clock::eventually;
use mcp_registry_gateway_tests::fake::Fake;
use mcp_registry_gateway_tests::http::Http;
use mcp_registry_gateway_tests::mcp::Client;
use mcp_registry_gateway_tests::process::{Gateway, Options, binary};
use serde_json::{Value, json};

use crate::{FAKE, quiet, stdio};

const JSON: (&str, &str) = ("content-type", "application/json");
const SERVERS: &str = "/api/v1/servers";

/// A client from a loopback address that shows nothing.
fn plain(gateway: &Gateway) -> Http {
    Http::new(gateway.address())
}

async fn post(http: &Http, path: &str, body: &Value) -> (u16, Value) {
    http.json(Method::POST, path, Some(body)).await.expect("an answer")
}

async fn names(gateway: &Gateway) -> Vec<String> {
    let (_, listed) = gateway.http().get(SERVERS).await.expect("the list");
    let servers = listed["servers"].as_array().expect("servers");
    servers.iter().map(|server| server["name"].as_str().expect("a name").to_owned()).collect()
}

/// What a refusal for want of the token says: what is missing, where it is, and the other way.
fn assert_refused((status, answer): (u16, Value), file: &Path) {
    let message = answer["error"]["message"].as_str().unwrap_or_default();
    assert_eq!(status, 403, "{answer}");
    for told in ["local token", &file.display().to_string(), "auth.api_keys = true"] {
        assert!(message.contains(told), "{told}: {answer}");
    }
}

/// X-21: over REST, a command is registered and changed, a credential set, and a key made by who shows the token; a server with a URL by
/// any process of this machine. Who was refused is in the audit trail.
#[tokio::test]
async fn x_21_commands_credentials_and_keys_take_the_local_token() {
    let gateway = Gateway::start().await;
    let (operator, plain) = (gateway.http(), plain(&gateway));
    let file = gateway.data().join("local.token");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&file).expect("the token").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let text = std::fs::read_to_string(&file).expect("the token");
    assert!(!gateway.output().contains(text.trim()), "it is shown in a terminal alone");
    assert!(gateway.greeting().contains(&file.display().to_string()), "{}", gateway.greeting());

    assert_refused(post(&plain, SERVERS, &stdio("program", &[])).await, &file);
    let forged = plain.showing(&format!("mcp_local_{}", "0".repeat(64)));
    assert_eq!(post(&forged, SERVERS, &stdio("program", &[])).await.0, 401);
    let (status, made) = post(operator, SERVERS, &stdio("program", &[])).await;
    assert_eq!(status, 201, "{made}");
    let program = format!("{SERVERS}/{}", made["id"].as_str().expect("an id"));

    let fake = Fake::start("one").await;
    let (status, one) = post(&plain, SERVERS, &quiet("one", &fake.url())).await;
    assert_eq!(status, 201, "{one}");
    let one = format!("{SERVERS}/{}", one["id"].as_str().expect("an id"));
    for (server, change) in [
        (&program, json!({ "args": ["--name", "other"] })),
        (&program, json!({ "env": { "A": "b" } })),
        (&one, json!({ "command": FAKE })),
    ] {
        assert_refused(plain.json(Method::PUT, server, Some(&change)).await.expect("an answer"), &file);
    }
    let weight = json!({ "weight": 2 });
    assert_eq!(plain.json(Method::PUT, &one, Some(&weight)).await.expect("an answer").0, 200);

    let credentials = format!("{one}/credentials");
    let credential = json!({ "header": "X-Api-Key", "value": "v" });
    assert_refused(post(&plain, &credentials, &credential).await, &file);
    assert_refused(post(&plain, &format!("{credentials}/own"), &credential).await, &file);
    assert_refused(post(&plain, &format!("{credentials}/login"), &json!({})).await, &file);
    assert_eq!(post(operator, &credentials, &credential).await.0, 201);

    let wish = json!({ "name": "k", "role": "viewer" });
    assert_refused(post(&plain, "/api/v1/api-keys", &wish).await, &file);
    let (status, key) = post(operator, "/api/v1/api-keys", &wish).await;
    assert_eq!(status, 201, "{key}");
    let key = format!("/api/v1/api-keys/{}", key["id"].as_str().expect("an id"));
    assert_refused(post(&plain, &format!("{key}/rotate"), &json!({})).await, &file);
    assert_refused(plain.json(Method::DELETE, &key, None).await.expect("an answer"), &file);

    // Rows of refusals are written in batches.
    for action in ["server.register", "server.update", "POST /api/v1/api-keys"] {
        let refused = |row: &Value| row["action"] == action && row["outcome"] == "permission_denied";
        eventually(&format!("the row of a refused {action}"), Duration::from_secs(10), async || {
            let (_, trail) = operator.get("/api/v1/audit?limit=200").await.expect("the trail");
            trail["rows"].as_array().expect("rows").iter().any(refused).then_some(())
        })
        .await;
    }
}

/// X-21: no door registers a command without the token: neither a session, nor what stands alone, nor the legacy proxy.
#[tokio::test]
async fn x_21_no_mcp_door_registers_a_command_without_the_local_token() {
    let env = vec![("MREG_SERVER__LEGACY", "true".to_owned())];
    let gateway = Gateway::start_with(Options { env, ..Options::default() }).await;
    let client = Client::connect(gateway.address(), "/mcp/gateway").await.expect("a session");
    let answer = client.call("register_server", stdio("session", &[])).await.expect("an answer");
    assert_eq!(answer.response["result"]["isError"], true, "{:?}", answer.response);

    for path in ["/mcp/proxy", "/legacy/mcp"] {
        let params = json!({ "name": "gateway__register_server", "arguments": stdio("alone", &[]) });
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        let (_, answer) = post(&plain(&gateway), path, &call).await;
        let refused = answer["result"]["isError"] == true || answer["error"].is_object();
        assert!(refused, "{path}: {answer}");
    }
    assert_eq!(names(&gateway).await, [""; 0]);
}

/// X-21: a request with a header of a proxy is nobody's, whatever it asks for and whatever it shows; `/health` is for all.
#[tokio::test]
async fn x_21_what_a_proxy_passed_on_is_never_local() {
    let gateway = Gateway::start().await;
    for header in ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via"] {
        for http in [&plain(&gateway), gateway.http()] {
            let headers = [(header, "127.0.0.1"), ("host", "localhost"), JSON];
            let list = http.send(Method::GET, SERVERS, &headers, Bytes::new()).await.expect("an answer");
            assert_eq!(list.status, 401, "{header}");
            let body = list.bytes().await.expect("a body");
            let told = String::from_utf8_lossy(&body).to_ascii_lowercase();
            for part in [&*header.to_ascii_lowercase(), "proxy", "auth.api_keys = true"] {
                assert!(told.contains(part), "{part}: {told}");
            }
            let body = Bytes::from(quiet("one", "http://127.0.0.1:9/mcp").to_string());
            let made = http.send(Method::POST, SERVERS, &headers, body).await.expect("an answer");
            assert_eq!(made.status, 401, "{header}");
            let ping = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
            for path in ["/mcp", "/mcp/gateway", "/mcp/proxy"] {
                let accept = ("accept", "application/json, text/event-stream");
                let more = [headers[0], headers[1], headers[2], accept];
                let asked = http.send(Method::POST, path, &more, ping.clone()).await.expect("an answer");
                assert_eq!(asked.status, 401, "{header} {path}");
            }
            let health = http.send(Method::GET, "/health", &headers, Bytes::new()).await.expect("an answer");
            assert_eq!(health.status, 200, "{header}");
        }
    }
    assert_eq!(names(&gateway).await, [""; 0]);
}

/// X-21: with authentication configured a proxy may stand in front, no local token counts, and what the proxy says reaches no server.
#[tokio::test]
async fn x_21_with_a_key_a_proxy_may_stand_in_front_and_its_headers_reach_no_server() {
    let (folder, fake) = (tempfile::tempdir().expect("a folder"), Fake::start("one").await);
    let (data, file) = (folder.path().join("data"), folder.path().join("mcp-gateway.toml"));
    let server = format!("[[servers]]\nname = 'one'\nendpoint_url = '{}'\n", fake.url());
    std::fs::write(&file, format!("[auth]\napi_keys = true\n{server}")).expect("a file");
    let mut command = Command::new(binary());
    command.args(["keys", "create", "--role", "admin", "--json", "operator", "--data-dir"]).arg(&data);
    let said = command.arg("--config").arg(&file).output().expect("mcp-gateway runs").stdout;
    let said: Value = serde_json::from_slice(&said).expect("JSON");
    let args = vec!["--config".to_owned(), file.display().to_string()];
    let gateway = Gateway::start_with(Options { data: Some(data.clone()), args, ..Options::default() }).await;
    assert!(!data.join("local.token").exists(), "there is none where none is taken");
    let token = plain(&gateway).showing(&format!("mcp_local_{}", "0".repeat(64)));
    assert_eq!(token.get(SERVERS).await.expect("an answer").0, 401);

    let http = plain(&gateway).showing(said["key"].as_str().expect("a key"));
    let client = Client::connect_with(&http, "/mcp/one", json!({})).await.expect("a session");
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "echo", "arguments": { "text": "t" } } });
    let headers = [("forwarded", "for=canary-6"), ("x-forwarded-for", "canary-7"), ("via", "1.1 canary-8")];
    let reply = client.post_bytes(Bytes::from(call.to_string()), &headers).await.expect("an answer");
    assert_eq!(reply.status, 200);
    reply.bytes().await.expect("a body");
    assert_eq!(fake.ledger().deliveries("t"), 1);
    for entry in fake.ledger().all() {
        let text = serde_json::to_string(&entry).expect("JSON");
        assert!(!text.contains("canary"), "{text}");
    }
}

/// X-21: the command line shows the token of the gateway that serves its data by itself, and no other gateway's.
#[tokio::test]
async fn x_21_the_command_line_reads_the_local_token_by_itself() {
    let gateway = Gateway::start().await;
    let url = format!("http://{}", gateway.address());
    let register = |data: &Path, name: &str, more: &[&str]| {
        let mut command = Command::new(binary());
        command.arg("register").arg("--data-dir").arg(data).args(more).args([name, FAKE, "--name", name]);
        command.env_remove("MREG_KEY").env_remove("MREG_URL").output().expect("mcp-gateway runs")
    };
    let done = register(gateway.data(), "found", &[]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let done = register(gateway.data(), "named", &["--url", &url]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let elsewhere = tempfile::tempdir().expect("a folder");
    let refused = register(elsewhere.path(), "stranger", &["--url", &url]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && told.contains("local token"), "{told}");
    let mut known = names(&gateway).await;
    known.sort();
    assert_eq!(known, ["found", "named"]);
}
