//! A modern client gets the notifications that its acknowledgement promises.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http::HeaderMap;
use serde_json::{Value, json};

use super::fake::{Fake, House, STREAM, caller, until};
use crate::auth::Credentials;
use crate::gateway::*;
use crate::model::{Action, Call, Endpoint, Reply};
use crate::rpc::Message;
use crate::rpc::version::Era;

/// The stream of a `subscriptions/listen` for tools.
async fn listen(house: &House) -> BoxStream<'static, Value> {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({ "notifications": { "toolsListChanged": true }, "_meta": meta });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params });
    let call = Call {
        route: Endpoint::of("a".parse().unwrap()),
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
    match house.gateway.handle(call, &Credentials::Embedded(caller().principal)).await.unwrap() {
        Reply::Stream { messages, .. } => {
            messages.map(|message| serde_json::from_slice(&message).unwrap()).boxed()
        }
        _ => panic!("a stream"),
    }
}

const CHANGED: &str = "notifications/tools/list_changed";

#[tokio::test(start_paused = true)]
async fn a_change_right_after_the_acknowledgement_is_heard_however_slowly_a_servers_stream_opens() {
    let (house, fake) = (House::open().await, Fake::new(&["t"]));
    house.add("a", "a", &fake).await;
    fake.hold(STREAM);
    let late = Duration::from_millis(500);
    let mut listening = Box::pin(listen(&house));
    assert!(tokio::time::timeout(late, &mut listening).await.is_err(), "nothing is promised yet");
    fake.release(STREAM);
    let mut heard = listening.await;
    assert_eq!(heard.next().await.unwrap()["method"], "notifications/subscriptions/acknowledged");
    let link = fake.opened.load(Ordering::SeqCst) - 1;
    assert!(fake.say(link, json!({ "jsonrpc": "2.0", "method": CHANGED })));
    assert_eq!(fake.listened(link), 1, "its stream was open before the client was told so");
    assert_eq!(heard.next().await.unwrap()["method"], CHANGED);
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_stream_does_not_open_holds_an_acknowledgement_up_for_two_seconds() {
    let (house, fake) = (House::open().await, Fake::new(&["t"]));
    house.add("a", "a", &fake).await;
    fake.hold(STREAM);
    let late = Duration::from_millis(2500);
    let mut heard = tokio::time::timeout(late, listen(&house)).await.expect("acknowledged all the same");
    assert_eq!(heard.next().await.unwrap()["method"], "notifications/subscriptions/acknowledged");
    fake.release(STREAM);
    let link = fake.opened.load(Ordering::SeqCst) - 1;
    until("the stream", || (fake.listened(link) == 1).then_some(())).await;
    assert!(fake.say(link, json!({ "jsonrpc": "2.0", "method": CHANGED })));
    assert_eq!(heard.next().await.unwrap()["method"], CHANGED);
}
