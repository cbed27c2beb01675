use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::balance::BalanceRequest;
use crate::clock::ManualClock;
use crate::model::{
    AuditEntry, AuditQuery, AuditRow, ChainReport, Listing, SealedCredential, Server, ServerId, Tenant,
    TenantId,
};
use crate::store::{Claim, ClaimStore, CredentialStore, Done, HealthRecord, KeyStore, MemoryStore, Once};
use crate::transport::in_process::ServerConnection;

fn wrong(builder: GatewayBuilder) -> Error {
    builder.prepare().unwrap_err()
}

fn replica(name: &str) -> Registration {
    Registration { service: Some("docs".into()), ..Registration::named(name) }
}

/// Answers every request with its own name.
async fn host(gateway: &Gateway, name: &'static str) {
    let own = move |method: String, _: Value| async move {
        Ok(match method.as_str() {
            "initialize" => json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} },
                "serverInfo": { "name": name, "version": "1" } }),
            "tools/list" => json!({ "tools": [{ "name": "who", "inputSchema": { "type": "object" } }] }),
            "tools/call" => json!({ "content": [{ "type": "text", "text": name }] }),
            "ping" => json!({}),
            _ => return Err(Error::new(ErrorKind::MethodNotFound, "no such method")),
        })
    };
    let hosted = gateway.host(&Caller::local(), replica(name), move |visit| visit.answer(own)).await.unwrap();
    gateway.discover(&Caller::local(), hosted.server().id).await.unwrap();
}

async fn who(gateway: &Gateway) -> String {
    let answer = gateway.call_tool(&Caller::local(), "docs__who", &json!({})).await.unwrap();
    answer.text().unwrap()
}

/// The candidate whose name comes last; counts how often it was asked.
#[derive(Debug)]
struct LastByName(Arc<[Entry]>, Arc<AtomicUsize>);

impl Balancer for LastByName {
    fn pick(&self, ask: &BalanceRequest<'_>) -> Option<usize> {
        self.1.fetch_add(1, Ordering::Relaxed);
        (0..self.0.len()).filter(|place| ask.allows(*place)).max_by_key(|place| &self.0[*place].name)
    }
}

#[tokio::test]
async fn an_algorithm_of_the_programs_own_chooses_for_its_service_and_for_no_other() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let own = move |entries| Box::new(LastByName(entries, Arc::clone(&counter))) as Box<dyn Balancer>;
    let gateway = Gateway::builder().balancer("docs", own).open().await.unwrap();
    for name in ["docs-b", "docs-c", "docs-a"] {
        host(&gateway, name).await;
    }
    for _ in 0..4 {
        assert_eq!(who(&gateway).await, "docs-c");
        let picked = gateway.pick(&Caller::local(), "docs", None).unwrap();
        assert_eq!(picked.server().name, "docs-c");
    }
    assert!(asked.load(Ordering::Relaxed) >= 8);
    // Drained, it is no candidate any more.
    let us = Caller::local();
    let drained = crate::model::Patch { weight: Some(0), ..Default::default() };
    gateway.update(&us, gateway.named(&us, "docs-c").unwrap().id, drained, None).await.unwrap();
    assert_eq!(who(&gateway).await, "docs-b");

    let before = asked.load(Ordering::Relaxed);
    let other = Registration::at("other", "http://127.0.0.1:9/");
    gateway.register(&us, other).await.unwrap();
    assert!(gateway.pick(&us, "other", None).is_ok());
    assert_eq!(asked.load(Ordering::Relaxed), before);
    gateway.close().await;
}

/// A store of the program's own, which counts its requests.
#[derive(Debug, Default)]
struct Counting {
    kept: Arc<MemoryStore>,
    asked: Mutex<BTreeMap<&'static str, usize>>,
}

impl Counting {
    fn note(&self, verb: &'static str) {
        *self.asked.lock().unwrap().entry(verb).or_default() += 1;
    }

    fn asked(&self, verb: &str) -> usize {
        self.asked.lock().unwrap().get(verb).copied().unwrap_or(0)
    }
}

