//! The reply of one round of a call to its client: notes, then the last message. A last message that comes first is answered as
//! plain JSON, so that its HTTP status can tell the outcome.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc::Receiver;

use super::translate::Answer;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Reply, ServerId};

/// How long the kind of answer is left open while the server says nothing; then a stream begins, which can be kept alive.
const UNDECIDED: Duration = Duration::from_secs(15);

/// A message on its way to the client.
#[derive(Debug)]
pub(crate) enum Notification {
    /// There is more to come.
    Note(Bytes),
    /// The response.
    Last(Answer),
}

impl Notification {
    fn into_body(self) -> Bytes {
        match self {
            Self::Note(body) | Self::Last(Answer { body, .. }) => body,
        }
    }
}

impl Answer {
    /// The answer as the reply.
    pub(crate) fn reply(self, server: Option<ServerId>) -> Reply {
        match self.code {
            None => Reply::Message { body: self.body, session: None, server },
            Some(code) => Reply::Refused { body: self.body, code, server },
        }
    }
}

/// The reply that consists of the messages on `receiver`.
pub(crate) async fn replied(
    mut receiver: Receiver<Notification>,
    streams: bool,
    server: Option<ServerId>,
) -> Result<Reply> {
    loop {
        match tokio::time::timeout(UNDECIDED, receiver.recv()).await {
            Ok(Some(Notification::Last(answer))) => return Ok(answer.reply(server)),
            Ok(Some(note)) if streams => {
                let first = stream::once(std::future::ready(note.into_body()));
                return Ok(Reply::Stream {
                    messages: first.chain(rest(receiver)).boxed(),
                    server,
                    numbering: None,
                });
            }
            Err(_) if streams => {
                return Ok(Reply::Stream { messages: rest(receiver), server, numbering: None });
            }
            // A client that takes no stream gets the last message alone.
            Ok(Some(_)) | Err(_) => {}
            Ok(None) => return Err(Error::new(ErrorKind::Unavailable, "the gateway is shutting down")),
        }
    }
}

fn rest(mut receiver: Receiver<Notification>) -> BoxStream<'static, Bytes> {
    stream::poll_fn(move |context| receiver.poll_recv(context).map(|told| told.map(Notification::into_body)))
        .boxed()
}

/// Completes when nobody reads any more.
pub(super) async fn left(sender: &tokio::sync::mpsc::Sender<Notification>) {
    sender.closed().boxed().await;
}
