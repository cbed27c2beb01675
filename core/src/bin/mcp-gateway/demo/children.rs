//! The demo's servers as child processes: started, killed, started again, and all reaped in the end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use mcp_registry_gateway::{Error, ErrorKind, Result};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a child may take to listen, and to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(5);

/// One replica over HTTP.
#[derive(Debug)]
pub(super) struct Replica {
    /// The name that it reports.
    pub(super) name: String,
    /// Where it listens; stays the same when it is started again.
    pub(super) address: SocketAddr,
    /// The file in which it enters its executions; survives a kill.
    pub(super) ledger: PathBuf,
    process: Child,
}

impl Replica {
    /// Starts a replica on a free port and waits until it listens.
    pub(super) async fn start(name: String, folder: &Path) -> Result<Self> {
        let ledger = folder.join(format!("{name}.ledger"));
        let (process, address) = spawn(&name, 0, &ledger).await?;
        Ok(Self { name, address, ledger, process })
    }

    /// Kills the process without warning (SIGKILL on Unix) and waits until it is gone.
    pub(super) async fn kill(&mut self) -> Result<()> {
        self.process.kill().await.map_err(|error| failed("cannot be killed", &self.name, error))
    }

    /// Starts the killed replica again at its old address.
    pub(super) async fn start_again(&mut self) -> Result<()> {
        (self.process, self.address) = spawn(&self.name, self.address.port(), &self.ledger).await?;
        Ok(())
    }

    /// The process id; `None` once it is reaped.
    pub(super) fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Ends the process by closing its standard input, or else by a kill, and reaps it.
    pub(super) async fn stop(mut self) -> Result<()> {
        drop(self.process.stdin.take());
        match timeout(PATIENCE, self.process.wait()).await {
            Ok(ended) => ended.map(drop).map_err(|error| failed("cannot be reaped", &self.name, error)),
            Err(_) => self.kill().await,
        }
    }
}

/// The program and its first argument that run one demo server.
pub(super) fn program() -> Result<(PathBuf, &'static str)> {
    let path = std::env::current_exe().map_err(|error| {
        Error::new(ErrorKind::Internal, "the path of the running program cannot be determined")
            .caused_by(error)
    })?;
    Ok((path, "demo-server"))
}

async fn spawn(name: &str, port: u16, ledger: &Path) -> Result<(Child, SocketAddr)> {
    let (program, subcommand) = program()?;
    let mut process = Command::new(program)
        .args([subcommand, "--name", name, "--port", &port.to_string(), "--ledger"])
        .arg(ledger)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed("cannot be started", name, error))?;
    let output = process.stdout.take().ok_or_else(|| Error::new(ErrorKind::Internal, "no output to read"))?;
    let first = timeout(PATIENCE, BufReader::new(output).lines().next_line()).await;
    let Ok(Ok(Some(line))) = first else {
        return Err(Error::new(ErrorKind::Unavailable, "a demo server did not start").with("name", name));
    };
    let address = line.strip_prefix("listening on ").and_then(|address| address.parse().ok());
    let address = address.ok_or_else(|| {
        Error::new(ErrorKind::Internal, "a demo server did not print its address").with("line", &line)
    })?;
    Ok((process, address))
}

fn failed(what: &str, name: &str, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Internal, format!("a demo server {what}"))
        .with("name", name)
        .with("reason", &error)
        .caused_by(error)
}
