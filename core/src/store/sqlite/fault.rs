//! Failures of SQLite, in words that an operator can act on.

use std::error::Error as StdError;
use std::path::Path;

use sqlx::migrate::MigrateError;

use crate::error::{Error, ErrorKind};

/// Which file an error speaks of. While it is open only its name is told, since these errors reach clients;
/// the cause, with everything, goes to the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct DatabaseFile<'a>(&'a Path);

impl<'a> DatabaseFile<'a> {
    pub(super) const fn of(path: &'a Path) -> Self {
        Self(path)
    }

    pub(super) fn opening(self, error: sqlx::Error) -> Error {
        storage("the database cannot be opened", advice(&error))
            .with("file", self.0.display())
            .caused_by(error)
    }

    pub(super) fn migrating(self, error: MigrateError) -> Error {
        let advice = match &error {
            MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => {
                "a newer version of this program wrote it; use that version, or restore a backup"
            }
            MigrateError::VersionMismatch(_) => {
                "its tables were made by a different build of this program; use that build, or restore a backup"
            }
            MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) => advice(cause),
            _ => "restore a backup",
        };
        storage("the tables of the database cannot be brought to the version that this program needs", advice)
            .with("file", self.0.display())
            .caused_by(error)
    }

    pub(super) fn writing(self, error: sqlx::Error) -> Error {
        self.failed("the change was not written", error)
    }

    pub(super) fn reading(self, error: sqlx::Error) -> Error {
        self.failed("the database could not be read", error)
    }

    /// A row that this program cannot have written.
    pub(super) fn unreadable(self, id: &str, cause: Box<dyn StdError + Send + Sync>) -> Error {
        storage("a stored row cannot be understood", "restore a backup with `mcp-gateway restore FILE`")
            .with("row", id)
            .with("cause", &cause)
            .with("file", self.name())
            .caused_by(cause)
    }

    /// A database that lacks what was acknowledged, as its record beside it says.
    pub(super) fn lacks(self, lacked: &str) -> Error {
        let message = format!(
            "the database lacks what was acknowledged: {lacked}. Put a backup in its place with `mcp-gateway restore FILE`, or \
             start once with `mcp-gateway serve --accept-data-loss` (`accept_data_loss` in a program) to go on with what is there"
        );
        Error::new(ErrorKind::Storage, message).with("file", self.0.display())
    }

    /// A file whose pages do not fit together.
    pub(super) fn damaged(self, fault: &str) -> Error {
        storage(
            "the database is damaged",
            "stop the gateway and restore a backup with `mcp-gateway restore FILE`",
        )
        .with("file", self.0.display())
        .with("found", fault)
    }

    pub(super) fn gone(self) -> Error {
        storage(
            "the file of the database was removed or moved while it was in use",
            "put it back, or restore a backup with `mcp-gateway restore FILE`",
        )
        .with("file", self.name())
    }

    fn failed(self, what: &'static str, error: sqlx::Error) -> Error {
        tracing::error!(file = %self.0.display(), %error, "{what}");
        storage(what, advice(&error)).with("file", self.name()).caused_by(error)
    }

    fn name(self) -> impl std::fmt::Display {
        self.0.file_name().unwrap_or(self.0.as_os_str()).to_string_lossy().into_owned()
    }
}

fn storage(what: &str, advice: &str) -> Error {
    Error::new(ErrorKind::Storage, format!("{what}: {advice}"))
}

/// By SQLite's primary result code (sqlite.org/rescode.html), the low eight bits of the extended one.
fn advice(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::Database(cause) => {
            let code: Option<u32> = cause.code().and_then(|code| code.parse().ok());
            match code.map(|code| code & 0xff) {
                Some(3 | 8 | 23) => "permission denied; let this user read and write the file and its folder",
                Some(5 | 6) => {
                    "another process holds it; stop that process, or give each gateway a file of its own"
                }
                Some(7) => "memory is exhausted; free some and try again",
                Some(10) => "the disk failed; check the disk and the file system, then try again",
                Some(11) => {
                    "it is damaged; stop the gateway and restore a backup with `mcp-gateway restore FILE`"
                }
                Some(13) => "the disk is full; free some space and try again",
                Some(14) => {
                    "the file or its folder cannot be reached; check the path, its permissions and the number of open files"
                }
                Some(26) => {
                    "the file is not a database of this program; name another file, or restore a backup"
                }
                _ => "try again; the log has the cause",
            }
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::RowNotFound => {
            "a stored value is not one that this program writes; restore a backup with `mcp-gateway restore FILE`"
        }
        sqlx::Error::Io(_) => "the disk failed; check the disk and the file system, then try again",
        sqlx::Error::PoolTimedOut => "writes before it took too long; check the disk's load and try again",
        sqlx::Error::PoolClosed => "the gateway is stopping",
        _ => "try again; the log has the cause",
    }
}
