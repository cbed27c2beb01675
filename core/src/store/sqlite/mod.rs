//! The SQLite store: one file, nothing to install, and a commit that survives the loss of power.
//!
//! WAL with `synchronous=FULL`: every commit is flushed before it is acknowledged (WAL with `NORMAL` may lose the
//! newest commits when the power fails). One connection writes, so that writers queue here and never meet SQLite's
//! own lock; several connections read, each from a consistent snapshot.

mod audit;
mod claims;
mod credentials;
mod digest;
mod fault;
mod health;
mod keys;
mod listings;
mod migrations;
mod once;
mod opening;
mod optimize;
mod rows;
mod servers;
mod state;
mod tenants;
mod trail;
mod write;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::SqlitePool;

pub use optimize::{OptimizeReport, OptimizeStep};

use self::fault::DatabaseFile;
use self::write::Write;
use super::anchor::{self, Anchor};
use super::watch::{REGISTERED, REMOVED, updated};
use super::{ChangeFeed, ChangeKind, DataLoss, Done, HealthRecord, KeyStore, Once, Store, StoreWatch};
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::model::{
    AuditEntry, AuditQuery, AuditRow, ChainReport, Listing, Server, ServerId, Tenant, TenantId,
};

/// How often a watch looks for keys that another process changed: a quarter of the second within which a revoked key ends.
const POLL: Duration = Duration::from_millis(250);

/// A store in one SQLite file.
///
/// ```
/// use mcp_registry_gateway::{Gateway, Registration, SqliteStore, Store};
///
/// # #[tokio::main]
/// # async fn main() -> mcp_registry_gateway::Result<()> {
/// # let folder = std::env::temp_dir().join(format!("gateway-{}", std::process::id()));
/// let file = folder.join("gateway.db");
/// let docs = Registration::at("docs", "http://127.0.0.1:9000/mcp");
/// let gateway = Gateway::builder().url(format!("sqlite:{}", file.display())).server(docs).open().await?;
/// gateway.close().await;
///
/// let store = SqliteStore::open(&file).await?;     // as programs that look after it do
/// assert_eq!(store.servers().await?[0].name, "docs");
/// store.close().await;
/// # let _ = std::fs::remove_dir_all(folder);
/// # Ok(())
/// # }
/// ```
pub struct SqliteStore {
    path: PathBuf,
    writer: SqlitePool,
    readers: SqlitePool,
    /// Signs where audit chains end, and records what is acknowledged.
    anchor: Anchor,
    /// The changes that the database lacks, if it was opened to be inspected.
    lacks: Vec<String>,
    changes: ChangeFeed,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqliteStore({})", self.path.display())
    }
}

