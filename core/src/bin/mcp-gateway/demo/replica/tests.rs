use std::sync::Arc;

use mcp_registry_gateway::tasks::Tasks;

use super::*;
use crate::demo::client::{Answer, Sent, Session};

fn replica(offer: Offer) -> Replica {
    Replica { name: "calc-1".into(), offer, ledger: Ledger::default(), notes: Mutex::default() }
}

#[tokio::test]
async fn over_stdio_each_request_line_is_answered_by_one_line_and_a_notification_by_none() {
    let sent = [
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","id":"b","method":"tools/call","params":{"name":"write","arguments":{"text":"x"}}}"#,
        "no json",
        r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"echo"}}"#,
    ];
    let mut output = Vec::new();
    let input = std::io::Cursor::new(sent.join("\n"));

    stdio::serve(&replica(Offer::Notes), input, &mut output).await.unwrap();

    let text = String::from_utf8(output).unwrap();
    let replies: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(replies.len(), 4);
    assert_eq!(replies[0]["result"]["protocolVersion"], "2025-06-18");
    assert_eq!(replies[1]["id"], "b");
    assert_eq!(replies[1]["result"]["content"][0]["text"], "1");
    assert_eq!(replies[2]["error"]["code"], -32700);
    assert_eq!(replies[3]["error"]["code"], -32602);
}

#[tokio::test]
async fn over_http_a_session_lists_calls_and_reads_its_ledger_until_it_is_deleted() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = Tasks::default();
    let router = http::router(replica(Offer::Calc));
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });

    let mut session = Session::open(address, Arc::from("/mcp"), &tasks).await.unwrap();
    let sum = session.call("add", &json!({"a": 2, "b": 3})).await.unwrap();
    let echo = session.call("echo", &json!({"call_id": "c-1", "text": "hello"})).await.unwrap();
    let ledger = session.request("resources/read", &json!({"uri": "ledger://calls"})).await.unwrap();
    let wrong = session.call("nothing", &json!({})).await.unwrap();
    session.close().await.unwrap();
    let after = session.call("whoami", &json!({})).await;
    tasks.stop().await;

    let Answer::Result(sum) = sum else { panic!("{sum:?}") };
    assert_eq!(sum["content"][0]["text"], "5.0");
    let Answer::Result(echo) = echo else { panic!("{echo:?}") };
    assert_eq!(echo["structuredContent"]["replica"], "calc-1");
    let Answer::Result(ledger) = ledger else { panic!("{ledger:?}") };
    assert_eq!(ledger["contents"][0]["text"], r#"["c-1"]"#);
    assert!(matches!(wrong, Answer::Failure { sent: Sent::Answered, .. }));
    assert_eq!(after.unwrap_err().kind(), ErrorKind::SessionNotFound);
}
