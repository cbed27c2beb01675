//! The `mcp-gateway` program: serves the gateway, and talks to one that runs.

mod api;
mod audit;
mod call;
mod client;
mod credentials;
mod database;
mod demo;
mod exit;
mod healthcheck;
mod import;
mod keys;
mod list;
mod logging;
mod register;
mod reload;
mod serve;
mod stdio;
mod table;
mod validate;
mod welcome;
mod wiring;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mcp_registry_gateway::server;

/// Gives memory back after a flood of sessions, where the system's allocator keeps it, and is faster on small objects.
/// How soon it does is set where it is built: `.cargo/config.toml`.
#[cfg(not(windows))]
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
    /// Serves the gateway until it is told to stop
    Serve(serve::Args),
    /// Serves the gateway to one client on standard input and output
    Stdio(stdio::Args),
    /// Registers a server
    Register(Box<register::Args>),
    /// Makes, lists, rotates and revokes API keys
    Keys(keys::Args),
    /// Sets, lists and removes what a server is shown before it lets the gateway in
    Credentials(credentials::Args),
    /// Lists the registered servers
    List(list::Args),
    /// Calls a tool through a running gateway
    Call(call::Args),
    /// Registers the servers of an `mcpServers` file, as desktop clients keep it
    Import(import::Args),
    /// Asks a running gateway whether it works, or probes one server now
    Healthcheck(healthcheck::Args),
    /// Checks the configuration and prints everything that is wrong with it
    Validate(validate::Args),
    /// Makes the database, or brings it to the newest version
    InitDb(database::InitArgs),
    /// Refreshes the database's statistics and gives free space back
    OptimizeDb(database::OptimizeArgs),
    /// Shows, exports and verifies the audit trail
    Audit(audit::Args),
    /// Shows the gateway at work on servers of its own
    Demo(demo::Args),
    #[command(hide = true)]
    DemoServer(demo::ServerArgs),
    /// Prints the OpenAPI document of the HTTP surface
    Openapi,
}

// Connections have threads of their own; what is left is little, and one thread can be kept tidy.
#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> ExitCode {
    let Cli { common, command } = Cli::parse();
    let done = match command {
        Command::Serve(args) => serve::run(common, args).await,
        Command::Stdio(args) => Box::pin(stdio::run(common, args)).await,
        Command::Register(args) => register::run(&common, *args).await,
        Command::Keys(args) => Box::pin(keys::run(&common, args)).await,
        Command::Credentials(args) => Box::pin(credentials::run(&common, args)).await,
        Command::List(args) => list::run(&common, args).await,
        Command::Call(args) => call::run(&common, args).await,
        Command::Import(args) => import::run(&common, args).await,
        Command::Healthcheck(args) => healthcheck::run(&common, args).await,
        Command::Validate(args) => validate::run(&common, &args),
        Command::InitDb(args) => database::init(&common, &args).await,
        Command::OptimizeDb(args) => database::optimize(&common, &args).await,
        Command::Audit(args) => audit::run(&common, args).await,
        Command::Demo(args) => return demo::run(args).await,
        Command::DemoServer(args) => return demo::serve(args).await,
        Command::Openapi => openapi(),
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
