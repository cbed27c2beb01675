//! The routes of a program that mounts the surface in an application of its own.

use super::*;
use crate::server::Part;

/// A gateway that shows its own service, with the surface that `Gateway::service` gives and these parts.
async fn mounted(parts: &[Part]) -> Api {
    let clock: Arc<dyn Clock> = ManualClock::shared();
    let mut config = config::Config::default();
    config.server.sse = true;
    config.server.legacy = true;
    let settings = crate::builtin::settings(&config);
    let gateway = Gateway::open(settings, Arc::new(MemoryStore::new()), clock).await.unwrap();
    Api(gateway.service().exposing(parts.iter().copied().collect()))
}

/// `tools/list` on this path: the status, and the names.
async fn tools(api: &Api, path: &str) -> (u16, Vec<String>) {
    let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "t", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {} });
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": { "_meta": meta } });
    let headers = [
        ("host", "localhost"),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/list"),
    ];
    let answer = api.raw("POST", path, &headers, &list.to_string()).await;
    let tools = answer.json["result"]["tools"].as_array().cloned().unwrap_or_default();
    (answer.status.as_u16(), tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect())
}

/// a mounted surface is MCP and nothing else: no route of the administration, of operation or of the documents is there, and
/// neither are the gateway's own tools.
#[tokio::test]
async fn a_mounted_surface_serves_mcp_alone() {
    let api = mounted(&[]).await;
    let document = serde_json::to_value(document()).unwrap();
    let (mut hidden, mut served) = (0, 0);
    for (path, item) in document["paths"].as_object().unwrap() {
        let id = "5f0c6a52-7a0e-4d55-9f6a-0c8b7d2b4a11";
        let concrete = path.replace("{service}", "calc").replace("{id}", id).replace("{issuer}", "x");
        let is_mcp = (path.starts_with("/mcp") || path.starts_with("/sse") || path.contains("/mcp"))
            && !["/mcp/tools", "/mcp/resources", "/mcp/oauth/callback/{issuer}"].contains(&path.as_str())
            || ["/messages", "/.well-known/oauth-protected-resource"].contains(&path.as_str());
        for method in item.as_object().unwrap().keys() {
            let answer = api.raw(&method.to_uppercase(), &concrete, &[("host", "localhost")], "").await;
            let refused =
                answer.json["error"]["message"].as_str().is_some_and(|text| text.contains("`expose`"));
            assert_eq!(refused, !is_mcp, "{method} {path}: {}", answer.json);
            if is_mcp { served += 1 } else { hidden += 1 }
        }
    }
    assert!(hidden > 40 && served > 8, "{hidden} hidden, {served} served");

    let made = api.send("POST", "/api/v1/servers", &quiet("a")).await;
    assert_eq!(made.status, 404);
    assert_eq!(tools(&api, "/mcp").await, (200, Vec::new()));
    assert_eq!(tools(&api, "/mcp/gateway").await.0, 404);
    for (method, params) in [
        ("tools/call", json!({ "name": "gateway__list_servers", "arguments": {} })),
        ("resources/read", json!({ "uri": "config://server" })),
    ] {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        for path in ["/mcp/proxy", "/legacy/mcp"] {
            let answer = api.send("POST", path, &call).await;
            assert!(answer.json["error"].is_object(), "{path} {method}: {}", answer.json);
        }
    }
}

/// each part is served where it is asked for, and brings no other with it.
#[tokio::test]
async fn a_part_that_is_asked_for_is_served_alone() {
    let places = [
        (Part::Rest, "/api/v1/servers"),
        (Part::Events, "/api/v1/events"),
        (Part::Metrics, "/metrics"),
        (Part::Docs, "/docs"),
        (Part::Docs, "/docs/licenses.txt"),
        (Part::Health, "/health"),
        (Part::Health, "/startup"),
    ];
    for part in Part::ALL {
        let api = mounted(&[part]).await;
        for (other, path) in places {
            let expected = if other == part { 200 } else { 404 };
            let headers = [("host", "localhost"), ("accept", "text/event-stream, */*")];
            assert_eq!(api.raw("GET", path, &headers, "").await.status, expected, "{part:?} {path}");
        }
        let (status, names) = tools(&api, "/mcp").await;
        assert_eq!((status, names.is_empty()), (200, part != Part::Builtin), "{part:?} {names:?}");
    }
    let all = mounted(&Part::ALL).await;
    assert!(tools(&all, "/mcp/gateway").await.1.contains(&"register_server".to_owned()));
}
