use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::*;
use crate::transport::memory::{Handler, MemoryConnector, Replies};

/// A modern server: `tools/call` does what its tool's name says.
struct Server {
    heard: Mutex<Vec<Value>>,
    news: broadcast::Sender<Value>,
    working: AtomicUsize,
}

struct Working<'a>(&'a AtomicUsize);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Server {
    fn heard(&self, method: &str) -> Vec<Value> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|message| message["method"] == method).cloned().collect()
    }

    async fn call(&self, message: &Value, replies: &Replies) -> Value {
        let params = &message["params"];
        match params["name"].as_str().unwrap() {
            "state" if params.get("requestState").is_none() => {
                json!({"resultType": "input_required", "requestState": "s"})
            }
            "roots" if params.get("inputResponses").is_none() => json!({
                "resultType": "input_required",
                "inputRequests": {"a": {"method": "roots/list"}, "b": {"method": "elicitation/create", "params": {"message": "?"}}}
            }),
            "endless" => json!({"resultType": "input_required", "requestState": "again"}),
            "hang" => {
                self.working.fetch_add(1, Ordering::SeqCst);
                let _working = Working(&self.working);
                let told =
                    json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": 1}});
                replies.send(told.to_string().into()).await.unwrap();
                std::future::pending().await
            }
            _ => json!({"resultType": "complete", "content": [], "echo": params}),
        }
    }
}

#[async_trait]
impl Handler for Server {
    async fn handle(&self, message: Message, replies: Replies) {
        let message: Value = serde_json::from_str(message.text()).unwrap();
        self.heard.lock().unwrap().push(message.clone());
        let result = match message["method"].as_str().unwrap() {
            "server/discover" => json!({
                "supportedVersions": ["2026-07-28"], "resultType": "complete",
                "capabilities": {"tools": {"listChanged": true}, "resources": {"subscribe": true}}
            }),
            "tools/call" => self.call(&message, &replies).await,
            "subscriptions/listen" => {
                let mut news = self.news.subscribe();
                let stamp = json!({"io.modelcontextprotocol/subscriptionId": message["id"]});
                let told = |method: &str, mut params: Value| {
                    params["_meta"] = stamp.clone();
                    json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string().into()
                };
                let granted = json!({"notifications": message["params"]["notifications"]});
                replies.send(told("notifications/subscriptions/acknowledged", granted)).await.unwrap();
                loop {
                    match news.recv().await.unwrap() {
                        Value::Null => break json!({"resultType": "complete"}),
                        news => {
                            let method = news["method"].as_str().unwrap();
                            if replies.send(told(method, news["params"].clone())).await.is_err() {
                                return;
                            }
                        }
                    }
                }
            }
            _ => return,
        };
        let body = json!({"jsonrpc": "2.0", "id": message["id"], "result": result});
        // The answer to a cancelled request has no reader.
        let _ = replies.send(body.to_string().into()).await;
    }
}

async fn bridge(capabilities: &str) -> (Arc<Server>, Arc<Session>) {
    let server = Arc::new(Server {
        heard: Mutex::default(),
        news: broadcast::channel(16).0,
        working: AtomicUsize::new(0),
    });
    let connector = MemoryConnector::new(server.clone());
    let hello = Hello {
        version: "2025-11-25".into(),
        capabilities: capabilities.into(),
        client_info: r#"{"name":"c"}"#.into(),
    };
    let modern = Session::open_modern(&connector, &hello, false, Duration::from_secs(1)).await.unwrap();
    let parts = Parts {
        session: modern,
        hello,
        owns: true,
        watching: Watching::Opens(Changes::default()),
        mirrors: Arc::default(),
        tasks: Tasks::default(),
    };
    (server, LegacyAdapter::open(parts, true).unwrap())
}

async fn send(session: &Session, method: &str, params: &str) -> Result<Exchange> {
    let id = session.next_id();
    let body = Message::request(Some(id), method, Some(params));
    let method = Method::of(method);
    session
        .request(Outgoing {
            id,
            method,
            body,
            correlation_id: None,
            headers: None,
            pauses: None,
            queued: None,
            call: None,
        })
        .await
}

async fn one(session: &Session, method: &str, params: &str) -> Value {
    match send(session, method, params).await.unwrap() {
        Exchange::One(message) => serde_json::from_str(message.text()).unwrap(),
        Exchange::Many(_) => panic!("more than one message"),
    }
}

async fn many(session: &Session, tool: &str) -> BoxStream<'static, Result<Message>> {
    match send(session, "tools/call", &json!({"name": tool}).to_string()).await.unwrap() {
        Exchange::Many(messages) => messages,
        Exchange::One(message) => panic!("one message: {}", message.text()),
    }
}

