//! Databases that lack what was acknowledged, and databases that only look like it.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sqlx::AssertSqlSafe;
use tempfile::TempDir;

use super::SqliteStore;
use crate::error::ErrorKind;
use crate::model::{Listing, TenantId};
use crate::store::testing::{audit, server};
use crate::store::{DataLoss, Store};

const SERVERS: usize = 40;

/// Done to one file.
type Damage = fn(&Path);
/// Done to a folder.
type Change = fn(&Data);

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

async fn add(store: &SqliteStore, of: &str, name: &str) {
    let one = server(&tenant(of), name);
    let entry = audit(&tenant(of), "server.register");
    store.insert_server(&one, &Listing::default(), &entry).await.unwrap();
}

/// The folder of a gateway.
struct Data(TempDir);

impl Data {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A gateway that was killed after so many registrations.
    async fn killed(servers: usize) -> Self {
        let data = Self::new();
        let store = data.open().await;
        for number in 0..servers {
            add(&store, ["a", "b"][number % 2], &format!("s{number}")).await;
        }
        // A kill leaves the files as they are on disk now.
        let left = data.copy();
        store.close().await;
        left
    }

    fn copy(&self) -> Self {
        let copy = Self::new();
        for file in std::fs::read_dir(self.0.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), copy.at(&file.file_name().to_string_lossy())).unwrap();
        }
        copy
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self) -> PathBuf {
        self.at("gateway.db")
    }

    async fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.file()).await.unwrap()
    }

    /// The words of the refusal.
    async fn refused(&self) -> String {
        let error = SqliteStore::open(&self.file()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        let said = error.to_string();
        assert!(said.contains("restore FILE") && said.contains("--accept-data-loss"), "{said}");
        said
    }

    async fn servers(&self) -> usize {
        let store = self.open().await;
        let found = store.servers().await.unwrap().len();
        store.close().await;
        found
    }

    /// Does what a process with access to the database can do.
    async fn tamper(&self, sql: &str) {
        let store = SqliteStore::open_with(&self.file(), DataLoss::Inspect).await.unwrap();
        let triggers =
            "DROP TRIGGER IF EXISTS audit_logs_unchanged; DROP TRIGGER IF EXISTS audit_logs_kept; ";
        sqlx::raw_sql(AssertSqlSafe(triggers.to_owned() + sql)).execute(&store.writer).await.unwrap();
        store.close().await;
    }

    /// The problems that verification finds, without changing anything.
    async fn problems(&self) -> Vec<String> {
        let store = SqliteStore::open_with(&self.file(), DataLoss::Inspect).await.unwrap();
        let reports = store.verify_audit(None).await.unwrap();
        store.close().await;
        reports.into_iter().filter_map(|report| report.problem).collect()
    }

    /// The signed ends of the audit trail.
    async fn signed(&self) -> Vec<Vec<u8>> {
        let store = SqliteStore::open_with(&self.file(), DataLoss::Inspect).await.unwrap();
        let all = "SELECT signature FROM audit_chains UNION ALL SELECT signature FROM audit_trail";
        let signed = sqlx::query_scalar(all).fetch_all(&store.writer).await.unwrap();
        store.close().await;
        signed
    }
}

fn cut(path: &Path, to: impl Fn(usize) -> usize) {
    let bytes = std::fs::read(path).unwrap();
    std::fs::write(path, &bytes[..to(bytes.len())]).unwrap();
}

/// a log that is garbage, or of which the end is gone, refuses the start, which says what is missing and how to go on
#[tokio::test]
async fn x_13_a_log_that_lost_its_end_refuses_the_start_and_says_what_is_missing() {
    let killed = Data::killed(SERVERS).await;
    assert_eq!(killed.copy().servers().await, SERVERS, "a kill alone loses nothing");
    let log = |data: &Data| data.at("gateway.db-wal");
    let damages: [(&str, Damage); 5] = [
        ("half of it", |log| cut(log, |size| size / 2)),
        ("nothing of it", |log| cut(log, |_| 0)),
        ("all but a byte", |log| cut(log, |size| size - 1)),
        ("garbage", |log| {
            let size = std::fs::metadata(log).unwrap().len();
            std::fs::write(log, vec![0xa5; usize::try_from(size).unwrap()]).unwrap();
        }),
        ("no file", |log| std::fs::remove_file(log).unwrap()),
    ];
    for (left, damage) in damages {
        let data = killed.copy();
        damage(&log(&data));
        let said = data.refused().await;
        assert!(said.contains("and revision") && said.contains("was acknowledged"), "{left}: {said}");
        assert!(said.contains("missing (") && said.contains("of 40 are there)"), "{left}: {said}");
        assert_eq!(data.refused().await, said, "{left}: the refusal changes nothing");
        assert!(!data.problems().await.is_empty(), "{left}");

        let store = SqliteStore::open_with(&data.file(), DataLoss::Accept).await.unwrap();
        let rows = store.audit(&TenantId::default_tenant(), 1).await.unwrap();
        assert_eq!(rows[0].action, "store.data_loss_accepted", "{left}");
        add(&store, "a", "next").await;
        store.close().await;
        data.open().await.close().await;
    }
}

