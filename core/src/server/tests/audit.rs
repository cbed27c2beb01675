//! The audit trail and the limits as they are seen over HTTP, and the secrets that never are.

use std::sync::Mutex;

use super::*;
use crate::error::{Cause, Error, ErrorKind};
use crate::gateway;
use crate::model::{AuditQuery, Principal, Role, TenantId};
use crate::server::answer::{self, ErrorFormat};

/// The rows of a search, once there are `count` of them: those of refusals are written by a task.
async fn rows(api: &Api, query: &str, count: usize) -> Vec<Value> {
    for _ in 0..10_000 {
        let found = api.get(&format!("/api/v1/audit?{query}")).await;
        assert_eq!(found.status, StatusCode::OK, "{}", found.json);
        let rows = found.json["rows"].as_array().unwrap().clone();
        if rows.len() >= count {
            return rows;
        }
        tokio::task::yield_now().await;
    }
    panic!("no {count} rows of {query}");
}

/// D-08: every change of the register has a row, and so has every attempt that was refused
#[tokio::test]
async fn every_change_and_every_refusal_has_a_row() {
    let api = Api::open().await;
    let made = api.send("POST", "/api/v1/servers", &quiet("a")).await;
    let path = made.headers["location"].to_str().unwrap().to_owned();
    api.send("PUT", &path, &json!({ "description": "new" })).await;
    assert_eq!(api.send("POST", "/api/v1/servers", &quiet("a")).await.status, StatusCode::CONFLICT);
    api.raw("DELETE", &path, &[("host", "localhost")], "").await;
    let found = rows(&api, "", 4).await;
    let seen: Vec<_> = found
        .iter()
        .rev()
        .map(|row| (row["action"].as_str().unwrap(), row["outcome"].as_str().unwrap()))
        .collect();
    let expected = [
        ("server.register", "ok"),
        ("server.update", "ok"),
        ("server.register", "conflict"),
        ("server.remove", "ok"),
    ];
    assert_eq!(seen, expected);

    for path in ["/api/v1/servers", "/mcp"] {
        let refused = api.raw("POST", path, &[("host", "evil.example")], "{}").await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    }
    let refused = rows(&api, "outcome=permission_denied", 2).await;
    let actions: BTreeSet<_> = refused.iter().map(|row| row["action"].as_str().unwrap()).collect();
    assert_eq!(actions, BTreeSet::from(["POST /api/v1/servers", "POST /mcp"]), "{refused:?}");

    let stranger = Request::post("/api/v1/servers").header("host", "localhost");
    let stranger =
        stranger.extension(peer(Ipv4Addr::new(10, 0, 0, 9))).body(Full::new(Bytes::new())).unwrap();
    assert_eq!(api.0.clone().oneshot(stranger).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let refused = rows(&api, "outcome=unauthenticated", 1).await;
    assert_eq!(
        (&refused[0]["actor"], &refused[0]["detail"]["peer"]),
        (&json!("unknown"), &json!("10.0.0.9"))
    );
    let verified = api.get("/api/v1/audit/verify").await;
    assert_eq!(
        (&verified.json["intact"], &verified.json["last"]),
        (&json!(true), &json!(7)),
        "{}",
        verified.json
    );
}

#[tokio::test]
async fn the_trail_is_searched_page_by_page_and_exported_in_both_forms() {
    let api = Api::open().await;
    for number in 0..7 {
        api.send("POST", "/api/v1/servers", &quiet(&format!("s{number}"))).await;
    }
    let first =
        api.get("/api/v1/audit?limit=5&action=server.register&actor=local&from=2026-01-01T00:00:00Z").await;
    let second = api.get(&format!("/api/v1/audit?limit=5&before={}", first.json["next"])).await;
    let numbers: Vec<u64> = [first.json, second.json.clone()]
        .iter()
        .flat_map(|page| page["rows"].as_array().unwrap().clone())
        .map(|row| row["number"].as_u64().unwrap())
        .collect();
    assert_eq!((numbers, &second.json["next"]), (vec![7, 6, 5, 4, 3, 2, 1], &Value::Null));
    assert_eq!(api.get("/api/v1/audit?to=2026-01-01T00:00:00Z").await.json["rows"], json!([]));
    for bad in ["limit=0", "limit=201", "from=yesterday", "colour=red"] {
        assert_eq!(api.get(&format!("/api/v1/audit?{bad}")).await.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    for (format, kind, lines) in [("jsonl", "application/jsonl", 7), ("csv", "text/csv; charset=utf-8", 8)] {
        let text = text(&api, &format!("/api/v1/audit/export?format={format}")).await;
        assert_eq!((text.1.as_str(), text.0.lines().count()), (kind, lines), "{}", text.0);
    }
}

async fn text(api: &Api, path: &str) -> (String, String) {
    let request = Request::get(path).header("host", "localhost").extension(peer(Ipv4Addr::LOCALHOST));
    let response = api.0.clone().oneshot(request.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
    let kind = response.headers().get("content-type").map_or("", |kind| kind.to_str().unwrap()).to_owned();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (String::from_utf8_lossy(&bytes).into_owned(), kind)
}

/// T-14: a caller that searches, verifies or exports the trail sees the rows of its own tenant alone, whatever is asked for
#[tokio::test]
async fn a_tenant_sees_its_own_rows_alone() {
    let api = Api::open().await;
    api.send("POST", "/api/v1/servers", &quiet("a")).await;
    let other = TenantId::new("other").unwrap();
    let caller = gateway::Caller::new(Principal::new(other, "user:b", Role::Admin));
    let gateway = &api.0.place.shared.gateway;
    assert_eq!(gateway.audit(&caller, &AuditQuery::newest(100)).await.unwrap(), []);
    assert_eq!(gateway.verify_audit(&caller).await.unwrap(), None);
    let registration = serde_json::from_value(quiet("b")).unwrap();
    gateway.register(&caller, registration).await.unwrap();
    let rows = gateway.audit(&caller, &AuditQuery::newest(100)).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.number).collect::<Vec<_>>(), [1], "numbers tell nothing of others");
    let viewer = gateway::Caller::new(Principal::new(TenantId::default_tenant(), "user:v", Role::Viewer));
    let refused = gateway.audit(&viewer, &AuditQuery::newest(1)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
}

/// L-05: a refusal says 429, when to come back and what the limit is, in each of the three forms of an error
#[test]
fn a_refusal_for_too_many_requests_has_its_headers_in_every_form() {
    let error = || {
        let error = Error::new(ErrorKind::RateLimited, "slowly").because(Cause::RateLimit(100));
        error.retry_after(std::time::Duration::from_millis(1500))
    };
    let rest = answer::finish(answer::refuse(error()), ErrorFormat::Rest, "c", &*ManualClock::shared());
    for response in [rest, mcp::refuse(Some("1"), &error()), modern::refuse(Some("1"), &error())] {
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        let shown = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(shown("retry-after"), "2");
        assert_eq!(
            (shown("ratelimit-limit"), shown("ratelimit-remaining"), shown("ratelimit-reset")),
            ("100".into(), "0".into(), "2".into())
        );
        assert_eq!(shown("ratelimit-policy"), "100;w=60");
    }
}

/// Where log lines go.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A secret of its own for each place: `canary` and two digits, in a form that the place calls for.
fn planted() -> (Value, Value) {
    let web = json!({
        "name": "web", "auto_discover": false, "health_check": { "enabled": false, "kind": "connect" },
        "endpoint_url": "http://127.0.0.1:9/s/canary01Xq7Zk29LmWp4/mcp?api_key=canary02&token=canary03&flag-canary04Xq7Zk29LmWp4",
        "configuration": { "headers": {
            "authorization": "Bearer canary05", "x-api-key": "canary06", "cookie": "sid=canary07", "x-anything": "canary08",
        }},
    });
    let command = json!({
        "name": "program", "auto_discover": false, "health_check": { "enabled": false, "kind": "protocol" },
        "command": "/bin/sh",
        "args": [
            "-c", "echo \"$PLAIN $API_TOKEN $1 $2 $3 $4 $5 $6 $7 $8 $9 ${10} ${11} ${12}\" >&2; exit 3", "sh",
            "--token", "canary09", "--api-key=canary10", "ACCESS_TOKEN=canary11", "Authorization: Bearer canary12",
            "Bearer canary13", "postgres://ann:canary14@db.example/app", "https://h.example/mcp?key=canary15",
            "ghp_canary16abcdef", "eyJcanary17.eyJhbGciOi.c2ln", "--password=canary18", "Xq7Zk29LmWp4canary19",
        ],
        "env": { "API_TOKEN": "canary20", "PLAIN": "canary21", "DATABASE_URL": "mysql://u:canary22@h/db" },
    });
    (web, command)
}

/// of 22 secrets in headers, URLs, arguments and variables none appears in any answer to a reader, error, export or log line
#[tokio::test]
async fn planted_secrets_appear_nowhere() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let api = Api::open().await;
    let (web, command) = planted();
    let mut seen = Vec::new();
    let mut ids = Vec::new();
    for server in [&web, &command] {
        let made = api.send("POST", "/api/v1/servers", server).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.json);
        ids.push(made.json["id"].as_str().unwrap().to_owned());
        seen.push(("POST".to_owned(), made.json.to_string()));
        seen.push((
            "POST twice".to_owned(),
            api.send("POST", "/api/v1/servers", server).await.json.to_string(),
        ));
    }
    for bad in [
        json!({ "name": "x", "endpoint_url": "http://u:canary30@h/mcp#canary31" }),
        json!({ "name": "x", "endpoint_url": "nothing://canary32" }),
        json!({ "name": "x", "command": "a", "env": { "A B": "canary33" }, "args": "canary34" }),
        json!({ "name": "x", "endpoint_url": "http://h/", "configuration": { "headers": { "host": "canary35", "x y": "canary36" } } }),
    ] {
        let refused = api.send("POST", "/api/v1/servers", &bad).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{bad}");
        seen.push((bad["endpoint_url"].to_string().replace("canary", ""), refused.json.to_string()));
    }
    for id in &ids {
        seen.push((
            "PUT".into(),
            api.send("PUT", &format!("/api/v1/servers/{id}"), &json!({ "weight": 7 })).await.json.to_string(),
        ));
        let checked = api.send("POST", &format!("/api/v1/servers/{id}/health-check"), &json!({})).await;
        assert_ne!(checked.json["health_status"], "healthy", "{}", checked.json);
        seen.push((format!("health-check {id}"), checked.json.to_string()));
    }
    let document = serde_json::to_value(crate::server::document()).unwrap();
    for (path, operations) in document["paths"].as_object().unwrap() {
        // Streams that never end.
        if operations["get"].is_null()
            || path.starts_with("/mcp/{")
            || ["/mcp", "/sse", "/sse/{service}", "/api/v1/events"].contains(&&**path)
        {
            continue;
        }
        for id in &ids {
            let path = path.replace("{id}", id);
            let query = match path.rsplit('/').next() {
                Some("servers") => "?include_tools=true&include_resources=true",
                Some("search") => "?q=canary",
                Some(kind @ ("tools" | "resources" | "prompts")) if path.contains("discovery") => {
                    &format!("?{kind}=canary")
                }
                Some("export") => "?format=csv",
                _ => "",
            };
            let (text, _) = text(&api, &format!("{path}{query}")).await;
            seen.push((path, text.replace("q=canary", "").replace("\"canary\"", "")));
        }
    }
    assert!(seen.len() > 40, "{} answers", seen.len());
    for (place, text) in &seen {
        assert!(!text.contains("canary"), "{place}: {text}");
    }
    let logged = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("server"), "there is a log");
    let leaked: Vec<_> = logged.lines().filter(|line| line.contains("canary")).collect();
    assert!(leaked.is_empty(), "a secret is in the log: {leaked:#?}");
}