fn answer(id: &str, content: &str) -> Bytes {
    format!(r#"{{"jsonrpc":"2.0","id":{id},{content}}}"#).into()
}

#[tokio::test]
async fn what_a_session_is_about_is_answered_here_and_goes_along_with_every_request() {
    let (server, session) = bridge("{}").await;
    assert_eq!(one(&session, "ping", "{}").await["result"], json!({}));
    assert_eq!(one(&session, "logging/setLevel", r#"{"level":"error"}"#).await["result"], json!({}));
    session.notify(Message::request(None, "notifications/roots/list_changed", None)).await.unwrap();
    let echo = one(&session, "tools/call", r#"{"name":"echo"}"#).await;
    assert_eq!(echo["result"]["echo"]["_meta"]["io.modelcontextprotocol/logLevel"], "error");
    assert!(echo["result"].get("resultType").is_none());
    let heard: Vec<_> =
        server.heard.lock().unwrap().iter().map(|message| message["method"].clone()).collect();
    assert_eq!(heard, ["server/discover", "tools/call"]);
}

#[tokio::test]
async fn questions_are_asked_together_and_their_answers_go_back_under_a_new_id() {
    let (server, session) = bridge(r#"{"roots":{},"elicitation":{}}"#).await;
    let mut messages = many(&session, "roots").await;
    let (first, second) = (messages.next().await.unwrap().unwrap(), messages.next().await.unwrap().unwrap());
    assert_eq!((first.method(), second.method()), (Some(&Method::RootsList), Some(&Method::Elicit)));
    // Answered in the other order.
    session.notify(answer(second.id().unwrap(), r#""result":{"action":"decline"}"#)).await.unwrap();
    session.notify(answer(first.id().unwrap(), r#""result":{"roots":[], "big":1.0}"#)).await.unwrap();
    let last = messages.next().await.unwrap().unwrap();
    let calls = server.heard("tools/call");
    assert_eq!(last.id(), Some(calls[0]["id"].to_string().as_str()), "the client's own");
    assert_ne!(calls[0]["id"], calls[1]["id"]);
    assert_eq!(
        calls[1]["params"]["inputResponses"],
        json!({"a": {"roots": [], "big": 1.0}, "b": {"action": "decline"}})
    );
    assert!(messages.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_state_without_questions_is_echoed_at_once() {
    let (server, session) = bridge("{}").await;
    let mut messages = many(&session, "state").await;
    assert!(messages.next().await.unwrap().unwrap().result().is_some());
    let calls = server.heard("tools/call");
    assert_eq!((calls.len(), &calls[1]["params"]["requestState"]), (2, &json!("s")));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_stops_asking_is_an_error() {
    let (server, session) = bridge("{}").await;
    let mut messages = many(&session, "endless").await;
    let error = messages.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadUpstream);
    assert_eq!(server.heard("tools/call").len(), 65);
}

#[tokio::test]
async fn what_the_client_cannot_be_asked_is_not_asked_and_its_error_ends_the_call() {
    let (_server, session) = bridge(r#"{"roots":{}}"#).await;
    let refused = send(&session, "tools/call", r#"{"name":"roots"}"#).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::BadUpstream);

    let (server, session) = bridge(r#"{"roots":{},"elicitation":{}}"#).await;
    let mut messages = many(&session, "roots").await;
    for _ in 0..2 {
        let question = messages.next().await.unwrap().unwrap();
        let error = r#""error":{"code":-1,"message":"I will not say"}"#;
        session.notify(answer(question.id().unwrap(), error)).await.unwrap();
    }
    let error = messages.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert!(error.to_string().contains("I will not say"), "{error}");
    assert_eq!(server.heard("tools/call").len(), 1);
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_ends_at_the_server() {
    let (server, session) = bridge("{}").await;
    let mut messages = many(&session, "hang").await;
    assert!(messages.next().await.is_some());
    assert_eq!(server.working.load(Ordering::SeqCst), 1);
    drop(messages);
    assert_eq!(server.working.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn subscriptions_tell_of_their_resource_until_they_end_and_are_opened_again() {
    let (server, session) = bridge("{}").await;
    let mut news = session.listen().await.unwrap();
    assert!(session.listen().await.is_none());
    assert_eq!(one(&session, "resources/subscribe", r#"{"uri":"a"}"#).await["result"], json!({}));
    let updated = json!({"method": "notifications/resources/updated", "params": {"uri": "a"}});
    server.news.send(updated).unwrap();
    let told = news.next().await.unwrap();
    assert_eq!(told.params(), Some(r#"{"uri":"a"}"#));
    // The server ends its streams; they are opened again, and announce everything that may have been missed.
    let opened = server.heard("subscriptions/listen").len();
    server.news.send(Value::Null).unwrap();
    let mut told = [news.next().await.unwrap(), news.next().await.unwrap()];
    told.sort_by_key(|message| message.method().unwrap().as_str().to_owned());
    assert_eq!(told[0].method(), Some(&Method::ResourceUpdated));
    assert_eq!(told[1].method(), Some(&Method::ToolsChanged));
    assert!(server.heard("subscriptions/listen").len() > opened);

    one(&session, "resources/unsubscribe", r#"{"uri":"a"}"#).await;
    session.close().await;
    assert!(news.next().await.is_none());
    let closed = send(&session, "ping", "{}").await.err().unwrap();
    assert_eq!(closed.kind(), ErrorKind::SessionNotFound);
}
