//! The transports besides streamable HTTP: WebSocket and HTTP+SSE to servers, HTTP+SSE and standard input and output to
//! clients.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use mcp_registry_gateway_tests::clock::{Stopwatch, eventually};
use mcp_registry_gateway_tests::fake::{Act, Fake};
use mcp_registry_gateway_tests::http::{Http, Reply};
use mcp_registry_gateway_tests::process::{Gateway, Options, Piped, marked};
use serde_json::{Value, json};

use crate::{FAKE, one};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_server_over_websocket_answers_asks_and_tells_of_progress() {
    let (gateway, fake) = (Gateway::start().await, Fake::start_websocket("socket").await);
    gateway.adopt("socket", "socket", &fake.websocket_url()).await;
    let http = Http::new(gateway.address());
    let capabilities = json!({ "sampling": {} });
    let client = mcp_registry_gateway_tests::mcp::Client::connect_with(&http, "/mcp/socket", capabilities);
    let client = client.await.expect("a session");
    assert_eq!(client.call("echo", json!({ "text": "t" })).await.expect("an answer").text(), "t");
    let params = json!({ "name": "progress", "arguments": { "n": 3 }, "_meta": { "progressToken": "p" } });
    let answer = client.request("tools/call", params).await.expect("an answer");
    assert_eq!(answer.before.iter().filter(|message| message["params"]["progressToken"] == "p").count(), 3);
}

/// F-10: a call that may have been executed is not sent again.
#[tokio::test]
async fn a_websocket_that_breaks_is_opened_again_and_a_call_is_not_delivered_twice() {
    let (gateway, mut fake) = (Gateway::start().await, Fake::start_websocket("socket").await);
    gateway.adopt("socket", "socket", &fake.websocket_url()).await;
    let client = gateway.client("/mcp/socket").await;
    fake.script().next("tools/call", 1, Act::ResetAfter);
    let answer = client.call("echo", json!({ "text": "once" })).await.expect("an answer");
    assert_eq!(answer.response["error"]["data"]["outcome"], "unknown", "{answer:?}");
    assert_eq!(fake.ledger().deliveries("once"), 1);
    assert_eq!(client.call("echo", json!({ "text": "next" })).await.expect("an answer").text(), "next");
    fake.stop().await;
    let answer = client.call("echo", json!({ "text": "gone" })).await.expect("an answer");
    assert!(!answer.is_result(), "{answer:?}");
}

/// A stream of HTTP+SSE, and where to post.
struct Old {
    http: Http,
    stream: Reply,
    endpoint: String,
}

impl Old {
    async fn open(gateway: &Gateway, path: &str) -> Self {
        let http = gateway.http().clone();
        let stream = http.send(Method::GET, path, &[("accept", "text/event-stream")], Bytes::new());
        let mut stream = stream.await.expect("a stream");
        assert!(stream.is_stream(), "{}", stream.status);
        let endpoint = stream.next_data().await.expect("an event").expect("a first event");
        Self { http, stream, endpoint }
    }

    async fn post(&self, message: &Value) -> u16 {
        let headers = [("content-type", "application/json")];
        let body = Bytes::from(message.to_string());
        self.http.send(Method::POST, &self.endpoint, &headers, body).await.expect("an answer").status
    }

    async fn request(&mut self, id: u64, method: &str, params: Value) -> Value {
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        assert_eq!(self.post(&message).await, 202);
        loop {
            let message = self.stream.next().await.expect("an event").expect("an answer");
            if message.get("method").is_none() {
                assert_eq!(message["id"], id);
                return message;
            }
        }
    }
}

fn hello() -> Value {
    json!({ "protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": { "name": "old", "version": "1" } })
}

/// A gateway that serves HTTP+SSE, with one fake server, and a second server of a name of its own.
async fn old_gateway() -> (Gateway, Fake) {
    let env = vec![("MREG_SERVER__SSE", "true".to_owned())];
    let gateway = Gateway::start_with(Options { env, ..Options::default() }).await;
    let fake = Fake::start("one").await;
    gateway.adopt("one", "one", &fake.url()).await;
    (gateway, fake)
}

