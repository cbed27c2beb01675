//! Two hundred clients over one connection to a server, all with the same ids and the same progress tokens, with cancellations,
//! answers that come late, twice or to nobody (T-07).

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};
use tokio::sync::mpsc;

use super::fake::caller;
use crate::auth::Credentials;
use crate::clock::ManualClock;
use crate::gateway::*;
use crate::model::{Action, Call, Configuration, Endpoint, Registration, Reply, Sharing};
use crate::rpc::Message;
use crate::rpc::version::Era;
use crate::store::MemoryStore;
use crate::transport::stdio::pipes::Pipes;

const CLIENTS: usize = 200;
/// The ids that every client uses.
const IDS: [u64; 3] = [1, 2, 3];

/// Serves one connection: answers in any order, some twice, some to ids that nobody used, and cancelled calls all the same.
pub(super) async fn serve(era: Era, stream: DuplexStream, tasks: Tasks) {
    let random = Arc::new(Random::seeded(7));
    let (output, mut input) = tokio::io::split(stream);
    let (say, mut said) = mpsc::unbounded_channel::<Value>();
    tasks.spawn(async move {
        while let Some(message) = said.recv().await {
            if input.write_all(format!("{message}\n").as_bytes()).await.is_err() {
                return;
            }
        }
    });
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let message: Value = serde_json::from_str(&line).unwrap();
        let Some(id) = message.get("id").cloned() else { continue };
        let answer = |result: Value| json!({ "jsonrpc": "2.0", "id": id, "result": result });
        let result = match (era, message["method"].as_str().unwrap()) {
            (Era::Legacy, "initialize") => json!({
                "protocolVersion": "2025-11-25", "capabilities": { "tools": {} },
                "serverInfo": { "name": "s", "version": "1" },
            }),
            (Era::Modern, "server/discover") => json!({
                "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} },
                "ttlMs": 0, "cacheScope": "public",
            }),
            (_, "tools/list") => json!({
                "tools": [{ "name": "t", "inputSchema": {} }], "resultType": "complete", "ttlMs": 0, "cacheScope": "public",
            }),
            (_, "tools/call") => {
                let text = message["params"]["arguments"]["text"].clone();
                let token = message["params"]["_meta"]["progressToken"].clone();
                let (say, random) = (say.clone(), Arc::clone(&random));
                let last = answer(json!({ "content": [], "text": text, "resultType": "complete" }));
                tasks.spawn(async move {
                    let pause = || Duration::from_millis(random.below(500) as u64);
                    for progress in 0..random.below(4) {
                        tokio::time::sleep(pause()).await;
                        let params = json!({ "progressToken": token, "progress": progress, "message": text });
                        let note =
                            json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params });
                        drop(say.send(note));
                    }
                    tokio::time::sleep(pause()).await;
                    for _ in 0..=random.below(2) {
                        drop(say.send(last.clone()));
                    }
                    for stray in [json!(1_000_000), json!(-1), json!("1"), json!(0)] {
                        drop(
                            say.send(json!({ "jsonrpc": "2.0", "id": stray, "result": { "text": "stray" } })),
                        );
                    }
                });
                continue;
            }
            _ => {
                drop(say.send(
                    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32601, "message": "no" } }),
                ));
                continue;
            }
        };
        drop(say.send(answer(result)));
    }
}

struct Crowd {
    gateway: Gateway,
    era: Era,
    connections: Arc<std::sync::atomic::AtomicUsize>,
}

impl Crowd {
    async fn new(era: Era) -> Self {
        let (tasks, clock) = (Tasks::default(), ManualClock::shared());
        let connections = Arc::<std::sync::atomic::AtomicUsize>::default();
        let (counted, spawner, timed) = (Arc::clone(&connections), tasks.clone(), clock.clone());
        let connect: Connect = Box::new(move |_| {
            let (counted, spawner, tasks) = (Arc::clone(&counted), spawner.clone(), spawner.clone());
            let serving = move |stream| {
                counted.fetch_add(1, Ordering::SeqCst);
                spawner.spawn(serve(era, stream, spawner.clone()));
            };
            Ok(Arc::new(Pipes { serve: Box::new(serving), clock: timed.clone(), tasks, is_child: false }))
        });
        let settings = Settings { probing: false, ..Settings::default() };
        let (random, store) = (Arc::new(Random::seeded(1)), Arc::new(MemoryStore::default()));
        let gateway =
            Gateway::open_with(settings, store, clock, random, tasks, Arc::default(), connect).await.unwrap();
        let registration = Registration {
            name: "s".into(),
            endpoint_url: Some("http://127.0.0.1:9/s".into()),
            configuration: Some(Configuration { sharing: Sharing::Shared, ..Configuration::default() }),
            ..Registration::default()
        };
        let server = gateway.register(&caller(), registration).await.unwrap();
        gateway.discover(&caller(), server.id).await.unwrap();
        Self { gateway, era, connections }
    }

