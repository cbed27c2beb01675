//! What one hop costs: CPU of the gateway for each call, beside nginx's for the very same requests.
//!
//! Both have one thread and stand in front of one upstream in a process of its own. Rounds alternate, so that whatever else the machine
//! does meets both alike; the medians are compared. Every answer's id and text is checked.
#![expect(clippy::expect_used, reason = "a bench that cannot run has nothing to say")]

mod nginx;
mod upstream;

use std::io::{self, BufRead as _};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};

use clap::{Parser, Subcommand};
use mcp_registry_gateway_tests::clock::quantile;
use mcp_registry_gateway_tests::load::{Load, Report};
use mcp_registry_gateway_tests::process::{Gateway, Options, usage};
use serde_json::json;

use nginx::Nginx;

/// CPU of the gateway for each call beside nginx's. The gateway is the program in `MCP_GATEWAY_BIN`.
#[derive(Debug, Parser)]
struct Arguments {
    /// Rounds of each side.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Sessions, each with one call at a time.
    #[arg(long, default_value_t = 16)]
    sessions: usize,
    /// Calls of each session in a round.
    #[arg(long, default_value_t = 2500)]
    calls: usize,
    /// Threads that the gateway serves with; 0 for one for each processor, which is what it does by itself. nginx has one.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Size of a request, in bytes.
    #[arg(long, default_value_t = 200)]
    size: usize,
    /// Fails if the gateway takes more than this many times nginx's CPU.
    #[arg(long, default_value_t = 2.0)]
    max_ratio: f64,
    /// Prints one JSON object instead of a table.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<Part>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Serves as the upstream; the bench starts this by itself.
    Upstream,
}

/// One side of the comparison.
struct Side {
    name: &'static str,
    pid: u32,
    address: SocketAddr,
    /// CPU for each call of each round, in microseconds.
    costs: Vec<f64>,
    last: Report,
}

impl Side {
    fn new(name: &'static str, pid: u32, address: SocketAddr) -> Self {
        Self { name, pid, address, costs: Vec::new(), last: Report::default() }
    }

    #[expect(clippy::cast_precision_loss, reason = "a mean for people")]
    async fn round(&mut self, arguments: &Arguments, calls: usize) -> io::Result<f64> {
        let load = Load {
            address: self.address,
            path: "/mcp/bench".to_owned(),
            tool: "echo".to_owned(),
            sessions: arguments.sessions,
            calls,
            size: arguments.size,
        };
        let cpu = || usage(self.pid).map(|usage| usage.cpu).ok_or(io::ErrorKind::NotFound);
        let before = cpu()?;
        self.last = load.run().await?;
        let spent = cpu()?.saturating_sub(before);
        if self.last.bad > 0 {
            return Err(io::Error::other(format!(
                "{}: {} wrong answers: {:?}",
                self.name, self.last.bad, self.last.errors
            )));
        }
        Ok(spent.as_secs_f64() * 1e6 / self.last.good as f64)
    }
}

/// The upstream's process, killed when it is dropped.
struct Upstream(Child);

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_upstream() -> io::Result<(Upstream, SocketAddr)> {
    let program = std::env::current_exe()?;
    let mut upstream = Upstream(Command::new(program).arg("upstream").stdout(Stdio::piped()).spawn()?);
    let stdout = upstream.0.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut line = String::new();
    io::BufReader::new(stdout).read_line(&mut line)?;
    let address = line.trim().parse().map_err(io::Error::other)?;
    Ok((upstream, address))
}

async fn compare(arguments: &Arguments) -> io::Result<bool> {
    let (_upstream, address) = start_upstream()?;
    let nginx = Nginx::start(address).await?;
    let env =
        vec![("MREG_LOG__LEVEL", "warn".to_owned()), ("MREG_SERVER__WORKERS", arguments.workers.to_string())];
    let gateway = Gateway::start_with(Options { env, ..Options::default() }).await;
    let server = json!({ "name": "bench", "endpoint_url": format!("http://{address}/mcp") });
    let id = gateway.register(&server).await["id"].as_str().expect("an id").to_owned();
    gateway.offers(&id, "echo").await;

    let mut sides = [
        Side::new("nginx", nginx.pid(), nginx.address()),
        Side::new("gateway", gateway.pid(), gateway.address()),
    ];
    for side in &mut sides {
        side.round(arguments, arguments.calls.div_ceil(10)).await?;
    }
    for round in 1..=arguments.rounds {
        for side in &mut sides {
            let cost = side.round(arguments, arguments.calls).await?;
            side.costs.push(cost);
            if !arguments.json {
                let Report { p50, p99, .. } = side.last;
                println!(
                    "round {round}  {:<8} {cost:7.1} µs CPU a call  {:7.0} calls/s  p50 {p50:.0?}  p99 {p99:.0?}",
                    side.name,
                    side.last.rate()
                );
            }
        }
    }
    let [nginx, gateway] = sides.map(|mut side| quantile(&mut side.costs, 0.5));
    let ratio = gateway / nginx;
    if arguments.json {
        println!("{}", json!({ "gateway_us": gateway, "nginx_us": nginx, "ratio": ratio }));
    } else {
        println!("median   gateway {gateway:.1} µs, nginx {nginx:.1} µs, ratio {ratio:.2}");
    }
    Ok(ratio <= arguments.max_ratio)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let ended = runtime.block_on(async {
        match arguments.command {
            Some(Part::Upstream) => upstream::serve().await.map(|()| true),
            None => compare(&arguments).await,
        }
    });
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("hop-bench: over the ratio that --max-ratio allows");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("hop-bench: {error}");
            ExitCode::from(2)
        }
    }
}
