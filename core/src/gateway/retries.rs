//! How many calls may be sent a second time at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// How many second attempts may be under way: 20 % of the active calls, and at least 3. Those beyond wait.
#[derive(Debug, Default)]
pub(super) struct RetryBudget {
    under_way: AtomicUsize,
    freed: Notify,
}

impl RetryBudget {
    /// Leave for a second attempt while `active` calls are under way, as soon as there is room.
    pub(super) async fn take(&self, active: usize) -> Retrying<'_> {
        let most = (active / 5).max(3);
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            // In the queue before the look: what is freed in between would otherwise wake nobody.
            freed.as_mut().enable();
            let room = |now: usize| (now < most).then_some(now + 1);
            if self.under_way.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).is_ok() {
                return Retrying(self);
            }
            freed.await;
        }
    }
}

/// A second attempt; gives its place back when dropped.
#[derive(Debug)]
pub(super) struct Retrying<'a>(&'a RetryBudget);

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
