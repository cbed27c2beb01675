//! A server in memory whose every step a test decides, and a gateway with such servers.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt as _};
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::auth::Credentials;
use crate::clock::ManualClock;
use crate::error::{Error, ErrorKind};
use crate::gateway::*;
use crate::limit;
use crate::model::{Action, Call, Endpoint, Principal, Registration, Reply, TenantId};
use crate::rpc::{Message, Shape};
use crate::store::MemoryStore;
use crate::transport::{Exchange, Link, Outgoing};

/// The name by which a test holds the opening of a stream outside any exchange.
pub(super) const STREAM: &str = "the stream";

type Said = mpsc::UnboundedReceiver<Value>;

/// A server: the messages that it got, and its behaviour.
#[derive(Debug, Default)]
pub(super) struct Fake {
    pub(super) opened: AtomicUsize,
    pub(super) closed: AtomicUsize,
    /// Everything that arrived, with the number of the link.
    sent: Mutex<Vec<(usize, Value)>>,
    tools: Mutex<Vec<String>>,
    resources: Mutex<Vec<String>>,
    /// `tools/list`s that arrived or failed to, and whether three of ten fail.
    pub(super) lists: AtomicUsize,
    pub(super) unsteady: AtomicBool,
    /// Methods that are not answered.
    held: watch::Sender<HashSet<&'static str>>,
    /// The answers to the next `tools/call`s, message by message.
    scripts: Mutex<VecDeque<Said>>,
    streams: Mutex<HashMap<usize, Streams>>,
}

/// The streams of one link outside any exchange: where to write, and those that were not taken yet.
#[derive(Debug)]
struct Streams {
    writer: Option<mpsc::UnboundedSender<Value>>,
    ready: Option<Said>,
    listened: usize,
}

impl Fake {
    pub(super) fn new(tools: &[&str]) -> Arc<Self> {
        let fake = Self::default();
        fake.set_tools(tools);
        Arc::new(fake)
    }

    pub(super) fn set_tools(&self, tools: &[&str]) {
        *self.tools.lock().unwrap() = tools.iter().map(ToString::to_string).collect();
    }

    pub(super) fn set_resources(&self, uris: &[&str]) {
        *self.resources.lock().unwrap() = uris.iter().map(ToString::to_string).collect();
    }

    pub(super) fn hold(&self, method: &'static str) {
        self.held.send_modify(|held| _ = held.insert(method));
    }

    pub(super) fn release(&self, method: &'static str) {
        self.held.send_modify(|held| _ = held.remove(method));
    }

    /// The answer to the next `tools/call`; `{}` in the place of an id is the id of the request.
    pub(super) fn script(&self) -> mpsc::UnboundedSender<Value> {
        let (sender, said) = mpsc::unbounded_channel();
        self.scripts.lock().unwrap().push_back(said);
        sender
    }

    /// How often `method` arrived.
    pub(super) fn count(&self, method: &str) -> usize {
        self.received(method).len()
    }

    /// The messages of this method that arrived, with the number of the link.
    pub(super) fn received(&self, method: &str) -> Vec<(usize, Value)> {
        let sent = self.sent.lock().unwrap();
        sent.iter().filter(|(_, message)| message["method"] == method).cloned().collect()
    }

    /// The answers to the server's own questions.
    pub(super) fn answers(&self) -> Vec<Value> {
        let sent = self.sent.lock().unwrap();
        sent.iter()
            .filter(|(_, message)| message.get("method").is_none())
            .map(|(_, message)| message.clone())
            .collect()
    }

    /// Sends a message on the stream of a link; returns whether there is one.
    pub(super) fn say(&self, link: usize, message: Value) -> bool {
        let streams = self.streams.lock().unwrap();
        streams
            .get(&link)
            .and_then(|streams| streams.writer.as_ref())
            .is_some_and(|writer| writer.send(message).is_ok())
    }

    /// Ends the stream of a link; the next one can be opened.
    pub(super) fn end_stream(&self, link: usize) {
        let mut streams = self.streams.lock().unwrap();
        let streams = streams.get_mut(&link).unwrap();
        let (writer, ready) = mpsc::unbounded_channel();
        (streams.writer, streams.ready) = (Some(writer), Some(ready));
    }

    /// How often the stream of a link was opened.
    pub(super) fn listened(&self, link: usize) -> usize {
        self.streams.lock().unwrap().get(&link).map_or(0, |streams| streams.listened)
    }

