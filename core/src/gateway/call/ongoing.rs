//! A call under way that outlives the client that waits for it.
//!
//! An entry point drops the future of a call when its client breaks the connection. For a legacy client that is no cancellation
//! ("disconnection SHOULD NOT be interpreted as the client cancelling its request"): the call is handed to the tasks and goes
//! on there; its answer is dropped. Where a broken connection does mean that nobody wants the answer any more, the call is
//! cancelled first and then handed over as well, so that its server is notified and its record ends as any other. A call whose
//! future is driven to its end costs no task.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

use crate::error::Result;
use crate::model::Reply;
use crate::observe::Record;
use crate::tasks::Tasks;

/// The effect of a broken connection on a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// Nothing: the call goes on.
    GoesOn,
    /// The call is cancelled.
    Cancels,
}

/// The work of a call. Dropped before its end, the work is handed to the tasks; outside of a tokio runtime it is dropped.
pub(crate) struct Ongoing<'a, F: Future<Output = Result<Reply>> + Send + 'static> {
    work: Option<Pin<Box<F>>>,
    record: &'a Arc<Record>,
    tasks: &'a Tasks,
    departure: Departure,
}

impl<'a, F: Future<Output = Result<Reply>> + Send + 'static> Ongoing<'a, F> {
    pub(crate) fn new(
        work: Pin<Box<F>>,
        record: &'a Arc<Record>,
        tasks: &'a Tasks,
        departure: Departure,
    ) -> Self {
        Self { work: Some(work), record, tasks, departure }
    }
}

impl<F: Future<Output = Result<Reply>> + Send + 'static> Future for Ongoing<'_, F> {
    type Output = Result<Reply>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        // Taken out meanwhile: work that panics is over, and nobody polls it again.
        let Some(mut work) = this.work.take() else { return Poll::Pending };
        let outcome = work.as_mut().poll(context);
        if outcome.is_pending() {
            this.work = Some(work);
        }
        outcome
    }
}

impl<F: Future<Output = Result<Reply>> + Send + 'static> Drop for Ongoing<'_, F> {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        if self.departure == Departure::Cancels {
            self.record.active().cancel.cancel();
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let record = Arc::clone(self.record);
        self.tasks.spawn_on(&runtime, async move { conclude(&record, &work.await) });
    }
}

/// Records the outcome of a call. A call that is answered with a stream records it itself when the stream has ended.
pub(crate) fn conclude(record: &Record, outcome: &Result<Reply>) {
    if !matches!(outcome, Ok(Reply::Stream { .. })) {
        record.outcome(outcome.as_ref().err());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;
    use tokio::sync::oneshot;

    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::error::{Error, ErrorKind};
    use crate::model::{Action, Call, Endpoint};
    use crate::observe::{ActiveCalls, Observers};
    use crate::transport::unread::UnreadBytes;
    use tokio_util::sync::CancellationToken;

    fn observer() -> ActiveCalls {
        let clock: Arc<dyn Clock> = ManualClock::shared();
        ActiveCalls::new(
            &clock,
            &Observers::default(),
            Arc::new(UnreadBytes::new(1024, 1024, CancellationToken::new())),
        )
    }

    fn record(observer: &ActiveCalls) -> Arc<Record> {
        observer.begin(&Call {
            route: Endpoint::all(),
            action: Action::Listen,
            era: crate::rpc::version::Era::Legacy,
            session: None,
            headers: HeaderMap::new(),
            correlation_id: "c".into(),
            streams: true,
            resumes: false,
            hints: None,
            builtin: true,
            over_network: false,
        })
    }

    async fn told(answer: oneshot::Receiver<()>, record: Arc<Record>) -> Result<Reply> {
        tokio::select! {
            _ = answer => Ok(Reply::own(Bytes::new())),
            () = record.active().cancel.cancelled() => Err(Error::new(ErrorKind::Cancelled, "m")),
        }
    }

    #[tokio::test]
    async fn a_call_that_nobody_waits_for_goes_on_to_its_end_and_so_does_its_record() {
        let (observer, tasks) = (observer(), Tasks::default());
        let record = record(&observer);
        let (answer, awaited) = oneshot::channel();
        let work = told(awaited, Arc::clone(&record));
        let mut call = Ongoing::new(Box::pin(work), &record, &tasks, Departure::GoesOn);
        assert!(futures_util::poll!(&mut call).is_pending());
        drop(call);
        answer.send(()).expect("the work goes on");
        tasks.finish().await;
        drop(record);
        assert_eq!(observer.count(), 0, "its record ends with it");
    }

    #[tokio::test]
    async fn a_call_that_ends_with_its_connection_is_cancelled_and_ends_as_cancelled_calls_do() {
        let (observer, tasks) = (observer(), Tasks::default());
        let record = record(&observer);
        let (_answer, awaited) = oneshot::channel();
        drop(Ongoing::new(Box::pin(told(awaited, Arc::clone(&record))), &record, &tasks, Departure::Cancels));
        tasks.finish().await;
        assert!(record.active().cancel.is_cancelled());
    }

    #[tokio::test]
    async fn a_call_that_was_waited_for_leaves_nothing_to_the_tasks() {
        let (observer, tasks) = (observer(), Tasks::default());
        let record = record(&observer);
        let work = async { Ok(Reply::Accepted) };
        assert!(Ongoing::new(Box::pin(work), &record, &tasks, Departure::Cancels).await.is_ok());
        assert!(!record.active().cancel.is_cancelled());
    }
}
