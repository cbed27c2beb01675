//! The same matrix on every entry point: which routes there are, and that a forbidden operation is refused alike wherever it is
//! asked.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::auth::{Answer as Known, Authenticator, Authorization, Gate};
use crate::error::{Error, ErrorKind};
use crate::gateway::{self, Caller};
use crate::model::{Endpoint, Principal, Role, TenantId};
use crate::rpc::version;
use crate::server::stdio::Stdio;

/// Takes `Bearer ROLE@TENANT` for what it says.
#[derive(Debug)]
pub(super) struct Named;

pub(super) fn principal(name: &str) -> Option<Principal> {
    let (role, tenant) = name.split_once('@')?;
    Some(Principal::new(tenant.parse().ok()?, format!("user:{role}"), role.parse().ok()?))
}

impl Authenticator for Named {
    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Known<'a> {
        let unknown = || Error::new(ErrorKind::Unauthenticated, "nobody is known by this");
        Known::Now(match credentials {
            Credentials::Embedded(principal) => Ok(principal.clone()),
            Credentials::Network { authorization: Authorization::Bearer(bearer), .. } => {
                let name = std::str::from_utf8(bearer.token()).unwrap_or_default();
                principal(&name.replace('.', "@")).ok_or_else(unknown)
            }
            Credentials::Network { .. } => Err(unknown()),
        })
    }
}

impl Api {
    /// A gateway for callers by name, with every entry point open.
    pub(super) async fn shared() -> Self {
        let clock: Arc<dyn Clock> = crate::clock::SystemClock::shared();
        let settings = gateway::Settings {
            authenticator: Some(Arc::new(Named)),
            probing: false,
            // Each caller tries every route at once: that is more than a guest may in a minute.
            limits: crate::limit::Settings { guest: 10_000, viewer: 10_000, ..Default::default() },
            ..gateway::Settings::default()
        };
        let store = Arc::new(MemoryStore::new());
        let gateway = Gateway::open(settings, store, Arc::clone(&clock)).await.unwrap();
        let settings = config::Server { legacy: true, sse: true, ..config::Server::default() };
        Self(service(gateway, settings, clock))
    }

