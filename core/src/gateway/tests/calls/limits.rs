//! No server and no call can last for ever, or take others down.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use http::HeaderMap;
use serde_json::{Value, json};

use super::super::fake::{Fake, House, caller};
use crate::auth::Credentials;
use crate::clock::ManualClock;
use crate::error::{Cause, Error, ErrorKind};
use crate::gateway::*;
use crate::limit;
use crate::model::{Action, Call, Endpoint, Registration, Reply};
use crate::rpc::version::Era;
use crate::rpc::{Message, Method};
use crate::store::MemoryStore;
use crate::transport::Link;
use crate::transport::memory::{Handler, MemoryConnector, Replies};
use crate::transport::stdio::pipes::Pipes;

/// F-16: progress keeps a call alive beyond its time of silence, and not beyond its limit in all.
#[tokio::test(start_paused = true)]
async fn a_call_that_reports_progress_for_ever_ends_at_its_limit_in_all() {
    let (house, fake) = (House::open().await, Fake::new(&["t"]));
    house.add("a", "a", &fake).await;
    let client = house.client("a", json!({})).await;
    let said = fake.script();
    let telling = async {
        for progress in 0_u32.. {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let token =
                fake.received("tools/call").last().map_or(Value::Null, |(_, call)| call["id"].clone());
            let params = json!({ "progressToken": token, "progress": progress });
            // The call has ended, and nobody reads any more.
            let _ =
                said.send(json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params }));
        }
    };
    let params = json!({ "name": "t", "arguments": {}, "_meta": { "progressToken": "mine" } });
    let calling = client.request(7, "tools/call", params);
    let heard = tokio::select! { heard = calling => heard, () = telling => panic!("it tells for ever") };
    let (last, notes) = heard.split_last().unwrap();
    assert_eq!(last["error"]["data"]["kind"], "timeout", "{last}");
    assert_eq!(last["error"]["data"]["outcome"], "unknown", "{last}");
    assert!(last.to_string().contains("configuration.max_timeout_seconds"), "{last}");
    assert!((5900..=6000).contains(&notes.len()), "600 s of progress, ten times a second: {}", notes.len());
    assert!(notes.iter().all(|note| note["params"]["progressToken"] == "mine"));
    super::super::fake::until("the cancellation", || {
        (fake.count("notifications/cancelled") == 1).then_some(())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn streams_that_clients_listen_on_take_no_place_from_calls() {
    let limits = limit::Settings { max_calls: 1, ..limit::Settings::default() };
    let (house, fake) = (House::limited(limits).await, Fake::new(&["t"]));
    house.add("a", "a", &fake).await;
    let clients = [house.client("a", json!({})).await, house.client("a", json!({})).await];
    let mut streams = Vec::new();
    for client in &clients {
        streams.push(client.listen().await);
    }
    for client in &clients {
        assert!(client.call("t").await.last().unwrap()["result"].is_object());
    }
    let another = clients[0].listen().await;
    assert!(streams[0].next().await.is_none(), "a session has one");
    drop(another);
}

/// A connector that opens one connection at a time.
#[derive(Debug)]
struct Single {
    pipes: Pipes,
    opened: AtomicUsize,
}

#[async_trait]
impl Connector for Single {
    async fn connect(&self, own: bool) -> Result<Arc<dyn Link>> {
        if self.opened.fetch_add(1, Ordering::SeqCst) > 0 {
            let message = "as many processes of the server run as `configuration.max_connections` allows";
            let full = Error::new(ErrorKind::Unavailable, message).because(Cause::PoolExhausted);
            return Err(full.with("most_processes", 1).not_sent());
        }
        self.pipes.connect(own).await
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }

    fn remembers_clients(&self) -> bool {
        self.pipes.remembers_clients()
    }

    fn starts_process(&self) -> bool {
        self.pipes.starts_process()
    }
}

/// A modern child has nothing of one client's but its log messages, so that one serves everybody where no other may be started.
#[tokio::test(start_paused = true)]
async fn one_child_of_a_modern_server_serves_all_where_no_other_may_be_started() {
    let (tasks, clock) = (Tasks::default(), ManualClock::shared());
    let (spawner, timed) = (tasks.clone(), clock.clone());
    let connect: Connect = Box::new(move |_| {
        let (serving, tasks) = (spawner.clone(), spawner.clone());
        let serve =
            move |stream| serving.spawn(super::super::identity::serve(Era::Modern, stream, serving.clone()));
        let pipes = Pipes { serve: Box::new(serve), clock: timed.clone(), tasks, is_child: true };
        Ok(Arc::new(Single { pipes, opened: AtomicUsize::new(0) }))
    });
    let settings = Settings { probing: false, ..Settings::default() };
    let (random, store) = (Arc::new(Random::seeded(1)), Arc::new(MemoryStore::default()));
    let gateway =
        Gateway::open_with(settings, store, clock, random, tasks, Arc::default(), connect).await.unwrap();
    let registration = Registration {
        name: "s".into(),
        command: Some("/bin/true".into()),
        transport_type: Some(crate::model::TransportType::Stdio),
        configuration: Some(crate::model::Configuration {
            era: crate::model::EraWish::Modern,
            ..Default::default()
        }),
        ..Registration::default()
    };
    let server = gateway.register(&caller(), registration).await.unwrap();
    gateway.discover(&caller(), server.id).await.unwrap();
    let send = async |session: Option<String>, body: Value| {
        let call = Call {
            route: Endpoint::of("s".parse().unwrap()),
            action: Action::Send(Message::parse(body.to_string().into()).unwrap()),
            era: Era::Legacy,
            session,
            headers: HeaderMap::new(),
            correlation_id: "test".into(),
            streams: false,
            resumes: false,
            hints: None,
            builtin: true,
            over_network: false,
        };
        match gateway.handle(call, &Credentials::Embedded(caller().principal)).await.unwrap() {
            Reply::Message { body, session, .. } => {
                (serde_json::from_slice::<Value>(&body).unwrap(), session)
            }
            _ => panic!("a message"),
        }
    };
    for capabilities in [json!({}), json!({ "sampling": {} }), json!({ "elicitation": {} })] {
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": { "name": "c", "version": "1" } });
        let opening = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params });
        let session = send(None, opening).await.1.map(|session| session.to_string());
        let params = json!({ "name": "t", "arguments": { "text": "mine" } });
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        let (answer, _) = send(session, call).await;
        assert_eq!(answer["result"]["text"], "mine", "{answer}");
    }
}

