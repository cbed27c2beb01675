//! A transaction that writes.
//!
//! Not the library's own: when the disk is full or fails, SQLite itself takes the transaction back, the library's
//! `ROLLBACK` then fails, and it counts the connection as inside a transaction for ever after. Here a connection
//! whose transaction did not end cleanly is thrown away, and the next write opens a new one.

use std::ops::{Deref, DerefMut};

use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection, SqlitePool};

use super::fault::DatabaseFile;
use crate::error::Result;
use crate::store::{ChangeFeed, ChangeKind};

/// The writer's connection inside a transaction. Dropping it takes everything back.
pub(super) struct Write<'a> {
    at: DatabaseFile<'a>,
    connection: PoolConnection<Sqlite>,
    ended: bool,
    /// Told once it is committed.
    tells: Option<(&'a ChangeFeed, &'static [ChangeKind])>,
}

impl<'a> Write<'a> {
    /// Holds the write lock from its start, so that what it reads cannot change before it writes.
    pub(super) async fn begin(writer: &SqlitePool, at: DatabaseFile<'a>) -> Result<Self> {
        let connection = writer.acquire().await.map_err(|e| at.writing(e))?;
        let mut write = Self { at, connection, ended: false, tells: None };
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *write).await.map_err(|e| at.writing(e))?;
        Ok(write)
    }

    /// The same transaction, which tells `feed` that it changed records of these kinds, if it does.
    pub(super) const fn telling(mut self, feed: &'a ChangeFeed, kinds: &'static [ChangeKind]) -> Self {
        self.tells = Some((feed, kinds));
        self
    }

    /// Commits if `outcome` is good, and rolls back otherwise.
    pub(super) async fn end<T>(mut self, outcome: Result<T>) -> Result<T> {
        let at = self.at;
        if outcome.is_ok() {
            sqlx::query("COMMIT").execute(&mut *self).await.map_err(|e| at.writing(e))?;
            self.ended = true;
            if let Some((feed, kinds)) = self.tells {
                feed.tell(kinds);
            }
        } else {
            // Fails if SQLite took everything back already: then nothing is left to do but to drop the connection.
            self.ended = sqlx::query("ROLLBACK").execute(&mut *self).await.is_ok();
        }
        outcome
    }
}

impl Deref for Write<'_> {
    type Target = SqliteConnection;
    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for Write<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.connection.close_on_drop();
        }
    }
}
