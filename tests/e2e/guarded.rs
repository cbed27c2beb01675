//! A gateway that asks for credentials: what it connects to, what it starts, and how often one may ask.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use mcp_registry_gateway_tests::clock::eventually;
use mcp_registry_gateway_tests::fake::Fake;
use mcp_registry_gateway_tests::http::Reply;
use mcp_registry_gateway_tests::process::{Gateway, Options, binary};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// A gateway that asks for keys, an administrator's key, and the folder that both live in.
struct House {
    gateway: Gateway,
    key: String,
    folder: TempDir,
}

impl House {
    async fn open(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (data, file) = (folder.path().join("data"), folder.path().join("mcp-gateway.toml"));
        std::fs::write(&file, format!("[auth]\napi_keys = true\n{config}")).expect("a file");
        let key = key(&data, &file);
        let args = vec!["--config".to_owned(), file.display().to_string()];
        let gateway = Gateway::start_with(Options { data: Some(data), args, ..Options::default() }).await;
        Self { gateway, key, folder }
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let reply = self.ask(&self.key, method, path, body).await;
        let status = reply.status;
        let bytes = reply.bytes().await.expect("a body");
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn ask(&self, key: &str, method: Method, path: &str, body: &Value) -> Reply {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let body = Bytes::from(body.to_string());
        self.gateway.http().send(method, path, &headers, body).await.expect("an answer")
    }
}

/// A new administrator's key.
fn key(data: &Path, config: &Path) -> String {
    let mut command = Command::new(binary());
    command.args(["keys", "create", "--role", "admin", "--json", "operator", "--data-dir"]).arg(data);
    let output = command.arg("--config").arg(config).output().expect("mcp-gateway runs");
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    said["key"].as_str().expect("a key").to_owned()
}

/// B-20: with authentication configured, an administrator too registers nothing that leads inside, and is told which line would
/// allow it; a listener inside hears nothing of it.
#[tokio::test]
async fn nothing_inside_is_registered_once_the_gateway_is_shared() {
    let house = House::open("").await;
    let canary = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let port = canary.local_addr().expect("an address").port();
    for host in ["127.0.0.1", "127.1", "0x7f000001", "localhost.", "[::ffff:127.0.0.1]"] {
        let server = json!({ "name": "inner", "endpoint_url": format!("http://{host}:{port}/mcp") });
        let (status, answer) = house.send(Method::POST, "/api/v1/servers", &server).await;
        assert_eq!(status, 403, "{host}: {answer}");
        assert!(
            answer["error"]["message"].as_str().is_some_and(|text| text.contains("[outbound] allow")),
            "{answer}"
        );
    }
    let command = json!({ "name": "inner", "command": "/bin/cat" });
    let (status, answer) = house.send(Method::POST, "/api/v1/servers", &command).await;
    assert_eq!(status, 403, "{answer}");
    assert!(
        answer["error"]["message"].as_str().is_some_and(|text| text.contains("[stdio] allow")),
        "{answer}"
    );
    let heard = tokio::time::timeout(std::time::Duration::from_millis(300), canary.accept()).await;
    assert!(heard.is_err(), "somebody connected");
}

/// B-20: what the operator's own configuration names, and what it lists, is served wherever it is.
#[tokio::test]
async fn what_the_operator_names_or_lists_is_served() {
    let (named, listed) = (Fake::start("one").await, Fake::start("two").await);
    let config = format!(
        "[outbound]\nallow = ['127.0.0.0/8']\n[[servers]]\nname = 'one'\nendpoint_url = '{}'\n",
        named.url()
    );
    let house = House::open(&config).await;
    let server = json!({ "name": "two", "endpoint_url": listed.url() });
    let (status, answer) = house.send(Method::POST, "/api/v1/servers", &server).await;
    assert_eq!(status, 201, "{answer}");

    let alone = House::open(&format!("[[servers]]\nname = 'one'\nendpoint_url = '{}'\n", named.url())).await;
    let (_, servers) = alone.send(Method::GET, "/api/v1/servers", &Value::Null).await;
    let id = servers["servers"][0]["id"].as_str().expect("the server").to_owned();
    let (_, checked) =
        alone.send(Method::POST, &format!("/api/v1/servers/{id}/health-check"), &json!({})).await;
    assert_eq!(checked["health_status"], "healthy", "{checked}");
    // Somebody else points it to another place inside.
    let moved = json!({ "endpoint_url": listed.url() });
    let (status, answer) = alone.send(Method::PUT, &format!("/api/v1/servers/{id}"), &moved).await;
    assert_eq!(status, 403, "{answer}");
}

/// L-05: what a key may ask a minute is counted over all doors together; over it each answers 429 in its own form, with when to
/// come back, and the trail names the key. D-08: the chain of the trail holds.
#[tokio::test]
async fn a_key_gets_its_limit_over_all_doors_together() {
    let house = House::open("").await;
    let wish = json!({ "name": "slow", "role": "developer", "requests_per_minute": 3 });
    let (status, made) = house.send(Method::POST, "/api/v1/api-keys", &wish).await;
    assert_eq!(status, 201, "{made}");
    let key = made["key"].as_str().expect("a key");
    for left in ["2", "1", "0"] {
        let reply = house.ask(key, Method::GET, "/api/v1/servers", &Value::Null).await;
        assert_eq!((reply.status, reply.header("ratelimit-remaining")), (200, left));
    }
    let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "0" } } });
    for (method, path, code) in [
        (Method::GET, "/api/v1/servers", json!("RATE_LIMIT_EXCEEDED")),
        (Method::POST, "/mcp", json!(-31429)),
    ] {
        let reply = house.ask(key, method, path, &hello).await;
        assert_eq!((reply.status, reply.header("ratelimit-limit")), (429, "3"), "{path}");
        let wait: u64 = reply.header("retry-after").parse().expect("seconds");
        assert!((1..=61).contains(&wait), "{wait}");
        let said: Value = serde_json::from_slice(&reply.bytes().await.expect("a body")).expect("JSON");
        assert_eq!(said["error"]["code"], code, "{said}");
    }
    let (_, own) = house.send(Method::GET, "/api/v1/servers", &Value::Null).await;
    assert_eq!(own["total"], 0, "others go on");
    let seen = async || {
        let (_, found) = house.send(Method::GET, "/api/v1/audit?outcome=rate_limited", &Value::Null).await;
        found["rows"].as_array().filter(|rows| rows.len() == 2).cloned()
    };
    for row in eventually("rows of both refusals", Duration::from_secs(10), seen).await {
        assert!(row["actor"].as_str().is_some_and(|actor| actor.starts_with("key:")), "{row}");
    }
    let (_, chain) = house.send(Method::GET, "/api/v1/audit/verify", &Value::Null).await;
    assert_eq!(chain["intact"], true, "{chain}");
}

