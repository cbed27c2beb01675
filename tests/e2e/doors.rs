//! What stands in front of every route: hosts, origins, sizes, and what never passes through to a server.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use mcp_registry_gateway_tests::clock::eventually;
use mcp_registry_gateway_tests::fake::Fake;
use mcp_registry_gateway_tests::process::{Gateway, Options};
use serde_json::json;

use crate::one;

const JSON: (&str, &str) = ("content-type", "application/json");

async fn with(env: Vec<(&'static str, String)>) -> Gateway {
    Gateway::start_with(Options { env, ..Options::default() }).await
}

/// Every path that the gateway listens to, of each kind.
const PATHS: [(&str, Method); 15] = [
    ("/mcp", Method::POST),
    ("/mcp", Method::GET),
    ("/mcp/one", Method::POST),
    ("/mcp/proxy", Method::POST),
    ("/legacy/mcp", Method::POST),
    ("/sse", Method::GET),
    ("/messages?session_id=x", Method::POST),
    ("/api/v1/servers", Method::GET),
    ("/api/v1/servers", Method::POST),
    ("/api/v1/router/metrics", Method::GET),
    ("/health", Method::GET),
    ("/ready", Method::GET),
    ("/startup", Method::GET),
    ("/metrics", Method::GET),
    ("/docs", Method::GET),
];

/// A-14: a foreign page reaches nothing, on no listener: not by its origin, not by a name made to point here, not by a form.
#[tokio::test]
async fn a_foreign_page_reaches_nothing() {
    let gateway =
        with(vec![("MREG_SERVER__SSE", "true".into()), ("MREG_SERVER__LEGACY", "true".into())]).await;
    let http = gateway.http();
    for (path, method) in PATHS {
        for foreign in [
            ("origin", "http://evil.com"),
            ("origin", "null"),
            ("origin", "http://localhost.evil.com"),
            ("host", "evil.com"),
            ("host", "localhost.evil.com"),
            ("host", "127.0.0.1.evil.com"),
        ] {
            let reply = http.send(method.clone(), path, &[foreign, JSON], Bytes::from_static(b"{}")).await;
            let reply = reply.expect("an answer");
            assert_eq!(reply.status, 403, "{method} {path} {foreign:?}");
            assert_eq!(reply.header("access-control-allow-origin"), "", "{path}");
        }
        if method == Method::POST {
            let form = [("content-type", "text/plain")];
            let reply = http.send(method, path, &form, Bytes::from_static(b"{}")).await.expect("an answer");
            assert_eq!(reply.status, 415, "{path}");
        }
    }
}

/// A-14: a listed origin hears what its pages may do, by its own name, never `*` and never with credentials.
#[tokio::test]
async fn a_page_of_a_listed_origin_may_read_answers() {
    let origin = "https://app.example.com";
    let gateway = with(vec![("MREG_SERVER__ALLOWED_ORIGINS", origin.into())]).await;
    let asked = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type, Mcp-Session-Id, mcp-param-x, x-evil"),
    ];
    for path in ["/mcp", "/api/v1/servers"] {
        let reply =
            gateway.http().send(Method::OPTIONS, path, &asked, Bytes::new()).await.expect("an answer");
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (204, origin));
        assert_eq!(reply.header("access-control-allow-headers"), "content-type, mcp-session-id, mcp-param-x");
        assert_eq!(reply.header("access-control-allow-credentials"), "");
        assert!(reply.header("vary").contains("Origin"));
    }
    let reply = gateway.http().send(Method::GET, "/health", &[("origin", origin)], Bytes::new()).await;
    let reply = reply.expect("an answer");
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, origin));
    let foreign = [("origin", "https://app.example.com.evil.com"), asked[1]];
    let reply =
        gateway.http().send(Method::OPTIONS, "/mcp", &foreign, Bytes::new()).await.expect("an answer");
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (403, ""));
}

