//! A transaction that writes.
//!
//! Not the library's own: when the disk is full or fails, SQLite itself takes the transaction back, the library's
//! `ROLLBACK` then fails, and it counts the connection as inside a transaction for ever after. Here a connection
//! whose transaction did not end cleanly is thrown away, and the next write opens a new one.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection, SqlitePool};

use super::fault::DatabaseFile;
use super::{digest, state};
use crate::error::Result;
use crate::store::anchor::{Acknowledged, Anchor, Tip};
use crate::store::{ChangeFeed, ChangeKind};

/// The writer's connection inside a transaction. Dropping it takes everything back.
pub(super) struct Write<'a> {
    at: DatabaseFile<'a>,
    connection: PoolConnection<Sqlite>,
    ended: bool,
    /// Told once it is committed.
    tells: Option<(&'a ChangeFeed, &'static [ChangeKind])>,
    /// Where a commit is recorded that somebody acknowledges.
    anchor: Option<&'a Anchor>,
    /// Where it lets audit chains end.
    tips: BTreeMap<String, Tip>,
}

impl<'a> Write<'a> {
    /// Holds the write lock from its start, so that what it reads cannot change before it writes.
    pub(super) async fn begin(writer: &SqlitePool, at: DatabaseFile<'a>) -> Result<Self> {
        let connection = writer.acquire().await.map_err(|e| at.writing(e))?;
        let mut write =
            Self { at, connection, ended: false, tells: None, anchor: None, tips: BTreeMap::new() };
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *write).await.map_err(|e| at.writing(e))?;
        Ok(write)
    }

    /// The same transaction, whose changes are recorded in `anchor` before they are acknowledged.
    pub(super) const fn recorded(mut self, anchor: &'a Anchor) -> Self {
        self.anchor = Some(anchor);
        self
    }

    /// The same transaction, which tells `feed` that it changed records of these kinds, if it does.
    pub(super) const fn telling(mut self, feed: &'a ChangeFeed, kinds: &'static [ChangeKind]) -> Self {
        self.tells = Some((feed, kinds));
        self
    }

    /// Notes where it lets audit chains end.
    pub(super) fn chained(&mut self, tips: BTreeMap<String, Tip>) {
        self.tips.extend(tips);
    }

    /// Commits if `outcome` is good, and rolls back otherwise.
    pub(super) async fn end<T>(mut self, outcome: Result<T>) -> Result<T> {
        let outcome = match outcome {
            Ok(value) => self.count().await.map(|made| (value, made)),
            Err(error) => Err(error),
        };
        match outcome {
            Ok((value, made)) => {
                let at = self.at;
                sqlx::query("COMMIT").execute(&mut *self).await.map_err(|e| at.writing(e))?;
                self.ended = true;
                let recorded = self.anchor.zip(made).map(|(anchor, made)| anchor.record(made));
                if let Some((feed, kinds)) = self.tells {
                    feed.tell(kinds);
                }
                // The next change need not wait until this one is recorded.
                drop(self);
                if let Some(recorded) = recorded {
                    recorded.done().await;
                }
                Ok(value)
            }
            Err(error) => {
                // Fails if SQLite took everything back already: then nothing is left to do but to drop the connection.
                self.ended = sqlx::query("ROLLBACK").execute(&mut *self).await.is_ok();
                Err(error)
            }
        }
    }

    /// Counts the change, if it is one that somebody acknowledges.
    async fn count(&mut self) -> Result<Option<Acknowledged>> {
        if self.anchor.is_none() || (self.tells.is_none() && self.tips.is_empty()) {
            return Ok(None);
        }
        let at = self.at;
        if self.tells.is_some() {
            digest::seal(self, at).await?;
        }
        let made = state::count(self, at).await?;
        Ok(Some(Acknowledged { chains: std::mem::take(&mut self.tips), ..made }))
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
