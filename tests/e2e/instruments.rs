//! The instruments themselves: a test that passes because its tool is blunt proves nothing.

use std::time::Duration;

use mcp_registry_gateway_tests::clock::Stopwatch;
use mcp_registry_gateway_tests::fake::{Act, Fake};
use mcp_registry_gateway_tests::http::Http;
use mcp_registry_gateway_tests::load::Load;
use mcp_registry_gateway_tests::mcp::Client;
use mcp_registry_gateway_tests::proxy::{Mode, Proxy, Way, refused};
use serde_json::json;
use tokio::time::timeout;

#[tokio::test]
async fn the_fake_answers_and_writes_down_what_it_received() {
    let fake = Fake::start("solo").await;
    let client = Client::connect(fake.address(), "/mcp").await.unwrap();
    assert_eq!(client.call("echo", json!({ "text": "hello" })).await.unwrap().text(), "hello");
    assert_eq!(client.call("whoami", json!({})).await.unwrap().text(), "solo");
    assert_eq!(fake.ledger().deliveries("hello"), 1);
    assert_eq!(fake.ledger().count("initialize"), 1);
    assert_eq!(fake.sessions(), 1);
    assert_eq!(client.end().await.unwrap(), 200);
    assert_eq!(fake.sessions(), 0);
}

#[tokio::test]
async fn the_fake_forgets_sessions_lists_in_pages_and_speaks_out_of_turn() {
    let fake = Fake::start("solo").await;
    let names: Vec<String> = (0..5).map(|n| format!("tool-{n}")).collect();
    fake.set_tools(&names, 2);
    let client = Client::connect(fake.address(), "/mcp").await.unwrap();
    let page = client.request("tools/list", json!({})).await.unwrap();
    assert_eq!(page.names("tools"), ["tool-0", "tool-1"]);
    let page = client.request("tools/list", json!({ "cursor": "4" })).await.unwrap();
    assert_eq!(
        (page.names("tools"), page.response["result"].get("nextCursor")),
        (vec!["tool-4".into()], None)
    );
    let mut news = client.listen().await.unwrap();
    assert_eq!(fake.notify("notifications/tools/list_changed", &json!({})), 1);
    assert_eq!(news.next().await.unwrap().unwrap()["method"], "notifications/tools/list_changed");
    fake.forget_sessions();
    assert_eq!(client.request("ping", json!({})).await.unwrap().status, 404);
}

#[tokio::test]
async fn every_act_of_the_script_is_seen_by_a_client() {
    let fake = Fake::start("solo").await;
    let client = Client::connect(fake.address(), "/mcp").await.unwrap();
    let echo = async |act: Act| {
        fake.script().next("tools/call", 1, act);
        timeout(Duration::from_millis(500), client.call("echo", json!({ "text": "t" }))).await
    };
    assert_eq!(echo(Act::Sse).await.unwrap().unwrap().text(), "t");
    assert_eq!(echo(Act::Delay(Duration::from_millis(20))).await.unwrap().unwrap().text(), "t");
    assert_eq!(echo(Act::Slow(Duration::from_millis(1))).await.unwrap().unwrap().text(), "t");
    assert_eq!(echo(Act::Huge(100_000)).await.unwrap().unwrap().text().len(), 100_000);
    assert!(echo(Act::Hang).await.is_err());
    assert!(echo(Act::ResetBefore).await.unwrap().is_err());
    assert!(echo(Act::ResetAfter).await.unwrap().is_err());
    assert!(echo(Act::WrongId).await.unwrap().is_err());
    assert_eq!(echo(Act::Garbage).await.unwrap().unwrap().response, json!(null));
    let busy = echo(Act::Status { code: 429, retry_after: Some(7) }).await.unwrap().unwrap();
    assert_eq!((busy.status, busy.retry_after), (429, Some(7)));
    assert_eq!(echo(Act::RpcError(-32602)).await.unwrap().unwrap().response["error"]["code"], -32602);
    assert_eq!(echo(Act::ToolError).await.unwrap().unwrap().response["result"]["isError"], true);
    assert_eq!(
        echo(Act::Progress(3)).await.unwrap().unwrap().before.len(),
        1,
        "the log, and no progress without a token"
    );
    let executed = fake.ledger().of("tools/call").iter().filter(|entry| entry.executed).count();
    assert_eq!((fake.ledger().deliveries("t"), executed), (13, 10));
}

