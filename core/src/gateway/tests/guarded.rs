//! The addresses and programs that are allowed once others than the user of this machine can register servers.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::clock::{Clock, ManualClock};
use crate::error::{ErrorKind, Result};
use crate::gateway::{Caller, Gateway, Settings};
use crate::model::{AuditEntry, Patch, Principal, Registration, Role, Server, ServerEndpoint, TenantId};
use crate::store::{MemoryStore, Store};
use crate::transport::guard::{Guard, Stance};

struct House {
    gateway: Gateway,
    store: Arc<MemoryStore>,
}

impl House {
    async fn open(guard: Guard) -> Self {
        Self::on(Arc::new(MemoryStore::new()), guard).await
    }

    async fn on(store: Arc<MemoryStore>, guard: Guard) -> Self {
        let clock: Arc<dyn Clock> = ManualClock::shared();
        let settings = Settings { guard, probing: false, ..Settings::default() };
        let gateway = Gateway::open(settings, Arc::clone(&store) as _, clock).await.unwrap();
        Self { gateway, store }
    }

    async fn register(&self, role: Role, server: Value) -> Result<Arc<Server>> {
        self.gateway.register(&caller(role), registration(server)).await
    }

    async fn audit(&self) -> Vec<AuditEntry> {
        self.store.audit(&TenantId::default_tenant(), 100).await.unwrap()
    }

    /// Programs that were started.
    async fn starts(&self) -> usize {
        self.audit().await.iter().filter(|entry| entry.action == "stdio.start").count()
    }
}

fn caller(role: Role) -> Caller {
    Caller::new(Principal::new(TenantId::default_tenant(), "user:a", role))
}

fn registration(mut server: Value) -> Registration {
    server["auto_discover"] = json!(false);
    server["health_check"]["enabled"] = json!(false);
    serde_json::from_str(&server.to_string()).unwrap()
}

fn guarded(stdio: &str) -> Guard {
    Guard::new(Stance::Guarded, crate::transport::guard::Outbound::default(), toml::from_str(stdio).unwrap())
}

