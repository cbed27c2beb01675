use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::clock::SystemClock;
use crate::gateway::Settings;
use crate::model::{Principal, TenantId};
use crate::store::memory::MemoryStore;

const HELLO: &str = r#"{"jsonrpc":"2.0","id":"h","method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;

struct Pair {
    gateway: Gateway,
    attached: ClientConnection,
    heard: mpsc::Receiver<Bytes>,
}

impl Pair {
    async fn new() -> Self {
        let settings = Settings { probing: false, ..Settings::default() };
        let gateway =
            Gateway::open(settings, Arc::new(MemoryStore::new()), SystemClock::shared()).await.unwrap();
        let credentials = Credentials::Embedded(Principal::local(TenantId::default_tenant()));
        let (attached, heard) = ClientConnection::new(gateway.clone(), Endpoint::all(), credentials, true);
        Self { gateway, attached, heard }
    }

    fn sessions(&self) -> u64 {
        let caller = crate::gateway::Caller::new(Principal::local(TenantId::default_tenant()));
        self.gateway.stats(&caller).unwrap().sessions
    }

    async fn say(&self, message: &str) {
        self.attached.receive(Bytes::copy_from_slice(message.as_bytes()), own_id()).await;
    }

    async fn hear(&mut self) -> Value {
        let next = tokio::time::timeout(Duration::from_secs(20), self.heard.recv());
        serde_json::from_slice(&next.await.expect("silence").expect("the end")).unwrap()
    }
}

#[tokio::test]
async fn the_session_of_the_connection_is_opened_by_initialize_and_used_from_then_on() {
    let mut pair = Pair::new().await;
    pair.say(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).await;
    assert_eq!(pair.hear().await["error"]["code"], -32600, "before it is opened");
    pair.say(HELLO).await;
    let answer = pair.hear().await;
    assert_eq!((&answer["id"], &answer["result"]["protocolVersion"]), (&"h".into(), &"2025-06-18".into()));
    assert!(pair.attached.has_session());
    pair.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    pair.say(r#"{"jsonrpc":"2.0","id":12345678901234567890123,"method":"ping"}"#).await;
    let raw = pair.heard.recv().await.unwrap();
    assert_eq!(raw, r#"{"jsonrpc":"2.0","id":12345678901234567890123,"result":{}}"#);
}

#[tokio::test]
async fn what_is_no_message_is_answered_without_an_id_and_the_next_message_is_heard() {
    let mut pair = Pair::new().await;
    for (bad, code) in
        [("{", -32700), ("[]", -32600), (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"a"}"#, -32600)]
    {
        pair.say(bad).await;
        let answer = pair.hear().await;
        assert_eq!((&answer["error"]["code"], answer.get("id")), (&code.into(), None), "{bad}");
    }
    pair.say(HELLO).await;
    assert_eq!(pair.hear().await["id"], "h");
}

#[tokio::test]
async fn ending_it_ends_the_session_and_so_does_the_end_of_the_gateway() {
    let mut pair = Pair::new().await;
    pair.say(HELLO).await;
    pair.hear().await;
    assert_eq!(pair.sessions(), 1);
    pair.attached.end().await;
    assert_eq!(pair.sessions(), 0);

    let mut pair = Pair::new().await;
    pair.say(HELLO).await;
    pair.hear().await;
    let gateway = pair.gateway.clone();
    let stopping = async { tokio::join!(gateway.shutdown(Duration::from_secs(1)), pair.attached.over()) };
    tokio::time::timeout(Duration::from_secs(20), stopping).await.expect("it hangs");
}

#[tokio::test]
async fn a_second_initialize_takes_the_place_of_the_first_session() {
    let mut pair = Pair::new().await;
    pair.say(HELLO).await;
    pair.hear().await;
    pair.say(HELLO).await;
    pair.hear().await;
    pair.attached.settled().await;
    assert_eq!(pair.sessions(), 1);
    pair.say(r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#).await;
    assert_eq!(pair.hear().await["id"], 2);
}
