//! How long the REST API takes with a large register and many users: the median and the 99th percentile for each kind of request.
//!
//! Users ask one after another without a pause, each kind for itself, so that the numbers are those of a gateway that has nothing but
//! this to do. Every answer's status is checked.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::Parser;
use http::Method;
use mcp_registry_gateway_tests::clock::{Stopwatch, quantile};
use mcp_registry_gateway_tests::http::Http;
use mcp_registry_gateway_tests::process::{Gateway, Options};
use serde_json::{Value, json};

/// What the documentation promises for requests of one thing, or of a page of a list.
const SIMPLE: Duration = Duration::from_millis(200);
/// What it promises for requests that look through the whole register.
const COMPLEX: Duration = Duration::from_millis(500);

/// Times of REST requests with many servers and users. The gateway is the program in `MCP_GATEWAY_BIN`.
#[derive(Debug, Parser)]
struct Arguments {
    /// Servers that are registered.
    #[arg(long, default_value_t = 10_000)]
    servers: usize,
    /// Tools of each server.
    #[arg(long, default_value_t = 20)]
    tools: usize,
    /// Users at the same time.
    #[arg(long, default_value_t = 100)]
    users: usize,
    /// Requests of each kind.
    #[arg(long, default_value_t = 5000)]
    requests: usize,
    /// Prints one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// A kind of request: what it is called, the promise, and the path of the request of this number.
struct Kind {
    name: &'static str,
    promise: Duration,
    path: Box<dyn Fn(usize) -> String + Send + Sync>,
}

fn kind(
    name: &'static str,
    promise: Duration,
    path: impl Fn(usize) -> String + Send + Sync + 'static,
) -> Kind {
    Kind { name, promise, path: Box::new(path) }
}

fn kinds(ids: Vec<String>, tools: usize) -> Vec<Kind> {
    let count = ids.len();
    let pages = count.div_ceil(200).max(1);
    vec![
        kind("health", SIMPLE, |_| "/health".to_owned()),
        kind("one server", SIMPLE, move |n| format!("/api/v1/servers/{}", ids[n * 7919 % ids.len()])),
        kind("page of 50", SIMPLE, move |n| format!("/api/v1/servers?page={}", n % (pages * 4) + 1)),
        kind("page of 200", SIMPLE, move |n| format!("/api/v1/servers?limit=200&page={}", n % pages + 1)),
        kind("who has a tool", SIMPLE, move |n| {
            format!("/api/v1/discovery/tools?tools={}", tool(n % count, n % tools))
        }),
        kind("page by tag", COMPLEX, |n| format!("/api/v1/servers?tags=group-{}", n % 10)),
        kind("page by text", COMPLEX, |n| format!("/api/v1/servers?search=number+{}", n % 97)),
        kind("page with tools", COMPLEX, move |n| {
            format!("/api/v1/servers?limit=200&include_tools=true&page={}", n % pages + 1)
        }),
        kind("ranked search", COMPLEX, |n| format!("/api/v1/discovery/search?q=weather+{}&limit=50", n % 97)),
        kind("counts", COMPLEX, |_| "/api/v1/admin/stats".to_owned()),
        kind("registry page", COMPLEX, |n| format!("/v0.1/servers?limit=100&search=number+{}", n % 97)),
    ]
}

fn tool(server: usize, number: usize) -> String {
    format!("weather_{server}_{number}")
}

fn registration(number: usize, tools: usize) -> Value {
    let tools: Vec<Value> = (0..tools)
        .map(|n| {
            let about = format!("Tells the weather of place {n} as server number {number} sees it");
            let schema = json!({ "type": "object", "properties": { "place": { "type": "string" } } });
            json!({ "name": tool(number, n), "description": about, "inputSchema": schema })
        })
        .collect();
    json!({
        "name": format!("server-{number:05}"), "endpoint_url": "http://127.0.0.1:9/mcp", "auto_discover": false,
        "description": format!("The server number {number} of many"), "tags": [format!("group-{}", number % 10)],
        "health_check": { "enabled": false }, "capabilities": { "tools": tools },
    })
}

/// Does `work` for the numbers below `count`, `users` at a time, each over a connection of its own; what each gave, in no order.
async fn spread<T, F>(
    http: &Http,
    users: usize,
    count: usize,
    work: impl Fn(Http, usize) -> F,
) -> io::Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = io::Result<T>> + Send + 'static,
{
    let work = Arc::new(work);
    let next = AtomicUsize::new(0);
    let user = async |http: Http| {
        let mut given = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok::<_, io::Error>(given);
            }
            given.push(work(http.clone(), number).await?);
        }
    };
    let users = (0..users).map(|_| user(Http::new(http.address())));
    let given = futures_util::future::try_join_all(users).await?;
    Ok(given.into_iter().flatten().collect())
}

async fn run(arguments: &Arguments) -> io::Result<bool> {
    let env = vec![("MREG_LOG__LEVEL", "warn".to_owned())];
    let gateway = Gateway::start_with(Options { env, ..Options::default() }).await;
    let watch = Stopwatch::start();
    let tools = arguments.tools;
    let ids = spread(gateway.http(), 8, arguments.servers, move |http, number| async move {
        let body = registration(number, tools);
        match http.json(Method::POST, "/api/v1/servers", Some(&body)).await? {
            (201, server) => Ok(server["id"].as_str().unwrap_or_default().to_owned()),
            other => Err(io::Error::other(format!("cannot register: {other:?}"))),
        }
    })
    .await?;
    let filled = watch.elapsed();
    if !arguments.json {
        println!(
            "{} servers of {} tools registered in {filled:.1?}; {} users",
            ids.len(),
            tools,
            arguments.users
        );
        println!("{:<16} {:>9} {:>12} {:>12} {:>10}", "request", "a second", "p50", "p99", "promise");
    }
    let mut kept = true;
    let mut rows = Vec::new();
    for kind in kinds(ids, tools) {
        let path = Arc::new(kind.path);
        let watch = Stopwatch::start();
        let mut times = spread(gateway.http(), arguments.users, arguments.requests, move |http, number| {
            let path = path(number);
            async move {
                let watch = Stopwatch::start();
                let reply = http.send(Method::GET, &path, &[], bytes::Bytes::new()).await?;
                let status = reply.status;
                let bytes = reply.bytes().await?;
                if status == 200 && !bytes.is_empty() {
                    return Ok(watch.elapsed());
                }
                Err(io::Error::other(format!("{path}: {status}")))
            }
        })
        .await?;
        let took = watch.elapsed().as_secs_f64();
        let (p50, p99) = (quantile(&mut times, 0.50), quantile(&mut times, 0.99));
        kept &= p99 < kind.promise;
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = arguments.requests as f64 / took;
        if !arguments.json {
            let word = if p99 < kind.promise { "" } else { "  MISSED" };
            println!("{:<16} {rate:>9.0} {p50:>12.1?} {p99:>12.1?} {:>10.0?}{word}", kind.name, kind.promise);
        }
        rows.push(json!({
            "request": kind.name, "a_second": rate, "p50_ms": p50.as_secs_f64() * 1e3, "p99_ms": p99.as_secs_f64() * 1e3,
            "promise_ms": kind.promise.as_secs_f64() * 1e3,
        }));
    }
    if arguments.json {
        println!(
            "{}",
            json!({ "servers": arguments.servers, "tools": tools, "users": arguments.users, "requests": rows })
        );
    }
    Ok(kept)
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("rest-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