    async fn send(&self, session: Option<&str>, body: Value) -> Result<Reply> {
        let call = Call {
            route: Endpoint::of("s".parse().unwrap()),
            action: Action::Send(Message::parse(body.to_string().into()).unwrap()),
            era: self.era,
            session: session.map(str::to_owned),
            headers: HeaderMap::new(),
            correlation_id: "test".into(),
            streams: true,
            resumes: false,
            hints: None,
            builtin: true,
            over_network: false,
        };
        self.gateway.handle(call, &Credentials::Embedded(caller().principal)).await
    }

    /// One client's calls, all at once; returns the number answered.
    async fn client(&self, number: usize) -> usize {
        let session = match self.era {
            Era::Modern => None,
            Era::Legacy => {
                let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "c", "version": "1" } });
                let opening = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
                match self.send(None, opening).await.unwrap() {
                    Reply::Message { session, .. } => session,
                    _ => panic!("a message"),
                }
            }
        };
        let calls = IDS.map(|id| self.call(session.as_deref(), number, id));
        join_all(calls).await.into_iter().filter(|answered| *answered).count()
    }

    /// One call, which some give up; whether it was answered.
    async fn call(&self, session: Option<&str>, number: usize, id: u64) -> bool {
        let text = format!("client {number} call {id}");
        let mut meta = json!({ "progressToken": "p" });
        if self.era == Era::Modern {
            meta["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
            meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
        }
        let params = json!({ "name": "t", "arguments": { "text": text }, "_meta": meta });
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params });
        let giving_up = async {
            let patient = !(number + usize::try_from(id).unwrap()).is_multiple_of(4);
            tokio::time::sleep(Duration::from_millis(if patient { 60_000 } else { 200 })).await;
            if self.era == Era::Legacy {
                let params = json!({ "requestId": id });
                let cancel =
                    json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
                self.send(session, cancel).await.unwrap();
                std::future::pending::<()>().await;
            }
        };
        let heard = async {
            match self.send(session, body).await {
                Ok(Reply::Message { body, .. } | Reply::Refused { body, .. }) => vec![body],
                Ok(Reply::Stream { messages, .. }) => messages.collect::<Vec<Bytes>>().await,
                Ok(Reply::Accepted) => panic!("an answer"),
                Err(error) => {
                    assert_eq!(error.kind(), crate::error::ErrorKind::Cancelled, "{error}");
                    Vec::new()
                }
            }
        };
        let mut heard = tokio::select! { heard = heard => heard, () = giving_up => return false };
        let Some(last) = heard.pop() else { return false };
        for note in &heard {
            let note: Value = serde_json::from_slice(note).unwrap();
            assert_eq!(
                (&note["params"]["progressToken"], &note["params"]["message"]),
                (&json!("p"), &json!(text))
            );
        }
        let last: Value = serde_json::from_slice(&last).unwrap();
        assert_eq!(last["id"], id);
        let answered = last.get("result").is_some();
        assert!(!answered || last["result"]["text"] == *text, "{text} was answered {last}");
        answered
    }
}

async fn nobody_hears_what_is_not_theirs(era: Era) {
    let crowd = Crowd::new(era).await;
    let before = crowd.connections.load(Ordering::SeqCst);
    let answered: usize = join_all((0..CLIENTS).map(|number| crowd.client(number))).await.into_iter().sum();
    let all = CLIENTS * IDS.len();
    assert!(answered > all * 3 / 4 && answered < all, "of {all} calls {answered} were answered");
    assert!(crowd.connections.load(Ordering::SeqCst) <= before + 1, "one connection carries them all");
    let over = || (crowd.gateway.0.calls.count() == 0).then_some(());
    super::fake::until("the end of all calls", over).await;
}

/// T-07: over one connection to a legacy server, whose clients cancel by a notification.
#[tokio::test(start_paused = true)]
async fn two_hundred_legacy_clients_over_one_connection_hear_what_is_theirs() {
    nobody_hears_what_is_not_theirs(Era::Legacy).await;
}

/// T-07: over one connection to a modern server, whose clients cancel by leaving.
#[tokio::test(start_paused = true)]
async fn two_hundred_modern_clients_over_one_connection_hear_what_is_theirs() {
    nobody_hears_what_is_not_theirs(Era::Modern).await;
}
