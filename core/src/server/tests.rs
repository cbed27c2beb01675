mod access;
mod held_open;
mod audit;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use super::*;
use crate::clock::ManualClock;
use crate::gateway;
use crate::store::memory::MemoryStore;

mod creation;
mod exposed;
#[cfg(feature = "oauth")]
mod logins;
mod narrowed;
mod registry_v01;
mod roles;
mod tenants;
mod watching;

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    json: Value,
    text: String,
}

struct Api(Service);

impl Api {
    async fn open() -> Self {
        let clock: Arc<dyn Clock> = ManualClock::shared();
        let store = Arc::new(MemoryStore::new());
        let gateway = Gateway::open(gateway::Settings::default(), store, Arc::clone(&clock)).await.unwrap();
        Self(service(gateway, config::Server { max_body_bytes: 4096, ..config::Server::default() }, clock))
    }

    async fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path).extension(peer(Ipv4Addr::LOCALHOST));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let token = self.0.place.shared.gateway.local_token();
        if let (Some(token), false) = (token, headers.iter().any(|(name, _)| *name == "authorization")) {
            request = request.header("authorization", format!("Bearer {}", token.reveal()));
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap();
        let (head, body) = self.0.clone().oneshot(request).await.unwrap().into_parts();
        // A stream of events has no end to wait for.
        let streams = head.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let bytes = if streams { Bytes::new() } else { body.collect().await.unwrap().to_bytes() };
        let json = serde_json::from_slice(&bytes).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer { status: head.status, headers: head.headers, json, text }
    }

    async fn get(&self, path: &str) -> Answer {
        self.raw("GET", path, &[("host", "localhost")], "").await
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let headers = [("host", "localhost"), ("content-type", "application/json")];
        self.raw(method, path, &headers, &body.to_string()).await
    }
}

fn peer(ip: Ipv4Addr) -> Peer {
    Peer(SocketAddr::from((ip, 1)))
}

fn quiet(name: &str) -> Value {
    json!({
        "name": name, "endpoint_url": "http://127.0.0.1:9/mcp", "auto_discover": false,
        "health_check": { "enabled": false }, "tags": ["t"],
        "configuration": { "headers": { "authorization": "secret" } },
        "capabilities": { "tools": [{ "name": "add", "description": "adds", "x": 1.0 }] },
    })
}

