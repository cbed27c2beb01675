//! The audit trail after changes by somebody who can write the database.

use std::path::PathBuf;

use jiff::Timestamp;
use sqlx::AssertSqlSafe;
use tempfile::TempDir;

use super::SqliteStore;
use crate::error::ErrorKind;
use crate::model::{AuditEntry, AuditQuery, ChainReport, Listing, TenantId};
use crate::store::Store;
use crate::store::testing::{audit, server};

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

struct Trail {
    folder: TempDir,
    store: SqliteStore,
}

impl Trail {
    /// Ten rows of tenant `a`, and three of `b` between them.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("gateway.db")).await.unwrap();
        for number in 1..=10 {
            store.append_audit(&audit(&tenant("a"), &format!("action.{number}"))).await.unwrap();
            if number <= 3 {
                store.append_audit(&audit(&tenant("b"), "other")).await.unwrap();
            }
        }
        Self { folder, store }
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("gateway.audit-key")
    }

    /// Does what a process with access to the file can do: triggers do not stop it.
    async fn tamper(&self, sql: &str) {
        for trigger in ["audit_logs_unchanged", "audit_logs_kept"] {
            self.run(&format!("DROP TRIGGER IF EXISTS {trigger}")).await.unwrap();
        }
        self.run(sql).await.unwrap();
    }

    async fn run(&self, sql: &str) -> sqlx::Result<()> {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.store.writer).await.map(drop)
    }

    async fn report(&self, of: &str) -> ChainReport {
        let mut reports = self.store.verify_audit(Some(&tenant(of))).await.unwrap();
        reports.swap_remove(0)
    }

    /// The row that following the chain of `a` names, and the problem reported for it.
    async fn found(&self) -> (Option<u64>, String) {
        assert_eq!(self.report("b").await.problem, None, "the chains of others are as they were");
        let report = self.report("a").await;
        (report.row, report.problem.unwrap_or_default())
    }
}

/// D-10: an untouched chain holds, from its first row to its signed end
#[tokio::test]
async fn a_chain_that_nobody_touched_holds() {
    let trail = Trail::new().await;
    let reports = trail.store.verify_audit(None).await.unwrap();
    let ends: Vec<_> = reports.iter().map(|one| (&*one.tenant_id, one.first, one.last)).collect();
    assert_eq!(ends, [("a", 1, 10), ("b", 1, 3)]);
    assert!(reports.iter().all(|one| one.problem.is_none()), "{reports:?}");
}

/// D-10: an edited, removed, moved or cut row is named
#[tokio::test]
async fn the_very_row_that_was_tampered_with_is_named() {
    let swap = "UPDATE audit_logs SET number = -1 WHERE tenant_id = 'a' AND number = 4; \
        UPDATE audit_logs SET number = 4 WHERE tenant_id = 'a' AND number = 5; \
        UPDATE audit_logs SET number = 5 WHERE tenant_id = 'a' AND number = -1";
    for (sql, row, what) in [
        ("UPDATE audit_logs SET actor = 'nobody' WHERE tenant_id = 'a' AND number = 4", 4, "changed"),
        ("UPDATE audit_logs SET at = at + 1 WHERE tenant_id = 'a' AND number = 10", 10, "changed"),
        ("UPDATE audit_logs SET correlation_id = NULL WHERE tenant_id = 'a' AND number = 1", 1, "changed"),
        ("UPDATE audit_logs SET detail = '[]' WHERE tenant_id = 'a' AND number = 7", 7, "changed"),
        ("UPDATE audit_logs SET hash = zeroblob(32) WHERE tenant_id = 'a' AND number = 7", 7, "changed"),
        ("DELETE FROM audit_logs WHERE tenant_id = 'a' AND number = 6", 6, "missing"),
        ("DELETE FROM audit_logs WHERE tenant_id = 'a' AND number = 1", 1, "missing"),
        ("DELETE FROM audit_logs WHERE tenant_id = 'a' AND number > 8", 9, "cut off"),
        ("DELETE FROM audit_logs WHERE tenant_id = 'a'", 1, "cut off"),
        (swap, 4, "changed"),
    ] {
        let trail = Trail::new().await;
        trail.tamper(sql).await;
        let (found, problem) = trail.found().await;
        assert!(found == Some(row) && problem.contains(what), "{sql}: {found:?} {problem}");
    }
}

