//! `mcp-gateway healthcheck`.

use http::Method;
use serde_json::Value;
use url::form_urlencoded;

use super::list::all;
use crate::api::{Api, At};
use crate::exit::Failure;
use crate::table::{plain, print, print_json};
use crate::wiring::Common;

/// Checks the health of a running gateway, or probes one server now. Exit code 1 if it is not healthy.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The id or the name of a server
    server: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

pub(crate) async fn run(common: &Common, args: Args) -> Result<(), Failure> {
    let api = Api::Running(args.at.client(common)?);
    let (answer, what, word) = if let Some(server) = &args.server {
        let path = format!("/api/v1/servers/{}/health-check", id_of(&api, server).await?);
        let answer = api.ask(Method::POST, &path, None::<&()>).await?;
        let word = plain(answer["health_status"].as_str().unwrap_or("unknown"));
        (answer, server.clone(), word)
    } else {
        let (_, answer) = api.send(Method::GET, "/health", None::<&()>).await?;
        let word = plain(answer["status"].as_str().unwrap_or("not a gateway"));
        (answer, api.place(), word)
    };
    if args.json {
        print_json(&answer)?;
    } else {
        let why = why(&answer);
        print(&format!("{}: {word}{}{}", plain(&what), if why.is_empty() { "" } else { ": " }, plain(&why)))?;
    }
    if word == "healthy" { Ok(()) } else { Err(Failure::silent()) }
}

fn why(answer: &Value) -> String {
    if let Some(error) = answer["error"].as_str() {
        return error.to_owned();
    }
    let components = answer["components"].as_object().into_iter().flatten();
    let broken = components.filter_map(|(name, part)| Some(format!("{name}: {}", part["message"].as_str()?)));
    broken.collect::<Vec<_>>().join(", ")
}

/// The id of the server with this id or name.
pub(crate) async fn id_of(api: &Api, asked: &str) -> Result<String, Failure> {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("search", asked).finish();
    if asked.parse::<mcp_registry_gateway::model::ServerId>().is_ok() {
        return Ok(asked.to_owned());
    }
    let servers = all(api, &query).await?;
    let named = servers.iter().find(|server| server["name"] == asked);
    let id = named.and_then(|server| server["id"].as_str()).map(str::to_owned);
    id.ok_or_else(|| Failure::failed(format!("no server is named `{asked}`; see `mcp-gateway list`")))
}
