//! A gateway among replicas: each part of its cluster is one that a test watches, or that refuses.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use http::HeaderMap;
use serde_json::{Value, json};

use super::fake::{Fake, House, caller, until};
use crate::auth::Credentials;
use crate::clock::SystemClock;
use crate::cluster::counters::{Counted, Counters, Verdict, Want};
use crate::cluster::{Broadcast, Deferred, Job, Leases, NodeId, Notice, Notices, Parked, Sessions};
use crate::error::{Error, ErrorKind};
use crate::gateway::*;
use crate::model::{Action, Call, Endpoint, HealthStatus, Principal, Reply, Role};
use crate::rpc::Message;

fn local() -> Cluster {
    Cluster::local(&SystemClock::shared())
}

/// Answers later, as an engine elsewhere does.
fn later<'a, T: Send + 'a>(answer: T) -> Deferred<'a, T> {
    Deferred::Later(Box::pin(async move {
        tokio::task::yield_now().await;
        answer
    }))
}

/// Refuses everything.
#[derive(Debug)]
struct Full;

impl Counters for Full {
    fn take<'a>(&'a self, _wanted: &[Want]) -> Verdict<'a> {
        later(Counted::Refused { window: 0, wait: Duration::from_secs(7) })
    }

    fn len(&self) -> usize {
        0
    }
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_by_the_counters_of_the_cluster() {
    let house = House::within(Cluster { counters: Arc::new(Full), ..local() }).await;
    let ann = Principal::new(TenantId::default_tenant(), "user:ann", Role::Analyst);
    let refused = house.gateway.admit(&Caller::new(ann)).await.unwrap_err();
    assert_eq!((refused.kind(), refused.kind().row().status), (ErrorKind::RateLimited, 429));
    assert_eq!(refused.retry_delay(), Some(Duration::from_secs(7)));
    assert!(house.gateway.admit(&caller()).await.is_ok(), "a process of this machine is not counted");
}

/// A directory in this process, with a log of its entries and removals; `full` refuses claims.
#[derive(Debug, Default)]
struct Directory {
    log: Mutex<Vec<String>>,
    full: bool,
    given: Mutex<u64>,
}

impl Directory {
    fn note(&self, what: &str, id: impl std::fmt::Display) {
        self.log.lock().unwrap().push(format!("{what} {id}"));
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    fn refusal(&self) -> Result<()> {
        let refusal = || Err(Error::new(ErrorKind::Unavailable, "the directory does not answer"));
        if self.full { refusal() } else { Ok(()) }
    }
}

impl Sessions for Directory {
    fn claim<'a>(&'a self, id: &'a str) -> Deferred<'a, Result<()>> {
        self.note("claim", id);
        later(self.refusal())
    }

    fn owner<'a>(&'a self, id: &'a str) -> Deferred<'a, Option<NodeId>> {
        self.note("owner", id);
        later(Some(NodeId::new("other")))
    }

    fn release<'a>(&'a self, id: &'a str) -> Deferred<'a, ()> {
        self.note("release", id);
        later(())
    }
}

impl Parked for Directory {
    fn claim(&self) -> Deferred<'_, Result<u64>> {
        let mut given = self.given.lock().unwrap();
        *given += 100;
        self.note("claim", *given);
        later(self.refusal().map(|()| *given))
    }

    fn owner(&self, number: u64) -> Deferred<'_, Option<NodeId>> {
        self.note("owner", number);
        later(None)
    }

    fn release(&self, number: u64) -> Deferred<'_, ()> {
        self.note("release", number);
        later(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_in_the_directory_from_its_beginning_to_its_end() {
    let directory = Arc::new(Directory::default());
    let house = House::within(Cluster { sessions: directory.clone(), ..local() }).await;
    let client = house.client("", json!({})).await;
    let id = client.session.clone().unwrap();
    client.request(1, "ping", json!({})).await;
    assert_eq!(directory.log(), [format!("claim {id}")], "a session that is here is looked for nowhere else");
    client.act(Action::End).await.unwrap();
    assert_eq!(directory.log(), [format!("claim {id}"), format!("release {id}")]);
    let gone = client.send(json!({ "jsonrpc": "2.0", "id": 2, "method": "ping" })).await.err().unwrap();
    assert_eq!(gone.kind(), ErrorKind::SessionNotFound);
    assert!(!gone.to_string().contains("other"), "a stranger does not learn where it is: {gone}");
    assert_eq!(directory.log()[2], format!("owner {id}"));
    let open = house.client("", json!({})).await.session.unwrap();
    house.gateway.shutdown(Duration::ZERO).await;
    assert_eq!(directory.log().last(), Some(&format!("release {open}")));
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_session_cannot_be_entered_is_refused_and_keeps_none() {
    let directory = Arc::new(Directory { full: true, ..Directory::default() });
    let house = House::within(Cluster { sessions: directory, ..local() }).await;
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {} });
    let body = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params });
    let outcome = house.gateway.handle(call(&body, crate::rpc::version::Era::Legacy), &embedded()).await;
    assert_eq!(outcome.err().map(|error| error.kind()), Some(ErrorKind::Unavailable));
    assert_eq!(house.gateway.0.sessions.len(), 0);
}

