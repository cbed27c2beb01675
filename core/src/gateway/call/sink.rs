//! The sink for a server's messages during a call, on the path to the client: a channel, or a stream that can be resumed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::sync::{Notify, mpsc};

use super::context::CallContext;
use crate::clock::Tick;
use crate::error::Result;
use crate::gateway::session::client::Client;
use crate::gateway::session::replay::ReplayStream;
use crate::model::Numbering;
use crate::transport::unread::{CallRoom, HasRoom as _, SMALL};

/// Messages that wait for a slow reader before its server is slowed down.
const WAITING: usize = 32;

/// How long the answer waits for a reader that is behind.
const LAST_WORD: Duration = Duration::from_secs(30);

/// The revision since which a stream may end before its call, and events have no data.
const POLLS: &str = "2025-11-25";

/// The path of a call's messages to its client.
#[derive(Debug)]
pub(crate) struct Sink {
    to: Path,
    /// The room for messages that its client has not read.
    room: Option<Arc<CallRoom>>,
}

#[derive(Debug)]
enum Path {
    /// A client that leaves cannot come back.
    Channel(mpsc::Sender<Bytes>),
    /// A client that leaves can come back.
    Kept(Arc<Client>, Arc<ReplayStream>),
}

impl Sink {
    /// A new sink, and its other end.
    pub(crate) fn of(context: &CallContext) -> (Self, BoxStream<'static, Bytes>, Option<Numbering>) {
        let room = context.record.room();
        if let Some(client) = context.client.as_ref().filter(|_| context.resumes) {
            let strand = client.replays.begin(&*client.hello.version >= POLLS);
            // Nothing was given up yet, so reading can begin; unless the session has ended, and nobody reads.
            if let Some((reader, numbering)) = strand.attach(0) {
                let to = Path::Kept(Arc::clone(client), strand);
                return (Self { to, room }, reader.boxed(), Some(numbering));
            }
        }
        let (sender, mut receiver) = mpsc::channel::<Bytes>(WAITING);
        let messages = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context)).boxed();
        (Self { to: Path::Channel(sender), room }, messages, None)
    }

    /// The message, which counts until its client has read it, if it is large.
    async fn counted(&self, message: Bytes) -> Bytes {
        match self.room.as_ref().filter(|_| message.len() > SMALL) {
            Some(room) => room.hold_in_time(message).await,
            None => message,
        }
    }

    /// The answer likewise, with what is kept until it was written; the error that takes its place if there is no room for it.
    pub(crate) async fn answer<K: Send + 'static>(&self, answer: Bytes, kept: K) -> Result<Bytes> {
        match self.room.as_ref().filter(|_| answer.len() > SMALL) {
            Some(room) => room.hold(answer, kept).await,
            None => Ok(answer),
        }
    }

    /// Sends a notification. A client that has left misses it, or gets it when it comes back.
    pub(crate) async fn send(&self, message: Bytes) {
        let message = self.counted(message).await;
        match &self.to {
            // A send fails when the client has left; the answer is still waited for.
            Path::Channel(sender) => drop(sender.send(message).await),
            Path::Kept(_, strand) => strand.push(message).await,
        }
    }

    /// Sends a server request; returns it if nobody will read it here.
    pub(crate) async fn ask(&self, question: Bytes) -> Option<Bytes> {
        let question = self.counted(question).await;
        match &self.to {
            Path::Channel(sender) => sender.send(question).await.err().map(|left| left.0),
            // A client that reads its own stream need not come back for this one.
            Path::Kept(client, strand) if !strand.is_attached() && client.outbox.is_attached() => {
                Some(question)
            }
            Path::Kept(_, strand) => {
                strand.push(question).await;
                None
            }
        }
    }

    /// Sends the last message.
    pub(crate) async fn end(self, last: Bytes, now: Tick) {
        match self.to {
            // A client that no longer reads, or is behind for so long, does not want the answer; it is dropped.
            Path::Channel(sender) => drop(tokio::time::timeout(LAST_WORD, sender.send(last)).await),
            Path::Kept(client, strand) => client.replays.retire(&strand, last, now),
        }
    }

    /// Waits until the client has left for good.
    pub(crate) async fn left(&self) {
        match &self.to {
            Path::Channel(sender) => sender.closed().await,
            Path::Kept(..) => std::future::pending().await,
        }
    }

    /// Mirrors the server: each time that its stream ends before the call, the client's stream ends, too.
    pub(crate) async fn pause(&self, pauses: Option<&Notify>) -> Infallible {
        if let (Some(pauses), Path::Kept(_, strand)) = (pauses, &self.to) {
            loop {
                pauses.notified().await;
                strand.pause();
            }
        }
        std::future::pending().await
    }
}
