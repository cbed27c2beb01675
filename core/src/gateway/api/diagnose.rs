//! The examination of one server, step by step, as the doctor prints it: each step says what was found and what a person should do.

use std::sync::Arc;
use std::time::Duration;

use crate::auth::Operation;
use crate::clock::Tick;
use crate::error::{Cause, Delivery, Error, ErrorKind, Result};
use crate::gateway::routing::condition::is_unauthorized;
use crate::gateway::routing::service::Replica;
use crate::gateway::{Caller, Core, Gateway};
use crate::model::{
    Capability, CapabilityKind, Condition, ProbeKind, Problem, ProblemKind, Server, ServerId, Status,
};
use crate::rpc::Members;
use crate::transport::Session;

/// Items with a problem that are shown one by one.
const MAX_ITEMS: usize = 50;
/// How long the last step waits for its answer.
const PING: Duration = Duration::from_secs(10);

/// How one step of an examination ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// As it should be.
    Ok,
    /// A part is left out or was repaired; the rest is served.
    Warning,
    /// It does not work, so that later steps make no sense.
    Failed,
    /// It was not tried.
    Skipped,
}

/// One step of an examination.
#[derive(Clone, Debug)]
pub struct DiagnosisStep {
    /// The step: `status`, `program`, `resolve`, `connect`, `tls`, `start`, `initialize`, the method of a list, `items`, `ping`.
    pub step: String,
    /// How it ended.
    pub outcome: StepOutcome,
    /// How long it took, if it was timed.
    pub took: Option<Duration>,
    /// What was found, in one sentence.
    pub found: String,
    /// What a person should do, if anything.
    pub advice: Option<String>,
}

/// The examination of a server.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    /// The server.
    pub server: Arc<Server>,
    /// How it is now.
    pub condition: Condition,
    /// The steps in the order in which they were taken.
    pub steps: Vec<DiagnosisStep>,
}

impl Diagnosis {
    /// Whether nothing is wrong: no step failed and no part is left out. A server that is paused is as its operator wants it.
    pub fn is_ok(&self) -> bool {
        let left_out = self.condition.problems.iter().any(|problem| problem.what.is_partial());
        !left_out && !self.steps.iter().any(|step| step.outcome == StepOutcome::Failed)
    }
}

impl Gateway {
    /// Examines a server now: it is resolved, connected to or started, initialized, asked for each of its lists, and pinged. The
    /// lists that it answers are taken up. A server that is switched off is neither started nor connected to.
    pub async fn diagnose(&self, caller: &Caller, id: ServerId) -> Result<Diagnosis> {
        caller.may(Operation::ServersDiagnose)?;
        let server = self.get(caller, id)?;
        let steps = self.0.examine(&server).await;
        let condition = self.condition(caller, server.id)?;
        Ok(Diagnosis { server, condition, steps })
    }
}

/// The steps so far.
struct Examination<'a> {
    core: &'a Arc<Core>,
    server: &'a Arc<Server>,
    steps: Vec<DiagnosisStep>,
    since: Tick,
}

impl Core {
    async fn examine(self: &Arc<Self>, server: &Arc<Server>) -> Vec<DiagnosisStep> {
        let since = self.clock.now();
        let mut examination = Examination { core: self, server, steps: Vec::new(), since };
        // The first step that fails ends it.
        let _ = examination.run().await;
        examination.steps
    }
}

