use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use super::SseConnector;
use crate::clock::SystemClock;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::model::{Registration, Server, TenantId, TransportType};
use crate::registry::validate;
use crate::rpc::{Message, Method, sse};
use crate::tasks::Tasks;
use crate::transport::{Connector as _, Exchange, Link, Outgoing};

const NOTE: &str =
    r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":2,"progress":1}}"#;

/// A server that sends the test's pieces on its stream and answers each POST with `status`.
struct Fake {
    address: SocketAddr,
    /// The pieces to write to the newest stream; an empty piece closes it.
    say: Arc<Mutex<Option<mpsc::UnboundedSender<Bytes>>>>,
    posts: Arc<Mutex<Vec<String>>>,
    posted: watch::Receiver<usize>,
    status: Arc<Mutex<&'static str>>,
    tasks: Tasks,
}

impl Fake {
    async fn start(first: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (count, posted) = watch::channel(0);
        let fake = Self {
            address: listener.local_addr().unwrap(),
            say: Arc::default(),
            posts: Arc::default(),
            posted,
            status: Arc::new(Mutex::new("202 Accepted")),
            tasks: Tasks::default(),
        };
        let (say, posts, status, tasks) =
            (fake.say.clone(), fake.posts.clone(), fake.status.clone(), fake.tasks.clone());
        let count = Arc::new(count);
        fake.tasks.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (say, posts, status) = (say.clone(), posts.clone(), status.clone());
                let count = count.clone();
                tasks.spawn(async move {
                    while let Some(request) = read_request(&mut stream).await {
                        if request.starts_with("GET ") {
                            return stream_to(stream, first, &say).await;
                        }
                        posts.lock().unwrap().push(request);
                        count.send_modify(|count| *count += 1);
                        let status = *status.lock().unwrap();
                        if status.is_empty() {
                            std::future::pending::<()>().await;
                        }
                        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        fake
    }

    fn server(&self) -> Server {
        let registration = Registration {
            name: "old".into(),
            endpoint_url: Some(format!("http://{}/sse", self.address)),
            transport_type: Some(TransportType::Sse),
            ..Registration::default()
        };
        let now = SystemClock::shared().timestamp();
        validate::registration(&TenantId::default_tenant(), registration, now).unwrap().server
    }

    async fn connect(&self, own: bool) -> Result<Arc<dyn Link>> {
        let connector = SseConnector::new(&self.server(), SystemClock::shared(), self.tasks.clone());
        bounded(connector.unwrap().connect(own)).await
    }

    fn write(&self, bytes: impl Into<Bytes>) {
        self.say.lock().unwrap().as_ref().unwrap().send(bytes.into()).unwrap();
    }

    fn message(&self, message: &str) {
        self.write(sse::encode(message.as_bytes(), None));
    }

    async fn posts(&self, count: usize) -> Vec<String> {
        bounded(self.posted.clone().wait_for(|posted| *posted >= count)).await.unwrap();
        self.posts.lock().unwrap().clone()
    }
}

async fn stream_to(mut stream: TcpStream, first: &str, say: &Mutex<Option<mpsc::UnboundedSender<Bytes>>>) {
    let (sender, mut said) = mpsc::unbounded_channel();
    *say.lock().unwrap() = Some(sender);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    stream.write_all(format!("{head}{first}").as_bytes()).await.unwrap();
    while let Some(bytes) = said.recv().await.filter(|bytes| !bytes.is_empty()) {
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// One request, head and body; `None` when the client closed the connection.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some(end) = text.find("\r\n\r\n") {
            let length = text
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if bytes.len() >= end + 4 + length.unwrap_or(0) {
                return Some(text);
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

const ENDPOINT: &str = ": hello\n\nevent: endpoint\ndata: /messages?id=7\n\n";

async fn bounded<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("the test hangs")
}

fn call(id: u64) -> Outgoing {
    let method = Method::ToolsCall;
    let body = Message::request(Some(id), method.as_str(), Some(r#"{"name":"t"}"#));
    Outgoing {
        id,
        method,
        body,
        correlation_id: Some("c-1".into()),
        headers: None,
        pauses: None,
        queued: None,
        call: None,
    }
}

fn result(id: u64) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"ok":true}}}}"#)
}

async fn failure(link: &dyn Link, id: u64) -> Error {
    bounded(link.request(call(id))).await.err().expect("an error")
}

/// Posts a request, runs `meanwhile`, then returns the outcome of the request.
async fn asked(fake: &Fake, link: &dyn Link, id: u64, meanwhile: impl FnOnce()) -> Result<Exchange> {
    let before = *fake.posted.borrow();
    let then = async {
        fake.posts(before + 1).await;
        meanwhile();
    };
    bounded(async { tokio::join!(link.request(call(id)), then).0 }).await
}

#[tokio::test]
async fn messages_are_posted_to_the_endpoint_and_answered_on_the_stream() {
    let fake = Fake::start(ENDPOINT).await;
    let link = fake.connect(true).await.unwrap();
    link.set_version("2025-06-18");
    let exchange = asked(&fake, &*link, 1, || fake.message(&result(1))).await.unwrap();
    assert!(matches!(exchange, Exchange::One(answer) if answer.id() == Some("1")));
    let posts = fake.posts(1).await;
    let head = posts[0].to_lowercase();
    assert!(posts[0].starts_with("POST /messages?id=7 HTTP/1.1"), "{head}");
    assert!(head.contains("x-correlation-id: c-1") && head.contains("mcp-protocol-version: 2025-06-18"));
    link.notify(Message::request(None, "notifications/initialized", None)).await.unwrap();
    assert!(fake.posts(2).await[1].contains("notifications/initialized"));
}

#[tokio::test]
async fn what_comes_before_the_answer_belongs_to_the_exchange_and_the_rest_to_the_listener() {
    let fake = Fake::start(ENDPOINT).await;
    let link = fake.connect(true).await.unwrap();
    let mut unasked = link.listen().await.unwrap();
    assert!(link.listen().await.is_none());
    let exchange = asked(&fake, &*link, 2, || {
        fake.message(NOTE);
        fake.message(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
        fake.message(&result(2));
    });
    let Exchange::Many(messages) = exchange.await.unwrap() else { panic!("one message") };
    let messages: Vec<_> = bounded(messages.map(Result::unwrap).collect()).await;
    assert_eq!(
        messages.iter().map(|message| message.method()).collect::<Vec<_>>(),
        [Some(&Method::Progress), None]
    );
    assert_eq!(bounded(unasked.next()).await.unwrap().method(), Some(&Method::ToolsChanged));
}

#[tokio::test]
async fn an_answer_that_comes_before_the_post_is_accepted_is_the_answer() {
    let fake = Fake::start(ENDPOINT).await;
    let link = fake.connect(true).await.unwrap();
    *fake.status.lock().unwrap() = "";
    let exchange = asked(&fake, &*link, 1, || fake.message(&result(1))).await.unwrap();
    assert!(matches!(exchange, Exchange::One(_)));
}

#[tokio::test]
async fn a_stream_that_ends_closes_the_link_and_says_what_may_have_been_seen() {
    let fake = Fake::start(ENDPOINT).await;
    let link = fake.connect(true).await.unwrap();
    let mut unasked = link.listen().await.unwrap();
    let error = asked(&fake, &*link, 1, || fake.write("")).await.err().unwrap();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::BadUpstream, Delivery::Unknown));
    assert!(!link.is_open());
    assert!(bounded(unasked.next()).await.is_none());
    let error = failure(&*link, 2).await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unavailable, Delivery::NotSent));
    assert_eq!(fake.posts(1).await.len(), 1, "nothing is posted to a session that is over");
    assert!(fake.connect(true).await.unwrap().is_open(), "the next link is a new session");
}

