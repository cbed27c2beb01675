//! A tool call is delivered once or not at all, wherever its connection is cut: ten thousand calls over the real links, each
//! with a cut after a random number of bytes, up or down, over both eras of HTTP and over a child's pipes.
//!
//! `DELIVERY_RUNS=1000000 cargo test --lib delivered_twice` looks longer.

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use futures_util::StreamExt;
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::super::fake::caller;
use crate::auth::Credentials;
use crate::breaker;
use crate::clock::SystemClock;
use crate::error::{Delivery, ErrorKind};
use crate::gateway::*;
use crate::model::{Action, Call, Configuration, Endpoint, Registration, Reply};
use crate::rpc::version::Era;
use crate::rpc::{Message, object};
use crate::store::MemoryStore;
use crate::transport::http::HttpConnector;
use crate::transport::stdio::pipes::Pipes;

/// Calls, unless `DELIVERY_RUNS` says how many.
const RUNS: usize = 10_000;
/// Clients that call side by side, each with two replicas of its own.
const LANES: usize = 8;

#[expect(clippy::disallowed_methods, reason = "how long to look is the caller's choice")]
fn runs() -> usize {
    std::env::var("DELIVERY_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(RUNS)
}

/// Where the connection of the next request ends.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// After so many bytes of the request.
    Up(usize),
    /// After so many bytes of the answer; beyond its end: right behind it.
    Down(usize),
}

/// One server: the calls that it executed, and the cut of the next request's connection.
#[derive(Debug)]
struct Replica {
    era: Era,
    /// Lines of JSON, without HTTP.
    lines: bool,
    armed: Mutex<Option<(Cut, bool)>>,
    fired: Mutex<usize>,
    executed: Mutex<HashMap<String, usize>>,
}

/// A connection that can be torn instead of closed.
trait Connection: AsyncRead + AsyncWrite + Unpin + Send {
    fn tear(&mut self) {}
}

impl Connection for TcpStream {
    fn tear(&mut self) {
        self.set_zero_linger().unwrap();
    }
}

impl Connection for tokio::io::DuplexStream {}

impl Replica {
    fn new(era: Era, lines: bool) -> Arc<Self> {
        let (armed, fired, executed) = Default::default();
        Arc::new(Self { era, lines, armed, fired, executed })
    }

    /// The length of the next request in `buffer`, and the offset of its message.
    fn framed(&self, buffer: &[u8]) -> Option<(usize, usize)> {
        if self.lines {
            return Some((buffer.iter().position(|byte| *byte == b'\n')? + 1, 0));
        }
        let body = buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&buffer[..body]).unwrap().to_lowercase();
        let length = head
            .split_once("content-length: ")
            .map_or(0, |(_, rest)| rest.lines().next().unwrap().parse::<usize>().unwrap());
        (buffer.len() >= body + length).then_some((body + length, body))
    }

    async fn serve(self: Arc<Self>, mut stream: impl Connection) {
        let mut buffer = Vec::new();
        loop {
            let up = match *self.armed.lock().unwrap() {
                Some((Cut::Up(after), _)) => after,
                _ => usize::MAX,
            };
            let framed = self.framed(&buffer);
            // Bytes after the cut were never received.
            if !buffer.is_empty() && framed.map_or(buffer.len(), |(size, _)| size) > up {
                return self.fire(stream);
            }
            let Some((size, body)) = framed else {
                if !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
                    return;
                }
                continue;
            };
            let request: Vec<u8> = buffer.drain(..size).collect();
            let answer = self.answer(&request[body..]);
            let down = self.armed.lock().unwrap().take();
            let Some((Cut::Down(after), _)) = down else {
                if stream.write_all(&answer).await.is_err() {
                    return;
                }
                continue;
            };
            *self.armed.lock().unwrap() = down;
            // The other side may be gone already; it counts as a cut all the same.
            let _ = stream.write_all(&answer[..after.min(answer.len())]).await;
            return self.fire(stream);
        }
    }

    fn fire(&self, mut stream: impl Connection) {
        if let Some((_, true)) = self.armed.lock().unwrap().take() {
            stream.tear();
        }
        *self.fired.lock().unwrap() += 1;
    }

    /// Executes the message; returns the answer as it goes over the wire.
    fn answer(&self, body: &[u8]) -> Vec<u8> {
        let Ok(message) = Message::parse(Bytes::copy_from_slice(body)) else {
            return b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n".to_vec();
        };
        let Some(id) = message.id() else {
            return if self.lines {
                Vec::new()
            } else {
                b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_vec()
            };
        };
        let method = message.method().map_or("", |method| method.as_str());
        let mut note = String::new();
        let outcome = match (self.era, method) {
            (Era::Legacy, "initialize") => {
                r#""result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}"#
            }
            (Era::Modern, "server/discover") => {
                r#""result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"public"}"#
            }
            // A server's own hint, for which no operator vouches (F-11).
            (_, "tools/list") => {
                r#""result":{"tools":[{"name":"t","inputSchema":{"type":"object"},"annotations":{"idempotentHint":true,"readOnlyHint":true}}],"resultType":"complete","ttlMs":0,"cacheScope":"public"}"#
            }
            (_, "tools/call") => {
                let params = message.params_members().unwrap();
                let text = object::text(params.get("x-text").unwrap()).unwrap().into_owned();
                let count = text.len();
                *self.executed.lock().unwrap().entry(text).or_default() += 1;
                if count.is_multiple_of(2) {
                    note = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}"#.into();
                }
                r#""result":{"content":[],"resultType":"complete"}"#
            }
            _ => r#""error":{"code":-32601,"message":"Method not found"}"#,
        };
        let last = format!(r#"{{"jsonrpc":"2.0","id":{id},{outcome}}}"#);
        let http = |kind: &str, body: &str| {
            let size = body.len();
            format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {size}\r\n\r\n{body}")
        };
        match (self.lines, note.is_empty()) {
            (true, true) => format!("{last}\n"),
            (true, false) => format!("{note}\n{last}\n"),
            (false, true) => http("application/json", &last),
            (false, false) => http("text/event-stream", &format!("data: {note}\n\ndata: {last}\n\n")),
        }
        .into_bytes()
    }
}

