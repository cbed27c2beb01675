//! Credentials for servers: sealed at rest, never returned, sent to the origin that they were given for and nowhere else.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::auth::Vault;
use crate::clock::{Clock, ManualClock};
use crate::error::{ErrorKind, Result};
use crate::gateway::{Caller, CredentialScope, Gateway, Settings};
use crate::model::{Credential, Patch, Principal, Role, Server, ServerId, TenantId};
use crate::store::{CredentialStore, MemoryStore, Store};
use crate::transport::credential_provider::{CredentialProvider, CredentialRequest, ProvidedCredentials};
use crate::transport::guard::{Guard, Outbound, Stance, Stdio};

const ORIGIN: &str = "https://tools.example:443";

struct House {
    gateway: Gateway,
    store: Arc<MemoryStore>,
}

impl House {
    async fn open(keys: &str) -> Self {
        Self::on(Arc::new(MemoryStore::new()), keys).await
    }

    async fn on(store: Arc<MemoryStore>, keys: &str) -> Self {
        let clock: Arc<dyn Clock> = ManualClock::shared();
        let vault = Some(Arc::new(Vault::of(keys).unwrap()));
        let guard = Guard::new(Stance::Guarded, Outbound::default(), Stdio::default());
        let settings = Settings { vault, guard, probing: false, ..Settings::default() };
        let gateway = Gateway::open(settings, Arc::clone(&store) as _, clock).await.unwrap();
        Self { gateway, store }
    }

    async fn register(&self, server: Value) -> Arc<Server> {
        let server = serde_json::from_str(&server.to_string()).unwrap();
        self.gateway.register(&caller(Role::Admin), server).await.unwrap()
    }

    async fn tools(&self) -> ServerId {
        self.register(server("tools-1", &json!({}))).await.id
    }

    async fn set(&self, id: ServerId, header: &str, value: &str) -> Result<Credential> {
        self.gateway.set_credential(&caller(Role::Manager), id, CredentialScope::All, header, value).await
    }

    /// The headers that a request to `origin` carries.
    fn shown(&self, server: ServerId, origin: &str) -> Vec<(String, String)> {
        match self.gateway.0.book.headers(CredentialRequest { server, subject: None, origin }) {
            ProvidedCredentials::Now(headers) => headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                .collect(),
            ProvidedCredentials::Nothing
            | ProvidedCredentials::Later(_)
            | ProvidedCredentials::Missing(_) => Vec::new(),
        }
    }
}

fn caller(role: Role) -> Caller {
    Caller::new(Principal::new(TenantId::default_tenant(), "user:a", role))
}

fn server(name: &str, configuration: &Value) -> Value {
    json!({
        "name": name, "endpoint_url": "https://tools.example/mcp", "auto_discover": false,
        "health_check": { "enabled": false }, "configuration": configuration,
    })
}

fn pair(header: &str, value: &str) -> (String, String) {
    (header.to_owned(), value.to_owned())
}

/// a server gets the credentials that are set for it and its origin; another server, and another origin, get none.
#[tokio::test]
async fn a_server_is_shown_what_is_set_for_it_at_the_origin_that_it_had() {
    let house = House::open(&Vault::new_key().unwrap()).await;
    let (id, other) = (house.tools().await, house.register(server("tools-2", &json!({}))).await.id);
    let set = house.set(id, "X-Api-Key", "first").await.unwrap();
    assert_eq!((set.header.as_str(), set.origin.as_str()), ("x-api-key", ORIGIN));
    house.set(id, "authorization", "Bearer t").await.unwrap();
    house.set(id, "x-api-key", "second").await.unwrap();
    let mut shown = house.shown(id, ORIGIN);
    shown.sort();
    assert_eq!(shown, [pair("authorization", "Bearer t"), pair("x-api-key", "second")]);
    for (server, origin) in
        [(other, ORIGIN), (id, "https://evil.example:443"), (id, "http://tools.example:80")]
    {
        assert_eq!(house.shown(server, origin), []);
    }
    house
        .gateway
        .remove_credential(&caller(Role::Manager), id, CredentialScope::All, "X-API-Key")
        .await
        .unwrap();
    assert_eq!(house.shown(id, ORIGIN), [pair("authorization", "Bearer t")]);
    let gone =
        house.gateway.remove_credential(&caller(Role::Manager), id, CredentialScope::All, "x-api-key").await;
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);
    house.gateway.remove(&caller(Role::Admin), id, None).await.unwrap();
    assert_eq!(house.shown(id, ORIGIN), []);
    assert_eq!(house.store.credentials().await.unwrap(), []);
}

