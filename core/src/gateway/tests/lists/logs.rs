//! A server's log messages over a connection that several calls share reach the call that they are for, and no other (T-07).

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};
use tokio::sync::mpsc;

use super::super::fake::caller;
use crate::auth::Credentials;
use crate::clock::ManualClock;
use crate::gateway::*;
use crate::model::{Action, Call, Endpoint, Registration, Reply, TransportType};
use crate::rpc::Message;
use crate::rpc::version::Era;
use crate::store::MemoryStore;
use crate::transport::stdio::pipes::Pipes;

/// The log messages of each call.
const LINES: usize = 3;

/// Serves one connection: logs the text of each call, line by line, in no order among the calls.
async fn serve(era: Era, stream: DuplexStream, tasks: Tasks) {
    let random = Arc::new(Random::seeded(3));
    let (output, mut input) = tokio::io::split(stream);
    let (say, mut said) = mpsc::unbounded_channel::<Value>();
    tasks.spawn(async move {
        while let Some(message) = said.recv().await {
            if input.write_all(format!("{message}\n").as_bytes()).await.is_err() {
                return;
            }
        }
    });
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let message: Value = serde_json::from_str(&line).unwrap();
        let Some(id) = message.get("id").cloned() else { continue };
        let capabilities = json!({ "tools": {}, "logging": {} });
        let result = match (era, message["method"].as_str().unwrap()) {
            (Era::Legacy, "initialize") => json!({
                "protocolVersion": "2025-11-25", "capabilities": capabilities,
                "serverInfo": { "name": "s", "version": "1" },
            }),
            (Era::Modern, "server/discover") => json!({
                "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": capabilities,
                "ttlMs": 0, "cacheScope": "public",
            }),
            (_, "tools/list") => json!({
                "tools": [{ "name": "t", "inputSchema": {} }], "resultType": "complete", "ttlMs": 0, "cacheScope": "public",
            }),
            (Era::Legacy, "logging/setLevel") => json!({}),
            (_, "tools/call") => {
                let (say, random, tasks) = (say.clone(), Arc::clone(&random), tasks.clone());
                tasks.spawn(async move {
                    let text = &message["params"]["arguments"]["text"];
                    for _ in 0..LINES {
                        tokio::time::sleep(Duration::from_millis(random.below(50) as u64)).await;
                        let params = json!({ "level": "info", "data": text });
                        drop(say.send(
                            json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": params }),
                        ));
                    }
                    let result = json!({ "content": [], "text": text, "resultType": "complete" });
                    drop(say.send(json!({ "jsonrpc": "2.0", "id": id, "result": result })));
                });
                continue;
            }
            _ => {
                let error = json!({ "code": -32601, "message": "no" });
                drop(say.send(json!({ "jsonrpc": "2.0", "id": id, "error": error })));
                continue;
            }
        };
        drop(say.send(json!({ "jsonrpc": "2.0", "id": id, "result": result })));
    }
}

/// A gateway before one such server, which counts as a child process.
async fn gateway(era: Era) -> Gateway {
    let (tasks, clock) = (Tasks::default(), ManualClock::shared());
    let (spawner, timed) = (tasks.clone(), clock.clone());
    let connect: Connect = Box::new(move |_| {
        let (serving, tasks) = (spawner.clone(), spawner.clone());
        let serve = move |stream| serving.spawn(serve(era, stream, serving.clone()));
        Ok(Arc::new(Pipes { serve: Box::new(serve), clock: timed.clone(), tasks, is_child: true }))
    });
    let settings = Settings { probing: false, ..Settings::default() };
    let (random, store) = (Arc::new(Random::seeded(1)), Arc::new(MemoryStore::default()));
    let gateway =
        Gateway::open_with(settings, store, clock, random, tasks, Arc::default(), connect).await.unwrap();
    let registration = Registration {
        name: "s".into(),
        command: Some("/bin/true".into()),
        transport_type: Some(TransportType::Stdio),
        ..Registration::default()
    };
    let server = gateway.register(&caller(), registration).await.unwrap();
    gateway.discover(&caller(), server.id).await.unwrap();
    gateway
}

/// The log lines that a modern call gets, which asks for them if `level` is given, and its answer.
async fn call(gateway: &Gateway, text: &str, level: Option<&str>) -> (Vec<Value>, Value) {
    let mut meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    if let Some(level) = level {
        meta["io.modelcontextprotocol/logLevel"] = level.into();
    }
    let params = json!({ "name": "t", "arguments": { "text": text }, "_meta": meta });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let call = Call {
        route: Endpoint::of("s".parse().unwrap()),
        action: Action::Send(Message::parse(body.to_string().into()).unwrap()),
        era: Era::Modern,
        session: None,
        headers: HeaderMap::new(),
        correlation_id: "test".into(),
        streams: true,
        resumes: false,
        hints: None,
        builtin: true,
        over_network: false,
    };
    let reply = gateway.handle(call, &Credentials::Embedded(caller().principal)).await.unwrap();
    let said: Vec<_> = match reply {
        Reply::Message { body, .. } | Reply::Refused { body, .. } => vec![body],
        Reply::Stream { messages, .. } => messages.collect().await,
        Reply::Accepted => panic!("an answer"),
    };
    let mut said: Vec<Value> = said.iter().map(|said| serde_json::from_slice(said).unwrap()).collect();
    let last = said.pop().unwrap();
    (said.into_iter().map(|note| note["params"]["data"].clone()).collect(), last)
}

async fn each_call_hears_its_own(era: Era) {
    let gateway = gateway(era).await;
    let calls = (0..40).map(|number| {
        let gateway = &gateway;
        async move {
            let text = format!("call {number}");
            let level = (number % 4 != 0).then_some("debug");
            let (heard, answer) = call(gateway, &text, level).await;
            assert_eq!(answer["result"]["text"], text, "{answer}");
            let due = if level.is_some() { vec![json!(text); LINES] } else { Vec::new() };
            assert_eq!(heard, due, "{text}");
        }
    });
    join_all(calls).await;
}

#[tokio::test(start_paused = true)]
async fn modern_calls_at_one_legacy_child_hear_each_what_was_logged_for_them() {
    each_call_hears_its_own(Era::Legacy).await;
}

#[tokio::test(start_paused = true)]
async fn modern_calls_at_one_modern_child_hear_each_what_was_logged_for_them() {
    each_call_hears_its_own(Era::Modern).await;
}
