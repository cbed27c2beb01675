use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};

use super::service;
use crate::auth::Credentials;
use crate::clock::SystemClock;
use crate::gateway::{Gateway, Settings};
use crate::model::{
    Action, Call, Endpoint, Grant, Principal, Reply, Role, RoutingHints, ServiceName, TenantId,
};
use crate::rpc::Message;
use crate::rpc::version::{Era, MODERN};
use crate::store::memory::MemoryStore;

async fn open(own: bool) -> Gateway {
    let settings = Settings { own: own.then(service), probing: false, ..Settings::default() };
    Gateway::open(settings, Arc::new(MemoryStore::new()), SystemClock::shared()).await.unwrap()
}

fn somebody(role: Role) -> Principal {
    Principal::new(TenantId::default_tenant(), "somebody", role)
}

fn gateway_route() -> Endpoint {
    Endpoint::of(ServiceName::asked("gateway").unwrap())
}

/// The result of one request that stands alone, or the kind of the error.
async fn ask(
    gateway: &Gateway,
    who: &Principal,
    route: Endpoint,
    era: Era,
    method: &str,
    params: Value,
) -> Value {
    let mut params = params;
    if era == Era::Modern {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "0" },
        });
    }
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }).to_string();
    let call = Call {
        route,
        action: Action::Send(Message::parse(Bytes::from(body)).unwrap()),
        era,
        session: None,
        headers: HeaderMap::new(),
        correlation_id: "test".into(),
        streams: false,
        resumes: false,
        hints: (era == Era::Legacy).then(RoutingHints::default),
        builtin: true,
        over_network: false,
    };
    match gateway.handle(call, &Credentials::Embedded(who.clone())).await {
        Ok(Reply::Message { body, .. }) => serde_json::from_slice::<Value>(&body).unwrap()["result"].take(),
        Ok(_) => panic!("neither an answer nor an error"),
        Err(error) => json!(error.kind().row().name),
    }
}

async fn names(gateway: &Gateway, who: &Principal, route: Endpoint, era: Era) -> Vec<String> {
    let listed = ask(gateway, who, route, era, "tools/list", json!({})).await;
    let tools = listed["tools"].as_array().unwrap_or_else(|| panic!("{listed}"));
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

async fn call(gateway: &Gateway, who: &Principal, tool: &str, arguments: Value) -> Value {
    let params = json!({ "name": tool, "arguments": arguments });
    ask(gateway, who, gateway_route(), Era::Legacy, "tools/call", params).await
}

const ALL: [&str; 7] = [
    "find_tools",
    "list_servers",
    "proxy_request",
    "register_server",
    "remove_server",
    "server_health",
    "stats",
];

#[tokio::test]
async fn its_tools_are_listed_on_its_own_route_and_among_all_in_either_era() {
    let (gateway, admin) = (open(true).await, somebody(Role::Admin));
    for era in [Era::Legacy, Era::Modern] {
        assert_eq!(names(&gateway, &admin, gateway_route(), era).await, ALL);
        assert_eq!(names(&gateway, &admin, Endpoint::all(), era).await, ["gateway__find_tools"]);
        let params = json!({ "name": "gateway__stats", "arguments": {} });
        let refused = ask(&gateway, &admin, Endpoint::all(), era, "tools/call", params).await;
        assert_eq!(refused, "invalid_params", "agents on the aggregated route are handed one tool");
        for route in [Endpoint::all(), gateway_route()] {
            let listed = ask(&gateway, &admin, route, era, "resources/list", json!({})).await;
            assert_eq!(listed["resources"][0]["uri"], "config://server");
        }
    }
    let discovered = ask(&gateway, &admin, gateway_route(), Era::Modern, "server/discover", json!({})).await;
    assert_eq!(discovered["capabilities"], json!({ "tools": {}, "resources": {} }), "{discovered}");
}

/// a tool that a caller may not use is hidden from it, and cannot be told from one that does not exist.
#[tokio::test]
async fn each_role_sees_the_tools_that_it_may_use_and_no_other() {
    let gateway = open(true).await;
    let analyst = ["find_tools", "list_servers", "proxy_request", "server_health", "stats"];
    let table: [(Role, &[&str]); 6] = [
        (Role::Admin, &ALL),
        (Role::Manager, &ALL),
        (Role::Developer, &analyst),
        (Role::Analyst, &analyst),
        (Role::Viewer, &[]),
        (Role::Guest, &[]),
    ];
    for (role, expected) in table {
        let who = somebody(role);
        assert_eq!(names(&gateway, &who, gateway_route(), Era::Legacy).await, expected, "{role:?}");
        let among_all: &[&str] = if expected.is_empty() { &[] } else { &["gateway__find_tools"] };
        assert_eq!(names(&gateway, &who, Endpoint::all(), Era::Legacy).await, among_all, "{role:?}");
    }
    let developer = somebody(Role::Developer);
    assert_eq!(call(&gateway, &developer, "remove_server", json!({ "server": "x" })).await, "invalid_params");
    assert_eq!(call(&gateway, &developer, "no_such", json!({})).await, "invalid_params");
}

#[tokio::test]
async fn a_server_is_registered_found_looked_at_and_removed_by_tools_alone() {
    let (gateway, admin) = (open(true).await, somebody(Role::Admin));
    let new = json!({
        "name": "weather", "endpoint_url": "http://127.0.0.1:9/mcp", "auto_discover": false,
        "capabilities": { "tools": [{ "name": "forecast", "description": "rain or sun", "inputSchema": {} }] },
        "configuration": { "headers": { "x-key": "canary" } },
    });
    let made = call(&gateway, &admin, "register_server", new).await;
    assert_eq!(made["structuredContent"]["name"], "weather", "{made}");
    assert!(!made.to_string().contains("canary"), "{made}");

    let listed = call(&gateway, &admin, "list_servers", json!({ "search": "weath" })).await;
    assert_eq!(listed["structuredContent"]["total"], 1, "{listed}");
    let found = call(&gateway, &admin, "find_tools", json!({ "query": "rain" })).await;
    assert_eq!(found["structuredContent"]["results"][0]["name"], "forecast", "{found}");
    let text = found["content"][0]["text"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), found["structuredContent"], "both say the same");
    let health = call(&gateway, &admin, "server_health", json!({ "server": "weather" })).await;
    assert_eq!(health["structuredContent"]["routing"]["circuit_breaker_state"], "closed", "{health}");
    let stats = call(&gateway, &admin, "stats", json!({})).await;
    assert_eq!(stats["structuredContent"]["total_servers"], 1, "{stats}");

    let removed = call(&gateway, &admin, "remove_server", json!({ "server": "weather" })).await;
    assert_eq!(removed["structuredContent"]["name"], "weather", "{removed}");
    let again = call(&gateway, &admin, "remove_server", json!({ "server": "weather" })).await;
    assert_eq!(again["isError"], true, "{again}");
    assert!(again["content"][0]["text"].as_str().unwrap().contains("no such server"), "{again}");
}

