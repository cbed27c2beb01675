//! The rights of a credential that is for one server or one service: with that server or service what its role may, and nothing
//! beside it, on any route.

use std::collections::BTreeMap;

use super::*;
use crate::auth::{Answer as Known, Authenticator, Authorization, Gate};
use crate::error::{Error, ErrorKind};
use crate::gateway::{self, Caller};
use crate::model::{CapabilityKind, Grant, Principal, Role, ServiceName, TenantId};

/// In the name of everything that is out of reach.
const CANARY: &str = "canary";
/// In the name of the other server of the service, which a credential for one server does not reach.
const TWIN: &str = "twin";
/// When the credentials end.
const END: i64 = 1_900_000_000;

/// Takes `Bearer whole`, `Bearer server.ID` and `Bearer service.NAME`: administrators all of them, and one user.
#[derive(Debug)]
struct Narrowing;

fn principal(name: &str) -> Option<Principal> {
    let whole = Principal::new(TenantId::default_tenant(), "user:root", Role::Admin);
    let expires_at = jiff::Timestamp::from_second(END).ok();
    let grant = match name.split_once('.') {
        None if name == "whole" => return Some(whole),
        Some(("server", id)) => Grant { server: Some(id.parse().ok()?), expires_at, ..Grant::default() },
        Some(("service", name)) => {
            Grant { service: ServiceName::asked(name).ok(), expires_at, ..Grant::default() }
        }
        _ => return None,
    };
    Some(whole.with(grant))
}

impl Authenticator for Narrowing {
    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Known<'a> {
        let unknown = || Error::new(ErrorKind::Unauthenticated, "nobody is known by this");
        Known::Now(match credentials {
            Credentials::Embedded(principal) => Ok(principal.clone()),
            Credentials::Network { authorization: Authorization::Bearer(bearer), .. } => {
                principal(std::str::from_utf8(bearer.token()).unwrap_or_default()).ok_or_else(unknown)
            }
            Credentials::Network { .. } => Err(unknown()),
        })
    }
}

struct House {
    api: Api,
    /// Ids of what is there, by name.
    ids: BTreeMap<&'static str, String>,
}

impl House {
    /// Two servers of the service `up`, one of another, and a key and a tenant that are nobody's business.
    async fn new() -> Self {
        let clock: Arc<dyn Clock> = crate::clock::SystemClock::shared();
        let settings = gateway::Settings {
            authenticator: Some(Arc::new(Narrowing)),
            own: Some(crate::builtin::service()),
            probing: false,
            limits: crate::limit::Settings { admin: 100_000, ban_after: 0, ..Default::default() },
            ..gateway::Settings::default()
        };
        let gateway =
            Gateway::open(settings, Arc::new(MemoryStore::new()), Arc::clone(&clock)).await.unwrap();
        let settings = config::Server { legacy: true, ..config::Server::default() };
        let mut house = Self { api: Api(service(gateway, settings, clock)), ids: BTreeMap::new() };
        for (name, service) in [("mine", "up"), (TWIN, "up"), ("canary-far", "canary-pay")] {
            let mut server = quiet(name);
            server["service"] = json!(service);
            if name != "mine" {
                let mark = if name == TWIN { TWIN } else { CANARY };
                server["description"] = json!(mark);
                server["tags"] = json!([mark]);
                server["capabilities"]["tools"][0]["description"] = json!(mark);
            }
            let made = house.ask("whole", "POST", "/api/v1/servers", &server).await;
            house.ids.insert(name, made.json["id"].as_str().unwrap().to_owned());
        }
        for (name, server) in [("canary-key", None), ("canary-key-of-far", Some("canary-far"))] {
            let mut wish = json!({ "name": name, "role": "viewer" });
            wish["server_id"] = json!(server.map(|server| &house.ids[server]));
            let made = house.ask("whole", "POST", "/api/v1/api-keys", &wish).await;
            house.ids.insert(name, made.json["id"].as_str().unwrap().to_owned());
        }
        let tenant = json!({ "id": "canary-tenant" });
        assert_eq!(house.ask("whole", "POST", "/api/v1/tenants", &tenant).await.status, StatusCode::CREATED);
        house
    }

    async fn ask(&self, who: &str, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.api.ask(who, method, path, &[], &body).await
    }

