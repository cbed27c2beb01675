//! The register over a store in memory: its writes, their order, and its refusals.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::broadcast::error::TryRecvError;

use super::{Actor, Filter, Registry};
use crate::clock::{Clock, ManualClock};
use crate::error::{Error, ErrorKind, Result};
use crate::model::HealthStatus::{Healthy, Unknown, Unreachable};
use crate::model::{
    AuditEntry, AuditQuery, AuditRow, ChainReport, Event, HealthStatus, Listing, Patch, Registration, Server,
    ServerEndpoint, ServerId, Status, Tenant, TenantId, TransportType,
};
use crate::store::{Done, HealthRecord, MemoryStore, Once, Store};

fn tenant() -> TenantId {
    TenantId::new("t").unwrap()
}

fn ann() -> Actor {
    Actor { subject: "user:ann".into(), correlation_id: Some("c-1".into()) }
}

#[expect(clippy::needless_pass_by_value, reason = "the value is written at the call")]
fn registration(value: serde_json::Value) -> Registration {
    serde_json::from_str(&value.to_string()).unwrap()
}

fn at(name: &str) -> Registration {
    registration(json!({ "name": name, "endpoint_url": format!("http://127.0.0.1:1/{name}") }))
}

#[expect(clippy::needless_pass_by_value, reason = "the value is written at the call")]
fn patch(value: serde_json::Value) -> Patch {
    serde_json::from_str(&value.to_string()).unwrap()
}

struct House {
    clock: Arc<ManualClock>,
    store: Arc<MemoryStore>,
    registry: Registry,
}

async fn house() -> House {
    let (clock, store) = (ManualClock::shared(), Arc::new(MemoryStore::new()));
    clock.advance(Duration::from_nanos(1_500));
    let registry = Registry::open(store.clone(), clock.clone()).await.unwrap();
    House { clock, store, registry }
}

impl House {
    async fn add(&self, name: &str) -> Arc<Server> {
        self.registry.register(&tenant(), &ann(), at(name)).await.unwrap()
    }

    async fn trail(&self) -> Vec<(String, String)> {
        let rows = self.store.audit(&tenant(), 100).await.unwrap();
        rows.into_iter().rev().map(|row| (row.action, row.outcome)).collect()
    }
}

fn observed(status: HealthStatus) -> HealthRecord {
    HealthRecord { at: Timestamp::UNIX_EPOCH, status, latency_ms: 1, error: None }
}

#[tokio::test]
async fn a_registered_server_is_in_memory_in_the_store_and_in_the_trail() {
    let house = house().await;
    let mut events = house.registry.subscribe();
    let server = house.add("Calc").await;
    assert_eq!((server.service.as_str(), server.weight, server.revision), ("calc", 1, 1));
    assert_eq!((server.transport_type, server.status), (TransportType::Http, Status::Active));
    assert_eq!(house.registry.get(&tenant(), server.id).as_ref(), Some(&server));
    assert_eq!(house.registry.find(&tenant(), "Calc").as_ref(), Some(&server));
    assert_eq!(house.store.servers().await.unwrap(), [(*server).clone()]);
    let registered = Event::Registered { tenant_id: tenant(), id: server.id };
    assert_eq!(events.try_recv().unwrap(), registered);
    let row = &house.store.audit(&tenant(), 1).await.unwrap()[0];
    assert_eq!((row.actor.as_str(), row.target.as_str()), ("user:ann", server.id.to_string().as_str()));
    assert_eq!(row.correlation_id.as_deref(), Some("c-1"));
}

#[tokio::test]
async fn what_is_loaded_at_the_next_start_equals_what_was_in_memory() {
    let house = house().await;
    for name in ["c", "a", "b"] {
        house.add(name).await;
    }
    let declared = json!({"tools": [{"name": "add"}]});
    let with_tools = Registration { capabilities: Some(raw(&declared)), ..at("d") };
    house.registry.register(&tenant(), &ann(), with_tools).await.unwrap();
    let again = Registry::open(house.store.clone(), house.clock.clone()).await.unwrap();
    let names = |registry: &Registry| -> Vec<_> {
        let state = registry.state();
        state.of_tenant(&tenant()).map(|entry| (entry.server.clone(), entry.listing.clone())).collect()
    };
    assert_eq!(names(&again), names(&house.registry));
    assert_eq!(names(&again).len(), 4);
}