/// nothing but a loss refuses a start: no crash at whatever moment, no copy, no key that is new, no second process
#[tokio::test]
async fn x_13_what_lost_nothing_is_let_in() {
    let killed = Data::killed(SERVERS).await;
    let changes: [(&str, Change); 4] = [
        ("copied", |_| {}),
        ("a record cut by a loss of power", |data| cut(&data.at("gateway.db.anchor"), |size| size - 30)),
        ("another key", |data| std::fs::remove_file(data.at("gateway.audit-key")).unwrap()),
        ("no record, as before there was one", |data| {
            std::fs::remove_file(data.at("gateway.db.anchor")).unwrap();
        }),
    ];
    for (what, change) in changes {
        let data = killed.copy();
        change(&data);
        assert_eq!(data.servers().await, SERVERS, "{what}");
        assert_eq!(data.servers().await, SERVERS, "{what}, once more");
    }

    // Killed between the commit and its record.
    let data = killed.copy();
    let store = data.open().await;
    let before = std::fs::read(data.at("gateway.db.anchor")).unwrap();
    add(&store, "a", "late").await;
    add(&store, "new", "late").await;
    let left = data.copy();
    std::fs::write(left.at("gateway.db.anchor"), before).unwrap();
    assert_eq!(left.servers().await, SERVERS + 2);
    assert_eq!(left.problems().await, [""; 0]);

    // Two processes write in turn; the last word of neither is lost.
    let other = data.open().await;
    for number in 0..10 {
        add(&store, "a", &format!("one{number}")).await;
        add(&other, "b", &format!("other{number}")).await;
    }
    let servers = store.servers().await.unwrap();
    store
        .remove_server(&servers[0].tenant_id, servers[0].id, Timestamp::UNIX_EPOCH, &audit(&tenant("a"), "x"))
        .await
        .unwrap();
    drop((store, other));
    assert_eq!(data.servers().await, SERVERS + 2 + 20 - 1);
    assert_eq!(data.problems().await, [""; 0]);
}

/// a database that was removed while its key was left is missed, and none is made in its place
#[tokio::test]
async fn x_13_a_database_that_is_gone_is_missed() {
    let data = Data::killed(4).await;
    for part in ["gateway.db", "gateway.db-wal", "gateway.db-shm"] {
        let _ = std::fs::remove_file(data.at(part));
    }
    for _ in 0..2 {
        let said = data.refused().await;
        assert!(said.contains("its file is gone") && said.contains("4 servers"), "{said}");
        assert!(!data.file().exists(), "an empty one would look like the real one");
    }
    SqliteStore::open_with(&data.file(), DataLoss::Accept).await.unwrap().close().await;
    assert_eq!(data.servers().await, 0);

    let fresh = Data::new();
    fresh.open().await.close().await;
    std::fs::remove_file(fresh.file()).unwrap();
    assert_eq!(fresh.servers().await, 0, "nothing was acknowledged");
}

/// an older database in the place of the newer one is refused, unless it is restored; that leaves a row
#[tokio::test]
async fn x_13_a_backup_is_put_back_by_restore_alone() {
    let data = Data::new();
    let store = data.open().await;
    add(&store, "a", "one").await;
    let backup = data.at("backup.db");
    store.backup(&backup).await.unwrap();
    assert_eq!(store.backup(&backup).await.unwrap_err().kind(), ErrorKind::Conflict);
    add(&store, "a", "two").await;
    store.close().await;

    let by_hand = data.copy();
    std::fs::copy(&backup, by_hand.file()).unwrap();
    for part in ["gateway.db-wal", "gateway.db-shm"] {
        let _ = std::fs::remove_file(by_hand.at(part));
    }
    let said = by_hand.refused().await;
    assert!(said.contains("1 server is missing (1 of 2 are there)"), "{said}");
    assert!(said.contains("the audit trail of `a` ends at row 1, and row 2 was acknowledged"), "{said}");

    let kept = SqliteStore::restore(&data.file(), &backup).await.unwrap().unwrap();
    assert!(kept.exists(), "{kept:?}");
    let store = data.open().await;
    assert_eq!(store.servers().await.unwrap().len(), 1);
    let rows = store.audit(&tenant("a"), 1).await.unwrap();
    assert_eq!((&*rows[0].action, &rows[0].detail["acknowledged_revision"]), ("store.restore", &2.into()));
    store.close().await;
    assert_eq!(data.problems().await, [""; 0]);

    let nothing = data.at("notes.txt");
    std::fs::write(&nothing, "no database").unwrap();
    SqliteStore::restore(&data.file(), &nothing).await.unwrap_err();
    assert_eq!(data.servers().await, 1, "what is no backup replaces nothing");
}

