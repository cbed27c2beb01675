//! The bytes that a connection was sent, as far as they are needed to detect a request whose end two readers could see in
//! different places.
//!
//! Of a request with `Content-Length` and `Transfer-Encoding` hyper believes the second, as RFC 9112 (section 6.3) has it, and
//! drops the first before anybody sees it. An intermediary may have believed the first. So the bytes since the end of the last
//! answer are kept, and looked at when a request comes that is chunked; hardly any is.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are kept of one request: of its head, the part that matters.
const MOST: usize = 16 * 1024;
/// Bytes for which room is kept between two requests.
const ROOM: usize = 2 * 1024;

/// The bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct FramingGuard(Arc<Mutex<Vec<u8>>>);

impl FramingGuard {
    /// Whether the chunked request whose head was read last says its length in one way only.
    pub(crate) fn is_plain(&self) -> bool {
        let kept = self.kept();
        let chunked = |block: &[u8]| lines(block).any(|line| is_named(line, b"transfer-encoding"));
        let sized = |block: &[u8]| lines(block).any(|line| is_named(line, b"content-length"));
        let mut seen = false;
        for block in blocks(&kept).filter(|block| chunked(block)) {
            if sized(block) {
                return false;
            }
            seen |= block.ends_with(b"\n\n") || block.ends_with(b"\n\r\n");
        }
        // One that was sent right behind another request was not kept; nor was the end of a head that is longer than any.
        seen
    }

    /// The request has been answered: what comes now is another.
    pub(crate) fn forget(&self) {
        let mut kept = self.kept();
        kept.clear();
        if kept.capacity() > ROOM {
            kept.shrink_to(ROOM);
        }
    }

    fn keep(&self, bytes: &[u8]) {
        let mut kept = self.kept();
        let room = MOST - kept.len();
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn kept(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The blocks between empty lines. A head is never in two of them; a body before it can be in the same.
fn blocks(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut end = 0;
        for line in rest.split_inclusive(|byte| *byte == b'\n') {
            end += line.len();
            if matches!(line, b"\n" | b"\r\n") {
                break;
            }
        }
        let (block, behind) = rest.split_at(end);
        rest = behind;
        Some(block)
    })
}

fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    block.split(|byte| *byte == b'\n')
}

fn is_named(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
        && line.get(name.len()) == Some(&b':')
}

/// A stream whose bytes are kept as they are read.
#[derive(Debug)]
pub(crate) struct Noted<T> {
    pub(crate) stream: T,
    pub(crate) heads: FramingGuard,
}

impl<T: AsyncRead + Unpin> AsyncRead for Noted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Some(new) = buffer.filled().get(before..).filter(|new| !new.is_empty()) {
            self.heads.keep(new);
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Noted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_plain(sent: &str) -> bool {
        let heads = FramingGuard::default();
        for part in sent.as_bytes().chunks(7) {
            heads.keep(part);
        }
        heads.is_plain()
    }

    /// B-06: a length beside chunks is seen wherever it stands in the head, and however it is written.
    #[test]
    fn a_head_with_both_lengths_is_told_from_one_with_chunks_alone() {
        let chunks = "Transfer-Encoding: chunked\r\n";
        for (plain, before, after) in [
            (true, "", ""),
            (false, "Content-Length: 5\r\n", ""),
            (false, "", "content-LENGTH:5\r\n"),
            (false, "Content-Length: 5\n", ""),
            (true, "X-Content-Length: 5\r\n", "X: Content-Length: 5\r\n"),
        ] {
            let sent = format!("POST /mcp HTTP/1.1\r\n{before}{chunks}{after}\r\n1\r\n{{\r\n0\r\n\r\n");
            assert_eq!(is_plain(&sent), plain, "{sent}");
        }
    }

    #[test]
    fn what_was_not_kept_whole_is_not_plain() {
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n";
        assert!(!is_plain("POST / HTTP/1.1\r\n\r\n"));
        assert!(!is_plain(&format!("POST / HTTP/1.1\r\nX: {}\r\n{chunked}\r\n", "x".repeat(MOST))));
        assert!(is_plain(&format!("{chunked}\r\n{}", "x".repeat(2 * MOST))), "its head was");
        let heads = FramingGuard::default();
        heads.keep(format!("{chunked}\r\n").as_bytes());
        assert!(heads.is_plain());
        heads.forget();
        assert!(!heads.is_plain());
    }
}
