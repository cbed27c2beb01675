//! A database that lost what was acknowledged: the program refuses it, says what is missing, and goes on as its operator decides.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mcp_registry_gateway_tests::process::{Gateway, Options, binary};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tempfile::TempDir;

const SERVERS: usize = 12;

fn run(data: &Path, words: &[&str]) -> Output {
    // After a command line of a server nothing else is understood.
    let (command, words) = words.split_first().expect("a command");
    Command::new(binary())
        .arg(command)
        .arg("--data-dir")
        .arg(data)
        .args(words)
        .output()
        .expect("mcp-gateway runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

async fn start(data: &Path, args: &[&str]) -> Gateway {
    let args = args.iter().map(|word| (*word).to_owned()).collect();
    Gateway::start_with(Options { data: Some(data.to_owned()), args, ..Options::default() }).await
}

/// The folder of a gateway that was killed after it had acknowledged its servers.
async fn killed() -> TempDir {
    let data = tempfile::tempdir().expect("a folder");
    let mut gateway = start(data.path(), &[]).await;
    for number in 0..SERVERS {
        gateway.register(&crate::quiet(&format!("s{number}"), "http://127.0.0.1:9/mcp")).await;
    }
    gateway.kill();
    data
}

async fn total(gateway: &Gateway) -> Value {
    let (_, body) = gateway.http().get("/api/v1/servers?limit=200").await.expect("servers");
    body["total"].clone()
}

fn log(data: &Path) -> PathBuf {
    data.join("gateway.db-wal")
}

/// after kill -9, with the database's log cut or overwritten, the program ends with 1 and says what is missing; every command
/// refuses; it starts once the operator accepts the loss, and as ever after that
#[tokio::test]
async fn x_13_a_database_that_lost_its_log_is_refused_until_the_loss_is_accepted() {
    type Damage = fn(&Path);
    let damages: [Damage; 2] = [
        |log| {
            let bytes = std::fs::read(log).expect("a log");
            std::fs::write(log, &bytes[..bytes.len() / 2]).expect("half of it");
        },
        |log| {
            let size = std::fs::metadata(log).expect("a log").len();
            std::fs::write(log, vec![0x5a; usize::try_from(size).expect("a size")]).expect("garbage");
        },
    ];
    for damage in damages {
        let data = killed().await;
        damage(&log(data.path()));
        for words in [
            &["serve", "--port", "0"][..],
            &["keys", "list"],
            &["register", "x", "http://127.0.0.1:9/mcp"],
            &["init-db"],
        ] {
            let output = run(data.path(), words);
            let said = said(&output);
            assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
            assert!(
                said.contains("of 12 are there") && said.contains("--accept-data-loss"),
                "{words:?}: {said}"
            );
        }
        let verified = run(data.path(), &["audit", "verify"]);
        assert_eq!(verified.status.code(), Some(1), "{}", said(&verified));

        let mut gateway = start(data.path(), &["--accept-data-loss"]).await;
        assert_ne!(total(&gateway).await, SERVERS);
        gateway.register(&crate::quiet("next", "http://127.0.0.1:9/mcp")).await;
        gateway.kill();
        let gateway = start(data.path(), &[]).await;
        let (_, rows) =
            gateway.http().get("/api/v1/audit?action=store.data_loss_accepted").await.expect("rows");
        assert_eq!(rows["rows"].as_array().map(Vec::len), Some(1), "{rows}");
    }
}

/// a backup is made while the gateway serves, and put back by `restore`; put back by hand it is refused
#[tokio::test]
async fn x_13_a_backup_is_made_while_serving_and_put_back_by_restore() {
    let data = killed().await;
    let copies = tempfile::tempdir().expect("a folder");
    let backup = copies.path().join("backup.db").display().to_string();
    let mut gateway = start(data.path(), &[]).await;
    let made = run(data.path(), &["backup", &backup]);
    assert!(made.status.success(), "{}", said(&made));
    gateway.register(&crate::quiet("later", "http://127.0.0.1:9/mcp")).await;
    let refused = run(data.path(), &["restore", &backup]);
    assert!(!refused.status.success() && said(&refused).contains("is served by"), "{}", said(&refused));
    gateway.kill();
    let restored = run(data.path(), &["restore", &backup]);
    assert!(restored.status.success(), "{}", said(&restored));
    let mut gateway = start(data.path(), &[]).await;
    assert_eq!(total(&gateway).await, SERVERS);
    gateway.kill();
    let verified = run(data.path(), &["audit", "verify"]);
    assert!(verified.status.success(), "{}", said(&verified));
    std::fs::copy(&backup, data.path().join("gateway.db")).expect("a copy by hand");
    let _ = std::fs::remove_file(log(data.path()));
    let refused = run(data.path(), &["serve", "--port", "0"]);
    assert!(refused.status.code() == Some(1), "{}", said(&refused));
}

/// with all signed ends removed from the database and rows forged, verification ends with 1, and the gateway refuses to start
/// and signs nothing
#[tokio::test]
async fn x_09_a_forged_trail_is_found_and_never_signed() {
    let data = killed().await;
    let pool =
        SqlitePool::connect_with(SqliteConnectOptions::new().filename(data.path().join("gateway.db"))).await;
    let pool = pool.expect("the database");
    for sql in [
        "DROP TRIGGER audit_logs_unchanged",
        "DROP TRIGGER audit_logs_kept",
        "DELETE FROM audit_chains",
        "DELETE FROM audit_trail",
        "DELETE FROM audit_logs WHERE number = 3",
        "UPDATE audit_logs SET number = NULL, hash = NULL, actor = 'somebody else'",
    ] {
        sqlx::query(sql).execute(&pool).await.expect("the database can be written");
    }
    for words in [&["audit", "verify"][..], &["serve", "--port", "0"], &["audit", "verify"]] {
        let output = run(data.path(), words);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {}", said(&output));
    }
    let signed: (i64,) =
        sqlx::query_as("SELECT (SELECT count(*) FROM audit_chains) + (SELECT count(*) FROM audit_trail)")
            .fetch_one(&pool)
            .await
            .expect("a count");
    assert_eq!(signed.0, 0);
    pool.close().await;
}
