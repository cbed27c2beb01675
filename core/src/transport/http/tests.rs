use std::collections::BTreeMap;
use std::future::Future;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

use super::HttpConnector;
use crate::clock::{ManualClock, SystemClock};
use crate::error::{Delivery, Error, ErrorKind};
use crate::model::{
    Configuration, HealthCheck, HealthStatus, Server, ServerEndpoint, ServerId, ServiceName, Status,
    TenantId, TransportType,
};
use crate::rpc::{Message, Method, sse};
use crate::tasks::Tasks;
use crate::transport::guard::Guard;
use crate::transport::{Connector as _, Exchange, Link, Outgoing, Queued};

/// A step of the fake server in answering one request.
enum Step {
    Write(Vec<u8>),
    /// Writes until the client closes.
    Endless(Vec<u8>),
    /// Waits until the test says `go`.
    Wait,
    Close,
    Reset,
}

/// A server that follows a script and remembers every request: which connection it came on, and its text.
struct Fake {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<(usize, String)>>>,
    /// Connections that the client closed.
    closed: watch::Receiver<usize>,
    go: Arc<Notify>,
    accepted: Arc<AtomicUsize>,
    tasks: Tasks,
}

impl Fake {
    /// `script` gives the steps for the n-th request, from 0.
    async fn start(script: impl Fn(usize) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tasks, seen, go) = (Tasks::default(), Arc::default(), Arc::new(Notify::new()));
        let (closing, closed) = watch::channel(0);
        let accepted = Arc::<AtomicUsize>::default();
        let fake = Self { address, seen, closed, go, accepted: accepted.clone(), tasks };
        let (script, seen, go, tasks) =
            (Arc::new(script), fake.seen.clone(), fake.go.clone(), fake.tasks.clone());
        let (closing, count) = (Arc::new(closing), Arc::new(AtomicUsize::new(0)));
        fake.tasks.spawn(async move {
            for connection in 0.. {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                let (script, seen, go) = (script.clone(), Arc::clone(&seen), go.clone());
                let (closing, count) = (closing.clone(), count.clone());
                accepted.fetch_add(1, Ordering::SeqCst);
                stream.set_nodelay(true).unwrap();
                tasks.spawn(async move {
                    while let Some(request) = read_request(&mut stream).await {
                        seen.lock().unwrap().push((connection, request));
                        for step in script(count.fetch_add(1, Ordering::SeqCst)) {
                            match step {
                                Step::Write(bytes) => stream.write_all(&bytes).await.unwrap_or(()),
                                Step::Endless(bytes) => while stream.write_all(&bytes).await.is_ok() {},
                                Step::Wait => go.notified().await,
                                Step::Close => return,
                                Step::Reset => return stream.set_zero_linger().unwrap(),
                            }
                        }
                    }
                    closing.send_modify(|closed| *closed += 1);
                });
            }
        });
        fake
    }

    fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(_, request)| request.clone()).collect()
    }

    fn connections(&self) -> Vec<usize> {
        self.seen.lock().unwrap().iter().map(|(connection, _)| *connection).collect()
    }

    async fn client_closed(&self, connections: usize) {
        self.closed.clone().wait_for(|closed| *closed >= connections).await.unwrap();
    }

    fn connector(&self) -> HttpConnector {
        self.connector_with(Configuration::default())
    }

    fn connector_with(&self, configuration: Configuration) -> HttpConnector {
        let server = server(&format!("http://{}/mcp?x=1", self.address), configuration);
        HttpConnector::new(&server, SystemClock::shared(), self.tasks.clone()).unwrap()
    }

    async fn link(&self) -> Arc<dyn Link> {
        self.connector().connect(false).await.unwrap()
    }
}

/// The head and the body of one request; `None` when the client closed the connection.
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

fn server(url: &str, configuration: Configuration) -> Server {
    Server {
        id: ServerId::random(),
        tenant_id: TenantId::new("default").unwrap(),
        name: "s".into(),
        service: ServiceName::new("s").unwrap(),
        endpoint: ServerEndpoint::Url { endpoint_url: url.into() },
        transport_type: TransportType::Http,
        version: None,
        display_name: None,
        description: None,
        tags: Vec::new(),
        weight: 1,
        auto_discover: true,
        health_check: HealthCheck::default(),
        configuration,
        status: Status::Active,
        health_status: HealthStatus::Unknown,
        last_health_check: None,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        revision: 1,
    }
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

fn initialize() -> Outgoing {
    let method = Method::Initialize;
    Outgoing {
        id: 1,
        body: Message::request(Some(1), method.as_str(), None),
        method,
        correlation_id: None,
        headers: None,
        pauses: None,
        queued: None,
        call: None,
    }
}

fn result(id: u64) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"ok":true}}}}"#)
}

fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn json(body: &str) -> Step {
    Step::Write(http("200 OK", "Content-Type: application/json; charset=utf-8\r\n", body))
}

fn stream_head() -> Step {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    Step::Write(head.into())
}

fn chunk(bytes: &[u8]) -> Step {
    Step::Write([format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat())
}

fn event(message: &str) -> Step {
    chunk(&sse::encode(message.as_bytes(), None))
}

fn last_chunk() -> Step {
    Step::Write(b"0\r\n\r\n".to_vec())
}

async fn bounded<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("the test hangs")
}

async fn response(link: &dyn Link, id: u64) -> Message {
    match bounded(link.request(call(id))).await.unwrap() {
        Exchange::One(message) => message,
        Exchange::Many(_) => panic!("a stream"),
    }
}

async fn failure(link: &dyn Link, id: u64) -> Error {
    bounded(link.request(call(id))).await.err().expect("an error")
}

const NOTE: &str =
    r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":2,"progress":1}}"#;

#[tokio::test]
async fn a_json_answer_comes_back_and_the_connection_is_used_again() {
    let fake = Fake::start(|n| vec![json(&result(n as u64))]).await;
    let headers = BTreeMap::from([("Authorization".to_owned(), "Bearer x".to_owned())]);
    let connector = fake.connector_with(Configuration { headers, ..Configuration::default() });
    let link = connector.connect(false).await.unwrap();
    assert_eq!(response(&*link, 0).await.text(), result(0));
    assert_eq!(response(&*link, 1).await.text(), result(1));
    assert_eq!(fake.connections(), [0, 0]);
    let request = fake.requests()[0].to_lowercase();
    assert!(request.starts_with("post /mcp?x=1 http/1.1\r\n"), "{request}");
    for line in [
        &format!("host: {}", fake.address),
        "accept: application/json, text/event-stream",
        "content-type: application/json",
        "authorization: bearer x",
        "x-correlation-id: c-1",
    ] {
        assert!(request.contains(&format!("{line}\r\n")), "{line} in {request}");
    }
    assert!(!request.contains("mcp-session-id"));
    assert!(!format!("{connector:?} {link:?}").contains("Bearer"));
}

#[tokio::test]
async fn the_session_id_and_the_version_are_sent_once_they_are_known_and_close_deletes_the_session() {
    let fake = Fake::start(|n| match n {
        0 => vec![Step::Write(http(
            "200 OK",
            "Content-Type: application/json\r\nMcp-Session-Id: s-1\r\n",
            &result(1),
        ))],
        1 => vec![Step::Write(http("202 Accepted", "", ""))],
        _ => vec![Step::Write(http("204 No Content", "", ""))],
    })
    .await;
    let link = fake.link().await;
    bounded(link.request(initialize())).await.unwrap();
    link.set_version("2025-06-18");
    bounded(link.notify(Message::request(None, "notifications/initialized", None))).await.unwrap();
    bounded(link.close()).await;
    assert!(!link.is_open());
    bounded(link.close()).await;
    let requests = fake.requests();
    assert_eq!(requests.len(), 3);
    assert!(!requests[0].contains("mcp-session-id") && !requests[0].contains("mcp-protocol-version"));
    assert!(
        requests[1].contains("mcp-session-id: s-1")
            && requests[1].contains("mcp-protocol-version: 2025-06-18")
    );
    assert!(requests[2].starts_with("DELETE /mcp") && requests[2].contains("mcp-session-id: s-1"));
    assert_eq!(fake.connections(), [0, 0, 0]);
}

#[tokio::test]
async fn older_revisions_get_no_version_header() {
    let fake = Fake::start(|_| vec![json(&result(2))]).await;
    let link = fake.link().await;
    link.set_version("2025-03-26");
    response(&*link, 2).await;
    assert!(!fake.requests()[0].contains("mcp-protocol-version"));
}

