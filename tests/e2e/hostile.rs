//! Input that is made to confuse or to exhaust: what clients send (ACCEPTANCE B-04, B-08, B-09) and what servers answer
//! (B-02, B-03).

use std::time::Duration;

use bytes::Bytes;
use mcp_registry_gateway_tests::clock::Stopwatch;
use mcp_registry_gateway_tests::fake::{Act, Fake};
use mcp_registry_gateway_tests::mcp::{Client, finish};
use mcp_registry_gateway_tests::process::Gateway;
use serde_json::{Value, json};

use crate::one;

/// A gateway, its server, and a session on its service.
struct Place {
    gateway: Gateway,
    fake: Fake,
    client: Client,
}

impl Place {
    async fn new() -> Self {
        let (gateway, fake, _) = one().await;
        let client = gateway.client("/mcp/one").await;
        fake.ledger().clear();
        Self { gateway, fake, client }
    }

    /// Status and body of the answer to `body`.
    async fn post(&self, body: impl Into<Bytes>) -> (u16, Value) {
        let mut reply = self.client.post_bytes(body.into(), &[]).await.expect("an answer");
        let answer = finish(&mut reply).await.expect("a body");
        (answer.status, answer.response)
    }

    /// Holds that `body` is refused with 400 and `code`, and reaches nobody.
    async fn refuses(&self, body: impl Into<Bytes>, code: i32) {
        let body = body.into();
        let shown = String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
        let (status, answer) = self.post(body).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!(code)), "{shown}: {answer}");
        assert!(
            answer.get("id").is_none_or(|id| *id == 1),
            "only an id that was read comes back: {shown}: {answer}"
        );
        assert_eq!(self.fake.ledger().count("tools/call"), 0, "{shown}");
    }

    async fn works(&self) {
        let answer = self.client.call("echo", json!({ "text": "alive" })).await.expect("an answer");
        assert_eq!(answer.text(), "alive", "{answer:?}");
    }
}

fn call(arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{arguments}}}}}"#
    )
}

/// CPU seconds that the gateway used until now.
fn cpu(gateway: &Gateway) -> f64 {
    gateway.usage().cpu.as_secs_f64()
}

