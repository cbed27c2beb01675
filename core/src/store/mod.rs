//! Durable data: servers, what they offer, their health history, API keys, and the audit trail.
//!
//! A mutation and its audit row are one transaction: a call that returned `Ok` is on disk, with its trace. The rows of a
//! tenant are a chain (`chain.rs`), so that none can be changed or taken out unseen.
//! Every store tells what changes ([`Store::watch`]), and runs the same contract suite (`testing`). Times are kept to the
//! microsecond.

#[cfg(feature = "sqlite")]
mod anchor;
mod chain;
mod claims;
mod credentials;
pub mod keys;
mod location;
pub mod memory;
pub mod presence;
mod once;
pub(crate) mod secret_file;
#[cfg(feature = "sqlite")]
mod signing;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod watch;

pub use claims::{Claim, ClaimStore};
pub use credentials::CredentialStore;
pub use keys::{KeyPage, KeyStore, KeyUse};
pub use location::StoreLocation;
pub use memory::MemoryStore;
pub use once::{Done, ONCE_KEPT, ONCE_ROWS, Once};
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;
pub use watch::{ChangeFeed, ChangeKind, StoreChange, StoreWatch};

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{
    AuditEntry, AuditQuery, AuditRow, ChainReport, HealthStatus, Listing, Server, ServerId, Tenant, TenantId,
};

/// The treatment of a database that lacks acknowledged changes, when it is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DataLoss {
    /// Refuses it, and says what is missing and how to go on.
    #[default]
    Refuse,
    /// Goes on with what is there, as an operator has decided. The audit trail tells of it.
    Accept,
    /// Goes on with what is there, because an operator has put a backup in its place. The audit trail tells of it.
    Restored,
    /// Opens it to look at it: nothing is recorded beside it, and [`Store::verify_audit`] tells what it lacks.
    Inspect,
}

/// One observation of a server's health.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct HealthRecord {
    /// When.
    pub at: Timestamp,
    /// The conclusion.
    pub status: HealthStatus,
    /// How long the probe took, in milliseconds.
    pub latency_ms: u64,
    /// Why it failed.
    pub error: Option<String>,
}

/// Rows of health history that are kept for each server.
pub const HEALTH_HISTORY: u32 = 100;

