//! The list of all calls that a demo server executed, kept where a kill of the server does not reach it.
//!
//! One line a call, written with one unbuffered `write` before the call takes effect: the lines of a killed process
//! stay in the operating system's hands, so a call that is not in the ledger had no effect.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use mcp_registry_gateway::{Error, ErrorKind, Result};

/// The executions of one server, in order.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<String>,
    file: Option<File>,
}

impl Ledger {
    /// A ledger in memory alone or, with `path`, one that is also appended to this file.
    pub(super) fn open(path: Option<&Path>) -> Result<Self> {
        let file = path
            .map(|path| {
                OpenOptions::new().create(true).append(true).open(path).map_err(|error| unusable(path, error))
            })
            .transpose()?;
        Ok(Self { state: Mutex::new(State { calls: Vec::new(), file }) })
    }

    /// Enters a call. An id that does not fit on one line of printable text is refused.
    pub(super) fn enter(&self, call_id: &str) -> Result<()> {
        if call_id.is_empty() || call_id.chars().any(char::is_control) {
            return Err(Error::new(ErrorKind::InvalidParams, "`call_id` must be one line of text"));
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &mut state.file {
            file.write_all(format!("{call_id}\n").as_bytes()).map_err(|error| {
                Error::new(ErrorKind::Storage, "the ledger cannot be written").caused_by(error)
            })?;
        }
        state.calls.push(call_id.to_owned());
        Ok(())
    }

    /// The calls so far, in the order in which they were executed.
    pub(super) fn calls(&self) -> Vec<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).calls.clone()
    }
}

/// How often each call stands in the ledgers of all servers together.
#[derive(Debug, Default)]
pub(super) struct Executions(HashMap<String, u32>);

impl Executions {
    /// Reads the ledger files; one that is not there yet is empty.
    pub(super) fn read<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Result<Self> {
        let mut counts = HashMap::new();
        for path in paths {
            let text = match std::fs::read_to_string(path) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(unusable(path, error)),
            };
            for call in text.lines() {
                *counts.entry(call.to_owned()).or_default() += 1;
            }
        }
        Ok(Self(counts))
    }

    /// How often this call was executed.
    pub(super) fn of(&self, call_id: &str) -> u32 {
        self.0.get(call_id).copied().unwrap_or(0)
    }

    /// Executions beyond the first of each call whose id begins with `prefix`.
    pub(super) fn surplus(&self, prefix: &str) -> u64 {
        self.0.iter().filter(|(id, _)| id.starts_with(prefix)).map(|(_, count)| u64::from(count - 1)).sum()
    }
}

fn unusable(path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Storage, "the ledger file cannot be opened")
        .with("path", path.display())
        .with("reason", &error)
        .caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_entered_before_and_after_a_restart_counts_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        Ledger::open(Some(&path)).unwrap().enter("f-1").unwrap();
        let again = Ledger::open(Some(&path)).unwrap();
        again.enter("f-1").unwrap();
        again.enter("g-2").unwrap();

        let executions = Executions::read([&path, &folder.path().join("none")]).unwrap();

        assert_eq!((executions.of("f-1"), executions.of("g-2"), executions.of("x")), (2, 1, 0));
        assert_eq!((executions.surplus("f-"), executions.surplus("g-")), (1, 0));
        assert_eq!(again.calls(), ["f-1", "g-2"]);
    }

    #[test]
    fn an_id_that_would_break_the_lines_is_refused() {
        let ledger = Ledger::default();
        assert!(ledger.enter("a\nb").is_err());
        assert!(ledger.enter("").is_err());
        assert!(ledger.calls().is_empty());
    }
}
