//! What servers are shown: set over REST, sent to the server, sealed on disk, told to nobody.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use mcp_registry_gateway_tests::fake::Fake;
use mcp_registry_gateway_tests::process::{Gateway, Options};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use crate::quiet;

async fn on(data: &Path) -> Gateway {
    Gateway::start_with(Options { data: Some(data.to_owned()), ..Options::default() }).await
}

/// What the last call of `echo` carried as `X-Api-Key`.
async fn shown(gateway: &Gateway, fake: &Fake) -> Option<String> {
    let client = gateway.client("/mcp/one").await;
    fake.ledger().clear();
    let answer = client.call("echo", json!({ "text": "t" })).await.expect("an answer");
    assert!(answer.is_result(), "{answer:?}");
    fake.ledger().of("tools/call").pop().and_then(|call| call.headers.get("x-api-key").cloned())
}

/// A-20: what is set for a server reaches it with every message, is sealed on disk, and nobody is told it.
#[tokio::test]
async fn a_credential_reaches_its_server_and_nobody_else() {
    let data = tempfile::tempdir().expect("a folder");
    let (mut gateway, fake) = (on(data.path()).await, Fake::start("one").await);
    let id = gateway.register(&quiet("one", &fake.url())).await["id"].as_str().expect("an id").to_owned();
    gateway.offers(&id, "echo").await;
    assert_eq!(shown(&gateway, &fake).await, None);

    let path = format!("/api/v1/servers/{id}/credentials");
    let new = json!({ "header": "X-Api-Key", "value": "canary-1" });
    let (status, set) = gateway.http().json(Method::POST, &path, Some(&new)).await.expect("an answer");
    assert_eq!((status, &set["header"]), (201, &json!("x-api-key")), "{set}");
    assert_eq!(shown(&gateway, &fake).await.as_deref(), Some("canary-1"));
    let new = json!({ "header": "x-api-key", "value": "canary-2" });
    let (status, _) = gateway.http().json(Method::POST, &path, Some(&new)).await.expect("an answer");
    assert_eq!((status, shown(&gateway, &fake).await.as_deref()), (201, Some("canary-2")));

    for path in [&path, "/api/v1/servers", &format!("/api/v1/servers/{id}")] {
        let (status, body) = gateway.http().get(path).await.expect("an answer");
        assert_eq!(status, 200);
        assert!(!body.to_string().contains("canary"), "{path}: {body}");
    }
    let (_, listed) = gateway.http().get(&path).await.expect("an answer");
    assert_eq!(listed["credentials"].as_array().map(Vec::len), Some(1), "{listed}");
    assert!(!gateway.output().contains("canary"));

    gateway.terminate();
    gateway.ended(Duration::from_secs(20)).await;
    for entry in std::fs::read_dir(data.path()).expect("the data").flatten() {
        let bytes = std::fs::read(entry.path()).unwrap_or_default();
        let found = bytes.windows(6).any(|window| window == b"canary");
        assert!(!found, "{}", entry.path().display());
    }
    let gateway = on(data.path()).await;
    assert_eq!(shown(&gateway, &fake).await.as_deref(), Some("canary-2"), "it survives");

    let (status, _) = gateway
        .http()
        .json(Method::DELETE, &format!("{path}?header=X-Api-Key"), None)
        .await
        .expect("an answer");
    assert_eq!((status, shown(&gateway, &fake).await), (204, None));
}

