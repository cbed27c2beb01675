//! The demo and its servers as real processes of the real program.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_mcp-gateway");

#[test]
fn the_demo_holds_every_promise_and_says_so_in_one_json_document() {
    let output = Command::new(PROGRAM).args(["demo", "--json", "--calls", "200"]).output().unwrap();

    let errors = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).expect(&errors);
    assert!(output.status.success(), "{report:#}\n{errors}");
    let algorithms = report["algorithms"].as_array().unwrap();
    let names: Vec<&str> = algorithms.iter().map(|run| run["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["round_robin", "weighted", "least_connections", "random", "consistent_hash"]);
    for run in algorithms {
        assert_eq!((&run["calls"], &run["errors"]), (&200.into(), &0.into()), "{run}");
        let counts = run["per_server"].as_object().unwrap().values();
        assert_eq!(counts.map(|count| count.as_u64().unwrap()).sum::<u64>(), 200, "{run}");
        assert!(run["max_over_mean"].as_f64().unwrap() >= 1.0, "{run}");
    }
    let failover = &report["failover"];
    assert_eq!((&failover["errors"], &failover["duplicates"]), (&0.into(), &0.into()), "{failover}");
    assert!(failover["calls"].as_u64().unwrap() > 0, "{failover}");
    assert!(failover["breaker_opened_ms"].is_f64() && failover["recovered_ms"].is_f64(), "{failover}");
}

#[test]
fn a_demo_server_over_http_says_where_it_listens_and_ends_with_its_input() {
    let mut server = Command::new(PROGRAM)
        .args(["demo-server", "--name", "calc-9", "--port", "0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("listening on ").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /ledger HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("[]"), "{answer}");

    drop(server.stdin.take());

    assert!(server.wait().unwrap().success());
}

#[test]
fn a_demo_server_over_stdio_answers_a_line_and_ends_with_its_input() {
    let mut server = Command::new(PROGRAM)
        .args(["demo-server", "--name", "notes", "--stdio", "--offer", "notes"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = server.stdin.take().unwrap();
    input.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\"}\n").unwrap();
    let mut output = BufReader::new(server.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let answer: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(answer["result"]["tools"][0]["name"], "write");

    drop(input);

    assert!(server.wait().unwrap().success());
}
