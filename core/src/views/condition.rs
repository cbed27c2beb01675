//! The condition of a server, as answers show it.

use jiff::Timestamp;
use serde::Serialize;

use crate::model::{Problem, ProblemKind};

/// Something that is wrong with a server, or with a part of it.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(as = Problem))]
pub(crate) struct ProblemView {
    /// `server`: it could not be started, reached or asked. `unauthorized`: it wants credentials. `list`: one of its lists could
    /// not be read. `item`: an item is left out. `repaired`: an item is served in another form than the server sent it.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    what: ProblemKind,
    /// The part, such as `prompts/list` or `tool read_file`; `null` for the whole server.
    item: Option<String>,
    /// One sentence; in general terms for callers below a manager.
    reason: String,
    /// When it was seen first.
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    since: Timestamp,
    /// When the gateway tries again; `null` if no time is planned.
    #[cfg_attr(feature = "server", schema(value_type = Option<String>, format = DateTime))]
    next_attempt: Option<Timestamp>,
}

impl From<Problem> for ProblemView {
    fn from(problem: Problem) -> Self {
        let Problem { what, item, reason, since, next_attempt } = problem;
        Self { what, item, reason, since, next_attempt }
    }
}
