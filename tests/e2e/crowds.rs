//! Peers that take more than their share: of connections, and of memory for answers that they do not read.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use http::Method;
use mcp_registry_gateway_tests::clock::{Stopwatch, eventually};
use mcp_registry_gateway_tests::fake::{Act, Fake};
use mcp_registry_gateway_tests::http::Http;
use mcp_registry_gateway_tests::process::{Gateway, Options, binary};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

const MIB: u64 = 1024 * 1024;

/// A gateway that takes keys, with this configuration besides, and its administrator.
pub(crate) struct Guarded {
    pub(crate) gateway: Gateway,
    pub(crate) admin: Http,
    _folder: TempDir,
}

impl Guarded {
    pub(crate) async fn with(auth: &str, config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("mcp-gateway.toml");
        std::fs::write(
            &file,
            format!("[auth]\napi_keys = true\n{auth}\n{config}\n[outbound]\nallow = ['127.0.0.1']\n"),
        )
        .expect("a file");
        let data = folder.path().join("data");
        let key = first_key(&data, &file);
        let args = vec!["--config".to_owned(), file.display().to_string()];
        let gateway = Gateway::start_with(Options { data: Some(data), args, ..Options::default() }).await;
        let admin = gateway.http().showing(&key);
        Self { gateway, admin, _folder: folder }
    }

    pub(crate) async fn key(&self, name: &str) -> String {
        let wish = json!({ "name": name, "role": "developer" });
        let made = self.admin.json(Method::POST, "/api/v1/api-keys", Some(&wish)).await.expect("an answer");
        made.1["key"].as_str().expect("a key").to_owned()
    }

    /// Registers a server and waits until it is known what it offers.
    pub(crate) async fn adopt(&self, fake: &Fake) {
        let server =
            json!({ "name": fake.name(), "endpoint_url": fake.url(), "health_check": { "enabled": false } });
        let (status, made) =
            self.admin.json(Method::POST, "/api/v1/servers", Some(&server)).await.expect("an answer");
        assert_eq!(status, 201, "{made}");
        eventually("what the server offers", Duration::from_secs(10), async || {
            let (_, found) = self.admin.get("/api/v1/discovery/tools?tools=echo").await.ok()?;
            (found["servers"].as_array()?.len() == 1).then_some(())
        })
        .await;
    }
}

fn first_key(data: &Path, config: &Path) -> String {
    let mut command = Command::new(binary());
    command.args(["keys", "create", "--role", "admin", "--json", "operator", "--data-dir"]).arg(data);
    let output = command.arg("--config").arg(config).output().expect("mcp-gateway runs");
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    said["key"].as_str().expect("a key").to_owned()
}

/// A connection from another address of this machine.
async fn from(peer: Ipv4Addr, address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((peer, 0)))?;
    socket.connect(address).await
}

/// Asks on a kept connection; the status, or `None` if the connection is gone.
async fn ask(stream: &mut TcpStream, path: &str, key: Option<&str>) -> Option<u16> {
    let key = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{key}\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = vec![0; 64 * 1024];
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut answer)).await.ok()?.ok()?;
    std::str::from_utf8(answer[..read].get(9..12)?).ok()?.parse().ok()
}

/// X-07: peers that open connections without end leave room for others, whose connections stay.
#[tokio::test]
async fn peers_that_open_connections_without_end_take_no_others() {
    let house = Guarded::with("", "[limits]\nmax_connections = 60\nconnections_per_peer = 25\n").await;
    let address = house.gateway.address();
    let key = house.key("honest").await;
    let mut honest = from(Ipv4Addr::new(127, 0, 0, 5), address).await.expect("a connection");
    assert_eq!(ask(&mut honest, "/api/v1/servers", Some(&key)).await, Some(200));

    let mut crowd = Vec::new();
    for peer in 2..=4 {
        for n in 0..60 {
            let mut stream = from(Ipv4Addr::new(127, 0, 0, peer), address).await.expect("a connection");
            assert_eq!(ask(&mut stream, "/health", None).await, Some(200), "{n} of peer {peer}");
            crowd.push(stream);
        }
    }
    let mut open = 0;
    for stream in &mut crowd {
        open += usize::from(ask(stream, "/health", None).await.is_some());
    }
    assert!((20..=60).contains(&open), "{open} of {} are still open", crowd.len());
    assert_eq!(
        ask(&mut honest, "/api/v1/servers", Some(&key)).await,
        Some(200),
        "a known caller keeps its connection"
    );
    for _ in 0..3 {
        let mut new = from(Ipv4Addr::new(127, 0, 0, 6), address).await.expect("a connection");
        assert_eq!(ask(&mut new, "/api/v1/servers", Some(&key)).await, Some(200));
    }
}

