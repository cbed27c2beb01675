//! A visit as a stream of bytes, for server libraries that speak MCP's stdio framing: one message a line.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

use super::in_process::ServerConnection;
use crate::rpc::lines::framed;

/// Longest line that a server may write, in bytes.
const MAX_LINE: usize = 16 * 1024 * 1024;

/// Both ends of a visit: reads return the gateway's messages, writes go to the gateway. See [`ServerConnection::into_pipe`].
#[derive(Debug)]
pub struct Pipe {
    said: mpsc::Receiver<Bytes>,
    reading: Bytes,
    answers: PollSender<Bytes>,
    /// The part of a line that was written.
    writing: BytesMut,
}

impl Pipe {
    pub(super) fn new(said: mpsc::Receiver<Bytes>, answers: mpsc::Sender<Bytes>) -> Self {
        Self { said, reading: Bytes::new(), answers: PollSender::new(answers), writing: BytesMut::new() }
    }
}

impl ServerConnection {
    /// The visit as a stream of bytes with one message a line, as over standard input and output: a server library such as `rmcp`
    /// can take it as its transport. A line has at most 16 MiB.
    pub fn into_pipe(self) -> Pipe {
        let (said, answers) = self.into_parts();
        Pipe::new(said, answers)
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.reading.is_empty() {
            match ready!(self.said.poll_recv(cx)) {
                Some(message) => self.reading = framed(&message).into(),
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.reading.len().min(buf.remaining());
        buf.put_slice(&self.reading[..count]);
        self.reading.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        let end = memchr::memchr(b'\n', bytes);
        if self.writing.len() + end.unwrap_or(bytes.len()) > MAX_LINE {
            return Poll::Ready(Err(io::Error::other("a message is longer than the limit of 16 MiB")));
        }
        let Some(end) = end else {
            self.writing.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        };
        // Before anything of it is taken: a write that waits is offered again.
        ready!(self.answers.poll_reserve(cx)).map_err(|_| closed())?;
        self.writing.extend_from_slice(&bytes[..end]);
        let line = self.writing.split().freeze();
        if line.iter().all(u8::is_ascii_whitespace) {
            self.answers.abort_send();
        } else {
            self.answers.send_item(line).map_err(|_| closed())?;
        }
        Poll::Ready(Ok(end + 1))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.answers.close();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

    use super::*;

    fn pipe(waiting: usize) -> (mpsc::Sender<Bytes>, mpsc::Receiver<Bytes>, Pipe) {
        let ((say, said), (answers, heard)) = (mpsc::channel(waiting), mpsc::channel(waiting));
        (say, heard, Pipe::new(said, answers))
    }

    #[tokio::test]
    async fn each_message_is_one_line_and_the_end_of_the_link_the_end_of_the_stream() {
        let (say, _heard, pipe) = pipe(4);
        say.send("{\"a\":\n1}".into()).await.unwrap();
        say.send("{}".into()).await.unwrap();
        drop(say);
        let mut lines = BufReader::with_capacity(3, pipe).lines();
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("{\"a\": 1}"));
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("{}"));
        assert_eq!(lines.next_line().await.unwrap(), None);
    }

    #[tokio::test]
    async fn lines_become_messages_however_they_are_cut() {
        let (_say, mut heard, mut pipe) = pipe(4);
        for piece in ["{\"a", "\":1}\n\r\n{}", "\n[]\n"] {
            pipe.write_all(piece.as_bytes()).await.unwrap();
        }
        for line in ["{\"a\":1}", "{}", "[]"] {
            assert_eq!(heard.recv().await.unwrap(), line);
        }
        pipe.shutdown().await.unwrap();
        assert_eq!(heard.recv().await, None);
    }

    #[tokio::test]
    async fn a_gateway_that_does_not_read_keeps_the_server_from_writing_and_loses_nothing() {
        let (_say, mut heard, mut pipe) = pipe(1);
        let read = async {
            for line in ["1", "2", "3"] {
                assert_eq!(heard.recv().await.unwrap(), line);
            }
        };
        let (written, ()) = tokio::join!(pipe.write_all(b"1\n2\n3\n"), read);
        written.unwrap();
    }

    #[tokio::test]
    async fn a_line_without_end_and_a_link_that_is_closed_are_errors() {
        let (_say, heard, mut pipe) = pipe(1);
        assert!(pipe.write_all(&vec![b'x'; MAX_LINE]).await.is_ok());
        assert!(pipe.write_all(b"x").await.is_err());
        drop(heard);
        let error = pipe.write_all(b"\n").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
