//! `mcp-gateway stdio`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mcp_registry_gateway::builtin;
use mcp_registry_gateway::clock::SystemClock;
use mcp_registry_gateway::config::{self, Config};
use mcp_registry_gateway::gateway::{Caller, Gateway};
use mcp_registry_gateway::model::{Endpoint, Principal, Registration, ServiceName, TenantId};
use mcp_registry_gateway::server::stdio;
use mcp_registry_gateway::store::Store;
use mcp_registry_gateway::store::memory::MemoryStore;
use mcp_registry_gateway::store::sqlite::SqliteStore;
use tokio_util::sync::CancellationToken;

use super::import::server_of;
use crate::exit::Failure;
use crate::logging;
use crate::reload::{self, Running, Signals};
use crate::wiring::Common;

/// The session lives as long as the process: a client on a pipe cannot begin another.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
/// How long the first lists wait for servers at least: they start only when the client starts the gateway, and it asks at once.
const COLD: Duration = Duration::from_secs(10);
/// How long shutdown waits for calls that were cut already.
const CUT: Duration = Duration::from_secs(1);

/// Serves the gateway to one local client on standard input and output, as clients start it that only start programs.
/// It knows the registered servers as of its start, and those given here; it keeps its discoveries in memory, so any number of
/// clients may each start one, beside a running `serve`. Log lines go to standard error.
#[derive(Debug, clap::Args)]
#[command(after_help = "In a client's configuration:
  { \"mcpServers\": { \"gateway\": { \"command\": \"mcp-gateway\", \"args\": [\"stdio\"] } } }
Without `--service` the client sees everything, with names such as service__tool.")]
pub(crate) struct Args {
    /// Serve this service alone, with its own names
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// A server besides the registered ones: NAME=URL or NAME=COMMAND; may be repeated
    #[arg(long = "server", value_name = "NAME=URL|NAME=COMMAND", value_parser = server_of)]
    servers: Vec<Registration>,
    /// The servers of a file of an MCP client or of another gateway, too; see `import`
    #[arg(long, value_name = "FILE")]
    import: Option<PathBuf>,
}

pub(crate) async fn run(common: Common, args: Args) -> Result<(), Failure> {
    let route = match &args.service {
        Some(name) => ServiceName::asked(name)
            .map(Endpoint::of)
            .map_err(|error| Failure::usage(format!("--service {name}: {error}")))?,
        None => Endpoint::all(),
    };
    let options = vec![("--import", "import", args.import.map(|path| path.display().to_string()))];
    let sources = common.sources(&options)?;
    let config = config::load(&sources)?;
    let level = logging::start(&config)?;
    reload::tell(&sources);
    let mut signals = Signals::new()?;
    let gateway = open(&common, &config).await?;
    let principal = Principal::local(TenantId::default_tenant());
    // Not as an embedding program: a server is trusted as long as the configuration names it, and no longer.
    let caller = Caller::sent(principal.clone(), Arc::from(format!("stdio-{}", std::process::id())));
    let (grace, max_line) = (config.server.grace, config.server.max_body_bytes);
    let own = args.servers;
    let mut running = Running {
        common,
        options,
        own,
        config,
        level,
        gateway: gateway.clone(),
        service: None,
        certificate: None,
        caller,
    };
    running.register_all().await?;

    let stop = CancellationToken::new();
    let client = stdio::Stdio { route, principal, max_line, grace };
    let served = stdio::serve(&gateway, client, tokio::io::stdin(), tokio::io::stdout(), stop.clone());
    let mut served = std::pin::pin!(served);
    let told = tokio::select! {
        () = &mut served => false,
        () = running.watch(&mut signals) => true,
    };
    let ending = async {
        if told {
            stop.cancel();
            served.await;
        }
        gateway.shutdown(CUT).await;
    };
    let code = tokio::select! {
        () = ending => 0,
        () = signals.stop() => {
            let failure = Failure::interrupted();
            eprintln!("mcp-gateway: {failure}");
            130
        }
    };
    // A read of standard input cannot be cut, and the runtime would wait for it until the client closes its end.
    std::process::exit(code)
}

/// A gateway on a copy of the registered servers.
async fn open(common: &Common, config: &Config) -> Result<Gateway, Failure> {
    let registered = SqliteStore::open(&common.database(config)?).await?;
    let copied = MemoryStore::copy_of(&registered).await;
    registered.close().await;
    let mut settings = builtin::settings(config);
    settings.list_budget = settings.list_budget.max(COLD);
    settings.sessions.longest = FOR_EVER;
    settings.sessions.idle = FOR_EVER;
    Ok(Gateway::open(settings, Arc::new(copied?), SystemClock::shared()).await?)
}