impl SqliteStore {
    /// Opens `path`, after making its folder and the file (readable and writable by this user alone) where they are
    /// missing, and brings it to the newest migration. Beside it lie the key that signs the audit trail and the record of what was
    /// acknowledged, made where they are missing: `gateway.audit-key` and `gateway.db.anchor` for `gateway.db`. A backup needs the
    /// database and the key.
    ///
    /// Errors: [`ErrorKind::Storage`], with the file and what to do; also if the database lacks what was acknowledged.
    pub async fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, DataLoss::Refuse).await
    }

    /// The same, where `loss` says what to do with a database that lacks what was acknowledged.
    pub async fn open_with(path: &Path, loss: DataLoss) -> Result<Self> {
        opening::open(path, loss).await
    }

    /// Writes a copy of the database, as it is now, to a new file at `to`. A gateway may go on working with it.
    ///
    /// Errors: [`ErrorKind::Conflict`] if there is a file at `to`; [`ErrorKind::Storage`].
    pub async fn backup(&self, to: &Path) -> Result<()> {
        opening::copy(&self.readers, self.place(), to).await
    }

    /// Puts the backup at `from` in the place of the database at `path`, which no gateway may have open. The files that were
    /// there are kept under other names; says where, if there were any. The audit trail tells of it.
    ///
    /// Errors: [`ErrorKind::Storage`], with the file and what to do.
    pub async fn restore(path: &Path, from: &Path) -> Result<Option<PathBuf>> {
        opening::restore(path, from).await
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The newest migration that is applied; 0 if none is.
    pub async fn version(&self) -> Result<i64> {
        migrations::version(&self.readers, &self.place()).await
    }

    /// The newest migration that this program knows, to which [`SqliteStore::open`] brings a file.
    pub const fn latest_version() -> i64 {
        migrations::LATEST
    }

    /// Undoes every migration above `target`, newest first, with all that it holds. The store is of no use below
    /// [`SqliteStore::latest_version`] until it is opened again.
    pub async fn migrate_down(&self, target: i64) -> Result<()> {
        migrations::down(&self.writer, &self.place(), target).await?;
        if target < migrations::STATE {
            // The records that are missing now were given up.
            anchor::forget(&opening::anchor_of(&self.path))?;
        }
        Ok(())
    }

    /// Refreshes the query planner's statistics and returns free space to the file system. A dry run changes
    /// nothing and reports the changes that it would make.
    pub async fn optimize(&self, dry_run: bool) -> Result<OptimizeReport> {
        optimize::run(self, dry_run).await
    }

    fn place(&self) -> DatabaseFile<'_> {
        DatabaseFile::of(&self.path)
    }

    async fn write(&self) -> Result<Write<'_>> {
        Ok(Write::begin(&self.writer, self.place()).await?.recorded(&self.anchor))
    }

    /// A transaction that changes records of these kinds.
    async fn change(&self, kinds: &'static [ChangeKind]) -> Result<Write<'_>> {
        Ok(self.write().await?.telling(&self.changes, kinds))
    }

    /// Writes the audit row of the transaction.
    async fn log(&self, tx: &mut Write<'_>, audit: &AuditEntry) -> Result<()> {
        let tips = audit::append(tx, self.place(), &self.anchor, std::slice::from_ref(audit)).await?;
        tx.chained(tips);
        Ok(())
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn insert_server(&self, server: &Server, declared: &Listing, audit: &AuditEntry) -> Result<()> {
        let mut tx = self.change(REGISTERED).await?;
        let outcome = async {
            servers::insert(&mut tx, self.place(), server).await?;
            listings::put(&mut tx, self.place(), server.id, declared, server.created_at).await?;
            self.log(&mut tx, audit).await
        }
        .await;
        tx.end(outcome).await
    }

    async fn insert_server_once(
        &self,
        server: &Server,
        declared: &Listing,
        audit: &AuditEntry,
        once: &Once,
    ) -> Result<Option<Done>> {
        let mut tx = self.change(REGISTERED).await?;
        let outcome = async {
            if let Some(done) = once::done(&mut tx, self.place(), once).await? {
                return Ok(Some(done));
            }
            servers::insert(&mut tx, self.place(), server).await?;
            listings::put(&mut tx, self.place(), server.id, declared, server.created_at).await?;
            once::keep(&mut tx, self.place(), once, &server.id.to_string()).await?;
            self.log(&mut tx, audit).await?;
            Ok(None)
        }
        .await;
        tx.end(outcome).await
    }

    async fn update_server(
        &self,
        server: &Server,
        expected: u64,
        declared: Option<&Listing>,
        audit: &AuditEntry,
    ) -> Result<()> {
        let mut tx = self.change(updated(declared.is_some())).await?;
        let outcome = async {
            servers::update(&mut tx, self.place(), server, expected).await?;
            if let Some(declared) = declared {
                listings::put(&mut tx, self.place(), server.id, declared, server.updated_at).await?;
            }
            self.log(&mut tx, audit).await
        }
        .await;
        tx.end(outcome).await
    }

    async fn remove_server(
        &self,
        tenant: &TenantId,
        id: ServerId,
        at: Timestamp,
        audit: &AuditEntry,
    ) -> Result<()> {
        let mut tx = self.change(REMOVED).await?;
        let outcome = async {
            servers::remove(&mut tx, self.place(), tenant, id, at).await?;
            self.log(&mut tx, audit).await
        }
        .await;
        tx.end(outcome).await
    }

    async fn servers(&self) -> Result<Vec<Server>> {
        servers::all(&self.readers, self.place()).await
    }

    async fn put_listing(
        &self,
        tenant: &TenantId,
        id: ServerId,
        listing: &Listing,
        at: Timestamp,
    ) -> Result<()> {
        let mut tx = self.change(&[ChangeKind::Listings]).await?;
        let outcome = async {
            servers::require(&mut tx, self.place(), tenant, id).await?;
            listings::put(&mut tx, self.place(), id, listing, at).await
        }
        .await;
        tx.end(outcome).await
    }

    async fn listings(&self) -> Result<Vec<(ServerId, Listing)>> {
        listings::all(&self.readers, self.place()).await
    }

    async fn record_health(&self, records: &[(ServerId, HealthRecord)]) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let mut tx = self.write().await?;
        let outcome = async {
            for (id, record) in records {
                health::record(&mut tx, self.place(), *id, record).await?;
            }
            Ok(())
        }
        .await;
        tx.end(outcome).await
    }

    async fn health_history(&self, tenant: &TenantId, id: ServerId, limit: u32) -> Result<Vec<HealthRecord>> {
        health::history(&self.readers, self.place(), tenant, id, limit).await
    }

    async fn append_audits(&self, audits: &[AuditEntry]) -> Result<()> {
        let mut tx = self.write().await?;
        let outcome = audit::append(&mut tx, self.place(), &self.anchor, audits).await;
        let outcome = outcome.map(|tips| tx.chained(tips));
        tx.end(outcome).await
    }

    async fn find_audit(&self, tenant: &TenantId, query: &AuditQuery) -> Result<Vec<AuditRow>> {
        audit::find(&self.readers, self.place(), tenant, query).await
    }

    async fn verify_audit(&self, tenant: Option<&TenantId>) -> Result<Vec<ChainReport>> {
        let mut reports = trail::verify(&self.readers, self.place(), &self.anchor, tenant).await?;
        if tenant.is_none() {
            let lacks = self.lacks.iter().cloned();
            reports.extend(lacks.map(|problem| trail::finding(self.anchor.key(), problem)));
        }
        Ok(reports)
    }

    async fn retain_audit(&self, before: Timestamp, most: u32) -> Result<u64> {
        let mut tx = self.write().await?;
        let outcome = trail::retain(&mut tx, self.place(), self.anchor.key(), before, most).await;
        tx.end(outcome).await
    }

    async fn hold_audit(&self, hold: bool, audit: &AuditEntry) -> Result<()> {
        let mut tx = self.write().await?;
        let outcome = trail::hold(&mut tx, self.place(), &self.anchor, hold, audit).await;
        let outcome = outcome.map(|tips| tx.chained(tips));
        tx.end(outcome).await
    }

    async fn tenants(&self) -> Result<Vec<Tenant>> {
        tenants::all(&self.readers, self.place()).await
    }

    async fn put_tenant(&self, tenant: &Tenant, expected: Option<u64>, audit: &AuditEntry) -> Result<()> {
        let mut tx = self.change(&[ChangeKind::Tenants]).await?;
        let outcome = async {
            tenants::put(&mut tx, self.place(), tenant, expected).await?;
            self.log(&mut tx, audit).await
        }
        .await;
        tx.end(outcome).await
    }

    fn api_keys(self: Arc<Self>) -> Arc<dyn KeyStore> {
        self
    }

    fn watch(&self) -> StoreWatch {
        let (readers, path) = (self.readers.clone(), self.path.clone());
        self.changes.subscribe().polling(POLL, ChangeKind::Keys, move || {
            let (readers, path) = (readers.clone(), path.clone());
            Box::pin(async move { keys::revision(&readers, DatabaseFile::of(&path)).await })
        })
    }

    async fn check(&self) -> Result<()> {
        // SQLite goes on writing to a file that was removed, and all of it would be lost at the next start.
        if !self.path.exists() {
            return Err(self.place().gone());
        }
        sqlx::query("SELECT count(*) FROM tenants")
            .fetch_one(&self.readers)
            .await
            .map_err(|e| self.place().reading(e))?;
        // Takes the write lock and releases it: no page changes, so that a probe costs no flush.
        self.write().await?.end(Ok(())).await
    }

    async fn close(&self) {
        self.changes.close();
        self.readers.close().await;
        self.writer.close().await;
        self.anchor.close().await;
    }
}