/// The verbs of a part of the store: counted, then handed on.
macro_rules! counted {
    ($part:ident { $($verb:ident($($name:ident: $of:ty),*) -> $answer:ty;)+ } $($more:item)*) => {
        #[async_trait::async_trait]
        impl $part for Counting {
            $(
                async fn $verb(&self, $($name: $of),*) -> $answer {
                    self.note(stringify!($verb));
                    self.kept.$verb($($name),*).await
                }
            )+
            $($more)*
        }
    };
}

counted! {
    CredentialStore {
        put_credential(credential: &SealedCredential, audit: &AuditEntry) -> Result<()>;
        remove_credential(tenant: &TenantId, server: ServerId, subject: &str, header: &str, audit: &AuditEntry) -> Result<()>;
        credentials() -> Result<Vec<SealedCredential>>;
    }
}

counted! {
    ClaimStore {
        put_claim(claim: &Claim, audit: &AuditEntry) -> Result<()>;
        remove_claim(tenant: &TenantId, uri: &str) -> Result<()>;
        claims() -> Result<Vec<Claim>>;
    }
}

counted! {
    Store {
        insert_server(server: &Server, declared: &Listing, audit: &AuditEntry) -> Result<()>;
        insert_server_once(server: &Server, declared: &Listing, audit: &AuditEntry, once: &Once) -> Result<Option<Done>>;
        update_server(server: &Server, expected: u64, declared: Option<&Listing>, audit: &AuditEntry) -> Result<()>;
        remove_server(tenant: &TenantId, id: ServerId, at: Timestamp, audit: &AuditEntry) -> Result<()>;
        servers() -> Result<Vec<Server>>;
        put_listing(tenant: &TenantId, id: ServerId, listing: &Listing, at: Timestamp) -> Result<()>;
        listings() -> Result<Vec<(ServerId, Listing)>>;
        record_health(records: &[(ServerId, HealthRecord)]) -> Result<()>;
        health_history(tenant: &TenantId, id: ServerId, limit: u32) -> Result<Vec<HealthRecord>>;
        append_audits(audits: &[AuditEntry]) -> Result<()>;
        find_audit(tenant: &TenantId, query: &AuditQuery) -> Result<Vec<AuditRow>>;
        verify_audit(tenant: Option<&TenantId>) -> Result<Vec<ChainReport>>;
        retain_audit(before: Timestamp, most: u32) -> Result<u64>;
        hold_audit(hold: bool, audit: &AuditEntry) -> Result<()>;
        tenants() -> Result<Vec<Tenant>>;
        put_tenant(tenant: &Tenant, expected: Option<u64>, audit: &AuditEntry) -> Result<()>;
        check() -> Result<()>;
        close() -> ();
    }
    fn api_keys(self: Arc<Self>) -> Arc<dyn KeyStore> {
        self.note("api_keys");
        Arc::clone(&self.kept).api_keys()
    }
    fn watch(&self) -> crate::store::StoreWatch {
        self.kept.watch()
    }
}

#[tokio::test]
async fn a_store_of_the_programs_own_is_asked_for_all_that_must_survive() {
    let (store, us) = (Arc::new(Counting::default()), Caller::local());
    let on = || Gateway::builder().store(Arc::clone(&store) as Arc<dyn Store>);
    let gateway = on().server(Registration::at("docs", "http://127.0.0.1:9/")).open().await.unwrap();
    let reads = ["servers", "listings", "tenants", "claims", "credentials", "api_keys"];
    assert!(reads.iter().all(|verb| store.asked(verb) > 0), "{store:?}");
    let docs = gateway.named(&us, "docs").unwrap().id;
    let change = crate::model::Patch { weight: Some(3), ..Default::default() };
    gateway.update(&us, docs, change, None).await.unwrap();
    let more = gateway.register(&us, Registration::at("more", "http://127.0.0.1:9/")).await.unwrap();
    gateway.remove(&us, more.id, None).await.unwrap();
    assert_eq!(
        ["insert_server", "update_server", "remove_server"].map(|verb| store.asked(verb)),
        [2, 1, 1],
        "{store:?}"
    );
    assert_eq!(store.asked("close"), 0);
    gateway.close().await;
    assert_eq!(store.asked("close"), 1);

    let again = on().open().await.unwrap();
    assert_eq!(again.named(&us, "docs").unwrap().weight, 3);
    assert_eq!(store.kept.servers().await.unwrap().len(), 1);
    again.close().await;
}