#[tokio::test]
async fn a_stream_gives_its_notifications_then_the_response_and_its_connection_serves_again() {
    let fake = Fake::start(|n| match n {
        0 => vec![
            stream_head(),
            chunk(b"id: 0\ndata:\n\n: comment\n\n"),
            event(NOTE),
            event(NOTE),
            event(&result(2)),
            last_chunk(),
        ],
        _ => vec![json(&result(3))],
    })
    .await;
    let link = fake.link().await;
    let Exchange::Many(stream) = bounded(link.request(call(2))).await.unwrap() else { panic!("one message") };
    let messages: Vec<_> = bounded(stream.map(|message| message.unwrap().text().to_owned()).collect()).await;
    assert_eq!(messages, [NOTE, NOTE, &result(2)]);
    response(&*link, 3).await;
    assert_eq!(fake.connections(), [0, 0]);
}

#[tokio::test]
async fn a_stream_that_begins_with_the_response_is_one_message_also_before_the_stream_has_ended() {
    let fake = Fake::start(|n| match n {
        0 => vec![stream_head(), event(&result(2)), Step::Wait, last_chunk()],
        _ => vec![json(&result(n as u64))],
    })
    .await;
    let connector = fake.connector();
    let link = connector.connect(false).await.unwrap();
    assert_eq!(response(&*link, 2).await.text(), result(2));
    response(&*link, 1).await;
    assert_eq!(fake.connections(), [0, 1], "the first connection still had its end to come");
    fake.go.notify_one();
    bounded(async {
        while connector.pool.ready_count() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_breaks_is_taken_up_again_behind_the_last_event_id() {
    let first =
        [sse::encode(NOTE.as_bytes(), Some("e-1")).to_vec(), b"retry: 50\nid: e-2\n\ndata: {".to_vec()];
    let first = first.concat();
    let fake = Fake::start(move |n| match n {
        0 => vec![stream_head(), chunk(&first), Step::Reset],
        1 => vec![stream_head(), chunk(b"id: e-3\ndata:\n\n"), last_chunk(), Step::Close],
        2 => vec![stream_head(), event(&result(2)), last_chunk()],
        3 => vec![stream_head(), chunk(b"id: f-1\nretry: 1\ndata:\n\n"), last_chunk()],
        _ => vec![Step::Write(http("404 Not Found", "", ""))],
    })
    .await;
    let link = fake.link().await;
    let Exchange::Many(stream) = bounded(link.request(call(2))).await.unwrap() else { panic!("one message") };
    let messages: Vec<_> = bounded(stream.map(|message| message.unwrap().text().to_owned()).collect()).await;
    assert_eq!(messages, [NOTE, &result(2)]);
    let requests = fake.requests();
    assert!(requests[1].starts_with("GET ") && requests[1].contains("last-event-id: e-2"), "{}", requests[1]);
    assert!(requests[2].starts_with("GET ") && requests[2].contains("last-event-id: e-3"), "{}", requests[2]);
    assert_eq!(failure(&*link, 3).await.kind(), ErrorKind::BadUpstream);
    assert_eq!(fake.requests().iter().filter(|request| request.starts_with("POST")).count(), 2);
}

#[tokio::test]
async fn an_answer_to_another_request_is_the_servers_fault() {
    let fake = Fake::start(|n| match n {
        0 => vec![json(&result(99))],
        1 => vec![stream_head(), event(&result(99)), last_chunk()],
        2 => vec![stream_head(), event(NOTE), event(&result(99)), last_chunk()],
        _ => vec![json(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}"#)],
    })
    .await;
    let link = fake.link().await;
    for id in [2, 3] {
        let error = failure(&*link, id).await;
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::BadUpstream, Delivery::Unknown));
        assert!(error.to_string().contains("answered: 99"), "{error}");
    }
    let Exchange::Many(stream) = bounded(link.request(call(4))).await.unwrap() else { panic!("one message") };
    let items: Vec<_> = bounded(stream.collect()).await;
    assert_eq!(items.len(), 2);
    assert_eq!(items[1].as_ref().unwrap_err().kind(), ErrorKind::BadUpstream);
    assert!(response(&*link, 5).await.error().is_some(), "an error without an id answers what was asked");
}

#[tokio::test]
async fn what_is_no_message_is_an_error_never_an_empty_answer() {
    let fake = Fake::start(|n| match n {
        0 => vec![json("{\"jsonrpc\":")],
        1 => vec![stream_head(), chunk(b"data: nonsense\n\n")],
        2 => vec![Step::Write(http("200 OK", "Content-Type: text/html\r\n", "<html>"))],
        3 => vec![Step::Write(http("202 Accepted", "", ""))],
        4 => vec![stream_head(), last_chunk()],
        5 => vec![stream_head(), event(NOTE), last_chunk()],
        6 => vec![Step::Write(http(
            "200 OK",
            "Content-Encoding: gzip\r\nContent-Type: application/json\r\n",
            "x",
        ))],
        7 => vec![Step::Write(b"SSH-2.0-x\r\n".to_vec()), Step::Close],
        _ => vec![json("")],
    })
    .await;
    let link = fake.link().await;
    for id in [0, 1, 2, 3, 4, 5, 6, 7, 8] {
        let error = match bounded(link.request(call(id))).await {
            Err(error) => error,
            Ok(Exchange::Many(stream)) => {
                bounded(stream.filter_map(async |item| item.err()).collect::<Vec<_>>()).await.remove(0)
            }
            Ok(Exchange::One(message)) => panic!("{message:?}"),
        };
        assert_eq!(
            (error.kind(), error.delivery()),
            (ErrorKind::BadUpstream, Delivery::Unknown),
            "{id}: {error}"
        );
    }
}

#[tokio::test]
async fn an_answer_over_the_limit_is_cut_and_its_connection_closed() {
    let fake = Fake::start(|n| match n {
        0 => {
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
            let piece = [b"10000\r\n".as_slice(), &vec![b' '; 0x10000], b"\r\n"].concat();
            vec![Step::Write(head.into()), Step::Endless(piece)]
        }
        1 => vec![Step::Write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16777217\r\n\r\n".to_vec(),
        )],
        _ => vec![
            stream_head(),
            Step::Endless([b"10000\r\n".as_slice(), &vec![b'x'; 0x10000], b"\r\n"].concat()),
        ],
    })
    .await;
    let link = fake.link().await;
    for (id, limit) in [(0, "16777216 bytes"), (1, "16777216 bytes"), (2, "16777216 bytes")] {
        let error = failure(&*link, id).await;
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::BadUpstream, Delivery::Unknown));
        assert!(error.message().contains(limit), "{error}");
        bounded(fake.client_closed(usize::try_from(id).unwrap() + 1)).await;
    }
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_answer_leaves_the_outcome_unknown_and_nothing_is_sent_twice() {
    let fake = Fake::start(|n| match n {
        0 => vec![json(&result(0))],
        1 => vec![Step::Reset],
        2 => vec![Step::Close],
        _ => vec![stream_head(), event(NOTE), Step::Reset],
    })
    .await;
    let link = fake.link().await;
    response(&*link, 0).await;
    for id in [1, 2] {
        let error = failure(&*link, id).await;
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::BadUpstream, Delivery::Unknown), "{error}");
    }
    let Exchange::Many(stream) = bounded(link.request(call(3))).await.unwrap() else { panic!("one message") };
    let items: Vec<_> = bounded(stream.collect()).await;
    assert_eq!(items.last().unwrap().as_ref().unwrap_err().delivery(), Delivery::Unknown);
    assert_eq!(fake.requests().len(), 4);
}

