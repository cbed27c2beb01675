//! Access control at every entry point of the HTTP surface.

use http::header::WWW_AUTHENTICATE;

use super::*;
use crate::auth::Auth;
use crate::gateway::{self, Caller};
use crate::model::TenantId;
use crate::store::Store as _;

/// A gateway that takes API keys, and its administrator's key.
pub(super) async fn guarded(more: impl FnOnce(&mut Auth)) -> (Api, Arc<MemoryStore>, String) {
    let clock: Arc<dyn Clock> = ManualClock::shared();
    let store = Arc::new(MemoryStore::new());
    let mut settings = gateway::Settings::default();
    settings.auth.api_keys = true;
    more(&mut settings.auth);
    let gateway = Gateway::open(settings, store.clone(), Arc::clone(&clock)).await.unwrap();
    let server =
        config::Server { max_body_bytes: 4096, sse: true, legacy: true, ..config::Server::default() };
    let api = Api(service(gateway, server, clock));
    let key = api.key_of(&local(), json!({ "name": "admin", "role": "admin" })).await["key"].clone();
    (api, store, key.as_str().unwrap().to_owned())
}

pub(super) fn local() -> Principal {
    Principal::local(TenantId::default_tenant())
}

impl Api {
    /// Makes a key as `maker`.
    pub(super) async fn key_of(&self, maker: &Principal, wish: Value) -> Value {
        let request = Request::builder()
            .method("POST")
            .uri("/api/v1/api-keys")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .extension(peer(Ipv4Addr::LOCALHOST))
            .extension(ActingAs(maker.clone()))
            .body(Full::new(Bytes::from(wish.to_string())))
            .unwrap();
        let body = self.0.clone().oneshot(request).await.unwrap().into_body().collect().await.unwrap();
        serde_json::from_slice(&body.to_bytes()).unwrap()
    }

    pub(super) async fn with_key(&self, method: &str, path: &str, key: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {key}");
        let headers =
            [("host", "localhost"), ("content-type", "application/json"), ("authorization", bearer.as_str())];
        self.raw(method, path, &headers, &body.to_string()).await
    }
}

fn challenge(answer: &Answer) -> &str {
    answer.headers.get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// without a credential every route and method but the public ones is 401, with a challenge that points to metadata which
/// is served and says the same resource.
#[tokio::test]
async fn without_a_credential_nothing_but_the_public_routes_answers() {
    let (api, _, _) = guarded(|_| ()).await;
    let document = serde_json::to_value(document()).unwrap();
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let concrete = path
            .replace("{service}", "calc")
            .replace("{id}", "5f0c6a52-7a0e-4d55-9f6a-0c8b7d2b4a11")
            .replace("{issuer}", "x");
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            let known = item.get(method.to_lowercase()).is_some();
            let answer = api.raw(method, &concrete, &[("host", "localhost")], "").await;
            if challenge::is_public(&concrete) {
                assert_ne!(answer.status, 401, "{method} {path}");
                continue;
            }
            assert_eq!(answer.status, 401, "{method} {path} {known}");
            let challenge = challenge(&answer).to_owned();
            let resource =
                if concrete.starts_with("/mcp") && !concrete.contains("/proxy") { &*concrete } else { "" };
            let resource = if ["/mcp/tools", "/mcp/resources"].contains(&resource) { "" } else { resource };
            let url = format!("http://localhost/.well-known/oauth-protected-resource{resource}");
            assert!(
                challenge.contains(&format!("resource_metadata=\"{url}\"")),
                "{method} {path}: {challenge}"
            );
            assert!(challenge.starts_with("Bearer ") && challenge.contains("scope=\""), "{challenge}");
            asked += 1;
        }
    }
    assert!(asked > 100, "{asked}");
    let metadata = api.get("/.well-known/oauth-protected-resource/mcp/calc").await;
    assert_eq!(
        (metadata.status.as_u16(), &metadata.json["resource"]),
        (200, &json!("http://localhost/mcp/calc"))
    );
    assert_eq!(metadata.json["bearer_methods_supported"], json!(["header"]));
}

/// a text that looks like a credential and is none is 401 on every kind of route, whatever it looks like.
#[tokio::test]
async fn what_is_no_credential_makes_nobody_of_anybody() {
    let (api, _, key) = guarded(|auth| auth.anonymous = true).await;
    let unknown = format!("Bearer mcp_{}", "a".repeat(60));
    let twice = format!("Bearer {key}");
    let wrong: [&[&str]; 8] = [
        &["Bearer sk-abc"],
        &["Bearer "],
        &[""],
        &["Basic YTpi"],
        &[&unknown],
        &[&twice, &twice],
        &["Bearer a.b.c"],
        &[&twice[..60]],
    ];
    for (number, given) in wrong.iter().enumerate() {
        for (method, path) in [("GET", "/api/v1/servers"), ("POST", "/mcp"), ("GET", "/mcp"), ("GET", "/sse")]
        {
            let mut headers = vec![("host", "localhost")];
            headers.extend(given.iter().map(|value| ("authorization", *value)));
            let answer = api.raw(method, path, &headers, "").await;
            assert_eq!(answer.status, 401, "{number} {method} {path}");
            assert!(challenge(&answer).contains("error=\"invalid_token\""), "{number}");
        }
    }
    assert_eq!(api.with_key("GET", "/api/v1/servers", &key, &json!({})).await.status, 200);
}