impl Examination<'_> {
    async fn run(&mut self) -> Option<()> {
        let replica = self.status()?;
        self.way(&replica).await?;
        let session = self.start(&replica).await?;
        self.initialized(&session);
        self.lists().await?;
        self.ping(&replica).await
    }

    /// Whether it may be reached at all.
    fn status(&mut self) -> Option<Replica> {
        if matches!(self.server.status, Status::Inactive | Status::Maintenance) {
            let found = format!("an operator set its status to `{}`: it gets no calls", self.server.status);
            let advice = "set its `status` to `active` to use it";
            self.push("status", StepOutcome::Skipped, found, Some(advice.into()));
            return None;
        }
        let Some(replica) = self.core.replica(self.server.id) else {
            let found = "it cannot be reached as it is configured; the log of the gateway says why";
            self.push("status", StepOutcome::Failed, found.into(), Some("correct its registration".into()));
            return None;
        };
        if replica.waits {
            let found = "its definitions differ from the approved ones, and `drift = \"pin\"` keeps it out";
            let advice =
                "compare them in its record, and approve them with `POST /api/v1/servers/{id}/approve`";
            self.push("status", StepOutcome::Warning, found.into(), Some(advice.into()));
        }
        Some(replica)
    }

    /// Name, connection and TLS; for a program, its file.
    async fn way(&mut self, replica: &Replica) -> Option<()> {
        for (step, outcome) in replica.upstream.examine().await {
            match outcome {
                Ok(found) => self.push(step, StepOutcome::Ok, found, None),
                Err(error) => return self.fail(step, &error),
            }
        }
        Some(())
    }

    async fn start(&mut self, replica: &Replica) -> Option<Arc<Session>> {
        let (watching, id) = (Arc::clone(self.core), self.server.id);
        let is_program = replica.upstream.starts_process();
        let runs = replica.upstream.shared_session().is_some();
        match replica.upstream.shared(move |session| watching.watch(id, session)).await {
            Ok(session) if is_program => {
                let found = if runs { "the program runs already" } else { "the program was started" };
                self.push("start", StepOutcome::Ok, found.into(), None);
                Some(session)
            }
            Ok(session) => Some(session),
            Err(error) => self.fail(if is_program { "start" } else { "initialize" }, &error),
        }
    }

    fn initialized(&mut self, session: &Session) {
        let result = Members::parse(session.initialize_result()).ok();
        let info = result.as_ref().and_then(|result| Members::parse(result.get("serverInfo")?).ok());
        let text = |key| info.as_ref().and_then(|info| info.text(key)).unwrap_or_default();
        let declared: Vec<_> = session.declared().collect();
        let declared = if declared.is_empty() { "nothing".to_owned() } else { declared.join(", ") };
        let found = format!(
            "`{}` {} speaks {} and declares {declared}",
            text("name"),
            text("version"),
            session.version()
        );
        self.push("initialize", StepOutcome::Ok, found, None);
    }

    /// Each list, and the items that were left out or repaired.
    async fn lists(&mut self) -> Option<()> {
        if let Err(error) = self.core.discover_afresh(self.server.id).await {
            return self.fail("lists", &error);
        }
        let listing = self.core.registry.state().listing(self.server.id);
        let problems = self.core.problems.of(self.server.id);
        for kind in CapabilityKind::ALL {
            let method = kind.list_method();
            let is_about = |problem: &&Problem| {
                problem.what == ProblemKind::List
                    && problem.item.as_deref().is_some_and(|item| item.starts_with(method))
            };
            if let Some(problem) = problems.iter().find(is_about) {
                let advice = "update or mend the server; its other lists are served";
                self.push(method, StepOutcome::Warning, problem.reason.clone(), Some(advice.into()));
                continue;
            }
            let count = listing.items.iter().filter(|item: &&Capability| item.kind == kind).count();
            if count > 0 {
                self.push(
                    method,
                    StepOutcome::Ok,
                    format!("{count} {}", if count == 1 { "item" } else { "items" }),
                    None,
                );
            }
        }
        self.items(&problems);
        Some(())
    }

    fn items(&mut self, problems: &[Problem]) {
        let of_items: Vec<_> = problems
            .iter()
            .filter(|problem| matches!(problem.what, ProblemKind::Item | ProblemKind::Repaired))
            .collect();
        for problem in of_items.iter().take(MAX_ITEMS) {
            let advice = match problem.what {
                ProblemKind::Item => {
                    Some("mend the definition at the server: clients do not see this item".into())
                }
                _ => None,
            };
            self.push("items", StepOutcome::Warning, problem.to_string(), advice);
        }
        if of_items.len() > MAX_ITEMS {
            let more = of_items.len() - MAX_ITEMS;
            self.push("items", StepOutcome::Warning, format!("{more} more items have problems"), None);
        }
        if of_items.is_empty() {
            self.push("items", StepOutcome::Ok, "every item fits the schema of clients".into(), None);
        }
    }

    async fn ping(&mut self, replica: &Replica) -> Option<()> {
        let (watching, id) = (Arc::clone(self.core), self.server.id);
        let probing =
            replica.upstream.probe(ProbeKind::Protocol, PING, move |session| watching.watch(id, session));
        let late = |_| Err(Error::new(ErrorKind::Timeout, "the server did not answer a ping within 10 s"));
        match tokio::time::timeout(PING, probing).await.unwrap_or_else(late) {
            Ok(()) => self.push("ping", StepOutcome::Ok, "it answers".into(), None),
            Err(error) => return self.fail("ping", &error),
        }
        Some(())
    }

    fn fail<T>(&mut self, step: &str, error: &Error) -> Option<T> {
        let advice = advice(step, error, &self.server.name);
        self.push(step, StepOutcome::Failed, error.to_string(), Some(advice));
        None
    }

    fn push(&mut self, step: &str, outcome: StepOutcome, found: String, advice: Option<String>) {
        let now = self.core.clock.now();
        let took = Some(now.since(self.since));
        self.since = now;
        self.steps.push(DiagnosisStep { step: step.to_owned(), outcome, took, found, advice });
    }
}

/// The advice for a person about a step that failed.
fn advice(step: &str, error: &Error, server: &str) -> String {
    if is_unauthorized(error) {
        return format!(
            "set the credentials that the server wants: `mcp-gateway credentials set {server} …`, or log in with \
             `mcp-gateway credentials login {server}`"
        );
    }
    let text = match (step, error.cause()) {
        (_, Cause::StartTimeout) => {
            "raise `configuration.start_timeout_seconds` of the server, or run its command by hand to see what it waits for"
        }
        (_, Cause::PutOff) => {
            "wait for the time that the message names; the last lines of its standard error say why it ended"
        }
        (_, Cause::PoolExhausted) => {
            "raise `configuration.max_connections`, or end sessions that nobody needs"
        }
        ("program", _) => "install the program, or give its whole path as `command`",
        ("resolve", _) => "correct the host of `endpoint_url`, or the name servers of the gateway's machine",
        ("connect", _) => {
            "start the server, or correct host and port of `endpoint_url`; a firewall may stand between the two"
        }
        ("tls", _) => "renew the server's certificate, or name its authority in `configuration.ca_file`",
        ("start", _) => {
            "run the command by hand with the same arguments and variables; the last lines of its standard error are below"
        }
        ("initialize", _) if error.upstream_status() == Some(404) => {
            "correct the path of `endpoint_url`: most servers have it at `/mcp`"
        }
        ("initialize", _) => "check that an MCP server of this `transport_type` answers at `endpoint_url`",
        ("lists", _) => "look into the server's own log, and update or mend it",
        ("ping", _) if error.delivery() == Delivery::NotSent => "restart the server: it takes no messages",
        _ => "restart the server, and look into its own log",
    };
    text.to_owned()
}
