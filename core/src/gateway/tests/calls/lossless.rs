//! The gateway passes messages on byte for byte, but for the changes that the eras demand: generated messages through all four
//! pairs, over both routes, requests and answers alike.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::HeaderMap;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::super::fake::caller;
use crate::auth::Credentials;
use crate::clock::SystemClock;
use crate::gateway::*;
use crate::model::{Action, Call, Endpoint, Registration, Reply};
use crate::rpc::generated::{json_text, members, object};
use crate::rpc::version::Era;
use crate::rpc::{Members, Message, Shape};
use crate::store::MemoryStore;
use crate::transport::memory::{Handler, MemoryConnector, Replies};

/// Members of a modern request's `_meta`, which only that era has.
const MODERN_META: [(&str, &str); 4] = [
    ("io.modelcontextprotocol/protocolVersion", r#""2026-07-28""#),
    ("io.modelcontextprotocol/clientInfo", r#"{"name":"c","version":"1"}"#),
    ("io.modelcontextprotocol/clientCapabilities", "{}"),
    ("io.modelcontextprotocol/logLevel", r#""debug""#),
];
/// Members of a modern result, which only that era has.
const MODERN_RESULT: [&str; 3] = ["resultType", "ttlMs", "cacheScope"];

/// A server of one era whose answers the test writes.
struct Server {
    era: Era,
    /// The answer to the next call: raw notifications, then `result` or `error` with its raw value.
    says: Mutex<(Vec<String>, String)>,
    heard: Mutex<Option<Message>>,
}

#[async_trait]
impl Handler for Server {
    async fn handle(&self, message: Message, replies: Replies) {
        let method = message.method().map_or("", |method| method.as_str()).to_owned();
        let introduction = match (self.era, &*method) {
            (_, "tools/call") => {
                let id = message.id().unwrap().to_owned();
                *self.heard.lock().unwrap() = Some(message);
                let (notes, answer) = self.says.lock().unwrap().clone();
                for note in notes {
                    replies.send(note.into()).await.unwrap();
                }
                let last = format!(r#"{{"x-first" : [ 1.0 ],"jsonrpc":"2.0", "id" : {id}, {answer} }}"#);
                return replies.send(last.into()).await.unwrap();
            }
            (Era::Legacy, "initialize") => {
                r#""result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}"#
            }
            (Era::Modern, "server/discover") => {
                r#""result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"public"}"#
            }
            (era, "tools/list") => {
                assert_eq!(message.text().contains("2026-07-28"), era == Era::Modern);
                r#""result":{"tools":[{"name":"t","inputSchema":{"type":"object"}}],"resultType":"complete","ttlMs":0,"cacheScope":"public"}"#
            }
            _ => r#""error":{"code":-32601,"message":"Method not found"}"#,
        };
        if let Some(id) = message.id() {
            replies.send(format!(r#"{{"jsonrpc":"2.0","id":{id},{introduction}}}"#).into()).await.unwrap();
        }
    }
}

/// A client of one era before a server of one.
struct Pair {
    client: Era,
    server: Arc<Server>,
    gateway: Gateway,
    /// A legacy client's sessions, on the route of the service and on the aggregated one.
    sessions: [Option<Arc<str>>; 2],
}

fn route(aggregated: bool) -> Endpoint {
    if aggregated { Endpoint::all() } else { Endpoint::of("s".parse().unwrap()) }
}

impl Pair {
    async fn new(client: Era, server: Era) -> Self {
        let server = Arc::new(Server { era: server, says: Mutex::default(), heard: Mutex::default() });
        let handler = Arc::clone(&server);
        let connect: Connect = Box::new(move |_| Ok(Arc::new(MemoryConnector::new(handler.clone()))));
        let settings = Settings { probing: false, ..Settings::default() };
        let (random, tasks) = (Arc::new(Random::seeded(1)), Tasks::default());
        let store = Arc::new(MemoryStore::default());
        let gateway = Gateway::open_with(
            settings,
            store,
            SystemClock::shared(),
            random,
            tasks,
            Arc::default(),
            connect,
        )
        .await
        .unwrap();
        let registration = Registration {
            name: "s".into(),
            endpoint_url: Some("http://127.0.0.1:9/s".into()),
            ..Registration::default()
        };
        let registered = gateway.register(&caller(), registration).await.unwrap();
        gateway.discover(&caller(), registered.id).await.unwrap();
        let mut pair = Self { client, server, gateway, sessions: [None, None] };
        if client == Era::Legacy {
            for aggregated in [false, true] {
                let body = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
                let Reply::Message { session, .. } = pair.send(aggregated, body.into()).await else {
                    panic!("a message")
                };
                pair.sessions[usize::from(aggregated)] = session;
            }
        }
        pair
    }

    async fn send(&self, aggregated: bool, body: Bytes) -> Reply {
        let call = Call {
            route: route(aggregated),
            action: Action::Send(Message::parse(body).unwrap()),
            era: self.client,
            session: self.sessions[usize::from(aggregated)].as_deref().map(str::to_owned),
            headers: HeaderMap::new(),
            correlation_id: "test".into(),
            streams: true,
            resumes: false,
            hints: None,
            builtin: true,
            over_network: false,
        };
        let principal = caller().principal;
        self.gateway.handle(call, &Credentials::Embedded(principal)).await.unwrap()
    }

    /// Sends a call and returns the request that the server got, the messages that the client got before the response, and the
    /// response.
    async fn pass(&self, sent: &Sent) -> (Message, Vec<Message>, Message) {
        *self.server.says.lock().unwrap() = (sent.notes.clone(), sent.answer.clone());
        let mut got = match self.send(sent.aggregated, sent.request(self.client)).await {
            Reply::Message { body, .. } | Reply::Refused { body, .. } => vec![body],
            Reply::Stream { messages, .. } => messages.collect().await,
            Reply::Accepted => panic!("an answer"),
        };
        let parse = |bytes: Bytes| Message::parse(bytes).unwrap();
        let last = parse(got.pop().unwrap());
        let heard = self.server.heard.lock().unwrap().take().unwrap();
        (heard, got.into_iter().map(parse).collect(), last)
    }
}

/// A generated call and its generated answer.
#[derive(Clone, Debug)]
struct Sent {
    aggregated: bool,
    id: String,
    token: Option<String>,
    params: BTreeMap<String, String>,
    meta: Option<BTreeMap<String, String>>,
    notes: Vec<String>,
    answer: String,
}

impl Sent {
    fn request(&self, era: Era) -> Bytes {
        let mut meta = self.meta.clone();
        if era == Era::Modern {
            let own = MODERN_META.map(|(key, value)| (key.to_owned(), value.to_owned()));
            meta.get_or_insert_default().extend(own);
        }
        let token = self.token.iter().map(|token| ("progressToken".to_owned(), token.clone()));
        if let Some(meta) = &mut meta {
            meta.extend(token);
        }
        let mut params = self.params.clone();
        params.insert("name".into(), if self.aggregated { r#""s__\u0074""# } else { r#""\u0074""# }.into());
        if let Some(meta) = &meta {
            params.insert("_meta".into(), object(meta));
        }
        let (id, params) = (&self.id, object(&params));
        format!(
            r#"{{ "params":{params} ,"x-more":{{"a":1e0}},"method":"tools/call","id":{id}, "jsonrpc":"2.0"}}"#
        )
        .into()
    }
}

fn sent() -> impl Strategy<Value = Sent> {
    let id =
        prop_oneof!["[1-9][0-9]{0,30}", Just(r#""\u0041 \ud83d\ude00""#.to_owned()), "\"[ -!#-Z]{0,9}\""];
    let token = prop::option::of(prop_oneof!["[1-9][0-9]{0,30}", Just(r#""\u0070""#.to_owned())]);
    let notes = members("[a-zA-Z$]{1,6}", json_text(), 3).prop_map(|mut params| {
        params.insert("level".into(), r#""error""#.into());
        format!(
            r#"{{"jsonrpc" : "2.0","params":{},"method":"notifications/message", "x-n":0.10}}"#,
            object(&params)
        )
    });
    let answer = prop_oneof![
        4 => members("[a-zA-Z$@.\\-/_ ]{1,8}", json_text(), 5).prop_map(|result| format!(r#""result" : {}"#, object(&result))),
        1 => json_text().prop_map(|data| format!(r#""error":{{"message":"\u006eo", "code" : -7,"data":{data}}}"#)),
    ];
    let params = members("[a-zA-Z$@.\\-/_ ]{1,8}", json_text(), 5);
    let meta = prop::option::of(members("[a-z./]{1,8}", json_text(), 3));
    (any::<bool>(), id, token, params, meta, prop::collection::vec(notes, 0..3), answer).prop_map(
        |(aggregated, id, token, params, meta, notes, answer)| Sent {
            aggregated,
            id,
            token,
            params,
            meta,
            notes,
            answer,
        },
    )
}

/// Keys and raw values of an object, but for some keys.
fn but(raw: &str, keys: &[&str]) -> Vec<(String, String)> {
    let all = Members::parse(raw).unwrap();
    all.iter()
        .filter(|(key, _)| !keys.contains(key))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// `message` with its id, its name and its token as a server gets them: the only changes that every pair makes.
fn readdressed(message: &Message, heard: &Message) -> Bytes {
    let mut splice = message.with_id(heard.id().unwrap());
    let params = message.params_members().unwrap();
    let name = params.get("name").unwrap();
    if name.contains("__") {
        splice.replace(message.range_of(name), r#""t""#);
    }
    let meta = params.get("_meta").map(|meta| Members::parse(meta).unwrap());
    if let Some(token) = meta.and_then(|meta| meta.get("progressToken")) {
        splice.replace(message.range_of(token), heard.id().unwrap());
    }
    splice.apply(message.bytes())
}

fn holds(pair: &Pair, sent: &Sent, heard: &Message, notes: &[Message], last: &Message) {
    let request = Message::parse(sent.request(pair.client)).unwrap();
    let expected = Message::parse(readdressed(&request, heard)).unwrap();
    let crossed = pair.client != pair.server.era;
    if crossed {
        let own = MODERN_META.map(|(key, _)| key);
        let (was, is) = (expected.params().unwrap(), heard.params().unwrap());
        assert_eq!(but(heard.text(), &["params"]), but(expected.text(), &["params"]));
        assert_eq!(but(is, &["_meta"]), but(was, &["_meta"]));
        let meta = |params| Members::parse(params).unwrap().get("_meta").unwrap_or("{}");
        assert_eq!(but(meta(is), &own), but(meta(was), &own));
        let has = own.iter().filter(|key| Members::parse(meta(is)).unwrap().get(key).is_some()).count();
        assert_eq!(has > 0, pair.server.era == Era::Modern);
    } else {
        assert_eq!(heard.text(), expected.text(), "the request, but for its addresses");
    }

    assert_eq!(
        notes.iter().map(Message::text).collect::<Vec<_>>(),
        sent.notes,
        "what comes before the answer"
    );
    let id = &sent.id;
    let answer = format!(r#"{{"x-first" : [ 1.0 ],"jsonrpc":"2.0", "id" : {id}, {} }}"#, sent.answer);
    assert_eq!(last.shape(), Shape::Response);
    if let (true, Some(result)) = (crossed, last.result()) {
        let answer = Message::parse(answer.into()).unwrap();
        assert_eq!(but(last.text(), &["result"]), but(answer.text(), &["result"]));
        assert_eq!(but(result, &MODERN_RESULT), but(answer.result().unwrap(), &MODERN_RESULT));
        let says = Members::parse(result).unwrap().get("resultType").is_some();
        assert_eq!(says, pair.client == Era::Modern);
    } else {
        assert_eq!(last.text(), answer, "the answer, but for its id");
    }
}

/// Generated messages, this many, through one pair.
fn nothing_is_lost(client: Era, server: Era, cases: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pair = runtime.block_on(Pair::new(client, server));
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    runner
        .run(&sent(), |sent| {
            let (heard, notes, last) = runtime.block_on(pair.pass(&sent));
            holds(&pair, &sent, &heard, &notes, &last);
            Ok(())
        })
        .unwrap();
}

#[test]
fn nothing_is_lost_between_a_legacy_client_and_a_legacy_server() {
    nothing_is_lost(Era::Legacy, Era::Legacy, 300);
}

#[test]
fn nothing_is_lost_between_a_modern_client_and_a_modern_server() {
    nothing_is_lost(Era::Modern, Era::Modern, 300);
}

#[test]
fn nothing_is_lost_between_a_legacy_client_and_a_modern_server() {
    nothing_is_lost(Era::Legacy, Era::Modern, 300);
}

#[test]
fn nothing_is_lost_between_a_modern_client_and_a_legacy_server() {
    nothing_is_lost(Era::Modern, Era::Legacy, 300);
}
