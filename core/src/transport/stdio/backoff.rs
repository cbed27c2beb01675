//! When a child that keeps dying may be started again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Tick};
use crate::random::Random;

/// A child that dies sooner than this after its start has failed quickly.
pub(super) const QUICK: Duration = Duration::from_secs(10);
/// A child that lives this long was healthy: failures before it are forgotten.
pub(super) const HEALTHY: Duration = Duration::from_secs(30);
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);
const JITTER: f64 = 0.2;

/// Counts quick failures in a row; the n-th makes the next start wait 0.5 s · 2^(n-1), at most 60 s, ± 20 %.
#[derive(Debug)]
pub(super) struct Backoff {
    clock: Arc<dyn Clock>,
    random: Arc<Random>,
    state: Mutex<BackoffState>,
}

#[derive(Debug, Default)]
struct BackoffState {
    failures: u32,
    counted_at: Option<Tick>,
    until: Tick,
}

impl Backoff {
    pub(super) fn new(clock: Arc<dyn Clock>, random: Arc<Random>) -> Self {
        Self { clock, random, state: Mutex::default() }
    }

    /// How long to wait before the next start; `None` if it may be now.
    pub(super) fn remaining(&self) -> Option<Duration> {
        let left = self.lock().until.since(self.clock.now());
        (!left.is_zero()).then_some(left)
    }

    /// A child that was started at `started` has ended; `asked` if the gateway ended it.
    pub(super) fn ended(&self, started: Tick, asked: bool) {
        let now = self.clock.now();
        let life = now.since(started);
        let mut state = self.lock();
        if life >= HEALTHY {
            state.failures = 0;
        } else if !asked && life < QUICK {
            self.count(&mut state, started, now);
        }
    }

    /// A child could not be started.
    pub(super) fn failed_to_start(&self) {
        let now = self.clock.now();
        self.count(&mut self.lock(), now, now);
    }

    fn count(&self, state: &mut BackoffState, started: Tick, now: Tick) {
        // Children that ran side by side and died of one cause are one failure, not many.
        if state.counted_at.is_some_and(|counted| started < counted) {
            return;
        }
        state.counted_at = Some(now);
        state.failures = state.failures.saturating_add(1);
        let doubled = FIRST.saturating_mul(1_u32.checked_shl(state.failures - 1).unwrap_or(u32::MAX));
        state.until = now + self.random.jitter(doubled.min(LONGEST), JITTER);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BackoffState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn backoff() -> (Arc<ManualClock>, Backoff) {
        let clock = ManualClock::shared();
        (clock.clone(), Backoff::new(clock, Arc::new(Random::seeded(7))))
    }

    /// Starts a child, lets it live for `life`, and says how long the next start has to wait.
    fn live(clock: &ManualClock, backoff: &Backoff, life: Duration) -> Option<Duration> {
        let started = clock.now();
        clock.advance(life);
        backoff.ended(started, false);
        backoff.remaining()
    }

    #[test]
    fn quick_failures_double_the_wait_up_to_a_minute() {
        let (clock, backoff) = backoff();
        for expected in [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0] {
            let wait = live(&clock, &backoff, Duration::from_secs(1)).unwrap();
            let share = wait.as_secs_f64() / expected;
            assert!((0.8..=1.2).contains(&share), "{wait:?} for {expected}");
            clock.advance(wait);
            assert_eq!(backoff.remaining(), None);
        }
        for _ in 0..100 {
            live(&clock, &backoff, Duration::ZERO);
        }
        assert!(backoff.remaining().unwrap() <= Duration::from_secs(72));
    }

    #[test]
    fn half_a_minute_of_life_forgets_the_failures() {
        let (clock, backoff) = backoff();
        for _ in 0..5 {
            let wait = live(&clock, &backoff, Duration::ZERO).unwrap();
            clock.advance(wait);
        }
        assert_eq!(live(&clock, &backoff, HEALTHY), None);
        assert!(live(&clock, &backoff, Duration::ZERO).unwrap() <= Duration::from_millis(600));
    }

    #[test]
    fn a_common_death_is_one_failure_and_an_end_on_request_is_none() {
        let (clock, backoff) = backoff();
        let started = clock.now();
        clock.advance(Duration::from_secs(1));
        backoff.ended(started, true);
        assert_eq!(backoff.remaining(), None);
        for _ in 0..20 {
            backoff.ended(started, false);
        }
        assert!(backoff.remaining().unwrap() <= Duration::from_millis(600));
    }

    #[test]
    fn a_program_that_cannot_be_started_backs_off_too() {
        let (_, backoff) = backoff();
        backoff.failed_to_start();
        assert!(backoff.remaining().is_some());
    }
}
