//! Problems of a server: the parts of it that were left out or repaired, or that could not be asked for.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The kind of a problem. Everybody who may see the server reads it; the reason is for managers and above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// The server could not be started, reached or asked at all.
    Server,
    /// The server wants credentials that the gateway does not have.
    Unauthorized,
    /// One of the server's lists could not be read, or was cut.
    List,
    /// An item of a list is left out.
    Item,
    /// An item of a list is served in another form than the server sent it.
    Repaired,
}

impl ProblemKind {
    /// The kinds that one query of a server's lists finds.
    pub const FOUND_BY_LISTS: [Self; 3] = [Self::List, Self::Item, Self::Repaired];

    /// Its word in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Unauthorized => "unauthorized",
            Self::List => "list",
            Self::Item => "item",
            Self::Repaired => "repaired",
        }
    }

    /// Whether a part of the server is missing because of it.
    pub const fn is_partial(self) -> bool {
        matches!(self, Self::List | Self::Item)
    }
}

/// Something that is wrong with a server, or with a part of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// The kind.
    pub what: ProblemKind,
    /// The part: a method such as `prompts/list`, or an item such as `tool read_file`. `None` for the whole server.
    pub item: Option<String>,
    /// One sentence: what was asked, what came, and the next step.
    pub reason: String,
    /// When it was seen first.
    pub since: Timestamp,
    /// When the gateway tries again.
    pub next_attempt: Option<Timestamp>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.item {
            Some(item) => write!(f, "{item}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}
