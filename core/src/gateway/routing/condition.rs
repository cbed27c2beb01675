//! The condition of each server, from what routing knows: its start, its lists, its problems, its health.

use std::time::Duration;

use jiff::Timestamp;

use super::service::Replica;
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::gateway::Core;
use crate::model::{
    Capability, Condition, Event, HealthStatus, ListSize, Problem, ProblemKind, Server, ServerId,
    ServerState, Status,
};
use crate::store::HealthRecord;

/// The kinds of problems that this file tells of.
const KINDS: [ProblemKind; 2] = [ProblemKind::Server, ProblemKind::Unauthorized];
/// The part of a server that probes speak of.
const PROBE: &str = "ping";

impl Core {
    /// How a server is; `items`: those of its items that are shown.
    pub(crate) fn condition(&self, server: &Server, items: &[Capability]) -> Condition {
        let replica = self.replica(server.id);
        let mut condition = Condition::of_new(server, items);
        condition.problems = self.problems.of(server.id);
        condition.size = ListSize::of(items);
        let Some(replica) = replica else {
            condition.state = state(server, None, &condition.problems);
            return condition;
        };
        let startup = replica.upstream.startup();
        condition.state = state(server, Some(&replica), &condition.problems);
        condition.last_start = startup.took();
        if condition.state == ServerState::Starting {
            condition.progress = startup.progress();
        }
        let serious = condition.problems.iter().find(|problem| KINDS.contains(&problem.what));
        condition.last_error = serious.or(condition.problems.first()).map(Problem::to_string);
        if let Some((error, output)) =
            startup.failure(|failure| (failure.error.to_string(), failure.output.clone()))
        {
            condition.last_error.get_or_insert(error);
            condition.output = output;
        }
        condition
    }

    /// Takes in the outcome of a query for everything that a server offers.
    pub(crate) fn note_discovery(&self, id: ServerId, outcome: &Result<()>) {
        let state = self.registry.state();
        let Some(server) = state.server(id) else { return };
        let Err(error) = outcome else { return self.put_problems(server, None, Vec::new(), false) };
        if *error.cause() == Cause::PutOff && self.put_off(id, error) {
            return;
        }
        // A query is given up when the server's registration changes or the gateway stops: that says nothing of the server.
        if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Cancelled) || self.is_stopping() {
            return;
        }
        let listing = state.listing(id);
        let wait = error.retry_delay().unwrap_or_default().max(self.discoveries.asked.next(
            id,
            &listing,
            self.settings.refresh,
        ));
        let problem = Problem {
            what: if is_unauthorized(error) { ProblemKind::Unauthorized } else { ProblemKind::Server },
            item: None,
            reason: reason(server, error),
            since: self.clock.timestamp(),
            next_attempt: self.after(wait),
        };
        self.put_problems(server, None, vec![problem], false);
    }

    /// Takes in the outcomes of probes.
    pub(crate) fn note_probes(&self, records: &[(ServerId, HealthRecord)]) {
        let state = self.registry.state();
        for (id, record) in records {
            let Some(server) = state.server(*id) else { continue };
            let fails = !matches!(record.status, HealthStatus::Healthy | HealthStatus::Unknown);
            // A change of health is told for itself.
            let is_told = record.status != server.health_status;
            let Some(error) = record.error.as_ref().filter(|_| fails) else {
                self.put_problems(server, Some(PROBE), Vec::new(), is_told);
                continue;
            };
            let known = self.problems.of(*id);
            let told = |problem: &Problem| problem.item.is_none() && KINDS.contains(&problem.what);
            // A query that failed has told of it in more words.
            let problem = (!known.iter().any(told)).then(|| Problem {
                what: ProblemKind::Server,
                item: Some(PROBE.to_owned()),
                reason: format!(
                    "`{0}` did not answer a probe: {error}; `mcp-gateway doctor {0}` goes through it step by step",
                    server.name
                ),
                since: self.clock.timestamp(),
                next_attempt: self.monitor.next_probe(*id).and_then(|wait| self.after(wait)),
            });
            self.put_problems(server, Some(PROBE), problem.into_iter().collect(), is_told);
        }
    }

    /// Tells watchers that a server's start begins or ends.
    pub(crate) fn tell_state(&self, server: &Server) {
        self.registry.tell(Event::State { tenant_id: server.tenant_id.clone(), id: server.id });
    }

    /// The error for a client that wants to be introduced to a service of which no server has answered.
    pub(crate) fn unheard(&self, replicas: &[Replica], may_read: bool) -> Error {
        let message = "no server of this service has answered yet; try again in a moment";
        let error = Error::new(ErrorKind::Unavailable, message).retry_after(Duration::from_secs(2));
        let Some(replica) = replicas.first() else { return error };
        if let Some(progress) = replica.upstream.startup().progress() {
            let message = format!("`{}`: {progress}; try again in a moment", replica.server.name);
            return Error::new(ErrorKind::Unavailable, message).retry_after(Duration::from_secs(2));
        }
        let problems = self.problems.of(replica.server.id);
        let Some(problem) = problems.iter().find(|problem| KINDS.contains(&problem.what)) else {
            return error;
        };
        let reason = if may_read { problem.reason.as_str() } else { problem.what.in_general() };
        let Some(next) = problem.next_attempt else {
            return Error::new(ErrorKind::Unavailable, reason.to_owned());
        };
        let wait = next.duration_since(self.clock.timestamp()).unsigned_abs();
        let message = format!("{reason}; it is asked again in {} s", wait.as_secs());
        Error::new(ErrorKind::Unavailable, message).retry_after(wait.max(Duration::from_secs(1)))
    }

    /// Replaces the problems about one part of a server, or about the whole; watchers are told unless they are anyway.
    fn put_problems(&self, server: &Server, item: Option<&str>, found: Vec<Problem>, is_told: bool) {
        let known = self.problems.of(server.id);
        let others = known.into_iter().filter(|one| KINDS.contains(&one.what) && one.item.as_deref() != item);
        if self.problems.replace(server.id, &KINDS, others.chain(found).collect()) && !is_told {
            self.tell_state(server);
        }
    }

    /// Moves the next attempt of a problem that is known; false if none is.
    fn put_off(&self, id: ServerId, error: &Error) -> bool {
        let mut known = self.problems.of(id);
        known.retain(|problem| KINDS.contains(&problem.what));
        if known.is_empty() {
            return false;
        }
        let next = error.retry_delay().and_then(|wait| self.after(wait));
        for problem in known.iter_mut().filter(|problem| problem.item.is_none()) {
            problem.next_attempt = next.max(problem.next_attempt);
        }
        self.problems.replace(id, &KINDS, known);
        true
    }

    fn after(&self, wait: Duration) -> Option<Timestamp> {
        self.clock.timestamp().checked_add(wait).ok()
    }
}

