//! Notices that every replica must receive at once, and that no store has to keep.

use std::fmt;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};

use super::Deferred;
use crate::model::KeyId;

/// Notices that a slow listener may be behind before it misses some.
const KEPT: usize = 256;

/// Something that takes effect on all replicas.
///
/// A notice hastens what the [store](crate::store::Store::watch) tells anyway: one that is lost delays, and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// An API key was revoked.
    KeyRevoked(KeyId),
    /// Notices were lost: the listener looks at everything that a notice can speak of.
    Missed,
}

/// Tells notices to all replicas, the sender included.
pub trait Broadcast: Send + Sync + fmt::Debug {
    /// Sends a notice. That it arrives is not waited for.
    fn publish(&self, notice: Notice) -> Deferred<'_, ()>;

    /// The notices from now on.
    fn subscribe(&self) -> Notices;
}

/// The notices that a listener receives, in the order in which they arrive.
#[derive(Debug)]
pub struct Notices(Receiver<Notice>);

impl Notices {
    /// The notices that are sent to the other end of `receiver`.
    pub const fn new(receiver: Receiver<Notice>) -> Self {
        Self(receiver)
    }

    /// The next notice; `None` once no more can come. Nothing is lost if the wait is given up.
    pub async fn next(&mut self) -> Option<Notice> {
        match self.0.recv().await {
            Ok(notice) => Some(notice),
            Err(RecvError::Lagged(_)) => Some(Notice::Missed),
            Err(RecvError::Closed) => None,
        }
    }
}

/// Tells notices within this process, to every gateway that shares this cluster.
#[derive(Debug)]
pub struct LocalBroadcast(Sender<Notice>);

impl Default for LocalBroadcast {
    fn default() -> Self {
        Self(channel(KEPT).0)
    }
}

impl Broadcast for LocalBroadcast {
    fn publish(&self, notice: Notice) -> Deferred<'_, ()> {
        // Fails only if there are no listeners.
        drop(self.0.send(notice));
        Deferred::Now(())
    }

    fn subscribe(&self) -> Notices {
        Notices::new(self.0.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_that_falls_behind_hears_that_it_missed_something() {
        let broadcast = LocalBroadcast::default();
        let mut notices = broadcast.subscribe();
        for _ in 0..=KEPT {
            broadcast.publish(Notice::KeyRevoked(KeyId::random())).get().await;
        }
        assert_eq!(notices.next().await, Some(Notice::Missed));
        assert!(matches!(notices.next().await, Some(Notice::KeyRevoked(_))));
        drop(broadcast);
        let mut left = 0;
        while notices.next().await.is_some() {
            left += 1;
        }
        assert_eq!(left, KEPT - 1);
    }
}