/// D-10: an end that was moved without the key is not the end that was signed, also once more was written after it
#[tokio::test]
async fn an_end_that_is_not_signed_is_found_and_stays_found() {
    let trail = Trail::new().await;
    trail
        .tamper(
            "DELETE FROM audit_logs WHERE tenant_id = 'a' AND number > 8; \
             UPDATE audit_chains SET last_number = 8, last_hash = (SELECT hash FROM audit_logs \
             WHERE tenant_id = 'a' AND number = 8) WHERE tenant_id = 'a'",
        )
        .await;
    let (row, problem) = trail.found().await;
    assert!(row == Some(8) && problem.contains("signed"), "{problem}");
    trail.store.append_audit(&audit(&tenant("a"), "next")).await.unwrap();
    let (row, problem) = trail.found().await;
    assert!(row == Some(9) && problem.contains("missing"), "{problem}");
    assert_eq!(trail.report("a").await.last, 12, "rows go on after the one that was written last");
}

/// D-10: a whole chain that was removed is missed
#[tokio::test]
async fn a_chain_that_was_removed_is_missed() {
    let trail = Trail::new().await;
    trail
        .tamper(
            "DELETE FROM audit_logs WHERE tenant_id = 'a'; DELETE FROM audit_chains WHERE tenant_id = 'a'",
        )
        .await;
    let reports = trail.store.verify_audit(None).await.unwrap();
    let problems: Vec<_> = reports.iter().filter_map(|report| report.problem.clone()).collect();
    assert!(problems.iter().any(|problem| problem.contains("1 chains")), "{problems:?}");
    assert!(problems.iter().any(|problem| problem.contains("`a` is missing: its row 10")), "{problems:?}");
    trail.tamper("UPDATE audit_trail SET chains = 1").await;
    let reports = trail.store.verify_audit(None).await.unwrap();
    assert!(reports.iter().any(|report| report.problem.is_some()), "{reports:?}");
}

/// D-10: a row that was put in without the gateway is found, whatever it says
#[tokio::test]
async fn a_row_that_the_gateway_did_not_write_is_found() {
    let columns = "audit_logs (at, tenant_id, actor, action, target, outcome, detail, number, hash)";
    for values in [
        "(1, 'a', 'x', 'x', 'x', 'ok', '{}', NULL, NULL)",
        "(1, 'a', 'x', 'x', 'x', 'ok', '{}', 11, zeroblob(32))",
    ] {
        let trail = Trail::new().await;
        trail.tamper(&format!("INSERT INTO {columns} VALUES {values}")).await;
        let reports = trail.store.verify_audit(None).await.unwrap();
        assert!(reports.iter().any(|report| report.problem.is_some()), "{values}: {reports:?}");
    }
}

/// D-10: the key is for this user alone, and another key is named as such
#[cfg(unix)]
#[tokio::test]
async fn another_key_is_found_and_its_coming_is_written_down() {
    use std::os::unix::fs::PermissionsExt;
    let trail = Trail::new().await;
    assert_eq!(std::fs::metadata(trail.key()).unwrap().permissions().mode() & 0o777, 0o600);
    trail.store.close().await;
    std::fs::remove_file(trail.key()).unwrap();
    let store = SqliteStore::open(trail.store.path()).await.unwrap();
    let report = &store.verify_audit(Some(&tenant("a"))).await.unwrap()[0];
    assert!(report.problem.as_ref().unwrap().contains("another key"), "{report:?}");
    store.append_audit(&audit(&tenant("a"), "next")).await.unwrap();
    let rows = store.audit(&tenant("a"), 2).await.unwrap();
    assert_eq!((&*rows[0].action, &*rows[1].action), ("next", "audit.new_key"));
    assert_eq!(store.verify_audit(Some(&tenant("a"))).await.unwrap()[0].problem, None);
}

