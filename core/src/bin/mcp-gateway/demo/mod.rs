//! `mcp-gateway demo`: the gateway at work on real servers, with nothing else on the machine.
//!
//! Servers are child processes of this very program, the gateway runs in this process with its HTTP surface on a free
//! loopback port and SQLite in a temporary folder, and the clients speak MCP over HTTP like any other. Nothing is
//! taken from the inside of the gateway: the demo shows the view of its users.

mod admin;
mod children;
mod client;
mod failover;
mod host;
mod ledger;
mod load;
mod play;
mod replica;
mod screen;
mod statistics;
mod table;

use std::process::ExitCode;

use mcp_registry_gateway::Error;
use serde::Serialize;

pub(crate) use replica::ServerArgs;

use failover::Failover;
use screen::Screen;
use statistics::Run;

/// Arguments of `mcp-gateway demo`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Print one JSON document and nothing else
    #[arg(long)]
    json: bool,
    /// Calls with each of the five algorithms
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(100..=100_000))]
    calls: u64,
}

/// Everything that the demo found, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Report {
    algorithms: Vec<Run>,
    failover: Failover,
    stdio: Stdio,
    seconds: f64,
    /// Which promises broke; empty if everything held.
    broken: Vec<String>,
}

/// The calls to the server over stdio.
#[derive(Clone, Debug, Serialize)]
struct Stdio {
    calls: u64,
    errors: u64,
}

/// Runs the demo. Exit code 0: everything held; 1: a promise broke, or the demo could not run; 130: interrupted.
pub(crate) async fn run(args: Args) -> ExitCode {
    let screen = Screen::new(args.json);
    tokio::select! {
        played = play::play(args.calls, &screen) => match played {
            Ok(report) => end(&report, &screen, args.json),
            Err(error) => fail(&error),
        },
        // Everything that was started ends with the values that own it.
        _ = tokio::signal::ctrl_c() => ExitCode::from(130),
    }
}

/// Runs one demo server.
pub(crate) async fn serve(args: ServerArgs) -> ExitCode {
    match replica::serve(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn end(report: &Report, screen: &Screen, json: bool) -> ExitCode {
    if json {
        match serde_json::to_string(report) {
            Ok(text) => println!("{text}"),
            Err(error) => eprintln!("the report cannot be written: {error}"),
        }
    }
    if report.broken.is_empty() {
        let verdict = format!("everything held, in {:.1} s", report.seconds);
        screen.line(&verdict);
        screen.update(|board| board.verdict = Some(verdict));
    }
    screen.draw();
    for promise in &report.broken {
        eprintln!("broken: {promise}");
    }
    if report.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fail(error: &Error) -> ExitCode {
    eprintln!("mcp-gateway: {error}");
    ExitCode::FAILURE
}
