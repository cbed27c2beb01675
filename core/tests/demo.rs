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

/// Whether text has an escape sequence of a terminal.
fn has_escapes(text: &str) -> bool {
    text.contains('\u{1b}')
}

#[test]
fn without_a_terminal_the_demo_prints_plain_lines() {
    let output = Command::new(PROGRAM)
        .args(["demo", "--calls", "100"])
        .env("TERM", "xterm-256color")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!has_escapes(&text) && !text.contains('\r'), "{text:?}");
    for shown in
        ["round_robin", "weighted", "least_connections", "random", "consistent_hash", "everything held, in "]
    {
        assert!(text.contains(shown), "{shown} is missing of {text}");
    }
    println!("{}", text.lines().last().unwrap_or_default());
}

/// Runs a program in a pseudo-terminal of 40 lines and passes on what it shows and its exit code.
const TERMINAL: &str = r"
import fcntl, os, pty, struct, sys, termios
pid, master = pty.fork()
if pid == 0:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack('HHHH', 40, 120, 0, 0))
    os.execv(sys.argv[1], sys.argv[1:])
while True:
    try:
        shown = os.read(master, 65536)
    except OSError:
        break
    if not shown:
        break
    sys.stdout.buffer.write(shown)
sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

#[test]
fn in_a_terminal_the_demo_redraws_a_table_and_no_color_takes_the_colours_out() {
    for no_color in [false, true] {
        let mut command = Command::new("python3");
        command.args(["-c", TERMINAL, PROGRAM, "demo", "--calls", "100"]);
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR").env_remove("CI");
        if no_color {
            command.env("NO_COLOR", "1");
        }
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        // A picture begins by going up to the first line of the one before.
        let pictures = text.matches("A\r\u{1b}[2K").count();
        assert!(pictures > 5, "{pictures} pictures were drawn over others: {text:?}");
        let last = &text[text.rfind("A\r\u{1b}[2K").unwrap_or_default()..];
        assert!(last.contains("everything held, in ") && last.contains("consistent_hash"), "{last:?}");
        // Sequences that end in m set colours and weights.
        let coloured = text
            .split("\u{1b}[")
            .skip(1)
            .any(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m'));
        assert_eq!(coloured, !no_color, "{last:?}");
        println!("{}", last.lines().rev().find(|line| line.contains("held")).unwrap_or_default());
    }
}
