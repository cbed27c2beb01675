//! Live changes over real connections: server-sent events, and WebSocket, for which the connection changes hands.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::Method;
use mcp_registry_gateway_tests::clock::Stopwatch;
use mcp_registry_gateway_tests::process::Gateway;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::quiet;

const PATH: &str = "/api/v1/events";
const PATIENCE: Duration = Duration::from_secs(10);

async fn socket(gateway: &Gateway, origin: Option<&str>) -> Result<WebSocketStream<TcpStream>, Error> {
    let stream = TcpStream::connect(gateway.address()).await.expect("a connection");
    let url = format!("ws://{}{PATH}", gateway.address());
    let mut request = url.into_client_request().expect("a request");
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", origin.parse().expect("a header"));
    }
    client_async(request, stream).await.map(|(socket, _)| socket)
}

async fn heard(socket: &mut WebSocketStream<TcpStream>) -> Value {
    let next = async {
        loop {
            // Pings and their answers come in between.
            if let Message::Text(text) = socket.next().await.expect("a frame").expect("a whole frame") {
                return serde_json::from_str(&text).expect("JSON");
            }
        }
    };
    tokio::time::timeout(PATIENCE, next).await.expect("an event in time")
}

#[tokio::test]
async fn a_websocket_hears_the_changes_that_a_stream_of_events_hears_and_both_end_with_the_gateway() {
    let mut gateway = Gateway::start().await;
    let mut socket = socket(&gateway, None).await.expect("a WebSocket");
    let headers = [("accept", "text/event-stream")];
    let mut stream = gateway.http().send(Method::GET, PATH, &headers, Bytes::new()).await.expect("a stream");
    assert!(stream.is_stream());
    socket.send(Message::text("nobody listens")).await.expect("it is read");
    socket.send(Message::Ping("x".into())).await.expect("it is answered");

    let server = gateway.register(&quiet("one", "http://127.0.0.1:9/mcp")).await;
    let event = heard(&mut socket).await;
    assert_eq!((&event["type"], &event["server_id"]), (&json!("server.registered"), &server["id"]));
    let same = stream.next_data().await.expect("an event").expect("an event");
    assert_eq!(serde_json::from_str::<Value>(&same).expect("JSON")["server_id"], server["id"]);

    let watch = Stopwatch::start();
    gateway.terminate();
    let last = tokio::time::timeout(PATIENCE, async {
        loop {
            match socket.next().await {
                // The server that cannot be reached may have changed its state once more.
                Some(Ok(_)) => {}
                other => return other,
            }
        }
    });
    assert!(!matches!(last.await.expect("the end in time"), Some(Ok(_))));
    assert!(gateway.ended(PATIENCE).await.success());
    assert!(watch.elapsed() < PATIENCE, "{:?}", watch.elapsed());
}

#[tokio::test]
async fn a_page_of_a_foreign_origin_gets_no_websocket() {
    let gateway = Gateway::start().await;
    match socket(&gateway, Some("https://evil.example")).await {
        Err(Error::Http(response)) => assert_eq!(response.status().as_u16(), 403),
        other => panic!("{other:?}"),
    }
    let own = format!("http://{}", gateway.address());
    assert!(socket(&gateway, Some(&own)).await.is_ok());
}

/// The answer to a handshake with these lines in place of some of its own.
async fn handshake(gateway: &Gateway, request_line: &str, lines: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let token = std::fs::read_to_string(gateway.data().join("local.token")).expect("the local token");
    let request = format!(
        "{request_line}\r\nHost: {}\r\nAuthorization: Bearer {}\r\n{lines}\r\n\r\n",
        gateway.address(),
        token.trim()
    );
    let mut stream = TcpStream::connect(gateway.address()).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = vec![0; 1024];
    let read =
        tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await.expect("in time").expect("an answer");
    String::from_utf8_lossy(&answer[..read]).lines().next().unwrap_or_default().to_owned()
}

/// a WebSocket is opened by a whole handshake and by nothing less.
#[tokio::test]
async fn a_websocket_takes_a_whole_handshake() {
    let gateway = Gateway::start().await;
    let get = format!("GET {PATH} HTTP/1.1");
    let (upgrade, connection) = ("Upgrade: websocket", "Connection: Upgrade");
    let (version, key) = ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==");
    let whole = [upgrade, connection, version, key].join("\r\n");
    assert!(handshake(&gateway, &get, &whole).await.starts_with("HTTP/1.1 101"));
    for (lines, status) in [
        ([upgrade, version, key].join("\r\n"), "400"),
        ([upgrade, "Connection: close", version, key].join("\r\n"), "400"),
        ([upgrade, connection, version, "Sec-WebSocket-Key: x"].join("\r\n"), "400"),
        ([upgrade, connection, version].join("\r\n"), "400"),
        ([upgrade, connection, key].join("\r\n"), "426"),
        ([upgrade, connection, version, key, "Content-Length: 5\r\n\r\nhello"].join("\r\n"), "400"),
        ([upgrade, connection, version, key, "Transfer-Encoding: chunked\r\n\r\n0"].join("\r\n"), "400"),
    ] {
        let answer = handshake(&gateway, &get, &lines).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{lines:?}: {answer}");
    }
    let old = handshake(&gateway, &format!("GET {PATH} HTTP/1.0"), &whole).await;
    assert!(!old.contains(" 101 "), "{old}");
}