#[tokio::test]
async fn the_tables_refuse_to_change_or_remove_a_row() {
    let trail = Trail::new().await;
    for sql in ["UPDATE audit_logs SET actor = 'nobody'", "DELETE FROM audit_logs WHERE number = 1"] {
        let error = trail.run(sql).await.unwrap_err();
        assert!(error.to_string().contains("audit trail"), "{sql}: {error}");
    }
    assert_eq!(trail.found().await.0, None);
}

#[tokio::test]
async fn rows_of_a_version_without_chains_are_chained_when_it_is_replaced() {
    let trail = Trail::new().await;
    trail.store.migrate_down(3).await.unwrap();
    trail.store.close().await;
    // Such a version has no key.
    std::fs::remove_file(trail.key()).unwrap();
    let store = SqliteStore::open(trail.store.path()).await.unwrap();
    let reports = store.verify_audit(None).await.unwrap();
    let ends: Vec<_> = reports.iter().map(|one| (&*one.tenant_id, one.last, one.problem.clone())).collect();
    assert_eq!(ends, [("a", 10, None), ("b", 3, None)]);
}

fn dated(of: &str, date: &str) -> AuditEntry {
    AuditEntry { at: date.parse().unwrap(), ..audit(&tenant(of), date) }
}

async fn left(store: &dyn Store, of: &str) -> Vec<String> {
    let rows = store.audit(&tenant(of), 100).await.unwrap();
    rows.into_iter().rev().map(|entry| entry.action).collect()
}

/// D-09: rows go in bounded batches from the beginning alone; the rest can still be followed, also when the job is cut
#[tokio::test]
async fn retention_removes_from_the_beginning_in_batches_and_the_chain_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let store = SqliteStore::open(&path).await.unwrap();
    for day in 1..=9 {
        store.append_audit(&dated("a", &format!("2020-01-0{day}T00:00:00Z"))).await.unwrap();
        store.append_audit(&dated("held", &format!("2020-01-0{day}T00:00:00Z"))).await.unwrap();
    }
    store.hold_audit(true, &dated("held", "2020-01-10T00:00:00Z")).await.unwrap();
    let before: Timestamp = "2020-01-06T00:00:00Z".parse().unwrap();
    assert_eq!(store.retain_audit(before, 3).await.unwrap(), 3);
    drop(store);
    let store = SqliteStore::open(&path).await.unwrap();
    assert_eq!(store.retain_audit(before, 3).await.unwrap(), 2);
    assert_eq!(store.retain_audit(before, 3).await.unwrap(), 0);
    assert_eq!(left(&store, "a").await.first().unwrap(), "2020-01-06T00:00:00Z");
    assert_eq!(left(&store, "held").await.len(), 10, "legal hold");
    let reports = store.verify_audit(None).await.unwrap();
    assert!(reports.iter().all(|report| report.problem.is_none()), "{reports:?}");
    assert_eq!((reports[0].first, reports[1].first, reports[1].hold), (6, 1, true));
    store.hold_audit(false, &dated("held", "2020-01-10T00:00:00Z")).await.unwrap();
    assert_eq!(store.retain_audit("2030-01-01T00:00:00Z".parse().unwrap(), 100).await.unwrap(), 4 + 11);
    store.append_audit(&dated("a", "2031-01-01T00:00:00Z")).await.unwrap();
    let report = &store.verify_audit(Some(&tenant("a"))).await.unwrap()[0];
    assert_eq!((report.first, report.last, report.problem.clone()), (10, 10, None), "numbers go on");
}

