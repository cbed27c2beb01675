//! `mcp-gateway register`.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;

use http::Method;
use mcp_registry_gateway::config::{MAX_IMPORT_BYTES, with_variables};
use mcp_registry_gateway::files::{self, Fault};
use mcp_registry_gateway::model::{Algorithm, Configuration, Registration, TransportType};
use mcp_registry_gateway::registry::import;
use mcp_registry_gateway::registry::server_json::ServerJson;
use serde::Serialize;

use crate::api::At;
use crate::exit::Failure;
use crate::table::{plain, print, print_json};
use crate::wiring::Common;

/// Registers a server by its URL, or by the command that starts it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  mcp-gateway register calc http://127.0.0.1:9000/mcp
  mcp-gateway register --tag files fs npx -y @modelcontextprotocol/server-filesystem /tmp
  mcp-gateway register --from registration.json
  mcp-gateway register --server-json server.json --env API_KEY=…

Other users of this machine can read a command line: give secrets with --from.")]
pub(crate) struct Args {
    /// Its name
    #[arg(required_unless_present_any = ["from", "server_json"])]
    name: Option<String>,
    /// Its URL, or the command that starts it; options stand before the name
    #[arg(required_unless_present_any = ["from", "server_json"], trailing_var_arg = true, allow_hyphen_values = true)]
    target: Vec<String>,
    /// A file with a registration, or with one server of a client's file; `-` for standard input. `${VAR}` stands for a variable of
    /// this command's environment
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "target"])]
    from: Option<PathBuf>,
    /// A server.json of the official registry; `-` for standard input. With a name, it is called that
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "target", "transport", "description", "weight", "algorithm"])]
    server_json: Option<PathBuf>,
    /// With --server-json: which of the ways that it offers: remote, npm, pypi, oci or nuget [default: the first that can be used]
    #[arg(long, requires = "server_json")]
    package: Option<String>,
    /// With --server-json: the value of an argument or of a `{variable}`; may be repeated
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = pair, requires = "server_json")]
    variables: Vec<(String, String)>,
    /// The service that it is a replica of [default: its name]
    #[arg(long)]
    service: Option<String>,
    /// http, sse, websocket or stdio [default: http with a URL, stdio with a command]
    #[arg(long)]
    transport: Option<TransportType>,
    /// For people and for search
    #[arg(long)]
    description: Option<String>,
    /// For search and filters; may be repeated
    #[arg(long = "tag")]
    tags: Vec<String>,
    /// Its share under weighted and `consistent_hash`; 0 is drained [default: 1]
    #[arg(long)]
    weight: Option<u32>,
    /// How the service spreads calls: `round_robin`, weighted, `least_connections`, random or `consistent_hash`
    #[arg(long)]
    algorithm: Option<Algorithm>,
    /// A variable of the command's environment; may be repeated
    #[arg(long = "env", value_name = "KEY=VALUE", value_parser = pair)]
    env: Vec<(String, String)>,
    /// A header of every request to the server; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = pair)]
    headers: Vec<(String, String)>,
    /// Print the server as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(crate) async fn run(common: &Common, args: Args) -> Result<(), Failure> {
    let json = args.json;
    let at = args.at.clone();
    let registration = match args.server_json.clone() {
        Some(file) => Body::File(file_of(&file, args)?),
        None => Body::Plain(Box::new(registration(args)?)),
    };
    let api = at.api(common).await?;
    let place = api.place();
    let answer = api.ask(Method::POST, "/api/v1/servers", Some(&registration)).await;
    api.close().await;
    let server = answer?;
    if json {
        return print_json(&server);
    }
    for warning in server["warnings"].as_array().into_iter().flatten() {
        eprintln!("mcp-gateway: {}", plain(warning.as_str().unwrap_or("")));
    }
    let text = |key: &str| plain(server[key].as_str().unwrap_or(""));
    print(&format!(
        "registered {} as {} of service {}, in {place}",
        text("name"),
        text("id"),
        text("service")
    ))
}

/// The document that is sent.
#[derive(Serialize)]
#[serde(untagged)]
enum Body {
    Plain(Box<Registration>),
    File(ServerJson),
}

fn file_of(path: &std::path::Path, args: Args) -> Result<ServerJson, Failure> {
    let wrong = |error: serde_json::Error| Failure::usage(format!("{}: {error}", path.display()));
    Ok(ServerJson {
        server_json: serde_json::from_str(&read(path)?).map_err(wrong)?,
        name: args.name,
        service: args.service,
        package: args.package,
        env: args.env.into_iter().collect(),
        headers: args.headers.into_iter().collect(),
        variables: args.variables.into_iter().collect(),
        tags: args.tags,
    })
}

fn registration(args: Args) -> Result<Registration, Failure> {
    if let Some(from) = args.from {
        let text = read(&from)?;
        let read = with_variables(&from, None, |reading| import::registration(&text, reading));
        let (registration, notes) =
            read.map_err(|error| Failure::usage(format!("{}: {error}", from.display())))?;
        for note in notes {
            eprintln!("mcp-gateway: {}", plain(&note.to_string()));
        }
        return Ok(registration);
    }
    let mut target = args.target.into_iter();
    let first = target.next().unwrap_or_default();
    let is_url = ["http://", "https://", "ws://", "wss://"].iter().any(|scheme| first.starts_with(scheme));
    let rest: Vec<String> = target.collect();
    if is_url && !rest.is_empty() {
        return Err(Failure::usage(format!("what follows the URL is not understood: {}", rest.join(" "))));
    }
    let configured = args.algorithm.is_some() || !args.headers.is_empty();
    let configuration = configured.then(|| Configuration {
        algorithm: args.algorithm.unwrap_or(Algorithm::RoundRobin),
        headers: args.headers.into_iter().collect(),
        ..Configuration::default()
    });
    Ok(Registration {
        name: args.name.unwrap_or_default(),
        endpoint_url: is_url.then(|| first.clone()),
        command: (!is_url).then_some(first),
        args: rest,
        env: args.env.into_iter().collect::<BTreeMap<_, _>>(),
        transport_type: args.transport,
        service: args.service,
        description: args.description,
        tags: args.tags,
        weight: args.weight,
        configuration,
        ..Registration::default()
    })
}

/// Reads a file of at most 4 MiB, or standard input for `-`.
pub(crate) fn read(path: &std::path::Path) -> Result<String, Failure> {
    const LIMIT: u64 = MAX_IMPORT_BYTES;
    let failed = |fault: Fault| Failure::usage(format!("{}: {fault}", path.display()));
    if path.as_os_str() != "-" {
        return files::read_text(path, LIMIT).map_err(failed);
    }
    let mut text = String::new();
    let read = std::io::stdin().lock().take(LIMIT + 1).read_to_string(&mut text);
    read.map_err(|error| failed(Fault::Unreadable(error)))?;
    if text.len() as u64 > LIMIT {
        return Err(failed(Fault::TooLarge(LIMIT)));
    }
    Ok(text)
}