/// A-20: a client's wish to choose the credential is ignored, and stands in the trail once, not for each call.
#[tokio::test]
async fn an_override_is_ignored_and_written_down() {
    let data = tempfile::tempdir().expect("a folder");
    let (mut gateway, fake) = (on(data.path()).await, Fake::start("one").await);
    let id = gateway.register(&quiet("one", &fake.url())).await["id"].as_str().expect("an id").to_owned();
    gateway.offers(&id, "echo").await;
    let client = gateway.client("/mcp/one").await;
    fake.ledger().clear();
    let call =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"t"}}}"#;
    for _ in 0..5 {
        let wish = [("x-upstream-authorization", "Bearer canary")];
        let reply = client.post_bytes(Bytes::from_static(call.as_bytes()), &wish).await.expect("an answer");
        assert_eq!(reply.status, 200);
    }
    let received: Vec<Value> =
        fake.ledger().all().iter().map(|entry| serde_json::to_value(entry).expect("JSON")).collect();
    assert_eq!(fake.ledger().deliveries("t"), 5);
    assert!(received.iter().all(|entry| !entry.to_string().contains("canary")), "{received:?}");

    gateway.terminate();
    gateway.ended(Duration::from_secs(20)).await;
    let options = SqliteConnectOptions::new().filename(data.path().join("gateway.db"));
    let pool = SqlitePool::connect_with(options).await.expect("the database");
    let trail: Vec<(String, String, String)> =
        sqlx::query_as("SELECT action, outcome, detail FROM audit_logs")
            .fetch_all(&pool)
            .await
            .expect("rows");
    let noted: Vec<_> = trail.iter().filter(|(action, ..)| action == "credential.override").collect();
    assert_eq!(noted.len(), 1, "{trail:?}");
    assert_eq!(noted[0].1, "ignored");
    assert!(!format!("{trail:?}").contains("canary"));
}

/// T-14: what a client says of its trace goes to no server, in headers of any name, and is in no other tenant's sight: baggage
/// can hold anything.
#[tokio::test]
async fn what_a_client_says_of_its_trace_reaches_no_server() {
    let (gateway, fake) = (Gateway::start().await, Fake::start("one").await);
    let id = gateway.register(&quiet("one", &fake.url())).await["id"].as_str().expect("an id").to_owned();
    gateway.offers(&id, "echo").await;
    let trace = [
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "canary=1"),
        ("baggage", "user=canary"),
        ("x-b3-traceid", "canary"),
        ("uber-trace-id", "canary"),
    ];
    let client = gateway.client("/mcp/one").await;
    fake.ledger().clear();
    let legacy = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "echo", "arguments": { "text": "t" } } });
    let reply = client.post_bytes(Bytes::from(legacy.to_string()), &trace).await.expect("an answer");
    assert_eq!(reply.status, 200);
    let modern = mcp_registry_gateway_tests::modern::Modern::new(gateway.address(), "/mcp/one");
    let message = modern.message(&json!(2), "tools/call", legacy["params"].clone());
    let reply = modern.post(&message, &trace).await.expect("an answer");
    assert_eq!(reply.status, 200);
    let received = fake.ledger().all();
    assert_eq!(received.iter().filter(|entry| entry.method.as_deref() == Some("tools/call")).count(), 2);
    for entry in received {
        let names: Vec<_> = trace.iter().filter(|(name, _)| entry.headers.contains_key(*name)).collect();
        assert!(names.is_empty(), "{names:?}");
        assert!(!serde_json::to_string(&entry).expect("JSON").contains("canary"), "{entry:?}");
    }
    assert!(!gateway.output().contains("canary"), "nor the log");
}

/// A replica for which the caller has nothing to show takes no attempt from a call: another one may fail, and the next answers.
#[tokio::test]
async fn a_replica_that_the_caller_cannot_use_is_no_attempt() {
    let data = tempfile::tempdir().expect("a folder");
    let gateway = on(data.path()).await;
    let mut fakes = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let fake = Fake::start(name).await;
        let mut server = quiet(name, &fake.url());
        server["service"] = json!("four");
        server["configuration"] = json!({ "credentials": "caller" });
        let id = gateway.register(&server).await["id"].as_str().expect("an id").to_owned();
        gateway.offers(&id, "echo").await;
        if name != "a" {
            let path = format!("/api/v1/servers/{id}/credentials/own");
            let new = json!({ "header": "x-api-key", "value": "mine" });
            let (status, set) =
                gateway.http().json(Method::POST, &path, Some(&new)).await.expect("an answer");
            assert_eq!(status, 201, "{set}");
        }
        fakes.push(fake);
    }
    let client = gateway.client("/mcp/four").await;
    fakes[1].stop().await;
    for n in 0..6 {
        let answer = client.call("echo", json!({ "text": "t" })).await.expect("an answer");
        assert!(answer.is_result(), "call {n}: {answer:?}");
    }
    let calls = fakes.iter().map(|fake| fake.ledger().of("tools/call").len());
    assert_eq!(calls.collect::<Vec<_>>()[..2], [0, 0]);
}
