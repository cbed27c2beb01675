//! The work of a request, done only when something has come of it.
//!
//! A connection's task runs more often than the work of its request can go on: hyper wakes it for its own sake when a body was
//! taken, and so does a connection upstream. Each such run would go down the whole chain of futures of a call to find that nothing
//! has changed; a third of the runs of an ordinary call were of that kind.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Whether there is something to do for the requests of one connection, which come one after another.
#[derive(Debug, Default)]
pub(crate) struct WakeGate {
    /// Something has woken the work since it was last looked at.
    woken: AtomicBool,
    /// It is being looked at: the looking thread looks at `woken` again afterwards.
    looking: AtomicBool,
    task: AtomicWaker,
}

impl WakeGate {
    /// Does `work`, which is dropped after its end. `waker` is this turn's own.
    pub(crate) async fn take<F: Future>(self: Arc<Self>, waker: Waker, work: F) -> F::Output {
        let mut work = std::pin::pin!(work);
        self.woken.store(true, Ordering::SeqCst);
        std::future::poll_fn(move |cx| self.look(&waker, work.as_mut(), cx)).await
    }

    fn look<F: Future>(&self, waker: &Waker, work: Pin<&mut F>, cx: &Context<'_>) -> Poll<F::Output> {
        self.task.register(cx.waker());
        if !self.woken.swap(false, Ordering::SeqCst) {
            return Poll::Pending;
        }
        self.looking.store(true, Ordering::SeqCst);
        let done = work.poll(&mut Context::from_waker(waker));
        self.looking.store(false, Ordering::SeqCst);
        // A wake that came meanwhile is of no use to work that is done.
        if done.is_pending() && self.woken.load(Ordering::SeqCst) {
            cx.waker().wake_by_ref();
        }
        done
    }
}

impl Wake for WakeGate {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        // Either this sees that nobody looks, or the looking thread sees that there is something.
        if !self.looking.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;

    use futures_util::poll;
    use tokio::sync::oneshot;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Work that is done when told so, and how often it was polled.
    fn work(polls: &AtomicUsize, told: oneshot::Receiver<u8>) -> impl Future<Output = u8> {
        let mut told = Box::pin(told);
        std::future::poll_fn(move |cx| {
            polls.fetch_add(1, Ordering::SeqCst);
            told.as_mut().poll(cx).map(Result::unwrap)
        })
    }

    #[tokio::test]
    async fn work_is_polled_when_it_was_woken_and_not_otherwise() {
        let turn = Arc::new(WakeGate::default());
        let (polls, (tell, told)) = (AtomicUsize::new(0), oneshot::channel());
        let mut taken = Box::pin(Arc::clone(&turn).take(Waker::from(turn), work(&polls, told)));
        for _ in 0..3 {
            assert!(poll!(&mut taken).is_pending());
        }
        assert_eq!(polls.load(Ordering::SeqCst), 1);
        tell.send(7).unwrap();
        assert_eq!(poll!(&mut taken), Poll::Ready(7));
        assert_eq!(polls.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn work_that_wakes_itself_is_polled_again_and_one_that_is_done_wakes_nobody() {
        let count = Arc::new(Count::default());
        let outer = Waker::from(Arc::clone(&count));
        let cx = &mut Context::from_waker(&outer);
        for (polls, wakes) in [(1, 0), (3, 2)] {
            count.0.store(0, Ordering::SeqCst);
            let turn = Arc::new(WakeGate::default());
            let mut left = polls;
            let work = std::future::poll_fn(move |cx: &mut Context<'_>| {
                cx.waker().wake_by_ref();
                left -= 1;
                if left == 0 { Poll::Ready(()) } else { Poll::Pending }
            });
            let mut taken = Box::pin(Arc::clone(&turn).take(Waker::from(turn), work));
            while taken.as_mut().poll(cx).is_pending() {}
            assert_eq!(count.0.load(Ordering::SeqCst), wakes);
        }
    }

    #[test]
    fn what_wakes_on_another_thread_while_the_work_is_looked_at_is_not_lost() {
        for _ in 0..200 {
            let turn = Arc::new(WakeGate::default());
            let (sender, receiver) = oneshot::channel();
            let sender = Mutex::new(Some(sender));
            let mut receiver = Box::pin(receiver);
            let mut threads = Vec::new();
            let work = std::future::poll_fn(|cx| {
                if let Some(sender) = sender.lock().unwrap().take() {
                    threads.push(std::thread::spawn(move || sender.send(()).unwrap()));
                }
                receiver.as_mut().poll(cx).map(Result::unwrap)
            });
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(Arc::clone(&turn).take(Waker::from(turn), work));
            for thread in threads {
                thread.join().unwrap();
            }
        }
    }
}
