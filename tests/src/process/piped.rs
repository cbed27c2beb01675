//! `mcp-gateway stdio`: one client on its standard input and output.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::binary;
use crate::mcp::VERSION;

/// How long any answer may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway that serves this process. Dropping it kills it.
#[derive(Debug)]
pub struct Piped {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    own: TempDir,
}

impl Piped {
    /// Starts `mcp-gateway stdio` with `args`, and with data of its own unless they say where data lives.
    pub fn start(args: &[&str]) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        let log = std::fs::File::create(data.path().join("log")).expect("the log's file");
        let mut command = Command::new(binary());
        command.arg("stdio").args(args);
        if !args.contains(&"--data-dir") {
            command.arg("--data-dir").arg(data.path());
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        let mut child = command.spawn().expect("mcp-gateway starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, input, output, own: data }
    }

    /// Starts it and opens the session.
    pub async fn open(args: &[&str], capabilities: Value) -> Self {
        let mut piped = Self::start(args);
        let params = json!({ "protocolVersion": VERSION, "capabilities": capabilities, "clientInfo": { "name": "t", "version": "1" } });
        let answer = piped.request(0, "initialize", params).await;
        assert!(answer.get("result").is_some(), "{answer}\n{}", piped.log());
        piped.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
        piped
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.own.path().join("log")).unwrap_or_default()
    }

    /// Writes a line.
    pub async fn write(&mut self, line: &[u8]) {
        let input = self.input.as_mut().expect("open input");
        input.write_all(line).await.expect("it reads");
        input.write_all(b"\n").await.expect("it reads");
    }

    /// Sends a message.
    pub async fn say(&mut self, message: &Value) {
        self.write(message.to_string().as_bytes()).await;
    }

    /// The next message; null at the end of its output.
    pub async fn hear(&mut self) -> Value {
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE, self.output.read_line(&mut line)).await;
        let read: io::Result<usize> = read.unwrap_or_else(|_| panic!("it says nothing\n{}", self.log()));
        if read.expect("text") == 0 {
            return Value::Null;
        }
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// The next response; what comes before is passed over.
    pub async fn answer(&mut self) -> Value {
        loop {
            let message = self.hear().await;
            if message.get("method").is_none() {
                return message;
            }
        }
    }

    /// Sends a request and gives its response; what comes before is passed over.
    pub async fn request(&mut self, id: u64, method: &str, params: Value) -> Value {
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await;
        loop {
            let answer = self.answer().await;
            if answer.is_null() || answer["id"] == id {
                return answer;
            }
        }
    }

    /// Sends a call of a tool.
    pub async fn call(&mut self, id: u64, tool: &str, arguments: Value) {
        let params = json!({ "name": tool, "arguments": arguments, "_meta": { "progressToken": id } });
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })).await;
    }

    /// Ends its input.
    pub fn close(&mut self) {
        self.input = None;
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, Signal::TERM).expect("a process of ours");
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("it does not end\n{}", self.log())).expect("a process of ours")
    }
}
