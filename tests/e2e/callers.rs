//! Servers to which each caller shows credentials of its own: nobody's reach anybody else's calls, whatever goes on at once.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use futures_util::future::join_all;
use http::Method;
use mcp_registry_gateway_tests::fake::{Fake, Ledger, Modern as ModernFake};
use mcp_registry_gateway_tests::http::Http;
use mcp_registry_gateway_tests::mcp::Client;
use mcp_registry_gateway_tests::modern::Modern;
use mcp_registry_gateway_tests::process::{Gateway, Options, binary};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A gateway with a server of each kind, all of which want each caller's own credential.
struct House {
    gateway: Gateway,
    admin: Http,
    folder: TempDir,
    fakes: (Fake, Fake, ModernFake),
}

/// A caller: its key, what it is called, and a client that shows the key.
struct Caller {
    key: String,
    subject: String,
    http: Http,
}

const SERVICES: [&str; 3] = ["legacy", "socket", "modern"];

impl House {
    async fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let fakes =
            (Fake::start("legacy").await, Fake::start_websocket("socket").await, ModernFake::start().await);
        let server = |name: &str, url: String| {
            format!(
                "[[servers]]\nname = '{name}'\nendpoint_url = '{url}'\nhealth_check = {{ enabled = false }}\n\
                 configuration = {{ credentials = 'caller' }}\n"
            )
        };
        let (legacy, socket, modern) = &fakes;
        let servers = [
            server("legacy", legacy.url()),
            server("socket", socket.websocket_url()),
            server("modern", modern.url()),
        ];
        let file = folder.path().join("mcp-gateway.toml");
        std::fs::write(&file, format!("[auth]\napi_keys = true\n{}", servers.concat())).expect("a file");
        let data = folder.path().join("data");
        let key = first_key(&data, &file);
        let args = vec!["--config".to_owned(), file.display().to_string()];
        let gateway = Gateway::start_with(Options { data: Some(data), args, ..Options::default() }).await;
        let admin = gateway.http().showing(&key);
        Self { gateway, admin, folder, fakes }
    }

    async fn caller(&self, name: &str) -> Caller {
        let wish = json!({ "name": name, "role": "developer" });
        let (status, made) =
            self.admin.json(Method::POST, "/api/v1/api-keys", Some(&wish)).await.expect("an answer");
        assert_eq!(status, 201, "{made}");
        let key = made["key"].as_str().expect("a key").to_owned();
        let subject = format!("key:{}", made["id"].as_str().expect("an id"));
        let http = self.gateway.http().showing(&key);
        Caller { key, subject, http }
    }

    async fn id(&self, name: &str) -> String {
        let (_, listed) = self.admin.get(&format!("/api/v1/servers?search={name}")).await.expect("an answer");
        listed["servers"][0]["id"].as_str().expect("the server").to_owned()
    }

    async fn set(&self, http: &Http, server: &str, own: bool, wish: &Value) -> (u16, Value) {
        let path = credentials(&self.id(server).await, own);
        http.json(Method::POST, &path, Some(wish)).await.expect("an answer")
    }

    fn ledgers(&self) -> [&Ledger; 3] {
        [self.fakes.0.ledger(), self.fakes.1.ledger(), self.fakes.2.ledger()]
    }
}

fn credentials(id: &str, own: bool) -> String {
    format!("/api/v1/servers/{id}/credentials{}", if own { "/own" } else { "" })
}

fn first_key(data: &Path, config: &Path) -> String {
    let mut command = Command::new(binary());
    command.args(["keys", "create", "--role", "admin", "--json", "operator", "--data-dir"]).arg(data);
    let output = command.arg("--config").arg(config).output().expect("mcp-gateway runs");
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    said["key"].as_str().expect("a key").to_owned()
}