/// A-14: every answer of the REST API tells a browser to show it as nothing but what it is.
#[tokio::test]
async fn every_answer_carries_the_headers_that_bind_a_browser() {
    let gateway = Gateway::start().await;
    for path in ["/health", "/api/v1/servers", "/docs", "/nothing"] {
        let reply = gateway.http().send(Method::GET, path, &[], Bytes::new()).await.expect("an answer");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(reply.header("cache-control"), "no-store", "{path}");
        assert_eq!(reply.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(reply.header("referrer-policy"), "no-referrer", "{path}");
        assert!(reply.header("content-security-policy").contains("default-src 'none'"), "{path}");
        assert!(reply.header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
    }
    let body = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    let reply = gateway.http().send(Method::POST, "/mcp", &[JSON], body).await.expect("an answer");
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
}

/// A-20: nothing by which a client shows who it is, and nothing by which it would choose a credential, reaches a server; what
/// is configured for the server does.
#[tokio::test]
async fn no_credential_of_a_client_reaches_a_server() {
    let (gateway, fake) = (Gateway::start().await, Fake::start("one").await);
    let registration = json!({
        "name": "one", "endpoint_url": fake.url(),
        "configuration": { "headers": { "X-Api-Key": "configured" } },
    });
    let id = gateway.register(&registration).await["id"].as_str().expect("an id").to_owned();
    gateway.offers(&id, "echo").await;
    fake.ledger().clear();
    let credentials = [
        ("authorization", "Bearer canary-1"),
        ("cookie", "session=canary-2"),
        ("x-upstream-authorization", "Bearer canary-3"),
        ("proxy-authorization", "Basic canary-4"),
        ("x-api-key", "canary-5"),
        ("x-user", "canary-8"),
    ];
    let call =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"t"}}}"#;
    let modern = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"t"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let client = gateway.client("/mcp/one").await;
    let reply =
        client.post_bytes(Bytes::from_static(call.as_bytes()), &credentials).await.expect("an answer");
    assert_eq!(reply.status, 200);
    let wishes = Bytes::from_static(
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"one__echo","arguments":{"text":"t"}}}"#,
    );
    let more: Vec<_> = credentials.iter().copied().chain([JSON]).collect();
    let reply = gateway.http().send(Method::POST, "/mcp/proxy", &more, wishes).await.expect("an answer");
    assert_eq!(reply.status, 200);
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "echo"),
        ("accept", "application/json, text/event-stream"),
    ];
    let more: Vec<_> = more.into_iter().chain(headers).collect();
    let reply =
        gateway.http().send(Method::POST, "/mcp/one", &more, Bytes::from_static(modern.as_bytes())).await;
    assert_eq!(reply.expect("an answer").status, 200);
    let received = fake.ledger().all();
    assert!(fake.ledger().deliveries("t") >= 3, "{received:?}");
    for entry in &received {
        let text = serde_json::to_string(entry).expect("JSON");
        assert!(!text.contains("canary"), "{text}");
        assert_eq!(entry.headers.get("x-api-key").map(String::as_str), Some("configured"), "{text}");
    }
}

/// B-01: a body over the limit is refused whether it says how long it is or not, and compressed ones are not opened at all.
#[tokio::test]
async fn a_body_over_the_limit_or_compressed_is_refused() {
    const LIMIT: usize = 4 * 1024 * 1024;
    let (gateway, fake, _) = one().await;
    fake.ledger().clear();
    let before = gateway.usage().memory;
    let long = Bytes::from(vec![b' '; LIMIT + 1]);
    let reply =
        gateway.http().send(Method::POST, "/mcp/one", &[JSON], long.clone()).await.expect("an answer");
    assert_eq!(reply.status, 413);
    let text = String::from_utf8_lossy(&reply.bytes().await.expect("a body")).into_owned();
    assert!(text.contains("server.max_body_bytes"), "{text}");
    // A kilobyte that would become a gigabyte: it stays what it is, and that is no JSON.
    let bomb = Bytes::from_static(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff");
    for path in ["/mcp/one", "/api/v1/servers"] {
        let compressed = [JSON, ("content-encoding", "gzip")];
        let reply =
            gateway.http().send(Method::POST, path, &compressed, bomb.clone()).await.expect("an answer");
        assert_eq!(reply.status, 415, "{path}");
    }
    let used = gateway.usage().memory.saturating_sub(before);
    assert!(used <= 2 * LIMIT as u64, "{used} bytes more");
    assert_eq!(fake.ledger().count("tools/call"), 0);
}

/// A-24: what a server, or an imported file, says of containers, mounts, users or networks changes nothing of how it is started.
#[tokio::test]
async fn metadata_of_containers_is_refused_or_ignored() {
    let gateway = Gateway::start().await;
    for (member, value) in [
        ("image", json!("evil/image")),
        ("mounts", json!(["/:/host"])),
        ("user", json!("root")),
        ("entrypoint", json!(["sh"])),
        ("network", json!("host")),
        ("runtimeArguments", json!([{ "value": "--privileged" }])),
    ] {
        let mut registration = json!({ "name": "a", "command": "/bin/cat" });
        registration[member] = value.clone();
        let (status, answer) = gateway
            .http()
            .json(Method::POST, "/api/v1/servers", Some(&registration))
            .await
            .expect("an answer");
        assert_eq!(status, 400, "{member}: {answer}");
        assert!(answer["error"]["message"].as_str().is_some_and(|text| text.contains(member)), "{answer}");
        let nested = json!({ "name": "a", "command": "/bin/cat", "configuration": { (member): value } });
        let (status, _) =
            gateway.http().json(Method::POST, "/api/v1/servers", Some(&nested)).await.expect("an answer");
        assert_eq!(status, 400, "{member}");
    }
    let none = eventually("the list", Duration::from_secs(5), async || {
        gateway.http().get("/api/v1/servers").await.ok()
    })
    .await;
    assert_eq!(none.1["total"], 0);
}
