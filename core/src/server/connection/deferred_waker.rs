//! Keeps a connection asleep that would only be woken because the last piece of its request's body was taken.
//!
//! hyper wakes a connection whenever a piece of a body is taken, so that it brings the next one. It does so where there is no next
//! one, too, and then the connection's whole task runs for nothing: in nearly every call.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Body, Frame};

/// Wakes the task of one connection.
#[derive(Debug, Default)]
pub(crate) struct DeferredWaker {
    task: AtomicWaker,
}

/// The effect of a wake on this thread.
enum WakeAction {
    Open,
    /// It is kept until it is known whether it is of use.
    Closed,
    Kept(Arc<DeferredWaker>),
}

thread_local! {
    static DOOR: Cell<WakeAction> = const { Cell::new(WakeAction::Open) };
}

impl DeferredWaker {
    /// The waker by which the connection is to be polled.
    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// Sets the task to wake, before the connection is polled.
    pub(crate) fn answered_by(&self, task: &Context<'_>) {
        self.task.register(task.waker());
    }
}

impl Wake for DeferredWaker {
    fn wake(self: Arc<Self>) {
        match DOOR.replace(WakeAction::Open) {
            WakeAction::Open => self.task.wake(),
            // Pieces of one body are taken one at a time, so that both are of the same connection.
            WakeAction::Closed | WakeAction::Kept(_) => DOOR.set(WakeAction::Kept(self)),
        }
    }
}

/// The next piece of `body`. Its connection is not woken for a next piece where there is none.
pub(crate) fn take<B: Body<Data = Bytes>>(
    mut body: Pin<&mut B>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
    // Opened again also by a panic.
    let closed = Closed::new();
    let piece = body.as_mut().poll_frame(cx);
    let kept = opened(closed);
    if let Some(knock) = kept.filter(|_| !body.is_end_stream()) {
        knock.task.wake();
    }
    piece
}

/// Holds wakes back as long as this lives.
struct Closed;

impl Closed {
    fn new() -> Self {
        DOOR.set(WakeAction::Closed);
        Self
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        DOOR.set(WakeAction::Open);
    }
}

/// The wake that came while wakes were held back.
fn opened(closed: Closed) -> Option<Arc<DeferredWaker>> {
    let kept = DOOR.replace(WakeAction::Open);
    drop(closed);
    match kept {
        WakeAction::Kept(knock) => Some(knock),
        WakeAction::Open | WakeAction::Closed => None,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http_body::SizeHint;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A body of so many pieces that wakes its connection when one is taken.
    struct Pieces(usize, Waker);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0 -= 1;
            self.1.wake_by_ref();
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }

        fn is_end_stream(&self) -> bool {
            self.0 == 0
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.0 as u64)
        }
    }

    #[test]
    fn a_connection_is_woken_for_what_comes_behind_a_piece_and_not_behind_the_last() {
        let (count, knock) = (Arc::new(Count::default()), Arc::new(DeferredWaker::default()));
        let task = Waker::from(Arc::clone(&count));
        let cx = &mut Context::from_waker(&task);
        let mut body = Pieces(3, knock.waker());
        for woken in [1, 2, 2] {
            knock.answered_by(cx);
            assert!(take(Pin::new(&mut body), cx).is_ready());
            assert_eq!(count.0.load(Ordering::SeqCst), woken);
        }
        knock.waker().wake();
        assert_eq!(count.0.load(Ordering::SeqCst), 3, "every other knock is heard at once");
    }

    #[test]
    fn a_knock_of_another_thread_is_heard_while_a_piece_is_taken() {
        let (count, knock) = (Arc::new(Count::default()), Arc::new(DeferredWaker::default()));
        let task = Waker::from(Arc::clone(&count));
        knock.answered_by(&Context::from_waker(&task));
        let closed = Closed::new();
        let waker = knock.waker();
        std::thread::spawn(move || waker.wake()).join().unwrap();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(opened(closed).is_none());
    }
}