#[tokio::test]
async fn an_event_over_the_limit_is_an_error_that_names_it() {
    for endless in
        [[b"data: ".as_slice(), &vec![b'x'; sse::MAX_EVENT + 1]].concat(), vec![b'y'; 2 * sse::MAX_EVENT]]
    {
        let fake = Fake::start(ENDPOINT).await;
        let link = fake.connect(true).await.unwrap();
        let error = asked(&fake, &*link, 1, || fake.write(endless)).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::BadUpstream);
        assert!(error.message().contains("16777216 bytes"), "{error}");
        assert!(!link.is_open());
    }
}

#[tokio::test]
async fn what_is_no_message_ends_the_link_and_other_events_are_passed_over() {
    let fake = Fake::start(ENDPOINT).await;
    let link = fake.connect(true).await.unwrap();
    fake.write("event: weather\ndata: fine\n\nevent: message\n\n: a comment\n\n");
    let error = asked(&fake, &*link, 1, || fake.message("<html>")).await.err().unwrap();
    assert!(error.message().contains("not an MCP message"), "{error}");
}

#[tokio::test]
async fn a_post_that_is_refused_fails_its_request_alone_unless_the_session_is_gone() {
    let fake = Fake::start(ENDPOINT).await;
    let link = fake.connect(true).await.unwrap();
    *fake.status.lock().unwrap() = "500 Broken";
    let error = failure(&*link, 1).await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::BadUpstream, Delivery::Unknown));
    assert!(link.is_open());
    *fake.status.lock().unwrap() = "404 Not Found";
    let error = failure(&*link, 2).await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::SessionNotFound, Delivery::NotSent));
    assert!(!link.is_open());
}

#[tokio::test]
async fn an_endpoint_elsewhere_or_none_at_all_opens_no_link() {
    let foreign = Fake::start("event: endpoint\ndata: http://evil.example/messages\n\n").await;
    let error = foreign.connect(true).await.err().unwrap();
    assert!(error.message().contains("another origin"), "{error}");
    let none = Fake::start("event: message\ndata: {}\n\n").await;
    let closing = async {
        while none.say.lock().unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        none.write("");
    };
    let (error, ()) = bounded(async { tokio::join!(none.connect(true), closing) }).await;
    assert!(error.err().unwrap().message().contains("before it named an endpoint"));
}

#[tokio::test]
async fn closing_the_link_or_dropping_it_closes_the_stream() {
    let fake = Fake::start(ENDPOINT).await;
    let link = fake.connect(true).await.unwrap();
    link.close().await;
    assert!(!link.is_open());
    assert_eq!(failure(&*link, 1).await.delivery(), Delivery::NotSent);
    let dropped = fake.connect(true).await.unwrap();
    drop(dropped);
    let sender = fake.say.lock().unwrap().clone().unwrap();
    // The fake notices when it writes.
    let noticed = async {
        while !sender.is_closed() {
            let _ = sender.send(Bytes::from_static(b": x\n\n"));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    bounded(noticed).await;
}
