//! `mcp-gateway init-db`, `optimize-db`, `backup` and `restore`.

use std::path::PathBuf;

use mcp_registry_gateway::store::presence::{Holder, Presence};
use mcp_registry_gateway::store::sqlite::SqliteStore;
use mcp_registry_gateway::store::{DataLoss, Store};

use crate::exit::Failure;
use crate::table::{columns, print, print_json};
use crate::wiring::Common;

/// Creates the database, or migrates it to the newest version.
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

/// Writes a copy of the database, also while a gateway serves it.
#[derive(Debug, clap::Args)]
pub(crate) struct BackupArgs {
    /// The file to write; there must be none
    file: PathBuf,
}

/// Puts a backup in the place of the database, which is kept under another name.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// The backup, as `backup` wrote it, or any other copy of the database
    file: PathBuf,
}

pub(crate) async fn backup(common: &Common, args: &BackupArgs) -> Result<(), Failure> {
    let database = common.database(&common.configuration()?)?;
    if !database.exists() {
        return Err(Failure::failed(format!("{}: there is no database", database.display())));
    }
    let store = SqliteStore::open_with(&database, DataLoss::Inspect).await?;
    let done = store.backup(&args.file).await;
    store.close().await;
    done?;
    let key = database.with_extension("audit-key");
    print(&format!("{} is written; keep {} with it", args.file.display(), key.display()))
}

pub(crate) async fn restore(common: &Common, args: &RestoreArgs) -> Result<(), Failure> {
    let config = common.configuration()?;
    let (database, location) = (common.database(&config)?, common.location(&config)?);
    if let Some(folder) = database.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|error| Failure::failed(format!("{}: cannot be made: {error}", folder.display())))?;
    }
    let presence = Presence::claim(&location, Holder::Command).await?;
    let kept = SqliteStore::restore(&database, &args.file).await?;
    drop(presence);
    print(&format!("{} is in the place of {}", args.file.display(), database.display()))?;
    match kept {
        Some(kept) => print(&format!("the database that was there is {}", kept.display())),
        None => Ok(()),
    }
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
