//! Kind F: files of servers, as clients and other gateways write them, and the commands that read and print them.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use mcp_registry_gateway_tests::clock::{Stopwatch, eventually};
use mcp_registry_gateway_tests::field::{Over, Script, Upstream};
use mcp_registry_gateway_tests::process::{Gateway, Options, binary};
use serde_json::{Value, json};

use crate::case::{PATIENCE, PROGRAM};

fn script() -> Script {
    Script::tools(r#"[{"name":"read","inputSchema":{"type":"object"}}]"#)
}

/// The right reaction to an entry of a file.
enum Right {
    /// It is served.
    Served,
    /// It is registered as inactive, and never asked anything.
    Inactive,
    /// It is left out, and the log says why.
    Excluded(&'static str),
}

/// An entry of a file of servers: `URL`, `PROGRAM`, `SCRIPT` and `LOG` stand for those of an upstream of its own.
struct Row {
    name: &'static str,
    over: Over,
    entry: &'static str,
    right: Right,
}

const fn row(name: &'static str, over: Over, entry: &'static str, right: Right) -> Row {
    Row { name, over, entry, right }
}

/// A value of the environment that nobody is shown.
const CANARY: &str = "canary-4711";

const ROWS: &[Row] = &[
    row("plain", Over::Http, r#"{"url": "URL"}"#, Right::Served),
    row("comments", Over::Http, "{ // a comment\n /* another */ 'url': 'URL', }", Right::Served),
    row(
        "variable-in-header",
        Over::Http,
        r#"{"url": "URL", "headers": {"X-Key": "${CANARY}"}}"#,
        Right::Served,
    ),
    row("variable-in-url", Over::Http, r#"{"url": "URL?key=${CANARY}&x=${env:CANARY}"}"#, Right::Served),
    row("variable-in-path", Over::Http, r#"{"url": "URL?${CANARY}"}"#, Right::Served),
    row("variable-default", Over::Http, r#"{"url": "${UNSET_OF_THE_TEST:-URL}"}"#, Right::Served),
    row(
        "variable-as-word",
        Over::Stdio,
        r#"{"command": "PROGRAM", "args": ["SCRIPT", "LOG"], "env": {"K": "$CANARY"}}"#,
        Right::Served,
    ),
    row(
        "variable-in-cwd",
        Over::Stdio,
        r#"{"command": "PROGRAM", "args": ["SCRIPT", "LOG"], "cwd": "${FOLDER}"}"#,
        Right::Served,
    ),
    row(
        "variable-missing",
        Over::Http,
        r#"{"url": "URL", "headers": {"X": "${UNSET_OF_THE_TEST}"}}"#,
        Right::Excluded("`UNSET_OF_THE_TEST` is not set"),
    ),
    row(
        "variable-of-the-gateway",
        Over::Http,
        r#"{"url": "URL", "headers": {"X": "${MREG_LOG}"}}"#,
        Right::Excluded("`MREG_LOG` is a variable of the gateway"),
    ),
    row(
        "variable-of-the-gateway-too",
        Over::Stdio,
        r#"{"command": "PROGRAM", "env": {"X": "$MREG_LOG"}}"#,
        Right::Excluded("`MREG_LOG`"),
    ),
    row(
        "input",
        Over::Http,
        r#"{"url": "URL", "headers": {"X": "${input:key}"}}"#,
        Right::Excluded("`${input:key}` asks a person"),
    ),
    row("enabled-false", Over::Http, r#"{"url": "URL", "enabled": false}"#, Right::Inactive),
    row(
        "disabled-program",
        Over::Stdio,
        r#"{"command": "PROGRAM", "args": ["SCRIPT", "LOG"], "disabled": true}"#,
        Right::Inactive,
    ),
    row(
        "program",
        Over::Stdio,
        r#"{"command": "PROGRAM", "args": ["SCRIPT", "LOG"], "env": {"PORT": 8080}}"#,
        Right::Served,
    ),
    row(
        "both-spellings",
        Over::Http,
        r#"{"type": "http", "transportType": "streamableHttp", "httpUrl": "URL", "timeout": 3}"#,
        Right::Served,
    ),
    row("sse", Over::Sse, r#"{"type": "sse", "serverUrl": "URL"}"#, Right::Served),
    row("neither", Over::Http, r#"{"timeout": 3}"#, Right::Excluded("`command` or a `url`")),
    row(
        "metadata",
        Over::Http,
        r#"{"url": "http://169.254.169.254/mcp"}"#,
        Right::Excluded("credentials of the machine"),
    ),
    row("no-object", Over::Http, "7", Right::Excluded("not an object")),
    row(
        "bad-header",
        Over::Http,
        r#"{"url": "URL", "headers": {"Host": "canary-4711"}}"#,
        Right::Excluded("`Host` is set by the gateway"),
    ),
    row(
        "unknown-type",
        Over::Http,
        r#"{"url": "URL", "type": "canary-4711"}"#,
        Right::Excluded("expected one of `http`"),
    ),
];

/// One file with an entry a row, as `serve --import` reads it.
#[tokio::test]
async fn a_file_is_read_as_its_author_means_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut text, mut upstreams) = ("\u{feff}// of a client\n{\"mcpServers\": {\n".to_owned(), Vec::new());
    for row in ROWS {
        let upstream = Upstream::start(row.over, script()).await;
        let registration = upstream.registration(row.name, PROGRAM);
        let arg = |at: usize| registration["args"][at].as_str().unwrap_or_default().to_owned();
        let entry = row.entry.replace("URL", upstream.url()).replace("PROGRAM", PROGRAM);
        let entry = entry.replace("SCRIPT", &arg(0)).replace("LOG\"]", &format!("{}\"]", arg(1)));
        text.extend([json!(row.name).to_string(), ": ".to_owned(), entry, ",\n".to_owned()]);
        upstreams.push(upstream);
    }
    text.push_str("}}\n");
    let file = folder.path().join("mcp.json");
    std::fs::write(&file, text).expect("a file");
    let gateway = Gateway::start_with(Options {
        env: vec![
            ("CANARY", CANARY.to_owned()),
            ("FOLDER", folder.path().display().to_string()),
            ("MREG_LOG", "debug".to_owned()),
        ],
        args: vec!["--import".to_owned(), file.display().to_string()],
        ..Options::default()
    })
    .await;
    let mut failed = Vec::new();
    for (row, upstream) in ROWS.iter().zip(&upstreams) {
        let outcome = look(&gateway, row, upstream).await;
        println!("{} F {} in a file", if outcome.is_ok() { "ok    " } else { "FAILED" }, row.name);
        failed.extend(outcome.err().map(|problem| format!("{}: {problem}", row.name)));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    for path in ["/api/v1/servers?limit=200", "/api/v1/audit?limit=200", "/mcp/tools", "/metrics"] {
        let sent =
            gateway.http().send(http::Method::GET, path, &[], bytes::Bytes::new()).await.expect("an answer");
        let body = sent.bytes().await.expect("a body");
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(!body.contains(CANARY), "{path}: {body}");
    }
    assert!(!gateway.output().contains(CANARY), "{}", gateway.output());
    let shown = record(&gateway, "variable-in-cwd").await.expect("a record");
    assert_eq!(shown["cwd"], "***");
}

async fn record(gateway: &Gateway, name: &str) -> Option<Value> {
    let (_, list) = gateway.http().get("/api/v1/servers?limit=200").await.expect("an answer");
    list["servers"].as_array()?.iter().find(|server| server["name"] == name).cloned()
}

async fn look(gateway: &Gateway, row: &Row, upstream: &Upstream) -> Result<(), String> {
    let found = record(gateway, row.name).await;
    match (&row.right, found) {
        (Right::Excluded(reason), None) => {
            let log = gateway.log();
            let said = log.lines().find(|line| line.contains(&format!("{:?} cannot be imported", row.name)));
            let said = said.or_else(|| {
                log.lines().find(|line| line.contains(row.name) && line.contains("cannot be imported"))
            });
            said.filter(|line| line.contains(reason)).map(drop).ok_or(log)
        }
        (Right::Inactive, Some(server)) if server["status"] == "inactive" => {
            if upstream.received().is_empty() { Ok(()) } else { Err("it was asked".to_owned()) }
        }
        (Right::Served, Some(_)) => {
            let client = gateway.client(&format!("/mcp/{}", row.name)).await;
            eventually(row.name, PATIENCE, async || {
                let list = client.request("tools/list", json!({})).await.ok()?;
                list.names("tools").iter().any(|name| name == "read").then_some(())
            })
            .await;
            Ok(())
        }
        (_, found) => Err(format!("{found:?}")),
    }
}

/// A command of the program, with its own data.
fn command(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.arg(words[0]).arg("--data-dir").arg(folder.join("data")).args(&words[1..]);
    command.env("CANARY", CANARY).stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn import_says_what_it_did_with_each_entry() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("mcp.json");
    let text = r#"{"servers": {"web": {"url": "http://127.0.0.1:9/${CANARY}/mcp", "gallery": true},
        "off": {"command": "x", "disabled": true}, "asks": {"command": "x", "env": {"K": "${input:k}"}}}}"#;
    std::fs::write(&file, text).expect("a file");
    let path = file.to_str().expect("a path");
    let dry = command(folder.path(), &["import", "--dry-run", path]).output().expect("it runs");
    let table = said(&dry);
    assert_eq!(dry.status.code(), Some(1), "{table}");
    for part in [
        "NAME",
        "TRANSPORT",
        "ACTION",
        "REASON",
        "would be registered",
        "would be registered, inactive",
        "excluded",
        "`gallery`",
        "dry run",
        "vscode",
    ] {
        assert!(table.contains(part), "{part} in {table}");
    }
    assert!(!folder.path().join("data").join("gateway.db").exists(), "a dry run makes nothing");
    let done = command(folder.path(), &["import", "--json", path]).output().expect("it runs");
    let outcome: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    let action = |name: &str| {
        let rows = outcome["servers"].as_array().expect("rows");
        let row = rows.iter().find(|row| row["name"] == name).cloned().unwrap_or_default();
        format!(
            "{} {}",
            row["transport"].as_str().unwrap_or_default(),
            row["action"].as_str().unwrap_or_default()
        )
    };
    assert_eq!(
        ["web", "off", "asks"].map(action),
        ["http registered", "stdio registered, inactive", "- excluded"]
    );
    let again = command(folder.path(), &["import", path]).output().expect("it runs");
    assert!(said(&again).contains("exists"), "{}", said(&again));
    let listed = command(folder.path(), &["list", "--json"]).output().expect("it runs");
    for output in [&dry, &done, &again, &listed] {
        assert!(!said(output).contains(CANARY), "{}", said(output));
    }
    let servers: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let text = servers.to_string();
    assert!(text.contains("http://127.0.0.1:9/***/mcp") && text.contains(r#""status":"inactive""#), "{text}");
    let one = folder.path().join("one.json");
    std::fs::write(&one, "{ // one\n 'name': 'From', 'serverUrl': 'http://127.0.0.1:9/${CANARY}', }")
        .expect("a file");
    let from = command(folder.path(), &["register", "--json", "--from"]).arg(&one).output().expect("it runs");
    assert!(from.status.success() && said(&from).contains("http://127.0.0.1:9/***"), "{}", said(&from));
}

#[test]
fn export_prints_what_a_client_reads() {
    let folder = tempfile::tempdir().expect("a folder");
    for client in
        ["vscode", "claude", "claude-code", "cursor", "windsurf", "zed", "cline", "gemini", "opencode"]
    {
        let words =
            ["export", "--for", client, "--service", "docs", "--url", "https://gw.example", "--key", "mcp_k"];
        let output = command(folder.path(), &words).output().expect("it runs");
        let text: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let text = text.to_string();
        assert!(
            text.contains("https://gw.example/mcp/docs") && text.contains("Bearer mcp_k"),
            "{client}: {text}"
        );
    }
    let output = command(folder.path(), &["export", "--for", "codex"]).output().expect("it runs");
    assert!(said(&output).contains("url = \"http://127.0.0.1:8000/mcp\""), "{}", said(&output));
    assert!(!folder.path().join("data").join("gateway.db").exists(), "an export makes nothing");
}

/// X-31: a hostile file of servers is refused at once, with a reason, and nothing of it is begun.
#[test]
fn x_31_a_hostile_file_is_refused_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let level = |n: i32| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "));
    let bomb = format!(
        "a0: &a0 [{}]\n{}mcpServers: *a19\n",
        ["x"; 10].join(", "),
        (1..20).map(level).collect::<String>()
    );
    let files = [
        ("deep", format!("{{\"mcpServers\": {}", "[".repeat(1_000_000)), "64 levels"),
        ("deep-yaml", format!("mcpServers: {}", "[".repeat(1_000_000)), ""),
        ("bomb", bomb, "200000 values"),
        (
            "huge",
            format!("{{\"mcpServers\": {{\"a\": \"{}\"}}}}", "x".repeat(5 * 1024 * 1024)),
            "larger than the limit",
        ),
        ("twice", r#"{"mcpServers": {}, "mcpServers": {"a": {"command": "x"}}}"#.to_owned(), "stands twice"),
        (
            "dollars",
            format!(
                r#"{{"mcpServers": {{"a": {{"command": "x", "args": ["{}"]}}}}}}"#,
                "${".repeat(1_000_000)
            ),
            "256 placeholders",
        ),
        ("text", "just text".to_owned(), "mcpServers"),
        ("binary", "\u{0}\u{1}\u{2}".to_owned(), ""),
    ];
    for (name, text, reason) in files {
        let file = folder.path().join(name);
        std::fs::File::create(&file).and_then(|mut file| file.write_all(text.as_bytes())).expect("a file");
        for words in [&["import"][..], &["register", "--from"], &["serve", "--port", "0", "--import"]] {
            if name == "dollars" && words[0] == "serve" {
                continue;
            }
            let watch = Stopwatch::start();
            let output = command(folder.path(), words).arg(&file).output().expect("it runs");
            let said = said(&output);
            assert!(!output.status.success() && said.contains(reason), "{name} {words:?}: {said}");
            assert!(said.len() < 4_000 && !said.contains('\u{1}'), "{name}: {} bytes", said.len());
            assert!(watch.elapsed() < PATIENCE, "{name} took {:?}", watch.elapsed());
        }
    }
    let linked = folder.path().join("linked");
    std::os::unix::fs::symlink("/dev/zero", &linked).expect("a link");
    let output = command(folder.path(), &["import"]).arg(&linked).output().expect("it runs");
    assert!(output.status.code() == Some(2) && said(&output).contains("is a device"), "{}", said(&output));
}
