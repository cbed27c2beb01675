//! `mcp-gateway export`.

use mcp_registry_gateway::config::Config;
use mcp_registry_gateway::model::ServiceName;
use mcp_registry_gateway::registry::import::{Client, Target, export};
use mcp_registry_gateway::store::presence;

use crate::exit::Failure;
use crate::table::print;
use crate::wiring::Common;

/// Prints what an MCP client needs to reach this gateway, in the client's own format.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  mcp-gateway export --for vscode > .vscode/mcp.json
  mcp-gateway export --for claude-code --service docs
  mcp-gateway export --for cursor --url https://gateway.example.com --key mcp_…

Without --key, a client that can do so is told to take its key from the variable MCP_GATEWAY_KEY or to ask for it; for others
YOUR_KEY stands where the key belongs. No key is printed while the gateway has no authentication configured.")]
pub(crate) struct Args {
    /// The client
    #[arg(long = "for", value_name = "CLIENT", value_parser = clap::builder::PossibleValuesParser::new(Client::ALL.iter().map(|client| client.as_str())))]
    client: String,
    /// The one service that the client is to see [default: all of them]
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// The name of the entry in the client's file
    #[arg(long, default_value = "gateway")]
    name: String,
    /// Where the client reaches the gateway [default: `auth.url`, else where it serves on this machine]
    #[arg(long)]
    url: Option<String>,
    /// The key to write into the text
    #[arg(long)]
    key: Option<String>,
}

pub(crate) fn run(common: &Common, args: &Args) -> Result<(), Failure> {
    let config = common.configuration()?;
    let client: Client = args.client.parse()?;
    let mut url = base(common, &config, args)?;
    if !url.ends_with("/mcp") {
        url.push_str("/mcp");
    }
    if let Some(service) = &args.service {
        let service = ServiceName::asked(service)
            .map_err(|error| Failure::usage(format!("--service {service}: {error}")))?;
        url = format!("{url}/{service}");
    }
    let guarded = config.auth.is_configured();
    let target = Target { name: &args.name, url: &url, guarded, key: args.key.as_deref() };
    eprintln!("mcp-gateway: put this into {}", client.file());
    print(&export(client, &target))
}

/// The gateway's URL without a path of its own and without a slash at its end.
fn base(common: &Common, config: &Config, args: &Args) -> Result<String, Failure> {
    if let Some(url) = &args.url {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(Failure::usage(format!(
                "--url {url}: expected a URL such as https://gateway.example.com"
            )));
        }
        return Ok(url.trim_end_matches('/').to_owned());
    }
    if let Some(url) = &config.auth.url {
        return Ok(url.trim_end_matches('/').to_owned());
    }
    let scheme = if config.server.tls.is_on() { "https" } else { "http" };
    let serving = common.location(config).ok().and_then(|location| presence::serving(&location));
    Ok(serving.unwrap_or_else(|| format!("{scheme}://127.0.0.1:{}", config.server.port)))
}
