use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{MAX_BODY, SUBPROTOCOL, WebSocketConnector};
use crate::clock::SystemClock;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::model::{Configuration, Registration, TenantId, TransportType};
use crate::registry::validate;
use crate::rpc::{Message, Method};
use crate::tasks::Tasks;
use crate::transport::duplex::Conversation;
use crate::transport::{Connector as _, Exchange, Link, Outgoing};

type Peer = WebSocketStream<TcpStream>;

/// A server that the test plays itself, one connection at a time.
struct Fake {
    listener: TcpListener,
    address: SocketAddr,
    tasks: Tasks,
}

impl Fake {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { address: listener.local_addr().unwrap(), listener, tasks: Tasks::default() }
    }

    fn connector(&self) -> WebSocketConnector {
        let configuration = Configuration {
            max_connections: 1,
            headers: [("X-Secret".to_owned(), "s".to_owned())].into(),
            ..Configuration::default()
        };
        let registration = Registration {
            name: "socket".into(),
            endpoint_url: Some(format!("ws://{}/mcp?x=1", self.address)),
            configuration: Some(configuration),
            ..Registration::default()
        };
        let now = SystemClock::shared().timestamp();
        let server = validate::registration(&TenantId::default_tenant(), registration, now).unwrap().server;
        assert_eq!(server.transport_type, TransportType::Websocket);
        WebSocketConnector::new(&server, SystemClock::shared(), self.tasks.clone()).unwrap()
    }

    #[expect(clippy::result_large_err, reason = "the library's own type")]
    async fn accept(&self, subprotocol: Option<&'static str>) -> Option<Peer> {
        let (stream, _) = self.listener.accept().await.unwrap();
        let shake = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
            assert_eq!(request.uri(), "/mcp?x=1");
            assert_eq!(request.headers()["x-secret"], "s");
            assert_eq!(request.headers()["sec-websocket-protocol"], "mcp");
            if let Some(name) = subprotocol {
                response.headers_mut().insert("sec-websocket-protocol", name.parse().unwrap());
            }
            Ok(response)
        };
        tokio_tungstenite::accept_hdr_async(stream, shake).await.ok()
    }

    async fn pair(&self) -> (Arc<dyn Link>, Peer) {
        let connector = self.connector();
        let (link, peer) =
            bounded(async { tokio::join!(connector.connect(true), self.accept(Some(SUBPROTOCOL))) }).await;
        (link.unwrap(), peer.unwrap())
    }
}

async fn bounded<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("the test hangs")
}

fn call(id: u64) -> Outgoing {
    let method = Method::ToolsCall;
    let body = Message::request(Some(id), method.as_str(), Some(r#"{"name":"t"}"#));
    Outgoing { id, method, body, correlation_id: None, headers: None, pauses: None, queued: None, call: None }
}

async fn asked(link: &Arc<dyn Link>, peer: &mut Peer, answer: Option<Frame>) -> Result<Exchange> {
    let answering = async {
        let frame = peer.next().await.unwrap().unwrap();
        assert!(frame.is_text() && frame.to_text().unwrap().contains("tools/call"), "{frame}");
        match answer {
            // A message that is too large is not read to its end.
            Some(answer) => drop(peer.send(answer).await),
            None => peer.close(None).await.unwrap(),
        }
    };
    bounded(async { tokio::join!(link.request(call(1)), answering).0 }).await
}

async fn failed(answer: Option<Frame>) -> Error {
    let fake = Fake::start().await;
    let (link, mut peer) = fake.pair().await;
    let error = asked(&link, &mut peer, answer).await.err().unwrap();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::BadUpstream, Delivery::Unknown));
    assert!(!link.is_open());
    assert_eq!(bounded(link.request(call(2))).await.err().unwrap().delivery(), Delivery::NotSent);
    error
}

#[tokio::test]
async fn a_message_is_a_text_frame_both_ways() {
    let fake = Fake::start().await;
    let (link, mut peer) = fake.pair().await;
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":{"n":12345678901234567890123}}"#;
    let exchange = asked(&link, &mut peer, Some(Frame::text(answer))).await.unwrap();
    assert!(matches!(exchange, Exchange::One(message) if message.text() == answer));
    let changed = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    peer.send(Frame::text(changed)).await.unwrap();
    let mut unasked = link.listen().await.unwrap();
    assert_eq!(bounded(unasked.next()).await.unwrap().method(), Some(&Method::ToolsChanged));
}

#[tokio::test]
async fn the_end_of_the_connection_is_the_end_of_the_link() {
    let error = failed(None).await;
    assert!(error.message().contains("closed the WebSocket"), "{error}");
}

#[tokio::test]
async fn what_is_no_message_ends_the_link_with_an_error_that_says_so() {
    assert!(failed(Some(Frame::text("<html>"))).await.message().contains("not an MCP message"));
    assert!(failed(Some(Frame::binary(vec![1]))).await.message().contains("binary"));
    let error = failed(Some(Frame::text("x".repeat(MAX_BODY + 1)))).await;
    assert!(error.message().contains("limit of 16777216 bytes"), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_speak_mcp_on_its_websocket_is_told_apart() {
    let fake = Fake::start().await;
    let connector = fake.connector();
    let (link, _peer) = bounded(async { tokio::join!(connector.connect(true), fake.accept(None)) }).await;
    let error = link.err().unwrap();
    assert!(error.message().contains("subprotocol"), "{error}");
    assert_eq!(error.delivery(), Delivery::NotSent);
}

#[tokio::test]
async fn connections_are_bounded_and_a_closed_link_makes_room() {
    let fake = Fake::start().await;
    let connector = fake.connector();
    let opening = async { tokio::join!(connector.connect(true), fake.accept(Some(SUBPROTOCOL))) };
    let (first, peer) = bounded(opening).await;
    let (first, mut peer) = (first.unwrap(), peer.unwrap());
    let error = bounded(connector.connect(true)).await.err().unwrap();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unavailable, Delivery::NotSent));
    let closing = async {
        tokio::join!(first.close(), async { while peer.next().await.is_some_and(|frame| frame.is_ok()) {} })
    };
    bounded(closing).await;
    let (second, _peer) =
        bounded(async { tokio::join!(connector.connect(true), fake.accept(Some(SUBPROTOCOL))) }).await;
    assert!(second.unwrap().is_open());
}

#[tokio::test]
async fn a_dropped_request_is_cancelled_at_the_server() {
    let fake = Fake::start().await;
    let (link, mut peer) = fake.pair().await;
    {
        let mut asking = std::pin::pin!(link.request(call(1)));
        let arrived = tokio::select! { frame = peer.next() => frame, _ = &mut asking => panic!("answered") };
        assert!(arrived.unwrap().unwrap().is_text());
    }
    let frame = bounded(peer.next()).await.unwrap().unwrap();
    assert!(frame.to_text().unwrap().contains("notifications/cancelled"), "{frame}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_pinged_and_one_that_stays_silent_is_given_up() {
    let (near, far) = tokio::io::duplex(1024);
    let near = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
    let mut far = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
    let (queue, queued) = mpsc::channel(1);
    let talk = Conversation::new("socket".into(), true, queue, Arc::default());
    let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
    let tasks = Tasks::default();
    tasks.spawn(super::frames::converse(near, queued, talk.clone(), permit));
    for _ in 0..3 {
        // Reading on answers the ping before.
        assert!(far.next().await.unwrap().unwrap().is_ping());
    }
    talk.ended.cancelled().await;
    let error = talk.exchanges.ended().unwrap();
    assert!(error.message().contains("ping"), "{error}");
}