/// Calls `echo` of every service, as clients of both eras do, and gives what refused it.
async fn calls(http: &Http, name: &str, rounds: usize) -> Vec<Value> {
    let mut refused = Vec::new();
    for service in SERVICES {
        let path = format!("/mcp/{service}");
        let modern = Modern::over(http, &path);
        let legacy = Client::connect_with(http, "/mcp", json!({})).await.expect("a session");
        for round in 0..rounds {
            let arguments = json!({ "text": format!("{name}-{round}") });
            let tool = format!("{service}__echo");
            let answers = [
                modern.call("echo", arguments.clone()).await.expect("an answer"),
                legacy.call(&tool, arguments).await.expect("an answer"),
            ];
            refused.extend(answers.into_iter().filter(|answer| !answer.is_result()).map(|a| a.response));
        }
    }
    refused
}

/// Nothing but calls of this caller carry its credential, and they carry nothing else; gives how many there were.
fn judge(house: &House, name: &str) -> usize {
    let mut own = 0;
    for entry in house.ledgers().iter().flat_map(|ledger| ledger.all()) {
        let shown = entry.headers.get("authorization").map(String::as_str);
        let text = entry.params["arguments"]["text"].as_str().unwrap_or_default();
        let (mine, right) = (text.starts_with(name), shown == Some(&format!("Bearer canary-{name}")));
        if mine {
            assert!(right, "{entry:?}");
            own += 1;
        }
        assert!(mine || text.is_empty() || !right, "{entry:?}");
    }
    own
}

/// A-20, T-04: two callers at once, of both eras and over every transport: each server is shown the credential of who calls in
/// that caller's own sessions and connections, and nobody is told any.
#[tokio::test]
async fn each_callers_own_credential_goes_with_that_callers_calls_alone() {
    let house = House::open().await;
    let (a, b) = (house.caller("a").await, house.caller("b").await);
    for service in SERVICES {
        let wish = json!({ "header": "Authorization", "value": "Bearer canary-a" });
        let (status, set) = house.set(&a.http, service, true, &wish).await;
        assert_eq!((status, &set["subject"]), (201, &json!(a.subject)), "{set}");
        let wish = json!({ "header": "Authorization", "value": "Bearer canary-b", "subject": b.subject });
        let (status, answer) = house.set(&a.http, service, false, &wish).await;
        assert_eq!(status, 403, "another's is for administrators: {answer}");
        let (status, set) = house.set(&house.admin, service, false, &wish).await;
        assert_eq!((status, &set["subject"]), (201, &json!(b.subject)), "{set}");
    }
    let both = [(&a, "a"), (&a, "a"), (&b, "b"), (&b, "b")];
    let refused = join_all(both.map(|(caller, name)| calls(&caller.http, name, 10))).await;
    assert_eq!(refused.concat(), Vec::<Value>::new());
    assert_eq!((judge(&house, "a"), judge(&house, "b")), (120, 120));
    let mut owners = std::collections::HashMap::new();
    for entry in house.ledgers().iter().flat_map(|ledger| ledger.of("tools/call")) {
        let shown = entry.headers.get("authorization").cloned();
        if let Some(session) = entry.session {
            assert_eq!(owners.entry(session).or_insert_with(|| shown.clone()), &shown);
        }
    }
    let (_, audit) = house.admin.get("/api/v1/audit?limit=200").await.expect("an answer");
    let (_, all) = house.admin.get(&credentials(&house.id("legacy").await, false)).await.expect("an answer");
    let (_, own) = a.http.get(&credentials(&house.id("legacy").await, true)).await.expect("an answer");
    assert_eq!(all["credentials"].as_array().map(Vec::len), Some(2), "{all}");
    assert_eq!(own["credentials"].as_array().map(Vec::len), Some(1), "{own}");
    let set = |row: &&Value| row["action"] == "credential.set" && row["outcome"] == "ok";
    let rows = audit["rows"].as_array().expect("rows").iter().filter(set).count();
    assert_eq!(rows, 6, "{audit}");
    let said = [audit.to_string(), all.to_string(), own.to_string(), house.gateway.output()].concat();
    assert!(!said.contains("canary"), "{said}");
}

