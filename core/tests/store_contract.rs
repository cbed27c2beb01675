//! A store as another crate would bring it, held to the contract by one line: the public feature `testing` is all it takes.
#![expect(clippy::unwrap_used, reason = "a panic in a test is a failed test")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use mcp_registry_gateway::auth::NewKey;
use mcp_registry_gateway::model::{
    ApiKey, AuditEntry, AuditQuery, AuditRow, ChainReport, KeyId, Listing, SealedCredential, Server,
    ServerId, Tenant,
};
use mcp_registry_gateway::store::testing::store_contract;
use mcp_registry_gateway::store::{
    Claim, ClaimStore, CredentialStore, Done, HealthRecord, KeyPage, KeyStore, KeyUse, Once, StoreWatch,
};
use mcp_registry_gateway::{Caller, Gateway, MemoryStore, Result, Role, Store, TenantId};

/// Records which changes are asked for, and keeps everything in the store of memory.
#[derive(Debug, Default)]
struct Recording {
    inner: Arc<MemoryStore>,
    asked: Mutex<Vec<&'static str>>,
    watches: AtomicUsize,
}

impl Recording {
    fn note(&self, change: &'static str) {
        self.asked.lock().unwrap().push(change);
    }
}

async fn recording() -> (Arc<dyn Store>, ()) {
    (Arc::new(Recording::default()), ())
}

store_contract!(a_recording_store, recording);

