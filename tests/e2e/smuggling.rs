//! Requests that two readers could take for different ones (`vectors/smuggling.json`), written to the socket byte by byte.

use std::io;
use std::time::Duration;

use mcp_registry_gateway_tests::process::Gateway;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::one;

/// What the second request of a case calls itself.
const SMUGGLED: &str = "smuggled";

#[derive(Deserialize)]
struct Case {
    name: String,
    send: String,
    /// The status of the only answer; `null` where another is right, too.
    status: Option<u16>,
}

fn cases() -> Vec<Case> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/smuggling.json");
    serde_json::from_str(&std::fs::read_to_string(path).expect("the corpus")).expect("cases")
}

/// All that the gateway answers until it closes the connection.
async fn exchange(gateway: &Gateway, send: &[u8]) -> io::Result<String> {
    let mut stream = TcpStream::connect(gateway.address()).await?;
    stream.write_all(send).await?;
    let mut answer = Vec::new();
    // An end by reset is an end, too.
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    match read {
        Ok(_) => Ok(String::from_utf8_lossy(&answer).into_owned()),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

fn statuses(answer: &str) -> Vec<u16> {
    let lines = answer.lines().filter_map(|line| line.strip_prefix("HTTP/1."));
    lines.filter_map(|rest| rest.split(' ').nth(1)?.parse().ok()).collect()
}

/// B-06: of each request of the corpus at most the first half is answered, the connection is closed, and what was hidden behind
/// it is never done.
#[tokio::test]
async fn what_is_hidden_behind_a_request_is_never_one() {
    let (gateway, fake, _) = one().await;
    fake.ledger().clear();
    let cases = cases();
    assert!(cases.len() >= 30, "{} cases", cases.len());
    for case in &cases {
        let answer = exchange(&gateway, case.send.as_bytes()).await;
        let answer = answer.unwrap_or_else(|error| panic!("{}: not closed: {error}", case.name));
        let statuses = statuses(&answer);
        assert!(statuses.len() <= 1, "{}: {answer}", case.name);
        if let Some(expected) = case.status {
            assert_eq!(statuses, [expected], "{}: {answer}", case.name);
        }
        assert!(!answer.contains(SMUGGLED), "{}: {answer}", case.name);
    }
    let log = gateway.log();
    assert!(!log.contains(SMUGGLED), "{log}");
    assert_eq!(fake.ledger().count("tools/call"), 0);
}

/// B-06: the corpus can tell: its hidden request is answered where it stands alone.
#[tokio::test]
async fn the_hidden_request_is_one_where_it_stands_alone() {
    let gateway = Gateway::start().await;
    let hidden = cases().into_iter().find(|case| case.name == "two_different_lengths").expect("the case");
    let at = hidden.send.find("\r\n\r\n").expect("a head") + 4;
    let alone = hidden.send[at..].replace("\r\nContent-Length", "\r\nConnection: close\r\nContent-Length");
    let answer = exchange(&gateway, alone.as_bytes()).await.expect("an answer");
    assert!(answer.contains(SMUGGLED) && statuses(&answer) == [400], "{answer}");
    let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").expect("a body").1).expect("JSON");
    assert_eq!(body["error"]["code"], "VALIDATION_ERROR");
}
