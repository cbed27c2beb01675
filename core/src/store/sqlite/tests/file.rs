//! Tests of SQLite's own matters: the file, the settings, the migrations, the plans, and a disk that fails.

use std::path::PathBuf;

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Row};
use tempfile::TempDir;

use super::{SqliteStore, audit, audit_trail, credentials, health, keys, listings, once, servers};
use crate::error::ErrorKind;
use crate::model::{AuditEntry, Listing, Server, TenantId};
use crate::store::testing::server;
use crate::store::{HealthRecord, Store};

struct Home {
    folder: TempDir,
}

impl Home {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("data/deep/registry.db")
    }

    async fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.file()).await.unwrap()
    }
}

fn tenant() -> TenantId {
    TenantId::new("t").unwrap()
}

fn entry(action: &str) -> AuditEntry {
    AuditEntry {
        at: Timestamp::UNIX_EPOCH,
        tenant_id: tenant(),
        actor: "local".into(),
        action: action.into(),
        target: "x".into(),
        outcome: "ok".into(),
        correlation_id: None,
        detail: serde_json::json!({}),
    }
}

async fn add(store: &SqliteStore, name: &str) -> crate::Result<Server> {
    let server = server(&tenant(), name);
    store.insert_server(&server, &Listing::default(), &entry("server.register")).await?;
    Ok(server)
}

async fn pragma(store: &SqliteStore, name: &str) -> String {
    let row = sqlx::query(AssertSqlSafe(format!("PRAGMA {name}"))).fetch_one(&store.writer).await.unwrap();
    row.try_get::<i64, _>(0).map_or_else(|_| row.get::<String, _>(0), |number| number.to_string())
}

#[tokio::test]
async fn everything_acknowledged_is_there_after_a_drop_without_close() {
    let home = Home::new();
    let store = home.open().await;
    let mut all = Vec::new();
    for n in 0..10 {
        all.push(add(&store, &format!("s{n}")).await.unwrap());
    }
    store
        .remove_server(&tenant(), all.remove(3).id, Timestamp::UNIX_EPOCH, &entry("server.remove"))
        .await
        .unwrap();
    drop(store);
    let store = home.open().await;
    assert_eq!(store.servers().await.unwrap(), all);
    assert_eq!(store.audit(&tenant(), 100).await.unwrap().len(), 11);
    assert_eq!(pragma(&store, "integrity_check").await, "ok");
}

#[tokio::test]
async fn the_settings_are_those_that_survive_a_power_loss() {
    let home = Home::new();
    let store = home.open().await;
    assert_eq!(pragma(&store, "journal_mode").await, "wal");
    assert_eq!(pragma(&store, "synchronous").await, "2", "FULL");
    assert_eq!(pragma(&store, "foreign_keys").await, "1");
    assert_eq!(pragma(&store, "auto_vacuum").await, "2", "incremental");
    assert_eq!(pragma(&store, "busy_timeout").await, "5000");
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_and_its_folder_are_for_this_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let store = home.open().await;
    add(&store, "a").await.unwrap();
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(home.file()), 0o600);
    assert_eq!(mode(home.file().with_extension("db-wal")), 0o600);
    assert_eq!(mode(home.file().parent().unwrap().to_owned()), 0o700);
}

#[tokio::test]
async fn migrations_go_down_step_by_step_and_up_again() {
    let home = Home::new();
    let store = home.open().await;
    let latest = SqliteStore::latest_version();
    assert_eq!(store.version().await.unwrap(), latest);
    let schema = "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_schema \
        WHERE name NOT LIKE 'mreg_%' AND name NOT LIKE 'sqlite_%' ORDER BY name)";
    let read = async |store: &SqliteStore| -> Option<String> {
        sqlx::query_scalar(schema).fetch_one(&store.writer).await.unwrap()
    };
    let full = read(&store).await;
    for target in (0..latest).rev() {
        store.migrate_down(target).await.unwrap();
        assert!(store.version().await.unwrap() <= target);
    }
    assert_eq!(read(&store).await, None, "nothing is left of the tables");
    store.close().await;
    let store = home.open().await;
    assert_eq!((store.version().await.unwrap(), read(&store).await), (latest, full));
    add(&store, "a").await.unwrap();
}

#[tokio::test]
async fn several_that_open_one_new_file_at_once_all_succeed() {
    let home = Home::new();
    let file = home.file();
    let stores = futures_util::future::join_all((0..4).map(|_| SqliteStore::open(&file))).await;
    for (n, store) in stores.into_iter().enumerate() {
        add(&store.unwrap(), &format!("s{n}")).await.unwrap();
    }
}