#[tokio::test]
async fn what_begins_a_session_on_a_connection_that_breaks_is_sent_once_more_on_a_new_one() {
    for how in [|| Step::Reset, || Step::Close] {
        let fake = Fake::start(move |n| match n {
            0 => vec![json(&result(0))],
            1 | 3 => vec![how()],
            2 => vec![json(&result(1))],
            4 => vec![Step::Write(http("202 Accepted", "", ""))],
            _ => vec![Step::Close],
        })
        .await;
        let link = fake.link().await;
        response(&*link, 0).await;
        assert!(matches!(bounded(link.request(initialize())).await.unwrap(), Exchange::One(_)));
        let initialized = Message::request(None, Method::Initialized.as_str(), None);
        bounded(link.notify(initialized)).await.unwrap();
        assert_eq!(fake.connections(), [0, 0, 1, 1, 2]);
        // A new connection that breaks is the server's answer.
        for sent in [6, 7] {
            bounded(fake.link().await.request(initialize())).await.err().expect("a broken connection");
            assert_eq!(fake.requests().len(), sent);
        }
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_connected_to_was_sent_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    drop(listener);
    let server = server(&url, Configuration::default());
    let connector = HttpConnector::new(&server, SystemClock::shared(), Tasks::default()).unwrap();
    let error = failure(&*connector.connect(false).await.unwrap(), 2).await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::BadUpstream, Delivery::NotSent));
    assert_eq!(bounded(connector.check()).await.unwrap_err().delivery(), Delivery::NotSent);
}

