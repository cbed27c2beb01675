//! Requests whose end two readers could see in different places (ACCEPTANCE B-06), and bodies that are not what they seem (B-01).

use std::time::Duration;

use mcp_registry_gateway_tests::clock::eventually;
use mcp_registry_gateway_tests::fake::Fake;
use mcp_registry_gateway_tests::mcp::Client;
use mcp_registry_gateway_tests::process::Gateway;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::one;

/// What comes back for these bytes until the gateway closes the connection, or says nothing for a second.
async fn exchange(gateway: &Gateway, bytes: &str) -> (String, bool) {
    let mut stream = TcpStream::connect(gateway.address()).await.expect("a connection");
    stream.write_all(bytes.as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_secs(1), stream.read_buf(&mut answer)).await {
            Ok(Ok(1..)) => {}
            // A reset is an end as well.
            Ok(_) => return (String::from_utf8_lossy(&answer).into_owned(), true),
            Err(_) => return (String::from_utf8_lossy(&answer).into_owned(), false),
        }
    }
}

fn call(text: &str) -> String {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "echo", "arguments": { "text": text } } })
        .to_string()
}

/// A POST of a session with these lines in its head, and this behind it.
fn post(client: &Client, version: &str, lines: &str, rest: &str) -> String {
    let session = client.session();
    format!(
        "POST /mcp/one HTTP/{version}\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMcp-Session-Id: {session}\r\n{lines}\r\n\r\n{rest}"
    )
}

async fn place() -> (Gateway, Fake, Client) {
    let (gateway, fake, _) = one().await;
    let client = gateway.client("/mcp/one").await;
    fake.ledger().clear();
    (gateway, fake, client)
}

/// B-06: whatever cannot be read in one way only is refused and the connection closed; nothing of it reaches a server.
#[tokio::test]
async fn a_request_whose_end_is_doubtful_is_refused_and_its_connection_closed() {
    let (gateway, fake, client) = place().await;
    let body = call("smuggled");
    let size = body.len();
    let chunked = format!("{size:x}\r\n{body}\r\n0\r\n\r\n");
    let doubtful = [
        post(&client, "1.1", &format!("Content-Length: {size}\r\nContent-Length: {}", size + 1), &body),
        post(&client, "1.1", "Content-Length: +5", &body),
        post(&client, "1.1", &format!("Content-Length: {size}, {size}"), &body),
        post(&client, "1.1", "Transfer-Encoding: chunked, identity", &chunked),
        post(&client, "1.1", "Transfer-Encoding: xchunked", &chunked),
        post(&client, "1.0", "Transfer-Encoding: chunked", &chunked),
        post(&client, "1.1", &format!("X-Folded: a\r\n b\r\nContent-Length: {size}"), &body),
        post(&client, "1.1", "Content-Length : 5", &body),
        post(&client, "1.1", "Transfer-Encoding: chunked", &format!("{size:x}zz\r\n{body}\r\n0\r\n\r\n")),
    ];
    for request in doubtful {
        let (answer, closed) = exchange(&gateway, &request).await;
        let head = answer.lines().next().unwrap_or_default();
        assert!(closed && (head.is_empty() || head.contains(" 400 ")), "{request:.300}\n-> {answer}");
        assert_eq!(fake.ledger().count("tools/call"), 0, "{request:.300}");
    }
    assert!(client.call("echo", json!({ "text": "alive" })).await.expect("an answer").is_result());
}

/// B-06: a request with both lengths is refused, and nothing behind it is a request.
#[tokio::test]
async fn a_request_with_two_lengths_is_refused_and_the_last_on_its_connection() {
    let (gateway, fake, client) = place().await;
    let second = post(&client, "1.1", &format!("Content-Length: {}", call("second").len()), &call("second"));
    for lines in
        ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5"]
    {
        let first = call("first");
        let chunked = format!("{:x}\r\n{first}\r\n0\r\n\r\n", first.len());
        let (answer, closed) =
            exchange(&gateway, &post(&client, "1.1", lines, &format!("{chunked}{second}"))).await;
        assert!(closed && answer.matches("HTTP/1.1 ").count() == 1, "{answer}");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert_eq!(fake.ledger().deliveries("first") + fake.ledger().deliveries("second"), 0);
    }
    let first = call("first");
    let chunked = format!("{:x}\r\n{first}\r\n0\r\n\r\n{second}", first.len());
    let (answer, closed) =
        exchange(&gateway, &post(&client, "1.1", "Transfer-Encoding: chunked", &chunked)).await;
    assert!(closed && answer.matches("HTTP/1.1 200 ").count() == 1, "chunks alone are no fault: {answer}");
    assert_eq!((fake.ledger().deliveries("first"), fake.ledger().deliveries("second")), (1, 0));
}

