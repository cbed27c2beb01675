//! A fake MCP server of the modern era: as strict as the specification, over streamable HTTP, and writing down everything
//! that it received.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::post;
use futures_util::{StreamExt as _, stream};
use mcp_registry_gateway::tasks::Tasks;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::ledger::{Entry, Ledger};
use super::tools::{definition, notification, response, text};

const VERSION: &str = "2026-07-28";
const META: &str = "io.modelcontextprotocol";

/// A fake server on a port of this machine; it ends, connections and all, when it is dropped.
#[derive(Debug)]
pub struct Modern {
    address: SocketAddr,
    served: Arc<Served>,
    tasks: Tasks,
}

#[derive(Debug)]
struct Served {
    ledger: Ledger,
    news: broadcast::Sender<Value>,
    listening: AtomicUsize,
    cancelled: AtomicUsize,
    /// Speaks legacy from now on, badly: every modern request is answered as one that lacks a session.
    downgraded: AtomicBool,
    /// Answers as a legacy server whatever does not say that it is modern.
    also_legacy: AtomicBool,
    cut: std::sync::Mutex<CancellationToken>,
}

impl Modern {
    /// Starts a server on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let served = Arc::new(Served {
            ledger: Ledger::default(),
            news: broadcast::channel(64).0,
            listening: AtomicUsize::new(0),
            cancelled: AtomicUsize::new(0),
            downgraded: AtomicBool::new(false),
            also_legacy: AtomicBool::new(false),
            cut: std::sync::Mutex::default(),
        });
        let tasks = Tasks::default();
        let router = Router::new().route("/mcp", post(answer)).with_state(Arc::clone(&served));
        tasks.spawn(async move { drop(axum::serve(listener, router).await) });
        Self { address, served, tasks }
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// What was received.
    pub fn ledger(&self) -> &Ledger {
        &self.served.ledger
    }

    /// Streams of `subscriptions/listen` that are open.
    pub fn listening(&self) -> usize {
        self.served.listening.load(Ordering::SeqCst)
    }

    /// Answers whose reader left before they were complete.
    pub fn cancelled(&self) -> usize {
        self.served.cancelled.load(Ordering::SeqCst)
    }

    /// Tells every stream that asked for it.
    pub fn notify(&self, method: &str, params: &Value) {
        // Nobody may listen.
        let _ = self.served.news.send(notification(method, params));
    }

    /// Cuts every stream of `subscriptions/listen`.
    pub fn cut(&self) {
        let mut cut = self.served.cut.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        std::mem::take(&mut *cut).cancel();
    }

    /// Speaks only legacy from now on, or modern again.
    pub fn downgrade(&self, downgraded: bool) {
        self.served.downgraded.store(downgraded, Ordering::SeqCst);
    }

    /// Speaks both eras from now on: each client is answered in its own.
    pub fn speak_both(&self) {
        self.served.also_legacy.store(true, Ordering::SeqCst);
    }
}

