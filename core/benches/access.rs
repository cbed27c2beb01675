//! What it costs a call to be let through: the checkpoint with an API key, among 10 and 10,000 of them, the role, the limits, the
//! audit row, and all of them together.
//!
//! `cargo bench -p mcp-registry-gateway --bench access --no-default-features`. A call may pay 5 µs for all of role, limit and audit
//! together, so that a key should be a small part of one.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to say")]

use std::sync::Arc;

use divan::{Bencher, black_box};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue};
use mcp_registry_gateway::Result;
use mcp_registry_gateway::auth::jwt::Fetch;
use mcp_registry_gateway::auth::keys::DEFAULT_DAYS;
use mcp_registry_gateway::auth::{
    Answer, Auth, Authenticator, Authorization, Checkpoint, Credentials, Keys, LocalToken, NewKey, Operation,
};
use mcp_registry_gateway::clock::{Clock, SystemClock};
use mcp_registry_gateway::limit::{Leave, Limiter, Settings};
use mcp_registry_gateway::model::{AuditEntry, Principal, Role, TenantId};
use mcp_registry_gateway::observe::{AuditSettings, Trail};
use mcp_registry_gateway::store::{MemoryStore, Store};
use url::Url;

fn main() {
    divan::main();
}

#[derive(Debug)]
struct Nowhere;

impl Fetch for Nowhere {
    fn fetch<'a>(&'a self, _: &'a Url) -> BoxFuture<'a, Result<bytes::Bytes>> {
        Box::pin(std::future::pending())
    }
}

/// A checkpoint with so many keys, and what somebody with one of them shows.
fn checkpoint(keys: usize) -> (Checkpoint, Credentials) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let (store, clock) = (Arc::new(MemoryStore::new()), SystemClock::shared());
        let owner = Principal::local(TenantId::default_tenant());
        let wish = || NewKey {
            name: "bench".into(),
            role: Role::Developer,
            scopes: None,
            server_id: None,
            days: DEFAULT_DAYS,
            requests_per_minute: None,
        };
        let made = Keys::open(store.clone().api_keys(), clock.clone()).await.expect("keys");
        let (pattern, secret) = made.create(&owner, wish(), None).await.expect("a key");
        let rows = store.clone().api_keys();
        let row = store.audit(&owner.tenant, 1).await.expect("a row").remove(0);
        for number in 1..keys {
            let mut key = pattern.clone();
            key.hash.0[..8].copy_from_slice(&number.to_le_bytes());
            rows.insert_key(&key, &row).await.expect("written");
        }
        let keys = Arc::new(Keys::open(rows, clock.clone()).await.expect("keys"));
        let settings = Auth { api_keys: true, ..Auth::default() };
        let fetch: Arc<dyn Fetch> = Arc::new(Nowhere);
        let token = Arc::new(LocalToken::in_memory().expect("random numbers"));
        let checkpoint =
            Checkpoint::new(settings, keys, &fetch, clock, token, Box::new(|_| ())).expect("settings");
        let bearer = HeaderValue::try_from(format!("Bearer {}", secret.reveal())).expect("a header");
        let headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, bearer)]);
        let authorization = Authorization::of(&headers);
        (checkpoint, Credentials::Network { peer: [127, 0, 0, 1].into(), forwarded: None, authorization })
    })
}

fn judged(checkpoint: &Checkpoint, credentials: &Credentials) -> Option<Principal> {
    match checkpoint.authenticate(credentials) {
        Answer::Now(outcome) => outcome.ok(),
        Answer::Later(_) => None,
    }
}

#[divan::bench(args = [10, 10_000])]
fn key(bencher: Bencher<'_, '_>, keys: usize) {
    let (checkpoint, credentials) = checkpoint(keys);
    assert!(judged(&checkpoint, &credentials).is_some());
    bencher.bench(|| judged(black_box(&checkpoint), black_box(&credentials)));
}

#[divan::bench]
fn key_and_role(bencher: Bencher<'_, '_>) {
    let (checkpoint, credentials) = checkpoint(100);
    bencher.bench(|| {
        let principal = judged(black_box(&checkpoint), black_box(&credentials));
        principal.map(|principal| principal.may(Operation::ToolsCall).is_ok())
    });
}

/// A thousand callers of ten tenants, whose limits are never reached.
fn callers() -> Vec<Principal> {
    let tenants: Vec<TenantId> = (0..10).filter_map(|n| TenantId::new(&format!("tenant-{n}")).ok()).collect();
    let caller = |n: usize| Principal::new(tenants[n % 10].clone(), format!("key:{n}"), Role::Analyst);
    (0..1000).map(caller).collect()
}

fn limiter(clock: &Arc<dyn Clock>) -> Limiter {
    let settings = Settings { analyst: u32::MAX, gateway: u32::MAX, ..Settings::default() };
    Limiter::new(settings, Arc::clone(clock))
}

fn is_let_through(limiter: &Limiter, principal: &Principal) -> bool {
    matches!(limiter.admit(principal), Leave::Now(Ok(_)))
}

fn entry(principal: &Principal, clock: &dyn Clock) -> AuditEntry {
    AuditEntry {
        at: clock.timestamp(),
        tenant_id: principal.tenant.clone(),
        actor: principal.subject.to_string(),
        action: "tools/call".into(),
        target: "calc/add".into(),
        outcome: "ok".into(),
        correlation_id: Some("2f1c7f0e-6a0e-4f0c-9f5a-0a4a0f4f7a11".into()),
        detail: serde_json::json!({ "micros": 300 }),
    }
}

#[divan::bench]
fn role(bencher: Bencher<'_, '_>) {
    let callers = callers();
    bencher.bench(|| black_box(&callers[7]).may(Operation::ToolsCall).is_ok());
}

#[divan::bench(threads = [1, 2])]
fn limits(bencher: Bencher<'_, '_>) {
    let (clock, callers) = (SystemClock::shared(), callers());
    let limiter = limiter(&clock);
    let turn = std::sync::atomic::AtomicUsize::new(0);
    bencher.bench(|| {
        let turn = turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        black_box(is_let_through(&limiter, &callers[turn % callers.len()]))
    });
}

#[divan::bench]
fn limits_of_a_local_process(bencher: Bencher<'_, '_>) {
    let limiter = limiter(&SystemClock::shared());
    let local = Principal::local(TenantId::default_tenant());
    bencher.bench(|| black_box(is_let_through(&limiter, &local)));
}

#[divan::bench]
fn audit_of_a_call(bencher: Bencher<'_, '_>) {
    let (clock, callers) = (SystemClock::shared(), callers());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (trail, mut rows) = Trail::new(store, &AuditSettings::default());
    bencher.bench_local(|| {
        trail.note(entry(&callers[7], &*clock));
        rows.try_recv().is_ok()
    });
}

/// All of it.
#[divan::bench]
fn whole_chain(bencher: Bencher<'_, '_>) {
    let clock = SystemClock::shared();
    let settings = Settings { developer: u32::MAX, gateway: u32::MAX, ..Settings::default() };
    let limiter = Limiter::new(settings, Arc::clone(&clock));
    let (checkpoint, credentials) = checkpoint(100);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (trail, mut rows) = Trail::new(store, &AuditSettings::default());
    bencher.bench_local(|| {
        let caller = judged(black_box(&checkpoint), black_box(&credentials))?;
        let may = is_let_through(&limiter, &caller) && caller.may(Operation::ToolsCall).is_ok();
        trail.note(entry(&caller, &*clock));
        Some(may && rows.try_recv().is_ok())
    });
}