fn embedded() -> Credentials {
    Credentials::Embedded(caller().principal)
}

fn call(body: &Value, era: crate::rpc::version::Era) -> Call {
    Call {
        route: Endpoint::all(),
        action: Action::Send(Message::parse(body.to_string().into()).unwrap()),
        era,
        session: None,
        headers: HeaderMap::new(),
        correlation_id: "test".into(),
        streams: false,
        resumes: false,
        hints: None,
        builtin: true,
        over_network: false,
    }
}

/// A call of a modern client that can be asked; the result.
async fn ask(house: &House, more: Value) -> Value {
    let mut params = json!({
        "name": "a__x",
        "arguments": {},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": { "elicitation": {} },
        },
    });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let reply = house.gateway.handle(call(&body, crate::rpc::version::Era::Modern), &embedded()).await;
    match reply.unwrap() {
        Reply::Message { body, .. } | Reply::Refused { body, .. } => serde_json::from_slice(&body).unwrap(),
        Reply::Stream { mut messages, .. } => {
            use futures_util::StreamExt as _;
            let mut last = Value::Null;
            while let Some(message) = messages.next().await {
                last = serde_json::from_slice(&message).unwrap();
            }
            last
        }
        Reply::Accepted => panic!("an answer"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_its_client_is_in_the_directory_under_the_number_of_the_cluster() {
    let directory = Arc::new(Directory::default());
    let house = House::within(Cluster { parked: directory.clone(), ..local() }).await;
    let fake = Fake::new(&["x"]);
    house.add("a", "a", &fake).await;
    let script = fake.script();
    let question = json!({ "message": "?", "requestedSchema": { "type": "object", "properties": {} } });
    script
        .send(json!({ "jsonrpc": "2.0", "id": 77, "method": "elicitation/create", "params": question }))
        .unwrap();
    let asked = ask(&house, json!({})).await;
    let state = asked["result"]["requestState"].clone();
    assert!(state.is_string(), "{asked}");
    assert_eq!(directory.log(), ["claim 100"]);
    script.send(json!({ "jsonrpc": "2.0", "id": {}, "result": { "content": [] } })).unwrap();
    let answers = json!({ "q1": { "action": "accept", "content": {} } });
    let retry = json!({ "requestState": state, "inputResponses": answers });
    let answered = ask(&house, retry.clone()).await;
    assert!(answered["result"]["content"].is_array(), "{answered}");
    until("its release", || (directory.log().len() == 2).then_some(())).await;
    assert_eq!(directory.log()[1], "release 100");
    let body = ask_again(&house, retry).await;
    assert_eq!(body, ErrorKind::InvalidParams);
    assert_eq!(directory.log()[2], "owner 100", "a retry whose call is not here may belong elsewhere");
}

/// The kind of error that the same call ends with.
async fn ask_again(house: &House, more: Value) -> ErrorKind {
    let mut params = json!({
        "name": "a__x", "arguments": {},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": { "elicitation": {} },
        },
    });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    house
        .gateway
        .handle(call(&body, crate::rpc::version::Era::Modern), &embedded())
        .await
        .err()
        .unwrap()
        .kind()
}

#[tokio::test(start_paused = true)]
async fn a_call_that_cannot_be_entered_is_not_parked() {
    let directory = Arc::new(Directory { full: true, ..Directory::default() });
    let house = House::within(Cluster { parked: directory, ..local() }).await;
    let fake = Fake::new(&["x"]);
    house.add("a", "a", &fake).await;
    let script = fake.script();
    let question = json!({ "message": "?", "requestedSchema": { "type": "object", "properties": {} } });
    script
        .send(json!({ "jsonrpc": "2.0", "id": 77, "method": "elicitation/create", "params": question }))
        .unwrap();
    let refused = ask(&house, json!({})).await;
    assert_eq!(refused["error"]["data"]["kind"], "unavailable", "{refused}");
}

/// Grants the jobs of some kinds, and counts who asked for what.
#[derive(Debug, Default)]
struct Granting {
    grants: bool,
    asked: Mutex<BTreeMap<String, usize>>,
}

impl Granting {
    fn asked(&self, job: &str) -> usize {
        self.asked.lock().unwrap().get(job).copied().unwrap_or_default()
    }
}

impl Leases for Granting {
    fn acquire<'a>(&'a self, job: &'a Job, _time: Duration) -> Deferred<'a, bool> {
        *self.asked.lock().unwrap().entry(job.to_string()).or_default() += 1;
        later(self.grants)
    }

    fn release_all(&self) -> Deferred<'_, ()> {
        *self.asked.lock().unwrap().entry("release".into()).or_default() += 1;
        later(())
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_replica_with_the_lease_probes_and_asks_on_schedule() {
    for grants in [false, true] {
        let leases = Arc::new(Granting { grants, ..Granting::default() });
        let house = House::within(Cluster { leases: leases.clone(), ..local() }).await;
        let fake = Fake::new(&["x"]);
        let server = house.add("a", "a", &fake).await;
        let asked = fake.count("initialize");
        let jobs = [Job::Probe(server.id), Job::Discovery(server.id), Job::AuditRetention]
            .map(|job| job.to_string());
        until("two rounds of each", || {
            house.clock.advance(Duration::from_secs(1));
            jobs.iter().all(|job| leases.asked(job) > 1 || job == "audit-retention").then_some(())
        })
        .await;
        assert!(leases.asked("audit-retention") > 0);
        let health = || house.gateway.0.registry.state().server(server.id).unwrap().health_status;
        if grants {
            until("a probe", || (health() == HealthStatus::Healthy).then_some(())).await;
        } else {
            assert_eq!(health(), HealthStatus::Unknown, "nobody else probes it");
            assert_eq!(fake.count("initialize"), asked, "nobody else asks it");
        }
        house.gateway.shutdown(Duration::ZERO).await;
        assert_eq!(leases.asked("release"), 1);
    }
}

/// Keeps the published notices, and delivers those of a test.
#[derive(Debug)]
struct Wire {
    published: Mutex<Vec<Notice>>,
    told: tokio::sync::broadcast::Sender<Notice>,
}

impl Broadcast for Wire {
    fn publish(&self, notice: Notice) -> Deferred<'_, ()> {
        self.published.lock().unwrap().push(notice);
        later(())
    }

    fn subscribe(&self) -> Notices {
        Notices::new(self.told.subscribe())
    }
}

#[tokio::test(start_paused = true)]
async fn a_revoked_key_is_told_to_all_replicas_and_ends_where_it_is_heard() {
    let wire = Arc::new(Wire { published: Mutex::default(), told: tokio::sync::broadcast::channel(8).0 });
    let cluster = Cluster { broadcast: wire.clone(), ..local() };
    let gateway =
        Gateway::builder().config_toml("[auth]\napi_keys = true").cluster(cluster).open().await.unwrap();
    let new = || crate::auth::NewKey {
        name: "k".into(),
        role: Role::Analyst,
        scopes: None,
        server_id: None,
        days: 1,
        requests_per_minute: None,
    };
    let (told, told_secret) = gateway.create_key(&caller(), new()).await.unwrap();
    let (revoked, _) = gateway.create_key(&caller(), new()).await.unwrap();
    gateway.revoke_key(&caller(), revoked.id).await.unwrap();
    assert_eq!(*wire.published.lock().unwrap(), [Notice::KeyRevoked(revoked.id)]);

    // Another replica revoked it, and the store has not reported so yet.
    let holds = || gateway.0.keys.recognize(told_secret.reveal().as_bytes()).is_ok();
    assert!(holds());
    until("a listener", || (wire.told.receiver_count() > 0).then_some(())).await;
    wire.told.send(Notice::KeyRevoked(told.id)).unwrap();
    until("its end", || (!holds()).then_some(())).await;
    gateway.close().await;
}

/// A key that another gateway on the same store revokes ends by the feed of the store alone.
#[tokio::test(start_paused = true)]
async fn a_key_that_the_store_tells_was_revoked_ends() {
    let store = Arc::new(crate::store::MemoryStore::new());
    let open = || {
        let store = Arc::clone(&store) as Arc<dyn Store>;
        Gateway::builder().config_toml("[auth]\napi_keys = true").store(store).open()
    };
    let (one, other) = (open().await.unwrap(), open().await.unwrap());
    let new = crate::auth::NewKey {
        name: "k".into(),
        role: Role::Analyst,
        scopes: None,
        server_id: None,
        days: 1,
        requests_per_minute: None,
    };
    let (key, secret) = one.create_key(&caller(), new).await.unwrap();
    let holds = || other.0.keys.recognize(secret.reveal().as_bytes()).is_ok();
    until("the key at the other", || holds().then_some(())).await;
    one.revoke_key(&caller(), key.id).await.unwrap();
    until("its end", || (!holds()).then_some(())).await;
}