    /// Everything that an administrator of the tenant sees, but the trail, which grows by refusals.
    async fn everything(&self) -> String {
        let mut all = String::new();
        for path in ["/api/v1/servers?include_tools=true", "/api/v1/api-keys", "/api/v1/tenants"] {
            all += &self.ask("whole", "GET", path, &Value::Null).await.text;
        }
        let far = format!("/api/v1/servers/{}", self.ids["canary-far"]);
        all += &self.ask("whole", "GET", &far, &Value::Null).await.text;
        all += &self.ask("whole", "GET", &format!("{far}/credentials"), &Value::Null).await.text;
        all
    }

    fn narrowed(&self) -> [String; 2] {
        [format!("server.{}", self.ids["mine"]), "service.up".to_owned()]
    }
}

/// Bodies that each route takes, for things out of reach where they name any.
fn body(method: &str, path: &str, house: &House) -> Value {
    match (method, path) {
        ("POST", "/api/v1/servers") => {
            let mut server = quiet("new");
            server["service"] = json!("canary-pay");
            server
        }
        ("PUT", "/api/v1/servers/{id}") => json!({ "description": "changed" }),
        ("PUT", "/api/v1/tenants/{id}") => json!({ "enabled": false }),
        ("POST", "/api/v1/tenants") => json!({ "id": "new-tenant" }),
        ("POST", "/api/v1/api-keys") => json!({ "name": "new", "server_id": house.ids["canary-far"] }),
        ("POST", path) if path.ends_with("/credentials") || path.ends_with("/own") => {
            json!({ "header": "x-key", "value": "v" })
        }
        ("POST", _) => json!({}),
        _ => Value::Null,
    }
}

/// on every route a credential for one server or service finds nothing out of its reach, and changes nothing there; operations on
/// the whole tenant are refused as the matrix says.
#[tokio::test]
async fn a_narrowed_credential_touches_nothing_out_of_its_reach_on_any_route() {
    let house = House::new().await;
    let before = house.everything().await;
    assert!(before.matches(CANARY).count() > 8, "{before}");
    let (mut refused, mut walked) = (0, 0);
    for who in house.narrowed() {
        for (method, path, gate) in Gate::routes() {
            let Gate::Operation(operation) = gate else { continue };
            // Streams that stay open; `a_watcher` below has the events.
            if path.starts_with("/sse") || path == "/api/v1/events" {
                continue;
            }
            let may = principal(&who).unwrap().may(operation).is_ok();
            let things: Vec<&str> = match path {
                _ if path.contains("/servers/{id}") => vec![&house.ids["canary-far"]],
                _ if path.contains("/api-keys/{id}") => {
                    vec![&house.ids["canary-key"], &house.ids["canary-key-of-far"]]
                }
                _ if path.contains("/tenants/{id}") => vec!["canary-tenant", "default"],
                _ if path.contains("{name}") => vec!["canary-pay", "canary-far"],
                _ => vec!["x"],
            };
            for thing in things {
                let target = ["{id}", "{name}", "{service}", "{asset}"]
                    .iter()
                    .fold(path.to_owned(), |path, part| path.replace(part, thing));
                let target = target.replace("{version}", "latest");
                let target = match path {
                    _ if method == "DELETE" && path.contains("/credentials") => {
                        format!("{target}?header=x-key")
                    }
                    "/api/v1/discovery/tools" => format!("{target}?tools=add"),
                    "/api/v1/discovery/resources" => format!("{target}?resources=add"),
                    "/api/v1/discovery/prompts" => format!("{target}?prompts=add"),
                    "/api/v1/discovery/search" => format!("{target}?q=add"),
                    _ => target,
                };
                let answer = house.ask(&who, method, &target, &body(method, path, &house)).await;
                let told =
                    answer.text.replace("canary-pay", if method == "POST" { "" } else { "canary-pay" });
                let shown = format!(
                    "{who} {method} {target} ({}): {} {}",
                    operation.as_str(),
                    answer.status,
                    answer.text
                );
                walked += 1;
                if !may {
                    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{shown}");
                    refused += 1;
                } else if path.contains('{') && operation != crate::auth::Operation::DocsRead {
                    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{shown}");
                } else if method != "GET" {
                    assert!(answer.status.is_client_error(), "{shown}");
                } else {
                    assert!(answer.status.is_success() || path.starts_with("/docs"), "{shown}");
                }
                assert!(!told.contains(CANARY) || path == "/openapi.json", "{shown}");
                let twin = who.starts_with("server") && answer.text.contains(TWIN);
                assert!(!twin || path.starts_with("/docs"), "{shown}");
            }
        }
    }
    assert!(walked > 90 && refused > 15, "{walked} {refused}");
    assert_eq!(house.everything().await, before);
}

