//! Logins by OAuth, with a server and an authorization server that stand on this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::extract::{Json, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderMap, WWW_AUTHENTICATE};
use serde_json::{Value, json};
use url::Url;

use crate::auth::Vault;
use crate::clock::{Clock, ManualClock};
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{Caller, CredentialScope, Gateway, LoginAnswer, LoginWish, Settings};
use crate::model::{Authorized, CredentialKind, HealthStatus, Principal, Role, Server, TenantId};
use crate::store::{CredentialStore as _, MemoryStore, Store};
use crate::tasks::Tasks;
use crate::transport::guard::{Guard, Outbound, Stance, Stdio};

/// The state of the outside world.
#[derive(Default)]
pub(crate) struct World {
    /// Its origin.
    pub(crate) base: String,
    /// Access tokens that are accepted, with their scopes.
    tokens: BTreeMap<String, BTreeSet<String>>,
    /// Refresh tokens that are accepted, once.
    refresh: BTreeSet<String>,
    given: u32,
    /// How long tokens live, in seconds.
    life: Option<i64>,
    registrations: Vec<Value>,
    exchanges: Vec<BTreeMap<String, String>>,
    /// Calls of tools that were let in.
    calls: Vec<Value>,
    /// The false values in the metadata.
    resource: Option<&'static str>,
    authorization_endpoint: Option<&'static str>,
    /// The false address of its authorization server.
    elsewhere: Option<&'static str>,
    /// The authorization server is out of order.
    down: bool,
    /// The authorization server does not say in its answers who it is (RFC 9207).
    nameless: bool,
}

pub(crate) type Shared = Arc<Mutex<World>>;

/// The server at `/mcp`, and the authorization server at the same origin.
pub(crate) async fn outside() -> Shared {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let world: Shared = Arc::new(Mutex::new(World { base, life: Some(3600), ..World::default() }));
    let router = Router::new()
        .route("/mcp", post(mcp))
        .route("/.well-known/oauth-protected-resource/mcp", get(resource))
        .route("/.well-known/oauth-authorization-server", get(metadata))
        .route("/register", post(register))
        .route("/token", post(token))
        .with_state(Arc::clone(&world));
    // It ends with the test's runtime.
    Tasks::default().spawn(async move { drop(axum::serve(listener, router).await) });
    world
}

pub(crate) fn look(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().unwrap()
}

async fn resource(State(world): State<Shared>) -> Json<Value> {
    let world = look(&world);
    let own = format!("{}/mcp", world.base);
    Json(
        json!({ "resource": world.resource.unwrap_or(&own), "authorization_servers": [world.elsewhere.unwrap_or(&world.base)], "scopes_supported": ["read"] }),
    )
}

async fn metadata(State(world): State<Shared>) -> Json<Value> {
    let world = look(&world);
    let base = &world.base;
    let authorize = format!("{base}/authorize");
    Json(json!({
        "issuer": base,
        "authorization_endpoint": world.authorization_endpoint.unwrap_or(&authorize),
        "token_endpoint": format!("{base}/token"),
        "registration_endpoint": format!("{base}/register"),
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": !world.nameless,
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
    }))
}

async fn register(State(world): State<Shared>, Json(wish): Json<Value>) -> Response {
    look(&world).registrations.push(wish);
    let known = json!({ "client_id": "registered", "client_secret": "canary-secret", "redirect_uris": [] });
    (StatusCode::CREATED, Json(known)).into_response()
}

