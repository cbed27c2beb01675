//! Log lines that a child may cause.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Tick};

const WINDOW: Duration = Duration::from_secs(10);

/// Lets a number of lines pass in each window of 10 s, and counts the others.
#[derive(Debug)]
pub(super) struct Budget {
    clock: Arc<dyn Clock>,
    each: u32,
    left: u32,
    suppressed: u64,
    renewed: Tick,
}

impl Budget {
    pub(super) fn new(clock: Arc<dyn Clock>, each: u32) -> Self {
        let renewed = clock.now();
        Self { clock, each, left: each, suppressed: 0, renewed }
    }

    /// How many lines were held back since the last that passed, if one may pass now.
    pub(super) fn take(&mut self) -> Option<u64> {
        let now = self.clock.now();
        if now.since(self.renewed) >= WINDOW {
            self.renewed = now;
            self.left = self.each;
        }
        if self.left == 0 {
            self.suppressed += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn a_flood_is_counted_and_the_next_window_tells_the_count() {
        let clock = ManualClock::shared();
        let mut budget = Budget::new(clock.clone(), 2);
        let taken: Vec<_> = (0..5).map(|_| budget.take()).collect();
        assert_eq!(taken, [Some(0), Some(0), None, None, None]);
        clock.advance(WINDOW);
        assert_eq!(budget.take(), Some(3));
    }
}
