//! Where requests are counted: in this process, or, where replicas share one count, elsewhere.

pub(crate) mod shards;
mod window;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use self::window::LENGTH;

use self::shards::Shards;
use self::window::{Left, Window};
use super::Deferred;
use crate::clock::{Clock, Tick};
use crate::model::TenantId;

/// The scope whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// Those of one principal of a tenant.
    Principal(TenantId, Arc<str>),
    /// Those of a tenant.
    Tenant(TenantId),
    /// All of them.
    Gateway,
    /// The refusals of one principal of a tenant.
    Refused(TenantId, Arc<str>),
}

/// One window that a request must fit into.
#[derive(Clone, Debug)]
pub struct Want {
    /// The scope whose requests it counts.
    pub key: Key,
    /// Requests a minute.
    pub limit: u32,
}

/// The outcome of counting a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It is counted in every window.
    Taken {
        /// Requests left in the first window.
        remaining: u32,
        /// Until the first window has all of its limit again.
        reset: Duration,
    },
    /// It is counted in none.
    Refused {
        /// The index, in the wanted windows, of the first that is full.
        window: usize,
        /// Until that window has room for one.
        wait: Duration,
    },
}

/// The outcome of [`Counters::take`].
pub type Verdict<'a> = Deferred<'a, Counted>;

/// Counts requests in sliding windows of [`LENGTH`], by a clock of its own.
pub trait Counters: Send + Sync + fmt::Debug {
    /// Counts one request in all of the windows, which are at least one, or in none. At no time more than its limit have been let
    /// through within any window's length.
    fn take<'a>(&'a self, wanted: &[Want]) -> Verdict<'a>;

    /// How many windows are kept.
    fn len(&self) -> usize;

    /// Whether there are no recent counts.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Counters of this process. A window that counts nothing any more is forgotten.
#[derive(Debug)]
pub struct MemoryCounters {
    clock: Arc<dyn Clock>,
    windows: Shards<Key, Window>,
}

impl MemoryCounters {
    /// Nothing counted yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, windows: Shards::new() }
    }

    fn take_one(&self, want: &Want, now: Tick) -> Result<Left, Duration> {
        self.windows.with(
            &want.key,
            now,
            || Window::new(now),
            |window| window.is_empty(now),
            |window| window.take(want.limit, now),
        )
    }
}

impl Counters for MemoryCounters {
    fn take<'a>(&'a self, wanted: &[Want]) -> Verdict<'a> {
        let now = self.clock.now();
        let mut first = None;
        for (number, want) in wanted.iter().enumerate() {
            match self.take_one(want, now) {
                Ok(left) => {
                    first.get_or_insert(left);
                }
                Err(wait) => {
                    for taken in &wanted[..number] {
                        self.windows.look(&taken.key, |window| window.give_back(now));
                    }
                    return Verdict::Now(Counted::Refused { window: number, wait });
                }
            }
        }
        let Left { remaining, reset } = first.unwrap_or(Left { remaining: 0, reset: Duration::ZERO });
        Verdict::Now(Counted::Taken { remaining, reset })
    }

    fn len(&self) -> usize {
        self.windows.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn want(key: Key, limit: u32) -> Want {
        Want { key, limit }
    }

    fn principal(number: usize) -> Key {
        Key::Principal(TenantId::default_tenant(), format!("user:{number}").into())
    }

    fn take(counters: &MemoryCounters, wanted: &[Want]) -> Counted {
        match counters.take(wanted) {
            Verdict::Now(counted) => counted,
            Verdict::Later(_) => panic!("memory answers at once"),
        }
    }

    #[test]
    fn what_one_window_refuses_is_counted_in_none() {
        let counters = MemoryCounters::new(ManualClock::shared());
        let wanted = |number| [want(principal(number), 5), want(Key::Gateway, 2)];
        assert!(matches!(take(&counters, &wanted(1)), Counted::Taken { remaining: 4, .. }));
        assert!(matches!(take(&counters, &wanted(1)), Counted::Taken { remaining: 3, .. }));
        for _ in 0..9 {
            assert!(matches!(take(&counters, &wanted(1)), Counted::Refused { window: 1, .. }));
        }
        assert!(matches!(take(&counters, &wanted(1)[..1]), Counted::Taken { remaining: 2, .. }));
    }

    #[test]
    fn callers_that_stay_away_are_forgotten() {
        let clock = ManualClock::shared();
        let counters = MemoryCounters::new(Arc::clone(&clock) as Arc<dyn Clock>);
        for minute in 0..10 {
            for number in 0..1000 {
                take(&counters, &[want(principal(minute * 1000 + number), 5)]);
            }
            clock.advance(Duration::from_secs(90));
        }
        assert!(counters.len() <= 2000, "{} windows are kept of 10,000 callers", counters.len());
    }

    /// L-05: many threads at once, one process: exactly the limit is let through
    #[test]
    fn threads_together_get_exactly_the_limit() {
        let counters = MemoryCounters::new(ManualClock::shared());
        let wanted = [want(principal(1), 1000), want(Key::Gateway, 1000)];
        let through: usize = std::thread::scope(|scope| {
            let one =
                || (0..1000).filter(|_| matches!(take(&counters, &wanted), Counted::Taken { .. })).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(through, 1000);
    }
}
