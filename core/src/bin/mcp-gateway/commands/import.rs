//! `mcp-gateway import`.

use std::path::{Path, PathBuf};

use http::{Method, StatusCode};
use mcp_registry_gateway::config::{import_file, with_variables};
use mcp_registry_gateway::model::{Registration, Status};
use mcp_registry_gateway::registry::import::{self, Format, Import};
use serde_json::json;

use super::register::read;
use crate::api;
use crate::api::{Api, At};
use crate::exit::Failure;
use crate::table::{columns, plain, print, print_json};
use crate::wiring::Common;

/// Registers the servers of a file of an MCP client or of another gateway. Those whose names are registered already are passed over.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Files are read in JSON, JSON with comments, JSON5, YAML and TOML. Where the file has ${VAR}, ${VAR:-default}, ${env:VAR} or
$VAR, the variable of this command's environment is put in; it is never shown. An entry that cannot be used costs no other entry.

Examples:
  mcp-gateway import ~/.cursor/mcp.json
  mcp-gateway import --dry-run .vscode/mcp.json
  mcp-gateway import --format docker profile.yaml

Exit codes: 0 if every entry is registered or was before, 1 if an entry could not be used or registered, 2 if the file as a whole
cannot be read; then nothing was begun."
)]
pub(crate) struct Args {
    /// The file; `-` for standard input
    file: PathBuf,
    /// The program that the file is from [default: told from its contents]
    #[arg(long, value_name = "FORMAT", value_parser = clap::builder::PossibleValuesParser::new(Format::ALL.iter().map(|format| format.as_str())))]
    format: Option<String>,
    /// Change nothing, print what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

/// The servers that `path` lists.
pub(crate) fn servers_of(path: &Path, format: Option<Format>) -> Result<Import, Failure> {
    if path.as_os_str() != "-" {
        return import_file(path, format).map_err(|error| Failure::usage(error.to_string()));
    }
    let text = read(path)?;
    with_variables(path, format, |reading| import::read(&text, reading))
        .map_err(|error| Failure::usage(format!("standard input: {error}")))
}

/// The server that `NAME=URL` or `NAME=COMMAND` describes.
pub(crate) fn server_of(option: &str) -> Result<Registration, String> {
    import::server_option(option).map_err(|error| error.to_string())
}

/// One line of the table.
struct Outcome {
    name: String,
    transport: String,
    action: &'static str,
    reason: String,
}

pub(crate) async fn run(common: &Common, args: Args) -> Result<(), Failure> {
    let format = args.format.as_deref().map(str::parse::<Format>).transpose()?;
    let import = servers_of(&args.file, format)?;
    let (mut outcomes, place) = if args.dry_run {
        let would = |r: &Registration| {
            let action = if r.status == Some(Status::Inactive) {
                "would be registered, inactive"
            } else {
                "would be registered"
            };
            outcome(&import, r, action, String::new())
        };
        (import.registrations.iter().map(would).collect(), "nothing, as this is a dry run".to_owned())
    } else if import.registrations.is_empty() {
        (Vec::new(), "nothing, as no entry can be used".to_owned())
    } else {
        let api = args.at.api(common).await?;
        let place = api.place();
        let outcomes = register_all(&api, &import).await;
        api.close().await;
        (outcomes?, place)
    };
    outcomes.extend(import.excluded.iter().map(|excluded| Outcome {
        name: excluded.name.clone(),
        transport: "-".to_owned(),
        action: "excluded",
        reason: excluded.reason.clone(),
    }));
    show(&outcomes, import.format, &place, args.json)?;
    let failed = |outcome: &Outcome| ["failed", "excluded"].contains(&outcome.action);
    if outcomes.iter().any(failed) { Err(Failure::silent()) } else { Ok(()) }
}

/// The line of a server that can be registered: `detail`, and the notes about its entry.
fn outcome(import: &Import, registration: &Registration, action: &'static str, detail: String) -> Outcome {
    let notes = import.notes.iter().filter(|note| note.registered == registration.name);
    let texts: Vec<String> = std::iter::once(detail)
        .filter(|text| !text.is_empty())
        .chain(notes.map(|note| note.text.clone()))
        .collect();
    let transport = match (registration.transport_type, &registration.command) {
        (Some(transport), _) => transport.as_str(),
        (None, Some(_)) => "stdio",
        (None, None) if registration.endpoint_url.as_ref().is_some_and(|url| url.starts_with("ws")) => {
            "websocket"
        }
        (None, None) => "http",
    };
    Outcome {
        name: registration.name.clone(),
        transport: transport.to_owned(),
        action,
        reason: texts.join("; "),
    }
}

async fn register_all(api: &Api, import: &Import) -> Result<Vec<Outcome>, Failure> {
    let mut outcomes = Vec::new();
    for registration in &import.registrations {
        let (status, answer) = api.send(Method::POST, "/api/v1/servers", Some(registration)).await?;
        let (action, detail) = match status {
            StatusCode::CREATED if registration.status == Some(Status::Inactive) => {
                ("registered, inactive", String::new())
            }
            StatusCode::CREATED => ("registered", String::new()),
            StatusCode::CONFLICT => {
                ("exists", "a server of this name is registered, and was left as it is".to_owned())
            }
            _ => ("failed", api::message(status, &answer)),
        };
        outcomes.push(outcome(import, registration, action, detail));
    }
    Ok(outcomes)
}

fn show(outcomes: &[Outcome], format: Format, place: &str, as_json: bool) -> Result<(), Failure> {
    if as_json {
        let rows = outcomes.iter().map(
            |o| json!({ "name": o.name, "transport": o.transport, "action": o.action, "reason": o.reason }),
        );
        return print_json(&json!({ "format": format.as_str(), "servers": rows.collect::<Vec<_>>() }));
    }
    let rows: Vec<[String; 4]> = outcomes
        .iter()
        .map(|o| [o.name.clone(), o.transport.clone(), o.action.to_owned(), o.reason.clone()])
        .collect();
    print(&columns(["NAME", "TRANSPORT", "ACTION", "REASON"], &rows))?;
    print(&format!("read as {format}; written to {}", plain(place)))
}