/// A server inside this process, in which the tool `boom` panics.
struct Fragile;

#[async_trait]
impl Handler for Fragile {
    async fn handle(&self, message: Message, replies: Replies) {
        let Some(id) = message.id() else { return };
        let result = match message.method() {
            Some(Method::Initialize) => {
                r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}"#
            }
            Some(Method::ToolsList) => {
                r#"{"tools":[{"name":"t","inputSchema":{}},{"name":"boom","inputSchema":{}}]}"#
            }
            Some(Method::ToolsCall) => {
                assert!(!message.text().contains("boom"), "as the test wants");
                r#"{"content":[]}"#
            }
            _ => return,
        };
        replies.send(crate::rpc::answer::result_response(id, result)).await.unwrap();
    }
}

/// F-28: a panic is the end of one call, and of nothing else.
#[tokio::test]
async fn a_panic_in_a_call_is_that_calls_error_and_the_others_go_on() {
    let connect: Connect = Box::new(|_| Ok(Arc::new(MemoryConnector::new(Arc::new(Fragile)))));
    let settings = Settings { probing: false, ..Settings::default() };
    let (random, tasks) = (Arc::new(Random::seeded(1)), Tasks::default());
    let store = Arc::new(MemoryStore::default());
    let gateway =
        Gateway::open_with(settings, store, ManualClock::shared(), random, tasks, Arc::default(), connect)
            .await
            .unwrap();
    let registration = Registration {
        name: "s".into(),
        endpoint_url: Some("http://127.0.0.1:9/s".into()),
        configuration: Some(crate::model::Configuration {
            era: crate::model::EraWish::Legacy,
            ..Default::default()
        }),
        ..Registration::default()
    };
    let server = gateway.register(&caller(), registration).await.unwrap();
    gateway.discover(&caller(), server.id).await.unwrap();
    let mut session = None;
    let mut send = async |body: &str| {
        let call = Call {
            route: Endpoint::of("s".parse().unwrap()),
            action: Action::Send(Message::parse(body.to_owned().into()).unwrap()),
            era: Era::Legacy,
            session: session.clone(),
            headers: HeaderMap::new(),
            correlation_id: "test".into(),
            streams: true,
            resumes: true,
            hints: None,
            builtin: true,
            over_network: false,
        };
        let reply = gateway.handle(call, &Credentials::Embedded(caller().principal)).await;
        if let Ok(Reply::Message { session: Some(opened), .. }) = &reply {
            session = Some(opened.to_string());
        }
        reply
    };
    let opening = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
    send(opening).await.unwrap();
    let call = |tool: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}"}}}}"#)
    };
    for _ in 0..3 {
        let error = send(&call("boom")).await.err().unwrap();
        assert_eq!(
            (error.kind(), error.kind().row().status, error.kind().row().rpc),
            (ErrorKind::Internal, 500, -32603)
        );
        assert!(send(&call("t")).await.is_ok(), "nothing is poisoned");
    }
    assert_eq!(gateway.0.calls.count(), 0, "nothing is left under way");
    assert_eq!(gateway.0.replica(server.id).unwrap().state.in_flight(), 0);
}
