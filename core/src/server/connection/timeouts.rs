//! How long a client may keep a connection without sending anything, or without finishing a message that it began to send.
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
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::{Sleep, sleep};

use super::framing_guard::FramingGuard;

/// How long a client may take to send a request's head, from its first byte; for the first one, from the connection.
pub(crate) const HEAD: Duration = Duration::from_secs(10);

/// A connection on which nothing was asked for so long is closed; it may last until twice this.
pub(crate) const REST: Duration = Duration::from_secs(75);

/// The activity on one connection.
#[derive(Debug)]
pub(crate) struct ActivityMonitor {
    /// Bytes came in since the last request began or ended.
    heard: AtomicBool,
    under_way: AtomicUsize,
    requests: AtomicUsize,
}

/// A request under way, until its answer was written or given up.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<ActivityMonitor>, FramingGuard);

impl ActivityMonitor {
    pub(crate) fn new() -> Arc<Self> {
        // A client that connects and sends nothing is no better than one that sends half a head.
        Arc::new(Self { heard: AtomicBool::new(true), under_way: 0.into(), requests: 0.into() })
    }

    /// A request's head has come in, the last of `heads`, which are forgotten when it was answered.
    pub(crate) fn begin(self: &Arc<Self>, heads: &FramingGuard) -> UnderWay {
        self.heard.store(false, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self), heads.clone())
    }

    fn rests(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) == 0
    }

    /// Resolves when the client has tried the connection's patience. To be polled after each turn of the connection.
    pub(crate) async fn exhausted(self: Arc<Self>) -> &'static str {
        let mut head: Option<Pin<Box<Sleep>>> = None;
        let mut rest = Box::pin(sleep(REST));
        let mut seen = 0;
        poll_fn(move |cx| {
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
        self.1.forget();
        // The bytes that came in meanwhile were the request's body.
        self.0.heard.store(false, Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A socket that tells when bytes come in.
#[derive(Debug)]
pub(crate) struct Listened<T> {
    pub(crate) socket: T,
    pub(crate) pulse: Arc<ActivityMonitor>,
}

impl<T: Read + Unpin> Read for Listened<T> {
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

impl<T: Write + Unpin> Write for Listened<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
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
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }
}

/// An answer's body, with which its request ends.
#[derive(Debug)]
pub(crate) struct Answering<B> {
    pub(crate) body: B,
    pub(crate) _under_way: UnderWay,
}

impl<B: Body + Unpin> Body for Answering<B> {
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
