//! The streams that callers hold open: their number, and the events that end them.

use std::time::Duration;

use super::access::{guarded, local};
use super::*;
use crate::gateway::{Caller, TenantPatch};
use crate::model::{Role, TenantId};

/// A caller of the tenant `t`, and its key.
async fn tenant_key(api: &Api, name: &str) -> (String, String) {
    let maker = Principal::new("t".parse().unwrap(), "user:a", Role::Admin);
    let made = api.key_of(&maker, json!({ "name": name, "role": "admin" })).await;
    (made["id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned())
}

/// A request with a key.
async fn open(api: &Api, path: &str, key: &str, session: &str, body: Option<&Value>) -> http::Response<Body> {
    let mut request = Request::builder()
        .uri(path)
        .method(if body.is_some() { "POST" } else { "GET" })
        .header("host", "localhost")
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .extension(peer(Ipv4Addr::LOCALHOST));
    if body.is_some() {
        request =
            request.header("mcp-protocol-version", "2026-07-28").header("mcp-method", "subscriptions/listen");
    } else if !session.is_empty() {
        request = request.header("mcp-session-id", session);
    }
    let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    api.0.clone().oneshot(request.body(Full::new(body)).unwrap()).await.unwrap()
}

/// Everything that a key can hold open: the streams of a session, of the old transport, of events, and a subscription.
async fn open_all(api: &Api, key: &str) -> Vec<http::Response<Body>> {
    let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "0" } } });
    let opened = api.with_key("POST", "/mcp", key, &hello).await;
    assert_eq!(opened.status, 200, "{}", opened.json);
    let session = opened.headers["mcp-session-id"].to_str().unwrap().to_owned();
    let listen = json!({ "jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": {
        "notifications": { "toolsListChanged": true }, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {} } } });
    let streams = vec![
        open(api, "/mcp", key, &session, None).await,
        open(api, "/sse", key, "", None).await,
        open(api, "/api/v1/events", key, "", None).await,
        open(api, "/mcp", key, "", Some(&listen)).await,
    ];
    for stream in &streams {
        assert_eq!(
            (stream.status().as_u16(), &stream.headers()["content-type"]),
            (200, &"text/event-stream".parse().unwrap())
        );
    }
    streams
}

/// Reads every stream to its end, which comes before anything else happens.
async fn ended(streams: Vec<http::Response<Body>>) {
    for (n, stream) in streams.into_iter().enumerate() {
        let read = tokio::time::timeout(Duration::from_millis(300), stream.into_body().collect()).await;
        assert!(read.is_ok(), "stream {n} goes on");
    }
}

/// everything that is held open ends at once when its tenant is disabled, when its key is revoked, and when its key ends.
#[tokio::test(start_paused = true)]
async fn what_is_held_open_ends_with_the_rights_of_its_caller() {
    let (api, _, admin) = guarded(|_| ()).await;
    let gateway = api.0.place.shared.gateway.clone();
    let tenant: TenantId = "t".parse().unwrap();
    gateway.create_tenant(&Caller::new(local()), tenant.clone(), None).await.unwrap();
    let (id, key) = tenant_key(&api, "one").await;
    let (_, other) = tenant_key(&api, "other").await;

    let streams = open_all(&api, &key).await;
    let untouched = open_all(&api, &other).await;
    assert_eq!(
        api.with_key("DELETE", &format!("/api/v1/api-keys/{id}"), &other, &json!({})).await.status,
        204
    );
    ended(streams).await;

    let operators = open(&api, "/api/v1/events", &admin, "", None).await;
    let patch = TenantPatch { enabled: Some(false), ..TenantPatch::default() };
    gateway.update_tenant(&Caller::new(local()), &tenant, patch).await.unwrap();
    ended(untouched).await;
    assert_eq!(api.with_key("GET", "/api/v1/events", &other, &json!({})).await.status, 403);
    let goes_on = tokio::time::timeout(Duration::from_secs(1), operators.into_body().collect()).await;
    assert!(goes_on.is_err(), "another tenant's stream goes on");
}

/// one caller's streams of all kinds are bounded together, and others have theirs.
#[tokio::test]
async fn one_caller_cannot_take_all_the_streams() {
    let (api, _, admin) = guarded(|_| ()).await;
    let (_, key) = tenant_key(&api, "one").await;
    let (_, other) = tenant_key(&api, "other").await;
    let mut streams = open_all(&api, &key).await;
    while streams.len() < 100 {
        streams.push(open(&api, "/api/v1/events", &key, "", None).await);
    }
    assert!(streams.iter().all(|stream| stream.status() == 200));
    for path in ["/api/v1/events", "/sse"] {
        let refused = api.with_key("GET", path, &key, &json!({})).await;
        assert_eq!(
            (refused.status.as_u16(), refused.headers.contains_key("retry-after")),
            (429, true),
            "{path}"
        );
        assert!(refused.json.to_string().contains("limits.streams_per_principal"), "{}", refused.json);
        for key in [&other, &admin] {
            assert_eq!(open(&api, path, key, "", None).await.status(), 200);
        }
    }
    streams.pop();
    assert_eq!(open(&api, "/api/v1/events", &key, "", None).await.status(), 200);
}
