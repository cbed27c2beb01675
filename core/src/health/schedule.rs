//! When each server is probed next.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Tick;
use crate::model::ServerId;
use crate::random::Random;

/// The wait between probes of a failing server doubles up to this, or to its own interval if that is longer.
pub const LONGEST_INTERVAL: Duration = Duration::from_secs(300);
/// First probes are spread over this, or over the interval if that is shorter.
const FIRST_WITHIN: Duration = Duration::from_millis(500);
const JITTER: f64 = 0.1;

#[derive(Debug)]
struct ScheduledProbe {
    interval: Duration,
    failures: u32,
    /// `None` while it is being probed.
    due: Option<Tick>,
}

/// The next probe of each server: `interval` after a success; after the n-th failure in a row
/// `interval` · 2^(n-1), at most [`LONGEST_INTERVAL`]; each ± 10 %.
#[derive(Debug)]
pub struct Schedule {
    random: Arc<Random>,
    entries: HashMap<ServerId, ScheduledProbe>,
    queue: BTreeSet<(Tick, ServerId)>,
}

impl Schedule {
    /// An empty schedule.
    pub fn new(random: Arc<Random>) -> Self {
        Self { random, entries: HashMap::new(), queue: BTreeSet::new() }
    }

    /// Puts a server in, due soon, or changes its interval. A shorter interval takes effect at once.
    pub fn put(&mut self, id: ServerId, interval: Duration, now: Tick) {
        let random = &self.random;
        let entry = self.entries.entry(id).or_insert_with(|| {
            let window = FIRST_WITHIN.min(interval).as_nanos();
            let spread = random.below(usize::try_from(window).unwrap_or(usize::MAX));
            let due = now + Duration::from_nanos(spread as u64);
            self.queue.insert((due, id));
            ScheduledProbe { interval, failures: 0, due: Some(due) }
        });
        if entry.interval == interval {
            return;
        }
        entry.interval = interval;
        let wait = random.jitter(backed_off(interval, entry.failures), JITTER);
        if let Some(due) = entry.due.filter(|due| *due > now + wait) {
            self.queue.remove(&(due, id));
            self.queue.insert((now + wait, id));
            entry.due = Some(now + wait);
        }
    }

    /// Takes a server out.
    pub fn remove(&mut self, id: ServerId) {
        if let Some(due) = self.entries.remove(&id).and_then(|entry| entry.due) {
            self.queue.remove(&(due, id));
        }
    }

    /// Makes probes due that were taken and never ended, because they were cut.
    pub fn resume(&mut self, now: Tick) {
        for (id, entry) in self.entries.iter_mut().filter(|(_, entry)| entry.due.is_none()) {
            entry.due = Some(now);
            self.queue.insert((now, *id));
        }
    }

    /// When the next probe is due.
    pub fn next_due(&self) -> Option<Tick> {
        self.queue.first().map(|(due, _)| *due)
    }

    /// When the next probe of a server is due; `None` while it is being probed.
    pub fn due(&self, id: ServerId) -> Option<Tick> {
        self.entries.get(&id)?.due
    }

    /// A server that is due; it is not due again before [`Schedule::probed`].
    pub fn take_due(&mut self, now: Tick) -> Option<ServerId> {
        let (_, id) = self.queue.first().copied().filter(|(due, _)| *due <= now)?;
        self.queue.pop_first();
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.due = None;
        }
        Some(id)
    }

    /// A probe has ended, scheduled or not, and this many in a row have failed now; the next is due after the wait that
    /// follows from it.
    pub fn probed(&mut self, id: ServerId, failures: u32, now: Tick) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.failures = failures;
        if let Some(due) = entry.due {
            self.queue.remove(&(due, id));
        }
        let due = now + self.random.jitter(backed_off(entry.interval, entry.failures), JITTER);
        self.queue.insert((due, id));
        entry.due = Some(due);
    }
}

