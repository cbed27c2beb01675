//! From a path to an open database.

pub(super) mod reconcile;
mod restore;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};

use self::reconcile::Opening;
pub(super) use self::restore::{copy, restore};
use super::fault::DatabaseFile;
use super::write::Write;
use super::{DataLoss, SqliteStore, migrations};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::store::ChangeFeed;
use crate::store::anchor::{self, Anchor};
use crate::store::signing::SigningKey;

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for a connection: behind it stand all writes that came before.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;
/// The file with the key that signs the audit trail is named as the database, with this extension.
const KEY_EXTENSION: &str = "audit-key";
/// What follows the name of the database in that of the record of what was acknowledged: two databases of one folder may share a key,
/// and never a record.
const ANCHOR_SUFFIX: &str = ".anchor";

/// Where the record of what was acknowledged lies.
pub(super) fn anchor_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(ANCHOR_SUFFIX);
    name.into()
}

pub(super) async fn open(path: &Path, loss: DataLoss) -> Result<SqliteStore> {
    let (key_file, anchor_file) = (path.with_extension(KEY_EXTENSION), anchor_of(path));
    let at = DatabaseFile::of(path);
    if loss == DataLoss::Refuse && !path.exists() {
        // A new one would be empty.
        let recorded = anchor::read(&anchor_file, &key_or_none(&key_file)?)?;
        if let Some(lacked) = recorded.and_then(|reading| reconcile::file_missing(&reading.says)) {
            return Err(at.lacks(&lacked));
        }
    }
    create(path)?;
    let writing =
        options(path).auto_vacuum(SqliteAutoVacuum::Incremental).journal_mode(SqliteJournalMode::Wal);
    let writer = pool().max_connections(1).connect_with(writing).await.map_err(|e| at.opening(e))?;
    migrations::up(&writer, &at).await?;
    let (key, key_made) = match loss {
        DataLoss::Inspect => (key_or_none(&key_file)?, false),
        DataLoss::Refuse | DataLoss::Accept | DataLoss::Restored => SigningKey::open(&key_file)?,
    };
    let key = Arc::new(key);
    // Before the database is looked at, which then has what others acknowledge meanwhile.
    let recorded = anchor::read(&anchor_file, &key)?.filter(|reading| !reading.says.is_nothing());
    let opening = Opening { key: &key, key_made, recorded: recorded.as_ref(), loss };
    let settled = if loss == DataLoss::Inspect {
        // A look holds up no gateway that writes.
        let mut tx = writer.begin().await.map_err(|e| at.reading(e))?;
        reconcile::settle(&mut tx, at, &opening).await?
    } else {
        let mut tx = Write::begin(&writer, at).await?;
        let settled = reconcile::settle(&mut tx, at, &opening).await;
        tx.end(settled).await?
    };
    let anchor = if loss == DataLoss::Inspect {
        Anchor::unwritten(key, recorded.map(|reading| reading.says.chains).unwrap_or_default())
    } else {
        match &recorded {
            Some(reading) if settled.reset || reading.foreign => {
                anchor::put(&anchor_file, &key, &settled.now)?;
            }
            Some(_) => {}
            None => anchor::make(&anchor_file, &key, &settled.now)?,
        }
        Anchor::open(&anchor_file, key, settled.now)?
    };
    let reading = options(path).read_only(true);
    let readers = pool().max_connections(READERS).connect_with(reading).await.map_err(|e| at.opening(e))?;
    Ok(SqliteStore {
        path: path.to_owned(),
        writer,
        readers,
        anchor,
        lacks: settled.lacks,
        changes: ChangeFeed::default(),
    })
}

/// The key, or one with which nothing can be verified.
fn key_or_none(path: &Path) -> Result<SigningKey> {
    SigningKey::find(path)?.map_or_else(|| SigningKey::unwritten(path), Ok)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .synchronous(SqliteSynchronous::Full)
        // On macOS `fsync` alone leaves the data in the drive's cache; elsewhere this changes nothing.
        .pragma("fullfsync", "1")
        .thread_name(|number| format!("mreg-sqlite-{number}"))
}

fn pool() -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .acquire_timeout(QUEUE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
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
    match make(path) {
        Ok(()) => Ok(()),
        // Not opened to look at it: to close a database's file releases the locks that the process has on it.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            files::check(path).map_err(|fault| fault.into_error(ErrorKind::Storage, "the database", path))
        }
        Err(error) => Err(failed("the database cannot be made", error)),
    }
}

/// Makes an empty file for this user alone, where there is none.
fn make(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}