/// The snippet for clients has a place for the key that they need, and with a key there it works.
#[tokio::test]
async fn the_snippet_has_a_place_for_the_key() {
    let house = House::open("").await;
    let text = house.gateway.greeting();
    let start = text.find('{').expect("a snippet");
    let snippet: Value = serde_json::from_str(&text[start..]).expect("JSON to the end");
    let server = &snippet["mcpServers"]["gateway"];
    assert_eq!(server["url"], format!("http://{}/mcp", house.gateway.address()));
    assert_eq!(server["headers"]["Authorization"], "Bearer YOUR_KEY");
}

/// rules of who may use what are taken up while the gateway runs, and lifted again.
#[tokio::test]
async fn rules_of_access_are_taken_up() {
    let fake = Fake::start("one").await;
    let open = format!("[[servers]]\nname = 'one'\nendpoint_url = '{}'\n", fake.url());
    let house = House::open(&open).await;
    // The role has 500 requests in a minute: enough to ask again and again.
    let wish = json!({ "name": "reader", "role": "developer" });
    let (_, made) = house.send(Method::POST, "/api/v1/api-keys", &wish).await;
    let key = made["key"].as_str().expect("a key");
    let shown = async |visible: bool| {
        let reply = house.ask(key, Method::GET, "/mcp/tools", &Value::Null).await;
        let said = String::from_utf8(reply.bytes().await.expect("a body").to_vec()).expect("text");
        (said.contains("one__echo") == visible).then_some(())
    };
    let patience = Duration::from_secs(20);
    eventually("the tool", patience, async || shown(true).await).await;
    let closed = "[[access.rules]]\nservice = 'one'\ntools = ['echo']\nsubjects = ['nobody']\n";
    for (text, visible) in [(format!("{open}{closed}"), false), (open.clone(), true)] {
        let file = house.folder.path().join("mcp-gateway.toml");
        std::fs::write(file, format!("[auth]\napi_keys = true\n{text}")).expect("a file");
        house.gateway.hang_up();
        eventually("the other rules", patience, async || shown(visible).await).await;
    }
}