#[tokio::test]
async fn a_file_of_a_newer_program_is_refused_and_left_alone() {
    let home = Home::new();
    let store = home.open().await;
    sqlx::query(
        "UPDATE mreg_migrations SET version = 99 WHERE version = (SELECT max(version) FROM mreg_migrations)",
    )
    .execute(&store.writer)
    .await
    .unwrap();
    store.close().await;
    let error = SqliteStore::open(&home.file()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.to_string().contains("newer version"), "{error}");
    assert!(error.to_string().contains("registry.db"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_with_its_path() {
    let home = Home::new();
    let file = home.folder.path().join("notes.txt");
    std::fs::write(&file, "not a database, but long enough to be read as the header of one. ".repeat(4))
        .unwrap();
    let error = SqliteStore::open(&file).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(
        error.to_string().contains("not a database") && error.to_string().contains("notes.txt"),
        "{error}"
    );
    let folder = SqliteStore::open(home.folder.path()).await.unwrap_err();
    assert_eq!(folder.kind(), ErrorKind::Storage);
}

#[tokio::test]
async fn a_full_disk_is_an_error_that_says_so_and_nothing_is_half_written() {
    let home = Home::new();
    let store = home.open().await;
    let first = add(&store, "first").await.unwrap();
    let pages: i64 = pragma(&store, "page_count").await.parse().unwrap();
    sqlx::query(AssertSqlSafe(format!("PRAGMA max_page_count = {pages}")))
        .execute(&store.writer)
        .await
        .unwrap();
    let mut rows = 1;
    let error = loop {
        match add(&store, &format!("s{rows}")).await {
            Ok(_) => rows += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.to_string().contains("the disk is full"), "{error}");
    assert!(!error.to_string().contains(&*home.folder.path().to_string_lossy()), "{error}");
    assert_eq!(store.servers().await.unwrap().len(), rows);
    assert_eq!(store.audit(&tenant(), 10_000).await.unwrap().len(), rows);

    sqlx::query("PRAGMA max_page_count = 1000000").execute(&store.writer).await.unwrap();
    add(&store, "after").await.unwrap();
    assert_eq!(store.servers().await.unwrap()[0], first);
}

#[tokio::test]
async fn a_damaged_file_is_an_error_and_no_panic() {
    let home = Home::new();
    let store = home.open().await;
    for n in 0..50 {
        add(&store, &format!("s{n}")).await.unwrap();
    }
    store.close().await;
    let mut bytes = std::fs::read(home.file()).unwrap();
    let size = bytes.len();
    bytes[4096..size].fill(0xa5);
    std::fs::write(home.file(), bytes).unwrap();
    let error = match SqliteStore::open(&home.file()).await {
        Ok(store) => store.servers().await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.to_string().contains("damaged"), "{error}");
}

#[tokio::test]
async fn a_row_that_cannot_be_understood_names_itself() {
    let home = Home::new();
    let store = home.open().await;
    let one = add(&store, "a").await.unwrap();
    sqlx::query("UPDATE mcp_servers SET status = 'odd'").execute(&store.writer).await.unwrap();
    let error = store.servers().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.to_string().contains(&one.id.to_string()), "{error}");
}

#[tokio::test]
async fn a_file_that_was_removed_or_a_closed_store_fails_the_check() {
    let home = Home::new();
    let store = home.open().await;
    store.check().await.unwrap();
    std::fs::remove_file(home.file()).unwrap();
    assert!(store.check().await.unwrap_err().to_string().contains("removed"));
    store.close().await;
    assert_eq!(add(&store, "a").await.unwrap_err().kind(), ErrorKind::Storage);
}

#[tokio::test]
async fn a_write_that_was_given_up_leaves_nothing_and_the_writer_free() {
    let home = Home::new();
    let store = home.open().await;
    let mut tx = store.write().await.unwrap();
    servers::insert(&mut tx, store.place(), &server(&tenant(), "a")).await.unwrap();
    drop(tx);
    add(&store, "a").await.unwrap();
    assert_eq!(store.servers().await.unwrap().len(), 1);
}

#[tokio::test]
async fn removing_a_server_revokes_its_keys() {
    let home = Home::new();
    let store = home.open().await;
    let (one, other) = (add(&store, "a").await.unwrap(), add(&store, "b").await.unwrap());
    for (id, server) in [("k1", &one), ("k2", &other)] {
        let key = "INSERT INTO mcp_api_keys (id, tenant_id, server_id, name, role, key_hash, hint, created_by, created_at) \
            VALUES ($1, 't', $2, 'n', 'viewer', $1, 'abcd', 'local', 0)";
        sqlx::query(key).bind(id).bind(server.id.to_string()).execute(&store.writer).await.unwrap();
    }
    store.remove_server(&tenant(), one.id, Timestamp::UNIX_EPOCH, &entry("server.remove")).await.unwrap();
    let living: Vec<String> = sqlx::query_scalar("SELECT id FROM mcp_api_keys WHERE revoked_at IS NULL")
        .fetch_all(&store.readers)
        .await
        .unwrap();
    assert_eq!(living, ["k2"]);
}

#[tokio::test]
async fn deleting_a_tenant_takes_its_servers_and_leaves_the_audit_trail() {
    let home = Home::new();
    let store = home.open().await;
    let one = add(&store, "a").await.unwrap();
    let record =
        HealthRecord { at: Timestamp::UNIX_EPOCH, status: one.health_status, latency_ms: 1, error: None };
    store.record_health(&[(one.id, record)]).await.unwrap();
    sqlx::query("DELETE FROM tenants").execute(&store.writer).await.unwrap();
    assert_eq!(store.servers().await.unwrap(), []);
    assert_eq!(store.audit(&tenant(), 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn every_statement_finds_its_rows_by_an_index() {
    let home = Home::new();
    let store = home.open().await;
    let key = "SELECT id FROM mcp_api_keys WHERE key_hash = $1";
    let page = "SELECT id FROM mcp_servers WHERE tenant_id = $1 AND status = $2";
    let named = "SELECT server_id FROM mcp_capabilities WHERE kind = $1 AND name = $2";
    for sql in [
        servers::INSERT,
        servers::UPDATE,
        servers::REMOVE,
        servers::REVOKE,
        servers::REVISION,
        servers::LIVING,
        listings::FORGET,
        listings::ADD,
        listings::LISTED,
        listings::LIVING,
        listings::OFFERED,
        health::FORGET,
        health::OBSERVED,
        health::RECORD,
        health::HISTORY,
        audit::APPEND,
        audit::FIND,
        audit::CHAIN,
        audit::TRAIL,
        audit::SAVE,
        audit::SAVE_TRAIL,
        audit_trail::ROWS,
        audit_trail::UNCHAINED,
        audit_trail::ENTER,
        audit_trail::STRAY,
        audit_trail::OLDEST,
        audit_trail::REMOVE,
        credentials::PUT,
        credentials::REMOVE,
        credentials::FORGET,
        once::FORGET,
        once::DONE,
        once::KEEP,
        once::BOUND,
        keys::ONE,
        keys::PAGE,
        keys::COUNT,
        keys::REVISION,
        keys::ROTATE,
        keys::REVOKE,
        keys::USED,
        key,
        page,
        named,
    ] {
        let plan = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
            .fetch_all(&store.writer)
            .await
            .unwrap();
        for step in plan {
            let step: String = step.get("detail");
            let indexed =
                !step.starts_with("SCAN") || step.contains("USING INDEX") || step.contains("USING COVERING");
            assert!(indexed, "{sql}\n{step}");
            // A ring of health rows is at most a hundred and has no index by number.
            assert!(!step.contains("TEMP B-TREE") || sql == health::HISTORY, "{sql}\n{step}");
        }
    }
}

#[tokio::test]
async fn a_dry_run_of_the_upkeep_changes_nothing_and_the_upkeep_gives_space_back() {
    let home = Home::new();
    let store = home.open().await;
    for n in 0..60 {
        let one = add(&store, &format!("s{n}")).await.unwrap();
        let big = Listing { items: Vec::new(), initialize: Some("x".repeat(8192)), ..Listing::default() };
        store.put_listing(&tenant(), one.id, &big, Timestamp::UNIX_EPOCH).await.unwrap();
        store.remove_server(&tenant(), one.id, Timestamp::UNIX_EPOCH, &entry("server.remove")).await.unwrap();
    }
    let free: i64 = pragma(&store, "freelist_count").await.parse().unwrap();
    assert!(free > 0);
    let dry = store.optimize(true).await.unwrap();
    assert_eq!(dry.bytes_before, dry.bytes_after);
    assert_eq!(pragma(&store, "freelist_count").await, free.to_string());
    assert!(dry.steps.iter().all(|step| step.effect.starts_with("would")), "{dry:?}");
    let done = store.optimize(false).await.unwrap();
    assert_eq!(pragma(&store, "freelist_count").await, "0");
    assert!(done.bytes_after < done.bytes_before, "{done:?}");
    assert_eq!(std::fs::metadata(home.file().with_extension("db-wal")).map_or(0, |log| log.len()), 0);
}
