//! A sliding window that never lets more than its limit through in any 60 s, in a few hundred bytes.
//!
//! Time is cut into slots of one second. A request at time `t` in slot `s = floor(t)` is let through if fewer than `limit` were
//! let through in the slots `s - 60` to `s`. Every request let through in `[t - 60, t]` lies in one of these 61 slots, so at no
//! moment more than `limit` lie within the last 60 s, and since this holds at the last request of any window of 60 s, it holds
//! for the window. The price is that a request can count for up to a second longer than it must: a caller who uses its limit to
//! the last gets `limit` per 61 s at worst. The better known sliding window counter (two buckets, the older one weighted by its
//! overlap, <https://blog.cloudflare.com/counting-things-a-lot-of-different-things/>) takes less memory, but supposes that the
//! older bucket was filled evenly, and lets nearly twice the limit through when it was not.

use std::time::Duration;

use crate::clock::Tick;

/// The length that limits speak of.
pub const LENGTH: Duration = Duration::from_secs(60);

const SLOT: u64 = 1_000_000_000;
const SLOTS: usize = 61;

/// The number of requests let through, by slot. 256 bytes.
#[derive(Debug)]
pub(super) struct Window {
    /// The newest slot that `counts` knows.
    newest: u64,
    total: u32,
    /// Slot `s` stands at `s % SLOTS`.
    counts: [u32; SLOTS],
}

/// The rest of the limit after a request was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) remaining: u32,
    /// Until all of it is there again.
    pub(super) reset: Duration,
}

const fn slot_of(now: Tick) -> u64 {
    now.as_nanos() / SLOT
}

const fn place_of(slot: u64) -> usize {
    // Below 61.
    #[expect(clippy::cast_possible_truncation, reason = "a remainder of 61 fits")]
    let place = (slot % SLOTS as u64) as usize;
    place
}

impl Window {
    pub(super) fn new(now: Tick) -> Self {
        Self { newest: slot_of(now), total: 0, counts: [0; SLOTS] }
    }

    /// Lets one through, or says how long to wait until one could be.
    pub(super) fn take(&mut self, limit: u32, now: Tick) -> Result<Left, Duration> {
        self.forget(now);
        if self.total >= limit {
            return Err(self.wait(limit, now));
        }
        self.total += 1;
        self.counts[place_of(self.newest)] += 1;
        Ok(Left { remaining: limit - self.total, reset: until(self.newest + SLOTS as u64, now) })
    }

    /// Takes back one that was let through at `at`.
    pub(super) fn give_back(&mut self, at: Tick) {
        let slot = slot_of(at);
        // One that is forgotten already counts no more.
        if self.newest.saturating_sub(slot) < SLOTS as u64 && self.counts[place_of(slot)] > 0 {
            self.counts[place_of(slot)] -= 1;
            self.total -= 1;
        }
    }

    /// Whether it counts nothing any more.
    pub(super) fn is_empty(&mut self, now: Tick) -> bool {
        self.forget(now);
        self.total == 0
    }

    fn forget(&mut self, now: Tick) {
        let slot = slot_of(now);
        let gone = slot.saturating_sub(self.newest);
        if gone >= SLOTS as u64 {
            (self.total, self.counts) = (0, [0; SLOTS]);
        } else {
            for old in self.newest + 1..=slot {
                self.total -= std::mem::take(&mut self.counts[place_of(old)]);
            }
        }
        self.newest = self.newest.max(slot);
    }

    /// Until so many of the oldest are forgotten that one more fits. The whole length if the limit is zero.
    fn wait(&self, limit: u32, now: Tick) -> Duration {
        let mut counted = self.total;
        let oldest = self.newest.saturating_sub(SLOTS as u64 - 1);
        for slot in oldest..=self.newest {
            counted -= self.counts[place_of(slot)];
            if counted < limit {
                return until(slot + SLOTS as u64, now);
            }
        }
        LENGTH
    }
}

/// Until `slot` begins.
fn until(slot: u64, now: Tick) -> Duration {
    Tick::from_nanos(slot.saturating_mul(SLOT)).since(now)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Tick {
        Tick::from_nanos(millis * 1_000_000)
    }

    /// How many of the times, which are in order, lie in the fullest window of 60 s.
    fn fullest(times: &[u64]) -> usize {
        let mut inside = VecDeque::new();
        let mut most = 0;
        for time in times {
            inside.push_back(*time);
            while inside.front().is_some_and(|first| time - first > 60_000) {
                inside.pop_front();
            }
            most = most.max(inside.len());
        }
        most
    }

    /// L-05: bursts on both sides of any edge: never more than the limit in any 60 s, at one process
    #[test]
    fn a_burst_before_and_after_an_edge_is_one_burst() {
        for edge in [59_000, 59_999, 60_000, 60_001, 61_000] {
            let mut window = Window::new(at(0));
            let mut through = Vec::new();
            for time in [edge - 1, edge, edge + 1, edge + 59_998, edge + 60_000, edge + 61_001] {
                through.extend((0..200).filter(|_| window.take(100, at(time)).is_ok()).map(|_| time));
            }
            assert_eq!(fullest(&through), 100, "{edge}");
            assert!(through.len() >= 200, "what is over comes free again: {edge}");
        }
    }

    #[test]
    fn after_the_wait_that_it_names_one_is_let_through_and_not_before() {
        let mut window = Window::new(at(300));
        for time in [300, 900, 2_500] {
            window.take(3, at(time)).unwrap();
        }
        let wait = window.take(3, at(3_000)).unwrap_err();
        let free = 3_000 + u64::try_from(wait.as_millis()).unwrap();
        assert!(window.take(3, at(free - 1)).is_err());
        assert!(window.take(3, at(free)).is_ok());
        assert_eq!(Window::new(at(0)).take(0, at(0)).unwrap_err(), LENGTH);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_is_forgotten_once() {
        let mut window = Window::new(at(0));
        window.take(1, at(500)).unwrap();
        window.give_back(at(500));
        assert!(window.is_empty(at(500)));
        window.take(1, at(800)).unwrap();
        assert!(window.is_empty(at(70_000)));
        window.give_back(at(800));
        assert!(window.take(1, at(70_000)).is_ok());
    }

    proptest! {
        /// L-05: however requests arrive: never more than the limit in any 60 s, and never idle for more than a second too long
        #[test]
        fn never_more_than_the_limit_in_any_minute(limit in 1_u32..30, steps in prop::collection::vec(0_u64..9_000, 1..400)) {
            let (mut window, mut now, mut through) = (Window::new(at(0)), 0, Vec::new());
            for step in steps {
                now += step;
                if window.take(limit, at(now)).is_ok() {
                    through.push(now);
                } else {
                    let recent = through.iter().filter(|time| now - **time < 61_000).count();
                    prop_assert!(recent >= limit as usize, "refused with {recent} in the last 61 s");
                }
            }
            prop_assert!(fullest(&through) <= limit as usize);
        }
    }
}