/// who has no credential of its own for such a server is told so, and what to do; nothing of the call leaves the gateway,
/// also when the credential is taken away under way.
#[tokio::test]
async fn who_has_no_credential_is_told_how_to_set_one_and_reaches_nobody() {
    let house = House::open().await;
    let (a, b) = (house.caller("a").await, house.caller("b").await);
    // What the gateway itself is let in by is nobody's way in.
    for service in SERVICES {
        let wish = json!({ "header": "Authorization", "value": "Bearer canary-gateway" });
        assert_eq!(house.set(&house.admin, service, false, &wish).await.0, 201);
        let wish = json!({ "header": "Authorization", "value": "Bearer canary-a" });
        assert_eq!(house.set(&a.http, service, true, &wish).await.0, 201);
    }
    let refused = calls(&b.http, "b", 1).await;
    assert_eq!(refused.len(), 6, "{refused:?}");
    for answer in refused {
        assert_eq!(answer["error"]["data"]["kind"], "permission_denied", "{answer}");
        assert!(answer["error"]["message"].as_str().is_some_and(|text| text.contains("/credentials/own")));
    }
    assert_eq!((calls(&a.http, "a", 1).await, judge(&house, "b")), (Vec::new(), 0));
    let client = Client::connect_with(&a.http, "/mcp/legacy", json!({})).await.expect("a session");
    assert!(client.call("echo", json!({ "text": "a" })).await.expect("an answer").is_result());
    let path = format!("{}?header=authorization", credentials(&house.id("legacy").await, true));
    assert_eq!(a.http.json(Method::DELETE, &path, None).await.expect("an answer").0, 204);
    let before = judge(&house, "a");
    let answer = client.call("echo", json!({ "text": "a" })).await.expect("an answer");
    assert_eq!(
        (answer.response["error"]["data"]["kind"].as_str(), judge(&house, "a")),
        (Some("permission_denied"), before)
    );
}

/// The commands do what the routes do: a value goes in by standard input, and none comes out.
#[tokio::test]
async fn credentials_are_set_listed_and_removed_by_command() {
    let house = House::open().await;
    let a = house.caller("a").await;
    let run = |key: &str, args: &[&str], input: &str| {
        let mut command = Command::new(binary());
        command.arg("credentials").args(args).arg("--data-dir").arg(house.folder.path().join("data"));
        command.env("MREG_URL", format!("http://{}", house.gateway.address())).env("MREG_KEY", key);
        let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = streams.spawn().expect("mcp-gateway runs");
        // A command that refuses does not read.
        let _ = child.stdin.take().expect("its input").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("its end");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!said.contains("canary"), "{said}");
        (output.status.success(), said)
    };
    let (done, said) = run(&a.key, &["set", "legacy", "Authorization", "--own"], "Bearer canary-a\n");
    assert!(done, "{said}");
    let (done, said) = run(&a.key, &["list", "legacy", "--own", "--json"], "");
    let listed: Value = serde_json::from_str(&said).expect("JSON");
    assert!(done && listed["credentials"][0]["subject"] == a.subject.as_str(), "{said}");
    let client = Client::connect_with(&a.http, "/mcp/legacy", json!({})).await.expect("a session");
    assert!(client.call("echo", json!({ "text": "a" })).await.expect("an answer").is_result());
    assert_eq!(judge(&house, "a"), 1);
    let (done, said) =
        run(&a.key, &["set", "legacy", "Authorization", "--for", "key:other"], "Bearer canary-x");
    assert!(!done && said.contains("administrator"), "{said}");
    let (done, said) = run(&a.key, &["remove", "legacy", "Authorization", "--own"], "");
    assert!(done, "{said}");
    let (done, said) = run(&a.key, &["list", "legacy", "--own"], "");
    assert!(done && said.contains("nothing is set"), "{said}");
}