#[tokio::test]
async fn a_failed_tls_handshake_sends_nothing_of_the_call() {
    let fake = Fake::start(|_| vec![json(&result(2))]).await;
    let server = server(&format!("https://{}/mcp", fake.address), Configuration::default());
    let connector = HttpConnector::new(&server, SystemClock::shared(), fake.tasks.clone()).unwrap();
    let link = connector.connect(false).await.unwrap();
    let mut waiting = Box::pin(link.request(call(2)));
    // The fake server waits for the end of an HTTP head that TLS does not have: it is stopped instead.
    bounded(async {
        while fake.accepted.load(Ordering::SeqCst) == 0 {
            assert!(futures_util::poll!(&mut waiting).is_pending());
            tokio::task::yield_now().await;
        }
    })
    .await;
    fake.tasks.stop().await;
    let error = bounded(waiting).await.err().unwrap();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::BadUpstream, Delivery::NotSent), "{error}");
}

#[tokio::test]
async fn a_call_on_a_connection_that_died_while_idle_is_delivered_once_on_a_new_one() {
    for how in [|| Step::Reset, || Step::Close] {
        let fake = Fake::start(move |n| match n {
            0 => vec![json(&result(0)), Step::Wait, how()],
            _ => vec![json(&result(1))],
        })
        .await;
        let connector = fake.connector();
        let link = connector.connect(false).await.unwrap();
        response(&*link, 0).await;
        fake.go.notify_one();
        if matches!(how(), Step::Close) {
            // A close that has not arrived yet cannot be told from a server that lives.
            bounded(async {
                while connector.pool.close_old() {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        } else {
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        }
        assert_eq!(response(&*link, 1).await.text(), result(1));
        assert_eq!(fake.connections(), [0, 1]);
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_and_not_heard_of_yet_is_not_written_to() {
    // The server is a thread of its own, for which this runtime waits without looking at its sockets.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (close, closing) = std::sync::mpsc::channel::<()>();
    let (closed, hears) = std::sync::mpsc::channel();
    let server_thread = std::thread::spawn(move || {
        for id in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let read = stream.read(&mut [0; 4096]).unwrap();
            assert!(read > 0);
            stream.write_all(&http("200 OK", "content-type: application/json\r\n", &result(id))).unwrap();
            closing.recv().unwrap();
            drop(stream);
            closed.send(()).unwrap();
        }
    });
    let clock = ManualClock::shared();
    let server = server(&format!("http://{address}"), Configuration::default());
    let connector = HttpConnector::new(&server, clock.clone(), Tasks::default()).unwrap();
    let link = connector.connect(false).await.unwrap();
    response(&*link, 0).await;
    clock.advance(Duration::from_millis(2));
    close.send(()).unwrap();
    hears.recv().unwrap();
    assert_eq!(response(&*link, 1).await.text(), result(1));
    close.send(()).unwrap();
    server_thread.join().unwrap();
}

#[tokio::test]
async fn connections_are_bounded_and_shared_by_all_calls() {
    let fake = Fake::start(|_| {
        let body = r#"{"jsonrpc":"2.0","id":5,"result":{}}"#;
        vec![stream_head(), event(body), last_chunk()]
    })
    .await;
    let configuration = Configuration { max_connections: 3, ..Configuration::default() };
    let connector = fake.connector_with(configuration);
    let link = connector.connect(false).await.unwrap();
    for _ in 0..20 {
        for outcome in bounded(join_all((0..10).map(|_| link.request(call(5))))).await {
            assert!(outcome.is_ok());
        }
        assert!(connector.pool.idle_count() <= 3);
    }
    assert_eq!(fake.requests().len(), 200);
}

#[tokio::test]
async fn a_call_that_finds_all_connections_in_use_waits_until_its_deadline_and_names_the_setting() {
    let fake = Fake::start(|_| vec![stream_head(), event(NOTE)]).await;
    let configuration = Configuration { max_connections: 1, ..Configuration::default() };
    let connector = fake.connector_with(configuration);
    let link = connector.connect(false).await.unwrap();
    let held = bounded(link.request(call(2))).await.unwrap();
    assert!(matches!(held, Exchange::Many(_)));
    let deadline = connector.clock.now() + Duration::from_millis(100);
    let queued = Some(Queued { caller: 7, deadline });
    let Err(error) = bounded(link.request(Outgoing { queued, ..call(3) })).await else {
        panic!("it is full")
    };
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unavailable, Delivery::NotSent));
    for part in ["all 1 connections to server `", "`configuration.max_connections`"] {
        assert!(error.message().contains(part), "{error}");
    }
    assert!(error.retry_delay().is_some());
    assert_eq!(connector.queue().unwrap().waits, 1);
    let (next, ()) = futures_util::join!(bounded(link.request(call(4))), async {
        while connector.queue().unwrap().waiting == 0 {
            tokio::task::yield_now().await;
        }
        drop(held);
    });
    assert!(next.is_ok(), "it had its turn");
}

/// T-04: a connection that carried one caller's messages carries no other's, and all callers together have no more connections
/// than a server may have.
#[tokio::test]
async fn a_connection_that_was_one_callers_is_nobody_elses_and_makes_room_for_others() {
    let fake = Fake::start(|n| vec![json(&result(n as u64))]).await;
    let configuration = Configuration { max_connections: 2, ..Configuration::default() };
    let connector = fake.connector_with(configuration);
    let mut links = vec![connector.connect(false).await.unwrap()];
    for subject in ["user:a", "user:b"] {
        let own = connector.for_caller(&subject.into()).unwrap();
        links.push(own.connect(false).await.unwrap());
    }
    for (id, link) in [0, 0, 1, 1, 0, 2, 2, 1].into_iter().enumerate() {
        response(&*links[link], id as u64).await;
        assert!(connector.pool.idle_count() <= 2);
    }
    assert_eq!(fake.connections(), [0, 0, 1, 1, 0, 2, 2, 3]);
}

#[tokio::test]
async fn a_stream_that_only_listens_takes_no_connection_from_calls() {
    let fake = Fake::start(|n| match n {
        0 => vec![stream_head(), event(NOTE)],
        1 => vec![json(&result(1))],
        2 => vec![Step::Write(http("405 Method Not Allowed", "", ""))],
        _ => vec![Step::Write(http("404 Not Found", "", ""))],
    })
    .await;
    let configuration = Configuration { max_connections: 1, ..Configuration::default() };
    let link = fake.connector_with(configuration).connect(false).await.unwrap();
    let mut stream = bounded(link.listen()).await.unwrap();
    assert_eq!(bounded(stream.next()).await.unwrap().text(), NOTE);
    assert!(bounded(link.listen()).await.is_none(), "it was taken");
    response(&*link, 1).await;
    drop(stream);
    bounded(fake.client_closed(1)).await;
    assert!(bounded(link.listen()).await.is_none(), "405");
    assert!(bounded(link.listen()).await.is_none(), "404");
    let requests = fake.requests();
    assert_eq!(requests.len(), 4);
    assert!(requests[0].starts_with("GET /mcp?x=1") && requests[0].contains("accept: text/event-stream"));
    assert!(!requests[0].contains("content-length") && !requests[0].contains("content-type"));
}

#[tokio::test]
async fn a_forgotten_session_is_told_apart_and_ends_the_link() {
    let fake = Fake::start(|n| match n {
        0 => vec![Step::Write(http(
            "200 OK",
            "Content-Type: application/json\r\nMcp-Session-Id: s-1\r\n",
            &result(1),
        ))],
        _ => vec![Step::Write(http("404 Not Found", "", ""))],
    })
    .await;
    let link = fake.link().await;
    bounded(link.request(initialize())).await.unwrap();
    let error = failure(&*link, 2).await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::SessionNotFound, Delivery::NotSent));
    assert!(!link.is_open());
}

