//! Messages over pipes: one a line, read without ever holding more than a line may have.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A whole line, or the rest of the output where it ends without a newline.
    Whole(Bytes),
    /// The first bytes of a line that is longer than the limit; the rest of it is passed over.
    Cut(Bytes),
}

/// Splits the bytes of `source` into lines of at most `limit` bytes.
pub struct Lines<R> {
    source: R,
    limit: usize,
    buffer: BytesMut,
    /// Bytes of `buffer` that are known to hold no newline.
    searched: usize,
    /// The line that is being read was cut already.
    skipping: bool,
    ended: bool,
}

const CHUNK: usize = 16 * 1024;

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Reads from `source`; a line has at most `limit` bytes.
    pub fn new(source: R, limit: usize) -> Self {
        Self { source, limit, buffer: BytesMut::new(), searched: 0, skipping: false, ended: false }
    }

    /// The next line; `None` at the end. A read error counts as the end: a pipe has no other.
    pub async fn next(&mut self) -> Option<Line> {
        loop {
            if let Some(line) = self.take() {
                return Some(line);
            }
            if self.ended {
                let rest = self.buffer.split().freeze();
                self.searched = 0;
                return (!rest.is_empty() && !self.skipping).then_some(Line::Whole(rest));
            }
            self.buffer.reserve(CHUNK);
            self.ended = self.source.read_buf(&mut self.buffer).await.map_or(true, |read| read == 0);
        }
    }

    /// A line that the buffer holds already.
    fn take(&mut self) -> Option<Line> {
        loop {
            let Some(at) = memchr::memchr(b'\n', &self.buffer[self.searched..]) else {
                self.searched = self.buffer.len();
                if self.skipping {
                    self.buffer.clear();
                    self.searched = 0;
                } else if self.searched > self.limit {
                    self.skipping = true;
                    let kept = self.buffer.split().freeze().slice(..self.limit);
                    self.searched = 0;
                    return Some(Line::Cut(kept));
                }
                return None;
            };
            let mut line = self.buffer.split_to(self.searched + at + 1);
            self.searched = 0;
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            line.truncate(line.len() - 1);
            if line.last() == Some(&b'\r') {
                line.truncate(line.len() - 1);
            }
            if line.len() > self.limit {
                return Some(Line::Cut(line.freeze().slice(..self.limit)));
            }
            return Some(Line::Whole(line.freeze()));
        }
    }
}

/// `message` as one line: raw line breaks, which JSON has only between its tokens, become spaces.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(message.len() + 1);
    line.extend_from_slice(message);
    if memchr::memchr2(b'\n', b'\r', message).is_some() {
        for byte in line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
            *byte = b' ';
        }
    }
    line.push(b'\n');
    line
}

/// The beginning of `line` for a log: at most `limit` characters, control characters escaped.
pub fn excerpt(line: &[u8], limit: usize) -> String {
    // A character has at most four bytes: converting more than that would be wasted.
    let start = &line[..line.len().min(limit.saturating_mul(4))];
    let mut shown: String = String::from_utf8_lossy(start)
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .take(limit)
        .collect();
    if shown.len() < line.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(input: &'static [u8], limit: usize) -> Vec<Line> {
        let mut lines = Lines::new(input, limit);
        let mut found = Vec::new();
        while let Some(line) = lines.next().await {
            found.push(line);
        }
        found
    }

    fn whole(text: &'static str) -> Line {
        Line::Whole(Bytes::from_static(text.as_bytes()))
    }

    fn cut(text: &'static str) -> Line {
        Line::Cut(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn lines_are_split_whatever_ends_them() {
        assert_eq!(read(b"a\r\n\nb\nc", 10).await, [whole("a"), whole(""), whole("b"), whole("c")]);
        assert_eq!(read(b"", 10).await, []);
    }

    #[tokio::test]
    async fn a_line_over_the_limit_is_cut_and_the_next_is_whole() {
        assert_eq!(read(b"abcdef\nxy\n", 3).await, [cut("abc"), whole("xy")]);
        assert_eq!(read(b"abc\nabcd", 3).await, [whole("abc"), cut("abc")]);
    }

    #[tokio::test]
    async fn an_endless_line_takes_no_more_memory_than_the_limit() {
        let endless = tokio::io::repeat(b'x').take(50_000_000);
        let mut lines = Lines::new(endless, 1024);
        assert!(matches!(lines.next().await, Some(Line::Cut(start)) if start.len() == 1024));
        assert_eq!(lines.next().await, None);
        assert!(lines.buffer.capacity() <= 4 * CHUNK, "{}", lines.buffer.capacity());
    }

    #[test]
    fn a_message_over_several_lines_is_sent_as_one() {
        assert_eq!(framed(b"{\r\n \"a\": \"\\n\"\n}"), b"{   \"a\": \"\\n\" }\n");
    }

    #[test]
    fn an_excerpt_has_no_control_characters_and_an_end() {
        assert_eq!(excerpt(b"a\x1b[31mb", 100), "a\\u{1b}[31mb");
        assert_eq!(excerpt("ääääää".as_bytes(), 3), "äää…");
    }
}