/// a value is not in the store, the trail or any answer; and after a restart it is sent again.
#[tokio::test]
async fn a_value_is_kept_sealed_and_survives() {
    let (old, new) = (Vault::new_key().unwrap(), Vault::new_key().unwrap());
    let house = House::open(&old).await;
    let id = house.tools().await;
    house.set(id, "authorization", "Bearer canary").await.unwrap();
    assert!(house.set(id, "authorization", "bad\ncanary").await.is_err());
    let told = house.gateway.credentials(&caller(Role::Manager), id).unwrap();
    let trail = house.store.audit(&TenantId::default_tenant(), 100).await.unwrap();
    let stored = house.store.credentials().await.unwrap();
    let seen = [
        serde_json::to_string(&told).unwrap(),
        serde_json::to_string(&trail).unwrap(),
        format!("{stored:?}"),
    ];
    assert!(seen.iter().all(|text| !text.contains("canary")), "{seen:?}");
    assert!(!stored[0].sealed.windows(6).any(|window| window == b"canary"));
    let actions: Vec<_> = trail.iter().map(|entry| (entry.action.as_str(), entry.outcome.as_str())).collect();
    assert_eq!(actions[..2], [("credential.set", "invalid_params"), ("credential.set", "ok")]);

    // A newer key in front: values that the old one sealed are opened, and sealed anew.
    let rotated = House::on(Arc::clone(&house.store), &format!("{new}{old}")).await;
    assert_eq!(rotated.shown(id, ORIGIN), [pair("authorization", "Bearer canary")]);
    let only_new = House::on(Arc::clone(&house.store), &new).await;
    assert_eq!(only_new.shown(id, ORIGIN), [pair("authorization", "Bearer canary")]);
    // Without any of its keys nothing is sent, and nothing breaks.
    let stranger = House::on(Arc::clone(&house.store), &Vault::new_key().unwrap()).await;
    assert_eq!(stranger.shown(id, ORIGIN), []);
}

/// a caller that may change a server but not read its secrets does not get them by pointing it to an address of its own.
#[tokio::test]
async fn a_server_that_is_pointed_elsewhere_leaves_its_secrets_behind() {
    let house = House::open(&Vault::new_key().unwrap()).await;
    let with = json!({ "headers": { "authorization": "Bearer configured" } });
    let id = house.register(server("tools-1", &with)).await.id;
    house.set(id, "x-api-key", "canary").await.unwrap();
    let moved = |url: &str| Patch { endpoint_url: Some(url.to_owned()), ..Patch::default() };
    let developer = caller(Role::Developer);
    for url in ["https://evil.example/mcp", "http://tools.example/mcp", "https://tools.example:8443/mcp"] {
        let error = house.gateway.update(&developer, id, moved(url), None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidParams, "{url}");
        assert!(error.message().contains("configuration.headers"), "{error}");
    }
    house.gateway.update(&developer, id, moved("https://tools.example/other"), None).await.unwrap();
    let anew = Patch {
        configuration: Some(crate::model::Configuration::default()),
        ..moved("https://evil.example/mcp")
    };
    house.gateway.update(&developer, id, anew, None).await.unwrap();
    assert_eq!(house.shown(id, "https://evil.example:443"), []);
}

/// only callers that may change credentials see or set them, and only those of their tenant's servers.
#[tokio::test]
async fn credentials_are_for_those_who_may_and_for_headers_that_may_be_sent() {
    let house = House::open(&Vault::new_key().unwrap()).await;
    let id = house.tools().await;
    for role in [Role::Developer, Role::Analyst, Role::Viewer, Role::Guest] {
        let set = house.gateway.set_credential(&caller(role), id, CredentialScope::All, "x-a", "b").await;
        assert_eq!(set.unwrap_err().kind(), ErrorKind::PermissionDenied, "{role:?}");
        assert!(house.gateway.credentials(&caller(role), id).is_err(), "{role:?}");
    }
    let stranger = Caller::new(Principal::new(TenantId::new("other").unwrap(), "user:a", Role::Admin));
    assert_eq!(house.gateway.credentials(&stranger, id).unwrap_err().kind(), ErrorKind::NotFound);
    let set = house.gateway.set_credential(&stranger, id, CredentialScope::All, "x-a", "b").await;
    assert_eq!(set.unwrap_err().kind(), ErrorKind::NotFound);
    for (header, value) in
        [("host", "x"), ("Content-Length", "1"), ("a b", "x"), ("x-a", "a\r\nb: c"), ("x-a", "")]
    {
        assert_eq!(
            house.set(id, header, value).await.unwrap_err().kind(),
            ErrorKind::InvalidParams,
            "{header}"
        );
    }
}

