//! Where messages for a client wait that belong to none of its requests, until it opens a stream for them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;

/// Messages that wait for a client without a stream; beyond this the oldest are dropped.
const KEPT: usize = 64;
/// Messages that a slow reader of the stream may be behind before it loses some.
const BEHIND: usize = 1024;

/// A client's stream, or what waits for it.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    stream: Option<mpsc::Sender<Bytes>>,
    waiting: VecDeque<Bytes>,
}

impl Outbox {
    /// Opens the stream; an earlier one ends. What waited comes first.
    pub(super) fn attach(&self) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(BEHIND);
        let mut state = self.state();
        for message in state.waiting.drain(..) {
            // There is room: fewer wait than the stream may be behind.
            let _ = sender.try_send(message);
        }
        state.waiting = VecDeque::new();
        state.stream = Some(sender);
        receiver
    }

    /// Whether a stream is open.
    pub(super) fn is_attached(&self) -> bool {
        self.state().stream.as_ref().is_some_and(|stream| !stream.is_closed())
    }

    /// Ends the stream.
    pub(super) fn detach(&self) {
        self.state().stream = None;
    }

    /// Sends a message, or keeps it until a stream is opened.
    pub(super) fn push(&self, message: Bytes) {
        let mut state = self.state();
        let message = match &state.stream {
            Some(stream) => match stream.try_send(message) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    tracing::warn!("a client reads its stream too slowly; a message to it is lost");
                    return;
                }
                Err(mpsc::error::TrySendError::Closed(message)) => message,
            },
            None => message,
        };
        state.stream = None;
        if state.waiting.len() == KEPT {
            state.waiting.pop_front();
        }
        state.waiting.push_back(message);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waited_comes_first_and_a_new_stream_ends_the_old_one() {
        let outbox = Outbox::default();
        outbox.push(Bytes::from_static(b"1"));
        let mut first = outbox.attach();
        outbox.push(Bytes::from_static(b"2"));
        assert_eq!(first.recv().await.unwrap(), "1");
        assert_eq!(first.recv().await.unwrap(), "2");
        let mut second = outbox.attach();
        assert!(first.recv().await.is_none());
        drop(first);
        outbox.push(Bytes::from_static(b"3"));
        assert_eq!(second.recv().await.unwrap(), "3");
        drop(second);
        assert!(!outbox.is_attached());
        outbox.push(Bytes::from_static(b"4"));
        assert_eq!(outbox.attach().recv().await.unwrap(), "4");
    }
}