#[tokio::test]
async fn an_old_client_is_served_on_its_stream_until_it_leaves() {
    let (gateway, _fake) = old_gateway().await;
    for (path, tool) in [("/sse", "one__echo"), ("/sse/one", "echo")] {
        let mut old = Old::open(&gateway, path).await;
        let opened = old.request(1, "initialize", hello()).await;
        assert_eq!(opened["result"]["protocolVersion"], "2024-11-05");
        assert_eq!(old.post(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await, 202);
        let answer =
            old.request(2, "tools/call", json!({ "name": tool, "arguments": { "text": "t" } })).await;
        assert_eq!(answer.pointer("/result/content/0/text"), Some(&json!("t")), "{answer}");
        let unknown = old.request(3, "tools/call", json!({ "name": "no__such" })).await;
        assert!(unknown.get("error").is_some(), "{unknown}");
        drop(old);
        let none = async || {
            let (_, stats) = gateway.http().get("/api/v1/admin/stats").await.ok()?;
            (stats["sessions"] == 0).then_some(())
        };
        eventually("the end of the session", PATIENCE, none).await;
    }
}

#[tokio::test]
async fn streams_of_the_old_transport_are_off_by_default_and_belong_to_who_opened_them() {
    let (gateway, _fake, _) = one().await;
    let (status, _) = gateway.http().get("/sse").await.expect("an answer");
    assert_eq!(status, 404);
    let (gateway, _fake) = old_gateway().await;
    let headers = [("content-type", "application/json")];
    let send = |method, path: String, headers: Vec<(&'static str, &'static str)>, body: &'static str| {
        let http = gateway.http().clone();
        async move {
            http.send(method, &path, &headers, Bytes::from_static(body.as_bytes()))
                .await
                .expect("an answer")
                .status
        }
    };
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    assert_eq!(send(Method::POST, "/messages?session_id=0".into(), headers.to_vec(), ping).await, 404);
    assert_eq!(send(Method::POST, "/messages".into(), headers.to_vec(), ping).await, 404);
    assert_eq!(
        send(Method::POST, "/sse".into(), headers.to_vec(), ping).await,
        405,
        "a new client falls back"
    );
    assert_eq!(send(Method::GET, "/sse/no__such".into(), vec![], "").await, 404);
    let foreign = vec![("origin", "https://evil.example.com")];
    assert_eq!(send(Method::GET, "/sse".into(), foreign, "").await, 403);
    let old = Old::open(&gateway, "/sse").await;
    assert_eq!(
        send(Method::POST, old.endpoint.clone(), vec![("content-type", "text/plain")], ping).await,
        415
    );
    assert_eq!(send(Method::POST, old.endpoint.clone(), headers.to_vec(), "{").await, 400);
    gateway.terminate();
}

#[tokio::test]
async fn a_gateway_stands_behind_a_gateway_over_the_old_transport() {
    let (inner, fake) = old_gateway().await;
    let outer = Gateway::start().await;
    let url = format!("http://{}/sse/one", inner.address());
    let server = json!({ "name": "inner", "endpoint_url": url, "transport_type": "sse" });
    let id = outer.register(&server).await["id"].as_str().expect("an id").to_owned();
    outer.offers(&id, "echo").await;
    let client = outer.client("/mcp/inner").await;
    assert_eq!(
        client.call("echo", json!({ "text": "through both" })).await.expect("an answer").text(),
        "through both"
    );
    let before = fake.ledger().count("tools/call");
    let calls = (0..20).map(|n| {
        let client = &client;
        async move {
            client.call("echo", json!({ "text": n.to_string() })).await.expect("an answer").text()
                == n.to_string()
        }
    });
    assert!(futures_util::future::join_all(calls).await.into_iter().all(|same| same));
    assert_eq!(fake.ledger().count("tools/call"), before + 20);
}

fn fake_option(name: &str, mark: &str) -> String {
    format!("{name}={FAKE} --name {name} --mark {mark}")
}