/// B-04: what is no JSON, or nests too deep, is refused at little cost.
#[tokio::test]
async fn what_is_no_json_is_refused_at_little_cost() {
    let place = Place::new().await;
    let deep = |count: usize| format!("{{\"a\":{}1{}}}", "[".repeat(count), "]".repeat(count));
    let bodies = [
        call(&deep(129)),
        call(&deep(1_000_000)),
        call(r#"{"text":"\ud800"}"#),
        call(r#"{"text":NaN}"#),
        call(r#"{"text":Infinity}"#),
        call(r#"{"text":01}"#),
        call(r#"{"text":1,}"#),
        call("{\"text\":\"\u{1}\"}"),
        call("{}") + "{}",
        String::new(),
    ];
    for body in bodies {
        let before = cpu(&place.gateway);
        place.refuses(body, -32700).await;
        let used = cpu(&place.gateway) - before;
        assert!(used <= 0.05 * 4.0, "{used} s of CPU, in a build that is not optimized");
    }
    place.refuses(Bytes::from([call(r#"{"text":"@"}"#).as_bytes(), b"\xff"].concat()), -32700).await;
    place.works().await;
}

/// B-04: what is no JSON, or nests too deep, is refused at little cost.
#[tokio::test]
async fn much_of_what_is_allowed_passes_and_arrives_as_it_was_sent() {
    let place = Place::new().await;
    let number = format!("0.{}", "9".repeat(3 * 1024 * 1024));
    let (status, answer) = place.post(call(&format!(r#"{{"text":"t","n":{number}}}"#))).await;
    assert_eq!((status, answer.get("error")), (200, None), "a number has no length limit of its own");
    let keys: Vec<String> = (0..200_000).map(|n| format!("\"k{n}\":{n}")).collect();
    let (status, answer) = place.post(call(&format!("{{{}}}", keys.join(",")))).await;
    assert_eq!((status, answer.get("error")), (200, None), "so many arguments are the server's business");
    place.works().await;
}

/// B-08: only a single message is taken, and its id comes back as it was.
#[tokio::test]
async fn what_is_not_one_request_is_refused() {
    let place = Place::new().await;
    let ping = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
    for id in ["null", "{}", "[]", "1.5", "1e400", "1e2", "true"] {
        place.refuses(ping(id), -32600).await;
    }
    for body in [
        "[]".to_owned(),
        format!("[{}]", call("{}")),
        call("{}").replace(r#""jsonrpc":"2.0","#, ""),
        call("{}").replace("2.0", "1.0"),
        call("{}").replace(r#""tools/call""#, "7"),
        call("{}").replace(r#"{"name":"echo","arguments":{}}"#, r#"["echo"]"#),
        r#"{"jsonrpc":"2.0","id":1}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#.to_owned(),
        "7".to_owned(),
        "\"PARAMS\"".to_owned(),
        "null".to_owned(),
    ] {
        place.refuses(body, -32600).await;
    }
    for id in ["9007199254740993", "-1", "123456789012345678901234567890", "\"\"", "\"\\u0041\""] {
        let mut reply = place.client.post_bytes(Bytes::from(ping(id)), &[]).await.expect("an answer");
        assert_eq!(reply.status, 200);
        drop(reply.next().await);
        let reply = place.client.post_bytes(Bytes::from(ping(id)), &[]).await.expect("an answer");
        let text = String::from_utf8(reply.bytes().await.expect("a body").to_vec()).expect("text");
        assert!(text.contains(&format!("\"id\":{id},")), "{id} comes back byte for byte: {text}");
    }
}

/// B-08: only a single message is taken, and its id comes back as it was.
#[tokio::test]
async fn an_answer_that_nobody_waits_for_is_taken_and_leads_to_nothing() {
    let place = Place::new().await;
    let (status, _) = place.post(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).await;
    assert_eq!(status, 202);
    assert!(place.fake.ledger().all().iter().all(|entry| entry.method.is_some()), "no server hears of it");
}

/// B-09: keys are exact, and none stands twice.
#[tokio::test]
async fn a_key_that_two_readers_could_read_differently_is_refused() {
    let place = Place::new().await;
    let name =
        |members: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{members}}}}}"#);
    for body in [
        name(r#""name":"echo","name":"fail","arguments":{}"#),
        name(r#""name":"echo","n\u0061me":"fail","arguments":{}"#),
        call("{}").replacen('{', r#"{"method":"tools/list","#, 1),
        call("{}").replacen('{', r#"{"params":{},"#, 1),
        call("{}").replacen('{', r#"{"meth\u006fd":"tools/list","#, 1),
        name(&format!(r#""name":"echo","arguments":{{"text":"{}"}},"name":"fail""#, "x".repeat(1024 * 1024))),
    ] {
        place.refuses(body, -32600).await;
    }
    // Only the exact spelling is the member.
    place.refuses(call("{}").replace("\"method\"", "\"Method\""), -32600).await;
    let (_, answer) = place.post(call("{}").replace("\"params\"", "\"PARAMS\"")).await;
    assert_eq!(answer["error"]["code"], -32602, "the call names no tool: {answer}");
    let (_, answer) = place.post(name(r#""Name":"fail","arguments":{}"#)).await;
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    assert_eq!(place.fake.ledger().count("tools/call"), 0);
    // An escaped key is the key, for who decides and for who executes.
    let (_, answer) = place.post(name(r#""n\u0061me":"echo","arguments":{"text":"seen"}"#)).await;
    assert_eq!(answer.pointer("/result/content/0/text"), Some(&json!("seen")), "{answer}");
    assert_eq!(place.fake.ledger().of("tools/call")[0].params["name"], "echo");
}

/// Holds that a call whose server does `act` fails with an error that says `words`, in bounded memory and time.
async fn fails(act: Act, words: &[&str]) {
    let place = Place::new().await;
    let before = place.gateway.usage().memory;
    place.fake.script().on_tool("whoami", act);
    let watch = Stopwatch::start();
    let answer = place.client.call("whoami", json!({})).await.expect("an answer");
    let text = answer.response["error"].to_string();
    assert!(answer.response.get("result").is_none() && !text.is_empty(), "{answer:?}");
    assert!(words.iter().all(|word| text.contains(word)), "{text:.400}");
    assert!(watch.elapsed() < Duration::from_secs(20), "it took {:?}", watch.elapsed());
    let grown = place.gateway.usage().memory.saturating_sub(before);
    assert!(grown < 96 * 1024 * 1024, "{grown} bytes more are resident");
    place.works().await;
}

/// B-02: an answer over the limit is cut and the limit named.
#[tokio::test]
async fn an_answer_without_end_is_cut_at_the_limit_which_the_error_names() {
    let piece = vec![b' '; 64 * 1024];
    fails(Act::Endless { stream: false, piece }, &["-31502", "16777216 bytes"]).await;
}

/// B-03: a stream of events is read as the standard says, and no event is larger than the limit.
#[tokio::test]
async fn an_event_without_end_is_cut_at_the_limit_which_the_error_names() {
    let piece = vec![b'x'; 64 * 1024];
    fails(Act::Endless { stream: true, piece }, &["-31502", "16777216 bytes"]).await;
}

/// B-03: a stream of events is read as the standard says, and no event is larger than the limit.
#[tokio::test]
async fn an_event_of_seventeen_mebibytes_is_an_error_that_names_the_limit() {
    let event = format!("data: {}\n\n", "x".repeat(17 * 1024 * 1024));
    fails(Act::Events(event), &["-31502", "16777216 bytes"]).await;
}

/// B-03: a stream of events is read as the standard says, and no event is larger than the limit.
#[tokio::test]
async fn a_list_over_the_limit_is_an_error_and_never_an_empty_list() {
    let place = Place::new().await;
    let event = format!("data: {}\n\n", "x".repeat(17 * 1024 * 1024));
    place.fake.script().on("tools/list", Act::Events(event));
    let answer = place.client.request("tools/list", json!({})).await.expect("an answer");
    assert!(answer.response["error"].to_string().contains("16777216 bytes"), "{answer:?}");
}

/// B-03: a stream of events is read as the standard says, and no event is larger than the limit.
#[tokio::test]
async fn an_event_stream_is_read_as_the_standard_says() {
    let place = Place::new().await;
    // A mark at the start, every kind of line end, comments, data in lines, an id with NUL, an event of another type.
    let events = concat!(
        "\u{feff}: hi\r\nid: a\0b\rretry: x\nevent: other\ndata: <no json>\n\ndata: {\"jsonrpc\":\"2.0\",\r\ndata:\"id\":$ID,\r",
        "data: \"result\":\ndata\ndata: {\"content\":[{\"type\":\"text\",\"text\":\"odd\"}]}}\r\r",
    );
    place.fake.script().on_tool("whoami", Act::Events(events.into()));
    let answer = place.client.call("whoami", json!({})).await.expect("an answer");
    assert_eq!(answer.text(), "odd", "{answer:?}");
}