/// A gateway before two replicas for each lane.
struct Bed {
    gateway: Gateway,
    replicas: Vec<[Arc<Replica>; 2]>,
    tasks: Tasks,
    /// Whether an operator vouches for the servers' hints about their tools.
    trusted: bool,
}

impl Bed {
    async fn new(era: Era, lines: bool, trusted: bool) -> Self {
        let tasks = Tasks::default();
        let mut all: HashMap<String, Arc<Replica>> = HashMap::new();
        let mut replicas = Vec::new();
        let mut urls = Vec::new();
        for _ in 0..LANES {
            let pair = [(); 2].map(|()| Replica::new(era, lines));
            for replica in &pair {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let url = format!("http://{}/mcp", listener.local_addr().unwrap());
                all.insert(url.clone(), Arc::clone(replica));
                urls.push(url);
                let (replica, served) = (Arc::clone(replica), tasks.clone());
                tasks.spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        stream.set_nodelay(true).unwrap();
                        served.spawn(Arc::clone(&replica).serve(stream));
                    }
                });
            }
            replicas.push(pair);
        }
        let clock = SystemClock::shared();
        let (to_clock, to_tasks) = (Arc::clone(&clock), tasks.clone());
        let random = Arc::new(Random::seeded(20_261_121));
        let connect: Connect = Box::new(move |server| {
            if !lines {
                let connector = HttpConnector::new(server, Arc::clone(&to_clock), to_tasks.clone())?;
                return Ok(Arc::new(connector));
            }
            let (replica, served) = (Arc::clone(&all[server.endpoint.url().unwrap()]), to_tasks.clone());
            let serve = Box::new(move |stream| served.spawn(Arc::clone(&replica).serve(stream)));
            Ok(Arc::new(Pipes {
                serve,
                clock: Arc::clone(&to_clock),
                tasks: to_tasks.clone(),
                is_child: false,
            }))
        });
        // Breakers would keep most calls from the cuts.
        let breaker = breaker::Settings {
            consecutive_failures: u32::MAX,
            minimum_calls: u32::MAX,
            ..breaker::Settings::default()
        };
        let settings = Settings { probing: false, breaker, seed: Some(1), ..Settings::default() };
        let store = Arc::new(MemoryStore::default());
        let gateway =
            Gateway::open_with(settings, store, clock, random, tasks.clone(), Arc::default(), connect)
                .await
                .unwrap();
        for (n, url) in urls.into_iter().enumerate() {
            let registration = Registration {
                name: format!("s{n}"),
                service: Some(format!("lane{}", n / 2)),
                endpoint_url: Some(url),
                configuration: Some(Configuration { trusted, ..Configuration::default() }),
                ..Registration::default()
            };
            let server = gateway.register(&caller(), registration).await.unwrap();
            gateway.discover(&caller(), server.id).await.unwrap();
        }
        Self { gateway, replicas, tasks, trusted }
    }

    async fn send(&self, lane: usize, era: Era, session: Option<&str>, body: String) -> Result<Reply> {
        let call = Call {
            route: Endpoint::of(format!("lane{lane}").parse().unwrap()),
            action: Action::Send(Message::parse(body.into()).unwrap()),
            era,
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

    /// Calls of one lane: the number that returned a result, and the number delivered twice.
    async fn lane(&self, lane: usize, era: Era, runs: usize) -> (usize, usize) {
        let opening = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
        let session = match era {
            Era::Modern => None,
            Era::Legacy => match self.send(lane, era, None, opening.into()).await.unwrap() {
                Reply::Message { session, .. } => session,
                _ => panic!("a message"),
            },
        };
        let meta = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}"#;
        let random = Random::seeded(lane as u64);
        let pair = &self.replicas[lane];
        let (mut results, mut twice) = (0, 0);
        for run in 0..runs {
            let after = random.below(700);
            let cut = if random.below(2) == 0 { Cut::Up(after) } else { Cut::Down(after) };
            let torn = random.below(2) == 0;
            for replica in pair {
                *replica.armed.lock().unwrap() = Some((cut, torn)).filter(|_| random.below(8) > 0);
            }
            let text = format!("{}{run}", "x".repeat(run % 2));
            let meta = if era == Era::Modern { meta } else { "" };
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"t","arguments":{{}},"x-text":"{text}","_meta":{{{meta}}}}}}}"#
            );
            let outcome = match self.send(lane, era, session.as_deref(), body).await {
                Ok(Reply::Message { body, .. } | Reply::Refused { body, .. }) => Ok(body),
                Ok(Reply::Stream { messages, .. }) => Ok(messages.collect::<Vec<_>>().await.pop().unwrap()),
                Ok(Reply::Accepted) => panic!("an answer"),
                Err(error) => Err(error),
            };
            let executed =
                |replica: &Arc<Replica>| replica.executed.lock().unwrap().remove(&text).unwrap_or(0);
            let delivered: usize = pair.iter().map(executed).sum();
            assert!(delivered <= 1 || self.trusted, "{cut:?}: {text} was delivered {delivered} times");
            twice += usize::from(delivered > 1);
            match outcome.map(|body| Message::parse(body).unwrap()) {
                Ok(answer) if answer.result().is_some() => {
                    assert!(delivered > 0, "{}", answer.text());
                    results += 1;
                }
                Ok(answer) => {
                    let unsent = answer.text().contains(r#""outcome":"not_sent""#);
                    assert!(answer.text().contains(r#""source":"gateway""#), "{}", answer.text());
                    assert!(!unsent || delivered == 0, "{}", answer.text());
                }
                Err(error) => {
                    assert!(
                        matches!(error.kind(), ErrorKind::BadUpstream | ErrorKind::Unavailable),
                        "{error}"
                    );
                    assert!(error.delivery() != Delivery::NotSent || delivered == 0, "{cut:?}: {error}");
                }
            }
        }
        (results, twice)
    }
}