    pub(super) fn open_sessions(&self) -> usize {
        self.opened.load(Ordering::SeqCst) - self.closed.load(Ordering::SeqCst)
    }

    fn result(&self, message: &Message) -> Value {
        match message.method().map_or("", |method| method.as_str()) {
            "initialize" => json!({
                "protocolVersion": "2025-11-25", "serverInfo": { "name": "fake", "version": "1" },
                "capabilities": { "tools": { "listChanged": true }, "resources": {}, "logging": {}, "tasks": {} },
            }),
            "tools/list" => {
                let tools = self.tools.lock().unwrap();
                let tools: Vec<_> = tools
                    .iter()
                    .map(|name| json!({ "name": name, "inputSchema": { "type": "object" } }))
                    .collect();
                json!({ "tools": tools })
            }
            "resources/list" => {
                let uris = self.resources.lock().unwrap();
                let resources: Vec<_> = uris.iter().map(|uri| json!({ "uri": uri, "name": uri })).collect();
                json!({ "resources": resources })
            }
            "tasks/list" => json!({ "tasks": [{ "taskId": "t1" }, { "taskId": "t2" }, { "taskId": "t3" }] }),
            "resources/templates/list" => json!({ "resourceTemplates": [] }),
            _ => json!({ "content": [] }),
        }
    }
}

#[derive(Debug)]
struct To(Arc<Fake>);

#[async_trait]
impl Connector for To {
    async fn connect(&self, _own: bool) -> Result<Arc<dyn Link>> {
        let number = self.0.opened.fetch_add(1, Ordering::SeqCst);
        let (writer, ready) = mpsc::unbounded_channel();
        let streams = Streams { writer: Some(writer), ready: Some(ready), listened: 0 };
        self.0.streams.lock().unwrap().insert(number, streams);
        Ok(Arc::new(Wire { fake: Arc::clone(&self.0), number, open: AtomicBool::new(true) }))
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }

