//! How long a client may keep a connection without sending anything, without finishing a message that it began to send, or
//! without taking the answer.
//!
//! HTTP's own timer in hyper runs from the end of one answer to the end of the next request's head, so it cannot tell a
//! client that rests from one that dribbles. Here the bytes that come in and the requests under way are looked at
//! after each turn of the connection: bytes that made no request are a head that was begun.
//!
//! An ordinary request costs two flags: no timer is touched, and no clock is read.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::{Sleep, sleep};

/// How long a client may take to send a request's head, from its first byte; for the first one, from the connection.
pub(crate) const HEAD: Duration = Duration::from_secs(10);

/// A connection on which nothing was asked for so long is closed; it may last until twice this.
pub(crate) const REST: Duration = Duration::from_secs(75);

/// A client for whom bytes wait takes as many as [`SLOWEST`] allows within this time, or the connection is closed.
pub(crate) const STALL: Duration = Duration::from_secs(30);

/// The same once the gateway stops.
pub(crate) const LAST_STALL: Duration = Duration::from_secs(2);

/// The least bytes in a second that a client takes while bytes wait for it.
const SLOWEST: u64 = 1024;

/// The activity on one connection.
#[derive(Debug)]
pub(crate) struct ActivityMonitor {
    /// Bytes came in since the last request began or ended.
    heard: AtomicBool,
    under_way: AtomicUsize,
    requests: AtomicUsize,
    /// Bytes wait for the client to take those before them.
    waiting: AtomicBool,
    /// Bytes that the client was sent.
    sent: AtomicU64,
    /// The gateway stops.
    stopping: AtomicBool,
}

/// A time in which the client must take bytes.
struct Stall {
    end: Pin<Box<Sleep>>,
    length: Duration,
    /// Bytes sent when it began.
    sent: u64,
}

impl Stall {
    fn begin(length: Duration, sent: u64) -> Self {
        Self { end: Box::pin(sleep(length)), length, sent }
    }
}

/// A request under way, until its answer was written or given up.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<ActivityMonitor>);

impl ActivityMonitor {
    pub(crate) fn new() -> Arc<Self> {
        // A client that connects and sends nothing is no better than one that sends half a head.
        Arc::new(Self {
            heard: AtomicBool::new(true),
            under_way: 0.into(),
            requests: 0.into(),
            waiting: AtomicBool::new(false),
            sent: 0.into(),
            stopping: AtomicBool::new(false),
        })
    }

    /// A request's head has come in.
    pub(crate) fn begin(self: &Arc<Self>) -> UnderWay {
        self.heard.store(false, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }

    fn rests(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) == 0
    }

    /// Whether the connection can be closed without cutting a request or an answer.
    pub(crate) fn can_close(&self) -> bool {
        self.rests() && !self.waiting.load(Ordering::Relaxed)
    }

    /// From now on a client that takes nothing is waited for only briefly. The connection is to be polled anew.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether bytes waited too long for the client to take them.
    fn is_stalled(&self, stall: &mut Option<Stall>, cx: &mut Context<'_>) -> bool {
        if !self.waiting.load(Ordering::Relaxed) {
            *stall = None;
            return false;
        }
        let length = if self.stopping.load(Ordering::Relaxed) { LAST_STALL } else { STALL };
        let sent = || self.sent.load(Ordering::Relaxed);
        loop {
            let current = stall.get_or_insert_with(|| Stall::begin(length, sent()));
            if current.length == length {
                if current.end.as_mut().poll(cx).is_pending() {
                    return false;
                }
                if sent() - current.sent < length.as_secs() * SLOWEST {
                    return true;
                }
            }
            *stall = None;
        }
    }

    /// Resolves when the client has tried the connection's patience. To be polled after each turn of the connection.
    pub(crate) async fn exhausted(self: Arc<Self>) -> &'static str {
        let mut head: Option<Pin<Box<Sleep>>> = None;
        let mut rest = Box::pin(sleep(REST));
        let mut seen = 0;
        let mut stall = None;
        poll_fn(move |cx| {
            if self.is_stalled(&mut stall, cx) {
                return Poll::Ready("the client took less than 1 KiB/s of what waited for it");
            }
            if self.rests() && self.heard.load(Ordering::Relaxed) {
                let head = head.get_or_insert_with(|| Box::pin(sleep(HEAD)));
                if head.as_mut().poll(cx).is_ready() {
                    return Poll::Ready("the head of a request took longer than 10 s");
                }
            } else {
                head = None;
            }
            loop {
                ready!(rest.as_mut().poll(cx));
                let requests = self.requests.load(Ordering::Relaxed);
                if self.rests() && requests == seen {
                    return Poll::Ready("nothing was asked for over 75 s");
                }
                seen = requests;
                rest.set(sleep(REST));
            }
        })
        .await
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        // The bytes that came in meanwhile were the request's body.
        self.0.heard.store(false, Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A socket that tells when bytes come in, and whether bytes wait to go out.
#[derive(Debug)]
pub(crate) struct Listened<T, K> {
    pub(crate) socket: T,
    pub(crate) pulse: Arc<ActivityMonitor>,
    /// Kept for as long as the socket is.
    pub(crate) _kept: K,
}

impl<T, K> Listened<T, K> {
    fn wrote(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &outcome {
            Poll::Ready(Ok(bytes)) => drop(self.pulse.sent.fetch_add(*bytes as u64, Ordering::Relaxed)),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.pulse.waiting.store(true, Ordering::Relaxed),
        }
        outcome
    }
}

impl<T: Read + Unpin, K: Unpin> Read for Listened<T, K> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.socket).poll_read(cx, buffer);
        if read.is_ready() {
            self.pulse.heard.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<T: Write + Unpin, K: Unpin> Write for Listened<T, K> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.wrote(outcome)
    }

    // hyper asks for it once it has written all that it has.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.socket).poll_flush(cx);
        let waits = outcome.is_pending();
        if self.pulse.waiting.load(Ordering::Relaxed) != waits {
            self.pulse.waiting.store(waits, Ordering::Relaxed);
        }
        outcome
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.wrote(outcome)
    }
}

/// An answer's body, and what is kept for as long as it is not written: with [`UnderWay`] its request ends.
#[derive(Debug)]
pub(crate) struct Answering<B, K = UnderWay> {
    pub(crate) body: B,
    pub(crate) _kept: K,
}

impl<B: Body + Unpin, K: Unpin> Body for Answering<B, K> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// who takes 1 KiB/s of what waits is waited for, who takes less is not; and less long once the gateway stops.
    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_waited_for_and_a_dead_one_is_not() {
        let activity = ActivityMonitor::new();
        let _request = activity.begin();
        activity.waiting.store(true, Ordering::Relaxed);
        let mut exhausted = Box::pin(Arc::clone(&activity).exhausted());
        for second in 0..300 {
            assert!(exhausted.as_mut().now_or_never().is_none(), "cut after {second} s");
            activity.sent.fetch_add(1100, Ordering::Relaxed);
            sleep(Duration::from_secs(1)).await;
        }
        assert!(tokio::time::timeout(2 * STALL, exhausted.as_mut()).await.is_ok());

        let mut stopping = Box::pin(Arc::clone(&activity).exhausted());
        assert!(stopping.as_mut().now_or_never().is_none());
        activity.stop();
        assert!(tokio::time::timeout(2 * LAST_STALL, stopping.as_mut()).await.is_ok());
    }
}
