//! The limits on second attempts: a number at once, and a share of all calls, so that failing servers do not get much more load
//! than healthy ones.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Tick;

/// The time in which second attempts and calls are compared.
const WINDOW: Duration = Duration::from_secs(10);
/// Second attempts in that time for which there need be no calls.
const FREE: u64 = 25;

/// The limits: 20 % of the active calls, and at least 3, may be second attempts under way; further ones wait. Of the calls that
/// began within ten seconds 20 % can be sent a second time, or 25 if that is more; further ones are not.
#[derive(Debug, Default)]
pub(crate) struct RetryBudget {
    under_way: AtomicUsize,
    freed: Notify,
    window: Mutex<BudgetWindow>,
}

#[derive(Debug, Default)]
struct BudgetWindow {
    since: Tick,
    /// Calls that had begun before.
    begun: u64,
    retries: u64,
}

impl RetryBudget {
    /// Whether one more call may be sent a second time, of the `begun` calls so far; then it counts as sent.
    pub(crate) fn allows(&self, begun: u64, now: Tick) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(window.since) >= WINDOW {
            *window = BudgetWindow { since: now, begun, retries: 0 };
        }
        let most = (begun.saturating_sub(window.begun) / 5).max(FREE);
        let allowed = window.retries < most;
        window.retries += u64::from(allowed);
        allowed
    }

    /// A permit for a second attempt while `active` calls are under way, as soon as there is room.
    pub(crate) async fn take(&self, active: usize) -> Retrying<'_> {
        let most = (active / 5).max(3);
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            // In the queue before the check: a slot that is freed in between would otherwise wake nobody.
            freed.as_mut().enable();
            let room = |now: usize| (now < most).then_some(now + 1);
            if self.under_way.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).is_ok() {
                return Retrying(self);
            }
            freed.await;
        }
    }
}

/// A second attempt; releases its slot when dropped.
#[derive(Debug)]
pub(crate) struct Retrying<'a>(&'a RetryBudget);

impl Drop for Retrying<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// F-12: retries have a budget.
    #[test]
    fn of_the_calls_within_ten_seconds_a_fifth_is_sent_twice_or_a_few() {
        let budget = RetryBudget::default();
        let at = |seconds| Tick::default() + Duration::from_secs(seconds);
        let sent = |begun: u64, now: Tick| (0..1000).filter(|_| budget.allows(begun, now)).count();
        assert_eq!(sent(1, at(0)), 25);
        assert_eq!(sent(125, at(5)), 0);
        assert_eq!(sent(1000, at(9)), 175);
        assert_eq!(sent(1000, at(10)), 25, "what was left of the last ten seconds is not saved");
        assert_eq!(sent(3000, at(19)), 375);
    }

    /// F-12: retries have a budget.
    #[test]
    fn a_fifth_of_the_calls_and_at_least_three_may_be_second_attempts() {
        let budget = RetryBudget::default();
        let mut held: Vec<_> = (0..3).filter_map(|_| budget.take(1).now_or_never()).collect();
        assert_eq!(held.len(), 3);
        assert!(budget.take(19).now_or_never().is_none());
        held.push(budget.take(20).now_or_never().expect("four of twenty"));
        let mut waiting = (std::pin::pin!(budget.take(1)), std::pin::pin!(budget.take(1)));
        assert!(waiting.0.as_mut().now_or_never().is_none());
        assert!(waiting.1.as_mut().now_or_never().is_none());
        held.truncate(1);
        assert!(waiting.0.as_mut().now_or_never().is_some());
        assert!(waiting.1.as_mut().now_or_never().is_some());
    }
}
