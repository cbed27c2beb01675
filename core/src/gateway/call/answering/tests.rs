use async_trait::async_trait;
use futures_util::stream;
use http::HeaderMap;

use super::*;
use crate::breaker::{self, Breaker};
use crate::clock::ManualClock;
use crate::gateway::{Gateway, Settings};
use crate::limit::Leave;
use crate::model::{Action, Algorithm, Call, Endpoint, Principal, TenantId};
use crate::select::{Member, PickRequest, Pool, ReplicaState};
use crate::store::memory::MemoryStore;
use crate::transport::memory::{Handler, MemoryConnector, Replies};
use crate::transport::{Hello, Session};

const SECOND: Duration = Duration::from_secs(1);

/// A server that introduces itself, and never finishes accepting a cancellation.
struct Server;

#[async_trait]
impl Handler for Server {
    async fn handle(&self, message: Message, replies: Replies) {
        match message.id() {
            Some(id) => {
                let result = r#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"}}"#;
                replies.send(crate::rpc::answer::result_response(id, result)).await.unwrap();
            }
            None if message.method() == Some(&crate::rpc::Method::Initialized) => {}
            None => std::future::pending().await,
        }
    }
}

/// A gateway whose time goes on, second by second, and one server of it.
struct World {
    gateway: Gateway,
    replica: Arc<ReplicaState>,
    session: Arc<Session>,
}

impl World {
    async fn new() -> Self {
        let clock = ManualClock::shared();
        let settings = Settings { probing: false, ..Settings::default() };
        let store = Arc::new(MemoryStore::new());
        let gateway = Gateway::open(settings, store, clock.clone()).await.unwrap();
        gateway.tasks().spawn(async move {
            loop {
                tokio::time::sleep(SECOND).await;
                clock.advance(SECOND);
            }
        });
        let breaker = Breaker::new(breaker::Settings::default(), 1);
        let replica = Arc::new(ReplicaState::new(ServerId::random(), "s", breaker));
        let hello =
            Hello { version: "2025-11-25".into(), capabilities: "{}".into(), client_info: "{}".into() };
        let connector = MemoryConnector::new(Arc::new(Server));
        let session = Session::open(&connector, &hello, true, SECOND).await.unwrap();
        Self { gateway, replica, session }
    }

    /// A call that the server answers with `messages`, for ten seconds at most.
    fn flow(&self, messages: BoxStream<'static, Result<Message>>, streams: bool) -> Flow {
        let inner = &self.gateway.0;
        let request = r#"{"jsonrpc":"2.0","id":"mine","method":"tools/call","params":{"name":"t"}}"#;
        let call = Call {
            route: Endpoint::all(),
            action: Action::Send(Message::parse(Bytes::from_static(request.as_bytes())).unwrap()),
            era: crate::rpc::version::Era::Legacy,
            session: None,
            headers: HeaderMap::new(),
            correlation_id: "c".into(),
            streams,
            resumes: false,
            hints: None,
            builtin: true,
            over_network: false,
        };
        let principal = Principal::local(TenantId::default_tenant());
        let admission = match inner.limiter.admit(&principal) {
            Leave::Now(decision) => decision.unwrap(),
            Leave::Later(_) => panic!("there are places"),
        };
        let context = CallContext {
            modern: None,
            admission,
            record: inner.calls.begin(&call),
            principal,
            client: None,
            correlation_id: call.correlation_id,
            headers: call.headers,
            streams,
            resumes: false,
            hints: None,
            landing: None,
        };
        let member =
            Member { replica: Arc::clone(&self.replica), weight: 1, available: true, drained: false };
        let settings =
            crate::select::Settings { algorithm: Algorithm::RoundRobin, max_load: None, seed: 1, own: None };
        let started = inner.clock.now();
        let lease = Pool::new(settings, vec![member], None).pick(&PickRequest::default(), started).unwrap();
        let relay = Relay { client: None, session: Arc::clone(&self.session), server: self.replica.id() };
        let answering = Answering::new(relay, 7, r#""mine""#, None, self.replica.id());
        let limits = TimeLimits::of(None, Some(10 * SECOND), 600 * SECOND);
        let deadline = started + 10 * SECOND;
        Flow { answering, messages, lease, started, deadline, limits, context, pauses: None }
    }

    async fn follow(&self, flow: Flow) -> Result<Reply> {
        self.gateway.0.follow(flow).await
    }
}

/// As many log messages, then silence.
fn notes(count: usize) -> BoxStream<'static, Result<Message>> {
    let note = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"x"}}"#;
    let note = || Message::parse(Bytes::from_static(note.as_bytes()));
    stream::iter((0..count).map(move |_| note())).chain(stream::pending()).boxed()
}

fn streamed(reply: Result<Reply>) -> BoxStream<'static, Bytes> {
    match reply {
        Ok(Reply::Stream { messages, .. }) => messages,
        _ => panic!("no stream"),
    }
}

async fn last(messages: BoxStream<'static, Bytes>) -> serde_json::Value {
    serde_json::from_slice(&messages.collect::<Vec<_>>().await.pop().unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_while_the_client_does_not_read_is_not_the_servers_failure() {
    let world = World::new().await;
    let messages = streamed(world.follow(world.flow(notes(100), true)).await);
    tokio::time::sleep(12 * SECOND).await;
    assert_eq!(world.replica.in_flight(), 0, "the call has ended");
    assert_eq!((world.replica.stats().failures, world.replica.breaker().failure_count()), (0, 0));
    let last = last(messages).await;
    assert_eq!((&last["id"], &last["error"]["data"]["kind"]), (&"mine".into(), &"timeout".into()), "{last}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_silent_to_a_client_that_reads_has_failed() {
    let world = World::new().await;
    let last = last(streamed(world.follow(world.flow(notes(3), true)).await)).await;
    assert_eq!((world.replica.stats().failures, world.replica.breaker().failure_count()), (1, 1));
    assert_eq!(last["error"]["data"]["outcome"], "unknown", "{last}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stalls_for_a_moment_does_not_excuse_a_silent_server() {
    let world = World::new().await;
    let messages = streamed(world.follow(world.flow(notes(100), true)).await);
    tokio::time::sleep(2 * SECOND).await;
    last(messages).await;
    assert_eq!(world.replica.stats().failures, 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_streams_gets_an_error_as_one() {
    let world = World::new().await;
    let error = world.follow(world.flow(notes(3), false)).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(world.replica.stats().failures, 1);
}

#[tokio::test(start_paused = true)]
async fn the_last_word_does_not_wait_for_a_server_that_does_not_take_the_cancellation() {
    let world = World::new().await;
    let flow = world.flow(notes(0), true);
    let record = Arc::clone(&flow.context.record);
    let messages = streamed(world.follow(flow).await);
    record.active().cancel.cancel();
    let last = tokio::time::timeout(SECOND, last(messages)).await.unwrap();
    assert_eq!(last["error"]["data"]["kind"], "cancelled", "{last}");
}

/// F-13: a modern client that closes its stream has cancelled.
#[tokio::test(start_paused = true)]
async fn a_call_that_stands_alone_ends_with_its_stream_and_is_no_failure() {
    let world = World::new().await;
    drop(streamed(world.follow(world.flow(notes(3), true)).await));
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!((world.replica.in_flight(), world.gateway.0.calls.count()), (0, 0));
    assert_eq!((world.replica.stats().failures, world.replica.stats().successes), (0, 0));
}
