//! `mcp-gateway init-db` and `mcp-gateway optimize-db`.

use mcp_registry_gateway::store::Store;
use mcp_registry_gateway::store::sqlite::SqliteStore;

use crate::exit::Failure;
use crate::table::{columns, print, print_json};
use crate::wiring::Common;

/// Makes the database, or brings it to the newest version.
#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

/// Refreshes the database's statistics and frees unused space.
#[derive(Debug, clap::Args)]
pub(crate) struct OptimizeArgs {
    /// Change nothing, print the changes that would be made
    #[arg(long)]
    dry_run: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn init(common: &Common, args: &InitArgs) -> Result<(), Failure> {
    let file = common.database(&common.configuration()?)?;
    let existed = file.exists();
    let store = SqliteStore::open(&file).await?;
    let version = store.version().await?;
    store.close().await;
    if args.json {
        return print_json(&serde_json::json!({ "file": file, "version": version, "created": !existed }));
    }
    let word = if existed { "is at" } else { "was made at" };
    print(&format!("{} {word} version {version}", file.display()))
}

pub(crate) async fn optimize(common: &Common, args: &OptimizeArgs) -> Result<(), Failure> {
    let file = common.database(&common.configuration()?)?;
    if !file.exists() {
        return Err(Failure::failed(format!(
            "{}: there is no database; make it with `init-db`",
            file.display()
        )));
    }
    let store = SqliteStore::open(&file).await?;
    let report = store.optimize(args.dry_run).await;
    store.close().await;
    let report = report?;
    if args.json {
        return print_json(&report);
    }
    let steps: Vec<[String; 2]> =
        report.steps.iter().map(|step| [step.command.to_owned(), step.effect.clone()]).collect();
    print(&columns(["STEP", "EFFECT"], &steps))?;
    let word = if report.dry_run { "nothing was changed" } else { "done" };
    print(&format!(
        "{}: {word}; {} bytes before, {} after",
        report.file, report.bytes_before, report.bytes_after
    ))
}
