//! The acts of the demo, in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mcp_registry_gateway::clock::{Clock, SystemClock};
use mcp_registry_gateway::model::Algorithm;
use mcp_registry_gateway::tasks::Tasks;
use mcp_registry_gateway::{Error, ErrorKind, Result};
use serde_json::json;

use super::admin::Admin;
use super::children;
use super::children::Replica;
use super::client::{Answer, Session};
use super::failover;
use super::failover::Scene;
use super::host::Host;
use super::ledger::Executions;
use super::screen::{Row, Screen};
use super::statistics::{Run, rounded};
use super::{Report, Stdio, load, table};

const REPLICAS: usize = 4;
const WEIGHTS: [u32; REPLICAS] = [4, 2, 1, 1];
/// Clients that call at the same time, each with a session of its own.
const CLIENTS: usize = 8;
/// Which replica is killed.
const VICTIM: usize = 1;
/// Notes written to the server over stdio.
const NOTES: u64 = 100;
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs everything and stops everything, whatever the outcome.
pub(super) async fn play(calls: u64, screen: &Screen) -> Result<Report> {
    let clock = SystemClock::shared();
    let tasks = Tasks::default();
    let folder = tempfile::tempdir().map_err(|error| {
        Error::new(ErrorKind::Storage, "no temporary folder can be made").caused_by(error)
    })?;
    screen.animate(&tasks);
    let mut replicas = Vec::with_capacity(REPLICAS);
    for number in 1..=REPLICAS {
        replicas.push(Replica::start(format!("calc-{number}"), folder.path()).await?);
    }
    let host = Host::start(folder.path(), &clock).await?;
    let mut stage = Stage {
        replicas,
        ids: Vec::new(),
        admin: Admin::new(host.address, host.token(), &tasks),
        host,
        tasks,
        clock,
    };
    let report = stage.acts(calls, screen).await;
    let Stage { replicas, host, tasks, .. } = stage;
    tasks.stop().await;
    host.stop().await;
    for replica in replicas {
        replica.stop().await?;
    }
    report
}

struct Stage {
    replicas: Vec<Replica>,
    ids: Vec<String>,
    admin: Admin,
    host: Host,
    tasks: Tasks,
    clock: Arc<dyn Clock>,
}

impl Stage {
    async fn acts(&mut self, calls: u64, screen: &Screen) -> Result<Report> {
        let start = self.clock.now();
        self.announce(screen);
        self.register().await?;
        screen.line("all servers are registered, and the gateway has found out what they offer");
        let mut broken = Vec::new();
        let stdio = self.write_notes().await?;
        screen.line(&format!("notes over stdio: {} calls, {} errors", stdio.calls, stdio.errors));
        if stdio.errors > 0 {
            broken.push(format!("{} of {} calls to the stdio server failed", stdio.errors, stdio.calls));
        }
        let mut sessions = Vec::with_capacity(CLIENTS);
        for _ in 0..CLIENTS {
            sessions.push(Session::open(self.host.address, "/mcp/calc".into(), &self.tasks).await?);
        }
        let mut algorithms = Vec::new();
        for (row, algorithm) in Algorithm::ALL.iter().enumerate() {
            let run = self.spread(&mut sessions, *algorithm, calls, screen, row).await?;
            screen.line(&table::plain(&run));
            broken.extend(run.broken.clone());
            algorithms.push(run);
        }
        self.configure(Algorithm::RoundRobin).await?;
        let scene = Scene {
            admin: &mut self.admin,
            sessions: &mut sessions,
            replicas: &mut self.replicas,
            ids: &self.ids,
            clock: &*self.clock,
            screen,
        };
        let failover = failover::run(scene, VICTIM).await?;
        screen.line(&format!("failover: {}", table::settled(&failover)));
        screen.update(|board| board.failover.report = Some(failover.clone()));
        broken.extend(failover.broken.clone());
        for session in &mut sessions {
            session.close().await?;
        }
        let seconds = rounded(self.clock.now().since(start).as_secs_f64());
        Ok(Report { algorithms, failover, stdio, seconds, broken })
    }

