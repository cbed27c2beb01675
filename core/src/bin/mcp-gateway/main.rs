//! The `mcp-gateway` program: serves the gateway, and talks to one that runs.

mod api;
mod client;
mod commands;
mod demo;
mod exit;
mod logging;
mod reference;
mod reload;
mod table;
mod welcome;
mod wiring;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mcp_registry_gateway::server;

/// Returns memory after a flood of sessions, where the system's allocator keeps it, and is faster on small objects.
/// `.cargo/config.toml` sets how soon it returns memory.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

use exit::Failure;
use wiring::Common;

/// Registers MCP servers, discovers what they offer, and routes calls to them
#[derive(Parser)]
#[command(name = "mcp-gateway", version, after_help = exit::HELP)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves the gateway until it is stopped
    Serve(commands::serve::Args),
    /// Serves the gateway to one client on standard input and output
    Stdio(commands::stdio::Args),
    /// Registers a server
    Register(Box<commands::register::Args>),
    /// Creates, lists, rotates and revokes API keys
    Keys(commands::keys::Args),
    /// Sets, lists and removes credentials that the gateway sends to a server
    Credentials(commands::credentials::Args),
    /// Lists the registered servers
    List(commands::list::Args),
    /// Calls a tool through a running gateway
    Call(commands::call::Args),
    /// Registers the servers of a file of an MCP client or of another gateway
    Import(commands::import::Args),
    /// Prints what an MCP client needs to reach this gateway
    Export(commands::export::Args),
    /// Checks the health of a running gateway, or probes one server now
    Healthcheck(commands::healthcheck::Args),
    /// Examines servers step by step and says what to do
    Doctor(commands::doctor::Args),
    /// Checks the configuration and prints everything that is wrong with it
    Validate(commands::validate::Args),
    /// Creates the database, or migrates it to the newest version
    InitDb(commands::database::InitArgs),
    /// Refreshes the database's statistics and frees unused space
    OptimizeDb(commands::database::OptimizeArgs),
    /// Writes a copy of the database
    Backup(commands::database::BackupArgs),
    /// Puts a backup in the place of the database
    Restore(commands::database::RestoreArgs),
    /// Lists, exports and verifies the audit trail
    Audit(commands::audit::Args),
    /// Demonstrates the gateway on servers of its own
    Demo(demo::Args),
    #[command(hide = true)]
    DemoServer(demo::ServerArgs),
    /// Prints the OpenAPI document of the HTTP surface
    Openapi,
    /// Writes the pages of reference, made from this program
    Docs(commands::docs::Args),
}

// Connections have threads of their own; the rest is little, and one thread can be kept tidy.
#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> ExitCode {
    let Cli { common, command } = Cli::parse();
    let done = match command {
        Command::Serve(args) => commands::serve::run(common, args).await,
        Command::Stdio(args) => Box::pin(commands::stdio::run(common, args)).await,
        Command::Register(args) => commands::register::run(&common, *args).await,
        Command::Keys(args) => Box::pin(commands::keys::run(&common, args)).await,
        Command::Credentials(args) => Box::pin(commands::credentials::run(&common, args)).await,
        Command::List(args) => commands::list::run(&common, args).await,
        Command::Call(args) => commands::call::run(&common, args).await,
        Command::Import(args) => commands::import::run(&common, args).await,
        Command::Export(args) => commands::export::run(&common, &args),
        Command::Healthcheck(args) => commands::healthcheck::run(&common, args).await,
        Command::Doctor(args) => commands::doctor::run(&common, args).await,
        Command::Validate(args) => commands::validate::run(&common, &args),
        Command::InitDb(args) => commands::database::init(&common, &args).await,
        Command::OptimizeDb(args) => commands::database::optimize(&common, &args).await,
        Command::Backup(args) => commands::database::backup(&common, &args).await,
        Command::Restore(args) => commands::database::restore(&common, &args).await,
        Command::Audit(args) => commands::audit::run(&common, args).await,
        Command::Demo(args) => return demo::run(args).await,
        Command::DemoServer(args) => return demo::serve(args).await,
        Command::Openapi => openapi(),
        Command::Docs(args) => commands::docs::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn openapi() -> Result<(), Failure> {
    let text = server::document().to_pretty_json().map_err(|error| Failure::failed(error.to_string()))?;
    table::print(&text)
}
