//! The outcome of work that a task does once for all waiters.
//!
//! A waiter holds nothing but the place where the outcome will be, so work that is cut leaves nothing behind, and
//! a waiter that gives up takes nothing from the others.

use std::sync::Arc;

use tokio::sync::watch;

use crate::error::{Error, ErrorKind, Result};

type Outcome<T> = Option<Result<T, Arc<Error>>>;

/// The task's end.
#[derive(Debug)]
pub(crate) struct Promise<T>(watch::Sender<Outcome<T>>);

/// A waiter's end.
#[derive(Clone, Debug)]
pub(crate) struct Awaited<T>(watch::Receiver<Outcome<T>>);

/// Both ends of work that begins.
pub(crate) fn promise<T>() -> (Promise<T>, Awaited<T>) {
    let (sender, receiver) = watch::channel(None);
    (Promise(sender), Awaited(receiver))
}

impl<T> Promise<T> {
    /// Tells all waiters, and those that ask later.
    pub(crate) fn keep(self, outcome: Result<T>) {
        self.0.send_replace(Some(outcome.map_err(Arc::new)));
    }
}

impl<T: Clone> Awaited<T> {
    /// Waits for the outcome. [`ErrorKind::Unavailable`] if the work was cut.
    pub(crate) async fn outcome(mut self) -> Result<T> {
        match self.0.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Ok(value))) => Ok(value.clone()),
            Ok(Some(Err(error))) => Err(error.repeat()),
            _ => Err(Error::new(ErrorKind::Unavailable, "the gateway is shutting down").not_sent()),
        }
    }

    /// Whether both wait for the same work.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_who_wait_hear_the_outcome_and_so_do_those_who_come_later() {
        let (promise, awaited) = promise::<u8>();
        let early = awaited.clone().outcome();
        let (heard, ()) = tokio::join!(early, async { promise.keep(Ok(7)) });
        assert_eq!(heard.unwrap(), 7);
        assert_eq!(awaited.outcome().await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_failure_is_shared_and_work_that_was_cut_is_one() {
        let (kept, awaited) = promise::<()>();
        kept.keep(Err(Error::new(ErrorKind::Timeout, "late")));
        assert_eq!(awaited.clone().outcome().await.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(awaited.outcome().await.unwrap_err().kind(), ErrorKind::Timeout);
        let (cut, awaited) = promise::<()>();
        drop(cut);
        assert_eq!(awaited.outcome().await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
}
