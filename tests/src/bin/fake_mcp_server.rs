//! A fake MCP server over stdio, or over HTTP with `--port`.

use std::fs::OpenOptions;
use std::path::PathBuf;

use clap::Parser;
use mcp_registry_gateway_tests::fake::{Fake, Ledger, serve_stdio};

/// A fake MCP server: the tools say what they do.
#[derive(Debug, Parser)]
struct Options {
    /// What `whoami` answers.
    #[arg(long, default_value = "fake")]
    name: String,
    /// Appends everything received to this file, one JSON object a line.
    #[arg(long)]
    ledger: Option<PathBuf>,
    /// Serves streamable HTTP on a free port and prints its URL, instead of stdio.
    #[arg(long)]
    http: bool,
    /// Starts a child of its own that does nothing, as wrappers such as `npx` do.
    #[arg(long)]
    grandchild: bool,
    /// Ignored; makes the process recognisable in the process table.
    #[arg(long)]
    mark: Option<String>,
}

fn main() -> std::io::Result<()> {
    let options = Options::parse();
    let ledger = match &options.ledger {
        Some(path) => Ledger::to_file(OpenOptions::new().create(true).append(true).open(path)?),
        None => Ledger::default(),
    };
    // Kept without being waited for: whoever kills this process must also find its child.
    let _grandchild = match (options.grandchild, &options.mark) {
        (true, mark) => {
            let mark = mark.as_deref().unwrap_or("fake");
            // `exec` with another name in argv[0] keeps the mark visible in the process table.
            let script = "exec -a \"sleep-$0\" sleep 600";
            Some(std::process::Command::new("bash").args(["-c", script, mark]).spawn()?)
        }
        (false, _) => None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if options.http {
            let fake = Fake::start(&options.name).await;
            println!("{}", fake.url());
            std::future::pending::<()>().await;
        }
        serve_stdio(&options.name, ledger).await;
    });
    // Reading standard input blocks a thread of the runtime, for which nobody should wait.
    runtime.shutdown_background();
    Ok(())
}
