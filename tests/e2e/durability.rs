//! What was acknowledged survives `kill -9`, with its trace.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use mcp_registry_gateway::random::Random;
use mcp_registry_gateway_tests::http::Http;
use mcp_registry_gateway_tests::process::{Gateway, Options};
use mcp_registry_gateway_tests::rounds;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tokio::sync::watch;
use tokio::task::JoinSet;

const WRITERS: usize = 8;
/// From the start of a killed gateway's successor to its being ready.
const RECOVERY: Duration = Duration::from_secs(2);
/// For so many writes.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one server must be: its description, or gone.
type Want = Option<String>;

/// What a writer knows of the servers that it wrote, by id.
#[derive(Debug, Default)]
struct Diary {
    /// What was acknowledged last.
    kept: BTreeMap<String, Want>,
    /// A change that was sent and not acknowledged: it may have happened.
    doubtful: Option<(String, Want)>,
    /// A name whose registration was sent and not acknowledged.
    doubtful_name: Option<String>,
    /// What was acknowledged, for the audit trail: action and id.
    acknowledged: Vec<(&'static str, String)>,
}

/// Registers, updates and removes until the gateway is gone.
async fn write(
    http: Http,
    mut diary: Diary,
    writer: usize,
    seed: u64,
    written: watch::Sender<usize>,
) -> Diary {
    let random = Random::seeded(seed);
    for round in 0.. {
        let living: Vec<_> =
            diary.kept.iter().filter(|(_, want)| want.is_some()).map(|(id, _)| id.clone()).collect();
        let text = format!("writer {writer} seed {seed} round {round}");
        let chosen = (living.len() > 2).then(|| living[random.below(living.len())].clone());
        let (action, id, sent) = match (random.below(3), chosen) {
            (1, Some(id)) => {
                diary.doubtful = Some((id.clone(), Some(text.clone())));
                let path = format!("/api/v1/servers/{id}");
                let body = json!({ "description": text });
                ("server.update", Some(id), http.json(Method::PUT, &path, Some(&body)).await)
            }
            (2, Some(id)) => {
                diary.doubtful = Some((id.clone(), None));
                let path = format!("/api/v1/servers/{id}");
                ("server.remove", Some(id), http.json(Method::DELETE, &path, None).await)
            }
            _ => {
                let name = format!("w{writer}-{seed:x}-{round}");
                diary.doubtful_name = Some(name.clone());
                let body = json!({
                    "name": name, "description": text, "endpoint_url": "http://127.0.0.1:9/mcp",
                    "auto_discover": false, "health_check": { "enabled": false },
                });
                ("server.register", None, http.json(Method::POST, "/api/v1/servers", Some(&body)).await)
            }
        };
        let Ok((status, body)) = sent else { return diary };
        assert!((200..300).contains(&status), "{action}: {status} {body}");
        let id = id.unwrap_or_else(|| body["id"].as_str().expect("an id").to_owned());
        diary.kept.insert(id.clone(), (action != "server.remove").then_some(text));
        diary.acknowledged.push((action, id));
        diary.doubtful = None;
        diary.doubtful_name = None;
        written.send_modify(|count| *count += 1);
    }
    diary
}

/// Every living server by id: its name and description.
async fn servers(http: &Http) -> BTreeMap<String, (String, String)> {
    let mut found = BTreeMap::new();
    for page in 1.. {
        let (_, body) = http.get(&format!("/api/v1/servers?limit=200&page={page}")).await.expect("a page");
        let servers = body["servers"].as_array().expect("servers").clone();
        for server in &servers {
            let text = |key: &str| server[key].as_str().unwrap_or_default().to_owned();
            let twice = found.insert(text("id"), (text("name"), text("description")));
            assert!(twice.is_none(), "{server} is listed twice");
        }
        if found.len() as u64 >= body["total"].as_u64().expect("a total") || servers.is_empty() {
            break;
        }
    }
    found
}

/// Fails unless every acknowledged change of `diary` is there; what was doubtful is settled by what is found.
fn compare(diary: &mut Diary, found: &BTreeMap<String, (String, String)>) {
    for (id, want) in &mut diary.kept {
        let is = found.get(id).map(|(_, description)| description.clone());
        match &diary.doubtful {
            Some((doubtful, maybe)) if doubtful == id => {
                assert!(is == *want || is == *maybe, "{id} is {is:?}, neither {want:?} nor {maybe:?}");
                *want = is;
            }
            _ => assert_eq!(is, *want, "{id}"),
        }
    }
    if let Some(name) = diary.doubtful_name.take()
        && let Some((id, (_, description))) = found.iter().find(|(_, (found, _))| *found == name)
    {
        diary.kept.insert(id.clone(), Some(description.clone()));
    }
    diary.doubtful = None;
}

/// Every audit row: how often each action was done to each target. The file's integrity is checked too.
async fn audit(data: &Path) -> BTreeMap<(String, String), usize> {
    let options = SqliteConnectOptions::new().filename(data.join("gateway.db"));
    let pool = SqlitePool::connect_with(options).await.expect("the database");
    let (verdict,): (String,) =
        sqlx::query_as("PRAGMA integrity_check").fetch_one(&pool).await.expect("a verdict");
    assert_eq!(verdict, "ok");
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT action, target FROM audit_logs WHERE outcome = 'ok'")
            .fetch_all(&pool)
            .await
            .expect("audit rows");
    pool.close().await;
    rows.into_iter().fold(BTreeMap::new(), |mut all, row| {
        *all.entry(row).or_default() += 1;
        all
    })
}

#[tokio::test]
async fn no_acknowledged_write_is_lost_or_doubled_by_kill_nine_and_each_has_its_audit_row() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let random = Random::seeded(50);
    let start = async || {
        let options = Options { data: Some(data.path().to_owned()), ..Options::default() };
        Gateway::start_with(options).await
    };
    let mut diaries: Vec<Diary> = (0..WRITERS).map(|_| Diary::default()).collect();
    let mut gateway = start().await;
    let cycles = rounds(15, 50);
    for _ in 0..cycles {
        let mut writing = JoinSet::new();
        let (written, mut heard) = watch::channel(0);
        for (writer, diary) in diaries.drain(..).enumerate() {
            writing.spawn(write(Http::new(gateway.address()), diary, writer, random.next(), written.clone()));
        }
        // By what was written and not by time, so that a slow machine tries no less; the pause lets it happen in the middle of a write.
        let enough = WRITERS * 2 + random.below(WRITERS * 6);
        let reached = tokio::time::timeout(PATIENCE, heard.wait_for(|count| *count >= enough)).await;
        assert!(
            reached.is_ok_and(|reached| reached.is_ok()),
            "fewer than {enough} writes within {PATIENCE:?}"
        );
        tokio::time::sleep(Duration::from_micros(u64::try_from(random.below(4_000)).expect("a pause"))).await;
        gateway.kill();
        diaries.extend(writing.join_all().await);
        gateway = start().await;
        assert!(gateway.ready_after < RECOVERY, "ready after {:?}", gateway.ready_after);
        let found = servers(gateway.http()).await;
        for diary in &mut diaries {
            compare(diary, &found);
        }
        let known: usize = diaries.iter().map(|diary| diary.kept.values().flatten().count()).sum();
        assert_eq!(found.len(), known, "a server that nobody registered");
    }
    gateway.kill();
    let rows = Arc::new(audit(data.path()).await);
    let mut wanted: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (action, id) in diaries.iter().flat_map(|diary| &diary.acknowledged) {
        *wanted.entry(((*action).to_owned(), id.clone())).or_default() += 1;
    }
    assert!(wanted.len() > cycles * WRITERS, "only {} writes were acknowledged", wanted.len());
    for (row, count) in &wanted {
        let found = rows.get(row).copied().unwrap_or_default();
        // One change more may have happened in each cycle without having been acknowledged.
        let most = if row.0 == "server.update" { count + cycles } else { *count };
        assert!(
            (*count..=most).contains(&found),
            "{row:?}: {found} audit rows for {count} acknowledged changes"
        );
    }
}

#[tokio::test]
async fn what_is_refused_leaves_an_audit_row_and_no_record() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let options = Options { data: Some(data.path().to_owned()), ..Options::default() };
    let mut gateway = Gateway::start_with(options).await;
    let server = crate::quiet("same", "http://127.0.0.1:9/mcp");
    gateway.register(&server).await;
    let (status, body): (u16, Value) =
        gateway.http().json(Method::POST, "/api/v1/servers", Some(&server)).await.expect("an answer");
    assert_eq!((status, &body["error"]["code"]), (409, &json!("DUPLICATE_RESOURCE")));
    gateway.kill();
    let options = SqliteConnectOptions::new().filename(data.path().join("gateway.db"));
    let pool = SqlitePool::connect_with(options).await.expect("the database");
    let (refused,): (i64,) = sqlx::query_as(
        "SELECT count(*) FROM audit_logs WHERE action = 'server.register' AND outcome = 'conflict'",
    )
    .fetch_one(&pool)
    .await
    .expect("a count");
    assert_eq!(refused, 1);
}
