use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use futures_util::stream;
use serde_json::{Value, json};

use super::*;

/// One answer of the fake link: the messages of the exchange; none means that it never answers. `{"after": n}` before them
/// has them come after so many milliseconds.
pub(super) type Answer = Vec<Value>;

#[derive(Debug, Default)]
pub(super) struct Fake {
    answers: Mutex<VecDeque<Answer>>,
    sent: Mutex<Vec<Value>>,
    version: Mutex<String>,
    closed: AtomicBool,
}

impl Fake {
    pub(super) fn new(answers: impl IntoIterator<Item = Answer>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers.into_iter().collect()), ..Self::default() })
    }

    pub(super) fn version(&self) -> String {
        self.version.lock().unwrap().clone()
    }

    pub(super) fn sent(&self) -> Vec<Value> {
        self.sent.lock().unwrap().clone()
    }

    fn note(&self, body: &Bytes) {
        self.sent.lock().unwrap().push(serde_json::from_slice(body).unwrap());
    }
}

#[derive(Debug)]
pub(super) struct To(pub(super) Arc<Fake>);

#[async_trait]
impl Connector for To {
    async fn connect(&self, _own: bool) -> Result<Arc<dyn Link>> {
        Ok(Arc::new(Wire(self.0.clone())))
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Wire(Arc<Fake>);

#[async_trait]
impl Link for Wire {
    async fn request(&self, outgoing: Outgoing) -> Result<Exchange> {
        self.0.note(&outgoing.body);
        let mut messages = self.0.answers.lock().unwrap().pop_front().unwrap();
        if let Some(after) = messages.first().and_then(|first| first["after"].as_u64()) {
            messages.remove(0);
            tokio::time::sleep(Duration::from_millis(after)).await;
        }
        let parse = |message: &Value| Message::parse(message.to_string().into());
        match &messages[..] {
            [] => std::future::pending().await,
            [one] => Ok(Exchange::One(parse(one)?)),
            many => Ok(Exchange::Many(stream::iter(many.iter().map(parse).collect::<Vec<_>>()).boxed())),
        }
    }

    async fn notify(&self, message: Bytes) -> Result<()> {
        self.0.note(&message);
        Ok(())
    }

    async fn listen(&self) -> Option<BoxStream<'static, Message>> {
        None
    }

    fn set_version(&self, version: &str) {
        version.clone_into(&mut self.0.version.lock().unwrap());
    }

    fn is_open(&self) -> bool {
        !self.0.closed.load(Ordering::SeqCst)
    }

    async fn close(&self) {
        self.0.closed.store(true, Ordering::SeqCst);
    }
}

pub(super) fn hello() -> Hello {
    Hello {
        version: "2025-11-25".into(),
        capabilities: r#"{"roots":{}}"#.into(),
        client_info: r#"{"name":"g","version":"1"}"#.into(),
    }
}

async fn open(fake: &Arc<Fake>) -> Result<Arc<Session>> {
    Session::open(&To(fake.clone()), &hello(), true, Duration::from_secs(5)).await
}

pub(super) fn initialized(version: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "result": {
        "serverInfo": {"name": "s"}, "protocolVersion": version, "capabilities": {"tools": {}, "logging": {}}, "big": 1
    }})
}

#[tokio::test(start_paused = true)]
async fn a_session_is_opened_as_the_specification_says_and_keeps_the_servers_answer() {
    let fake = Fake::new([vec![initialized("2025-06-18")]]);
    let session = open(&fake).await.unwrap();
    assert_eq!(
        fake.sent(),
        [
            json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
                "protocolVersion": "2025-11-25", "capabilities": {"roots": {}}, "clientInfo": {"name": "g", "version": "1"}
            }}),
            json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        ]
    );
    assert_eq!((session.version(), &**fake.version.lock().unwrap()), ("2025-06-18", "2025-06-18"));
    assert!(session.declares("tools") && !session.declares("prompts") && session.is_own());
    assert_eq!(session.initialize_result(), initialized("2025-06-18")["result"].to_string());
    assert_eq!((session.next_id(), session.next_id()), (2, 3));
    session.close().await;
    assert!(!session.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_server_without_a_common_version_is_refused_with_both_named_and_its_link_closed() {
    let modern = json!({"jsonrpc": "2.0", "id": 1, "error": {
        "code": -32022, "message": "no", "data": {"supported": ["2026-07-28"], "requested": "2025-11-25"}
    }});
    for answer in [initialized("2026-07-28"), modern] {
        let fake = Fake::new([vec![answer]]);
        let error = open(&fake).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
        assert!(error.message().contains("2026-07-28") && error.message().contains("2025-11-25"), "{error}");
        assert!(fake.closed.load(Ordering::SeqCst));
        assert_eq!(fake.sent().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_or_stays_silent_is_an_error_and_its_link_is_closed() {
    let refusal =
        json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": "database is down"}});
    let nameless = json!({"jsonrpc": "2.0", "id": 1, "result": {}});
    for (answer, kind, word) in [
        (vec![refusal], ErrorKind::BadUpstream, "database is down"),
        (vec![nameless], ErrorKind::BadUpstream, "protocolVersion"),
        (vec![], ErrorKind::Timeout, "within 5 s"),
    ] {
        let fake = Fake::new([answer]);
        let error = open(&fake).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().contains(word), "{error}");
        assert!(fake.closed.load(Ordering::SeqCst));
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_server_asks_in_between_is_answered_or_refused() {
    let fake = Fake::new([
        vec![initialized("2025-11-25")],
        vec![
            json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {}}),
            json!({"jsonrpc": "2.0", "id": "p", "method": "ping"}),
            json!({"jsonrpc": "2.0", "id": 9, "method": "roots/list"}),
            json!({"jsonrpc": "2.0", "id": 2, "result": {"tools": []}}),
        ],
    ]);
    let session = open(&fake).await.unwrap();
    let answer =
        session.ask(&Method::ToolsList, Some(r#"{"cursor":"c"}"#), Duration::from_secs(1)).await.unwrap();
    assert_eq!(answer.result(), Some(r#"{"tools":[]}"#));
    let sent = fake.sent();
    assert_eq!(
        sent[2],
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {"cursor": "c"}})
    );
    assert_eq!(sent[3], json!({"jsonrpc": "2.0", "id": "p", "result": {}}));
    assert_eq!((&sent[4]["id"], &sent[4]["error"]["code"]), (&json!(9), &json!(-32601)));
}

#[tokio::test(start_paused = true)]
async fn an_own_request_ends_at_its_time_limit_and_when_its_stream_is_cut() {
    let note = json!({"jsonrpc": "2.0", "method": "notifications/message"});
    let fake = Fake::new([vec![initialized("2025-11-25")], vec![], vec![note.clone(), note]]);
    let session = open(&fake).await.unwrap();
    let error = session.ask(&Method::Ping, None, Duration::from_secs(3)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().contains("ping within 3 s"), "{error}");
    let error = session.ask(&Method::Ping, None, Duration::from_secs(3)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadUpstream);
}
