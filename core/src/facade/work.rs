//! Work on a facade's own runtime, for callers that have another one or none.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake};

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::error::{Error, ErrorKind, Result};
use crate::tasks::Tasks;

/// Work under way. Dropping it lets the work go on; [`Work::cancel`] ends it.
#[derive(Clone, Debug)]
pub struct Work(CancellationToken);

impl Work {
    /// Work that has ended already.
    pub(super) fn ended() -> Self {
        Self(CancellationToken::new())
    }

    /// Ends the work. An outcome that it has not come to is reported as [`ErrorKind::Cancelled`].
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

/// Passes an outcome to the waiter, also where the work was dropped with the runtime.
struct Delivery<T, D: FnOnce(Result<T>)> {
    done: Option<D>,
    _of: std::marker::PhantomData<fn(T)>,
}

impl<T, D: FnOnce(Result<T>)> Delivery<T, D> {
    fn deliver(mut self, outcome: Result<T>) {
        if let Some(done) = self.done.take() {
            done(outcome);
        }
    }
}

impl<T, D: FnOnce(Result<T>)> Drop for Delivery<T, D> {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            done(Err(closed()));
        }
    }
}

/// Where work is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Where {
    /// On the thread that brings it as far as it goes at once, then on the runtime.
    Here,
    /// On threads of the runtime alone.
    Apart,
}

/// Runs `work`.
pub(super) fn run<T, F>(
    place: Where,
    tasks: &Tasks,
    handle: &Handle,
    work: F,
    done: impl FnOnce(Result<T>) + Send + 'static,
) -> Work
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let cancelled = CancellationToken::new();
    let (token, delivery) = (cancelled.clone(), Delivery { done: Some(done), _of: std::marker::PhantomData });
    let stopped = tasks.token().child_token();
    let task = async move {
        let mut work = pin!(work);
        let outcome = tokio::select! {
            biased;
            () = token.cancelled() => Err(Error::new(ErrorKind::Cancelled, "the call was cancelled")),
            outcome = &mut work => outcome,
            // Work that came to an end by itself as the gateway closed keeps its outcome, also where it did between the two
            // looks.
            () = stopped.cancelled() => work.now_or_never().unwrap_or_else(|| Err(closed())),
        };
        delivery.deliver(outcome);
    };
    match place {
        Where::Here => {
            let task = tasks.near(handle, task);
            // It counts from here on: where the gateway ends later than this, it waits for it.
            if !tasks.token().is_cancelled() {
                task.run_here(handle);
            }
        }
        Where::Apart => {
            let _entered = handle.enter();
            tasks.spawn_to_end(task);
        }
    }
    Work(cancelled)
}

/// Why nothing more is done.
pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "this gateway is closed").with("reason", "closed").not_sent()
}

/// Work that is awaited on any executor. Dropped, the work is cancelled.
#[derive(Debug)]
#[must_use = "work is cancelled when this is dropped"]
pub struct WorkHandle<T> {
    outcome: oneshot::Receiver<Result<T>>,
    held: Option<DropGuard>,
}

/// A thread that waits.
struct ParkedWaker(std::thread::Thread);

impl Wake for ParkedWaker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Where the outcome of a [`WorkHandle`] is put.
pub(super) struct Completion<T>(oneshot::Sender<Result<T>>);

impl<T> WorkHandle<T> {
    pub(super) fn new() -> (Self, Completion<T>) {
        let (landing, outcome) = oneshot::channel();
        (Self { outcome, held: None }, Completion(landing))
    }

    pub(super) fn done(outcome: Result<T>) -> Self {
        let (flight, landing) = Self::new();
        landing.land(outcome);
        flight
    }

    /// Waits for the outcome, on a thread outside of any runtime.
    pub(super) fn wait(mut self) -> Result<T> {
        let waker = std::task::Waker::from(Arc::new(ParkedWaker(std::thread::current())));
        loop {
            match Pin::new(&mut self).poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(outcome) => return outcome,
                Poll::Pending => std::thread::park(),
            }
        }
    }

    pub(super) fn hold(&mut self, work: Work) {
        self.held = Some(work.0.drop_guard());
    }
}

impl<T> Completion<T> {
    pub(super) fn land(self, outcome: Result<T>) {
        // The waiter is gone.
        let _ = self.0.send(outcome);
    }
}

impl<T> Future for WorkHandle<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.outcome).poll(cx).map(|outcome| outcome.unwrap_or_else(|_| Err(closed())))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn what_ends_as_the_gateway_closes_is_told_as_its_end_and_what_does_not_as_closed() {
        for (ends, told) in [(true, Ok(1)), (false, Err(ErrorKind::Unavailable))] {
            let (tasks, (flight, landing)) = (Tasks::default(), WorkHandle::new());
            let stop = tasks.token().clone();
            // The gateway closes right after the first look at the work.
            let work = poll_fn(move |_| {
                let closed = stop.is_cancelled();
                stop.cancel();
                if ends && closed { Poll::Ready(Ok(1)) } else { Poll::Pending }
            });
            run(Where::Apart, &tasks, &Handle::current(), work, move |outcome| landing.land(outcome));
            assert_eq!(flight.await.map_err(|error| error.kind()), told);
        }
    }
}
