//! Requests whose end or whose lines two readers could see in different places are refused (RFC 9112, sections 2.2, 5 and 6.3).
//!
//! hyper takes a bare LF for the end of a line, drops `Content-Length` before anybody sees it where there is `Transfer-Encoding`,
//! and takes any list of codings that ends with `chunked`. An intermediary in front of the gateway may read each of these in
//! another way. So the heads are read a second time as they come in, by stricter rules. The bodies in between are passed over by
//! their length; behind a chunked one nothing is read, since its connection is closed.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use memchr::{memchr, memchr_iter};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are kept of a line that has not come in whole: more than a length takes, or a coding.
const MOST: usize = 1024;

/// The heads of one connection's requests. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct FramingGuard(Arc<Mutex<Scanner>>);

#[derive(Debug, Default)]
struct Scanner {
    at: At,
    /// The beginning of a line of which the end has not come in.
    line: Vec<u8>,
    /// A line of the head has come in.
    begun: bool,
    length: Option<u64>,
    chunked: bool,
    /// Heads that have come in whole.
    heads: u64,
    /// Requests that were asked about.
    asked: u64,
    /// The first head that is refused, and why.
    fault: Option<(u64, &'static str)>,
}

/// The part of the head that the next byte belongs to.
#[derive(Clone, Copy, Debug, Default)]
enum At {
    #[default]
    Head,
    /// A body with so many bytes left.
    Body(u64),
    /// Nothing that is read here any more.
    Rest,
}

const BARE: &str = "a line of the request's head does not end with CR LF; send CR LF behind each line";
const FOLDED: &str = "a header of the request goes on in the next line; send each header in one line";
const TWICE: &str = "the request has two `Content-Length` headers; send one";
const NO_NUMBER: &str = "`Content-Length` of the request is no number of bytes";
const CODING: &str =
    "`Transfer-Encoding` of the request is not `chunked` alone; send `chunked`, or `Content-Length`";
const BOTH: &str = "the request has both Content-Length and Transfer-Encoding; send one of them";

impl FramingGuard {
    /// Why the next request, whose head came in, is refused.
    pub(crate) fn next_fault(&self) -> Option<&'static str> {
        let mut scanner = self.scanner();
        let number = scanner.asked;
        scanner.asked += 1;
        scanner.fault.filter(|(first, _)| *first <= number).map(|(_, why)| why)
    }

    fn scanner(&self) -> MutexGuard<'_, Scanner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scanner {
    fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.at {
                At::Rest => return,
                At::Body(left) => {
                    let passed = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let left = left - passed as u64;
                    self.at = if left == 0 { At::Head } else { At::Body(left) };
                    bytes = &bytes[passed..];
                }
                At::Head => {
                    let end = memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
                    let (part, rest) = bytes.split_at(end);
                    bytes = rest;
                    if let Err(why) = self.part(part) {
                        self.fault.get_or_insert((self.heads, why));
                        self.at = At::Rest;
                    }
                }
            }
        }
    }

    /// Reads a part of a line, up to its end if that came in.
    fn part(&mut self, part: &[u8]) -> Result<(), &'static str> {
        let ends = part.ends_with(b"\n");
        let bare = |at: usize| part.get(at + 1).is_some_and(|next| *next != b'\n');
        if memchr_iter(b'\r', part).any(bare) || (self.line.ends_with(b"\r") && part != b"\n") {
            return Err(BARE);
        }
        if !ends {
            self.line.extend_from_slice(&part[..part.len().min(MOST.saturating_sub(self.line.len()))]);
            if part.ends_with(b"\r") && !self.line.ends_with(b"\r") {
                self.line.push(b'\r');
            }
            return Ok(());
        }
        if self.line.is_empty() {
            return self.whole(part);
        }
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(part);
        let read = self.whole(&line);
        line.clear();
        if line.capacity() <= 2 * MOST {
            self.line = line;
        }
        read
    }

    /// Reads a line with its end.
    fn whole(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let line = line.strip_suffix(b"\r\n").ok_or(BARE)?;
        match line.first() {
            // Empty lines before a request are passed over, as RFC 9112 (section 2.2) wants it.
            None if self.begun => self.end(),
            Some(b' ' | b'\t') => Err(FOLDED),
            Some(_) if !self.begun => {
                self.begun = true;
                Ok(())
            }
            Some(b'c' | b'C') => self.content_length(line),
            Some(b't' | b'T') => self.transfer_encoding(line),
            None | Some(_) => Ok(()),
        }
    }

    fn content_length(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let Some(value) = value_of(line, b"content-length") else { return Ok(()) };
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let length = digits.then(|| std::str::from_utf8(value).ok()?.parse().ok()).flatten();
        match self.length.replace(length.ok_or(NO_NUMBER)?) {
            Some(_) => Err(TWICE),
            None => Ok(()),
        }
    }

    fn transfer_encoding(&mut self, line: &[u8]) -> Result<(), &'static str> {
        match value_of(line, b"transfer-encoding") {
            Some(value) if !value.eq_ignore_ascii_case(b"chunked") || self.chunked => Err(CODING),
            Some(_) => {
                self.chunked = true;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The head has come in whole.
    fn end(&mut self) -> Result<(), &'static str> {
        let (length, chunked) = (self.length.take(), std::mem::take(&mut self.chunked));
        if chunked && length.is_some() {
            return Err(BOTH);
        }
        self.begun = false;
        self.heads += 1;
        self.at = match length {
            _ if chunked => At::Rest,
            Some(length @ 1..) => At::Body(length),
            _ => At::Head,
        };
        Ok(())
    }
}