#[async_trait]
impl Store for Recording {
    async fn insert_server(&self, server: &Server, declared: &Listing, audit: &AuditEntry) -> Result<()> {
        self.note("insert_server");
        self.inner.insert_server(server, declared, audit).await
    }
    async fn insert_server_once(
        &self,
        server: &Server,
        declared: &Listing,
        audit: &AuditEntry,
        once: &Once,
    ) -> Result<Option<Done>> {
        self.note("insert_server_once");
        self.inner.insert_server_once(server, declared, audit, once).await
    }
    async fn update_server(
        &self,
        server: &Server,
        expected: u64,
        declared: Option<&Listing>,
        audit: &AuditEntry,
    ) -> Result<()> {
        self.note("update_server");
        self.inner.update_server(server, expected, declared, audit).await
    }
    async fn remove_server(
        &self,
        tenant: &TenantId,
        id: ServerId,
        at: Timestamp,
        audit: &AuditEntry,
    ) -> Result<()> {
        self.note("remove_server");
        self.inner.remove_server(tenant, id, at, audit).await
    }
    async fn servers(&self) -> Result<Vec<Server>> {
        self.inner.servers().await
    }
    async fn put_listing(
        &self,
        tenant: &TenantId,
        id: ServerId,
        listing: &Listing,
        at: Timestamp,
    ) -> Result<()> {
        self.note("put_listing");
        self.inner.put_listing(tenant, id, listing, at).await
    }
    async fn listings(&self) -> Result<Vec<(ServerId, Listing)>> {
        self.inner.listings().await
    }
    async fn record_health(&self, records: &[(ServerId, HealthRecord)]) -> Result<()> {
        self.inner.record_health(records).await
    }
    async fn health_history(&self, tenant: &TenantId, id: ServerId, limit: u32) -> Result<Vec<HealthRecord>> {
        self.inner.health_history(tenant, id, limit).await
    }
    async fn append_audits(&self, audits: &[AuditEntry]) -> Result<()> {
        self.inner.append_audits(audits).await
    }
    async fn find_audit(&self, tenant: &TenantId, query: &AuditQuery) -> Result<Vec<AuditRow>> {
        self.inner.find_audit(tenant, query).await
    }
    async fn verify_audit(&self, tenant: Option<&TenantId>) -> Result<Vec<ChainReport>> {
        self.inner.verify_audit(tenant).await
    }
    async fn retain_audit(&self, before: Timestamp, most: u32) -> Result<u64> {
        self.inner.retain_audit(before, most).await
    }
    async fn hold_audit(&self, hold: bool, audit: &AuditEntry) -> Result<()> {
        self.inner.hold_audit(hold, audit).await
    }
    async fn tenants(&self) -> Result<Vec<Tenant>> {
        self.inner.tenants().await
    }
    async fn put_tenant(&self, tenant: &Tenant, expected: Option<u64>, audit: &AuditEntry) -> Result<()> {
        self.note("put_tenant");
        self.inner.put_tenant(tenant, expected, audit).await
    }
    fn api_keys(self: Arc<Self>) -> Arc<dyn KeyStore> {
        self
    }
    fn watch(&self) -> StoreWatch {
        self.watches.fetch_add(1, Ordering::SeqCst);
        self.inner.watch()
    }
    async fn check(&self) -> Result<()> {
        self.inner.check().await
    }
    async fn close(&self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl KeyStore for Recording {
    async fn insert_key(&self, key: &ApiKey, audit: &AuditEntry) -> Result<()> {
        self.note("insert_key");
        self.inner.insert_key(key, audit).await
    }
    async fn insert_key_once(&self, key: &ApiKey, audit: &AuditEntry, once: &Once) -> Result<Option<Done>> {
        self.note("insert_key_once");
        self.inner.insert_key_once(key, audit, once).await
    }
    async fn rotate_key(&self, old: KeyId, until: Timestamp, new: &ApiKey, audit: &AuditEntry) -> Result<()> {
        self.note("rotate_key");
        self.inner.rotate_key(old, until, new, audit).await
    }
    async fn revoke_key(
        &self,
        tenant: &TenantId,
        id: KeyId,
        at: Timestamp,
        audit: &AuditEntry,
    ) -> Result<()> {
        self.note("revoke_key");
        self.inner.revoke_key(tenant, id, at, audit).await
    }
    async fn living_keys(&self) -> Result<Vec<ApiKey>> {
        self.inner.living_keys().await
    }
    async fn key(&self, tenant: &TenantId, id: KeyId) -> Result<Option<ApiKey>> {
        self.inner.key(tenant, id).await
    }
    async fn keys(&self, tenant: &TenantId, offset: u64, limit: u32) -> Result<KeyPage> {
        self.inner.keys(tenant, offset, limit).await
    }
    async fn keys_revision(&self) -> Result<u64> {
        self.inner.keys_revision().await
    }
    async fn record_key_uses(&self, uses: &[KeyUse]) -> Result<()> {
        self.inner.record_key_uses(uses).await
    }
}

#[async_trait]
impl CredentialStore for Recording {
    async fn put_credential(&self, credential: &SealedCredential, audit: &AuditEntry) -> Result<()> {
        self.note("put_credential");
        self.inner.put_credential(credential, audit).await
    }
    async fn remove_credential(
        &self,
        tenant: &TenantId,
        server: ServerId,
        subject: &str,
        header: &str,
        audit: &AuditEntry,
    ) -> Result<()> {
        self.note("remove_credential");
        self.inner.remove_credential(tenant, server, subject, header, audit).await
    }
    async fn credentials(&self) -> Result<Vec<SealedCredential>> {
        self.inner.credentials().await
    }
}

#[async_trait]
impl ClaimStore for Recording {
    async fn put_claim(&self, claim: &Claim, audit: &AuditEntry) -> Result<()> {
        self.note("put_claim");
        self.inner.put_claim(claim, audit).await
    }
    async fn remove_claim(&self, tenant: &TenantId, uri: &str) -> Result<()> {
        self.note("remove_claim");
        self.inner.remove_claim(tenant, uri).await
    }
    async fn claims(&self) -> Result<Vec<Claim>> {
        self.inner.claims().await
    }
}

#[tokio::test]
async fn a_gateway_works_on_a_store_that_a_program_brings() {
    let store = Arc::new(Recording::default());
    let gateway = Gateway::builder()
        .config_toml("[auth]\napi_keys = true")
        .store(Arc::clone(&store) as Arc<dyn Store>)
        .open()
        .await
        .unwrap();
    let us = Caller::local();
    let new = NewKey {
        name: "ci".into(),
        role: Role::Analyst,
        scopes: None,
        server_id: None,
        days: 1,
        requests_per_minute: None,
    };
    let (key, _) = gateway.create_key(&us, new).await.unwrap();
    gateway.revoke_key(&us, key.id).await.unwrap();
    gateway.close().await;
    assert_eq!(*store.asked.lock().unwrap(), ["insert_key", "revoke_key"]);
    assert_eq!(store.watches.load(Ordering::SeqCst), 1, "the gateway listens to what changes");
}