    /// Asks as `who`, which is `ROLE.TENANT`.
    pub(super) async fn ask(
        &self,
        who: &str,
        method: &str,
        path: &str,
        more: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let bearer = format!("Bearer {who}");
        let mut headers = vec![
            ("host", "localhost"),
            ("authorization", &*bearer),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        headers.extend_from_slice(more);
        self.raw(method, path, &headers, body).await
    }
}

/// Every path that the router has, as it has it.
fn paths(router: &Router) -> BTreeSet<String> {
    let shown = format!("{router:?}");
    // The fallback stands for every path that no route has.
    let (shown, _) = shown.split_once("fallback_router").unwrap();
    let entries = shown.split("RouteId(").skip(1);
    let named = entries.filter_map(|entry| entry.split_once("): \"").filter(|(id, _)| id.len() < 8));
    named
        .filter_map(|(_, rest)| Some(rest.split_once('"')?.0.to_owned()))
        .filter(|path| path.starts_with('/'))
        .collect()
}

const METHODS: [&str; 8] = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"];

/// A-09: every route and method of the router and of the MCP entry points is in the permission matrix, and nothing else is.
#[tokio::test]
async fn every_route_and_method_is_in_the_permission_matrix() {
    let Api(service) = Api::shared().await;
    let router = routes(&service.place.shared);
    let paths = paths(&router);
    let documented: BTreeSet<String> = document().paths.paths.keys().cloned().collect();
    let behind: BTreeSet<_> =
        documented.iter().filter(|path| mcp::McpRoute::of(path).is_none()).cloned().collect();
    assert!(paths.is_superset(&behind), "the paths of the router were not all found: {paths:?}");

    let mut there = BTreeSet::new();
    for path in &paths {
        for method in METHODS {
            let target = path.replace("{id}", &uuid::Uuid::new_v4().to_string()).replace("{service}", "x");
            // Without a caller no handler gets further than to say so.
            let request = Request::builder().method(method).uri(&*target).body(Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            if response.status() != StatusCode::METHOD_NOT_ALLOWED {
                there.insert(format!("{method} {path}"));
            }
        }
    }
    let doors = [
        ("/mcp", "/mcp"),
        ("/mcp/{service}", "/mcp/x"),
        ("/mcp/proxy", "/mcp/proxy"),
        ("/legacy/mcp", "/legacy/mcp"),
    ];
    for (path, target) in doors {
        assert!(mcp::McpRoute::of(target).is_some());
        for method in METHODS {
            let api = Api(service.clone());
            if api.ask("admin.default", method, target, &[], "{}").await.status
                != StatusCode::METHOD_NOT_ALLOWED
            {
                there.insert(format!("{method} {path}"));
            }
        }
    }
    let matrix: BTreeSet<String> =
        Gate::routes().map(|(method, path, _)| format!("{method} {path}")).collect();
    let missing: Vec<_> = there.difference(&matrix).collect();
    assert!(missing.is_empty(), "core/src/auth/permissions.toml lacks the routes {missing:?}");
    let gone: Vec<_> = matrix.difference(&there).collect();
    assert!(gone.is_empty(), "core/src/auth/permissions.toml has routes that do not exist: {gone:?}");
}

/// A-26: a route that the matrix does not have is refused, also to an administrator.
#[tokio::test]
async fn a_route_that_the_matrix_does_not_have_is_nobodys() {
    let router: Router = Router::new()
        .route("/forgotten", axum::routing::get(async || "secret"))
        .route_layer(axum::middleware::from_fn(gate::check));
    let caller = Caller::new(Principal::local(TenantId::default_tenant()));
    let request = Request::builder().uri("/forgotten").extension(caller).body(Body::empty()).unwrap();
    assert_eq!(router.oneshot(request).await.unwrap().status(), StatusCode::FORBIDDEN);
}

/// A-07: each role is let through, or refused with 403, on every route as the matrix says.
#[tokio::test]
async fn each_role_is_refused_on_the_routes_of_operations_that_it_may_not_do() {
    let api = Api::shared().await;
    for (method, path, gate) in Gate::routes() {
        let Gate::Operation(operation) = gate else { continue };
        // These answer with streams that stay open.
        if path.starts_with("/sse") || path.ends_with("/events") {
            continue;
        }
        let target = path.replace("{id}", &uuid::Uuid::new_v4().to_string());
        for role in Role::ALL {
            let who = format!("{}.default", role.as_str());
            let may = principal(&who.replace('.', "@")).unwrap().may(operation).is_ok();
            let answer = api.ask(&who, method, &target, &[], "{}").await;
            assert_eq!(answer.status != StatusCode::FORBIDDEN, may, "{who} {method} {path}: {}", answer.json);
            if !may {
                assert_eq!(answer.json["error"]["code"], "PERMISSION_DENIED");
            }
        }
    }
}

const CALL: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a__t","arguments":{}}}"#;
const MODERN: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a__t","arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;

fn refused(answer: &Value) -> (&Value, &Value) {
    (&answer["error"]["code"], &answer["error"]["data"]["kind"])
}

/// A-09: the same forbidden call is refused alike on every entry point: 2026-07-28, the four revisions before it, HTTP+SSE,
/// stdio, `/mcp/proxy`, `/legacy/mcp`, with and without the version header; and other spellings of the path lead nowhere.
#[tokio::test]
async fn a_forbidden_call_is_refused_alike_on_every_door() {
    let api = Api::shared().await;
    let who = "viewer.default";
    let expected = (&json!(-31403), &json!("permission_denied"));

    let modern = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "a__t")];
    for path in ["/mcp", "/mcp/a"] {
        let answer = api.ask(who, "POST", path, &modern, MODERN).await;
        assert_eq!((answer.status, refused(&answer.json)), (StatusCode::FORBIDDEN, expected), "{path}");
    }
    for version in version::LEGACY {
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
        let opened = api.ask(who, "POST", "/mcp", &[], &hello.to_string()).await;
        assert_eq!(opened.json["result"]["protocolVersion"], version);
        let session = opened.headers["mcp-session-id"].to_str().unwrap().to_owned();
        for more in [
            vec![("mcp-session-id", &*session)],
            vec![("mcp-session-id", &*session), ("mcp-protocol-version", version)],
        ] {
            let answer = api.ask(who, "POST", "/mcp", &more, CALL).await;
            assert_eq!(
                (answer.status, refused(&answer.json)),
                (StatusCode::FORBIDDEN, expected),
                "{version}"
            );
        }
    }
    for path in ["/mcp/proxy", "/legacy/mcp"] {
        let answer = api.ask(who, "POST", path, &[], CALL).await;
        assert_eq!((answer.status, refused(&answer.json)), (StatusCode::FORBIDDEN, expected), "{path}");
    }
    let batch = format!("[{CALL}]");
    let answer = api.ask(who, "POST", "/mcp", &[], &batch).await;
    assert_eq!(answer.json["error"]["code"], -32600);
    for path in ["//mcp", "/mcp//", "/%6dcp", "/mcp//a", "/MCP", "/mcp/a//", "/x/../mcp"] {
        let answer = api.ask("admin.default", "POST", path, &modern, MODERN).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(refused(&over_sse(&api, who).await), expected);
    assert_eq!(refused(&over_stdio(&api, who).await), expected);
}

/// The answer to the call over HTTP+SSE of 2024-11-05.
async fn over_sse(api: &Api, who: &str) -> Value {
    let bearer = format!("Bearer {who}");
    let request = Request::builder().uri("/sse").extension(peer(Ipv4Addr::LOCALHOST));
    let request = request.header("host", "localhost").header("authorization", &bearer);
    let response = api.0.clone().oneshot(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    let mut events = response.into_body().into_data_stream();
    let first = String::from_utf8(events.next().await.unwrap().unwrap().to_vec()).unwrap();
    let endpoint = first.lines().find_map(|line| line.strip_prefix("data: ")).unwrap().to_owned();
    let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
    for (message, id) in [(hello, 0), (CALL, 1)] {
        assert_eq!(api.ask(who, "POST", &endpoint, &[], message).await.status, StatusCode::ACCEPTED);
        loop {
            let event =
                tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap().unwrap().unwrap();
            let event = String::from_utf8(event.to_vec()).unwrap();
            let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or("{}");
            let data: Value = serde_json::from_str(data).unwrap();
            if data["id"] != id {
                continue;
            }
            if id == 1 {
                return data;
            }
            break;
        }
    }
    Value::Null
}

/// The answer to the call over standard input and output.
async fn over_stdio(api: &Api, who: &str) -> Value {
    let client = Stdio {
        route: Endpoint::all(),
        principal: principal(&who.replace('.', "@")).unwrap(),
        max_line: 4096,
        grace: Duration::from_secs(5),
    };
    let (near, far) = tokio::io::duplex(4096);
    let (input, output) = tokio::io::split(far);
    let gateway = api.0.place.shared.gateway.clone();
    let serving = async { stdio::serve(&gateway, client, input, output, CancellationToken::new()).await };
    let asking = async {
        let (output, mut input) = tokio::io::split(near);
        let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
        let mut lines = BufReader::new(output).lines();
        let mut last = Value::Null;
        for message in [hello, CALL] {
            input.write_all(format!("{message}\n").as_bytes()).await.unwrap();
            last = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
        }
        input.shutdown().await.unwrap();
        last
    };
    let ((), answer) = tokio::join!(serving, asking);
    answer
}

/// A-13: a tenant and a user that the client names in headers change nothing: the tenant is that of the credentials.
#[tokio::test]
async fn the_tenant_comes_only_from_the_credentials() {
    let api = Api::shared().await;
    let made = api.ask("admin.a", "POST", "/api/v1/servers", &[], &quiet("one").to_string()).await;
    assert_eq!((made.status, &made.json["tenant_id"]), (StatusCode::CREATED, &json!("a")));
    let forged =
        [("x-tenant-id", "a"), ("x-user", "user:admin"), ("x-mcp-role", "admin"), ("mcp-init-host", "a")];
    let listed = api.ask("viewer.b", "GET", "/api/v1/servers", &forged, "").await;
    assert_eq!(listed.json["total"], 0);
    let path = format!("/api/v1/servers/{}", made.json["id"].as_str().unwrap());
    assert_eq!(api.ask("admin.b", "DELETE", &path, &forged, "").await.status, StatusCode::NOT_FOUND);
    let refused = api.ask("viewer.b", "POST", "/api/v1/servers", &forged, &quiet("two").to_string()).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}