/// Begins a call whose answer nobody reads.
async fn call_unread(address: SocketAddr, key: &str) -> TcpStream {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"one__echo","arguments":{"text":"t"}}}"#;
    let request = format!(
        "POST /legacy/mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAuthorization: Bearer {key}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("written");
    stream
}

/// X-06: answers that nobody reads are held up to a limit, their servers are read no further, and the stop does not wait for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_reads_take_no_more_memory_than_they_may() {
    let limits = "[limits]\nunread_bytes_per_principal = 20971520\n[server]\nlegacy = true\n";
    let mut house = Guarded::with("", limits).await;
    let fake = Fake::start("one").await;
    house.adopt(&fake).await;
    let (greedy, honest) = (house.key("greedy").await, house.key("honest").await);
    let rest = house.gateway.usage().memory;
    fake.script().next("tools/call", 24, Act::Huge(8 * 1024 * 1024));
    let mut first = call_unread(house.gateway.address(), &greedy).await;
    first.peek(&mut [0]).await.expect("its answer begins");
    let mut unread = Vec::new();
    for _ in 1..24 {
        unread.push(call_unread(house.gateway.address(), &greedy).await);
    }
    eventually("all the calls", Duration::from_secs(20), async || {
        (fake.ledger().count("tools/call") >= 24).then_some(())
    })
    .await;
    let http = house.gateway.http().showing(&honest);
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "one__echo", "arguments": { "text": "t" } } });
    for _ in 0..20 {
        let (status, answer) = http.json(Method::POST, "/legacy/mcp", Some(&call)).await.expect("an answer");
        assert_eq!((status, answer["error"].is_null()), (200, true), "{answer}");
    }
    let held = house.gateway.usage().memory.saturating_sub(rest);
    assert!(held < 110 * MIB, "{} MiB are held for what nobody reads", held / MIB);

    // Read at last, an answer is whole.
    let mut answer = Vec::new();
    let whole = async {
        while answer.len() < 8 * 1024 * 1024 {
            assert!(
                first.read_buf(&mut answer).await.expect("bytes") > 0,
                "cut after {} bytes",
                answer.len()
            );
        }
    };
    tokio::time::timeout(Duration::from_secs(20), whole).await.expect("the answer in time");

    let watch = Stopwatch::start();
    house.gateway.terminate();
    house.gateway.ended(Duration::from_secs(40)).await;
    assert!(watch.elapsed() < Duration::from_secs(15), "{:?}", watch.elapsed());
    drop(unread);
}

/// Opens a stream of events by way of a proxy; the status.
async fn events(proxy: &mut TcpStream, client: &str, key: &str) -> u16 {
    let request = format!(
        "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {client}\r\nAuthorization: Bearer {key}\r\n\r\n"
    );
    proxy.write_all(request.as_bytes()).await.expect("written");
    let mut answer = [0; 1024];
    let read = tokio::time::timeout(Duration::from_secs(10), proxy.read(&mut answer)).await.expect("in time");
    let head = String::from_utf8_lossy(&answer[..read.expect("an answer")]).into_owned();
    head.get(9..12).and_then(|status| status.parse().ok()).expect("a status")
}

/// X-07: a trusted proxy has as many connections as it wants, and each of its clients its share of requests.
#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_share() {
    let config = "[limits]\nconnections_per_peer = 3\n[server]\ntrusted_proxies = ['127.0.0.9']\n";
    let house = Guarded::with("", config).await;
    let key = house.key("client").await;
    let mut statuses = Vec::new();
    let mut open = Vec::new();
    for n in 0..12 {
        let mut proxy =
            from(Ipv4Addr::new(127, 0, 0, 9), house.gateway.address()).await.expect("a connection");
        let client = format!("198.51.100.{}", n / 4);
        statuses.push(events(&mut proxy, &client, &key).await);
        open.push(proxy);
    }
    assert_eq!(statuses, [200, 200, 200, 429].repeat(3));
    drop(open.remove(0));
    eventually("the place of a request that ended", Duration::from_secs(20), async || {
        let mut proxy = from(Ipv4Addr::new(127, 0, 0, 9), house.gateway.address()).await.ok()?;
        (events(&mut proxy, "198.51.100.0", &key).await == 200).then_some(())
    })
    .await;
}
