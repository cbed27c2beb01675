use serde_json::{Value, json};

use super::super::tests::{Fake, To, hello, initialized};
use super::*;
use crate::error::Error;

async fn probe(fake: &Arc<Fake>) -> Result<Arc<Session>> {
    Session::probe(&To(fake.clone()), &hello(), false, Duration::from_secs(5)).await
}

fn discovered(versions: &[&str]) -> Value {
    json!({"jsonrpc": "2.0", "id": 2, "result": {
        "resultType": "complete", "supportedVersions": versions, "capabilities": {"tools": {}}, "ttlMs": 0, "cacheScope": "public"
    }})
}

fn refused(code: i32) -> Value {
    json!({"jsonrpc": "2.0", "id": 2, "error": {"code": code, "message": "no"}})
}

fn methods(fake: &Fake) -> Vec<String> {
    fake.sent().iter().map(|message| message["method"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_modern_server_is_met_with_one_request_and_each_of_the_gateways_own_says_who_asks() {
    let fake = Fake::new([vec![discovered(&["2026-07-28"])], vec![refused(-1)]]);
    let session = probe(&fake).await.unwrap();
    assert_eq!((session.era(), session.version()), (Era::Modern, MODERN));
    assert_eq!(fake.version(), MODERN);
    assert_eq!(session.initialize_result(), discovered(&["2026-07-28"])["result"].to_string());
    assert!(session.declares("tools"));
    drop(session.ask(&Method::ToolsList, Some(r#"{"cursor":"c"}"#), Duration::from_secs(1)).await);
    let sent = fake.sent();
    assert_eq!(methods(&fake), ["server/discover", "tools/list"]);
    for message in &sent {
        let meta = &message["params"]["_meta"];
        assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
        assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], json!({"roots": {}}));
        assert_eq!(meta["io.modelcontextprotocol/clientInfo"], json!({"name": "g", "version": "1"}));
    }
    assert_eq!(sent[1]["params"]["cursor"], "c");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_understand_the_question_is_initialized_on_the_same_link() {
    for answer in [refused(-32601), refused(-32600), refused(-32022), discovered(&["2025-11-25"])] {
        let fake = Fake::new([vec![answer], vec![initialized("2025-11-25")]]);
        let session = probe(&fake).await.unwrap();
        assert_eq!((session.era(), session.version()), (Era::Legacy, "2025-11-25"));
        assert_eq!(methods(&fake), ["server/discover", "initialize", "notifications/initialized"]);
        assert!(session.next_id() > 2, "the id of the probe is not used again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_a_version_that_it_lists_is_asked_once_more() {
    let mut refusal = refused(-32022);
    refusal["error"]["data"] = json!({"supported": ["2026-07-28"], "requested": "2026-07-28"});
    let mut answer = discovered(&["2026-07-28"]);
    answer["id"] = 3.into();
    let fake = Fake::new([vec![refusal.clone()], vec![answer]]);
    assert_eq!(probe(&fake).await.unwrap().era(), Era::Modern);
    assert_eq!(methods(&fake), ["server/discover", "server/discover"]);
    let mut again = refusal.clone();
    again["id"] = 3.into();
    let stubborn = Fake::new([vec![refusal], vec![again], vec![initialized("2025-11-25")]]);
    assert_eq!(probe(&stubborn).await.unwrap().era(), Era::Legacy);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_silent_is_initialized_beside() {
    let fake = Fake::new([vec![], vec![initialized("2025-06-18")]]);
    assert_eq!(probe(&fake).await.unwrap().version(), "2025-06-18");
}

#[tokio::test(start_paused = true)]
async fn a_slow_server_of_both_eras_that_was_initialized_beside_is_met_anew_in_the_modern_one() {
    let after = |ms: u64, answer: Value| vec![json!({ "after": ms }), answer];
    let fake = Fake::new([
        after(600, discovered(&["2026-07-28"])),
        after(200, initialized("2025-11-25")),
        vec![discovered(&["2026-07-28"])],
    ]);
    assert_eq!(probe(&fake).await.unwrap().era(), Era::Modern);
    let met = ["server/discover", "initialize", "notifications/initialized", "server/discover"];
    assert_eq!(methods(&fake), met, "the link on which it was initialized is not used");
    assert!(!To(fake.clone()).connect(false).await.unwrap().is_open(), "it was closed");
    let fake = Fake::new([after(600, discovered(&["2026-07-28"])), after(200, refused(-32601))]);
    assert_eq!(probe(&fake).await.unwrap().era(), Era::Modern);
    assert_eq!(methods(&fake), ["server/discover", "initialize"], "one that refused stays as it is");
}

#[test]
fn only_an_answer_says_something_of_the_era() {
    let failed = |status| Error::new(ErrorKind::BadUpstream, "no").status(status);
    for status in [400, 404, 405, 500, 501] {
        assert!(verdict(Err(failed(status))).unwrap().is_none(), "{status}");
    }
    for status in [401, 403, 429, 502, 503, 504] {
        assert!(verdict(Err(failed(status))).is_err(), "{status}");
    }
    let worded = Error::new(ErrorKind::BadUpstream, "no").with("status", 503);
    assert!(verdict(Err(worded)).unwrap().is_none(), "the words of the context decide nothing");
    assert!(verdict(Err(Error::new(ErrorKind::BadUpstream, "refused").not_sent())).is_err());
    assert!(verdict(Err(Error::new(ErrorKind::Timeout, "late"))).is_err());
}
