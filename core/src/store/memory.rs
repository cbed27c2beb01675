//! A store that forgets: for tests, and for embedding programs that register their servers at every start.

mod credentials;
mod keys;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Done, HEALTH_HISTORY, HealthRecord, KeyStore, ONCE_ROWS, Once, Store};
use crate::error::Result;
use crate::model::{ApiKey, AuditEntry, Listing, SealedCredential, Server, ServerId, Tenant, TenantId};

/// Everything in memory, gone with the process. The audit trail keeps the newest [`MemoryStore::AUDIT_ROWS`] rows.
#[derive(Debug, Default)]
pub struct MemoryStore {
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    /// By order of creation.
    servers: BTreeMap<u64, Row>,
    created: u64,
    ids: HashMap<ServerId, u64>,
    names: HashMap<(TenantId, String), u64>,
    audit: VecDeque<AuditEntry>,
    credentials: BTreeMap<credentials::Key, SealedCredential>,
    once: HashMap<TenantId, Creations>,
    tenants: BTreeMap<TenantId, Tenant>,
    /// In order of creation.
    keys: Vec<ApiKey>,
    key_changes: u64,
}

/// Creations of one tenant that are answered again in the same words, by principal and key.
#[derive(Debug, Default)]
struct Creations {
    done: HashMap<(String, String), (Once, ServerId)>,
    /// Oldest first.
    order: VecDeque<(String, String)>,
}

impl Creations {
    fn forget(&mut self, until: Timestamp) {
        while let Some(oldest) = self.order.front() {
            if self.done.get(oldest).is_some_and(|(once, _)| once.at > until) {
                return;
            }
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.order.pop_front() {
            self.done.remove(&oldest);
        }
    }

    fn keep(&mut self, once: &Once, id: ServerId) {
        let place = (once.subject.clone(), once.key.clone());
        self.done.insert(place.clone(), (once.clone(), id));
        self.order.push_back(place);
        if self.order.len() > ONCE_ROWS {
            self.forget_oldest();
        }
    }
}

#[derive(Debug)]
struct Row {
    server: Server,
    listing: Listing,
    health: VecDeque<HealthRecord>,
}

impl MemoryStore {
    /// Rows of the audit trail that are kept; a process that never ends must not grow for ever.
    pub const AUDIT_ROWS: usize = 100_000;

    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A store with the servers of `other`, and what they offer, as of now.
    pub async fn copy_of(other: &dyn Store) -> Result<Self> {
        let mut listings: HashMap<ServerId, Listing> = other.listings().await?.into_iter().collect();
        let copy = Self::new();
        for server in other.servers().await? {
            let listing = listings.remove(&server.id).unwrap_or_default();
            copy.rows().add(server, listing);
        }
        Ok(copy)
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        // No code that holds the lock can leave the rows half changed.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    fn row(&mut self, tenant: &TenantId, id: ServerId) -> Result<&mut Row> {
        let row = self.ids.get(&id).and_then(|seq| self.servers.get_mut(seq));
        row.filter(|row| row.server.tenant_id == *tenant).ok_or_else(|| super::no_server(id))
    }

    fn add(&mut self, server: Server, listing: Listing) {
        let seq = self.created;
        self.created += 1;
        self.ids.insert(server.id, seq);
        self.names.insert((server.tenant_id.clone(), server.name.clone()), seq);
        let tenant = &server.tenant_id;
        let made = || Tenant::new(tenant.clone(), None, server.created_at);
        self.tenants.entry(tenant.clone()).or_insert_with(made);
        self.servers.insert(seq, Row { server, listing, health: VecDeque::new() });
    }

    fn insert(&mut self, server: &Server, declared: &Listing) -> Result<()> {
        let name = (server.tenant_id.clone(), server.name.clone());
        if self.names.contains_key(&name) || self.ids.contains_key(&server.id) {
            return Err(super::name_taken(&server.name));
        }
        self.add(server.clone(), declared.clone());
        Ok(())
    }