/// the matrix says of every operation whether it is within the reach of a credential for one server or service.
#[test]
fn the_matrix_says_what_is_out_of_reach_for_a_narrowed_credential() {
    let out: Vec<_> = crate::auth::Operation::ALL
        .iter()
        .filter(|operation| principal("service.up").unwrap().may(**operation).is_err())
        .map(|operation| operation.as_str())
        .collect();
    let expected = [
        "servers.command",
        "servers.file",
        "servers.restrict",
        "tenants.read",
        "tenants.write",
        "audit.read",
    ];
    assert_eq!(out, expected);
    for operation in out {
        let operation = crate::auth::Operation::ALL.iter().find(|one| one.as_str() == operation).unwrap();
        let error = principal("service.up").unwrap().may(*operation).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.message().contains("the service `up` alone"), "{error}");
        assert!(principal("whole").unwrap().may(*operation).is_ok());
    }
}

/// a server is neither registered in, nor moved to, a service out of reach; within its own service a credential for it may.
#[tokio::test]
async fn a_narrowed_credential_puts_no_server_into_another_service() {
    let house = House::new().await;
    let [server, service] = house.narrowed();
    let new = |name: &str, service: Option<&str>| {
        let mut new = quiet(name);
        new["service"] = json!(service);
        new
    };
    let mine = format!("/api/v1/servers/{}", house.ids["mine"]);
    for (name, place) in [("canary-pay", None), ("x", Some("canary-pay")), ("Y", None), ("z", Some("new"))] {
        for who in [&server, &service] {
            let answer = house.ask(who, "POST", "/api/v1/servers", &new(name, place)).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{who} {name} {place:?} {}", answer.text);
        }
    }
    for who in [&server, &service] {
        let answer = house.ask(who, "PUT", &mine, &json!({ "service": "canary-pay" })).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{who} {}", answer.text);
        let answer = house.ask(who, "PUT", &mine, &json!({ "service": "up", "description": "new" })).await;
        assert_eq!(answer.status, StatusCode::OK, "{who} {}", answer.text);
    }
    assert_eq!(house.ask(&server, "POST", "/api/v1/servers", &new("n", Some("up"))).await.status, 403);
    for (name, place) in [("n", Some("up")), ("UP", None)] {
        let made = house.ask(&service, "POST", "/api/v1/servers", &new(name, place)).await;
        assert_eq!(
            (made.status, &made.json["service"]),
            (StatusCode::CREATED, &json!("up")),
            "{}",
            made.text
        );
    }
    let trail = house.ask("whole", "GET", "/api/v1/audit?outcome=permission_denied", &Value::Null).await;
    assert!(
        trail.json["rows"].as_array().or(trail.json["entries"].as_array()).is_some_and(|rows| rows.len() > 8),
        "{}",
        trail.text
    );
}

