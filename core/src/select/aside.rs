//! Replicas that are set aside: kept out of balancing while others can take the calls, except for a few that find out how they are.
//!
//! A replica that refuses calls (HTTP 429) pauses: for as long as it says, else for 1 s, then 2 s, 4 s, … up to a minute. When the
//! pause has passed, one call goes there; only an answer ends the pause. A replica that answers worse than the others of its
//! service ([`super::comparison`]) gets one call in a hundred.
//!
//! A replica whose breaker is half-open gets one call at a time likewise.
//!
//! All of it is atomics: a replica that is not set aside costs a pick nothing, since views leave the others out.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::time::Duration;

use crate::clock::Tick;

/// The first pause of a replica that names none; each further one is twice as long.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause, whatever the replica says: the limit may be that of one session.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why a replica is set aside, if it is.
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// When the pause ends; 0: there is none.
    until: AtomicU64,
    /// When the pause began: an answer to an earlier call says nothing about it.
    since: AtomicU64,
    /// Refusals in a row, each at the end of a pause.
    refusals: AtomicU32,
    /// A call was sent to see whether the refusals are over.
    probing: AtomicBool,
    /// One call in so many goes to the replica; 0: it is no outlier.
    one_in: AtomicU32,
    /// Calls that went past it.
    passed: AtomicU32,
    pauses: AtomicU64,
}

impl Aside {
    /// Whether it is set aside.
    pub(super) fn is_set(&self) -> bool {
        self.until.load(Relaxed) != 0 || self.one_in.load(Relaxed) != 0
    }

    /// Whether it refused calls and has not answered one since.
    pub(super) fn is_paused(&self) -> bool {
        self.until.load(Relaxed) != 0
    }

    /// One call in so many; 0: it is no outlier.
    pub(super) fn one_in(&self) -> u32 {
        self.one_in.load(Relaxed)
    }

    /// Pauses since the start.
    pub(super) fn pauses(&self) -> u64 {
        self.pauses.load(Relaxed)
    }

    /// The replica refused a call, and wants none for `wanted`. True if it was not set aside before.
    pub(super) fn refused(&self, wanted: Option<Duration>, now: Tick) -> bool {
        let wanted = wanted.filter(|wanted| !wanted.is_zero()).map(|wanted| wanted.min(LONGEST_PAUSE));
        let until = self.until.load(SeqCst);
        let probed = self.probing.swap(false, SeqCst);
        if until != 0 && now.as_nanos() < until && !probed {
            // The refusal of a call that was sent before the pause is no news, unless the replica wants more time.
            if let Some(wanted) = wanted {
                self.until.fetch_max((now + wanted).as_nanos(), SeqCst);
            }
            return false;
        }
        let refusals = self.refusals.fetch_add(1, SeqCst);
        let pause = wanted.unwrap_or_else(|| growing(refusals));
        self.since.store(now.as_nanos(), SeqCst);
        self.until.store((now + pause).as_nanos().max(1), SeqCst);
        self.pauses.fetch_add(1, Relaxed);
        until == 0
    }

    /// The replica answered a call that was sent at `sent`. True if that ends its pause.
    pub(super) fn answered(&self, sent: Tick) -> bool {
        if self.until.load(Relaxed) == 0 || sent.as_nanos() < self.since.load(SeqCst) {
            return false;
        }
        // A replica that refuses now and then is not taken for one that never did.
        let half = |refusals: u32| Some(refusals / 2);
        let _ = self.refusals.fetch_update(SeqCst, SeqCst, half);
        self.probing.store(false, SeqCst);
        self.until.swap(0, SeqCst) != 0
    }

    /// Gives it one call in so many, or all that it would have with 0.
    pub(super) fn set_one_in(&self, one_in: u32) {
        self.passed.store(0, SeqCst);
        self.one_in.store(one_in, SeqCst);
    }

    /// Whether a call is to go there to find out how the replica is.
    pub(super) fn takes_probe(&self, now: Tick) -> bool {
        let until = self.until.load(Relaxed);
        if until != 0 {
            if now.as_nanos() < until {
                return false;
            }
            // If the end of this call is never heard, another one goes there after the same time.
            let again = now + growing(self.refusals.load(Relaxed).saturating_sub(1));
            let mine = self.until.compare_exchange(until, again.as_nanos(), SeqCst, Relaxed).is_ok();
            if mine {
                self.probing.store(true, SeqCst);
            }
            return mine;
        }
        let one_in = self.one_in.load(Relaxed);
        one_in != 0 && self.passed.fetch_add(1, Relaxed) % one_in == one_in - 1
    }
}

/// The pause after so many refusals before.
fn growing(refusals: u32) -> Duration {
    PAUSE.saturating_mul(2_u32.saturating_pow(refusals)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Tick {
        Tick::default() + Duration::from_millis(millis)
    }

    #[test]
    fn pauses_grow_up_to_a_minute_and_one_call_at_a_time_finds_out() {
        let (aside, mut now, mut pauses) = (Aside::default(), at(1), Vec::new());
        assert!(aside.refused(None, now), "it is set aside");
        for _ in 0..9 {
            let begun = now;
            while !aside.takes_probe(now) {
                now = now + Duration::from_millis(100);
            }
            assert!(!aside.takes_probe(now), "one at a time");
            pauses.push(now.since(begun).as_secs());
            assert!(!aside.refused(None, now));
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn calls_that_were_under_way_neither_lengthen_nor_end_a_pause() {
        let aside = Aside::default();
        for _ in 0..50 {
            aside.refused(None, at(100));
        }
        assert!(!aside.answered(at(99)), "sent before");
        assert!(!aside.takes_probe(at(1_099)) && aside.takes_probe(at(1_100)));
        assert!(aside.answered(at(1_100)) && !aside.is_set());
    }

    #[test]
    fn the_time_that_a_server_asks_for_is_honoured_within_bounds_and_none_is_no_time() {
        for (wanted, paused) in [(5, 5), (3600, 60), (0, 1)] {
            let aside = Aside::default();
            aside.refused(Some(Duration::from_secs(wanted)), at(0));
            assert!(!aside.takes_probe(at(paused * 1000 - 1)), "{wanted}");
            assert!(aside.takes_probe(at(paused * 1000)), "{wanted}");
        }
        let aside = Aside::default();
        aside.refused(None, at(0));
        aside.refused(Some(Duration::from_secs(20)), at(10));
        assert!(!aside.takes_probe(at(20_009)) && aside.takes_probe(at(20_010)), "the longer one");
    }

    #[test]
    fn a_probe_whose_end_is_not_heard_is_made_again() {
        let aside = Aside::default();
        aside.refused(None, at(0));
        assert!(
            aside.takes_probe(at(1_000)) && !aside.takes_probe(at(1_999)) && aside.takes_probe(at(2_000))
        );
    }

    #[test]
    fn an_outlier_gets_one_call_in_a_hundred() {
        let aside = Aside::default();
        aside.set_one_in(100);
        let probes: Vec<u32> = (1..=250).filter(|_| aside.takes_probe(at(0))).collect();
        assert_eq!(probes, [100, 200]);
        aside.set_one_in(0);
        assert!(!aside.is_set() && !aside.takes_probe(at(0)));
    }
}
