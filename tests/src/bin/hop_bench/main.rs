//! What one hop costs: CPU of the gateway for each call, beside nginx's for the very same requests.
//!
//! Like is compared with like, twice: one thread with one process, and each as it comes, which is a thread, or a process, for each
//! processor. All stand in front of one upstream in a process of its own. Rounds alternate, so that whatever else the machine does
//! meets both alike. What counts is the median of the rounds' ratios: a machine that is slower for a while is slower for both sides of a
//! round. Every answer's id and text is checked.
#![expect(clippy::expect_used, reason = "a bench that cannot run has nothing to say")]

mod nginx;
mod upstream;

use std::io::{self, BufRead as _};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use clap::{Parser, Subcommand};
use mcp_registry_gateway_tests::clock::quantile;
use mcp_registry_gateway_tests::load::{Load, Report};
use mcp_registry_gateway_tests::process::{Gateway, Options, usage};
use serde_json::json;

use nginx::{Nginx, Processes};

/// CPU of the gateway for each call beside nginx's. The gateway is the program in `MCP_GATEWAY_BIN`.
#[derive(Debug, Parser)]
struct Arguments {
    /// Rounds of each side.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Sessions, each with one call at a time.
    #[arg(long, default_value_t = 16)]
    sessions: usize,
    /// Calls of each session in a round.
    #[arg(long, default_value_t = 2500)]
    calls: usize,
    /// Only one of the two comparisons: 1 for one thread each, 0 for each as it comes.
    #[arg(long, value_parser = clap::value_parser!(u8).range(..=1))]
    workers: Option<u8>,
    /// Size of a request, in bytes.
    #[arg(long, default_value_t = 200)]
    size: usize,
    /// Fails if the gateway takes more than this many times nginx's CPU in any comparison.
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
    pids: Vec<u32>,
    address: SocketAddr,
    /// CPU for each call of each round, in microseconds.
    costs: Vec<f64>,
    last: Report,
}

impl Side {
    fn new(name: &'static str, pids: Vec<u32>, address: SocketAddr) -> Self {
        Self { name, pids, address, costs: Vec::new(), last: Report::default() }
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
        let cpu = || {
            let each = self.pids.iter().map(|pid| usage(*pid).map(|usage| usage.cpu));
            each.sum::<Option<Duration>>().ok_or(io::ErrorKind::NotFound)
        };
        // What it costs to open a session is not what a call costs.
        let mut opened = load.open().await?;
        opened.warm().await?;
        let before = cpu()?;
        self.last = opened.run().await?;
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

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// A thread with a process.
    Single,
    /// Each as it comes.
    Shipped,
}

impl Line {
    fn name(self) -> &'static str {
        match self {
            Self::Single => "one thread each",
            Self::Shipped => "each as it comes",
        }
    }

    /// What the gateway is told, and nginx.
    fn settings(self) -> (u8, Processes) {
        match self {
            Self::Single => (1, Processes::One),
            Self::Shipped => (0, Processes::Auto),
        }
    }
}

/// The medians of one comparison.
struct Medians {
    gateway: f64,
    nginx: f64,
    ratio: f64,
}

async fn compare(arguments: &Arguments) -> io::Result<bool> {
    let (_upstream, address) = start_upstream()?;
    let lines: &[Line] = match arguments.workers {
        Some(1) => &[Line::Single],
        Some(_) => &[Line::Shipped],
        None => &[Line::Single, Line::Shipped],
    };
    let mut found = Vec::new();
    for line in lines {
        found.push((*line, measure(arguments, *line, address).await?));
    }
    for (line, medians) in &found {
        let (name, Medians { gateway, nginx, ratio }) = (line.name(), medians);
        if !arguments.json {
            println!("{name:<17} median   gateway {gateway:.1} µs, nginx {nginx:.1} µs, ratio {ratio:.2}");
        }
    }
    if arguments.json {
        let lines = found.iter().map(|(line, medians)| {
            let Medians { gateway, nginx, ratio } = medians;
            json!({ "line": line.name(), "gateway_us": gateway, "nginx_us": nginx, "ratio": ratio })
        });
        println!("{}", json!({ "lines": lines.collect::<Vec<_>>() }));
    }
    Ok(found.iter().all(|(_, medians)| medians.ratio <= arguments.max_ratio))
}

async fn measure(arguments: &Arguments, line: Line, upstream: SocketAddr) -> io::Result<Medians> {
    let (workers, processes) = line.settings();
    let nginx = Nginx::start(upstream, processes).await?;
    let env = vec![("MREG_LOG__LEVEL", "warn".to_owned()), ("MREG_SERVER__WORKERS", workers.to_string())];
    let gateway = Gateway::start_with(Options { env, ..Options::default() }).await;
    let server = json!({ "name": "bench", "endpoint_url": format!("http://{upstream}/mcp") });
    let id = gateway.register(&server).await["id"].as_str().expect("an id").to_owned();
    gateway.offers(&id, "echo").await;

    let mut sides = [
        Side::new("nginx", nginx.pids(), nginx.address()),
        Side::new("gateway", vec![gateway.pid()], gateway.address()),
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
                    "{:<17} round {round}  {:<8} {cost:7.1} µs CPU a call  {:7.0} calls/s  p50 {p50:.0?}  p99 {p99:.0?}",
                    line.name(),
                    side.name,
                    side.last.rate()
                );
            }
        }
    }
    let [nginx, gateway] = &sides;
    let mut ratios: Vec<f64> =
        gateway.costs.iter().zip(&nginx.costs).map(|(ours, theirs)| ours / theirs).collect();
    let ratio = quantile(&mut ratios, 0.5);
    let [nginx, gateway] = sides.map(|mut side| quantile(&mut side.costs, 0.5));
    Ok(Medians { gateway, nginx, ratio })
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