/// B-25: arguments of the tools that do what the REST API does are no part of any URL: they are looked up as they stand, and a
/// header with a line break is refused.
#[tokio::test]
async fn arguments_are_looked_up_as_they_stand_and_make_no_url_or_header_of_their_own() {
    let (gateway, admin) = (open(true).await, somebody(Role::Admin));
    let server = |name: &str| json!({ "name": name, "endpoint_url": "http://127.0.0.1:9/mcp", "auto_discover": false });
    let made = call(&gateway, &admin, "register_server", server("weather")).await;
    let id = made["structuredContent"]["id"].as_str().unwrap();
    for argument in [
        "../weather",
        "weather/../weather",
        "%2e%2e%2fweather",
        "weather?force=true",
        "weather#",
        "weather%0d%0aX-Evil: 1",
        "weather\r\nX-Evil: 1",
        &format!("{id}/../{id}"),
        &format!("{id}?purge=true"),
    ] {
        for tool in ["server_health", "remove_server"] {
            let answer = call(&gateway, &admin, tool, json!({ "server": argument })).await;
            assert_eq!(answer["isError"], true, "{tool} {argument}: {answer}");
        }
        let answer = call(&gateway, &admin, "register_server", server(argument)).await;
        assert_eq!(answer["isError"], true, "{argument}: {answer}");
        let found = call(&gateway, &admin, "list_servers", json!({ "search": argument })).await;
        assert_eq!(found["structuredContent"]["total"], 0, "{argument}: {found}");
    }
    for (name, value) in
        [("x-key", "a\r\nX-Evil: 1"), ("x-key", "a\n"), ("x-key\r\nX-Evil", "1"), ("x key", "1")]
    {
        let mut new = server("other");
        new["configuration"] = json!({ "headers": { name: value } });
        let answer = call(&gateway, &admin, "register_server", new).await;
        assert_eq!(answer["isError"], true, "{name:?}: {value:?}: {answer}");
    }
    let left = call(&gateway, &admin, "list_servers", json!({})).await;
    assert_eq!(left["structuredContent"]["total"], 1, "{left}");
}

#[tokio::test]
async fn wrong_arguments_are_a_result_that_names_the_field() {
    let (gateway, admin) = (open(true).await, somebody(Role::Admin));
    for (tool, arguments, named) in [
        ("list_servers", json!({ "page": "x" }), "page"),
        ("find_tools", json!({}), "query"),
        ("stats", json!({ "more": 1 }), "more"),
        ("proxy_request", json!({ "params": {} }), "method"),
    ] {
        let answer = call(&gateway, &admin, tool, arguments).await;
        assert_eq!(answer["isError"], true, "{tool}: {answer}");
        assert!(answer["content"][0]["text"].as_str().unwrap().contains(named), "{tool}: {answer}");
    }
}

