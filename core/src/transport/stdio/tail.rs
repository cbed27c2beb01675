//! The last lines of a child's standard error.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Lines that are kept.
const LINES: usize = 20;
/// Characters of the line that an error repeats.
const SHORT: usize = 200;

/// The last lines that a child wrote to its standard error, redacted. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    /// Adds a line.
    pub(super) fn push(&self, line: String) {
        let mut lines = self.lock();
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// The last line, shortened.
    pub(super) fn last(&self) -> Option<String> {
        self.lock().back().map(|line| line.chars().take(SHORT).collect())
    }

    /// All of them, the oldest first.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lock().iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_twenty_lines_are_kept() {
        let tail = Tail::default();
        assert_eq!(tail.last(), None);
        for n in 0..30 {
            tail.push(format!("line {n}"));
        }
        assert_eq!(tail.lines().len(), LINES);
        assert_eq!((tail.lines()[0].as_str(), tail.last().as_deref()), ("line 10", Some("line 29")));
        tail.push("x".repeat(1000));
        assert_eq!(tail.last().map(|line| line.len()), Some(SHORT));
    }
}