/// whoever can write the database alone, and removes the signed ends of the trail, is found out; no start signs what is left
#[tokio::test]
async fn x_09_a_trail_without_its_ends_is_refused_and_never_signed() {
    let gone = "DELETE FROM audit_chains; DELETE FROM audit_trail;";
    let forged = "INSERT INTO audit_logs (at, tenant_id, actor, action, target, outcome, detail) \
        VALUES (1, 'a', 'forged', 'x', 'x', 'ok', '{}');";
    for (what, sql) in [
        ("the ends", gone.to_owned()),
        ("and all hashes", format!("{gone} UPDATE audit_logs SET number = NULL, hash = NULL, actor = 'forged'")),
        ("and a row more", format!("{gone} UPDATE audit_logs SET number = NULL, hash = NULL; {forged}")),
        ("and all rows", format!("{gone} DELETE FROM audit_logs")),
        ("one chain", "DELETE FROM audit_chains WHERE tenant_id = 'a'; UPDATE audit_trail SET chains = 1".into()),
        ("the last row", "DELETE FROM audit_logs WHERE tenant_id = 'a' AND number = 4; UPDATE audit_chains SET last_number = 3, \
            last_hash = (SELECT hash FROM audit_logs WHERE tenant_id = 'a' AND number = 3) WHERE tenant_id = 'a'".into()),
        ("the last hash", "UPDATE audit_chains SET last_hash = zeroblob(32) WHERE tenant_id = 'a'".into()),
    ] {
        let data = Data::killed(8).await;
        data.tamper(&sql).await;
        let signed = data.signed().await;
        let said = data.refused().await;
        assert!(said.contains("audit trail"), "{what}: {said}");
        assert!(!data.problems().await.is_empty(), "{what}");
        assert_eq!(data.signed().await, signed, "{what}: nothing was signed");

        SqliteStore::open_with(&data.file(), DataLoss::Accept).await.unwrap().close().await;
        let store = data.open().await;
        add(&store, "a", "after").await;
        store.close().await;
        assert!(!data.problems().await.is_empty(), "{what}: it is found for ever");
    }
}

/// rows without a chain are never taken for the gateway's own once it has chained any; verification finds them
#[tokio::test]
async fn x_09_rows_without_a_chain_are_found_and_not_adopted() {
    let data = Data::killed(2).await;
    data.tamper(
        "INSERT INTO audit_logs (at, tenant_id, actor, action, target, outcome, detail) \
        VALUES (1, 'a', 'forged', 'x', 'x', 'ok', '{}')",
    )
    .await;
    data.open().await.close().await;
    let problems = data.problems().await;
    assert!(problems[0].contains("1 rows have no hash"), "{problems:?}");

    // The same by way of the version that had no chains: the key says that there were some.
    let data = Data::killed(2).await;
    let store = data.open().await;
    store.migrate_down(3).await.unwrap();
    store.close().await;
    let said = data.refused().await;
    assert!(said.contains("lost its chains"), "{said}");
    std::fs::remove_file(data.at("gateway.audit-key")).unwrap();
    data.open().await.close().await;
    assert_eq!(data.problems().await, [""; 0], "a version without chains had no key");
}

/// ends that are removed while the gateway runs are missed at the next row, which goes on after the one that it wrote last
#[tokio::test]
async fn x_09_ends_removed_from_under_a_running_gateway_are_missed_at_the_next_row() {
    for sql in [
        "DELETE FROM audit_chains; DELETE FROM audit_trail",
        "DELETE FROM audit_chains; DELETE FROM audit_trail; DELETE FROM audit_logs",
        "DELETE FROM audit_logs WHERE tenant_id = 'a' AND number = 2; UPDATE audit_chains SET last_number = 1, \
            last_hash = (SELECT hash FROM audit_logs WHERE tenant_id = 'a' AND number = 1) WHERE tenant_id = 'a'",
    ] {
        let data = Data::killed(4).await;
        let store = data.open().await;
        data.tamper(sql).await;
        add(&store, "a", "next").await;
        let rows = store.audit(&tenant("a"), 2).await.unwrap();
        assert_eq!((&*rows[0].action, &*rows[1].action), ("server.register", "audit.broken"), "{sql}");
        let reports = store.verify_audit(Some(&tenant("a"))).await.unwrap();
        assert!(reports.iter().any(|report| report.problem.is_some()), "{sql}: {reports:?}");
        store.close().await;
        assert!(!data.problems().await.is_empty(), "{sql}");
    }
}

/// many that write at once wait for few lines of the record, and all of them are in it
#[tokio::test]
async fn x_13_what_many_write_at_once_is_recorded_before_it_is_acknowledged() {
    let data = Data::new();
    let store = data.open().await;
    let names: Vec<_> = (0..100).map(|number| format!("s{number}")).collect();
    futures_util::future::join_all(names.iter().map(|name| add(&store, "a", name))).await;
    let left = data.copy();
    std::fs::write(left.at("gateway.db-wal"), "").unwrap();
    let said = left.refused().await;
    assert!(said.contains("100 servers are missing") || said.contains("of 100 are there"), "{said}");
    store.close().await;
}
