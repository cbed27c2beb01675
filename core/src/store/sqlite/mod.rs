//! The SQLite store: one file, nothing to install, and a commit that survives the loss of power.
//!
//! WAL with `synchronous=FULL`: every commit is flushed before it is acknowledged (WAL with `NORMAL` may lose the
//! newest commits when the power fails). One connection writes, so that writers queue here and never meet SQLite's
//! own lock; several connections read, each from a consistent snapshot.

mod audit;
mod claims;
mod credentials;
mod fault;
mod health;
mod keys;
mod listings;
mod migrations;
mod once;
mod optimize;
mod rows;
mod servers;
mod tenants;
mod trail;
mod write;
#[cfg(test)]
mod scope;
#[cfg(test)]
mod statements;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trail_tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::SqlitePool;
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};

pub use optimize::{OptimizeReport, OptimizeStep};

use self::fault::DatabaseFile;
use self::write::Write;
use super::signing::SigningKey;
use super::watch::{REGISTERED, REMOVED, updated};
use super::{ChangeFeed, ChangeKind, Done, HealthRecord, KeyStore, Once, Store, StoreWatch};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::model::{
    AuditEntry, AuditQuery, AuditRow, ChainReport, Listing, Server, ServerId, Tenant, TenantId,
};

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for a connection: behind it stand all writes that came before.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;
/// How often a watch looks for keys that another process changed: a quarter of the second within which a revoked key ends.
const POLL: Duration = Duration::from_millis(250);
/// The file with the key that signs the audit trail is named as the database, with this extension.
const KEY_EXTENSION: &str = "audit-key";

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
    /// Signs where audit chains end.
    key: SigningKey,
    changes: ChangeFeed,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqliteStore({})", self.path.display())
    }
}

impl SqliteStore {
    /// Opens `path`, after making its folder and the file (readable and writable by this user alone) where they are
    /// missing, and brings it to the newest migration. Beside it lies the key that signs the audit trail, made where it is missing:
    /// `gateway.audit-key` for `gateway.db`. A backup needs both.
    ///
    /// Errors: [`ErrorKind::Storage`], with the file and what to do.
    pub async fn open(path: &Path) -> Result<Self> {
        create(path)?;
        let at = DatabaseFile::of(path);
        let options = SqliteConnectOptions::new()
            .filename(path)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .synchronous(SqliteSynchronous::Full)
            // On macOS `fsync` alone leaves the data in the drive's cache; elsewhere this changes nothing.
            .pragma("fullfsync", "1")
            .thread_name(|number| format!("mreg-sqlite-{number}"));
        let pool = SqlitePoolOptions::new()
            .acquire_timeout(QUEUE_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false);
        let writing =
            options.clone().auto_vacuum(SqliteAutoVacuum::Incremental).journal_mode(SqliteJournalMode::Wal);
        let writer =
            pool.clone().max_connections(1).connect_with(writing).await.map_err(|e| at.opening(e))?;
        migrations::up(&writer, &at).await?;
        let key = SigningKey::open(&path.with_extension(KEY_EXTENSION))?;
        let mut tx = Write::begin(&writer, at).await?;
        let adopted = trail::adopt(&mut tx, at, &key).await;
        tx.end(adopted).await?;
        let readers = pool
            .max_connections(READERS)
            .connect_with(options.read_only(true))
            .await
            .map_err(|e| at.opening(e))?;
        Ok(Self { path: path.to_owned(), writer, readers, key, changes: ChangeFeed::default() })
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
        migrations::down(&self.writer, &self.place(), target).await
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
        Write::begin(&self.writer, self.place()).await
    }

    /// A transaction that changes records of these kinds.
    async fn change(&self, kinds: &'static [ChangeKind]) -> Result<Write<'_>> {
        Ok(self.write().await?.telling(&self.changes, kinds))
    }

    /// Writes the audit row of the transaction.
    async fn log(&self, tx: &mut Write<'_>, audit: &AuditEntry) -> Result<()> {
        audit::append(tx, self.place(), &self.key, std::slice::from_ref(audit)).await
    }
}

/// Makes the folder and the file, both for this user alone. Existing ones keep their permissions: they are the operator's.
fn create(path: &Path) -> Result<()> {
    let failed = |what: &'static str, error: std::io::Error| {
        Error::new(ErrorKind::Storage, format!("{what}: {error}; check the path and its permissions"))
            .with("file", path.display())
            .caused_by(error)
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder
            .recursive(true)
            .create(folder)
            .map_err(|error| failed("the folder of the database cannot be made", error))?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        // Not opened to look at it: to close a database's file releases the locks that the process has on it.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            files::check(path).map_err(|fault| fault.into_error(ErrorKind::Storage, "the database", path))
        }
        Err(error) => Err(failed("the database cannot be made", error)),
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
        let outcome = audit::append(&mut tx, self.place(), &self.key, audits).await;
        tx.end(outcome).await
    }

    async fn find_audit(&self, tenant: &TenantId, query: &AuditQuery) -> Result<Vec<AuditRow>> {
        audit::find(&self.readers, self.place(), tenant, query).await
    }

    async fn verify_audit(&self, tenant: Option<&TenantId>) -> Result<Vec<ChainReport>> {
        trail::verify(&self.readers, self.place(), &self.key, tenant).await
    }

    async fn retain_audit(&self, before: Timestamp, most: u32) -> Result<u64> {
        let mut tx = self.write().await?;
        let outcome = trail::retain(&mut tx, self.place(), &self.key, before, most).await;
        tx.end(outcome).await
    }

    async fn hold_audit(&self, hold: bool, audit: &AuditEntry) -> Result<()> {
        let mut tx = self.write().await?;
        let outcome = trail::hold(&mut tx, self.place(), &self.key, hold, audit).await;
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
    }
}