impl Drop for Modern {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

async fn answer(State(served): State<Arc<Served>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let named = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let entry = Entry {
        via: "POST".into(),
        session: headers.contains_key("mcp-session-id").then(|| named("mcp-session-id").to_owned()),
        method: message["method"].as_str().map(str::to_owned),
        id: message.get("id").cloned(),
        params: message["params"].clone(),
        headers: headers
            .keys()
            .map(|name| (name.to_string(), named(name.as_str()).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        executed: true,
    };
    served.ledger.record(entry);
    let is_legacy = served.also_legacy.load(Ordering::SeqCst) && named("mcp-protocol-version") != VERSION;
    if is_legacy || served.downgraded.load(Ordering::SeqCst) {
        return legacy(&message);
    }
    let (method, params) = (message["method"].as_str().unwrap_or_default(), &message["params"]);
    let wrong = |code: i32, text: &str, data: Value| {
        error(StatusCode::BAD_REQUEST, &message["id"], code, text, &data)
    };
    if named("mcp-protocol-version") != VERSION {
        let data = json!({ "supported": [VERSION], "requested": named("mcp-protocol-version") });
        return wrong(-32022, "unsupported protocol version", data);
    }
    if params["_meta"][format!("{META}/protocolVersion")] != VERSION
        || !params["_meta"][format!("{META}/clientCapabilities")].is_object()
    {
        return wrong(-32602, "_meta is not complete", Value::Null);
    }
    let name = match method {
        "tools/call" | "prompts/get" => params["name"].as_str(),
        "resources/read" => params["uri"].as_str(),
        _ => None,
    };
    let region = params["arguments"]["region"].as_str();
    if named("mcp-method") != method
        || name.is_some_and(|name| named("mcp-name") != name)
        || region.is_some_and(|region| named("mcp-param-region") != region)
    {
        return wrong(-32020, "headers and body differ", Value::Null);
    }
    carry_out(&served, &message)
}

fn carry_out(served: &Arc<Served>, message: &Value) -> Response<Body> {
    let (id, params) = (&message["id"], &message["params"]);
    let done = |mut result: Value| {
        result["resultType"] = "complete".into();
        json_response(StatusCode::OK, &response(id, &result))
    };
    match message["method"].as_str().unwrap_or_default() {
        "server/discover" => done(json!({
            "supportedVersions": [VERSION], "ttlMs": 60_000, "cacheScope": "public", "instructions": "be modern",
            "capabilities": { "tools": { "listChanged": true }, "resources": { "subscribe": true }, "logging": {} },
            "_meta": { (format!("{META}/serverInfo")): { "name": "modern", "version": "2" } },
        })),
        "tools/list" => {
            // Two pages, so that the second is asked for.
            let (names, cursor) = match params["cursor"].as_str() {
                None => (["echo", "ask"], Some("more")),
                Some(_) => (["stream", "sleep"], None),
            };
            let mut tools: Vec<Value> = names.iter().map(|name| definition(name, "a tool")).collect();
            tools[0]["inputSchema"]["properties"]["region"] =
                json!({ "type": "string", "x-mcp-header": "Region" });
            let mut result = json!({ "tools": tools, "ttlMs": 30_000, "cacheScope": "private" });
            if let Some(cursor) = cursor {
                result["nextCursor"] = cursor.into();
            }
            done(result)
        }
        "resources/list" => done(
            json!({ "resources": [{ "uri": "test://a", "name": "a" }], "ttlMs": 0, "cacheScope": "public" }),
        ),
        "resources/templates/list" => {
            done(json!({ "resourceTemplates": [], "ttlMs": 0, "cacheScope": "public" }))
        }
        "resources/read" if params["uri"] == "test://a" => done(
            json!({ "contents": [{ "uri": "test://a", "text": "A" }], "ttlMs": 9, "cacheScope": "public" }),
        ),
        "resources/read" => {
            let data = json!({ "uri": params["uri"] });
            error(StatusCode::OK, id, -32602, "no such resource", &data)
        }
        "tools/call" => call(served, message, done),
        "subscriptions/listen" => listen(served, message),
        _ => error(StatusCode::NOT_FOUND, id, -32601, "no such method", &Value::Null),
    }
}

fn call(served: &Arc<Served>, message: &Value, done: impl Fn(Value) -> Response<Body>) -> Response<Body> {
    let (id, params) = (&message["id"], &message["params"]);
    let said = params["arguments"]["text"].as_str().unwrap_or_default();
    match params["name"].as_str().unwrap_or_default() {
        "echo" => done(text(said)),
        "ask" => ask(message, done),
        "stream" => {
            let token = &params["_meta"]["progressToken"];
            let mut events = Vec::new();
            if !token.is_null() {
                let told = json!({ "progressToken": token, "progress": 1 });
                events.push(notification("notifications/progress", &told));
            }
            if let Some(level) = params["_meta"][format!("{META}/logLevel")].as_str() {
                events.push(notification("notifications/message", &json!({ "level": level, "data": "log" })));
            }
            let mut result = text(said);
            result["resultType"] = "complete".into();
            events.push(response(id, &result));
            event_stream(stream::iter(events).boxed())
        }
        "sleep" => {
            let noticed = Noticed(Arc::clone(served));
            let first = notification("notifications/message", &json!({ "level": "info", "data": "begun" }));
            let rest = stream::once(async move {
                tokio::time::sleep(Duration::from_secs(60)).await;
                drop(noticed);
                Value::Null
            });
            event_stream(stream::iter([first]).chain(rest).boxed())
        }
        "capability" => {
            let data = json!({ "requiredCapabilities": { "sampling": {} } });
            error(StatusCode::BAD_REQUEST, id, -32021, "sampling is needed", &data)
        }
        _ => error(StatusCode::OK, id, -32602, "no such tool", &Value::Null),
    }
}

/// Two rounds of questions, then what was answered.
fn ask(message: &Value, done: impl Fn(Value) -> Response<Body>) -> Response<Body> {
    let params = &message["params"];
    let question = |method: &str, params: Value| json!({ "method": method, "params": params });
    let asks = |requests: Value, state: &str| {
        let result =
            json!({ "resultType": "input_required", "inputRequests": requests, "requestState": state });
        json_response(StatusCode::OK, &response(&message["id"], &result))
    };
    match params["requestState"].as_str() {
        None => asks(
            json!({
                "name": question("elicitation/create", json!({ "message": "Who?", "requestedSchema": {"type": "object"} })),
                "roots": { "method": "roots/list" },
            }),
            "one",
        ),
        Some("one") => {
            let name = params["inputResponses"]["name"]["content"]["name"].clone();
            let roots = params["inputResponses"]["roots"]["roots"].as_array().map_or(0, Vec::len);
            asks(
                json!({ "again": question("sampling/createMessage", json!({ "messages": [], "maxTokens": 1 })) }),
                &format!("two {} {roots}", name.as_str().unwrap_or("nobody")),
            )
        }
        Some(state) => done(text(&format!("{state} {}", params["inputResponses"]["again"]["model"]))),
    }
}

fn listen(served: &Arc<Served>, message: &Value) -> Response<Body> {
    let wanted = message["params"]["notifications"].clone();
    let id = message["id"].clone();
    let stamp = move |mut message: Value| {
        message["params"]["_meta"] = json!({ (format!("{META}/subscriptionId")): id });
        message
    };
    let acknowledged =
        stamp(notification("notifications/subscriptions/acknowledged", &json!({ "notifications": wanted })));
    let news = served.news.subscribe();
    served.listening.fetch_add(1, Ordering::SeqCst);
    let open = Listening(Arc::clone(served));
    let cut = served.cut.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    let state = (news, wanted, stamp, open);
    let news = stream::unfold(state, |(mut news, wanted, stamp, open)| async move {
        loop {
            let message = news.recv().await.ok()?;
            let fits = match message["method"].as_str().unwrap_or_default() {
                "notifications/tools/list_changed" => wanted["toolsListChanged"] == true,
                "notifications/resources/updated" => wanted["resourceSubscriptions"]
                    .as_array()
                    .is_some_and(|uris| uris.contains(&message["params"]["uri"])),
                _ => false,
            };
            if fits {
                return Some((stamp(message), (news, wanted, stamp, open)));
            }
        }
    });
    event_stream(stream::iter([acknowledged]).chain(news).take_until(cut.cancelled_owned()).boxed())
}

/// Counts a stream as long as it is open.
struct Listening(Arc<Served>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.listening.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Counts an answer that nobody waited for.
struct Noticed(Arc<Served>);

impl Drop for Noticed {
    fn drop(&mut self) {
        self.0.cancelled.fetch_add(1, Ordering::SeqCst);
    }
}

/// What a legacy server without sessions says.
fn legacy(message: &Value) -> Response<Body> {
    let (id, version) = (&message["id"], &message["params"]["protocolVersion"]);
    let result = match message["method"].as_str().unwrap_or_default() {
        "initialize" => {
            json!({ "protocolVersion": version, "capabilities": { "tools": {} }, "serverInfo": {"name": "old", "version": "1"} })
        }
        "notifications/initialized" => {
            return Response::builder().status(202).body(Body::empty()).expect("a response");
        }
        "tools/list" => json!({ "tools": [definition("echo", "an old tool")] }),
        "tools/call" => text("old"),
        "server/discover" => {
            return error(StatusCode::NOT_FOUND, id, -32601, "Method not found", &Value::Null);
        }
        _ => json!({}),
    };
    if message["params"]["_meta"].get(format!("{META}/protocolVersion")).is_some() {
        let data = json!({ "supported": ["2025-11-25"] });
        return error(StatusCode::BAD_REQUEST, id, -32022, "unsupported protocol version", &data);
    }
    json_response(StatusCode::OK, &response(id, &result))
}

fn error(status: StatusCode, id: &Value, code: i32, message: &str, data: &Value) -> Response<Body> {
    let error = json!({ "code": code, "message": message, "data": data });
    json_response(status, &json!({ "jsonrpc": "2.0", "id": id, "error": error }))
}

fn json_response(status: StatusCode, message: &Value) -> Response<Body> {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Body::from(message.to_string())).expect("a response")
}

fn event_stream(messages: stream::BoxStream<'static, Value>) -> Response<Body> {
    let events = messages.map(|message| Ok::<_, std::io::Error>(format!("data: {message}\n\n")));
    let response = Response::builder().header("content-type", "text/event-stream");
    response.body(Body::from_stream(events)).expect("a response")
}