#[tokio::test]
async fn anonymous_callers_are_guests_where_that_is_configured_and_local_ones_administrators() {
    let (api, _, _) = guarded(|auth| auth.anonymous = true).await;
    assert_eq!(api.get("/docs").await.status, 200);
    assert_eq!(api.get("/api/v1/servers").await.status, 403);
    let (api, _, _) = guarded(|auth| auth.trust_loopback = true).await;
    assert_eq!(api.get("/api/v1/api-keys").await.status, 200);
}

#[tokio::test]
async fn probes_are_open_to_everybody() {
    let (api, _, _) = guarded(|_| ()).await;
    for path in ["/health", "/ready", "/startup"] {
        let answer =
            api.raw("GET", path, &[("host", "localhost"), ("authorization", "Bearer wrong")], "").await;
        assert_eq!(answer.status, 200, "{path}");
    }
}

/// a key in the query, in a cookie, or as a password is no credential.
#[tokio::test]
async fn a_key_counts_nowhere_but_in_its_header() {
    let (api, _, key) = guarded(|_| ()).await;
    for parameter in ["access_token", "token", "key", "api_key"] {
        let path = format!("/api/v1/servers?{parameter}={key}");
        assert_eq!(api.get(&path).await.status, 401, "{parameter}");
        assert_eq!(api.with_key("GET", &path, &key, &json!({})).await.status, 400, "{parameter}");
        assert_eq!(api.get(&format!("/mcp?{parameter}={key}")).await.status, 401);
    }
    for (name, value) in [
        ("cookie", format!("token={key}")),
        ("x-api-key", key.clone()),
        ("proxy-authorization", format!("Bearer {key}")),
    ] {
        let answer = api.raw("GET", "/api/v1/servers", &[("host", "localhost"), (name, &value)], "").await;
        assert_eq!(answer.status, 401, "{name}");
    }
}

/// the key stands in the answer that made it and in no later one.
#[tokio::test]
async fn a_key_is_shown_once() {
    let (api, store, admin) = guarded(|_| ()).await;
    let made =
        api.with_key("POST", "/api/v1/api-keys", &admin, &json!({ "name": "ci", "role": "viewer" })).await;
    assert_eq!(made.status, 201);
    let key = made.json["key"].as_str().unwrap().to_owned();
    let id = made.json["id"].as_str().unwrap().to_owned();
    assert_eq!((key.len(), &made.json["hint"]), (64, &json!(key[60..])));
    let one = format!("/api/v1/api-keys/{id}");
    let mut said = String::new();
    for path in ["/api/v1/api-keys", one.as_str(), "/api/v1/admin/stats"] {
        let answer = api.with_key("GET", path, &admin, &json!({})).await;
        assert_eq!(answer.status, 200, "{path}");
        said += &answer.json.to_string();
    }
    said += &api.with_key("GET", "/api/v1/servers/x", &key, &json!({})).await.json.to_string();
    let trail = store.audit(&TenantId::default_tenant(), 100).await.unwrap();
    said += &serde_json::to_string(&trail).unwrap();
    assert!(!said.contains(&key[4..60]) && !said.contains(&admin[4..60]), "{said}");
}

/// members that are not the caller's to set are refused, and so is a role above the caller's own.
#[tokio::test]
async fn nobody_makes_themselves_more_than_they_are() {
    let (api, _, admin) = guarded(|_| ()).await;
    let manager = Principal::new(TenantId::default_tenant(), "user:m", crate::model::Role::Manager);
    let manager = api.key_of(&manager, json!({ "name": "m", "role": "manager" })).await["key"].clone();
    let manager = manager.as_str().unwrap();
    for (key, wish, status) in [
        (manager, json!({ "name": "a", "role": "admin" }), 403),
        (manager, json!({ "name": "a", "role": "manager" }), 201),
        (&*admin, json!({ "name": "a", "tenant_id": "other" }), 400),
        (&*admin, json!({ "name": "a", "id": "x" }), 400),
        (&*admin, json!({ "name": "a", "key_hash": "x" }), 400),
        (&*admin, json!({ "name": "a", "role": "root" }), 400),
        (&*admin, json!({ "name": "" }), 400),
        (&*admin, json!({ "name": "a", "scopes": ["everything"] }), 400),
        (&*admin, json!({ "name": "a", "expires_in_days": 0 }), 400),
    ] {
        let answer = api.with_key("POST", "/api/v1/api-keys", key, &wish).await;
        assert_eq!(answer.status, status, "{wish}: {}", answer.json);
    }
    let viewer = api.key_of(&local(), json!({ "name": "v" })).await["key"].as_str().unwrap().to_owned();
    assert_eq!(api.with_key("GET", "/api/v1/api-keys", &viewer, &json!({})).await.status, 403);
    let minted =
        api.with_key("POST", "/api/v1/api-keys", &viewer, &json!({ "name": "a", "role": "guest" })).await;
    assert_eq!(minted.status, 403);
}