/// X-15: a line that ends without CR LF is refused, wherever it stands, and nothing behind it is a request.
#[tokio::test]
async fn a_line_that_does_not_end_with_cr_lf_is_refused() {
    let (gateway, fake, client) = place().await;
    let (body, hidden) = (call("bare"), call("hidden"));
    let plain = post(&client, "1.1", &format!("Content-Length: {}", body.len()), &body);
    let (head, _) = plain.split_once("\r\n\r\n").expect("a head");
    let bare = [
        plain.replacen("\r\n", "\n", 1),
        plain.replace("\r\nHost", "\nHost"),
        plain.replace("\r\nContent-Type", "\rContent-Type"),
        format!("{}\n\n{body}", head.replace("\r\n", "\n")),
        format!("{head}\r\n\n{body}"),
        format!("\n{plain}"),
        post(&client, "1.1", &format!("X: a\nContent-Length: {}", body.len()), &body),
        post(&client, "1.1", &format!("X: a\rContent-Length: {}", body.len()), &body),
        post(&client, "1.1", &format!("Content-Length: {0}\r\nContent-Length: {0}", body.len()), &body),
        post(
            &client,
            "1.1",
            "Transfer-Encoding: gzip, chunked",
            &format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
        ),
    ];
    for request in bare {
        let behind = post(&client, "1.1", &format!("Content-Length: {}", hidden.len()), &hidden);
        let (answer, closed) = exchange(&gateway, &format!("{request}{behind}")).await;
        assert!(closed && !answer.contains("HTTP/1.1 200"), "{request:?}: {answer}");
        assert_eq!(
            (fake.ledger().deliveries("bare"), fake.ledger().deliveries("hidden")),
            (0, 0),
            "{request:?}"
        );
    }
    let (answer, _) = exchange(&gateway, &format!("{plain}{plain}")).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "{answer}");
}

/// B-06: a body that is refused before it was read does not become the next request.
#[tokio::test]
async fn what_is_left_of_a_refused_body_is_no_request() {
    let (gateway, fake, client) = place().await;
    let hidden = post(&client, "1.1", &format!("Content-Length: {}", call("hidden").len()), &call("hidden"));
    for lines in ["Content-Type: text/plain", "Origin: https://evil.example.com", "Content-Length-Of: 1"] {
        let size = 5 * 1024 * 1024;
        let request = post(&client, "1.1", &format!("{lines}\r\nContent-Length: {size}"), &hidden);
        let (answer, _) = exchange(&gateway, &request).await;
        assert!(answer.matches("HTTP/1.1 ").count() <= 1 && !answer.contains("HTTP/1.1 200"), "{answer}");
        assert_eq!(fake.ledger().deliveries("hidden"), 0);
    }
    // Two requests in a row on one connection are two, each answered.
    let both = format!("{hidden}{hidden}");
    let (answer, _) = exchange(&gateway, &both).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "{answer}");
}

/// B-01: nothing is unpacked, so that a small body cannot become a large one.
#[tokio::test]
async fn a_compressed_body_is_not_unpacked() {
    let (gateway, fake, client) = place().await;
    let before = gateway.usage().memory;
    // The beginning of what gzip makes of very many blanks.
    let bomb = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3][..], &[0xec; 4096]].concat();
    let mut reply = client.post_bytes(bomb.into(), &[("content-encoding", "gzip")]).await.expect("an answer");
    assert!([400, 415].contains(&reply.status), "{}", reply.status);
    drop(reply.next().await);
    assert!(gateway.usage().memory.saturating_sub(before) < 8 * 1024 * 1024);
    assert_eq!(fake.ledger().count("tools/call"), 0);
}

/// B-05: what decides stands behind three mebibytes, and is seen.
#[tokio::test]
async fn what_decides_is_seen_wherever_it_stands_in_the_body() {
    let (gateway, fake, client) = place().await;
    let body = |name: &str| {
        let filling = "x".repeat(3 * 1024 * 1024);
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"params":{{"arguments":{{"text":"{filling}"}},"name":"{name}"}},"method":"tools/call"}}"#
        )
    };
    let aggregated = gateway.client("/mcp").await;
    let mut reply = aggregated.post_bytes(body("one__nothing-here").into(), &[]).await.expect("an answer");
    let refused = reply.next().await.expect("a body").expect("an answer");
    assert!(refused.get("result").is_none() || refused["result"]["isError"] == true, "{refused:.300}");
    let mut reply = aggregated.post_bytes(body("nowhere__echo").into(), &[]).await.expect("an answer");
    let refused = reply.next().await.expect("a body").expect("an answer");
    assert_eq!(refused["error"]["code"], -32602, "{refused:.300}");
    assert!(fake.ledger().of("tools/call").iter().all(|call| call.params["name"] != "echo"));
    let mut reply = client.post_bytes(body("echo").into(), &[]).await.expect("an answer");
    assert!(reply.next().await.expect("a body").expect("an answer").get("result").is_some());
    let seen =
        eventually("the call", Duration::from_secs(5), async || fake.ledger().of("tools/call").pop()).await;
    assert_eq!(seen.params["name"], "echo");
}