#[tokio::test]
async fn one_client_is_served_on_standard_input_and_output() {
    let (server, mark) = (fake_option("files", "piped-serves"), "piped-serves");
    let mut piped = Piped::open(&["--server", &server], json!({ "sampling": {} })).await;
    let listed = piped.request(1, "tools/list", json!({})).await;
    assert!(listed.to_string().contains("\"files__echo\""), "{listed}");
    // Side by side: the slow one is asked first and answered last.
    piped.call(2, "files__sleep", json!({ "ms": 1500 })).await;
    piped.call(3, "files__progress", json!({ "n": 2 })).await;
    let mut heard = Vec::new();
    while heard.last().is_none_or(|message: &Value| message["id"] != 2) {
        heard.push(piped.hear().await);
    }
    let methods = heard.iter().filter_map(|message| message["method"].as_str()).collect::<Vec<_>>();
    assert_eq!(methods.iter().filter(|method| **method == "notifications/progress").count(), 2, "{heard:?}");
    assert!(methods.contains(&"notifications/message"), "{heard:?}");
    assert!(heard.iter().any(|message| message["id"] == 3), "{heard:?}");
    // The server asks, the client answers.
    piped
        .call(4, "files__ask", json!({ "method": "sampling/createMessage", "params": { "maxTokens": 1 } }))
        .await;
    let mut question = piped.hear().await;
    while question.get("id").is_none() {
        question = piped.hear().await;
    }
    assert_eq!(question["method"], "sampling/createMessage", "{question}");
    piped.say(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "said": "forty-two" } })).await;
    let answer = piped.answer().await;
    assert!(answer["id"] == 4 && answer.to_string().contains("forty-two"), "{answer}");
    // A cancelled call is answered by nobody.
    piped.call(5, "files__sleep", json!({ "ms": 60_000 })).await;
    piped
        .say(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 5 } }))
        .await;
    assert_eq!(piped.request(6, "ping", json!({})).await["id"], 6);
    piped.close();
    assert_eq!(piped.answer().await, Value::Null, "nothing is said of the cancelled call");
    assert!(piped.ended().await.success());
    eventually("the end of the children", PATIENCE, async || marked(mark, None).is_empty().then_some(()))
        .await;
}

#[tokio::test]
async fn standard_output_carries_messages_only_and_bad_lines_are_answered() {
    let server = fake_option("files", "piped-lines");
    let mut piped =
        Piped::open(&["--server", &server, "--service", "files", "--log-level", "debug"], json!({})).await;
    piped.write(b"{\"jsonrpc\":").await;
    assert_eq!(piped.answer().await["error"]["code"], -32700);
    piped.write(b"[]").await;
    assert_eq!(piped.answer().await["error"]["code"], -32600);
    piped.write(b"").await;
    piped.write(&vec![b'x'; 5 * 1024 * 1024]).await;
    let refused = piped.answer().await;
    assert_eq!(refused["error"]["data"]["limit_bytes"], "4194304", "{refused}");
    let text = "y".repeat(3 * 1024 * 1024);
    let answer =
        piped.request(2, "tools/call", json!({ "name": "echo", "arguments": { "text": text } })).await;
    assert_eq!(
        answer.pointer("/result/content/0/text").and_then(Value::as_str).map(str::len),
        Some(text.len())
    );
    assert!(piped.log().contains("DEBUG"), "log lines go to standard error");
}

#[tokio::test]
async fn what_was_asked_before_the_end_of_input_is_answered_and_a_signal_cuts_it() {
    let server = fake_option("files", "piped-drains");
    let args = ["--server", server.as_str(), "--service", "files"];
    let mut piped = Piped::open(&args, json!({})).await;
    piped.call(1, "sleep", json!({ "ms": 1000 })).await;
    piped.close();
    assert_eq!(piped.answer().await["id"], 1);
    assert_eq!(piped.answer().await, Value::Null);
    assert!(piped.ended().await.success());

    let mut piped = Piped::open(&args, json!({})).await;
    piped.call(1, "sleep", json!({ "ms": 60_000 })).await;
    assert_eq!(piped.request(2, "ping", json!({})).await["id"], 2);
    let watch = Stopwatch::start();
    piped.terminate();
    assert!(piped.ended().await.success(), "{}", piped.log());
    assert!(watch.elapsed() < Duration::from_secs(10), "{:?}", watch.elapsed());
    eventually("the end of the children", PATIENCE, async || {
        marked("piped-drains", None).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn it_serves_what_is_registered_and_writes_nothing_to_the_register() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { data: Some(folder.path().to_owned()), ..Options::default() };
    let (gateway, fake) = (Gateway::start_with(options).await, Fake::start("one").await);
    gateway.adopt("one", "one", &fake.url()).await;
    let data = folder.path().display().to_string();
    let server = fake_option("more", "piped-copies");
    let mut piped = Piped::open(&["--data-dir", &data, "--server", &server], json!({})).await;
    let listed = piped.request(1, "tools/list", json!({})).await.to_string();
    assert!(listed.contains("\"one__echo\"") && listed.contains("\"more__echo\""), "{listed}");
    piped.close();
    assert!(piped.ended().await.success());
    let (_, servers) = gateway.http().get("/api/v1/servers").await.expect("a list");
    assert_eq!(servers["total"], 1, "the running gateway has what was registered there: {servers}");
}
