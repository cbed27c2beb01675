//! `mcp-gateway audit`: the audit trail, read from the database itself.

use jiff::Timestamp;
use mcp_registry_gateway::model::{AuditEntry, AuditQuery, ChainReport, TenantId};
use mcp_registry_gateway::observe::export;
use mcp_registry_gateway::store::sqlite::SqliteStore;
use mcp_registry_gateway::store::{DataLoss, Store};

use crate::exit::Failure;
use crate::table::{columns, print, print_json};
use crate::wiring::Common;

/// Rows that are read at once.
const PAGE: u32 = 1000;

/// Lists, exports and verifies the audit trail.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Shows the newest rows
    List {
        #[command(flatten)]
        which: Which,
        /// Rows at most
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Print the rows as JSON
        #[arg(long)]
        json: bool,
    },
    /// Prints all rows, newest first, as JSON lines or CSV
    Export {
        #[command(flatten)]
        which: Which,
        /// jsonl or csv
        #[arg(long, default_value = "jsonl", value_parser = ["jsonl", "csv"])]
        format: String,
    },
    /// Follows the chains of rows; ends with 1 and names the row if one was changed, removed, moved or cut off
    Verify {
        /// Only this tenant's
        #[arg(long)]
        tenant: Option<TenantId>,
        /// Print the findings as JSON
        #[arg(long)]
        json: bool,
    },
    /// Puts a tenant's rows on legal hold: none is removed, however old
    Hold { tenant: TenantId },
    /// Ends a legal hold
    Release { tenant: TenantId },
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The tenant of the rows
    #[arg(long, default_value = "default")]
    tenant: TenantId,
    /// Not older than this, as 2026-01-31T00:00:00Z
    #[arg(long)]
    from: Option<Timestamp>,
    /// Older than this
    #[arg(long)]
    to: Option<Timestamp>,
    /// By this actor
    #[arg(long)]
    actor: Option<String>,
    /// Of this action, such as server.register
    #[arg(long)]
    action: Option<String>,
    /// Done to this
    #[arg(long)]
    target: Option<String>,
    /// That ended like this: ok, or the kind of an error
    #[arg(long)]
    outcome: Option<String>,
}

impl Which {
    fn query(self, limit: u32) -> (TenantId, AuditQuery) {
        let Self { tenant, from, to, actor, action, target, outcome } = self;
        (tenant, AuditQuery { from, to, actor, action, target, outcome, before: None, limit })
    }
}

pub(crate) async fn run(common: &Common, args: Args) -> Result<(), Failure> {
    let file = common.database(&common.configuration()?)?;
    if !file.exists() {
        return Err(Failure::failed(format!(
            "{}: there is no database; make it with `init-db`",
            file.display()
        )));
    }
    // Commands that only read the trail must work above all where the gateway refuses to start.
    let loss = match &args.command {
        Command::List { .. } | Command::Export { .. } | Command::Verify { .. } => DataLoss::Inspect,
        Command::Hold { .. } | Command::Release { .. } => DataLoss::Refuse,
    };
    let store = SqliteStore::open_with(&file, loss).await?;
    let done = carry_out(&store, args.command).await;
    store.close().await;
    done
}

async fn carry_out(store: &SqliteStore, command: Command) -> Result<(), Failure> {
    match command {
        Command::List { which, limit, json } => list(store, which, limit, json).await,
        Command::Export { which, format } => export(store, which, format == "csv").await,
        Command::Verify { tenant, json } => verify(store, tenant.as_ref(), json).await,
        Command::Hold { tenant } => hold(store, tenant, true).await,
        Command::Release { tenant } => hold(store, tenant, false).await,
    }
}

async fn list(store: &SqliteStore, which: Which, limit: u32, json: bool) -> Result<(), Failure> {
    let (tenant, query) = which.query(limit);
    let rows = store.find_audit(&tenant, &query).await?;
    if json {
        return print_json(&rows);
    }
    let plain = |text: &str| text.replace(char::is_control, "\u{fffd}");
    let row = |row: &mcp_registry_gateway::model::AuditRow| {
        let entry = &row.entry;
        [
            row.number.to_string(),
            entry.at.to_string(),
            plain(&entry.actor),
            plain(&entry.action),
            plain(&entry.target),
            plain(&entry.outcome),
        ]
    };
    let rows: Vec<_> = rows.iter().map(row).collect();
    print(&columns(["NUMBER", "AT", "ACTOR", "ACTION", "TARGET", "OUTCOME"], &rows))
}

async fn export(store: &SqliteStore, which: Which, csv: bool) -> Result<(), Failure> {
    let (tenant, mut query) = which.query(PAGE);
    if csv {
        print(export::CSV_HEADER.trim_end())?;
    }
    loop {
        let rows = store.find_audit(&tenant, &query).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        query.before = Some(last.number);
        let lines: Vec<String> = rows
            .iter()
            .map(|row| if csv { export::csv(row).trim_end().to_owned() } else { export::json(row) })
            .collect();
        print(&lines.join("\n"))?;
    }
}

async fn verify(store: &SqliteStore, tenant: Option<&TenantId>, json: bool) -> Result<(), Failure> {
    let reports = store.verify_audit(tenant).await?;
    let broken = reports.iter().any(|report| report.problem.is_some());
    if json {
        print_json(&reports)?;
    } else {
        let line = |report: &ChainReport| {
            let found = report.problem.clone().unwrap_or_else(|| "intact".into());
            let hold = if report.hold { "yes" } else { "" };
            let rows = format!("{}-{}", report.first, report.last);
            let hash = report.hash.chars().take(16).collect();
            [report.tenant_id.clone(), rows, hash, report.key_id.clone(), hold.into(), found]
        };
        let rows: Vec<_> = reports.iter().map(line).collect();
        print(&columns(["TENANT", "ROWS", "LAST HASH", "KEY", "HOLD", "FOUND"], &rows))?;
    }
    if broken { Err(Failure::silent()) } else { Ok(()) }
}

async fn hold(store: &SqliteStore, tenant: TenantId, hold: bool) -> Result<(), Failure> {
    let entry = AuditEntry {
        at: mcp_registry_gateway::clock::SystemClock::shared().timestamp(),
        tenant_id: tenant.clone(),
        actor: "local".into(),
        action: if hold { "audit.hold" } else { "audit.release" }.into(),
        target: tenant.to_string(),
        outcome: "ok".into(),
        correlation_id: None,
        detail: serde_json::json!({}),
    };
    store.hold_audit(hold, &entry).await?;
    print(&format!("the audit trail of `{tenant}` is {}", if hold { "on hold" } else { "no longer on hold" }))
}
