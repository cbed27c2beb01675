//! A store that forgets: for tests, and for embedding programs that register their servers at every start.

mod claims;
mod credentials;
mod keys;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;

use super::chain::{Chain, Follower, Raw, hex};
use super::claims::Claim;
use super::watch::{REGISTERED, REMOVED, updated};
use super::{
    ChangeFeed, ChangeKind, Done, HEALTH_HISTORY, HealthRecord, KeyStore, ONCE_ROWS, Once, Store, StoreWatch,
};
use crate::error::Result;
use crate::model::{
    ApiKey, AuditEntry, AuditQuery, AuditRow, ChainReport, Listing, SealedCredential, Server, ServerId,
    Tenant, TenantId,
};

/// Everything in memory, gone with the process. The audit trail keeps the newest [`MemoryStore::AUDIT_ROWS`] rows.
///
/// ```
/// use std::sync::Arc;
/// use mcp_registry_gateway::{Caller, Gateway, MemoryStore, Registration, Store};
///
/// # #[tokio::main]
/// # async fn main() -> mcp_registry_gateway::Result<()> {
/// let store = Arc::new(MemoryStore::new());
/// let gateway = Gateway::builder().store(Arc::clone(&store) as Arc<dyn Store>).open().await?;
/// gateway.register(&Caller::local(), Registration::at("docs", "http://127.0.0.1:9000/mcp")).await?;
/// assert_eq!(store.servers().await?.len(), 1);
/// # gateway.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct MemoryStore {
    rows: Mutex<Rows>,
    changes: ChangeFeed,
}

#[derive(Debug, Default)]
struct Rows {
    /// By order of creation.
    servers: BTreeMap<u64, MemoryRow>,
    created: u64,
    ids: HashMap<ServerId, u64>,
    names: HashMap<(TenantId, String), u64>,
    audit: VecDeque<AuditRow>,
    chains: BTreeMap<TenantId, Chain>,
    credentials: BTreeMap<credentials::Key, SealedCredential>,
    claims: BTreeMap<(TenantId, String), Claim>,
    once: HashMap<TenantId, Creations>,
    tenants: BTreeMap<TenantId, Tenant>,
    /// In order of creation.
    keys: Vec<ApiKey>,
    key_changes: u64,
}

/// Creations of one tenant that are answered again in the same words, by principal and key.
#[derive(Debug, Default)]
struct Creations {
    done: HashMap<(String, String), (Once, String)>,
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

    /// The earlier creation under this key. The same key for another request is an error.
    fn done(&mut self, once: &Once) -> Result<Option<Done>> {
        self.forget(once.forgotten());
        let Some((first, made)) = self.done.get(&(once.subject.clone(), once.key.clone())) else {
            return Ok(None);
        };
        if first.request != once.request {
            return Err(super::once::key_reused(&once.key));
        }
        Ok(Some(Done { made: made.clone(), answer: first.answer.clone() }))
    }

    fn keep(&mut self, once: &Once, made: String) {
        let place = (once.subject.clone(), once.key.clone());
        self.done.insert(place.clone(), (once.clone(), made));
        self.order.push_back(place);
        if self.order.len() > ONCE_ROWS {
            self.forget_oldest();
        }
    }
}