#[tokio::test]
async fn a_server_is_registered_listed_changed_and_removed() {
    let api = Api::open().await;
    let made = api.send("POST", "/api/v1/servers", &quiet("a")).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.json);
    assert!(made.headers["etag"].to_str().unwrap().starts_with("\"1-"), "{:?}", made.headers);
    let path = made.headers["location"].to_str().unwrap().to_owned();
    assert_eq!(made.json["capabilities"]["tools"], json!(["add"]));
    assert_eq!(made.json["created_at"], "2026-01-01T00:00:00Z");

    let listed = api.get("/api/v1/servers?include_tools=true&tags=t&search=A").await;
    assert_eq!(
        (&listed.json["total"], &listed.json["page"], &listed.json["limit"]),
        (&json!(1), &json!(1), &json!(50))
    );
    assert_eq!(listed.json["servers"][0]["tools"][0]["x"].to_string(), "1.0");

    let changed = api.send("PUT", &path, &json!({ "description": "new" })).await;
    assert_eq!((changed.status, &changed.json["description"]), (StatusCode::OK, &json!("new")));
    assert_eq!(api.send("POST", "/api/v1/servers", &quiet("a")).await.status, StatusCode::CONFLICT);
    assert_eq!(api.raw("DELETE", &path, &[("host", "localhost")], "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(api.get(&path).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_health_history_is_bounded_and_newest_first() {
    let api = Api::open().await;
    let mut server = quiet("a");
    server["health_check"] = json!({ "enabled": false, "kind": "connect" });
    let made = api.send("POST", "/api/v1/servers", &server).await;
    let path = format!("/api/v1/servers/{}", made.json["id"].as_str().unwrap());
    assert_eq!(api.get(&format!("{path}/health")).await.json["history"], json!([]));

    let checks = ["first", "second", "third"];
    for _ in checks {
        let checked = api.send("POST", &format!("{path}/health-check"), &json!({})).await;
        assert_eq!(checked.status, StatusCode::OK, "{}", checked.json);
    }
    let all = api.get(&format!("{path}/health")).await;
    let history = all.json["history"].as_array().unwrap();
    assert_eq!((&all.json["server_id"], history.len()), (&made.json["id"], checks.len()));
    // The third failure in a row is the one that takes it out; a reader wants to see that one first.
    let status: Vec<_> = history.iter().map(|seen| seen["health_status"].as_str().unwrap()).collect();
    assert_eq!(status, ["unreachable", "degraded", "degraded"], "{history:?}");
    assert!(history[0]["error"].is_string() && history[0]["checked_at"].is_string(), "{history:?}");

    let newest = api.get(&format!("{path}/health?limit=1")).await;
    assert_eq!(newest.json["history"], json!([history[0]]));
    for wrong in ["limit=0", "limit=101", "page=1"] {
        assert_eq!(
            api.get(&format!("{path}/health?{wrong}")).await.status,
            StatusCode::BAD_REQUEST,
            "{wrong}"
        );
    }
    let other = "/api/v1/servers/018f0000-0000-7000-8000-000000000000/health";
    assert_eq!(api.get(other).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn if_match_with_another_revision_is_412_and_changes_nothing() {
    let api = Api::open().await;
    let made = api.send("POST", "/api/v1/servers", &quiet("a")).await;
    let path = format!("/api/v1/servers/{}", made.json["id"].as_str().unwrap());
    let put = async |tag: &str| {
        let headers = [("host", "localhost"), ("content-type", "application/json"), ("if-match", tag)];
        api.raw("PUT", &path, &headers, r#"{"weight":7}"#).await.status
    };
    for stale in ["\"2\"", "W/\"1\"", "1", "", "\"0\", \"9\""] {
        assert_eq!(put(stale).await, StatusCode::PRECONDITION_FAILED, "{stale}");
    }
    assert_eq!(api.get(&path).await.json["weight"], 1);
    assert_eq!(put("\"9\", \"1\"").await, StatusCode::OK);
    assert_eq!(put("\"1\"").await, StatusCode::PRECONDITION_FAILED);
    assert_eq!(put("*").await, StatusCode::OK);
    let delete = [("host", "localhost"), ("if-match", "\"1\"")];
    assert_eq!(api.raw("DELETE", &path, &delete, "").await.status, StatusCode::PRECONDITION_FAILED);
}

#[tokio::test]
async fn secrets_are_never_shown_and_survive_being_sent_back_hidden() {
    let api = Api::open().await;
    let made = api.send("POST", "/api/v1/servers", &quiet("a")).await;
    assert_eq!(made.json["configuration"]["headers"]["authorization"], "***");
    assert!(!made.json.to_string().contains("secret"));
    let id = made.json["id"].as_str().unwrap();
    let path = format!("/api/v1/servers/{id}");
    let mut configuration = made.json["configuration"].clone();
    configuration["trusted"] = true.into();
    let kept = api.send("PUT", &path, &json!({ "configuration": configuration })).await;
    assert_eq!((kept.status, &kept.json["configuration"]["trusted"]), (StatusCode::OK, &json!(true)));
    let caller =
        crate::gateway::Caller::new(crate::model::Principal::local(crate::model::TenantId::default_tenant()));
    let stored = api.0.place.shared.gateway.get(&caller, id.parse().unwrap()).unwrap();
    assert_eq!(stored.configuration.headers["authorization"], "secret");
    let unknown = json!({ "configuration": { "headers": { "x-new": "***" } } });
    let refused = api.send("PUT", &path, &unknown).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(refused.json["error"]["details"]["field"], "configuration.headers.x-new");
}

/// L-13: a page has at most 200 servers; `limit=201` is 400 and names the parameter.
#[tokio::test]
async fn an_error_has_the_envelope_and_the_requests_own_correlation_id() {
    let api = Api::open().await;
    let headers = [("host", "localhost"), ("x-correlation-id", "abc-1")];
    let answer = api.raw("GET", "/api/v1/servers?limit=201", &headers, "").await;
    assert_eq!(
        (answer.status, &answer.headers["x-correlation-id"]),
        (StatusCode::BAD_REQUEST, &"abc-1".parse().unwrap())
    );
    let error = &answer.json["error"];
    assert_eq!(
        (&error["code"], &error["correlation_id"], &error["timestamp"], &error["details"]["parameter"]),
        (&json!("VALIDATION_ERROR"), &json!("abc-1"), &json!("2026-01-01T00:00:00Z"), &json!("limit"))
    );
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.headers["content-type"], "application/json");
}

/// B-27: metacharacters of SQL in filters and ids, bad ids, unknown routes and methods: documented codes, 404 and not 500.
#[tokio::test]
async fn wrong_requests_get_the_documented_codes_and_never_a_fault() {
    let api = Api::open().await;
    let cases = [
        ("GET", "/api/v1/servers?page=0", 400),
        ("GET", "/api/v1/servers?limit=0", 400),
        ("GET", "/api/v1/servers?statu=active", 400),
        ("GET", "/api/v1/servers?status=active'--", 400),
        ("GET", "/api/v1/servers?page=1&page=2", 400),
        ("GET", "/api/v1/servers?page=99999999999", 400),
        ("GET", "/api/v1/servers?search=%27%3B%20DROP%20TABLE%20mcp_servers%3B--&tags=%25,%27", 200),
        ("GET", "/api/v1/servers?search=%FF%00", 200),
        ("GET", "/api/v1/servers?page=4294967295", 200),
        ("GET", "/api/v1/servers/1%27%20OR%201=1", 404),
        ("GET", "/api/v1/servers/%FF", 404),
        ("GET", "/api/v1/servers/00000000-0000-0000-0000-000000000000", 404),
        ("GET", "/api/v1/servers/", 200),
        ("GET", "/api/v1/servers//", 404),
        ("GET", "/nowhere", 404),
        ("GET", "/mcp/a/b", 404),
        ("PATCH", "/api/v1/servers", 405),
        ("OPTIONS", "/api/v1/servers", 405),
        ("TRACE", "/health", 405),
        ("POST", "/api/v1/servers", 415),
        ("GET", "/api/v1/discovery/tools", 400),
        ("GET", "/api/v1/discovery/tools?tools=,", 400),
        ("GET", "/api/v1/discovery/search?q=", 400),
        ("DELETE", "/api/v1/proxy/requests/none", 404),
    ];
    for (method, path, status) in cases {
        let answer = api.raw(method, path, &[("host", "localhost")], "").await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}: {}", answer.json);
        assert!(answer.headers.contains_key("x-correlation-id"), "{method} {path}");
        assert!(status != 405 || answer.headers.contains_key("allow"), "{method} {path} has no Allow");
        assert!(status < 400 || answer.json["error"]["code"].is_string(), "{method} {path}: {}", answer.json);
    }
}

/// A-14: a request that a foreign page can send is refused before its route is known.
#[tokio::test]
async fn what_a_foreign_page_can_send_is_refused_on_every_route() {
    let api = Api::open().await;
    for path in [
        "/mcp",
        "/mcp/a",
        "/mcp/proxy",
        "/mcp/tools",
        "/api/v1/servers",
        "/health",
        "/docs",
        "/openapi.json",
        "/x",
    ] {
        for headers in [
            vec![("host", "evil.com")],
            vec![("host", "localhost.evil.com")],
            vec![],
            vec![("host", "localhost"), ("origin", "null")],
            vec![("host", "localhost"), ("origin", "http://evil.com")],
        ] {
            for method in ["GET", "POST"] {
                let answer = api.raw(method, path, &headers, "{}").await;
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path} {headers:?}");
                assert!(!answer.headers.contains_key("access-control-allow-origin"));
            }
        }
    }
    let simple = [("host", "localhost"), ("content-type", "text/plain")];
    assert_eq!(
        api.raw("POST", "/api/v1/servers", &simple, "{}").await.status,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
}

/// B-01: a body over the limit is refused, whether it says so or not.
#[tokio::test]
async fn a_body_over_the_limit_is_413_whether_it_says_so_or_not() {
    let api = Api::open().await;
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(5000));
    let headers = [("host", "localhost"), ("content-type", "application/json")];
    let announced = [("host", "localhost"), ("content-type", "application/json"), ("content-length", "5011")];
    for headers in [&headers[..], &announced[..]] {
        let answer = api.raw("POST", "/api/v1/servers", headers, &long).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(answer.json["error"]["details"]["limit_bytes"], "4096");
    }
}

#[tokio::test]
async fn a_request_from_nowhere_or_from_elsewhere_is_nobodys() {
    let api = Api::open().await;
    let elsewhere = Some(peer(Ipv4Addr::new(10, 0, 0, 1)));
    for peer in [None, elsewhere] {
        let mut request = Request::builder()
            .uri("/api/v1/servers")
            .header("host", "localhost")
            .body(Body::empty())
            .unwrap();
        peer.map(|peer| request.extensions_mut().insert(peer));
        assert_eq!(api.0.clone().oneshot(request).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn discovery_answers_in_the_documented_shape() {
    let api = Api::open().await;
    let made = api.send("POST", "/api/v1/servers", &quiet("a")).await;
    let found = api.get("/api/v1/discovery/tools?tools=add").await.json;
    let id = &made.json["id"];
    let expected = json!({ "tools": ["add"], "servers": [{
        "id": id, "name": "a", "service": "a", "endpoint_url": "http://127.0.0.1:9/mcp", "health_status": "unknown",
        "tools": [{ "name": "add", "description": "adds" }],
    }] });
    assert_eq!(found, expected);
    assert_eq!(api.get("/api/v1/discovery/tools?tools=add,none").await.json["servers"], json!([]));
    assert_eq!(api.get("/mcp/tools").await.json["tools"][0]["name"], "a__add");
    let page = api.get("/mcp/tools?limit=1&page=2").await.json;
    assert_eq!((&page["page"], &page["limit"]), (&json!(2), &json!(1)));
    assert!(
        page["tools"].as_array().is_some_and(|tools| tools.len() <= 1) && page["total"].is_u64(),
        "{page}"
    );
    assert_eq!(api.get("/mcp/tools?limit=201").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(api.get("/mcp/resources").await.json["resources"], json!([]));
    assert_eq!(api.get("/api/v1/discovery/search?q=add").await.json["results"][0]["name"], "add");
}

#[tokio::test]
async fn operation_answers_in_the_documented_shapes() {
    let api = Api::open().await;
    api.send("POST", "/api/v1/servers", &quiet("a")).await;
    let health = api.get("/health").await;
    assert_eq!(
        (health.status, &health.json["status"]),
        (StatusCode::OK, &json!("healthy")),
        "{}",
        health.json
    );
    for part in ["database", "registry", "router"] {
        assert_eq!(health.json["components"][part]["status"], "healthy");
    }
    assert_eq!(api.get("/ready").await.json, json!({ "ready": true }));
    assert_eq!(api.get("/startup").await.json, json!({ "started": true, "awaited_servers": 0 }));
    let stats = api.get("/api/v1/admin/stats").await.json;
    assert_eq!((&stats["total_servers"], &stats["servers_by_transport"]["http"]), (&json!(1), &json!(1)));
    let metrics = api.get("/api/v1/router/metrics").await.json;
    let (_, server) = metrics["metrics"].as_object().unwrap().iter().next().unwrap();
    assert_eq!((&server["server_name"], &server["circuit_breaker_state"]), (&json!("a"), &json!("closed")));
    let scraped = api.get("/metrics").await;
    assert_eq!(
        (scraped.status, &scraped.headers["content-type"]),
        (StatusCode::OK, &"text/plain; version=0.0.4; charset=utf-8".parse().unwrap())
    );
    let active = api.get("/api/v1/proxy/active-requests").await.json;
    assert_eq!(active, json!({ "active_request_count": 0, "requests": [] }));
    assert!(api.get("/docs").await.headers["content-type"].to_str().unwrap().starts_with("text/html"));
}

#[tokio::test]
async fn every_operation_of_the_document_is_a_route() {
    let api = Api::open().await;
    let document = api.get("/openapi.json").await.json;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let concrete = path.replace("{id}", "x").replace("{service}", "x").replace("{asset}", "x");
            let answer = api.raw(&method.to_uppercase(), &concrete, &[("host", "localhost")], "").await;
            let place = format!("{method} {path}: {} {}", answer.status, answer.json);
            assert_ne!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{place}");
            assert!(!answer.json.to_string().contains("no such route"), "{place}");
            let said = operation["responses"].as_object().unwrap();
            assert!(said.contains_key(answer.status.as_str()), "{place} is not documented");
        }
    }
}

#[test]
fn every_reference_of_the_document_leads_somewhere_and_every_operation_is_described() {
    let document = serde_json::to_value(document()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut references = BTreeSet::new();
    collect(&document, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let place = format!("{method} {path}");
            assert!(operation["summary"].is_string() && operation["tags"][0].is_string(), "{place}");
            for name in path.split(['{', '}']).skip(1).step_by(2) {
                let named = |p: &Value| p["name"] == name && p["in"] == "path" && p["required"] == true;
                assert!(
                    operation["parameters"].as_array().is_some_and(|all| all.iter().any(named)),
                    "{place}: {name}"
                );
            }
        }
    }
}

/// B-27: the words that the document has are those that requests and answers have.
#[test]
fn every_enumeration_of_the_document_has_the_words_that_are_spoken() {
    let document = serde_json::to_value(document()).unwrap();
    let said = |name: &str| document["components"]["schemas"][name]["enum"].clone();
    for (name, words) in [
        ("Status", json!(crate::model::Status::ALL)),
        ("HealthStatus", json!(crate::model::HealthStatus::ALL)),
        ("TransportType", json!(crate::model::TransportType::ALL)),
        ("Algorithm", json!(crate::model::Algorithm::ALL)),
        ("EraWish", json!(crate::model::EraWish::ALL)),
    ] {
        assert_eq!(said(name), words, "{name}");
    }
}

fn collect(value: &Value, references: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            references.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| collect(member, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}

/// Requests that nobody sane sends: every operation with arbitrary parameters, ids and bodies.
mod arbitrary {
    use proptest::prelude::*;

    use super::*;

    fn hostile() -> impl Strategy<Value = String> {
        let known = [
            "",
            "'; DROP TABLE mcp_servers;--",
            "%",
            "_",
            "\0",
            "../..",
            "true",
            "-1",
            "1e9",
            "a__b",
            "*",
            "🦀",
            "\u{202e}",
        ];
        prop_oneof![proptest::sample::select(known.to_vec()).prop_map(str::to_owned), ".{0,40}"]
    }

    fn body() -> impl Strategy<Value = String> {
        let member = prop_oneof![
            Just("name"),
            Just("endpoint_url"),
            Just("command"),
            Just("args"),
            Just("tags"),
            Just("weight"),
            Just("service"),
            Just("health_check"),
            Just("configuration"),
            Just("capabilities"),
            Just("status"),
            Just("x"),
        ];
        let value = prop_oneof![
            hostile().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            Just(json!(null)),
            Just(json!([1, "a"])),
            Just(json!({ "tools": [{ "name": "t" }], "interval_seconds": -1 })),
        ];
        let object = proptest::collection::vec((member, value), 0..4);
        prop_oneof![
            object.prop_map(|members| members
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect::<Value>()
                .to_string()),
            hostile(),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        /// B-27: every operation with generated inputs: no 5xx, and no status that the document does not have.
        #[test]
        fn no_request_makes_a_fault_and_every_status_is_documented(
            pick in any::<prop::sample::Index>(), id in hostile(), real in any::<bool>(),
            name in hostile(), value in hostile(), body in body(), tag in "[ -~]{0,12}",
        ) {
            let document = serde_json::to_value(document()).unwrap();
            let paths = document["paths"].as_object().unwrap();
            let operations: Vec<_> = paths
                .iter()
                .filter(|(path, _)| path.starts_with("/api/") || path.starts_with("/mcp/tools"))
                .flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |(method, said)| (path, method, said)))
                .collect();
            let (path, method, said) = pick.get(&operations);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let api = Api::open().await;
                let made = api.send("POST", "/api/v1/servers", &quiet("a")).await;
                let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let id = if real { made.json["id"].as_str().unwrap().to_owned() } else { encode(&id).replace('+', "%20") };
                let named: Vec<&str> = said["parameters"].as_array().into_iter().flatten()
                    .filter(|p| p["in"] == "query").filter_map(|p| p["name"].as_str()).collect();
                let key = named.get(name.len() % (named.len() + 1)).map_or_else(|| encode(&name), |name| (*name).to_owned());
                let target = format!("{}?{key}={}", path.replace("{id}", &id), encode(&value));
                let headers = [("host", "localhost"), ("content-type", "application/json"), ("if-match", tag.as_str())];
                let headers = if tag.len() % 2 == 0 { &headers[..2] } else { &headers[..] };
                let answer = api.raw(&method.to_uppercase(), &target, headers, &body).await;
                let status = answer.status;
                assert!(status.as_u16() < 500, "{method} {target} {body}: {status} {}", answer.json);
                // An empty or dotted id makes another path, which may be no route at all.
                let routed = status != StatusCode::NOT_FOUND && status != StatusCode::METHOD_NOT_ALLOWED;
                let documented = said["responses"].as_object().unwrap().contains_key(status.as_str());
                assert!(documented || !routed, "{method} {target}: {status} is not documented");
            });
        }
    }
}

/// The page's script is found under the name that the page says, may be kept for ever, and is what a browser can unpack.
#[tokio::test]
async fn the_page_of_the_reference_finds_its_script() {
    let api = Api::open().await;
    let request =
        Request::builder().uri("/docs").header("host", "localhost").extension(peer(Ipv4Addr::LOCALHOST));
    let response = api.0.clone().oneshot(request.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
    let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
    let page = String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let script = page.split("src=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let loaded = api.get(&format!("/{script}")).await;
    assert_eq!(
        (loaded.status, &loaded.headers["content-encoding"]),
        (StatusCode::OK, &"gzip".parse().unwrap())
    );
    assert!(loaded.headers["cache-control"].to_str().unwrap().contains("immutable"));
    let nonce = page.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    assert!(policy.contains(&format!("script-src 'nonce-{nonce}'")), "{policy}");
    assert_eq!(api.get("/docs/scalar-old.js").await.status, StatusCode::NOT_FOUND);
    let document = api.get("/openapi.json").await.json;
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
}
