//! The real `mcp-gateway` program: started on a free port with data of its own, asked over HTTP, ended by signals.

mod piped;
mod table;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use http::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

pub use piped::Piped;
pub use table::{Usage, marked, usage};

use crate::clock::{Stopwatch, eventually};
use crate::http::Http;
use crate::mcp::Client;

/// How long a start may take on a loaded machine.
const START: Duration = Duration::from_secs(20);

/// What a gateway is started with besides a free port.
#[derive(Debug, Default)]
pub struct Options {
    /// Data that outlives the process; a folder of its own, removed at the end, unless given.
    pub data: Option<PathBuf>,
    /// Environment variables.
    pub env: Vec<(&'static str, String)>,
    /// Arguments after `serve`.
    pub args: Vec<String>,
}

/// A running gateway. Dropping it kills it.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    address: SocketAddr,
    http: Http,
    data: PathBuf,
    output: PathBuf,
    log: PathBuf,
    /// Time from the start of the process to its line that says where it listens.
    pub ready_after: Duration,
    _own: TempDir,
}

impl Gateway {
    /// A gateway with nothing registered and everything as it is by default.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// A gateway with `options`.
    pub async fn start_with(options: Options) -> Self {
        let own = tempfile::tempdir().expect("a temporary folder");
        let (output, log) = (own.path().join("output"), own.path().join("log"));
        let data = options.data.unwrap_or_else(|| own.path().join("data"));
        let mut command = Command::new(binary());
        command.args(["serve", "--host", "127.0.0.1", "--port", "0", "--data-dir"]).arg(&data);
        command.args(options.args).envs(options.env).stdin(Stdio::null());
        let file = |path: &Path| File::create(path).expect("the output's file");
        command.stdout(file(&output)).stderr(file(&log));
        let watch = Stopwatch::start();
        let mut child = command.spawn().expect("mcp-gateway starts");
        let address = eventually("the line that says where the gateway listens", START, async || {
            let text = std::fs::read_to_string(&output).unwrap_or_default();
            if let Ok(Some(status)) = child.try_wait() {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                panic!("mcp-gateway ended with {status}:\n{text}{said}");
            }
            address_in(&text)
        })
        .await;
        let http = Http::new(address);
        Self {
            child,
            address,
            // Without authentication it is there before the gateway listens.
            http: local_token(&data).map_or_else(|| http.clone(), |token| http.showing(&token)),
            data,
            output,
            log,
            ready_after: watch.elapsed(),
            _own: own,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The folder of its data.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A client of its REST API, which shows the local token if there is one.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote for people to standard output.
    pub fn greeting(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Its log, which is standard error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What it wrote to its two outputs.
    pub fn output(&self) -> String {
        self.greeting() + &self.log()
    }

    /// An MCP session on `path`.
    pub async fn client(&self, path: &str) -> Client {
        match Client::connect(self.address, path).await {
            Ok(client) => client,
            Err(error) => panic!("no session on {path}: {error}\n{}", self.output()),
        }
    }

    /// Registers a server; gives its record.
    pub async fn register(&self, registration: &Value) -> Value {
        let sent = self.http.json(Method::POST, "/api/v1/servers", Some(registration)).await;
        match sent {
            Ok((200 | 201, server)) => server,
            other => panic!("cannot register {registration}: {other:?}\n{}", self.output()),
        }
    }

    /// Registers a server at `url` under `name` and waits until the gateway knows what it offers.
    pub async fn adopt(&self, name: &str, service: &str, url: &str) -> String {
        let server = self.register(&json!({ "name": name, "service": service, "endpoint_url": url })).await;
        let id = server["id"].as_str().expect("a server has an id").to_owned();
        self.offers(&id, "echo").await;
        id
    }

    /// Waits until discovery says that server `id` offers `tool`.
    pub async fn offers(&self, id: &str, tool: &str) {
        let path = format!("/api/v1/discovery/tools?tools={tool}");
        eventually(&format!("{tool} of server {id}"), START, async || {
            let (_, found) = self.http.get(&path).await.ok()?;
            found["servers"].as_array()?.iter().any(|server| server["id"] == id).then_some(())
        })
        .await;
    }

    /// What routing knows of server `id`.
    pub async fn metrics(&self, id: &str) -> Value {
        let (_, body) = self.http.get("/api/v1/router/metrics").await.expect("metrics");
        body["metrics"][id].clone()
    }

    /// Waits until the breaker of server `id` is in `state`.
    pub async fn breaker(&self, id: &str, state: &str) {
        let before = self.metrics(id).await;
        eventually(&format!("breaker {state} of server {id}, which had {before}"), START, async || {
            (self.metrics(id).await["circuit_breaker_state"] == state).then_some(())
        })
        .await;
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGHUP.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Sends SIGKILL and reaps it.
    pub fn kill(&mut self) {
        self.child.kill().expect("a process of ours");
        self.child.wait().expect("a process of ours");
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self, patience: Duration) -> ExitStatus {
        eventually("the end of mcp-gateway", patience, async || self.child.try_wait().ok().flatten()).await
    }

    /// What it uses now.
    pub fn usage(&self) -> Usage {
        usage(self.pid()).expect("mcp-gateway runs")
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("a process of ours");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to kill and nothing to reap.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let text = self.output();
            let tail: Vec<_> = text.lines().rev().take(40).collect();
            eprintln!("--- the gateway's last lines ---");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// The token by which processes of this machine may do everything to the gateway on this folder, if one was written.
fn local_token(data: &Path) -> Option<String> {
    std::fs::read_to_string(data.join("local.token")).ok().map(|text| text.trim().to_owned())
}

fn address_in(text: &str) -> Option<SocketAddr> {
    text.lines().find_map(|line| {
        let (_, rest) = line.split_once("://127.0.0.1:")?;
        let (port, _) = rest.split_once("/mcp")?;
        Some(SocketAddr::from(([127, 0, 0, 1], port.parse().ok()?)))
    })
}

/// The program under test: `MCP_GATEWAY_BIN`, or built into the folder that this test was built into.
#[expect(clippy::disallowed_methods, reason = "which program to test is the caller's choice")]
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Ok(path) = std::env::var("MCP_GATEWAY_BIN") {
            return PathBuf::from(path);
        }
        build().expect("mcp-gateway can be built")
    })
}

fn build() -> io::Result<PathBuf> {
    // This test is TARGET/debug/deps/e2e-…
    let test = std::env::current_exe()?;
    let folder = test.parent().and_then(Path::parent).ok_or(io::ErrorKind::NotFound)?;
    let target = folder.parent().ok_or(io::ErrorKind::NotFound)?;
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let status = Command::new("cargo")
        .args(["build", "--quiet", "-p", "mcp-registry-gateway", "--features", "cli", "--bin", "mcp-gateway"])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(target)
        .status()?;
    if !status.success() {
        return Err(io::Error::other(format!("cargo build: {status}")));
    }
    Ok(target.join("debug/mcp-gateway"))
}

#[cfg(test)]
mod tests {
    use super::address_in;

    #[test]
    fn the_address_is_found_in_the_line_that_names_the_route() {
        let text = "starting\nlisten on http://127.0.0.1:8000\nconnect to http://127.0.0.1:41234/mcp now\n";
        assert_eq!(address_in(text).map(|address| address.port()), Some(41234));
        assert_eq!(address_in("http://127.0.0.1:"), None);
    }
}