#[derive(Debug)]
struct MemoryRow {
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
    fn row(&mut self, tenant: &TenantId, id: ServerId) -> Result<&mut MemoryRow> {
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
        self.servers.insert(seq, MemoryRow { server, listing, health: VecDeque::new() });
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
            self.forget(0);
        }
        let entry = audit.bounded();
        let detail = entry.detail.to_string();
        let chain =
            self.chains.entry(entry.tenant_id.clone()).or_insert_with(|| Chain::new(&entry.tenant_id));
        let (number, hash) = chain.push(&Raw::of(&entry, &detail));
        self.audit.push_back(AuditRow { number, entry, hash: hex(&hash) });
    }

    /// Forgets a row that is the first of its chain.
    fn forget(&mut self, place: usize) {
        let Some(row) = self.audit.remove(place) else { return };
        let Some(chain) = self.chains.get_mut(&row.entry.tenant_id) else { return };
        let detail = row.entry.detail.to_string();
        let hash = Raw::of(&row.entry, &detail).hash(&chain.first_hash, row.number);
        chain.begin_after(row.number, hash);
    }

    fn follow(&self, tenant: &TenantId, chain: &Chain) -> ChainReport {
        let mut follower = Follower::new(chain);
        let mut rows = self.audit.iter().filter(|row| row.entry.tenant_id == *tenant);
        let followed = rows.try_for_each(|row| {
            let detail = row.entry.detail.to_string();
            let stored: Vec<u8> = (0..row.hash.len() / 2)
                .filter_map(|byte| u8::from_str_radix(row.hash.get(byte * 2..byte * 2 + 2)?, 16).ok())
                .collect();
            follower.take(row.number, &Raw::of(&row.entry, &detail), &stored)
        });
        let wrong = followed.and_then(|()| follower.finish(chain)).err();
        ChainReport {
            tenant_id: tenant.to_string(),
            first: chain.first_number,
            last: chain.last_number,
            hash: hex(&chain.last_hash),
            key_id: String::new(),
            hold: chain.hold,
            row: wrong.map(|(row, _)| row),
            problem: wrong.map(|(row, what)| format!("row {row} {what}")),
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn insert_server(&self, server: &Server, declared: &Listing, audit: &AuditEntry) -> Result<()> {
        let mut rows = self.rows();
        rows.insert(server, declared)?;
        rows.log(audit);
        self.changes.tell(REGISTERED);
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
        if let Some(done) = rows.once.entry(once.tenant_id.clone()).or_default().done(once)? {
            return Ok(Some(done));
        }
        rows.insert(server, declared)?;
        rows.log(audit);
        rows.once.entry(once.tenant_id.clone()).or_default().keep(once, server.id.to_string());
        self.changes.tell(REGISTERED);
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
        self.changes.tell(updated(declared.is_some()));
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
        self.changes.tell(REMOVED);
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
        self.changes.tell(&[ChangeKind::Listings]);
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

    async fn append_audits(&self, audits: &[AuditEntry]) -> Result<()> {
        let mut rows = self.rows();
        for audit in audits {
            rows.log(audit);
        }
        Ok(())
    }

    async fn find_audit(&self, tenant: &TenantId, query: &AuditQuery) -> Result<Vec<AuditRow>> {
        let rows = self.rows();
        let own = rows.audit.iter().rev().filter(|row| row.entry.tenant_id == *tenant && query.matches(row));
        Ok(own.take(query.limit as usize).cloned().collect())
    }

    async fn verify_audit(&self, tenant: Option<&TenantId>) -> Result<Vec<ChainReport>> {
        let rows = self.rows();
        let asked = rows.chains.iter().filter(|(name, _)| tenant.is_none_or(|tenant| tenant == *name));
        Ok(asked.map(|(name, chain)| rows.follow(name, chain)).collect())
    }

    async fn retain_audit(&self, before: Timestamp, most: u32) -> Result<u64> {
        let mut rows = self.rows();
        let mut removed = 0;
        let tenants: Vec<TenantId> =
            rows.chains.iter().filter(|(_, chain)| !chain.hold).map(|(tenant, _)| tenant.clone()).collect();
        for tenant in tenants {
            while removed < u64::from(most) {
                let first = rows.audit.iter().position(|row| row.entry.tenant_id == tenant);
                let Some(place) = first.filter(|place| rows.audit[*place].entry.at < before) else { break };
                rows.forget(place);
                removed += 1;
            }
        }
        Ok(removed)
    }

    async fn hold_audit(&self, hold: bool, audit: &AuditEntry) -> Result<()> {
        let mut rows = self.rows();
        rows.log(audit);
        if let Some(chain) = rows.chains.get_mut(&audit.tenant_id) {
            chain.hold = hold;
        }
        Ok(())
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
        self.changes.tell(&[ChangeKind::Tenants]);
        Ok(())
    }

    fn api_keys(self: Arc<Self>) -> Arc<dyn KeyStore> {
        self
    }

    fn watch(&self) -> StoreWatch {
        self.changes.subscribe()
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
    use crate::store::testing;

    #[tokio::test]
    async fn a_copy_has_the_servers_and_changes_nothing_in_the_original() {
        let tenant = TenantId::default_tenant();
        let (a, b) = (testing::server(&tenant, "a"), testing::server(&tenant, "b"));
        let (listing, row) = (testing::listing(), testing::audit(&tenant, "register"));
        let original = MemoryStore::new();
        original.insert_server(&a, &listing, &row).await.unwrap();
        let copy = MemoryStore::copy_of(&original).await.unwrap();
        assert_eq!(copy.listings().await.unwrap(), original.listings().await.unwrap());
        let taken = copy.insert_server(&testing::server(&tenant, "a"), &listing, &row).await;
        assert_eq!(taken.unwrap_err().kind(), ErrorKind::Conflict);
        copy.insert_server(&b, &listing, &row).await.unwrap();
        assert_eq!(
            (copy.servers().await.unwrap(), original.servers().await.unwrap()),
            (vec![a.clone(), b], vec![a])
        );
    }
}
