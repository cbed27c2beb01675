//! Messages that wait for one reader, bounded in number and bytes.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::error::{Error, Result};
use crate::rpc::Message;

/// Messages that may wait in one mailbox.
pub(in crate::transport) const MAX_MESSAGES: usize = 1024;
/// Bytes that may wait in one mailbox; a single message may be larger.
pub(in crate::transport) const MAX_BYTES: usize = 32 * 1024 * 1024;

#[derive(Default)]
struct Contents {
    messages: VecDeque<Message>,
    bytes: usize,
    closed: bool,
    failure: Option<Error>,
}

impl Contents {
    fn is_full_for(&self, message: &Message) -> bool {
        let over = self.bytes + message.bytes().len() > MAX_BYTES;
        self.messages.len() >= MAX_MESSAGES || (over && !self.messages.is_empty())
    }

    fn push(&mut self, message: Message) {
        self.bytes += message.bytes().len();
        self.messages.push_back(message);
    }

    fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.bytes().len();
        Some(message)
    }
}

/// A queue with many writers, who never wait, and one reader.
#[derive(Default)]
pub(in crate::transport) struct Mailbox {
    contents: Mutex<Contents>,
    changed: Notify,
}

impl Mailbox {
    /// Puts `message` in, unless the mailbox is full. Returns whether there was room.
    pub(in crate::transport) fn offer(&self, message: Message) -> bool {
        let room = self.change(|contents| {
            let room = !contents.is_full_for(&message);
            if room && !contents.closed {
                contents.push(message);
            }
            room
        });
        self.changed.notify_one();
        room
    }

    /// Puts `message` in and throws out the oldest as far as there is no room. Returns how many were thrown out.
    pub(in crate::transport) fn push(&self, message: Message) -> usize {
        let dropped = self.change(|contents| {
            let mut dropped = 0;
            if !contents.closed {
                while contents.is_full_for(&message) && contents.pop().is_some() {
                    dropped += 1;
                }
                contents.push(message);
            }
            dropped
        });
        self.changed.notify_one();
        dropped
    }

    /// Puts the last message in, for which there is always room, and closes.
    pub(in crate::transport) fn finish(&self, message: Message) {
        self.change(|contents| {
            if !contents.closed {
                contents.push(message);
            }
        });
        self.close(None);
    }

    /// Lets the reader take what is there, then `failure` if there is one, then nothing more.
    pub(in crate::transport) fn close(&self, failure: Option<Error>) {
        self.change(|contents| {
            if !contents.closed {
                contents.closed = true;
                contents.failure = failure;
            }
        });
        self.changed.notify_one();
    }

    /// The next message, once there is one; `None` after the last.
    pub(in crate::transport) async fn next(&self) -> Option<Result<Message>> {
        loop {
            let found = self.change(|contents| match contents.pop() {
                Some(message) => Some(Some(Ok(message))),
                None => contents.closed.then(|| contents.failure.take().map(Err)),
            });
            match found {
                Some(next) => return next,
                None => self.changed.notified().await,
            }
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Contents) -> T) -> T {
        change(&mut self.contents.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn message(number: usize) -> Message {
        Message::parse(Message::request(None, &format!("n/{number}"), None)).unwrap()
    }

    #[tokio::test]
    async fn a_full_mailbox_refuses_an_offer_and_a_push_drops_the_oldest() {
        let mailbox = Mailbox::default();
        for number in 0..MAX_MESSAGES {
            assert!(mailbox.offer(message(number)));
        }
        assert!(!mailbox.offer(message(9999)));
        assert_eq!(mailbox.push(message(9999)), 1);
        let next = mailbox.next().await.unwrap().unwrap();
        assert_eq!(next.method().unwrap().as_str(), "n/1");
    }

    #[tokio::test]
    async fn what_arrived_before_the_end_is_read_before_the_failure() {
        let mailbox = Mailbox::default();
        mailbox.push(message(1));
        mailbox.close(Some(Error::new(ErrorKind::BadUpstream, "gone")));
        mailbox.push(message(2));
        assert!(mailbox.next().await.unwrap().is_ok());
        assert_eq!(mailbox.next().await.unwrap().unwrap_err().kind(), ErrorKind::BadUpstream);
        assert!(mailbox.next().await.is_none());
    }
}
