//! One tenant's data is nowhere in the answers to another, and its ids are as unknown there as random ones.

use super::*;
use crate::auth::Gate;
use crate::model::Role;

const CANARY: &str = "canary7b1f";

/// A server of tenant `a` of which every text has the canary in it.
fn planted() -> Value {
    json!({
        "name": format!("{CANARY}-server"), "service": format!("{CANARY}-service"),
        "endpoint_url": format!("http://127.0.0.1:9/{CANARY}"), "auto_discover": false,
        "description": format!("tells {CANARY} add"), "display_name": format!("{CANARY} shown"),
        "health_check": { "enabled": false }, "tags": [format!("{CANARY}-tag")],
        "configuration": { "headers": { "authorization": CANARY } },
        "capabilities": {
            "tools": [{ "name": format!("{CANARY}_add"), "description": CANARY }],
            "resources": [{ "uri": format!("test://{CANARY}"), "name": CANARY }],
            "prompts": [{ "name": format!("{CANARY}_prompt") }],
        },
    })
}

fn query(path: &str) -> &'static str {
    match path {
        "/api/v1/servers" => "?search=canary7b1f&include_tools=true",
        "/api/v1/discovery/tools" => "?tools=canary7b1f_add",
        "/api/v1/discovery/resources" => "?resources=test%3A%2F%2Fcanary7b1f",
        "/api/v1/discovery/prompts" => "?prompts=canary7b1f_prompt",
        "/api/v1/discovery/search" => "?q=add",
        _ => "",
    }
}

/// The answer without what differs between any two of them, and without what was asked for.
fn plain(answer: &Answer, asked: &str) -> String {
    let mut json = answer.json.clone();
    for place in ["", "/error"] {
        if let Some(object) = json.pointer_mut(place).and_then(Value::as_object_mut) {
            object.remove("correlation_id");
            object.remove("timestamp");
        }
    }
    format!("{} {json}", answer.status).replace(asked, "ID").replace(CANARY, "WORD")
}

/// T-10: with the other tenant's real id every operation answers as with a random one, and no route has anything of it.
/// T-12: nor do conflicts of names, counts, pages, errors, metrics and rankings.
#[tokio::test]
async fn a_canary_of_one_tenant_is_in_no_answer_to_another() {
    let api = Api::shared().await;
    let made = api.ask("admin.a", "POST", "/api/v1/servers", &[], &planted().to_string()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.json);
    let real = made.json["id"].as_str().unwrap().to_owned();
    let random = uuid::Uuid::new_v4().to_string();
    let own = api.ask("admin.a", "GET", "/api/v1/servers", &[], "").await;
    assert!(own.json.to_string().contains(CANARY), "the canary is not where it was planted");

    for (method, path, _) in Gate::routes() {
        if path.starts_with("/sse") || path.ends_with("/events") {
            continue;
        }
        for role in [Role::Admin, Role::Viewer] {
            let who = format!("{}.b", role.as_str());
            let mut answers = Vec::new();
            for id in [&real, &random] {
                let target = path.replace("{id}", id).replace("{service}", &format!("{CANARY}-service"));
                let answer = api.ask(&who, method, &format!("{target}{}", query(path)), &[], "{}").await;
                let said = answer
                    .json
                    .to_string()
                    .replace(&format!("{CANARY}_add"), "")
                    .replace(&format!("test://{CANARY}"), "");
                let said = said
                    .replace(&format!("{CANARY}_prompt"), "")
                    .replace(&format!("\"service\":\"{CANARY}-service\""), "");
                assert!(!said.contains(CANARY), "{who} {method} {path}: {}", answer.json);
                assert!(
                    *id == random || !said.replace(id.as_str(), "").contains("\"tenant_id\":\"a\""),
                    "{method} {path}"
                );
                answers.push(plain(&answer, id));
            }
            // The trail has what the caller did itself, with the ids that it named.
            if !path.starts_with("/api/v1/audit") {
                assert_eq!(answers[0], answers[1], "{who} {method} {path}");
            }
        }
    }
    // The same name is free in the other tenant, and counts and pages begin with nothing.
    let listed = api.ask("admin.b", "GET", "/api/v1/servers", &[], "").await;
    assert_eq!((&listed.json["total"], &listed.json["servers"]), (&json!(0), &json!([])));
    let same = api
        .ask("admin.b", "POST", "/api/v1/servers", &[], &quiet(&format!("{CANARY}-server")).to_string())
        .await;
    assert_eq!(same.status, StatusCode::CREATED, "{}", same.json);
    assert_eq!(same.json["revision"], made.json["revision"]);
    let stats = api.ask("admin.b", "GET", "/api/v1/admin/stats", &[], "").await;
    assert_eq!(stats.json["total_servers"], 1);
    session(&api, "analyst.a").await;
    let mut counted = Vec::new();
    for who in ["admin.a", "admin.b", "analyst.default", "admin.default"] {
        let stats = api.ask(who, "GET", "/api/v1/admin/stats", &[], "").await.json;
        counted.push((stats["sessions"].clone(), stats["gateway"]["sessions"].clone()));
    }
    let none = json!(0);
    assert_eq!(
        counted,
        [(json!(1), Value::Null), (none.clone(), Value::Null), (none.clone(), Value::Null), (none, json!(1))],
        "only the operator sees what all tenants have open"
    );
}

async fn session(api: &Api, who: &str) -> String {
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    let opened = api.ask(who, "POST", "/mcp", &[], &hello.to_string()).await;
    opened.headers["mcp-session-id"].to_str().unwrap().to_owned()
}

/// T-01: a session of another tenant, or of another user of the same one, is answered as one that never was, on every
/// request, and nothing happens to it.
#[tokio::test]
async fn a_session_of_somebody_else_is_as_unknown_as_one_that_never_was() {
    let api = Api::shared().await;
    let own = session(&api, "analyst.a").await;
    let never = "0".repeat(64);
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    for who in ["analyst.b", "admin.a", "viewer.a"] {
        for (method, body) in [("POST", ping), ("GET", ""), ("DELETE", "")] {
            let mut answers = Vec::new();
            for id in [&own, &never] {
                let answer = api.ask(who, method, "/mcp", &[("mcp-session-id", id)], body).await;
                assert_eq!(answer.status, StatusCode::NOT_FOUND, "{who} {method}");
                answers.push(answer.json);
            }
            assert_eq!(answers[0], answers[1], "{who} {method}");
        }
        // Another route is another session, too.
        let answer = api.ask("analyst.a", "POST", "/mcp/x", &[("mcp-session-id", &own)], ping).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
    }
    let alive = api.ask("analyst.a", "POST", "/mcp", &[("mcp-session-id", &own)], ping).await;
    assert_eq!(alive.status, StatusCode::OK);
}

/// T-09: a credential without a tenant, with two, or with one that cannot be, is nobody's: there is no tenant to fall back on.
#[tokio::test]
async fn without_a_tenant_there_is_nothing_to_fall_back_on() {
    let api = Api::shared().await;
    for who in ["admin", "admin.", "admin.a.b", "admin.A", "admin.a__b", ".a"] {
        let answer = api.ask(who, "GET", "/api/v1/servers", &[], "").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{who}");
    }
    let answer = api.raw("GET", "/api/v1/servers", &[("host", "localhost")], "").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}