    fn log(&mut self, audit: &AuditEntry) {
        if self.audit.len() == MemoryStore::AUDIT_ROWS {
            self.audit.pop_front();
        }
        self.audit.push_back(audit.clone());
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn insert_server(&self, server: &Server, declared: &Listing, audit: &AuditEntry) -> Result<()> {
        let mut rows = self.rows();
        rows.insert(server, declared)?;
        rows.log(audit);
        Ok(())
    }

    async fn insert_server_once(
        &self,
        server: &Server,
        declared: &Listing,
        audit: &AuditEntry,
        once: &Once,
    ) -> Result<Option<Done>> {
        let mut rows = self.rows();
        let creations = rows.once.entry(once.tenant_id.clone()).or_default();
        creations.forget(once.forgotten());
        if let Some((first, server_id)) = creations.done.get(&(once.subject.clone(), once.key.clone())) {
            if first.request != once.request {
                return Err(super::once::key_reused(&once.key));
            }
            return Ok(Some(Done { server_id: *server_id, answer: first.answer.clone() }));
        }
        rows.insert(server, declared)?;
        rows.log(audit);
        rows.once.entry(once.tenant_id.clone()).or_default().keep(once, server.id);
        Ok(None)
    }

    async fn update_server(
        &self,
        server: &Server,
        expected: u64,
        declared: Option<&Listing>,
        audit: &AuditEntry,
    ) -> Result<()> {
        let mut rows = self.rows();
        let row = rows.row(&server.tenant_id, server.id)?;
        if row.server.revision != expected {
            return Err(super::changed(server.id, row.server.revision));
        }
        let stored = &row.server;
        row.server = Server {
            name: stored.name.clone(),
            created_at: stored.created_at,
            health_status: stored.health_status,
            last_health_check: stored.last_health_check,
            ..server.clone()
        };
        if let Some(declared) = declared {
            row.listing = declared.clone();
        }
        rows.log(audit);
        Ok(())
    }

    async fn remove_server(
        &self,
        tenant: &TenantId,
        id: ServerId,
        at: Timestamp,
        audit: &AuditEntry,
    ) -> Result<()> {
        let mut rows = self.rows();
        let name = rows.row(tenant, id)?.server.name.clone();
        rows.names.remove(&(tenant.clone(), name));
        if let Some(seq) = rows.ids.remove(&id) {
            rows.servers.remove(&seq);
        }
        rows.credentials.retain(|(server, ..), _| *server != id);
        rows.revoke_keys_of(id, at);
        rows.log(audit);
        Ok(())
    }

    async fn servers(&self) -> Result<Vec<Server>> {
        Ok(self.rows().servers.values().map(|row| row.server.clone()).collect())
    }

    async fn put_listing(
        &self,
        tenant: &TenantId,
        id: ServerId,
        listing: &Listing,
        _at: Timestamp,
    ) -> Result<()> {
        self.rows().row(tenant, id)?.listing = listing.clone();
        Ok(())
    }

    async fn listings(&self) -> Result<Vec<(ServerId, Listing)>> {
        Ok(self.rows().servers.values().map(|row| (row.server.id, row.listing.clone())).collect())
    }

    async fn record_health(&self, records: &[(ServerId, HealthRecord)]) -> Result<()> {
        let mut rows = self.rows();
        for (id, record) in records {
            let Some(seq) = rows.ids.get(id).copied() else { continue };
            let Some(row) = rows.servers.get_mut(&seq) else { continue };
            row.server.health_status = record.status;
            row.server.last_health_check = Some(record.at);
            row.health.push_front(record.clone());
            row.health.truncate(HEALTH_HISTORY as usize);
        }
        Ok(())
    }

    async fn health_history(&self, tenant: &TenantId, id: ServerId, limit: u32) -> Result<Vec<HealthRecord>> {
        let mut rows = self.rows();
        let Ok(row) = rows.row(tenant, id) else { return Ok(Vec::new()) };
        Ok(row.health.iter().take(limit as usize).cloned().collect())
    }

    async fn append_audit(&self, audit: &AuditEntry) -> Result<()> {
        self.rows().log(audit);
        Ok(())
    }

    async fn audit(&self, tenant: &TenantId, limit: u32) -> Result<Vec<AuditEntry>> {
        let rows = self.rows();
        let own = rows.audit.iter().rev().filter(|entry| entry.tenant_id == *tenant);
        Ok(own.take(limit as usize).cloned().collect())
    }

    async fn tenants(&self) -> Result<Vec<Tenant>> {
        Ok(self.rows().tenants.values().cloned().collect())
    }

    async fn put_tenant(&self, tenant: &Tenant, expected: Option<u64>, audit: &AuditEntry) -> Result<()> {
        let mut rows = self.rows();
        let stored = rows.tenants.get(&tenant.id).map(|stored| (stored.revision, stored.created_at));
        let tenant = match (stored, expected) {
            (None, None) => tenant.clone(),
            (Some(_), None) => return Err(super::tenant_taken(&tenant.id)),
            (Some((revision, created_at)), Some(expected)) if revision == expected => {
                Tenant { created_at, ..tenant.clone() }
            }
            (_, Some(_)) => return Err(super::tenant_changed(&tenant.id)),
        };
        rows.tenants.insert(tenant.id.clone(), tenant);
        rows.log(audit);
        Ok(())
    }

    fn api_keys(self: Arc<Self>) -> Arc<dyn KeyStore> {
        self
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::store::contract;

    #[tokio::test]
    async fn a_copy_has_the_servers_and_changes_nothing_in_the_original() {
        let tenant = TenantId::default_tenant();
        let (a, b) = (contract::server(&tenant, "a"), contract::server(&tenant, "b"));
        let (listing, row) = (contract::listing(), contract::audit(&tenant, "register"));
        let original = MemoryStore::new();
        original.insert_server(&a, &listing, &row).await.unwrap();
        let copy = MemoryStore::copy_of(&original).await.unwrap();
        assert_eq!(copy.listings().await.unwrap(), original.listings().await.unwrap());
        let taken = copy.insert_server(&contract::server(&tenant, "a"), &listing, &row).await;
        assert_eq!(taken.unwrap_err().kind(), ErrorKind::Conflict);
        copy.insert_server(&b, &listing, &row).await.unwrap();
        assert_eq!(
            (copy.servers().await.unwrap(), original.servers().await.unwrap()),
            (vec![a.clone(), b], vec![a])
        );
    }
}