/// X-01: outside of the folder that the operator lends nobody but an administrator names a file, whether it is there or not;
/// each attempt is in the trail, and no other member of a configuration is in the way.
#[cfg(unix)]
#[tokio::test]
async fn only_an_administrator_names_any_file() {
    let (lent, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = |folder: &tempfile::TempDir, name: &str| folder.path().join(name).display().to_string();
    for folder in [&lent, &other] {
        std::fs::write(folder.path().join("ca.pem"), "").unwrap();
    }
    std::os::unix::fs::symlink(other.path().join("ca.pem"), lent.path().join("link.pem")).unwrap();
    let outbound = json!({ "ca_folder": lent.path() });
    let outbound = serde_json::from_value(outbound).unwrap();
    let lending = Guard::new(Stance::Guarded, outbound, crate::transport::guard::Stdio::default());
    let inside = at(&lent, "ca.pem");
    let strange = [
        at(&other, "ca.pem"),
        at(&other, "none.pem"),
        at(&lent, "link.pem"),
        at(&lent, "none.pem"),
        at(&lent, "../x"),
    ];
    let server = |name: &str, file: &str| json!({ "name": name, "endpoint_url": "https://a.example/mcp", "configuration": { "ca_file": file } });
    let patch = |configuration: Value| -> Patch {
        serde_json::from_value(json!({ "configuration": configuration })).unwrap()
    };
    for (guard, lends) in [(Guard::default(), false), (lending, true)] {
        let house = House::open(guard).await;
        let id = house.register(Role::Admin, server("own", &strange[0])).await.unwrap().id;
        assert_eq!(house.register(Role::Manager, server("lent", &inside)).await.is_ok(), lends);
        let mut said = Vec::new();
        for (number, file) in strange.iter().enumerate() {
            said.push(house.register(Role::Manager, server(&format!("s{number}"), file)).await.unwrap_err());
        }
        for file in &strange[1..] {
            let asked = patch(json!({ "ca_file": file }));
            said.push(house.gateway.update(&caller(Role::Developer), id, asked, None).await.unwrap_err());
        }
        for error in &said {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            assert!(error.message().contains("`[outbound] ca_folder`"), "{error}");
            assert_eq!(error.to_string(), said[0].to_string(), "the answer tells nothing of the file");
        }
        let rows = house.audit().await;
        let refused = rows.iter().filter(|row| row.outcome == "permission_denied").count();
        assert_eq!(refused, said.len() + usize::from(!lends));
        // The file that is named already stays, and can be left out.
        for configuration in [json!({ "ca_file": strange[0], "max_connections": 7 }), json!({})] {
            house.gateway.update(&caller(Role::Developer), id, patch(configuration), None).await.unwrap();
        }
    }
}

const LISTED: &str = r#"allow = [{ command = "/bin/false", args = ["serve"] }]"#;

fn listed(name: &str) -> Value {
    json!({ "name": name, "command": "/bin/false", "args": ["serve"] })
}

/// A-23: only an administrator names a program or its arguments, through any entry point; each attempt is in the trail.
#[tokio::test]
async fn only_an_administrator_names_a_program() {
    let house = House::open(Guard::default()).await;
    let id = house.register(Role::Admin, listed("own")).await.unwrap().id;
    let others = [Role::Manager, Role::Developer, Role::Analyst, Role::Viewer, Role::Guest];
    for role in others {
        let error = house.register(role, listed("other")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{role:?}");
        for patch in [
            json!({ "command": "/bin/sh" }),
            json!({ "args": ["-c"] }),
            json!({ "env": {} }),
            json!({ "cwd": "/" }),
        ] {
            let patch: Patch = serde_json::from_str(&patch.to_string()).unwrap();
            let error = house.gateway.update(&caller(role), id, patch, None).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{role:?}");
        }
    }
    // A manager may register other servers, and a developer may change them: only here it is refused.
    let refused =
        house.audit().await.into_iter().filter(|entry| entry.outcome == "permission_denied").count();
    assert!(refused >= 9, "{refused}");
}

/// A-23: a shared gateway starts only listed programs, for administrators too, however they come to be registered.
#[tokio::test]
async fn a_shared_gateway_starts_only_what_is_listed() {
    let house = House::open(guarded(LISTED)).await;
    for server in [
        json!({ "name": "a", "command": "sh", "args": ["-c", "id"] }),
        json!({ "name": "a", "command": "/bin/sh", "args": ["-c", "id"] }),
        json!({ "name": "a", "command": "/bin/false" }),
        json!({ "name": "a", "command": "/bin/false", "args": ["serve"], "env": { "LD_PRELOAD": "/tmp/x.so" } }),
        json!({ "name": "a", "command": "/bin/false", "args": ["serve"], "env": { "NODE_OPTIONS": "-r x" } }),
        json!({ "name": "a", "command": "/bin/false", "args": ["serve"], "cwd": "/" }),
    ] {
        let error = house.register(Role::Admin, server.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{server}");
    }
    let id = house.register(Role::Admin, listed("a")).await.unwrap().id;
    let patch = Patch { args: Some(vec!["serve".into(), "--exec=id".into()]), ..Patch::default() };
    let error = house.gateway.update(&caller(Role::Admin), id, patch, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    // Other changes are no danger to anybody.
    let patch = Patch { description: Some("new".into()), ..Patch::default() };
    assert!(house.gateway.update(&caller(Role::Admin), id, patch, None).await.is_ok());
}

/// A-23: a server registered while the gateway was not shared is not started, nor looked for, once it is.
#[tokio::test]
async fn what_was_registered_before_is_judged_again_when_it_is_started() {
    let alone = House::open(Guard::default()).await;
    let server = json!({ "name": "a", "command": "/bin/true", "health_check": { "kind": "connect" } });
    let id = alone.register(Role::Admin, server).await.unwrap().id;
    assert!(alone.gateway.discover(&caller(Role::Admin), id).await.is_err());
    assert_eq!(alone.starts().await, 1);

    let shared = House::on(Arc::clone(&alone.store), guarded(LISTED)).await;
    let error = shared.gateway.discover(&caller(Role::Admin), id).await.unwrap_err();
    assert!(error.message().contains("[stdio] allow"), "{error}");
    let checked = shared.gateway.health_check(&caller(Role::Admin), id).await.unwrap();
    assert!(checked.error.as_deref().is_some_and(|error| error.contains("[stdio] allow")), "{checked:?}");
    assert_eq!(shared.starts().await, 1, "nothing more was started");

    let endpoint = ServerEndpoint::Command {
        command: "/bin/true".into(),
        args: Vec::new(),
        env: std::collections::BTreeMap::new(),
        cwd: None,
    };
    shared.gateway.guard().trust([(TenantId::default_tenant(), "a".to_owned(), endpoint)]);
    assert!(shared.gateway.discover(&caller(Role::Admin), id).await.is_err());
    assert_eq!(shared.starts().await, 2, "what the operator's own configuration names is");
}

/// A-23: each start leaves a row that names the program, and no argument or value of a variable.
#[tokio::test]
async fn each_start_of_a_program_is_in_the_trail() {
    let house = House::open(Guard::default()).await;
    let server = json!({ "name": "a", "command": "/bin/false", "args": ["--token=canary"], "env": { "KEY": "canary" } });
    let id = house.register(Role::Admin, server).await.unwrap().id;
    assert!(house.gateway.discover(&caller(Role::Admin), id).await.is_err());
    let trail = house.audit().await;
    let start = trail.iter().find(|entry| entry.action == "stdio.start").unwrap();
    assert_eq!((&start.target, start.detail["program"].as_str()), (&id.to_string(), Some("/bin/false")));
    assert_eq!((&start.detail["arguments"], &start.detail["variables"]), (&json!(1), &json!(["KEY"])));
    assert!(!serde_json::to_string(&trail).unwrap().contains("canary"));
}

/// B-20: registering and moving a server go through the guard, and each refusal is in the trail.
#[tokio::test]
async fn a_server_is_neither_registered_at_nor_moved_to_an_inner_address() {
    let house = House::open(guarded("")).await;
    let url = |url: &str| json!({ "name": "a", "endpoint_url": url });
    for inner in ["http://127.1/", "http://[::ffff:10.0.0.1]/", "ws://localhost./", "http://169.254.169.254/"]
    {
        let error = house.register(Role::Admin, url(inner)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{inner}");
    }
    let id = house.register(Role::Admin, url("https://tools.example/mcp")).await.unwrap().id;
    let patch = Patch { endpoint_url: Some("http://0x7f000001/".into()), ..Patch::default() };
    let error = house.gateway.update(&caller(Role::Admin), id, patch, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let refused = house.audit().await.into_iter().filter(|entry| entry.outcome == "permission_denied");
    assert_eq!(refused.count(), 5);
}

/// X-23: with authentication configured, code that embeds names any server, as the operator's configuration does: commands and
/// addresses of this machine; callers from outside do not, whoever they are, and neither does a user for whom the program vouches.
#[tokio::test]
async fn the_embedding_program_is_trusted_as_the_configuration_is() {
    let house = House::open(guarded("")).await;
    let (program, gateway) = (Caller::local(), &house.gateway);
    let admin = |subject: &str| Principal::new(TenantId::default_tenant(), subject, Role::Admin);
    let outside = [
        Caller::sent(Principal::local(TenantId::default_tenant()), "c".into()),
        Caller::sent(admin("user:a"), "c".into()),
        Caller::sent(admin("key:1"), "c".into()),
        Caller::new(admin("user:a")),
        Caller::new(Principal::unproven(TenantId::default_tenant(), "")),
        Caller::new(Principal::local(TenantId::default_tenant()).with(crate::model::Grant::default())),
    ];
    let inner = [
        json!({ "command": "/bin/false", "args": ["serve"], "env": { "A": "b" } }),
        json!({ "command": "sh", "args": ["-c", "exit"] }),
        json!({ "endpoint_url": "http://127.0.0.1:9/mcp" }),
        json!({ "endpoint_url": "http://localhost:9/mcp" }),
        json!({ "endpoint_url": "http://10.0.0.1/mcp" }),
    ];
    for (number, endpoint) in inner.iter().enumerate() {
        let server = |name: &str| {
            let mut server = endpoint.clone();
            server["name"] = json!(format!("{name}{number}"));
            registration(server)
        };
        for caller in &outside {
            let refused = gateway.register(caller, server("out")).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{caller:?} {endpoint}");
        }
        let own = gateway.register(&program, server("own")).await.unwrap();
        let reached = gateway.discover(&program, own.id).await.unwrap_err();
        let rule = reached.context().iter().any(|(name, _)| *name == "rule");
        assert!(!rule, "it is started, or connected to: {reached} {:?}", reached.context());
        // The trust is for the endpoint under the name, and for nobody else's.
        for caller in &outside {
            assert!(gateway.register(caller, server("more")).await.is_err(), "{caller:?}");
        }
    }
    let metadata = json!({ "name": "m", "endpoint_url": "http://169.254.169.254/" });
    let refused = gateway.register(&program, registration(metadata)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "nobody's choice");
}

/// X-23: what the program moves goes along, what a caller from outside moves does not, and a failed attempt of the program leaves
/// nothing behind that somebody else could use.
#[tokio::test]
async fn the_trust_in_a_program_is_in_the_endpoint_that_it_names() {
    let (program, outside) =
        (Caller::local(), Caller::sent(Principal::local(TenantId::default_tenant()), "c".into()));
    let store = Arc::new(MemoryStore::new());
    let house = House::on(Arc::clone(&store), guarded("")).await;
    let gateway = &house.gateway;
    let at = |name: &str, url: &str| registration(json!({ "name": name, "endpoint_url": url }));
    let to = |url: &str| Patch { endpoint_url: Some(url.into()), ..Patch::default() };
    let own = gateway.register(&program, at("own", "http://127.0.0.1:9/a")).await.unwrap();
    gateway.update(&program, own.id, to("http://127.0.0.1:9/b"), None).await.unwrap();
    gateway.update(&program, own.id, Patch { weight: Some(2), ..Patch::default() }, None).await.unwrap();
    assert!(gateway.update(&outside, own.id, to("http://127.0.0.1:9/a"), None).await.is_err());
    gateway.update(&outside, own.id, Patch { weight: Some(3), ..Patch::default() }, None).await.unwrap();
    let denied = |error: crate::error::Error| error.context().iter().any(|(name, _)| *name == "rule");
    assert!(!denied(gateway.discover(&program, own.id).await.unwrap_err()));

    let taken = gateway.register(&program, at("own", "http://127.0.0.1:9/c")).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Conflict);
    assert!(gateway.update(&outside, own.id, to("http://127.0.0.1:9/c"), None).await.is_err());
    assert!(!denied(gateway.discover(&program, own.id).await.unwrap_err()), "as before the conflict");
    gateway.remove(&outside, own.id, None).await.unwrap();
    assert!(gateway.register(&outside, at("own", "http://127.0.0.1:9/b")).await.is_err());
    let own = gateway.register(&program, at("own", "http://127.0.0.1:9/b")).await.unwrap();

    // Another start on the same data: the program names its servers again.
    let later = House::on(store, guarded("")).await;
    assert!(denied(later.gateway.discover(&program, own.id).await.unwrap_err()));
    let again = later.gateway.register(&program, at("own", "http://127.0.0.1:9/b")).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
    assert!(!denied(later.gateway.discover(&program, own.id).await.unwrap_err()));
}