async fn token(State(world): State<Shared>, body: String) -> Response {
    let mut world = look(&world);
    let asked: BTreeMap<_, _> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    world.exchanges.push(asked.clone());
    if world.down {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let scopes = match asked["grant_type"].as_str() {
        "authorization_code" => asked["code"].clone(),
        _ if world.refresh.remove(&asked["refresh_token"]) => asked["scope"].clone(),
        _ => return (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" }))).into_response(),
    };
    world.given += 1;
    let (access, refresh) = (format!("canary-a{}", world.given), format!("canary-r{}", world.given));
    world.tokens.insert(access.clone(), scopes.split(' ').map(str::to_owned).collect());
    world.refresh.insert(refresh.clone());
    Json(json!({
        "access_token": access, "token_type": "Bearer", "refresh_token": refresh, "scope": scopes, "expires_in": world.life,
    }))
    .into_response()
}

/// `read` allows everything but the tool `write`.
async fn mcp(State(world): State<Shared>, headers: HeaderMap, Json(message): Json<Value>) -> Response {
    let mut world = look(&world);
    let wanted = if message["params"]["name"] == "write" { "write" } else { "read" };
    let metadata = format!("{}/.well-known/oauth-protected-resource/mcp", world.base);
    let refuse = |status: StatusCode, error: &str| {
        let challenge =
            format!(r#"Bearer error="{error}", scope="{wanted}", resource_metadata="{metadata}""#);
        (status, [(WWW_AUTHENTICATE, challenge)], "no").into_response()
    };
    let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let Some(scopes) = shown.and_then(|token| world.tokens.get(token)) else {
        return refuse(StatusCode::UNAUTHORIZED, "invalid_token");
    };
    if !scopes.contains(wanted) {
        return refuse(StatusCode::FORBIDDEN, "insufficient_scope");
    }
    let result = match message["method"].as_str().unwrap() {
        "initialize" => json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} },
            "serverInfo": { "name": "w", "version": "1" } }),
        "tools/list" => {
            let tools =
                ["read", "write"].map(|name| json!({ "name": name, "inputSchema": { "type": "object" } }));
            json!({ "tools": tools })
        }
        "ping" => json!({}),
        "tools/call" => {
            world.calls.push(message["params"].clone());
            json!({ "content": [{ "type": "text", "text": "done" }] })
        }
        "server/discover" => {
            let unknown = json!({ "jsonrpc": "2.0", "id": message["id"], "error": { "code": -32601, "message": "no" } });
            return (StatusCode::NOT_FOUND, Json(unknown)).into_response();
        }
        _ => return StatusCode::ACCEPTED.into_response(),
    };
    Json(json!({ "jsonrpc": "2.0", "id": message["id"], "result": result })).into_response()
}

struct House {
    gateway: Gateway,
    clock: Arc<ManualClock>,
    store: Arc<MemoryStore>,
    world: Shared,
    server: Arc<Server>,
    keys: String,
}

fn caller(role: Role) -> Caller {
    Caller::new(Principal::new(TenantId::default_tenant(), "user:ann", role))
}

fn settings(keys: &str, stance: Stance) -> Settings {
    let vault = Some(Arc::new(Vault::of(keys).unwrap()));
    let guard = Guard::new(stance, Outbound::default(), Stdio::default());
    Settings { vault, guard, probing: false, ..Settings::default() }
}

async fn open(store: &Arc<MemoryStore>, clock: &Arc<ManualClock>, settings: Settings) -> Gateway {
    Gateway::open(settings, Arc::clone(store) as Arc<dyn Store>, Arc::clone(clock) as Arc<dyn Clock>)
        .await
        .unwrap()
}

impl House {
    async fn new() -> Self {
        Self::with(json!({})).await
    }

    async fn with(configuration: Value) -> Self {
        Self::probing(configuration, false).await
    }

    async fn probing(configuration: Value, probing: bool) -> Self {
        let (store, clock, keys) =
            (Arc::default(), Arc::new(ManualClock::default()), Vault::new_key().unwrap());
        let world = outside().await;
        let gateway = open(&store, &clock, Settings { probing, ..settings(&keys, Stance::Open) }).await;
        let endpoint = format!("{}/mcp", look(&world).base);
        let registration = json!({ "name": "docs", "endpoint_url": endpoint, "era": "legacy", "configuration": configuration,
            "auto_discover": false, "health_check": { "enabled": probing } });
        let registration = serde_json::from_str(&without_era(registration)).unwrap();
        let server = gateway.register(&caller(Role::Admin), registration).await.unwrap();
        Self { gateway, clock, store, world, server, keys }
    }

    async fn begin(&self, whose: CredentialScope<'_>) -> Result<Url> {
        let wish = LoginWish {
            redirect_uri: "http://127.0.0.1:1/mcp/oauth/callback".into(),
            ..LoginWish::default()
        };
        let begun = self.gateway.begin_login(&caller(Role::Manager), self.server.id, whose, &wish).await?;
        Ok(Url::parse(&begun.authorization_url).unwrap())
    }

