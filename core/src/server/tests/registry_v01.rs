//! The official registry's read API.

use super::*;

async fn filled() -> Api {
    let api = Api::open().await;
    for (name, service, version) in
        [("a", "a", None), ("b.1", "b", Some("2.0.0")), ("b.2", "b", Some("2.0.0")), ("c", "c", None)]
    {
        let mut server = quiet(name);
        server["service"] = service.into();
        server["description"] = format!("Does {service}. {}", "x".repeat(200)).into();
        server["version"] = json!(version);
        assert_eq!(api.send("POST", "/api/v1/servers", &server).await.status, StatusCode::CREATED);
    }
    api
}

#[tokio::test]
async fn each_service_is_an_entry_whose_remote_is_its_route_here() {
    let api = filled().await;
    let page = api.raw("GET", "/v0.1/servers?limit=2", &[("host", "localhost:8000")], "").await;
    assert_eq!(
        (page.status, &page.headers["access-control-allow-origin"]),
        (StatusCode::OK, &"*".parse().unwrap())
    );
    assert_eq!(page.json["metadata"], json!({ "nextCursor": "b", "count": 2 }));
    let entry = &page.json["servers"][1];
    assert_eq!(
        (&entry["server"]["name"], &entry["server"]["version"]),
        (&json!("local.mcp-gateway/b"), &json!("2.0.0"))
    );
    let remotes = json!([{ "type": "streamable-http", "url": "http://localhost:8000/mcp/b" }]);
    assert_eq!(entry["server"]["remotes"], remotes);
    assert_eq!(entry["server"]["description"].as_str().unwrap().len(), 100);
    let official = &entry["_meta"]["io.modelcontextprotocol.registry/official"];
    assert_eq!((&official["status"], &official["isLatest"]), (&json!("active"), &json!(true)));
    assert_eq!(entry["_meta"]["io.github.mcp-registry-gateway/route"]["servers"], 2);

    let last = api.get("/v0.1/servers?limit=2&cursor=b").await;
    assert_eq!(
        (&last.json["metadata"], &last.json["servers"][0]["server"]["name"]),
        (&json!({ "count": 1 }), &json!("local.mcp-gateway/c"))
    );
    for (query, count) in [
        ("search=DOES%20B", 1),
        ("version=2.0.0", 1),
        ("version=latest", 3),
        ("updated_since=2030-01-01T00:00:00Z", 0),
        ("updated_since=2020-01-01T00:00:00Z&include_deleted=true", 3),
        ("search=%27%3B--", 0),
        ("future=1", 3),
    ] {
        assert_eq!(
            api.get(&format!("/v0.1/servers?{query}")).await.json["metadata"]["count"],
            count,
            "{query}"
        );
    }
    for wrong in ["limit=0", "limit=101", "cursor=B%20", "updated_since=yesterday", "include_deleted=2"] {
        assert_eq!(
            api.get(&format!("/v0.1/servers?{wrong}")).await.status,
            StatusCode::BAD_REQUEST,
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn an_entry_is_found_by_its_name_in_one_segment_of_the_path() {
    let api = filled().await;
    let versions = api.get("/v0.1/servers/local.mcp-gateway%2Fb/versions").await;
    assert_eq!(
        (&versions.json["metadata"]["count"], &versions.json["servers"][0]["server"]["version"]),
        (&json!(1), &json!("2.0.0"))
    );
    for version in ["latest", "2.0.0"] {
        let one = api.get(&format!("/v0.1/servers/local.mcp-gateway%2Fb/versions/{version}")).await;
        assert_eq!(one.json, versions.json["servers"][0], "{version}");
    }
    for path in [
        "local.mcp-gateway%2Fb/versions/2.1.0",
        "local.mcp-gateway%2Fnone/versions/latest",
        "b/versions/latest",
        "com.example%2Fb/versions",
        "%FF/versions",
        "local.mcp-gateway%2F..%2Fb/versions",
    ] {
        let answer = api.get(&format!("/v0.1/servers/{path}")).await;
        assert_eq!(
            (answer.status, answer.json),
            (StatusCode::NOT_FOUND, json!({ "error": "Server not found" })),
            "{path}"
        );
    }
    let asked = api.raw("OPTIONS", "/v0.1/servers", &[("host", "localhost")], "").await;
    assert_eq!(
        (asked.status, &asked.headers["access-control-allow-methods"]),
        (StatusCode::NO_CONTENT, &"GET, OPTIONS".parse().unwrap())
    );
}