/// a caller's own credential is sent in that caller's calls alone, the gateway's own in none of them, and nothing at all
/// where a caller has none.
#[tokio::test]
async fn what_is_set_for_one_caller_is_shown_in_that_callers_calls_alone() {
    let house = House::open(&Vault::new_key().unwrap()).await;
    let id = house.register(server("tools-1", &json!({ "credentials": "caller" }))).await.id;
    let (admin, manager) = (caller(Role::Admin), caller(Role::Manager));
    let set = async |caller: &Caller, whose: CredentialScope<'_>, value: &str| {
        house.gateway.set_credential(caller, id, whose, "authorization", value).await
    };
    set(&manager, CredentialScope::All, "the gateway's").await.unwrap();
    set(&manager, CredentialScope::Own, "a's").await.unwrap();
    set(&admin, CredentialScope::Of("user:b"), "b's").await.unwrap();
    let refused = set(&manager, CredentialScope::Of("user:c"), "c's").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    let shown = |subject: Option<&str>, origin: &str| match house.gateway.0.book.headers(CredentialRequest {
        server: id,
        subject,
        origin,
    }) {
        ProvidedCredentials::Now(headers) => Ok(headers["authorization"].to_str().unwrap().to_owned()),
        ProvidedCredentials::Missing(error) => Err(error.kind()),
        ProvidedCredentials::Nothing | ProvidedCredentials::Later(_) => Ok(String::new()),
    };
    assert_eq!(shown(None, ORIGIN), Ok("the gateway's".to_owned()));
    assert_eq!(shown(Some("user:a"), ORIGIN), Ok("a's".to_owned()));
    assert_eq!(shown(Some("user:b"), ORIGIN), Ok("b's".to_owned()));
    assert_eq!(shown(Some("user:c"), ORIGIN), Err(ErrorKind::PermissionDenied));
    assert_eq!(shown(Some("user:a"), "https://evil.example:443"), Err(ErrorKind::PermissionDenied));
    let told = house.gateway.credentials(&manager, id).unwrap();
    let subjects: Vec<_> = told.iter().map(|one| one.subject.as_deref()).collect();
    assert_eq!(subjects, [None, Some("user:a"), Some("user:b")]);
    assert_eq!(house.gateway.own_credentials(&manager, id).unwrap().len(), 1);
    house.gateway.remove_credential(&manager, id, CredentialScope::Own, "Authorization").await.unwrap();
    assert_eq!(shown(Some("user:a"), ORIGIN), Err(ErrorKind::PermissionDenied));
    assert_eq!(shown(Some("user:b"), ORIGIN), Ok("b's".to_owned()));
}

/// a caller that may change a server but not its credentials cannot have the gateway's own credential sent in their
/// calls; and a server that gets the same in all calls, or nothing at all, takes nobody's own.
#[tokio::test]
async fn whose_credentials_a_server_is_shown_is_for_those_to_say_who_set_them() {
    let house = House::open(&Vault::new_key().unwrap()).await;
    let id = house.register(server("tools-1", &json!({ "credentials": "caller" }))).await.id;
    let shared = Patch { configuration: Some(crate::model::Configuration::default()), ..Patch::default() };
    let refused = house.gateway.update(&caller(Role::Developer), id, shared.clone(), None).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::PermissionDenied);
    house.gateway.update(&caller(Role::Manager), id, shared, None).await.unwrap();
    let own =
        house.gateway.set_credential(&caller(Role::Manager), id, CredentialScope::Own, "x-a", "b").await;
    assert_eq!(own.unwrap_err().kind(), ErrorKind::InvalidParams);
    let command = json!({ "name": "child", "command": "cat", "configuration": { "credentials": "caller" } });
    let registration = serde_json::from_str(&command.to_string()).unwrap();
    let refused = house.gateway.register(&caller(Role::Admin), registration).await.unwrap_err();
    assert!(refused.to_string().contains("needs a server that is reached by a URL"), "{refused}");
}
