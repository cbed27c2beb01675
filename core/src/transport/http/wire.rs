//! One connection, driven by the task that waits on it.
//!
//! hyper gives a sender and a connection that must be polled for anything to happen. Usually a task polls it; here
//! the two stay together and the connection is polled by the task that waits for the answer. Nothing polls an
//! idle connection: whether the server closed it is seen when it is taken out again.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread::ThreadId;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;

use super::socket::{Marks, Socket};
use crate::clock::Tick;
use crate::per_thread::Stripe;

/// A connection and its state.
pub(super) struct Wire {
    sender: SendRequest<Full<Bytes>>,
    connection: Connection<TokioIo<Socket>, Full<Bytes>>,
    /// The connection has ended and must not be polled again.
    ended: bool,
    marks: Marks,
    /// The end of an answer of which nothing more is wanted, still to be read.
    tail: Option<Incoming>,
    pub(super) idle_since: Tick,
    /// The thread that opened it. Where each thread polls its own sockets, an answer arrives soonest there.
    pub(super) thread: ThreadId,
    /// The stripe of that thread.
    pub(super) stripe: Stripe,
    /// The only caller whose calls it carries; `None`: calls that are alike for everybody.
    pub(super) owner: Option<Arc<str>>,
}

/// The state of a connection that nobody waits on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// It can take a request.
    Ready,
    /// The last answer has not ended yet.
    Busy,
    /// It is closed.
    Dead,
}

impl Wire {
    /// Makes HTTP out of a socket; nothing is sent.
    pub(super) async fn new(socket: Socket) -> hyper::Result<Box<Self>> {
        let marks = socket.marks().clone();
        let (sender, connection) = http1::Builder::new().handshake(TokioIo::new(socket)).await?;
        Ok(Box::new(Self {
            sender,
            connection,
            ended: false,
            marks,
            tail: None,
            idle_since: Tick::default(),
            thread: std::thread::current().id(),
            stripe: Stripe::mine(),
            owner: None,
        }))
    }

    /// Sends a request and waits for the head of the answer. After an error [`Wire::wrote`] tells whether the
    /// server can have seen any of it.
    pub(super) fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + Send {
        self.marks.forget();
        // Here and not in the future, which would carry the request to its end.
        let response = self.sender.try_send_request(request);
        let (connection, ended) = (&mut self.connection, &mut self.ended);
        async move {
            let mut response = pin!(response);
            poll_fn(|cx| {
                drive(connection, ended, cx);
                // Only the connection brings the answer, and it was just driven: a waker here would wake this very task.
                response.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            })
            .await
            .map_err(hyper::client::conn::TrySendError::into_error)
        }
    }

    /// Whether any byte of the last request was written.
    pub(super) fn wrote(&self) -> bool {
        self.marks.wrote()
    }

    /// The next piece of an answer's body; `None` at its end.
    pub(super) fn poll_chunk(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Bytes>>> {
        // The body asks the connection for more when it is polled, so it is polled before and after.
        for turn in 0..2 {
            // Only the connection fills the body; see `send`.
            let quiet = &mut Context::from_waker(Waker::noop());
            while let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(quiet) {
                match frame.map(|frame| frame.map(http_body::Frame::into_data)) {
                    Some(Ok(Ok(chunk))) => return Poll::Ready(Some(Ok(chunk))),
                    // Trailers say nothing to MCP.
                    Some(Ok(Err(_))) => {}
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    None => return Poll::Ready(None),
                }
            }
            if turn == 0 {
                drive(&mut self.connection, &mut self.ended, cx);
            }
        }
        Poll::Pending
    }

    /// Leaves the rest of an answer to be read and thrown away when the connection is looked at again.
    pub(super) fn leave(&mut self, body: Incoming) {
        self.tail = Some(body);
    }

    /// As [`Wire::rest`], for a connection that was just driven to the end of its answer.
    pub(super) fn rest_driven(&mut self) -> Rest {
        if self.tail.is_none() && !self.ended && self.sender.is_ready() { Rest::Ready } else { self.rest() }
    }

    /// As [`Wire::rest`], and asks the system, so that a close that has arrived is seen although nobody was notified of it yet.
    pub(super) fn rest_asked(&mut self) -> Rest {
        self.marks.ask(true);
        let rest = self.rest();
        self.marks.ask(false);
        rest
    }

    /// Looks at the connection without waiting, and reads what is left of the last answer if it has come.
    pub(super) fn rest(&mut self) -> Rest {
        let cx = &mut Context::from_waker(Waker::noop());
        if let Some(mut tail) = self.tail.take() {
            // Bounded: a server that goes on sending is not worth reading for the sake of its connection.
            for _ in 0..16 {
                match self.poll_chunk(&mut tail, cx) {
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(Some(Err(_))) => return Rest::Dead,
                    Poll::Ready(None) => return self.rest(),
                    Poll::Pending => {
                        self.tail = Some(tail);
                        return if self.ended { Rest::Dead } else { Rest::Busy };
                    }
                }
            }
            return Rest::Dead;
        }
        drive(&mut self.connection, &mut self.ended, cx);
        if !self.ended && self.sender.is_ready() { Rest::Ready } else { Rest::Dead }
    }
}

fn drive(connection: &mut Connection<TokioIo<Socket>, Full<Bytes>>, ended: &mut bool, cx: &mut Context<'_>) {
    // How it ended is told to the request or the body that waits.
    if !*ended && Pin::new(connection).poll(cx).is_ready() {
        *ended = true;
    }
}
