//! `mcp-gateway import`.

use std::path::{Path, PathBuf};

use http::{Method, StatusCode};
use mcp_registry_gateway::model::Registration;
use mcp_registry_gateway::registry::import::{self, Import};
use serde_json::json;

use super::register::read;
use crate::api;
use crate::api::{Api, At};
use crate::exit::Failure;
use crate::table::{columns, plain, print, print_json};
use crate::wiring::Common;

/// Registers the servers of an `mcpServers` file. Those whose names are registered already are passed over.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file; `-` for standard input
    file: PathBuf,
    /// Change nothing, print the servers that would be registered
    #[arg(long)]
    dry_run: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

/// The servers that `path` lists.
pub(crate) fn servers_of(path: &Path) -> Result<Import, Failure> {
    import::mcp_servers(&read(path)?).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

/// The server that `NAME=URL` or `NAME=COMMAND` describes.
pub(crate) fn server_of(option: &str) -> Result<Registration, String> {
    import::server_option(option).map_err(|error| error.to_string())
}

struct Outcome {
    name: String,
    word: &'static str,
    detail: String,
}

pub(crate) async fn run(common: &Common, args: Args) -> Result<(), Failure> {
    let import = servers_of(&args.file)?;
    for note in &import.notes {
        eprintln!("mcp-gateway: {}", plain(note));
    }
    let (outcomes, place) = if args.dry_run {
        let would =
            |r: Registration| Outcome { name: r.name, word: "would be registered", detail: String::new() };
        (import.registrations.into_iter().map(would).collect(), "nothing, as this is a dry run".to_owned())
    } else {
        let api = args.at.api(common).await?;
        let place = api.place();
        let outcomes = register_all(&api, &import.registrations).await;
        api.close().await;
        (outcomes?, place)
    };
    show(&outcomes, &place, args.json)?;
    if outcomes.iter().any(|outcome| outcome.word == "failed") { Err(Failure::silent()) } else { Ok(()) }
}

async fn register_all(api: &Api, registrations: &[Registration]) -> Result<Vec<Outcome>, Failure> {
    let mut outcomes = Vec::new();
    for registration in registrations {
        let (status, answer) = api.send(Method::POST, "/api/v1/servers", Some(registration)).await?;
        let (word, detail) = match status {
            StatusCode::CREATED => ("registered", answer["id"].as_str().unwrap_or("").to_owned()),
            StatusCode::CONFLICT => ("exists", "passed over".to_owned()),
            _ => ("failed", api::message(status, &answer)),
        };
        outcomes.push(Outcome { name: registration.name.clone(), word, detail });
    }
    Ok(outcomes)
}

fn show(outcomes: &[Outcome], place: &str, as_json: bool) -> Result<(), Failure> {
    if as_json {
        let rows = outcomes.iter().map(|o| json!({ "name": o.name, "outcome": o.word, "detail": o.detail }));
        return print_json(&json!({ "servers": rows.collect::<Vec<_>>() }));
    }
    let rows: Vec<[String; 3]> =
        outcomes.iter().map(|o| [o.name.clone(), o.word.to_owned(), o.detail.clone()]).collect();
    print(&columns(["NAME", "OUTCOME", "DETAIL"], &rows))?;
    print(&format!("written to {place}"))
}
