//! The `mcp-gateway` program.

mod demo;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows the gateway at work on servers of its own
    Demo(demo::Args),
    #[command(hide = true)]
    DemoServer(demo::ServerArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Demo(args) => demo::run(args).await,
        Command::DemoServer(args) => demo::serve(args).await,
    }
}
