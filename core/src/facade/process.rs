//! The process that a gateway belongs to.
//!
//! A child of `fork()` has a copy of the memory and none of the threads, so that a wait for them would last for ever. Asking the
//! system for the number of the process tells always, and costs a system call, about 100 ns. A host that is told of its forks can
//! say so instead ([`Process::is_told`]): then a check so frequent that this counts, and that waits for no thread, needs a load
//! only.

use std::sync::atomic::{AtomicU8, Ordering};

/// The host says nothing of forks.
const SILENT: u8 = 0;
/// The host tells of forks, and there was none.
const HERE: u8 = 1;
/// The host has told of a fork: this is the child.
const LEFT: u8 = 2;

/// The process that opened a gateway.
pub(super) struct Process {
    id: u32,
    told: AtomicU8,
}

impl Process {
    /// The one that runs this.
    pub(super) fn this() -> Self {
        Self { id: std::process::id(), told: AtomicU8::new(SILENT) }
    }

    /// From now on the host calls [`Process::leave`] in each child.
    pub(super) fn is_told(&self) {
        let _ = self.told.compare_exchange(SILENT, HERE, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// This is the child of a fork.
    pub(super) fn leave(&self) {
        self.told.store(LEFT, Ordering::Relaxed);
    }

    /// Whether this is another process than the one that opened the gateway. Asks the system.
    pub(super) fn is_left(&self) -> bool {
        self.told.load(Ordering::Relaxed) == LEFT || self.id != std::process::id()
    }

    /// The same, by the word of a host that tells of forks. A fork behind the host's back is not noticed.
    pub(super) fn is_left_by_word(&self) -> bool {
        match self.told.load(Ordering::Relaxed) {
            SILENT => self.is_left(),
            told => told == LEFT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_that_the_host_tells_of_is_known_either_way() {
        let process = Process::this();
        assert!(!process.is_left() && !process.is_left_by_word());
        process.is_told();
        assert!(!process.is_left() && !process.is_left_by_word());
        process.leave();
        assert!(process.is_left() && process.is_left_by_word());
        process.is_told();
        assert!(process.is_left_by_word(), "the child stays the child");
    }

    #[test]
    fn a_host_that_is_silent_is_not_believed() {
        let process = Process { id: std::process::id() + 1, told: AtomicU8::new(SILENT) };
        assert!(process.is_left() && process.is_left_by_word());
        let told = Process { id: std::process::id() + 1, told: AtomicU8::new(HERE) };
        assert!(told.is_left(), "a fork behind the host's back is noticed where the system is asked");
        assert!(!told.is_left_by_word());
    }
}