/// Cuts the connections of so many calls; returns the number delivered twice.
async fn cut_calls(era: Era, lines: bool, trusted: bool, runs: usize) -> usize {
    let bed = Bed::new(era, lines, trusted).await;
    let lanes = (0..LANES).map(|lane| bed.lane(lane, era, runs.div_ceil(LANES)));
    let (results, twice): (Vec<_>, Vec<_>) = futures_util::future::join_all(lanes).await.into_iter().unzip();
    let results: usize = results.into_iter().sum();
    let fired: usize = bed.replicas.iter().flatten().map(|replica| *replica.fired.lock().unwrap()).sum();
    assert!(
        fired > runs / 2 && results > runs / 20,
        "of {runs} calls {fired} were cut and {results} succeeded"
    );
    bed.gateway.shutdown(std::time::Duration::ZERO).await;
    bed.tasks.stop().await;
    twice.into_iter().sum()
}

/// F-10, F-11: over HTTP of the legacy era.
#[tokio::test]
async fn no_call_to_a_legacy_server_over_http_is_delivered_twice() {
    cut_calls(Era::Legacy, false, false, runs() / 3).await;
}

/// F-10, F-11: over HTTP of the modern era.
#[tokio::test]
async fn no_call_to_a_modern_server_over_http_is_delivered_twice() {
    cut_calls(Era::Modern, false, false, runs() / 3).await;
}

/// F-10, F-11: over the pipes of a child.
#[tokio::test]
async fn no_call_to_a_child_is_delivered_twice() {
    cut_calls(Era::Legacy, true, false, runs() / 3).await;
}

/// F-11: the same cuts where an operator vouches for the tool, which shows that the ledger would tell.
#[tokio::test]
async fn a_call_that_may_be_repeated_is_delivered_twice_by_the_same_cuts() {
    assert!(cut_calls(Era::Legacy, false, true, 400).await > 10);
}