/// The value of the header in `line`, if it is `name`. A name that is not followed by its colon at once is refused by hyper.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then_some(rest)?.strip_prefix(b":").map(<[u8]>::trim_ascii)
}

/// A stream whose heads are read as they come in.
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
            self.heads.scanner().read(new);
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

    /// The fault of each of so many requests, whether the bytes come at once or in pieces.
    fn faults(sent: &str, many: usize) -> Vec<Option<&'static str>> {
        let read = |size: usize| {
            let heads = FramingGuard::default();
            for part in sent.as_bytes().chunks(size) {
                heads.scanner().read(part);
            }
            (0..many).map(|_| heads.next_fault()).collect::<Vec<_>>()
        };
        let whole = read(sent.len());
        for size in [1, 2, 7] {
            assert_eq!(read(size), whole, "in pieces of {size}: {sent}");
        }
        whole
    }

    /// X-15, B-06: lines that end otherwise than by CR LF, and lengths that could be read in two ways, are refused.
    #[test]
    fn a_head_that_two_readers_could_read_differently_is_refused() {
        for (lines, fault) in [
            ("Host: a\r\n", None),
            ("Host: a\r\nContent-Length: 0\r\n", None),
            ("Transfer-Encoding: CHUNKED\r\n", None),
            ("X-Content-Length: 5\r\nX: Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", None),
            ("Host: a\n", Some(BARE)),
            ("X: a\nContent-Length: 40\r\n", Some(BARE)),
            ("X: a\rContent-Length: 40\r\n", Some(BARE)),
            ("X: a\r\r\n", Some(BARE)),
            ("X: a\r\n b\r\n", Some(FOLDED)),
            ("X: a\r\n\tb\r\n", Some(FOLDED)),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", Some(TWICE)),
            ("Content-Length: 5, 5\r\n", Some(NO_NUMBER)),
            ("Content-Length: +5\r\n", Some(NO_NUMBER)),
            ("Content-Length:\r\n", Some(NO_NUMBER)),
            ("Content-Length: 99999999999999999999\r\n", Some(NO_NUMBER)),
            ("Transfer-Encoding: gzip, chunked\r\n", Some(CODING)),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Some(CODING)),
            ("Transfer-Encoding: identity\r\n", Some(CODING)),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Some(BOTH)),
            ("Transfer-Encoding: chunked\r\ncontent-LENGTH:5\r\n", Some(BOTH)),
        ] {
            let sent = format!("POST /mcp HTTP/1.1\r\n{lines}\r\n");
            assert_eq!(faults(&sent, 1), [fault], "{lines:?}");
            // Behind a request with a body, whose bytes are no lines.
            let behind = format!("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n\n\n\r\r\r\r\n{sent}");
            assert_eq!(faults(&behind, 2), [None, fault], "{lines:?}");
        }
        assert_eq!(faults("GET / HTTP/1.1\nHost: a\n\n", 1), [Some(BARE)]);
        assert_eq!(faults("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 1), [Some(BARE)]);
    }

    /// X-15: a line may be longer than what is kept of it.
    #[test]
    fn a_long_line_is_read_in_pieces() {
        let long = "x".repeat(3 * MOST);
        assert_eq!(faults(&format!("GET /{long} HTTP/1.1\r\nX: {long}\r\n\r\n"), 1), [None]);
        assert_eq!(faults(&format!("GET / HTTP/1.1\r\nX: {long}\n\r\n"), 1), [Some(BARE)]);
        assert_eq!(faults(&format!("GET / HTTP/1.1\r\nX: {long}\r{long}\r\n\r\n"), 1), [Some(BARE)]);
    }
}
