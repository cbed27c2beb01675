//! `mcp-gateway list`.

use http::Method;
use mcp_registry_gateway::model::{HealthStatus, Status};
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use crate::api::{Api, At};
use crate::exit::Failure;
use crate::table::{columns, plain, print, print_json};
use crate::wiring::Common;

/// Problems of one server that are shown; the doctor shows all.
const SHOWN: usize = 5;

/// Lists the registered servers.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only those whose name, service or description contains this
    search: Option<String>,
    /// Only those with this tag; may be repeated
    #[arg(long = "tag")]
    tags: Vec<String>,
    /// active, inactive, maintenance or error
    #[arg(long)]
    status: Option<Status>,
    /// healthy, degraded, unhealthy, unreachable or unknown
    #[arg(long)]
    health: Option<HealthStatus>,
    /// Print the servers as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

pub(crate) async fn run(common: &Common, args: Args) -> Result<(), Failure> {
    let api = args.at.api(common).await?;
    let place = api.place();
    let mut query = Serializer::new(String::new());
    if let Some(search) = &args.search {
        query.append_pair("search", search);
    }
    for tag in &args.tags {
        query.append_pair("tags", tag);
    }
    if let Some(status) = args.status {
        query.append_pair("status", status.as_str());
    }
    if let Some(health) = args.health {
        query.append_pair("health_status", health.as_str());
    }
    let servers = all(&api, &query.finish()).await;
    api.close().await;
    let servers = servers?;
    if args.json {
        return print_json(&json!({ "total": servers.len(), "servers": servers }));
    }
    if servers.is_empty() {
        return print(&format!("no servers in {place}"));
    }
    let head = ["NAME", "SERVICE", "STATE", "STATUS", "HEALTH", "TOOLS", "WEIGHT", "ENDPOINT"];
    let remarks = remarks(&servers);
    let between = if remarks.is_empty() { "" } else { "\n\n" };
    print(&format!("{}{between}{}", columns(head, &rows(&servers)), remarks.join("\n")))
}

/// Everything that is wrong with the servers, one line each.
fn remarks(servers: &[Value]) -> Vec<String> {
    let mut lines = Vec::new();
    for server in servers {
        let name = server["name"].as_str().unwrap_or("");
        if let Some(progress) = server["progress"].as_str() {
            lines.push(plain(&format!("{name}: {progress}")));
        }
        let problems = server["problems"].as_array().map(Vec::as_slice).unwrap_or_default();
        for problem in problems.iter().take(SHOWN) {
            let text = |key: &str| problem[key].as_str();
            let item = text("item").map(|item| format!("{item}: ")).unwrap_or_default();
            let next = text("next_attempt").map(|at| format!("; tried again at {at}")).unwrap_or_default();
            lines.push(plain(&format!("{name}: {item}{}{next}", text("reason").unwrap_or(""))));
        }
        if problems.len() > SHOWN {
            let more = problems.len() - SHOWN;
            lines.push(plain(&format!(
                "{name}: {more} more problems; `mcp-gateway doctor {name}` shows them"
            )));
        }
    }
    lines
}

fn rows(servers: &[Value]) -> Vec<[String; 8]> {
    let row = |server: &Value| {
        let text = |key: &str| server[key].as_str().unwrap_or("").to_owned();
        let endpoint = server["endpoint_url"].as_str().map_or_else(
            || {
                let words = server["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
                std::iter::once(server["command"].as_str().unwrap_or(""))
                    .chain(words)
                    .collect::<Vec<_>>()
                    .join(" ")
            },
            str::to_owned,
        );
        let tools = server["capabilities"]["tools"].as_array().map_or(0, Vec::len);
        let (health, weight) = (text("health_status"), server["weight"].to_string());
        let (state, status) = (text("state"), text("status"));
        [text("name"), text("service"), state, status, health, tools.to_string(), weight, endpoint]
    };
    servers.iter().map(row).collect()
}

/// Every server that fits the query, page by page.
pub(crate) async fn all(api: &Api, query: &str) -> Result<Vec<Value>, Failure> {
    let mut servers = Vec::new();
    for page in 1_u32.. {
        let path = format!("/api/v1/servers?limit=200&page={page}&{query}");
        let mut answer = api.ask(Method::GET, path.trim_end_matches('&'), None::<&()>).await?;
        let Some(found) = answer["servers"].as_array_mut().filter(|found| !found.is_empty()) else { break };
        let last = found.len() < 200;
        servers.append(found);
        if last {
            break;
        }
    }
    Ok(servers)
}