#[tokio::test]
async fn dropping_a_stream_or_a_waiting_call_closes_its_connection() {
    let fake = Fake::start(|n| if n == 0 { vec![stream_head(), event(NOTE)] } else { vec![] }).await;
    let link = fake.link().await;
    let exchange = bounded(link.request(call(2))).await.unwrap();
    drop(exchange);
    bounded(fake.client_closed(1)).await;
    let mut waiting = Box::pin(link.request(call(3)));
    bounded(async {
        while fake.requests().len() < 2 {
            assert!(futures_util::poll!(&mut waiting).is_pending());
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(waiting);
    bounded(fake.client_closed(2)).await;
}

#[tokio::test]
async fn idle_connections_are_closed_after_90_seconds() {
    let fake = Fake::start(|n| vec![json(&result(n as u64))]).await;
    let clock = ManualClock::shared();
    let server = server(&format!("http://{}", fake.address), Configuration::default());
    let connector = HttpConnector::new(&server, clock.clone(), fake.tasks.clone()).unwrap();
    let link = connector.connect(false).await.unwrap();
    response(&*link, 0).await;
    clock.advance(Duration::from_secs(89));
    assert!(connector.pool.close_old());
    clock.advance(Duration::from_secs(1));
    response(&*link, 1).await;
    assert_eq!(fake.connections(), [0, 1], "too old to be used");
    clock.advance(Duration::from_secs(90));
    assert!(!connector.pool.close_old());
    bounded(fake.client_closed(2)).await;
}

#[tokio::test]
async fn refusals_of_a_notification_and_of_a_call_are_errors_with_the_status() {
    let fake = Fake::start(|n| match n {
        0 => vec![Step::Write(http("503 Service Unavailable", "Retry-After: 3\r\n", "later"))],
        1 => vec![Step::Write(http("401 Unauthorized", "", "secret detail"))],
        _ => vec![Step::Write(http(
            "400 Bad Request",
            "",
            r#"{"jsonrpc":"2.0","id":2,"error":{"code":-32602,"message":"m"}}"#,
        ))],
    })
    .await;
    let link = fake.link().await;
    let error = bounded(link.notify(Bytes::from_static(b"{}"))).await.unwrap_err();
    assert_eq!((error.kind(), error.retry_delay()), (ErrorKind::BadUpstream, Some(Duration::from_secs(3))));
    let error = failure(&*link, 2).await;
    assert!(error.to_string().contains("status: 401") && !error.to_string().contains("secret"), "{error}");
    assert!(response(&*link, 2).await.error().is_some());
    assert_eq!(fake.connections(), [0, 0, 0]);
}

#[test]
fn what_cannot_be_used_is_refused_when_it_is_registered() {
    let refused = |url: &str, header: (&str, &str)| {
        let headers = BTreeMap::from([(header.0.to_owned(), header.1.to_owned())]);
        let server = server(url, Configuration { headers, ..Configuration::default() });
        HttpConnector::new(&server, ManualClock::shared(), Tasks::default()).unwrap_err()
    };
    for (url, header, word) in [
        ("localhost/mcp", ("a", "b"), "not a URL"),
        ("ftp://localhost/mcp", ("a", "b"), "http:// or https://"),
        ("http://user:secret@localhost/mcp", ("a", "b"), "credentials"),
        ("http://localhost/mcp", ("a b", "b"), "name"),
        ("http://localhost/mcp", ("a", "b\r\nc: d"), "value"),
        ("http://localhost/mcp", ("Host", "other"), "sets itself"),
    ] {
        let error = refused(url, header);
        assert_eq!(error.kind(), ErrorKind::InvalidParams);
        assert!(error.message().contains(word), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

/// B-23: a document is read up to its limit and no further.
#[tokio::test]
async fn a_document_without_an_end_is_given_up_at_the_limit() {
    let endless = |_| {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        let chunk = [b"4000\r\n".to_vec(), vec![b' '; 0x4000], b"\r\n".to_vec()].concat();
        vec![Step::Write(head), Step::Endless(chunk)]
    };
    let fake = Fake::start(endless).await;
    let url = format!("http://{}/metadata", fake.address).parse().unwrap();
    let guard = Guard::default();
    let error = super::fetch(&url, guard.for_operator(), 1024 * 1024).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadUpstream);
    assert!(format!("{error:?}").contains("limit_bytes"), "{error:?}");
    fake.client_closed(1).await;
}