/// The wait after `failures` in a row, before jitter.
fn backed_off(interval: Duration, failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    interval.saturating_mul(factor).min(LONGEST_INTERVAL.max(interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);

    fn schedule() -> Schedule {
        Schedule::new(Arc::new(Random::seeded(3)))
    }

    fn after(seconds: u64) -> Tick {
        Tick::default() + Duration::from_secs(seconds)
    }

    /// Ends a probe of the only server and returns the wait for the next, in seconds.
    fn wait(schedule: &mut Schedule, id: ServerId, failures: u32) -> f64 {
        let now = schedule.next_due().unwrap();
        assert_eq!(schedule.take_due(now), Some(id));
        assert_eq!(schedule.next_due(), None, "not due while it is being probed");
        schedule.probed(id, failures, now);
        schedule.next_due().unwrap().since(now).as_secs_f64()
    }

    /// F-19: a round ends in time, failures back off, slow is not dead.
    #[test]
    fn failures_double_the_wait_up_to_five_minutes_and_a_success_resets_it() {
        let (mut schedule, id) = (schedule(), ServerId::random());
        schedule.put(id, INTERVAL, Tick::default());
        let expected =
            [(0, 30.0), (1, 30.0), (2, 60.0), (3, 120.0), (4, 240.0), (5, 300.0), (6, 300.0), (0, 30.0)];
        for (failures, expected) in expected {
            let share = wait(&mut schedule, id, failures) / expected;
            assert!((0.9..=1.1).contains(&share), "{share} of {expected}");
        }
    }

    /// F-19: a round ends in time, failures back off, slow is not dead.
    #[test]
    fn waits_differ_so_that_servers_do_not_march_in_step() {
        let mut schedule = schedule();
        let mut waits: Vec<_> = (0..100)
            .map(|_| {
                let id = ServerId::random();
                schedule.put(id, INTERVAL, Tick::default());
                let wait = wait(&mut schedule, id, 0);
                schedule.remove(id);
                wait
            })
            .collect();
        waits.sort_by(f64::total_cmp);
        assert!(waits[10] < 28.5 && waits[90] > 31.5, "{waits:?}");
    }

    #[test]
    fn first_probes_are_spread_over_half_a_second() {
        let mut schedule = schedule();
        for _ in 0..200 {
            schedule.put(ServerId::random(), INTERVAL, Tick::default());
        }
        let at = |millis| Tick::default() + Duration::from_millis(millis);
        let mut taken = 0;
        while schedule.take_due(at(250)).is_some() {
            taken += 1;
        }
        assert!((60..140).contains(&taken), "{taken}");
        while schedule.take_due(at(500)).is_some() {
            taken += 1;
        }
        assert_eq!(taken, 200);
    }

    #[test]
    fn a_shorter_interval_counts_at_once_and_a_removed_server_is_never_due() {
        let (mut schedule, id) = (schedule(), ServerId::random());
        schedule.put(id, Duration::from_secs(3600), Tick::default());
        wait(&mut schedule, id, 0);
        schedule.put(id, INTERVAL, after(1));
        assert!(schedule.next_due().unwrap() <= after(35));
        schedule.remove(id);
        assert_eq!(schedule.take_due(after(100_000)), None);
        schedule.probed(id, 1, after(100_000));
        assert_eq!(schedule.next_due(), None);
    }

    #[test]
    fn a_probe_out_of_turn_moves_the_next_one() {
        let (mut schedule, id) = (schedule(), ServerId::random());
        schedule.put(id, INTERVAL, Tick::default());
        schedule.probed(id, 0, after(10));
        assert!(schedule.next_due().unwrap() >= after(37));
        assert_eq!(schedule.queue.len(), 1);
    }

    #[test]
    fn any_number_of_failures_keeps_the_cap() {
        for failures in [33, 64, u32::MAX] {
            assert_eq!(backed_off(INTERVAL, failures), LONGEST_INTERVAL);
            assert_eq!(backed_off(Duration::from_secs(3600), failures), Duration::from_secs(3600));
        }
    }
}
