//! Copies of the database, and a copy in its place.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use super::super::DataLoss;
use super::super::fault::DatabaseFile;
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::store::Store;

/// The files of a database, by what follows its name.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];

/// Writes what `pool` reads, all of it in one snapshot, to a new file at `to`.
pub(in crate::store::sqlite) async fn copy(pool: &SqlitePool, at: DatabaseFile<'_>, to: &Path) -> Result<()> {
    super::make(to).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            let message = "there is a file of this name, which a copy would replace; name another";
            Error::new(ErrorKind::Conflict, message).with("file", to.display())
        }
        _ => failed("the copy cannot be made", to, error),
    })?;
    let name = to.to_string_lossy().into_owned();
    let copied = sqlx::query("VACUUM INTO $1").bind(name).execute(pool).await;
    if copied.is_err() {
        // An empty file is no copy.
        let _ = std::fs::remove_file(to);
    }
    copied.map(drop).map_err(|e| at.reading(e))
}

/// Puts the backup at `from` in the place of the database at `path`; says under which name the database that was there is kept.
pub(in crate::store::sqlite) async fn restore(path: &Path, from: &Path) -> Result<Option<PathBuf>> {
    files::check(from).map_err(|fault| fault.into_error(ErrorKind::Storage, "the backup", from))?;
    let staged = beside(path, ".restoring");
    for part in PARTS {
        remove(&beside(&staged, part))?;
    }
    // Read by SQLite, so that a file that is no database, or is damaged, is refused while all is as it was.
    let at = DatabaseFile::of(from);
    let options = SqliteConnectOptions::new().filename(from);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await;
    let pool = pool.map_err(|e| at.opening(e))?;
    let copied = copy(&pool, at, &staged).await;
    pool.close().await;
    copied?;
    let kept = aside(path)?;
    std::fs::rename(&staged, path)
        .map_err(|error| failed("the backup cannot be put in the place of the database", path, error))?;
    super::open(path, DataLoss::Restored).await?.close().await;
    Ok(kept)
}

/// Moves the database that is there out of the way; says where it is.
fn aside(path: &Path) -> Result<Option<PathBuf>> {
    if !path.exists() {
        return Ok(None);
    }
    let mut names = (1..).map(|number: u32| beside(path, &format!(".before-restore-{number}")));
    let Some(kept) = names.find(|kept| !kept.exists()) else { return Ok(None) };
    for part in PARTS {
        let (old, new) = (beside(path, part), beside(&kept, part));
        if old.exists() {
            std::fs::rename(&old, new)
                .map_err(|error| failed("the database that is there cannot be moved", &old, error))?;
        }
    }
    Ok(Some(kept))
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(failed("what an earlier restore has left cannot be removed", path, error))
        }
        _ => Ok(()),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(suffix);
    name.into()
}

fn failed(what: &'static str, path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Storage, format!("{what}: {error}; check the path and its permissions"))
        .with("file", path.display())
        .caused_by(error)
}