#[tokio::test]
async fn a_key_without_the_scope_is_told_all_that_are_needed() {
    let (api, _, _) = guarded(|_| ()).await;
    let narrow = json!({ "name": "n", "role": "admin", "scopes": ["mcp:read"] });
    let narrow = api.key_of(&local(), narrow).await["key"].as_str().unwrap().to_owned();
    let answer = api.with_key("POST", "/api/v1/api-keys", &narrow, &json!({ "name": "a" })).await;
    assert_eq!(answer.status, 403);
    let challenge = challenge(&answer);
    assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
    assert!(challenge.contains("scope=\"keys:write\""), "{challenge}");
    assert!(challenge.contains("resource_metadata=\""), "{challenge}");
}

/// an address that guesses is answered with 429 before anything is computed, its guesses are a handful of audit rows, and
/// keys that held go on from the same address.
#[tokio::test]
async fn whoever_guesses_is_not_listened_to_and_others_are() {
    let (api, store, key) = guarded(|_| ()).await;
    assert_eq!(api.with_key("GET", "/ready", &key, &json!({})).await.status, 200);
    assert_eq!(api.with_key("GET", "/api/v1/servers", &key, &json!({})).await.status, 200);
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    for n in 0..500 {
        let answer = api.with_key("GET", "/api/v1/servers", &format!("mcp_{n:060}"), &json!({})).await;
        *statuses.entry(answer.status.as_u16()).or_default() += 1;
        if answer.status == 429 {
            assert!(answer.headers.contains_key("retry-after"));
        }
    }
    assert!(statuses[&401] <= 60 && statuses[&429] >= 440, "{statuses:?}");
    assert_eq!(api.with_key("GET", "/api/v1/servers", &key, &json!({})).await.status, 200);
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    let rows = store.audit(&TenantId::default_tenant(), 1000).await.unwrap();
    let attempts = rows.iter().filter(|row| row.action == "auth.fail").count();
    assert!((1..=4).contains(&attempts), "{attempts}");
}

/// revoking a key ends the stream that it holds open, its session, and its place at every entry point.
#[tokio::test(start_paused = true)]
async fn a_revoked_key_loses_what_it_has_open() {
    let (api, _, admin) = guarded(|_| ()).await;
    let made = api.key_of(&local(), json!({ "name": "ci", "role": "developer" })).await;
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let bearer = format!("Bearer {key}");
    let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "0" } } });
    let opened = api.with_key("POST", "/mcp", key, &hello).await;
    assert_eq!(opened.status, 200, "{}", opened.json);
    let session = opened.headers["mcp-session-id"].to_str().unwrap().to_owned();
    let open = |path: &str| {
        let request = Request::builder()
            .uri(path)
            .header("host", "localhost")
            .header("authorization", &bearer)
            .header("accept", "text/event-stream")
            .header("mcp-session-id", &session)
            .extension(peer(Ipv4Addr::LOCALHOST))
            .body(Full::new(Bytes::new()))
            .unwrap();
        api.0.clone().oneshot(request)
    };
    let streams = [open("/mcp").await.unwrap(), open("/sse").await.unwrap()];
    assert!(streams.iter().all(|stream| stream.status() == 200));
    let revoked = api.with_key("DELETE", &format!("/api/v1/api-keys/{id}"), &admin, &json!({})).await;
    assert_eq!(revoked.status, 204);
    assert_eq!(api.with_key("POST", "/mcp", key, &hello).await.status, 401);
    for stream in streams {
        let ended =
            tokio::time::timeout(std::time::Duration::from_secs(1), stream.into_body().collect()).await;
        assert!(ended.is_ok(), "the stream ends within a second");
    }
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let caller = Caller::new(local());
    assert_eq!(api.0.place.shared.gateway.stats(&caller).unwrap().sessions, 0);
}

/// a WebSocket handshake is judged like any other request, before it is answered with 101.
#[tokio::test]
async fn a_handshake_for_a_websocket_needs_a_credential_in_its_header() {
    let (api, _, key) = guarded(|_| ()).await;
    let protocol = format!("mcp, bearer.{key}");
    let shake = [
        ("host", "localhost"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", protocol.as_str()),
    ];
    let by_url = format!("/api/v1/events?access_token={key}");
    for path in ["/api/v1/events", by_url.as_str(), "/mcp"] {
        assert_eq!(api.raw("GET", path, &shake, "").await.status, 401, "{path}");
    }
    let bearer = format!("Bearer {key}");
    let foreign =
        [&shake[..], &[("origin", "https://evil.example"), ("authorization", bearer.as_str())]].concat();
    assert_eq!(api.raw("GET", "/api/v1/events", &foreign, "").await.status, 403);
}
