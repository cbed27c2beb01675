//! The versions of the tables, each with the way up and the way down.

use std::borrow::Cow;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{SqlSafeStr, SqlitePool};

use super::fault::DatabaseFile;
use crate::error::Result;

/// Not the library's own name: the host program may keep its migrations in the same file.
const TABLE: &str = "mreg_migrations";

macro_rules! migrations {
    ($($version:literal $name:literal;)+) => {
        /// Version, name, way up, way down.
        const ALL: &[(i64, &str, &str, &str)] = &[$((
            $version,
            $name,
            include_str!(concat!("../../../migrations/sqlite/", $name, ".up.sql")),
            include_str!(concat!("../../../migrations/sqlite/", $name, ".down.sql")),
        ),)+];
    };
}

migrations! {
    1 "0001_registry";
    2 "0002_audit";
    3 "0003_api_keys";
    4 "0004_audit_chain";
    5 "0005_keys";
    6 "0006_credentials";
    7 "0007_idempotency";
    8 "0008_tenants";
    9 "0009_claims";
    10 "0010_oauth";
    11 "0011_state";
}

/// The version that brings the table `mcp_state`, of which a record lies beside the database.
pub(super) const STATE: i64 = 11;

/// The newest version.
pub(super) const LATEST: i64 = ALL[ALL.len() - 1].0;

fn migrator() -> Migrator {
    let steps = ALL.iter().flat_map(|&(version, name, up, down)| {
        let step = |kind, sql: &'static str| {
            Migration::new(version, Cow::Borrowed(name), kind, sql.into_sql_str(), false)
        };
        [step(MigrationType::ReversibleUp, up), step(MigrationType::ReversibleDown, down)]
    });
    let mut migrator = Migrator::with_migrations(steps.collect());
    migrator.dangerous_set_table_name(TABLE);
    migrator
}

pub(super) async fn up(writer: &SqlitePool, at: &DatabaseFile<'_>) -> Result<()> {
    // One transaction over all: two processes that start on one new file wait for each other, and a migration that
    // fails leaves the file as it was.
    let mut tx = writer.begin_with("BEGIN IMMEDIATE").await.map_err(|e| at.opening(e))?;
    migrator().run(&mut *tx).await.map_err(|e| at.migrating(e))?;
    tx.commit().await.map_err(|e| at.opening(e))
}

pub(super) async fn down(writer: &SqlitePool, at: &DatabaseFile<'_>, target: i64) -> Result<()> {
    let mut tx = writer.begin_with("BEGIN IMMEDIATE").await.map_err(|e| at.writing(e))?;
    migrator().undo(&mut *tx, target).await.map_err(|e| at.migrating(e))?;
    tx.commit().await.map_err(|e| at.writing(e))
}

pub(super) async fn version(pool: &SqlitePool, at: &DatabaseFile<'_>) -> Result<i64> {
    sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM mreg_migrations WHERE success")
        .fetch_one(pool)
        .await
        .map_err(|e| at.reading(e))
}
