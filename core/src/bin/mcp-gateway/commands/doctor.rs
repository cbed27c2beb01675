//! `mcp-gateway doctor`.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::healthcheck::id_of;
use super::list::all;
use crate::api::{Api, At};
use crate::exit::Failure;
use crate::table::{columns, plain, print, print_json};
use crate::wiring::Common;

/// Longest examination of one server: a start may take its time, and lists as well.
const PATIENCE: Duration = Duration::from_mins(15);

/// Examines servers step by step and says what to do. Exit code 1 if something is wrong.
///
/// Each server is resolved, connected to or started, initialized, asked for each of its lists, and pinged; each item is compared
/// with the schema of clients. A server that is switched off is not started. Exit codes: 0 nothing is wrong, 1 a step failed or
/// a part of a server is left out, 2 the command line is wrong, 3 no gateway answers at the URL.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The id or the name of a server [default: all of them]
    name: Option<String>,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

pub(crate) async fn run(common: &Common, args: Args) -> Result<(), Failure> {
    let api = args.at.api(common).await?;
    let done = examine(&api, &args).await;
    api.close().await;
    if done? { Ok(()) } else { Err(Failure::silent()) }
}

async fn examine(api: &Api, args: &Args) -> Result<bool, Failure> {
    let ids: Vec<_> = if let Some(name) = &args.name {
        vec![id_of(api, name).await?]
    } else {
        let servers = all(api, "").await?;
        servers.iter().filter_map(|server| server["id"].as_str().map(str::to_owned)).collect()
    };
    if ids.is_empty() && !args.json {
        print(&format!("no servers in {}", api.place()))?;
    }
    let (mut found, mut ok) = (Vec::new(), true);
    for id in ids {
        let path = format!("/api/v1/servers/{id}/diagnosis");
        let diagnosis = api.ask_within(Method::GET, &path, None::<&()>, PATIENCE).await?;
        ok &= diagnosis["ok"] == true;
        if args.json {
            found.push(diagnosis);
        } else {
            print(&written(&diagnosis))?;
        }
    }
    if args.json {
        print_json(&json!({ "ok": ok, "servers": found }))?;
    }
    Ok(ok)
}

/// The examination of one server for people.
fn written(diagnosis: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let steps = diagnosis["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<_> = steps
        .iter()
        .map(|step| {
            let took = step["took_ms"].as_u64().map(|took| format!("{took} ms")).unwrap_or_default();
            let advice = step["advice"].as_str().map(|advice| format!(" → {advice}")).unwrap_or_default();
            let found = format!("{}{advice}", text(&step["found"]));
            [format!("  {}", text(&step["step"])), text(&step["outcome"]), took, found]
        })
        .collect();
    let table = columns(["  STEP", "OUTCOME", "TIME", "FOUND"], &rows);
    let lines = diagnosis["last_output"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut all =
        vec![format!("{}: {}", plain(&text(&diagnosis["name"])), plain(&text(&diagnosis["state"]))), table];
    if !lines.is_empty() {
        all.push("  the last lines of its standard error:".to_owned());
        all.extend(lines.iter().map(|line| format!("    | {}", plain(&text(line)))));
    }
    all.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_reads_each_step_what_to_do_and_the_last_lines() {
        let step = json!({ "step": "start", "outcome": "failed", "took_ms": 12, "found": "the server's process ended", "advice": "run it by hand" });
        let diagnosis = json!({ "name": "files", "state": "unreachable", "ok": false, "steps": [step],
            "last_output": ["npm error 404", "\u{1b}[31mred"] });
        let text = written(&diagnosis);
        for part in [
            "files: unreachable",
            "start",
            "failed",
            "12 ms",
            "→ run it by hand",
            "| npm error 404",
            "|  [31mred",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