/// D-09: deleting a tenant, a server and all that they had removes no row
#[tokio::test]
async fn deleting_what_rows_speak_of_removes_none() {
    let trail = Trail::new().await;
    let one = server(&tenant("a"), "calc");
    let entry = audit(&tenant("a"), "server.register");
    trail.store.insert_server(&one, &Listing::default(), &entry).await.unwrap();
    trail.store.remove_server(&tenant("a"), one.id, one.updated_at, &entry).await.unwrap();
    trail.run("DELETE FROM tenants").await.unwrap();
    assert_eq!(left(&trail.store, "a").await.len(), 12);
    assert_eq!(trail.found().await.0, None);
}

/// D-11: while rows cannot be written no mutation is acknowledged: after a bounded wait it is refused
#[tokio::test]
async fn a_trail_that_cannot_be_written_refuses_mutations_after_a_bounded_wait() {
    let trail = Trail::new().await;
    let held = trail.store.write().await.unwrap();
    tokio::time::pause();
    let one = server(&tenant("a"), "calc");
    let registering =
        trail.store.insert_server(&one, &Listing::default(), &audit(&tenant("a"), "server.register")).await;
    tokio::time::resume();
    assert_eq!(registering.unwrap_err().kind().row().status, 503);
    assert_eq!(left(&trail.store, "a").await.len(), 10, "reads go on");
    drop(held);
    assert_eq!(trail.store.servers().await.unwrap(), []);
}

/// F-27: a full disk refuses the mutation and its row alike, and what was there before still holds
#[tokio::test]
async fn a_full_disk_acknowledges_nothing_and_leaves_the_chain_whole() {
    let trail = Trail::new().await;
    trail.run("PRAGMA max_page_count = 1").await.unwrap();
    let mut acknowledged = 0;
    let error = loop {
        let entry = AuditEntry {
            detail: serde_json::json!({ "filler": "x".repeat(4000) }),
            ..audit(&tenant("a"), "server.register")
        };
        let one = server(&tenant("a"), &format!("s{acknowledged}"));
        match trail.store.insert_server(&one, &Listing::default(), &entry).await {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert!(error.kind() == ErrorKind::Storage && error.message().contains("disk is full"), "{error}");
    assert_eq!(trail.store.servers().await.unwrap().len(), acknowledged);
    assert_eq!(left(&trail.store, "a").await.len(), 10 + acknowledged);
    assert_eq!(trail.found().await.0, None);
    trail.run("PRAGMA max_page_count = 1000000").await.unwrap();
    trail.store.append_audit(&audit(&tenant("a"), "after")).await.unwrap();
    assert_eq!(trail.found().await.0, None);
}

/// B-26: text that a stranger sends is kept bounded and comes back as data: line breaks, escapes, a megabyte
#[tokio::test]
async fn hostile_text_is_bounded_and_stays_data() {
    let trail = Trail::new().await;
    let hostile = "x\r\n{\"forged\":\"row\"}\u{1b}[2J'; DROP TABLE audit_logs; --\0";
    let entry = AuditEntry {
        actor: hostile.into(),
        target: "é".repeat(1024 * 1024),
        detail: serde_json::json!({ "message": hostile.repeat(20_000) }),
        ..audit(&tenant("a"), "server.register")
    };
    trail.store.append_audit(&entry).await.unwrap();
    let row = trail.store.find_audit(&tenant("a"), &AuditQuery::newest(1)).await.unwrap().remove(0);
    assert_eq!(row.entry.actor, hostile);
    assert_eq!(row.entry.target.chars().count(), 256);
    assert_eq!(row.entry.detail["truncated"], true);
    let line = serde_json::to_string(&row).unwrap();
    assert!(line.len() < 8192 && !line.contains(['\r', '\n', '\u{1b}', '\0']), "{} bytes", line.len());
    assert_eq!(trail.found().await.0, None);
}