#[tokio::test]
async fn the_fake_asks_its_client_in_the_middle_of_a_call() {
    let fake = Fake::start("solo").await;
    let client = Client::connect(fake.address(), "/mcp").await.unwrap();
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "ask", "arguments": { "method": "roots/list", "params": {} } } });
    let mut reply = client.post(&call).await.unwrap();
    let question = reply.next().await.unwrap().unwrap();
    assert_eq!(question["method"], "roots/list");
    client
        .deliver(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "roots": [] } }))
        .await
        .unwrap();
    let answer = reply.next().await.unwrap().unwrap();
    assert_eq!(answer["result"]["content"][0]["text"], r#"{"roots":[]}"#);
}

#[tokio::test]
async fn the_proxy_cuts_after_exactly_as_many_bytes_as_it_was_told() {
    let fake = Fake::start("solo").await;
    let proxy = Proxy::start(fake.address()).await;
    let address = proxy.url()[7..].trim_end_matches("/mcp").parse().unwrap();
    let client = Client::connect(address, "/mcp").await.unwrap();
    proxy.cut(Way::Up, 10);
    assert!(client.call("echo", json!({ "text": "up" })).await.is_err());
    assert_eq!((proxy.fired(), fake.ledger().deliveries("up")), (1, 0));
    proxy.cut(Way::Down, 0);
    assert!(client.call("echo", json!({ "text": "down" })).await.is_err());
    assert_eq!((proxy.fired(), fake.ledger().deliveries("down")), (2, 1));
    proxy.cut(Way::Up, 1_000_000);
    assert!(client.call("echo", json!({ "text": "whole" })).await.unwrap().is_result());
    assert!(!proxy.disarm(), "a million bytes have not passed");
}

#[tokio::test]
async fn the_proxy_holds_and_resets_connections_and_a_refused_address_refuses() {
    let fake = Fake::start("solo").await;
    let proxy = Proxy::start(fake.address()).await;
    let address = proxy.url()[7..].trim_end_matches("/mcp").parse().unwrap();
    proxy.set(Mode::Blackhole);
    let held = timeout(Duration::from_millis(100), Client::connect(address, "/mcp")).await;
    assert!(held.is_err(), "accepted, never answered");
    proxy.set(Mode::Reset);
    assert!(Client::connect(address, "/mcp").await.is_err());
    proxy.set(Mode::Delay(Duration::from_millis(30)));
    let watch = Stopwatch::start();
    Client::connect(address, "/mcp").await.unwrap();
    assert!(watch.elapsed() >= Duration::from_millis(120), "four pieces or more");
    assert!(Http::new(refused()).get("/").await.is_err());
}

#[tokio::test]
async fn a_restarted_fake_keeps_its_port_and_loses_its_sessions() {
    let mut fake = Fake::start("solo").await;
    let client = Client::connect(fake.address(), "/mcp").await.unwrap();
    fake.stop().await;
    assert!(client.request("ping", json!({})).await.is_err());
    fake.restart().await;
    assert_eq!(client.request("ping", json!({})).await.unwrap().status, 404);
}

#[tokio::test]
async fn the_load_generator_notices_a_wrong_answer() {
    let fake = Fake::start("solo").await;
    let load = Load {
        address: fake.address(),
        path: "/mcp".into(),
        tool: "echo".into(),
        sessions: 4,
        calls: 25,
        size: 200,
    };
    fake.script().next("tools/call", 1, Act::WrongId);
    fake.script().next("tools/call", 1, Act::ToolError);
    let report = load.run().await.unwrap();
    assert_eq!((report.good, report.bad), (98, 2), "{report:?}");
}
