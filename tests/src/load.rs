//! Load: many sessions that call a tool as fast as they get answers, and check every one of them.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::clock::{Stopwatch, quantile};
use crate::http::Http;
use crate::mcp::{Client, VERSION};

/// What to send, where.
#[derive(Clone, Debug)]
pub struct Load {
    /// The server.
    pub address: SocketAddr,
    /// `/mcp` or `/mcp/{service}`.
    pub path: String,
    /// The tool, which must answer its argument `text`.
    pub tool: String,
    /// Sessions, each with one connection and one call at a time.
    pub sessions: usize,
    /// Calls of each session.
    pub calls: usize,
    /// Size of a request's body, in bytes, filled up with text.
    pub size: usize,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Calls that were answered with their own id and text.
    pub good: usize,
    /// Every other call, by what was wrong; the first ten.
    pub errors: Vec<String>,
    /// Calls that were not good.
    pub bad: usize,
    /// From the first call to the last answer.
    pub took: Duration,
    /// The median time of a call.
    pub p50: Duration,
    /// The time under which 99 of 100 calls stayed.
    pub p99: Duration,
}

impl Report {
    /// Good calls a second.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub fn rate(&self) -> f64 {
        self.good as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }
}

#[derive(serde::Deserialize)]
struct Reply<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
}

/// Sessions that stand ready.
#[derive(Debug)]
pub struct Opened {
    load: Load,
    sessions: Vec<Session>,
}

#[derive(Debug)]
struct Session {
    number: usize,
    client: Client,
    sender: http1::SendRequest<Full<Bytes>>,
    /// Drives the connection as long as the session is kept.
    _connection: JoinSet<hyper::Result<()>>,
}

impl Load {
    /// Opens the sessions and runs them all at once.
    pub async fn run(&self) -> io::Result<Report> {
        self.open().await?.run().await
    }

    /// Opens the sessions.
    pub async fn open(&self) -> io::Result<Opened> {
        let mut sessions = Vec::with_capacity(self.sessions);
        for number in 0..self.sessions {
            let http = Http::new(self.address);
            let client = Client::connect_with(&http, &self.path, serde_json::json!({})).await?;
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
            let mut driven = JoinSet::new();
            driven.spawn(connection);
            sessions.push(Session { number, client, sender, _connection: driven });
        }
        Ok(Opened { load: self.clone(), sessions })
    }

    /// A request's body: its id and text belong together and to nobody else.
    fn body(&self, id: u64, text: &str) -> String {
        let head = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{}","arguments":{{"text":"{text}""#,
            self.tool
        );
        let pad = self.size.saturating_sub(head.len() + r#","pad":""}}}"#.len());
        format!(r#"{head},"pad":"{}"}}}}}}"#, "x".repeat(pad))
    }
}

impl Opened {
    /// Lets each session make a call that counts for nothing, so that all that a first call opens is open.
    pub async fn warm(&mut self) -> io::Result<()> {
        for session in &mut self.sessions {
            session.call(&self.load, 0).await?.map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// Runs all sessions at once.
    pub async fn run(self) -> io::Result<Report> {
        let Self { load, sessions } = self;
        let mut times = Vec::with_capacity(load.sessions * load.calls);
        let watch = Stopwatch::start();
        let mut running = JoinSet::new();
        for session in sessions {
            running.spawn(session.run(load.clone()));
        }
        let mut report = Report::default();
        while let Some(ended) = running.join_next().await {
            let (good, mut errors) = ended.map_err(io::Error::other)??;
            report.good += good.len();
            report.bad += errors.len();
            times.extend(good);
            report.errors.append(&mut errors);
            report.errors.truncate(10);
        }
        report.took = watch.elapsed();
        report.p50 = quantile(&mut times, 0.5);
        report.p99 = quantile(&mut times, 0.99);
        Ok(report)
    }
}

type Ended = io::Result<(Vec<Duration>, Vec<String>)>;

impl Session {
    async fn run(mut self, load: Load) -> Ended {
        let (mut good, mut errors) = (Vec::with_capacity(load.calls), Vec::new());
        for call in 1..=u64::try_from(load.calls).unwrap_or(u64::MAX) {
            let watch = Stopwatch::start();
            match self.call(&load, call).await? {
                Ok(()) => good.push(watch.elapsed()),
                Err(why) => errors.push(why),
            }
        }
        Ok((good, errors))
    }

    /// One call; what is wrong with its answer, if anything is.
    async fn call(&mut self, load: &Load, call: u64) -> io::Result<Result<(), String>> {
        let text = format!("session {} call {call}", self.number);
        let request = Request::post(&load.path)
            .header("host", load.address.to_string())
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .header("mcp-protocol-version", VERSION)
            .header("mcp-session-id", self.client.session())
            .body(Full::new(Bytes::from(load.body(call, &text))))
            .map_err(io::Error::other)?;
        self.sender.ready().await.map_err(io::Error::other)?;
        let response = self.sender.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        Ok(match check(&body, call, &text) {
            Ok(()) if status == 200 => Ok(()),
            Ok(()) => Err(format!("{status} for {text}")),
            Err(why) => Err(format!("{status} for {text}: {why}")),
        })
    }
}

/// Whether `body`, JSON or an event stream of one message, answers call `id` with `text`.
fn check(body: &[u8], id: u64, text: &str) -> Result<(), String> {
    let found = String::from_utf8_lossy(body);
    let message = found.lines().find_map(|line| line.strip_prefix("data:")).unwrap_or(&found);
    let reply: Reply<'_> =
        serde_json::from_str(message.trim()).map_err(|error| format!("{error}: {found}"))?;
    if reply.id != Some(id) {
        return Err(format!("another id: {found}"));
    }
    let quoted = format!("\"{text}\"");
    match reply.result {
        Some(result) if result.get().contains(&quoted) => Ok(()),
        _ => Err(format!("another text: {found}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_size_that_was_asked_for_and_is_json() {
        let load = Load {
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
            path: "/mcp".into(),
            tool: "echo".into(),
            sessions: 1,
            calls: 1,
            size: 200,
        };
        let body = load.body(7, "session 0 call 7");
        assert_eq!(body.len(), 200, "{body}");
        assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok(), "{body}");
    }

    #[test]
    fn an_answer_counts_only_with_its_own_id_and_text() {
        let body = br#"{"jsonrpc":"2.0","id":3,"result":{"content":[{"type":"text","text":"t 3"}]}}"#;
        assert!(check(body, 3, "t 3").is_ok());
        assert!(check(body, 4, "t 3").is_err());
        assert!(check(body, 3, "t 4").is_err());
        assert!(check(b"<html>", 3, "t 3").is_err());
        assert!(check(br#"{"jsonrpc":"2.0","id":3,"error":{"code":1,"message":"t 3"}}"#, 3, "t 3").is_err());
    }
}
