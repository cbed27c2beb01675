//! The bytes of a connection, plain or under TLS, with a mark for whether any were written, and a means to notice at once that it
//! was closed.

use std::io::{self, IoSlice, Read as _};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Shared between a socket and its user through HTTP, which keeps the socket to itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks(Arc<SocketState>);

#[derive(Debug, Default)]
struct SocketState {
    written: AtomicBool,
    asks: AtomicBool,
}

impl Marks {
    /// Whether a byte was written since [`Marks::forget`].
    pub(super) fn wrote(&self) -> bool {
        self.0.written.load(Ordering::Relaxed)
    }

    /// From here on only what is written later counts.
    pub(super) fn forget(&self) {
        self.0.written.store(false, Ordering::Relaxed);
    }

    /// While it is set, reads ask the system, also where the runtime was not notified of anything to read. It is notified when it
    /// next polls its sockets, and other threads have theirs polled by others.
    pub(super) fn ask(&self, asks: bool) {
        self.0.asks.store(asks, Ordering::Relaxed);
    }

    fn count(&self, poll: &Poll<io::Result<usize>>) {
        if matches!(poll, Poll::Ready(Ok(1..))) {
            self.0.written.store(true, Ordering::Relaxed);
        }
    }
}

/// Bytes that are read at once where hardly ever any are: all of a buffer would be cleared for them.
const LOOK: usize = 256;

/// A TCP connection that can be asked whether something has come.
#[derive(Debug)]
pub(super) struct ReadableSocket {
    stream: TcpStream,
    marks: Marks,
}

impl ReadableSocket {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, marks: Marks::default() }
    }
}

impl AsyncRead for ReadableSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if poll.is_ready() || !self.marks.0.asks.load(Ordering::Relaxed) {
            return poll;
        }
        let room = buffer.remaining().min(LOOK);
        // The socket does not block, so this does not either.
        match (&*SockRef::from(&self.stream)).read(buffer.initialize_unfilled_to(room)) {
            Ok(read) => {
                buffer.advance(read);
                Poll::Ready(Ok(()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl AsyncWrite for ReadableSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// An open connection.
#[derive(Debug)]
pub(super) enum Socket {
    Plain(ReadableSocket),
    // A TLS session is more than a kilobyte of state.
    Tls(Box<TlsStream<ReadableSocket>>),
}

impl Socket {
    pub(super) fn marks(&self) -> &Marks {
        match self {
            Self::Plain(line) => &line.marks,
            Self::Tls(stream) => &stream.get_ref().0.marks,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(line) => Pin::new(line).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = match this {
            Self::Plain(line) => Pin::new(line).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        };
        this.marks().count(&poll);
        poll
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = match this {
            Self::Plain(line) => Pin::new(line).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        };
        this.marks().count(&poll);
        poll
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(line) => line.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(line) => Pin::new(line).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(line) => Pin::new(line).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
