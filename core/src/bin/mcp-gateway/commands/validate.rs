//! `mcp-gateway validate`.

use mcp_registry_gateway::clock::SystemClock;
use mcp_registry_gateway::config;
use mcp_registry_gateway::model::{Registration, TenantId};
use mcp_registry_gateway::registry::validate;
use serde::Serialize;

use super::import::servers_of;
use crate::exit::Failure;
use crate::logging;
use crate::table::{print, print_json};
use crate::wiring::Common;

/// Checks the configuration file, the environment and every server in them, and prints everything that is wrong.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the problems as JSON
    #[arg(long)]
    json: bool,
}

/// One problem, for people and for programs.
#[derive(Serialize)]
struct Problem {
    place: String,
    key: String,
    message: String,
}

pub(crate) fn run(common: &Common, args: &Args) -> Result<(), Failure> {
    let sources = common.sources(&[])?;
    let checked = match &sources.file {
        Some((path, _)) => path.display().to_string(),
        None => "the defaults, as there is no configuration file".to_owned(),
    };
    let (used, overridden) = sources.dotenv_names();
    let warnings = sources.warnings();
    let problems = match config::load(&sources) {
        Ok(config) => {
            let mut problems = Vec::new();
            let mut add = |place: &str, key: String, message: String| {
                problems.push(Problem { place: place.to_owned(), key, message });
            };
            if let Err(failure) = logging::parse(&config.log.level) {
                add(&checked, "log.level".into(), failure.to_string());
            }
            for server in config.servers {
                servers(&checked, server, &mut add);
            }
            if let Some(path) = &config.import {
                let place = path.display().to_string();
                match servers_of(path, None) {
                    Ok(import) => {
                        for excluded in import.excluded {
                            add(&place, format!("servers.{}", excluded.name), excluded.reason);
                        }
                    }
                    Err(failure) => add(&place, String::new(), failure.to_string()),
                }
            }
            problems
        }
        Err(problems) => problems
            .iter()
            .map(|p| Problem { place: p.place(), key: p.key.clone(), message: p.message.clone() })
            .collect(),
    };
    if args.json {
        let dotenv = sources
            .dotenv
            .as_ref()
            .map(|file| serde_json::json!({ "file": file.path(), "used": used, "overridden": overridden }));
        return finish(
            &problems,
            print_json(
                &serde_json::json!({ "checked": checked, "valid": problems.is_empty(), "problems": problems,
                "warnings": warnings, "dotenv": dotenv }),
            ),
        );
    }
    if let Some(dotenv) = &sources.dotenv {
        let file = dotenv.path().display();
        for name in used {
            print(&format!("{file} gives {name}"))?;
        }
        for name in overridden {
            print(&format!("{file} has {name}, and the environment's value counts"))?;
        }
    }
    for warning in warnings {
        print(&format!("warning: {warning}"))?;
    }
    if problems.is_empty() {
        print(&format!("nothing is wrong with {checked}"))?;
    } else {
        for Problem { place, key, message } in &problems {
            let key = if key.is_empty() { String::new() } else { format!("`{key}`: ") };
            print(&format!("{place}: {key}{message}"))?;
        }
    }
    finish(&problems, Ok(()))
}

fn finish(problems: &[Problem], printed: Result<(), Failure>) -> Result<(), Failure> {
    printed?;
    if problems.is_empty() { Ok(()) } else { Err(Failure::silent()) }
}

fn servers(place: &str, server: Registration, add: &mut impl FnMut(&str, String, String)) {
    let name = server.name.clone();
    let now = SystemClock::shared().timestamp();
    if let Err(error) = validate::registration(&TenantId::default_tenant(), server, now) {
        if error.context().is_empty() {
            add(place, format!("servers.{name}"), error.message().to_owned());
        }
        for (member, problem) in error.context() {
            add(place, format!("servers.{name}.{member}"), problem.clone());
        }
    }
}
