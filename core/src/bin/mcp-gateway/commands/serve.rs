//! `mcp-gateway serve`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use mcp_registry_gateway::config;
use mcp_registry_gateway::gateway::Caller;
use mcp_registry_gateway::model::{Principal, Registration, TenantId};
use mcp_registry_gateway::server;
use mcp_registry_gateway::server::tls::Certificate;
use mcp_registry_gateway::server::{Exposed, Serving};
use mcp_registry_gateway::store::DataLoss;
use mcp_registry_gateway::tasks::{Workers, trim_caches};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::import::server_of;
use crate::exit::Failure;
use crate::reload;
use crate::reload::Running;
use crate::table::print;
use crate::wiring::Common;
use crate::{logging, welcome};

/// Serves the gateway until it is stopped: SIGTERM or Ctrl-C lets calls under way end, a second one does not.
/// A changed configuration file is taken up by itself, and on SIGHUP.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  mcp-gateway serve
  mcp-gateway serve --server calc=http://127.0.0.1:9000/mcp --server 'fs=npx -y @modelcontextprotocol/server-filesystem /tmp'
  mcp-gateway serve --port 0 --import ~/.config/client/mcp.json")]
pub(crate) struct Args {
    /// The loopback address to listen on [default: 127.0.0.1]
    #[arg(long)]
    host: Option<String>,
    /// The port to listen on; 0 for any free one [default: 8000]
    #[arg(long)]
    port: Option<String>,
    /// Register a server, or change it if it is registered: NAME=URL or NAME=COMMAND; may be repeated
    #[arg(long = "server", value_name = "NAME=URL|NAME=COMMAND", value_parser = server_of)]
    servers: Vec<Registration>,
    /// Register the servers of a file of an MCP client or of another gateway; see `import`
    #[arg(long, value_name = "FILE")]
    import: Option<PathBuf>,
    /// Go on with a database that lacks what was acknowledged, once; the audit trail tells of it
    #[arg(long)]
    accept_data_loss: bool,
}

pub(crate) async fn run(common: Common, args: Args) -> Result<(), Failure> {
    let options = vec![
        ("--host", "server.host", args.host),
        ("--port", "server.port", args.port),
        ("--import", "import", args.import.map(|path| path.display().to_string())),
    ];
    let sources = common.sources(&options)?;
    let config = config::load(&sources)?;
    let level = logging::start(&config)?;
    reload::tell(&sources);

    let loss = if args.accept_data_loss { DataLoss::Accept } else { DataLoss::Refuse };
    let certificate = Certificate::open(&config.server.tls)?;
    let scheme = if certificate.is_some() { "https" } else { "http" };
    let wanted = SocketAddr::new(config.server.host, config.server.port);
    let listener = TcpListener::bind(wanted).await.map_err(|error| {
        Failure::failed(format!(
            "cannot listen on {wanted}: {error}; choose another with --port, or 0 for any"
        ))
    })?;
    let address = listener.local_addr().map_err(|error| Failure::failed(error.to_string()))?;
    // Declared before the gateway, so that it ends after it.
    let workers = Workers::start(config.server.workers)?;
    let own_url = format!("{scheme}://{}", near(address));
    let gateway = common.open(&config, Some(&own_url), &args.servers, loss).await?;
    gateway.tasks().spawn(trim_caches());
    let service = gateway.service().exposing(Exposed::EVERYTHING);
    // Not as an embedding program: a server is trusted as long as the configuration names it, and no longer.
    let caller =
        Caller::sent(Principal::local(TenantId::default_tenant()), Arc::from(format!("serve-{address}")));

    let grace = config.server.grace;
    let mut running = Running {
        common,
        options,
        own: args.servers,
        config,
        level,
        gateway: gateway.clone(),
        service: Some(service.clone()),
        certificate: certificate.clone(),
        caller,
    };
    running.register_all().await?;
    let hosts = &running.config.server.allowed_hosts;
    let far_url = running.gateway.url().or_else(|| far(scheme, address, hosts));
    print(&welcome::text(&running.gateway, &running.caller, &own_url, far_url.as_deref())?)?;

    let stop = CancellationToken::new();
    let mut signals = reload::Signals::new()?;
    let served = async {
        tokio::join!(
            server::serve(
                listener,
                |accepted| service.for_connection(accepted),
                Serving { tls: certificate, workers: Some(&workers), connections: service.connections() },
                stop.clone(),
                grace
            ),
            async {
                stop.cancelled().await;
                gateway.shutdown(grace).await;
            }
        );
    };
    let mut served = std::pin::pin!(served);
    tokio::select! {
        () = &mut served => return Ok(()),
        () = running.watch(&mut signals) => {}
    }
    tracing::info!(
        grace_seconds = grace.as_secs_f64(),
        "stopping; calls under way may end, a second signal cuts them"
    );
    stop.cancel();
    tokio::select! {
        () = &mut served => Ok(()),
        () = signals.stop() => Err(Failure::interrupted()),
    }
}

/// Where programs of this machine reach a listener on `address`.
fn near(address: SocketAddr) -> SocketAddr {
    let loopback: IpAddr =
        if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    SocketAddr::new(if address.ip().is_unspecified() { loopback } else { address.ip() }, address.port())
}

/// Where other machines do, if the operator said by which name they may.
fn far(scheme: &str, address: SocketAddr, hosts: &[String]) -> Option<String> {
    let host = hosts.first().filter(|_| !address.ip().is_loopback())?;
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Some(if has_port {
        format!("{scheme}://{host}")
    } else {
        format!("{scheme}://{host}:{}", address.port())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_address_is_reached_by_loopback_here_and_by_an_allowed_name_elsewhere() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        for (listens, here) in [
            ("0.0.0.0:8000", "127.0.0.1:8000"),
            ("[::]:8000", "[::1]:8000"),
            ("192.0.2.7:80", "192.0.2.7:80"),
        ] {
            assert_eq!(near(at(listens)).to_string(), here);
        }
        let hosts = |text: &str| vec![text.to_owned()];
        let url = |listens: &str, hosts: &[String]| far("https", at(listens), hosts);
        assert_eq!(url("0.0.0.0:8000", &hosts("gw.example")).unwrap(), "https://gw.example:8000");
        assert_eq!(url("0.0.0.0:8000", &hosts("gw.example:443")).unwrap(), "https://gw.example:443");
        assert_eq!(url("0.0.0.0:8000", &[]), None);
        assert_eq!(url("127.0.0.1:8000", &hosts("gw.example")), None, "others do not reach loopback");
    }
}
