//! The fake server on standard input and output: one message a line.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use mcp_registry_gateway::tasks::Tasks;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::ledger::Ledger;
use super::run::{Out, parse_error, run};
use super::state::{Reaction, State};

/// Serves until standard input ends.
pub async fn serve_stdio(name: &str, ledger: Ledger) {
    let state = Arc::new(State::new(name, ledger));
    let tasks = Tasks::default();
    let (out, taken) = mpsc::channel(16);
    let (deaf, mut hears) = watch::channel(false);
    tasks.spawn_to_end(write(taken, deaf));
    let (line, mut lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lines().map_while(Result::ok);
        input.try_for_each(|text| line.blocking_send(text))
    });
    while let Some(line) = lines.recv().await {
        let Ok(message) = serde_json::from_str::<Value>(&line) else {
            drop(out.send(Out::Message(parse_error())).await);
            continue;
        };
        if let Reaction::Do(plan) = state.receive("stdio", None, BTreeMap::new(), &message) {
            let is_last_word = message["params"]["name"] == "deaf";
            tasks.spawn(run(Arc::clone(&state), plan.steps, out.clone()));
            if is_last_word {
                drop(hears.wait_for(|deaf| *deaf).await);
                std::future::pending::<()>().await;
            }
        }
    }
    tasks.token().cancel();
}

/// Writes what the plans give, in order, and does to the process what they ask for.
async fn write(mut taken: mpsc::Receiver<Out>, deaf: watch::Sender<bool>) {
    while let Some(out) = taken.recv().await {
        let mut stdout = std::io::stdout().lock();
        let written = match out {
            Out::Message(message) => writeln!(stdout, "{message}"),
            Out::Raw(bytes) => stdout.write_all(&bytes),
            Out::Stderr(bytes) => flood(bytes),
            Out::Deaf => {
                deaf.send_replace(true);
                Ok(())
            }
            Out::Exit(Some(code)) => std::process::exit(code),
            Out::Exit(None) => std::process::abort(),
            Out::Reset => std::process::exit(0),
        };
        if written.and_then(|()| stdout.flush()).is_err() {
            return;
        }
    }
}

fn flood(bytes: usize) -> std::io::Result<()> {
    let block = [b'!'; 8 * 1024];
    let mut stderr = std::io::stderr().lock();
    let mut left = bytes;
    while left > 0 {
        let now = left.min(block.len());
        stderr.write_all(&block[..now])?;
        left -= now;
    }
    writeln!(stderr)
}