fn raw(value: &serde_json::Value) -> Box<serde_json::value::RawValue> {
    serde_json::value::RawValue::from_string(value.to_string()).unwrap()
}

#[tokio::test]
async fn refusals_are_in_the_trail_and_change_nothing() {
    let house = house().await;
    let server = house.add("a").await;
    let mut events = house.registry.subscribe();
    let (t, who) = (tenant(), ann());
    let registry = &house.registry;
    let kinds = [
        registry.register(&t, &who, at("a")).await.unwrap_err().kind(),
        registry.register(&t, &who, at("no name!")).await.unwrap_err().kind(),
        registry.update(&t, &who, server.id, patch(json!({"weight": 2})), Some(9)).await.unwrap_err().kind(),
        registry.remove(&t, &who, ServerId::random(), None).await.unwrap_err().kind(),
        registry.remove(&TenantId::new("other").unwrap(), &who, server.id, None).await.unwrap_err().kind(),
    ];
    assert_eq!(
        kinds,
        [
            ErrorKind::Conflict,
            ErrorKind::InvalidParams,
            ErrorKind::Conflict,
            ErrorKind::NotFound,
            ErrorKind::NotFound
        ]
    );
    registry.refuse(&t, &who, "tools/call", "x", &Error::new(ErrorKind::PermissionDenied, "no")).await;
    let expected = [
        ("server.register", "ok"),
        ("server.register", "conflict"),
        ("server.register", "invalid_params"),
        ("server.update", "conflict"),
        ("server.remove", "not_found"),
        ("tools/call", "permission_denied"),
    ];
    assert_eq!(house.trail().await, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    assert_eq!(events.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(registry.get(&t, server.id), Some(server));
}

#[tokio::test]
async fn the_trail_holds_no_secret() {
    let house = house().await;
    let secret = json!({
        "name": "s", "endpoint_url": "http://h/mcp?token=hush",
        "configuration": {"headers": {"Authorization": "hush"}},
    });
    let server = house.registry.register(&tenant(), &ann(), registration(secret)).await.unwrap();
    let change = json!({"command": "run", "args": ["hush"], "env": {"KEY": "hush"}});
    house.registry.update(&tenant(), &ann(), server.id, patch(change), None).await.unwrap();
    house.registry.remove(&tenant(), &ann(), server.id, None).await.unwrap();
    let rows = house.store.audit(&tenant(), 10).await.unwrap();
    assert_eq!(rows.len(), 3);
    assert!(!serde_json::to_string(&rows).unwrap().contains("hush"));
}

#[tokio::test]
async fn an_update_counts_the_revision_and_one_that_changes_nothing_does_not() {
    let house = house().await;
    let server = house.add("a").await;
    house.clock.advance(Duration::from_secs(5));
    let mut events = house.registry.subscribe();
    let change = json!({"weight": 0, "description": "x", "status": "maintenance"});
    let changed =
        house.registry.update(&tenant(), &ann(), server.id, patch(change.clone()), Some(1)).await.unwrap();
    assert_eq!((changed.revision, changed.weight, changed.status), (2, 0, Status::Maintenance));
    assert!(changed.updated_at > server.updated_at && changed.created_at == server.created_at);
    assert_eq!(events.try_recv().unwrap(), Event::Updated { tenant_id: tenant(), id: server.id });
    let same = house.registry.update(&tenant(), &ann(), server.id, patch(change), None).await.unwrap();
    assert_eq!(same, changed);
    assert_eq!(events.try_recv(), Err(TryRecvError::Empty));
    let cleared = patch(json!({"description": ""}));
    let cleared = house.registry.update(&tenant(), &ann(), server.id, cleared, None).await.unwrap();
    assert_eq!((cleared.description.as_ref(), cleared.revision), (None, 3));
    assert_eq!(house.store.servers().await.unwrap(), [(*cleared).clone()]);
    let rows = house.store.audit(&tenant(), 2).await.unwrap();
    assert_eq!(rows[1].detail["changed"], json!(["description", "weight", "status"]));
}

#[tokio::test]
async fn an_endpoint_can_move_from_a_url_to_a_command_and_back() {
    let house = house().await;
    let server = house.add("a").await;
    let update = async |change: serde_json::Value| {
        house.registry.update(&tenant(), &ann(), server.id, patch(change), None).await
    };
    let moved = update(json!({"command": "run", "args": ["x"]})).await.unwrap();
    assert_eq!(moved.transport_type, TransportType::Stdio);
    assert!(
        matches!(&moved.endpoint, ServerEndpoint::Command { command, args, .. } if command == "run" && args == &["x"])
    );
    let back = update(json!({"endpoint_url": "https://h/mcp"})).await.unwrap();
    assert_eq!((back.transport_type, back.endpoint.url()), (TransportType::Http, Some("https://h/mcp")));
    assert_eq!(update(json!({"args": ["y"]})).await.unwrap_err().kind(), ErrorKind::InvalidParams);
}

#[tokio::test]
async fn a_listing_is_told_once_and_outweighs_what_is_declared() {
    let house = house().await;
    let declared = Registration { capabilities: Some(raw(&json!({"tools": [{"name": "add"}]}))), ..at("a") };
    let server = house.registry.register(&tenant(), &ann(), declared).await.unwrap();
    let id = server.id;
    let names = |house: &House| -> Vec<_> {
        house.registry.state().listing(id).items.iter().map(|item| item.name.clone()).collect()
    };
    assert_eq!(names(&house), ["add"]);
    let mut events = house.registry.subscribe();
    let other = patch(json!({"capabilities": {"tools": [{"name": "sub"}]}}));
    house.registry.update(&tenant(), &ann(), id, other, None).await.unwrap();
    assert_eq!(names(&house), ["sub"]);
    assert!(matches!(events.try_recv().unwrap(), Event::Updated { .. }));
    assert!(matches!(events.try_recv().unwrap(), Event::Discovered { .. }));

    let asked = Listing { items: Vec::new(), initialize: Some("{}".into()), ..Listing::default() };
    assert!(house.registry.set_listing(id, asked.clone()).await.unwrap());
    assert!(!house.registry.set_listing(id, asked.clone()).await.unwrap());
    assert_eq!(events.try_recv().unwrap(), Event::Discovered { tenant_id: tenant(), id });
    assert_eq!(events.try_recv(), Err(TryRecvError::Empty));
    let late = patch(json!({"capabilities": {"tools": [{"name": "late"}]}}));
    house.registry.update(&tenant(), &ann(), id, late, None).await.unwrap();
    assert_eq!(names(&house), [""; 0]);
    assert_eq!(house.store.listings().await.unwrap(), [(id, asked.clone())]);
    let gone = house.registry.set_listing(ServerId::random(), asked).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn health_is_told_when_it_changes_and_moves_no_revision() {
    let house = house().await;
    let server = house.add("a").await;
    let mut events = house.registry.subscribe();
    let seen =
        |statuses: &[HealthStatus]| statuses.iter().map(|s| (server.id, observed(*s))).collect::<Vec<_>>();
    let mut records = seen(&[Healthy, Healthy, Unreachable]);
    records.push((ServerId::random(), observed(Healthy)));
    house.registry.record_health(records).await.unwrap();
    house.registry.record_health(seen(&[Unreachable])).await.unwrap();
    for (from, to) in [(Unknown, Healthy), (Healthy, Unreachable)] {
        let expected = Event::Health { tenant_id: tenant(), id: server.id, from, to };
        assert_eq!(events.try_recv().unwrap(), expected);
    }
    assert_eq!(events.try_recv(), Err(TryRecvError::Empty));
    let now = house.registry.get(&tenant(), server.id).unwrap();
    assert_eq!((now.health_status, now.revision), (Unreachable, 1));
    assert_eq!(house.registry.health_history(&tenant(), server.id, 9).await.unwrap().len(), 4);
    house.registry.update(&tenant(), &ann(), server.id, patch(json!({"weight": 3})), Some(1)).await.unwrap();
    assert_eq!(house.store.servers().await.unwrap()[0].health_status, Unreachable);
}

#[tokio::test]
async fn a_removed_server_is_gone_and_its_name_free() {
    let house = house().await;
    let server = house.add("a").await;
    let mut events = house.registry.subscribe();
    house.registry.remove(&tenant(), &ann(), server.id, None).await.unwrap();
    assert_eq!(house.registry.get(&tenant(), server.id), None);
    assert!(house.registry.state().is_empty());
    assert_eq!(events.try_recv().unwrap(), Event::Removed { tenant_id: tenant(), id: server.id });
    assert_ne!(house.add("a").await.id, server.id);
}

#[tokio::test]
async fn a_list_is_filtered_sorted_and_cut_into_pages() {
    let house = house().await;
    for n in (0..7).rev() {
        let mut one = at(&format!("s{n}"));
        one.tags = if n % 2 == 0 { vec!["even".into(), "all".into()] } else { vec!["all".into()] };
        one.description = (n == 3).then(|| "Größe ÄNDERN".into());
        house.registry.register(&tenant(), &ann(), one).await.unwrap();
    }
    let list = |filter: Filter| {
        let page = house.registry.list(&tenant(), &filter).unwrap();
        (page.servers.iter().map(|server| server.name.clone()).collect::<Vec<_>>().join(" "), page.total)
    };
    assert_eq!(list(Filter::default()), ("s0 s1 s2 s3 s4 s5 s6".into(), 7));
    assert_eq!(list(Filter { limit: 3, page: 2, ..Filter::default() }), ("s3 s4 s5".into(), 7));
    assert_eq!(list(Filter { limit: 3, page: 9, ..Filter::default() }), (String::new(), 7));
    let tags = vec!["all".into(), "even".into()];
    assert_eq!(list(Filter { tags, ..Filter::default() }), ("s0 s2 s4 s6".into(), 4));
    assert_eq!(list(Filter { search: Some("grösse".into()), ..Filter::default() }), (String::new(), 0));
    assert_eq!(list(Filter { search: Some("größe än".into()), ..Filter::default() }), ("s3".into(), 1));
    assert_eq!(list(Filter { search: Some("S5".into()), ..Filter::default() }), ("s5".into(), 1));
    let healthy = Filter { health_status: Some(Healthy), ..Filter::default() };
    assert_eq!(list(healthy), (String::new(), 0));
    let many = house.registry.list(&tenant(), &Filter { limit: 201, ..Filter::default() }).unwrap_err();
    assert_eq!(many.kind(), ErrorKind::InvalidParams);
    let foreign = house.registry.list(&TenantId::new("other").unwrap(), &Filter::default()).unwrap();
    assert_eq!(foreign.total, 0);
}

#[tokio::test]
async fn a_reader_keeps_its_state_while_writers_go_on() {
    let house = house().await;
    let before = house.registry.state();
    let server = house.add("a").await;
    let after = house.registry.state();
    house.registry.remove(&tenant(), &ann(), server.id, None).await.unwrap();
    assert_eq!((before.len(), after.len(), house.registry.state().len()), (0, 1, 0));
    assert!(before.version() < after.version());
    assert_eq!(after.find(&tenant(), "a"), Some(&server));
}

#[tokio::test]
async fn of_many_that_register_one_name_at_once_exactly_one_succeeds() {
    let house = house().await;
    let (t, who) = (tenant(), ann());
    let attempts = (0..20).map(|_| house.registry.register(&t, &who, at("a")));
    let outcomes = futures_util::future::join_all(attempts).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let conflicts = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    assert!(conflicts.clone().all(|error| error.kind() == ErrorKind::Conflict) && conflicts.count() == 19);
}

/// A store that waits before it writes, and fails if told so.
#[derive(Debug)]
struct Slow {
    inner: MemoryStore,
    gate: tokio::sync::Semaphore,
    broken: bool,
}

impl Slow {
    async fn pass(&self) -> Result<()> {
        drop(self.gate.acquire().await);
        if self.broken { Err(Error::new(ErrorKind::Storage, "the disk is full")) } else { Ok(()) }
    }
}

#[async_trait]
impl crate::store::CredentialStore for Slow {
    async fn put_credential(&self, c: &crate::model::SealedCredential, a: &AuditEntry) -> Result<()> {
        self.inner.put_credential(c, a).await
    }
    async fn remove_credential(
        &self,
        t: &TenantId,
        id: ServerId,
        subject: &str,
        header: &str,
        a: &AuditEntry,
    ) -> Result<()> {
        self.inner.remove_credential(t, id, subject, header, a).await
    }
    async fn credentials(&self) -> Result<Vec<crate::model::SealedCredential>> {
        self.inner.credentials().await
    }
}

#[async_trait]
impl crate::store::ClaimStore for Slow {
    async fn put_claim(&self, claim: &crate::store::Claim, a: &AuditEntry) -> Result<()> {
        self.inner.put_claim(claim, a).await
    }
    async fn remove_claim(&self, t: &TenantId, uri: &str) -> Result<()> {
        self.inner.remove_claim(t, uri).await
    }
    async fn claims(&self) -> Result<Vec<crate::store::Claim>> {
        self.inner.claims().await
    }
}

#[async_trait]
impl Store for Slow {
    async fn insert_server(&self, server: &Server, declared: &Listing, audit: &AuditEntry) -> Result<()> {
        self.pass().await?;
        self.inner.insert_server(server, declared, audit).await
    }
    async fn insert_server_once(
        &self,
        server: &Server,
        declared: &Listing,
        audit: &AuditEntry,
        once: &Once,
    ) -> Result<Option<Done>> {
        self.pass().await?;
        self.inner.insert_server_once(server, declared, audit, once).await
    }
    async fn update_server(&self, s: &Server, n: u64, d: Option<&Listing>, a: &AuditEntry) -> Result<()> {
        self.pass().await?;
        self.inner.update_server(s, n, d, a).await
    }
    async fn remove_server(&self, t: &TenantId, id: ServerId, at: Timestamp, a: &AuditEntry) -> Result<()> {
        self.pass().await?;
        self.inner.remove_server(t, id, at, a).await
    }
    async fn servers(&self) -> Result<Vec<Server>> {
        self.inner.servers().await
    }
    async fn put_listing(&self, t: &TenantId, id: ServerId, l: &Listing, at: Timestamp) -> Result<()> {
        self.pass().await?;
        self.inner.put_listing(t, id, l, at).await
    }
    async fn listings(&self) -> Result<Vec<(ServerId, Listing)>> {
        self.inner.listings().await
    }
    async fn record_health(&self, records: &[(ServerId, HealthRecord)]) -> Result<()> {
        self.pass().await?;
        self.inner.record_health(records).await
    }
    async fn health_history(&self, t: &TenantId, id: ServerId, limit: u32) -> Result<Vec<HealthRecord>> {
        self.inner.health_history(t, id, limit).await
    }
    async fn append_audits(&self, audits: &[AuditEntry]) -> Result<()> {
        self.pass().await?;
        self.inner.append_audits(audits).await
    }
    async fn find_audit(&self, t: &TenantId, query: &AuditQuery) -> Result<Vec<AuditRow>> {
        self.inner.find_audit(t, query).await
    }
    async fn verify_audit(&self, t: Option<&TenantId>) -> Result<Vec<ChainReport>> {
        self.inner.verify_audit(t).await
    }
    async fn retain_audit(&self, before: Timestamp, most: u32) -> Result<u64> {
        self.inner.retain_audit(before, most).await
    }
    async fn hold_audit(&self, hold: bool, audit: &AuditEntry) -> Result<()> {
        self.inner.hold_audit(hold, audit).await
    }
    async fn tenants(&self) -> Result<Vec<Tenant>> {
        self.pass().await?;
        Ok(Vec::new())
    }

    async fn put_tenant(&self, _: &Tenant, _: Option<u64>, _: &AuditEntry) -> Result<()> {
        self.pass().await
    }

    fn watch(&self) -> crate::store::StoreWatch {
        self.inner.watch()
    }
    fn api_keys(self: Arc<Self>) -> Arc<dyn crate::store::KeyStore> {
        Arc::new(MemoryStore::new())
    }
    async fn check(&self) -> Result<()> {
        self.pass().await
    }
    async fn close(&self) {}
}

fn no_entry() -> AuditEntry {
    AuditEntry {
        at: Timestamp::UNIX_EPOCH,
        tenant_id: tenant(),
        actor: String::new(),
        action: String::new(),
        target: String::new(),
        outcome: String::new(),
        correlation_id: None,
        detail: json!({}),
    }
}

async fn slow(broken: bool, inner: MemoryStore) -> (Arc<Slow>, Registry) {
    let store = Arc::new(Slow { inner, gate: tokio::sync::Semaphore::new(0), broken });
    let clock: Arc<dyn Clock> = ManualClock::shared();
    let registry = Registry::open(store.clone(), clock).await.unwrap();
    (store, registry)
}

#[tokio::test]
async fn a_write_goes_to_its_end_when_its_caller_gives_up() {
    let (store, registry) = slow(false, MemoryStore::new()).await;
    let (t, who) = (tenant(), ann());
    let mut write = Box::pin(registry.register(&t, &who, at("a")));
    assert!(futures_util::poll!(&mut write).is_pending());
    drop(write);
    store.gate.add_permits(1);
    registry.close().await;
    assert_eq!(store.servers().await.unwrap().len(), 1);
    assert!(registry.find(&t, "a").is_some());
}

#[tokio::test]
async fn health_reaches_memory_while_a_write_hangs_and_outlives_it() {
    let inner = MemoryStore::new();
    let one = crate::store::testing::server(&tenant(), "a");
    inner.insert_server(&one, &Listing::default(), &no_entry()).await.unwrap();
    let (store, registry) = slow(false, inner).await;
    let (t, who) = (tenant(), ann());
    let mut update = Box::pin(registry.update(&t, &who, one.id, patch(json!({"weight": 1})), None));
    let mut observe = Box::pin(registry.record_health(vec![(one.id, observed(Unreachable))]));
    assert!(futures_util::poll!(&mut update).is_pending() && futures_util::poll!(&mut observe).is_pending());
    tokio::task::yield_now().await;
    let now = registry.get(&t, one.id).unwrap();
    assert_eq!((now.health_status, now.weight), (Unreachable, one.weight));
    store.gate.add_permits(1);
    observe.await.unwrap();
    let updated = update.await.unwrap();
    assert_eq!((updated.health_status, updated.weight), (Unreachable, 1));
    assert_eq!(registry.get(&t, one.id), Some(updated));
}

#[tokio::test]
async fn what_the_store_refuses_is_not_in_memory_but_health_is() {
    let inner = MemoryStore::new();
    let one = crate::store::testing::server(&tenant(), "a");
    inner.insert_server(&one, &Listing::default(), &no_entry()).await.unwrap();
    let (store, registry) = slow(true, inner).await;
    store.gate.add_permits(1);
    let (t, who) = (tenant(), ann());
    assert_eq!(registry.register(&t, &who, at("b")).await.unwrap_err().kind(), ErrorKind::Storage);
    let change = patch(json!({"weight": 1}));
    assert_eq!(registry.update(&t, &who, one.id, change, None).await.unwrap_err().kind(), ErrorKind::Storage);
    assert_eq!(registry.remove(&t, &who, one.id, None).await.unwrap_err().kind(), ErrorKind::Storage);
    assert_eq!(registry.list(&t, &Filter::default()).unwrap().total, 1);
    assert_eq!(registry.get(&t, one.id).unwrap().weight, one.weight);
    let records = vec![(one.id, observed(Unreachable))];
    assert_eq!(registry.record_health(records).await.unwrap_err().kind(), ErrorKind::Storage);
    assert_eq!(registry.get(&t, one.id).unwrap().health_status, Unreachable);
}

#[tokio::test]
async fn ten_thousand_servers_load_list_and_change() {
    let servers = (0..10_000).map(|n| {
        let server =
            Server { description: None, ..crate::store::testing::server(&tenant(), &format!("s{n:05}")) };
        (server, Listing::default())
    });
    let mut state = super::RegistryState::load(servers.collect());
    let last = Filter { page: 200, limit: 50, search: Some("S0".into()), ..Filter::default() };
    let page = state.list(&tenant(), &last).unwrap();
    assert_eq!((page.total, page.servers[49].name.as_str()), (10_000, "s09999"));
    let before = state.clone();
    let id = page.servers[7].id;
    for _ in 0..100 {
        state.observe(id, &observed(Healthy));
    }
    assert_eq!(state.changes(&before).len(), 1);
}