#[tokio::test]
async fn a_server_of_the_process_leaves_and_comes_back() {
    let (gateway, us) = (Gateway::builder().open().await.unwrap(), Caller::local());
    // Returns each request's id.
    let serve = |mut visit: ServerConnection| async move {
        let answers = visit.answers();
        while let Some(bytes) = visit.receive().await {
            let asked: Value = serde_json::from_slice(&bytes).unwrap();
            if let Some(id) = asked.get("id") {
                let answer = json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [] } });
                answers.send(answer.to_string().into()).await.unwrap();
            }
        }
    };
    let own = || Registration { auto_discover: Some(false), ..Registration::named("own") };
    let hosted = gateway.host(&us, own(), serve).await.unwrap();
    assert_eq!(
        gateway.host(&us, own(), serve).await.unwrap_err().kind(),
        ErrorKind::Conflict,
        "one of this name is here"
    );
    hosted.leave();
    let absent = async || {
        let called = gateway.call_tool(&us, "own__any", &json!({})).await;
        called.is_err_and(|error| error.kind() == ErrorKind::Unavailable)
    };
    while !absent().await {
        tokio::task::yield_now().await;
    }
    assert!(gateway.host(&us, own(), serve).await.is_ok(), "its name is free again");
    gateway.close().await;
}

#[tokio::test]
async fn a_database_is_claimed_until_the_gateway_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Gateway::builder().data_dir(folder.path()).url("sqlite:gateway.db").open();
    let gateway = open().await.unwrap();
    assert_eq!(open().await.unwrap_err().kind(), ErrorKind::Conflict);
    gateway.close().await;
    let again = open().await.unwrap();
    again.close().await;
    drop(gateway);
}

#[tokio::test]
async fn time_is_what_the_programs_clock_says() {
    let clock = ManualClock::shared();
    clock.advance(std::time::Duration::from_secs(60));
    let gateway = Gateway::builder().clock(clock).open().await.unwrap();
    assert_eq!(gateway.opened_at().to_string(), "2026-01-01T00:01:00Z");
    gateway.close().await;
}

#[test]
fn what_is_wrong_is_named_before_anything_is_opened() {
    let unknown = wrong(Gateway::builder().config_toml("[breaker]\nprobes = 0\n[sevrer]\nport = 1"));
    assert!(unknown.message().contains("2 problems"), "{unknown}");
    let mut config = Config::default();
    config.server.max_body_bytes = 1;
    config.breaker.open = std::time::Duration::from_secs(3600);
    let made = wrong(Gateway::builder().config(config));
    assert!(
        made.message().contains("server.max_body_bytes") && made.message().contains("breaker.open_seconds")
    );

    let make = |entries| Box::new(LastByName(entries, Arc::default())) as Box<dyn Balancer>;
    for name in ["Docs", "tools", "a__b", ""] {
        let refused = wrong(Gateway::builder().balancer(name, make));
        assert!(refused.context().contains(&("field", "balancer".to_owned())), "{name}: {refused}");
    }
    let configured = Gateway::builder()
        .config_toml("[servers.a]\ncommand = \"x\"\nconfiguration = { algorithm = \"nearest\" }");
    let refused = wrong(configured);
    assert!(refused.message().contains("round_robin"), "{refused}");

    let both = Gateway::builder().store(Arc::new(MemoryStore::new())).url("sqlite:x.db");
    assert_eq!(wrong(both).context(), [("field", "store".to_owned())]);
    assert_eq!(wrong(Gateway::builder().url("postgres://x")).context(), [("field", "url".to_owned())]);
    assert!(Gateway::builder().mcp_servers("[]").is_err());
}

#[test]
fn a_configuration_that_is_as_it_comes_holds_its_own_rules() {
    assert!(Config::default().check().is_ok());
}