#[tokio::test]
async fn a_request_that_is_passed_on_needs_the_permission_that_it_needs_itself_and_stops_at_the_gateway() {
    let (gateway, analyst) = (open(true).await, somebody(Role::Analyst));
    let scopes = Some(["mcp:call", "registry:read"].map(Box::from).into());
    let narrow = analyst.clone().with(Grant { scopes, ..Grant::default() });
    let nested = json!({ "method": "tools/call", "params": { "name": "gateway__stats", "arguments": {} } });
    for who in [&analyst, &narrow] {
        let answer = call(&gateway, who, "proxy_request", nested.clone()).await;
        assert_eq!(answer["isError"], true, "{answer}");
    }
    let unknown = json!({ "method": "tools/call", "params": { "name": "no__such" } });
    let answer = call(&gateway, &analyst, "proxy_request", unknown).await;
    assert!(answer["content"][0]["text"].as_str().unwrap().contains("no__such"), "{answer}");
}

#[tokio::test]
async fn the_configuration_can_be_read_by_those_who_may_and_has_no_secrets() {
    let (gateway, admin) = (open(true).await, somebody(Role::Admin));
    let uri = json!({ "uri": "config://server" });
    for route in [Endpoint::all(), gateway_route()] {
        let read = ask(&gateway, &admin, route, Era::Modern, "resources/read", uri.clone()).await;
        let text: Value = serde_json::from_str(read["contents"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(text["version"], env!("CARGO_PKG_VERSION"), "{text}");
        assert_eq!(read["cacheScope"], "private", "{read}");
    }
    let viewer = somebody(Role::Viewer);
    let read = ask(&gateway, &viewer, gateway_route(), Era::Legacy, "resources/read", uri).await;
    assert_eq!(read, "resource_not_found");
}

#[tokio::test]
async fn whose_credential_is_for_one_other_service_and_where_it_is_off_there_is_no_such_service() {
    let (gateway, admin) = (open(true).await, somebody(Role::Admin));
    let service = Some(ServiceName::new("weather").unwrap());
    let bound = admin.clone().with(Grant { service, ..Grant::default() });
    assert_eq!(
        ask(&gateway, &bound, gateway_route(), Era::Modern, "tools/list", json!({})).await,
        "not_found"
    );
    assert!(names(&gateway, &bound, Endpoint::all(), Era::Legacy).await.is_empty());
    let off = open(false).await;
    assert_eq!(ask(&off, &admin, gateway_route(), Era::Modern, "tools/list", json!({})).await, "not_found");
    assert!(names(&off, &admin, Endpoint::all(), Era::Legacy).await.is_empty());
}

/// no command is registered by the gateway's own tools, for any caller, unless the operator's configuration lets them; the
/// refusal names the setting and is in the trail.
#[tokio::test]
async fn a_command_is_registered_by_a_tool_only_where_the_configuration_says_so() {
    let commands = |allowed: bool| async move {
        let mut settings = Settings { own: Some(service()), probing: false, ..Settings::default() };
        settings.server.builtin_commands = allowed;
        Gateway::open(settings, Arc::new(MemoryStore::new()), SystemClock::shared()).await.unwrap()
    };
    let (gateway, admin) = (commands(false).await, somebody(Role::Admin));
    let shell = json!({ "name": "evil", "command": "/bin/sh", "args": ["-c", "id"], "auto_discover": false });
    let said = json!({ "name": "evil", "transport_type": "stdio", "auto_discover": false });
    for registration in [&shell, &said] {
        for era in [Era::Legacy, Era::Modern] {
            let params = json!({ "name": "register_server", "arguments": registration });
            let answer = ask(&gateway, &admin, gateway_route(), era, "tools/call", params).await;
            let text = answer["content"][0]["text"].as_str().unwrap_or_default();
            assert!(answer["isError"] == true && text.contains("server.builtin_commands"), "{answer}");
        }
    }
    let listed = call(&gateway, &admin, "list_servers", json!({})).await;
    assert_eq!(listed["structuredContent"]["total"], 0, "{listed}");
    let caller = crate::gateway::Caller::new(admin.clone());
    let refused = eventually_refused(&gateway, &caller).await;
    assert!(refused.contains("gateway/register_server"), "{refused}");

    let gateway = commands(true).await;
    let answer = call(&gateway, &admin, "register_server", shell).await;
    assert_eq!(answer["structuredContent"]["transport_type"], "stdio", "{answer}");
}

/// The first refusal that the trail tells of; it is written behind the call.
async fn eventually_refused(gateway: &Gateway, caller: &crate::gateway::Caller) -> String {
    loop {
        let query = crate::model::AuditQuery::newest(50);
        let rows = gateway.audit(caller, &query).await.unwrap();
        if let Some(row) = rows.iter().find(|row| row.entry.outcome == "permission_denied") {
            return row.entry.action.clone();
        }
        tokio::task::yield_now().await;
    }
}
