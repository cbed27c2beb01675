//! Upkeep of the file: statistics for the planner, the log folded in, free space given back.

use serde::Serialize;
use sqlx::{Row, SqliteConnection};

use super::SqliteStore;
use crate::error::Result;

/// The steps that were done, or would be.
#[derive(Clone, Debug, Serialize)]
pub struct OptimizeReport {
    /// The file.
    pub file: String,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Size of the file and its log before, in bytes.
    pub bytes_before: u64,
    /// Size of the file and its log after, in bytes; as before, for a dry run.
    pub bytes_after: u64,
    /// The steps, in order.
    pub steps: Vec<OptimizeStep>,
}

/// One step of the upkeep.
#[derive(Clone, Debug, Serialize)]
pub struct OptimizeStep {
    /// The SQL that does it.
    pub command: &'static str,
    /// The effect that it has, or would have, on this file.
    pub effect: String,
}

pub(super) async fn run(store: &SqliteStore, dry_run: bool) -> Result<OptimizeReport> {
    let at = store.place();
    let bytes_before = size(store);
    let mut connection = store.writer.acquire().await.map_err(|e| at.writing(e))?;
    let steps = if dry_run { plan(&mut connection, store).await } else { work(&mut connection).await }
        .map_err(|e| at.writing(e))?;
    Ok(OptimizeReport {
        file: store.path.display().to_string(),
        dry_run,
        bytes_before,
        bytes_after: if dry_run { bytes_before } else { size(store) },
        steps,
    })
}

const ANALYZE: &str = "ANALYZE";
const OPTIMIZE: &str = "PRAGMA optimize";
const CHECKPOINT: &str = "PRAGMA wal_checkpoint(TRUNCATE)";
const VACUUM: &str = "PRAGMA incremental_vacuum";

async fn plan(connection: &mut SqliteConnection, store: &SqliteStore) -> sqlx::Result<Vec<OptimizeStep>> {
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE type = 'table'")
        .fetch_one(&mut *connection)
        .await?;
    // -1 lists the statements that `optimize` would run and runs nothing (sqlite.org/pragma.html#pragma_optimize).
    let would = sqlx::query("PRAGMA optimize(-1)").fetch_all(&mut *connection).await?.len();
    let free = free_bytes(connection).await?;
    let log = log_bytes(store);
    Ok(vec![
        step(ANALYZE, format!("would refresh the planner's statistics of {tables} tables")),
        step(OPTIMIZE, format!("would run {would} further commands")),
        step(VACUUM, format!("would give back {free} bytes of free pages")),
        step(CHECKPOINT, format!("would fold a log of {log} bytes into the file")),
    ])
}

async fn work(connection: &mut SqliteConnection) -> sqlx::Result<Vec<OptimizeStep>> {
    sqlx::query(ANALYZE).execute(&mut *connection).await?;
    sqlx::query(OPTIMIZE).fetch_all(&mut *connection).await?;
    let before = free_bytes(connection).await?;
    // Frees one page for each row that is fetched: stopping early would leave the rest.
    sqlx::query(VACUUM).fetch_all(&mut *connection).await?;
    let freed = before.saturating_sub(free_bytes(connection).await?);
    let row = sqlx::query(CHECKPOINT).fetch_one(&mut *connection).await?;
    let busy: i64 = row.try_get(0)?;
    let folded =
        if busy == 0 { "folded the log into the file" } else { "left a part of the log: it is being read" };
    Ok(vec![
        step(ANALYZE, "refreshed the planner's statistics".into()),
        step(OPTIMIZE, "ran what SQLite found useful".into()),
        step(VACUUM, format!("gave back {freed} bytes of free pages")),
        step(CHECKPOINT, folded.into()),
    ])
}

const fn step(command: &'static str, effect: String) -> OptimizeStep {
    OptimizeStep { command, effect }
}

async fn free_bytes(connection: &mut SqliteConnection) -> sqlx::Result<i64> {
    let pages: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&mut *connection).await?;
    let size: i64 = sqlx::query_scalar("PRAGMA page_size").fetch_one(connection).await?;
    Ok(pages * size)
}

fn size(store: &SqliteStore) -> u64 {
    std::fs::metadata(&store.path).map_or(0, |file| file.len()) + log_bytes(store)
}

fn log_bytes(store: &SqliteStore) -> u64 {
    let mut log = store.path.clone().into_os_string();
    log.push("-wal");
    std::fs::metadata(log).map_or(0, |file| file.len())
}