/// what a credential makes is at most its own authority, its end included; it reads, rotates and revokes no key beyond that.
#[tokio::test]
async fn a_key_is_at_most_what_its_maker_is() {
    let house = House::new().await;
    let (mine, far, peer) = (&house.ids["mine"], &house.ids["canary-far"], &house.ids[TWIN]);
    let wish = |server: Option<&String>| json!({ "name": "k", "role": "admin", "server_id": server, "expires_in_days": 3650 });
    let [server, service] = house.narrowed();
    for (who, at, status) in [
        (&server, None, 403),
        (&server, Some(far), 400),
        (&server, Some(peer), 400),
        (&service, None, 403),
        (&service, Some(far), 400),
        (&server, Some(mine), 201),
        (&service, Some(mine), 201),
        (&service, Some(peer), 201),
    ] {
        let made = house.ask(who, "POST", "/api/v1/api-keys", &wish(at)).await;
        assert_eq!(made.status, status, "{who} {at:?} {}", made.text);
        if status != 201 {
            continue;
        }
        let end: jiff::Timestamp = made.json["expires_at"].as_str().unwrap().parse().unwrap();
        assert!(end.as_second() <= END, "it ends with its maker: {}", made.text);
        let path = format!("/api/v1/api-keys/{}", made.json["id"].as_str().unwrap());
        assert_eq!(house.ask(who, "GET", &path, &Value::Null).await.status, 200);
        let rotated = house.ask(who, "POST", &format!("{path}/rotate"), &json!({})).await;
        assert_eq!(rotated.status, 201, "{}", rotated.text);
        let end: jiff::Timestamp = rotated.json["expires_at"].as_str().unwrap().parse().unwrap();
        assert!(end.as_second() <= END, "{}", rotated.text);
        let path = format!("/api/v1/api-keys/{}", rotated.json["id"].as_str().unwrap());
        assert_eq!(house.ask(who, "DELETE", &path, &Value::Null).await.status, 204);
    }
    // The same user made these with a credential for everything, or others did.
    let one = house.ask("whole", "POST", "/api/v1/api-keys", &wish(None)).await.json["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let of_peer = house.ask("whole", "POST", "/api/v1/api-keys", &wish(Some(peer))).await;
    let of_peer = of_peer.json["id"].as_str().unwrap().to_owned();
    for (who, key) in
        [(&server, &one), (&service, &one), (&server, &of_peer), (&service, &house.ids["canary-key-of-far"])]
    {
        let path = format!("/api/v1/api-keys/{key}");
        for (method, path) in [("GET", path.clone()), ("POST", format!("{path}/rotate")), ("DELETE", path)] {
            let answer = house.ask(who, method, &path, &json!({})).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{who} {method} {}", answer.text);
        }
    }
    let listed = house.ask(&service, "GET", "/api/v1/api-keys?limit=1&page=2", &Value::Null).await;
    assert_eq!(listed.json["keys"].as_array().unwrap().len(), 1, "{}", listed.text);
    assert!(!listed.text.contains(CANARY));
    let all = house.ask("whole", "GET", "/api/v1/api-keys", &Value::Null).await;
    assert!(all.json["total"].as_u64() > listed.json["total"].as_u64(), "{} {}", all.text, listed.text);
}

/// the gateway's own tools are held to the same.
#[tokio::test]
async fn the_gateways_own_tools_reach_no_further() {
    let house = House::new().await;
    let before = house.everything().await;
    let tools: [(&str, Value); 9] = [
        ("list_servers", json!({})),
        ("list_servers", json!({ "search": CANARY })),
        ("find_tools", json!({ "query": "add" })),
        ("server_health", json!({ "server": "canary-far" })),
        ("server_health", json!({ "server": house.ids["canary-far"] })),
        ("remove_server", json!({ "server": "canary-far" })),
        ("register_server", {
            let mut server = quiet("new");
            server["service"] = json!("canary-pay");
            server
        }),
        (
            "proxy_request",
            json!({ "method": "tools/call", "params": { "name": "canary-pay__add", "arguments": {} } }),
        ),
        ("stats", json!({})),
    ];
    let gateway = &house.api.0.place.shared.gateway;
    let known: std::collections::BTreeSet<_> = crate::builtin::service()
        .items(CapabilityKind::Tool)
        .iter()
        .map(|item| item.name.to_owned())
        .collect();
    let walked: std::collections::BTreeSet<_> = tools.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(known, walked, "every tool of the gateway's own");
    for who in house.narrowed().into_iter().chain(["service.gateway".to_owned()]) {
        // The last one is for the tools themselves, and for no server behind them.
        let caller = Caller::new(principal(&who).unwrap());
        for (tool, arguments) in &tools {
            let asked = crate::gateway::McpRequest::new(
                "tools/call",
                &json!({ "name": tool, "arguments": arguments }),
            );
            let asked = asked.unwrap().to_service("gateway").unwrap();
            let answer = gateway.request(&caller, asked).await;
            // A refusal may repeat the name that was asked for.
            let told = match answer {
                Ok(answer) if !answer.is_error().unwrap() => answer.text().unwrap(),
                _ => continue,
            };
            assert!(!told.contains(CANARY), "{who} {tool}: {told}");
        }
    }
    assert_eq!(house.everything().await, before);
}

/// a narrowed watcher hears of its own server alone.
#[tokio::test]
async fn a_watcher_hears_of_its_own_server_alone() {
    let house = House::new().await;
    let gateway = &house.api.0.place.shared.gateway;
    for who in house.narrowed() {
        let mut events = gateway.watch(&Caller::new(principal(&who).unwrap())).unwrap();
        for name in ["canary-far", "mine"] {
            let path = format!("/api/v1/servers/{}", house.ids[name]);
            let change = json!({ "description": format!("for {who}") });
            assert_eq!(house.ask("whole", "PUT", &path, &change).await.status, 200);
        }
        let heard = events.next().await;
        let Some(gateway::Heard::Change(change)) = heard else { panic!("{heard:?}") };
        assert_eq!(change.id.to_string(), house.ids["mine"], "{who}");
    }
}