/// a value that is sent back as it was shown leaves the secrets as they are
#[tokio::test]
async fn what_was_shown_hidden_is_kept_when_it_is_sent_back() {
    let api = Api::open().await;
    let (web, command) = planted();
    for (server, member) in [(&web, "endpoint_url"), (&command, "args")] {
        let made = api.send("POST", "/api/v1/servers", server).await;
        let id: crate::model::ServerId = made.json["id"].as_str().unwrap().parse().unwrap();
        let patch = json!({ member: made.json[member].clone(), "weight": 9 });
        let changed = api.send("PUT", &format!("/api/v1/servers/{id}"), &patch).await;
        assert_eq!(
            (changed.status, &changed.json["weight"]),
            (StatusCode::OK, &json!(9)),
            "{}",
            changed.json
        );
        let caller = gateway::Caller::new(Principal::local(TenantId::default_tenant()));
        let stored = api.0.place.shared.gateway.get(&caller, id).unwrap();
        let stored = serde_json::to_string(&stored.endpoint).unwrap();
        assert!(stored.contains("canary") && !stored.contains("***"), "{stored}");
    }
}

/// B-26: line breaks, escapes and a name of a megabyte are answered, kept and exported as data
#[tokio::test]
async fn hostile_text_in_requests_stays_data() {
    let api = Api::open().await;
    let hostile = "=cmd|' /C calc'!A0\r\n\u{1b}[31m{\"forged\": true}";
    for name in [hostile.to_owned(), "n".repeat(3000)] {
        let refused = api.send("POST", "/api/v1/servers", &json!({ "name": name, "command": "x" })).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.json);
    }
    rows(&api, "outcome=invalid_params", 2).await;
    for format in ["jsonl", "csv"] {
        let (text, _) = text(&api, &format!("/api/v1/audit/export?format={format}")).await;
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), if format == "csv" { 3 } else { 2 }, "{text}");
        assert!(text.len() < 4096 && !text.contains(['\u{1b}', '\0']), "{text:?}");
        assert!(!text.contains(",\"="), "no formula: {text}");
    }
}