    fn announce(&self, screen: &Screen) {
        let address = self.host.address;
        let pids: Vec<String> =
            self.replicas.iter().filter_map(Replica::pid).map(|pid| pid.to_string()).collect();
        let headline = format!(
            "gateway on http://{address}/mcp, {REPLICAS} replicas over HTTP (pids {}), notes over stdio, {CLIENTS} clients",
            pids.join(" ")
        );
        screen.line(&headline);
        screen.update(|board| {
            board.headline = headline;
            board.servers = self.replicas.iter().map(|replica| replica.name.clone()).collect();
            board.rows = Algorithm::ALL.iter().map(|algorithm| self.row(*algorithm)).collect();
        });
    }

    fn row(&self, algorithm: Algorithm) -> Row {
        let mut row = Row { title: algorithm.to_string(), ..Row::default() };
        if algorithm == Algorithm::Weighted {
            row.title = format!("weighted {}", WEIGHTS.map(|weight| weight.to_string()).join(":"));
        }
        row.counts.per_server = self.replicas.iter().map(|replica| (replica.name.clone(), 0)).collect();
        row
    }

    async fn register(&mut self) -> Result<()> {
        for replica in &self.replicas {
            let registration = json!({
                "name": replica.name,
                "service": "calc",
                "endpoint_url": format!("http://{}/mcp", replica.address),
                "tags": ["demo"],
            });
            self.ids.push(self.admin.register(&registration).await?);
        }
        let (program, subcommand) = children::program()?;
        let notes = json!({
            "name": "notes",
            "command": program,
            "args": [subcommand, "--name", "notes", "--stdio", "--offer", "notes"],
            "tags": ["demo"],
        });
        self.admin.register(&notes).await?;
        self.admin.discovered("add,whoami,echo", REPLICAS, PATIENCE).await?;
        self.admin.discovered("write,read", 1, PATIENCE).await
    }

    /// Calls the stdio server by its name on the route that has everything.
    async fn write_notes(&mut self) -> Result<Stdio> {
        let mut session = Session::open(self.host.address, "/mcp".into(), &self.tasks).await?;
        let mut errors = 0;
        for number in 1..=NOTES {
            let answer = session.call("notes__write", &json!({"text": format!("note {number}")})).await?;
            let right = match answer {
                Answer::Result(result) => result["content"][0]["text"] == *number.to_string(),
                Answer::Failure { .. } => false,
            };
            errors += u64::from(!right);
        }
        session.close().await?;
        Ok(Stdio { calls: NOTES, errors })
    }

    /// Spreads calls by one algorithm and judges the distribution, by the answers and by the ledgers.
    async fn spread(
        &mut self,
        sessions: &mut [Session],
        algorithm: Algorithm,
        calls: u64,
        screen: &Screen,
        row: usize,
    ) -> Result<Run> {
        let weights = self.configure(algorithm).await?;
        let prefix = algorithm.as_str();
        load::run(sessions, calls, prefix, &self.clock, screen, row).await;
        let mut counts = screen.update(|board| board.rows[row].counts.clone());
        if algorithm != Algorithm::ConsistentHash {
            counts.moved_keys.clear();
        }
        let mut run = Run::judge(algorithm, &weights, counts);
        let doubled = Executions::read(self.replicas.iter().map(|replica| &replica.ledger))?.surplus(prefix);
        if doubled > 0 {
            run.broken.get_or_insert(format!("{algorithm}: {doubled} calls were executed more than once"));
        }
        screen.update(|board| board.rows[row].run = Some(run.clone()));
        Ok(run)
    }

    /// Sets the algorithm of the service and the weights of its replicas.
    async fn configure(&mut self, algorithm: Algorithm) -> Result<BTreeMap<String, u32>> {
        let weights = if algorithm == Algorithm::Weighted { WEIGHTS } else { [1; REPLICAS] };
        // The key of consistent hashing is the text of the call.
        let configuration = json!({"algorithm": algorithm, "affinity": {"argument": "/text"}});
        for (id, weight) in self.ids.iter().zip(weights) {
            self.admin.update(id, &json!({"weight": weight, "configuration": configuration})).await?;
        }
        Ok(self.replicas.iter().map(|replica| replica.name.clone()).zip(weights).collect())
    }
}
