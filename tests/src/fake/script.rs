//! What a fake server does instead of answering well.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

/// One way to react to a request.
#[derive(Clone, Debug)]
pub enum Act {
    /// Answers with one JSON document.
    Answer,
    /// Answers in an event stream of one message.
    Sse,
    /// Answers after a while.
    Delay(Duration),
    /// Takes the request and never answers.
    Hang,
    /// Resets the connection without having done anything.
    ResetBefore,
    /// Does what was asked, then resets the connection instead of answering.
    ResetAfter,
    /// Answers with something that is not JSON.
    Garbage,
    /// Answers with an id that nobody used.
    WrongId,
    /// Answers with an HTTP status and no JSON-RPC body.
    Status {
        /// The status.
        code: u16,
        /// Seconds for `Retry-After`.
        retry_after: Option<u32>,
    },
    /// Answers with a JSON-RPC error.
    RpcError(i32),
    /// Answers with a tool result that says `isError: true`.
    ToolError,
    /// Sends this many progress notifications and one log message before the answer.
    Progress(u32),
    /// Asks the client something in the middle of the call; the answer's text is what the client replied.
    Ask {
        /// `sampling/createMessage`, `elicitation/create`, `roots/list`, …
        method: String,
        /// Its params.
        params: Value,
    },
    /// Answers with a text of this many bytes.
    Huge(usize),
    /// Answers with these bytes over and over, in an event stream or as one document, and never ends.
    Endless {
        /// Whether it is an event stream.
        stream: bool,
        /// The bytes.
        piece: Vec<u8>,
    },
    /// Answers with an event stream of this text, in which `$ID` is the request's id.
    Events(String),
    /// Answers in small pieces with this pause between them.
    Slow(Duration),
}

#[derive(Debug)]
struct Rule {
    method: String,
    tool: Option<String>,
    left: Option<usize>,
    act: Act,
}

/// The rules of one fake server; the newest that fits wins.
#[derive(Debug, Default)]
pub struct Script(Mutex<Vec<Rule>>);

impl Script {
    /// From now on every request of `method` meets `act`; `*` stands for any method.
    pub fn on(&self, method: &str, act: Act) {
        self.push(method, None, None, act);
    }

    /// From now on every call of `tool` meets `act`.
    pub fn on_tool(&self, tool: &str, act: Act) {
        self.push("tools/call", Some(tool), None, act);
    }

    /// The next `times` requests of `method` meet `act`.
    pub fn next(&self, method: &str, times: usize, act: Act) {
        self.push(method, None, Some(times), act);
    }

    /// Forgets every rule.
    pub fn clear(&self) {
        self.lock().clear();
    }

    pub(super) fn take(&self, method: &str, tool: Option<&str>) -> Option<Act> {
        let mut rules = self.lock();
        let fits = |rule: &Rule| {
            (rule.method == "*" || rule.method == method)
                && (rule.tool.is_none() || rule.tool.as_deref() == tool)
                && rule.left != Some(0)
        };
        let rule = rules.iter_mut().rev().find(|rule| fits(rule))?;
        if let Some(left) = &mut rule.left {
            *left -= 1;
        }
        Some(rule.act.clone())
    }

    fn push(&self, method: &str, tool: Option<&str>, left: Option<usize>, act: Act) {
        let rule = Rule { method: method.to_owned(), tool: tool.map(str::to_owned), left, act };
        self.lock().push(rule);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Rule>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