/// The state that follows from all that is known.
fn state(server: &Server, replica: Option<&Replica>, problems: &[Problem]) -> ServerState {
    let has = |kind| problems.iter().any(|problem| problem.what == kind);
    if matches!(server.status, Status::Inactive | Status::Maintenance) {
        return ServerState::Paused;
    }
    let Some(replica) = replica else { return ServerState::Unreachable };
    let is_up = replica.upstream.shared_session().is_some();
    if replica.waits {
        return ServerState::Paused;
    }
    if replica.upstream.starting().is_some() && !is_up {
        return ServerState::Starting;
    }
    if has(ProblemKind::Unauthorized) {
        return ServerState::Unauthorized;
    }
    let is_out = matches!(server.health_status, HealthStatus::Unhealthy | HealthStatus::Unreachable);
    if has(ProblemKind::Server) || is_out || server.status == Status::Error {
        return ServerState::Unreachable;
    }
    let is_heard = replica.listing.initialize.is_some() || replica.listing.modern.is_some();
    if !is_heard && server.auto_discover {
        return ServerState::Starting;
    }
    if problems.iter().any(|problem| problem.what.is_partial()) {
        return ServerState::Partial;
    }
    ServerState::Ready
}

/// Whether a server wants credentials.
pub(crate) fn is_unauthorized(error: &Error) -> bool {
    *error.cause() == Cause::AuthorizationRequired || matches!(error.upstream_status(), Some(401 | 403 | 407))
}

/// Why a server could not be asked, with the next step.
fn reason(server: &Server, error: &Error) -> String {
    let name = &server.name;
    if is_unauthorized(error) {
        return format!(
            "`{name}` wants credentials that the gateway does not have: {error}; set them with `mcp-gateway credentials`"
        );
    }
    if *error.cause() == Cause::StartTimeout {
        return error.message().to_owned();
    }
    format!(
        "`{name}` could not be asked what it offers: {error}; `mcp-gateway doctor {name}` goes through it step by step"
    )
}
