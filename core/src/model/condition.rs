//! The condition of a server: whether it serves, what is wrong with it, and what to do.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::capability::Capability;
use super::problem::{Problem, ProblemKind};
use super::server::{Server, Status};

/// Whether a server serves, in one word. It follows from what the gateway knows at the moment and is stored nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ServerState {
    /// It has not answered yet: its program starts, or it is being asked for the first time.
    Starting,
    /// It serves all that it offers.
    Ready,
    /// It serves, but for the parts that its problems name.
    Partial,
    /// It cannot be started, reached or asked.
    Unreachable,
    /// It wants credentials that the gateway does not have.
    Unauthorized,
    /// It gets no calls, as an operator wants it: it is inactive, in maintenance, or waits for an approval.
    Paused,
}

impl ServerState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Starting, Self::Ready, Self::Partial, Self::Unreachable, Self::Unauthorized, Self::Paused];

    /// Its word in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Partial => "partial",
            Self::Unreachable => "unreachable",
            Self::Unauthorized => "unauthorized",
            Self::Paused => "paused",
        }
    }
}

impl fmt::Display for ServerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How much a server's definitions take in a client's context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct ListSize {
    /// Bytes of all definitions.
    pub bytes: u64,
    /// Tokens, estimated at four bytes each.
    pub tokens: u64,
}

impl ListSize {
    /// The size of these items.
    pub fn of(items: &[Capability]) -> Self {
        let bytes = items.iter().map(|item| item.definition.get().len() as u64).sum::<u64>();
        Self { bytes, tokens: bytes.div_ceil(4) }
    }
}

/// How a server is.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// In one word.
    pub state: ServerState,
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
    /// How long the last start took: the start of a program, or the first answer of another server.
    pub last_start: Option<Duration>,
    /// How much its definitions take.
    pub size: ListSize,
    /// The last error in one sentence, with the next step.
    pub last_error: Option<String>,
    /// The start that is under way, such as `starting, 12 s, npx is installing`.
    pub progress: Option<String>,
    /// The last lines that a program which failed to start wrote to its standard error; without secrets, for managers and above.
    pub output: Vec<String>,
}

impl Condition {
    /// The condition of a server that was registered this moment.
    pub fn of_new(server: &Server, items: &[Capability]) -> Self {
        let state = match server.status {
            Status::Inactive | Status::Maintenance => ServerState::Paused,
            _ if server.auto_discover => ServerState::Starting,
            _ => ServerState::Ready,
        };
        Self {
            state,
            problems: Vec::new(),
            last_start: None,
            size: ListSize::of(items),
            last_error: None,
            progress: None,
            output: Vec::new(),
        }
    }

    /// The same for callers that may not read what a server or its program says: kinds and times alone.
    #[must_use]
    pub fn without_texts(mut self) -> Self {
        let told: Option<ProblemKind> = self.problems.first().map(|problem| problem.what);
        self.last_error = self.last_error.and(told).map(|kind| kind.in_general().to_owned());
        for problem in &mut self.problems {
            problem.item = None;
            problem.what.in_general().clone_into(&mut problem.reason);
        }
        // Several of a kind are alike without their texts.
        self.problems.dedup_by(|a, b| a.what == b.what && a.next_attempt == b.next_attempt);
        self.output = Vec::new();
        self
    }
}

impl ProblemKind {
    /// The kind in a sentence, for callers that may not read the reason.
    pub const fn in_general(self) -> &'static str {
        match self {
            Self::Server => {
                "the server could not be started, reached or asked; a manager can read the reason"
            }
            Self::Unauthorized => {
                "the server wants credentials that the gateway does not have; ask a manager"
            }
            Self::List => "a list of the server could not be read; a manager can read the reason",
            Self::Item => "an item of the server is left out; a manager can read the reason",
            Self::Repaired => "an item of the server is served in another form than the server sent it",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_below_a_manager_read_kinds_and_times_and_no_text_of_a_server() {
        let problem = |what, item: Option<&str>| Problem {
            what,
            item: item.map(str::to_owned),
            reason: "canary of the server".into(),
            since: jiff::Timestamp::UNIX_EPOCH,
            next_attempt: Some(jiff::Timestamp::UNIX_EPOCH),
        };
        let condition = Condition {
            state: ServerState::Partial,
            problems: vec![
                problem(ProblemKind::List, Some("prompts/list")),
                problem(ProblemKind::Item, Some("tool canary-a")),
                problem(ProblemKind::Item, Some("tool canary-b")),
            ],
            last_start: None,
            size: ListSize::default(),
            last_error: Some("canary".into()),
            progress: None,
            output: vec!["canary".into()],
        };
        let told = condition.without_texts();
        assert!(!format!("{told:?}").contains("canary"), "{told:?}");
        assert_eq!(told.state, ServerState::Partial);
        let kinds: Vec<_> = told.problems.iter().map(|problem| problem.what).collect();
        assert_eq!(kinds, [ProblemKind::List, ProblemKind::Item]);
        assert!(told.problems.iter().all(|problem| problem.next_attempt.is_some()));
        assert!(told.last_error.is_some());
    }
}