    /// Finishes the login with all scopes that were requested.
    async fn finish(&self, url: &Url, issuer: Option<&str>) -> Result<Authorized> {
        let asked: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
        let redirect_uri = Some(&*asked["redirect_uri"]);
        let answer = LoginAnswer { state: &asked["state"], code: &asked["scope"], issuer, redirect_uri };
        self.gateway.finish_login(&answer).await.map(|credential| {
            assert_eq!(
                (credential.kind, credential.header.as_str()),
                (CredentialKind::Oauth, "authorization")
            );
            credential.authorized.unwrap()
        })
    }

    async fn log_in(&self) -> Authorized {
        let (url, base) = (self.begin(CredentialScope::All).await.unwrap(), look(&self.world).base.clone());
        self.finish(&url, Some(&base)).await.unwrap()
    }

    async fn turns(&self, healthy: bool) {
        let is = || self.gateway.get(&caller(Role::Admin), self.server.id).unwrap().health_status;
        let turned = async {
            while (is() == HealthStatus::Healthy) != healthy {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let late = |_| panic!("it is still {:?}", is());
        tokio::time::timeout(Duration::from_secs(20), turned).await.unwrap_or_else(late);
    }

    async fn call(&self, tool: &str) -> Result<()> {
        self.gateway.call_tool(&caller(Role::Admin), &format!("docs__{tool}"), &json!({})).await.map(drop)
    }

    fn exchanges(&self) -> usize {
        look(&self.world).exchanges.len()
    }
}

/// The era is a part of the configuration.
fn without_era(mut registration: Value) -> String {
    let era = registration.as_object_mut().unwrap().remove("era").unwrap();
    registration["configuration"]["era"] = era;
    registration.to_string()
}

fn fact(error: &Error, name: &str) -> String {
    error.context().iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone()).unwrap_or_default()
}

#[tokio::test]
async fn a_server_that_wants_to_be_authorized_says_so_and_is_reached_after_a_login() {
    let house = House::new().await;
    let refused = house.call("read").await.unwrap_err();
    assert_eq!(
        (refused.kind(), fact(&refused, "authorization").as_str()),
        (ErrorKind::BadUpstream, "required")
    );
    let told = house.log_in().await;
    assert_eq!((told.scopes, told.renewable), (vec!["read".to_owned()], true));
    house.call("read").await.unwrap();
    let world = look(&house.world);
    assert_eq!(world.calls.len(), 1);
    assert_eq!(world.exchanges[0]["resource"], format!("{}/mcp", world.base), "RFC 8707");
    assert!(!world.exchanges[0]["code_verifier"].is_empty(), "PKCE");
}

#[tokio::test]
async fn a_server_is_probed_as_soon_as_it_is_shown_something_else() {
    let house = House::probing(json!({}), true).await;
    let (gateway, admin) = (&house.gateway, caller(Role::Admin));
    gateway.health_check(&admin, house.server.id).await.unwrap();
    house.turns(false).await;
    // The clock stands still: nothing is due.
    house.log_in().await;
    house.turns(true).await;
    look(&house.world).tokens.clear();
    gateway.remove_credential(&admin, house.server.id, CredentialScope::All, "authorization").await.unwrap();
    house.turns(false).await;
}

#[tokio::test]
async fn who_logs_in_for_more_keeps_what_they_had_and_the_client_that_they_were() {
    let house = House::new().await;
    house.log_in().await;
    let refused = house.call("write").await.unwrap_err();
    assert_eq!(
        (fact(&refused, "authorization"), fact(&refused, "scope")),
        ("insufficient_scope".to_owned(), "write".to_owned())
    );
    assert_eq!(house.log_in().await.scopes, ["write", "read"]);
    house.call("write").await.unwrap();
    house.call("read").await.unwrap();
    assert_eq!(look(&house.world).registrations.len(), 1);
    // The grant covers less than the request: another login changes nothing.
    for scopes in look(&house.world).tokens.values_mut() {
        scopes.remove("write");
    }
    assert_eq!(fact(&house.call("write").await.unwrap_err(), "authorization"), "refused");
}

#[tokio::test]
async fn a_token_is_renewed_once_for_all_who_need_it_and_what_came_is_kept() {
    let house = House::new().await;
    house.log_in().await;
    house.call("read").await.unwrap();
    house.clock.advance(Duration::from_secs(3539));
    house.call("read").await.unwrap();
    assert_eq!(house.exchanges(), 1, "it still holds");
    house.clock.advance(Duration::from_secs(1));
    let calls = (0..8).map(|_| house.call("read"));
    assert!(futures_util::future::join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!(house.exchanges(), 2, "one renewal");

    // The one that came is used after a restart, too.
    house.gateway.close().await;
    let gateway = open(&house.store, &house.clock, settings(&house.keys, Stance::Open)).await;
    let house = House { gateway, ..house };
    house.clock.advance(Duration::from_secs(3600));
    house.call("read").await.unwrap();
    assert_eq!(house.exchanges(), 3);
    let last = look(&house.world).exchanges[2].clone();
    assert_eq!(
        (last["refresh_token"].as_str(), last["client_secret"].as_str()),
        ("canary-r2", "canary-secret")
    );
}

#[tokio::test]
async fn a_token_that_a_server_refuses_before_its_time_is_renewed_and_the_call_is_made_once() {
    let house = House::new().await;
    house.log_in().await;
    house.clock.advance(Duration::from_secs(60));
    look(&house.world).tokens.clear();
    house.call("read").await.unwrap();
    assert_eq!((house.exchanges(), look(&house.world).calls.len()), (2, 1));
    // One that is refused right after it came is not renewed again and again.
    look(&house.world).tokens.clear();
    assert_eq!(fact(&house.call("read").await.unwrap_err(), "authorization"), "required");
    assert_eq!(house.exchanges(), 2);
}

/// A refresh token is good once: the one that came for it is the only one left.
#[tokio::test]
async fn a_token_that_was_renewed_is_shown_although_it_cannot_be_stored() {
    let house = House::new().await;
    house.log_in().await;
    house.call("read").await.unwrap();
    // The store does not know the server any more, and refuses writes about it.
    let (tenant, at) = (TenantId::default_tenant(), house.clock.timestamp());
    let row = house.store.audit(&tenant, 1).await.unwrap().remove(0);
    house.store.remove_server(&tenant, house.server.id, at, &row).await.unwrap();
    house.clock.advance(Duration::from_secs(3600));
    for _ in 0..2 {
        house.call("read").await.unwrap();
    }
    assert_eq!(house.exchanges(), 2);
}

#[tokio::test]
async fn an_authorization_that_has_ended_is_told_without_asking_again() {
    let house = House::new().await;
    house.log_in().await;
    look(&house.world).refresh.clear();
    house.clock.advance(Duration::from_secs(3600));
    for _ in 0..3 {
        assert_eq!(fact(&house.call("read").await.unwrap_err(), "authorization"), "required");
    }
    assert_eq!(house.exchanges(), 2);
    house.log_in().await;
    house.call("read").await.unwrap();
}

#[tokio::test]
async fn an_authorization_server_that_is_out_of_order_is_asked_again() {
    let house = House::new().await;
    house.log_in().await;
    house.clock.advance(Duration::from_secs(3600));
    look(&house.world).down = true;
    assert_eq!(house.call("read").await.unwrap_err().kind(), ErrorKind::BadUpstream);
    look(&house.world).down = false;
    house.call("read").await.unwrap();
}

/// B-23: `iss` of another, or of nobody where it was promised; compared as text.
#[tokio::test]
async fn an_answer_of_somebody_else_gets_nothing_and_ends_nothing() {
    let house = House::new().await;
    let (url, base) = (house.begin(CredentialScope::All).await.unwrap(), look(&house.world).base.clone());
    for issuer in [None, Some("https://evil.example"), Some(format!("{base}/").as_str())] {
        let refused = house.finish(&url, issuer).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{issuer:?}");
    }
    assert_eq!(house.exchanges(), 0);
    house.finish(&url, Some(&base)).await.unwrap();
    assert_eq!(house.finish(&url, Some(&base)).await.unwrap_err().kind(), ErrorKind::NotFound, "once");
    let late = house.begin(CredentialScope::All).await.unwrap();
    house.clock.advance(Duration::from_secs(600));
    assert_eq!(house.finish(&late, Some(&base)).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn one_caller_does_not_keep_others_from_logging_in() {
    let house = House::new().await;
    for _ in 0..20 {
        house.begin(CredentialScope::All).await.unwrap();
    }
    assert_eq!(house.begin(CredentialScope::All).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let other = Caller::new(Principal::new(TenantId::default_tenant(), "user:bob", Role::Manager));
    let wish = LoginWish { redirect_uri: "http://127.0.0.1:1/c".into(), ..LoginWish::default() };
    house.gateway.begin_login(&other, house.server.id, CredentialScope::All, &wish).await.unwrap();
    house.clock.advance(Duration::from_secs(601));
    house.begin(CredentialScope::All).await.unwrap();
}

/// B-23: metadata of another server, or with endpoints that are no web addresses.
#[tokio::test]
async fn metadata_that_lies_leads_nowhere() {
    let house = House::new().await;
    look(&house.world).resource = Some("https://evil.example/mcp");
    // The server says where its metadata is.
    house.call("read").await.unwrap_err();
    assert_eq!(house.begin(CredentialScope::All).await.unwrap_err().kind(), ErrorKind::BadUpstream);
    look(&house.world).resource = None;
    for endpoint in ["javascript:alert(1)", "http://login.example/authorize", "file:///etc/passwd"] {
        look(&house.world).authorization_endpoint = Some(endpoint);
        let refused = house.begin(CredentialScope::All).await.unwrap_err();
        assert_eq!(fact(&refused, "endpoint"), "authorization_endpoint", "{endpoint}: {refused}");
    }
    assert_eq!(look(&house.world).registrations.len(), 0);
}

/// X-14: an authorization server that means ill, and sends the browser on to an honest one under its own state, gets nothing: the
/// honest one answers to an address that is for its answers alone.
#[tokio::test]
async fn an_answer_at_the_address_of_another_issuer_is_refused() {
    let (house, evil) = (House::new().await, outside().await);
    for world in [&house.world, &evil] {
        look(world).nameless = true;
    }
    let endpoint = format!("{}/mcp", look(&evil).base);
    let registration = json!({ "name": "evil", "endpoint_url": endpoint, "auto_discover": false, "health_check": { "enabled": false } });
    let registration = serde_json::from_str(&registration.to_string()).unwrap();
    let evil_server = house.gateway.register(&caller(Role::Admin), registration).await.unwrap();
    let begin = async |server| {
        let wish = LoginWish { redirect_uri: "http://127.0.0.1:1/back".into(), ..LoginWish::default() };
        let begun =
            house.gateway.begin_login(&caller(Role::Manager), server, CredentialScope::All, &wish).await;
        let begun = begun.unwrap();
        let url = Url::parse(&begun.authorization_url).unwrap();
        let asked: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        assert_eq!(asked["redirect_uri"], begun.redirect_uri);
        asked
    };
    let (honest, again) = (begin(house.server.id).await, begin(house.server.id).await);
    let mixed = begin(evil_server.id).await;
    assert_eq!(honest["redirect_uri"], again["redirect_uri"], "one for each issuer, not for each login");
    assert_ne!(honest["redirect_uri"], mixed["redirect_uri"]);
    for (world, asked) in [(&house.world, &honest), (&evil, &mixed)] {
        let registered = look(world).registrations.pop().unwrap();
        assert_eq!(registered["redirect_uris"], json!([asked["redirect_uri"]]));
    }

    let path =
        |asked: &BTreeMap<String, String>| Url::parse(&asked["redirect_uri"]).unwrap().path().to_owned();
    let elsewhere = [
        Some(honest["redirect_uri"].clone()),
        Some(format!("{}?code=honest&state={}", honest["redirect_uri"], mixed["state"])),
        Some(path(&honest)),
        Some("http://127.0.0.1:1/back".to_owned()),
        Some(format!("{}/", mixed["redirect_uri"].rsplit_once('/').unwrap().0)),
        Some(String::new()),
        None,
    ];
    for at in &elsewhere {
        let (state, redirect_uri) = (&*mixed["state"], at.as_deref());
        let answer = LoginAnswer { state, code: "honest", issuer: None, redirect_uri };
        let refused = [
            house.gateway.finish_login(&answer).await.unwrap_err(),
            house.gateway.login_asked(state, redirect_uri).unwrap_err(),
            house.gateway.give_up_login(state, redirect_uri).unwrap_err(),
        ];
        assert!(
            refused.iter().all(|error| error.kind() == ErrorKind::PermissionDenied),
            "{at:?} {refused:?}"
        );
    }
    assert!(look(&evil).exchanges.is_empty(), "the code of the honest one went to nobody");
    for (asked, at) in [(&mixed, path(&mixed)), (&honest, honest["redirect_uri"].clone())] {
        let answer =
            LoginAnswer { state: &asked["state"], code: "read", issuer: None, redirect_uri: Some(&at) };
        house.gateway.finish_login(&answer).await.unwrap();
    }
    assert_eq!((look(&evil).exchanges.len(), house.exchanges()), (1, 1));
}

/// B-20: an address in a server's metadata is judged as one that a tenant chose, wherever the operator put the server itself.
#[tokio::test]
async fn a_server_does_not_lead_the_gateway_inside() {
    let house = House::new().await;
    house.gateway.close().await;
    let gateway = open(&house.store, &house.clock, settings(&house.keys, Stance::Guarded)).await;
    let named = (house.server.tenant_id.clone(), house.server.name.clone(), house.server.endpoint.clone());
    gateway.guard().trust([named]);
    let house = House { gateway, ..house };
    house.call("read").await.unwrap_err();
    look(&house.world).elsewhere = Some("http://127.0.0.2:9");
    let refused = house.begin(CredentialScope::All).await.unwrap_err();
    assert!(fact(&refused, "reason").contains("outbound"), "{refused}");
    look(&house.world).elsewhere = None;
    house.log_in().await;
}

/// A-20: a caller's own login is used in that caller's calls only; none of it is returned, stored open or written to the trail.
#[tokio::test]
async fn a_login_of_ones_own_is_nobody_elses_and_no_secret_is_told() {
    let house = House::with(json!({ "credentials": "caller" })).await;
    let base = look(&house.world).base.clone();
    let url = house.begin(CredentialScope::Own).await.unwrap();
    let sent: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
    let asked = house.gateway.login_asked(&sent["state"], Some(&sent["redirect_uri"])).unwrap();
    assert_eq!((asked.begun_by.as_str(), asked.subject.as_deref()), ("user:ann", Some("user:ann")));
    assert_eq!((asked.server.as_str(), asked.issuer.as_deref()), ("docs", Some(base.as_str())));
    house.finish(&url, Some(&base)).await.unwrap();
    house.call("read").await.unwrap();
    let other = Caller::new(Principal::new(TenantId::default_tenant(), "user:bob", Role::Admin));
    assert!(house.gateway.call_tool(&other, "docs__read", &json!({})).await.is_err());
    assert_eq!(look(&house.world).calls.len(), 1);

    let viewer = Caller::new(Principal::new(TenantId::default_tenant(), "user:eve", Role::Viewer));
    let wish = LoginWish { redirect_uri: "http://127.0.0.1:1/c".into(), ..LoginWish::default() };
    for whose in [CredentialScope::All, CredentialScope::Of("user:ann")] {
        let refused = house.gateway.begin_login(&viewer, house.server.id, whose, &wish).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    }
    let told = house.gateway.credentials(&caller(Role::Manager), house.server.id).unwrap();
    let trail = house.store.audit(&TenantId::default_tenant(), 100).await.unwrap();
    let stored = house.store.credentials().await.unwrap();
    let seen = [
        serde_json::to_string(&told).unwrap(),
        serde_json::to_string(&trail).unwrap(),
        format!("{stored:?} {told:?}"),
    ];
    assert!(seen.iter().all(|text| !text.contains("canary")), "{seen:?}");
    assert!(!stored[0].sealed.windows(6).any(|window| window == b"canary"));
}