    fn is_duplex(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct Wire {
    fake: Arc<Fake>,
    number: usize,
    open: AtomicBool,
}

impl Wire {
    /// Takes a message; returns when its method is not held.
    async fn take(&self, body: &Bytes) -> Result<Message> {
        if !self.is_open() {
            return Err(Error::new(ErrorKind::Unavailable, "the connection was closed").not_sent());
        }
        let message = Message::parse(body.clone())?;
        let json = serde_json::from_slice(body).unwrap();
        self.fake.sent.lock().unwrap().push((self.number, json));
        let method = message.method().map_or("response", |method| method.as_str()).to_owned();
        let mut held = self.fake.held.subscribe();
        held.wait_for(|held| !held.contains(&*method)).await.unwrap();
        Ok(message)
    }
}

#[async_trait]
impl Link for Wire {
    async fn request(&self, outgoing: Outgoing) -> Result<Exchange> {
        if self.fake.unsteady.load(Ordering::SeqCst) && outgoing.method.as_str() == "tools/list" {
            let turn = self.fake.lists.fetch_add(1, Ordering::SeqCst) % 10;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            if matches!(turn, 0 | 3 | 6) {
                return Err(Error::new(ErrorKind::Unavailable, "no connection").not_sent());
            }
        }
        let message = self.take(&outgoing.body).await?;
        let id = outgoing.id;
        let parse = move |mut said: Value| {
            if said.get("id") == Some(&json!({})) {
                said["id"] = id.into();
            }
            Message::parse(said.to_string().into())
        };
        let script = || self.fake.scripts.lock().unwrap().pop_front();
        if let Some(said) =
            Some(()).filter(|()| outgoing.method.as_str() == "tools/call").and_then(|()| script())
        {
            let said =
                futures_util::stream::unfold(said, |mut said| async { Some((said.recv().await?, said)) });
            return Ok(Exchange::Many(said.map(parse).boxed()));
        }
        let answer = json!({ "jsonrpc": "2.0", "id": id, "result": self.fake.result(&message) });
        Ok(Exchange::One(parse(answer)?))
    }

    async fn notify(&self, message: Bytes) -> Result<()> {
        self.take(&message).await.map(drop)
    }

    async fn listen(&self) -> Option<BoxStream<'static, Message>> {
        let mut held = self.fake.held.subscribe();
        held.wait_for(|held| !held.contains(STREAM)).await.unwrap();
        let ready = {
            let mut all = self.fake.streams.lock().unwrap();
            let streams = all.get_mut(&self.number)?;
            let ready = streams.ready.take()?;
            streams.listened += 1;
            ready
        };
        let said = futures_util::stream::unfold(ready, |mut said| async { Some((said.recv().await?, said)) });
        Some(said.map(|said| Message::parse(said.to_string().into()).unwrap()).boxed())
    }

    fn set_version(&self, _version: &str) {}

    fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    async fn close(&self) {
        if self.open.swap(false, Ordering::SeqCst) {
            self.fake.closed.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// A gateway whose servers are the fakes at their URLs.
pub(super) struct House {
    pub(super) gateway: Gateway,
    pub(super) store: Arc<MemoryStore>,
    pub(super) clock: Arc<ManualClock>,
    fakes: Arc<Mutex<HashMap<String, Arc<Fake>>>>,
}

pub(super) fn caller() -> Caller {
    Caller::new(Principal::local(TenantId::default_tenant()))
}

pub(super) fn url(name: &str) -> String {
    format!("http://127.0.0.1:9/{name}")
}

impl House {
    pub(super) async fn open() -> Self {
        Self::limited(limit::Settings::default()).await
    }

    /// One with these limits.
    pub(super) async fn limited(limits: limit::Settings) -> Self {
        Self::on(Arc::default(), Arc::default(), Settings { limits, ..Settings::default() }).await
    }

    /// One that is a replica of `cluster`, and probes.
    pub(super) async fn within(cluster: Cluster) -> Self {
        let settings = Settings { cluster: Some(cluster), probing: true, ..Settings::default() };
        Self::on(Arc::default(), Arc::default(), settings).await
    }

    /// The same servers and the same store, as another process finds them.
    pub(super) async fn opened_again(&self) -> Self {
        Self::on(Arc::clone(&self.store), Arc::clone(&self.fakes), Settings::default()).await
    }

    async fn on(
        store: Arc<MemoryStore>,
        fakes: Arc<Mutex<HashMap<String, Arc<Fake>>>>,
        settings: Settings,
    ) -> Self {
        let known = Arc::clone(&fakes);
        let connect: Connect = Box::new(move |server| {
            let fake = known.lock().unwrap().get(server.endpoint.url().unwrap()).cloned();
            let fake = fake.ok_or_else(|| Error::new(ErrorKind::InvalidParams, "there is no such fake"))?;
            Ok(Arc::new(To(fake)))
        });
        let probing = settings.probing && settings.cluster.is_some();
        let settings = Settings { probing, seed: Some(1), ..settings };
        let clock = ManualClock::shared();
        let by = Arc::clone(&clock) as Arc<dyn Clock>;
        let (random, tasks) = (Arc::new(Random::seeded(1)), Tasks::default());
        let kept = Arc::clone(&store);
        let gateway =
            Gateway::open_with(settings, store, by, random, tasks, Arc::default(), connect).await.unwrap();
        Self { gateway, store: kept, clock, fakes }
    }

    /// Puts a server at the URL of this name.
    pub(super) fn replica(&self, name: &str, fake: &Arc<Fake>) {
        self.fakes.lock().unwrap().insert(url(name), Arc::clone(fake));
    }

    /// Registers a server and waits until the gateway knows its capabilities.
    pub(super) async fn add(&self, name: &str, service: &str, fake: &Arc<Fake>) -> Arc<Server> {
        let server = self.register(name, service, fake).await;
        self.gateway.discover(&caller(), server.id).await.unwrap();
        until("a shared session", || self.gateway.0.replica(server.id)?.upstream.shared_session()).await;
        server
    }

    /// Registers a server.
    pub(super) async fn register(&self, name: &str, service: &str, fake: &Arc<Fake>) -> Arc<Server> {
        self.replica(name, fake);
        let registration = Registration {
            name: name.into(),
            service: Some(service.into()),
            endpoint_url: Some(url(name)),
            ..Registration::default()
        };
        self.gateway.register(&caller(), registration).await.unwrap()
    }

    /// The messages that answer a modern request, the response as the last.
    pub(super) async fn modern(
        &self,
        principal: &Principal,
        route: &str,
        method: &str,
        params: Value,
    ) -> Vec<Value> {
        let mut params = params;
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let call = Call {
            route: route_of(route),
            action: Action::Send(Message::parse(body.to_string().into()).unwrap()),
            era: crate::rpc::version::Era::Modern,
            session: None,
            headers: HeaderMap::new(),
            correlation_id: "test".into(),
            streams: true,
            resumes: false,
            hints: None,
            builtin: true,
            over_network: false,
        };
        heard(self.gateway.handle(call, &Credentials::Embedded(principal.clone())).await, &json!(1)).await
    }

    /// The client's side of a new session.
    pub(super) async fn client(&self, route: &str, capabilities: Value) -> Client {
        self.client_of(caller().principal, route, capabilities).await
    }

    /// The same for a principal.
    pub(super) async fn client_of(&self, principal: Principal, route: &str, capabilities: Value) -> Client {
        let route = route_of(route);
        let params = json!({
            "protocolVersion": "2025-11-25", "capabilities": capabilities,
            "clientInfo": { "name": "test", "version": "1" },
        });
        let body = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params });
        let mut client = Client { gateway: self.gateway.clone(), route, session: None, principal };
        let Reply::Message { session, .. } = client.send(body).await.unwrap() else { panic!("a message") };
        client.session = session;
        client
    }
}

fn route_of(name: &str) -> Endpoint {
    match name {
        "" => Endpoint::all(),
        name => Endpoint::of(name.parse().unwrap()),
    }
}

/// All messages of a reply, or its error with its code.
async fn heard(reply: Result<Reply>, id: &Value) -> Vec<Value> {
    match reply {
        Ok(Reply::Message { body, .. } | Reply::Refused { body, .. }) => {
            vec![serde_json::from_slice(&body).unwrap()]
        }
        Ok(Reply::Stream { messages, .. }) => {
            messages.map(|message| serde_json::from_slice(&message).unwrap()).collect().await
        }
        Ok(Reply::Accepted) => panic!("an answer"),
        Err(error) => {
            vec![json!({ "id": id, "error": error.to_string(), "code": error.kind().row().rpc })]
        }
    }
}

#[derive(Clone)]
pub(super) struct Client {
    gateway: Gateway,
    route: Endpoint,
    pub(super) session: Option<Arc<str>>,
    principal: Principal,
}

impl Client {
    pub(super) async fn act(&self, action: Action) -> Result<Reply> {
        let call = Call {
            route: self.route.clone(),
            action,
            era: crate::rpc::version::Era::Legacy,
            session: self.session.as_deref().map(str::to_owned),
            headers: HeaderMap::new(),
            correlation_id: "test".into(),
            streams: true,
            resumes: false,
            hints: None,
            builtin: true,
            over_network: false,
        };
        self.gateway.handle(call, &Credentials::Embedded(self.principal.clone())).await
    }

    pub(super) async fn send(&self, message: Value) -> Result<Reply> {
        self.act(Action::Send(Message::parse(message.to_string().into()).unwrap())).await
    }

    /// Sends a request and returns the messages until the response, that included.
    pub(super) async fn request(&self, id: u64, method: &str, params: Value) -> Vec<Value> {
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        heard(self.send(body).await, &json!(id)).await
    }

    pub(super) async fn call(&self, tool: &str) -> Vec<Value> {
        self.request(7, "tools/call", json!({ "name": tool, "arguments": {} })).await
    }

    pub(super) async fn notify(&self, method: &str, params: Value) {
        self.send(json!({ "jsonrpc": "2.0", "method": method, "params": params })).await.unwrap();
    }

    /// Opens the client's own stream.
    pub(super) async fn listen(&self) -> BoxStream<'static, Value> {
        let Reply::Stream { messages, .. } = self.act(Action::Listen).await.unwrap() else {
            panic!("a stream")
        };
        messages.map(|message| serde_json::from_slice(&message).unwrap()).boxed()
    }
}

/// Waits, in paused time, until there is something.
pub(super) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..100_000 {
        if let Some(found) = look() {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    panic!("no {what}");
}

/// The messages of a stream so far.
pub(super) async fn read(stream: &mut BoxStream<'static, Value>) -> Vec<Value> {
    use futures_util::FutureExt as _;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    std::iter::from_fn(|| stream.next().now_or_never().flatten()).collect()
}

pub(super) fn is_question(message: &Value) -> bool {
    Message::parse(message.to_string().into()).unwrap().shape() == Shape::Request
}