/// The durable data of the registry.
///
/// ```
/// use std::sync::Arc;
/// use mcp_registry_gateway::{Gateway, MemoryStore, Store};
///
/// /// A gateway on a store of the program's own.
/// async fn on(store: Arc<dyn Store>) -> mcp_registry_gateway::Result<Gateway> {
///     store.check().await?;
///     Gateway::builder().store(store).open().await
/// }
///
/// # #[tokio::main]
/// # async fn main() -> mcp_registry_gateway::Result<()> {
/// on(Arc::new(MemoryStore::new())).await?.close().await;
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Store: ClaimStore + CredentialStore + Send + Sync + std::fmt::Debug {
    /// Writes a new server, what it declared, and the audit row. [`ErrorKind::Conflict`] if
    /// a living server of the tenant has its name.
    async fn insert_server(&self, server: &Server, declared: &Listing, audit: &AuditEntry) -> Result<()>;

    /// The same, once: the earlier creation under this key, without writing anything; `None` if it is done now, and then the
    /// key and its answer are a part of the same transaction. They are kept for [`ONCE_KEPT`].
    /// [`ErrorKind::Conflict`] if the key was used for another request, or as [`Store::insert_server`] has it.
    async fn insert_server_once(
        &self,
        server: &Server,
        declared: &Listing,
        audit: &AuditEntry,
        once: &Once,
    ) -> Result<Option<Done>>;

    /// Replaces a living server whose stored revision is `expected`, what it offers if `declared` is given, and
    /// writes the audit row. Its name, its creation and its observed health stay as they are stored.
    /// [`ErrorKind::NotFound`] if it is gone, `Conflict` if its revision is another.
    async fn update_server(
        &self,
        server: &Server,
        expected: u64,
        declared: Option<&Listing>,
        audit: &AuditEntry,
    ) -> Result<()>;

    /// Marks a living server as deleted, revokes its keys, forgets its credentials, what it offered and its health history, and
    /// writes the audit row; `NotFound` if there is none in this tenant.
    async fn remove_server(
        &self,
        tenant: &TenantId,
        id: ServerId,
        at: Timestamp,
        audit: &AuditEntry,
    ) -> Result<()>;

    /// All living servers of all tenants, in order of creation.
    async fn servers(&self) -> Result<Vec<Server>>;

    /// Replaces what a living server offers; `NotFound` if there is none in this tenant.
    async fn put_listing(
        &self,
        tenant: &TenantId,
        id: ServerId,
        listing: &Listing,
        at: Timestamp,
    ) -> Result<()>;

    /// The listings of the living servers of all tenants: one entry for each server, in order of creation.
    async fn listings(&self) -> Result<Vec<(ServerId, Listing)>>;

    /// Sets the observed health of servers and appends to their history, which keeps the newest [`HEALTH_HISTORY`] rows.
    /// The record's revision does not change. Servers that are gone are passed over.
    async fn record_health(&self, records: &[(ServerId, HealthRecord)]) -> Result<()>;

    /// The newest observations first; none for a server that this tenant does not have.
    async fn health_history(&self, tenant: &TenantId, id: ServerId, limit: u32) -> Result<Vec<HealthRecord>>;

    /// Appends to the audit trail: for actions that are refused, or done without touching a record.
    async fn append_audit(&self, audit: &AuditEntry) -> Result<()> {
        self.append_audits(std::slice::from_ref(audit)).await
    }

    /// Appends rows to the audit trail, all or none.
    async fn append_audits(&self, audits: &[AuditEntry]) -> Result<()>;

    /// The tenant's newest audit entries first.
    async fn audit(&self, tenant: &TenantId, limit: u32) -> Result<Vec<AuditEntry>> {
        let rows = self.find_audit(tenant, &AuditQuery::newest(limit)).await?;
        Ok(rows.into_iter().map(|row| row.entry).collect())
    }

    /// The rows of the tenant's audit trail that `query` asks for, newest first.
    async fn find_audit(&self, tenant: &TenantId, query: &AuditQuery) -> Result<Vec<AuditRow>>;

    /// Follows the audit chain of `tenant`, or those of all tenants, from beginning to end.
    async fn verify_audit(&self, tenant: Option<&TenantId>) -> Result<Vec<ChainReport>>;

    /// Removes at most `most` audit rows older than `before`, all in one transaction: from the beginnings of chains alone, and
    /// of no tenant that is on legal hold. Says how many.
    async fn retain_audit(&self, before: Timestamp, most: u32) -> Result<u64>;

    /// Puts the audit trail of the entry's tenant on legal hold, or ends that, and writes the entry.
    async fn hold_audit(&self, hold: bool, audit: &AuditEntry) -> Result<()>;

    /// All tenants that were written or have had a server, by name.
    async fn tenants(&self) -> Result<Vec<Tenant>>;

    /// Writes a tenant and the audit row: a new one if `expected` is `None`, [`ErrorKind::Conflict`] if there is one of its name;
    /// otherwise in the place of the one whose stored revision is `expected`, `Conflict` if it is another.
    async fn put_tenant(&self, tenant: &Tenant, expected: Option<u64>, audit: &AuditEntry) -> Result<()>;

    /// The API keys.
    fn api_keys(self: Arc<Self>) -> Arc<dyn KeyStore>;

    /// The changes from now on, by any process, told after they are committed. A store that other processes can write
    /// tells theirs within a second; every store tells its own at once.
    fn watch(&self) -> StoreWatch;

    /// Whether the store can be read and written now.
    async fn check(&self) -> Result<()>;

    /// Ends all connections after the operations that are under way.
    async fn close(&self);
}

fn no_server(id: ServerId) -> Error {
    Error::new(ErrorKind::NotFound, "no such server").with("id", id)
}

fn name_taken(name: &str) -> Error {
    Error::new(
        ErrorKind::Conflict,
        "a server of this name is registered; choose another name, or update or remove that server",
    )
    .with("name", name)
}

fn tenant_taken(id: &TenantId) -> Error {
    let text = "a tenant of this name exists or existed; its name is not given again, choose another";
    Error::new(ErrorKind::Conflict, text).with("tenant", id)
}

fn tenant_changed(id: &TenantId) -> Error {
    Error::new(ErrorKind::Conflict, "the tenant was changed since you read it; read it again")
        .with("tenant", id)
}

fn changed(id: ServerId, revision: u64) -> Error {
    Error::new(
        ErrorKind::Conflict,
        "the server was changed since you read it; read it again and repeat your change",
    )
    .with("id", id)
    .with("revision", revision)
}
