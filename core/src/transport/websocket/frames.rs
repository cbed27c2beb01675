//! One connection at work: text frames both ways, pings into silence, the end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error as Broken};
use tokio_tungstenite::tungstenite::protocol::frame::Utf8Bytes;
use tokio_tungstenite::tungstenite::{Bytes, Message as Frame};

use crate::transport::duplex::{Conversation, Ending, Item, Receipt, Unreadable, deliver};

/// Silence after which the peer is pinged.
const SILENCE: Duration = Duration::from_secs(30);
/// How long it may stay silent then.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the peer may take none of a frame that is being written.
const STALL: Duration = Duration::from_secs(60);
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Ends the exchanges also where the task is dropped without coming to an end.
struct Ends(Arc<Conversation>);

impl Ends {
    fn with(&self, message: String) {
        self.0.exchanges.end(Ending { message: message.into(), status: None, last_words: None });
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.with("the connection was closed".to_owned());
        self.0.finish();
    }
}

/// Carries messages until either side closes the connection.
pub(super) async fn converse<S>(
    stream: WebSocketStream<S>,
    queued: mpsc::Receiver<Item>,
    talk: Arc<Conversation>,
    permit: OwnedSemaphorePermit,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let ends = Ends(talk.clone());
    let (mut sink, source) = stream.split();
    let silence = Notify::new();
    // Side by side: a peer that does not read must not keep the gateway from reading, or both would wait for ever.
    let why = tokio::select! {
        biased;
        () = talk.closing.cancelled() => None,
        why = read(source, &talk, &silence) => Some(why),
        why = write(&mut sink, queued, &silence) => Some(why),
    };
    match why {
        // A peer that misses the farewell sees the connection close.
        None => drop(tokio::time::timeout(FAREWELL, sink.close()).await),
        Some(why) => {
            tracing::info!(server = %talk.name, "{why}");
            ends.with(why);
        }
    }
    drop((sink, ends));
    drop(permit);
}

/// Reads the server's messages; returns why no more come.
async fn read(
    mut source: impl Stream<Item = Result<Frame, Broken>> + Unpin,
    talk: &Conversation,
    silence: &Notify,
) -> String {
    let mut pinged = false;
    loop {
        let time_limit = if pinged { PATIENCE } else { SILENCE };
        let Ok(next) = tokio::time::timeout(time_limit, source.next()).await else {
            if pinged {
                return "the server did not answer a ping for 10 s".to_owned();
            }
            pinged = true;
            silence.notify_one();
            continue;
        };
        pinged = false;
        match next {
            Some(Ok(Frame::Text(text))) => {
                match deliver(&talk.exchanges, &Bytes::from(text), |receipt| note(talk, &receipt)) {
                    Ok(()) => {}
                    Err(Unreadable { error, is_aside: true }) => {
                        tracing::warn!(server = %talk.name, %error, "passed over a message that cannot be read");
                    }
                    Err(Unreadable { error, .. }) => {
                        return format!("the server sent what is not an MCP message: {}", error.message());
                    }
                }
            }
            Some(Ok(Frame::Binary(_))) => {
                return "the server sent a binary frame; MCP messages are text".to_owned();
            }
            Some(Ok(Frame::Close(Some(close)))) => {
                let reason: String = close.reason.chars().take(100).collect();
                return format!("the server closed the WebSocket: {} {reason}", close.code);
            }
            Some(Ok(Frame::Close(None))) | None => return "the server closed the WebSocket".to_owned(),
            // The library answers pings by itself.
            Some(Ok(Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_))) => {}
            Some(Err(Broken::Capacity(CapacityError::MessageTooLong { max_size, .. }))) => {
                return format!(
                    "the server sent a message over the limit of {max_size} bytes for one message"
                );
            }
            Some(Err(error)) => return format!("the WebSocket broke: {error}"),
        }
    }
}

fn note(talk: &Conversation, receipt: &Receipt) {
    let server = &talk.name;
    match receipt {
        Receipt::Kept => {}
        Receipt::Overrun(id) => talk.cancel(*id),
        Receipt::Late => tracing::debug!(%server, "dropped a message for a request that is not under way"),
        Receipt::Displaced(dropped) => {
            tracing::debug!(%server, dropped, "nobody reads what the server sends unasked; dropped the oldest");
        }
    }
}

/// Writes queued messages, and pings into silence; returns why nothing more can be written.
async fn write(
    sink: &mut (impl SinkExt<Frame, Error = Broken> + Unpin),
    mut queued: mpsc::Receiver<Item>,
    silence: &Notify,
) -> String {
    loop {
        let frame = tokio::select! {
            () = silence.notified() => Frame::Ping(Bytes::new()),
            item = queued.recv() => {
                // The conversation holds the other end, and this task holds the conversation.
                let Some(item) = item else { return "the connection was closed".to_owned() };
                // Every message was checked or made as text.
                let Ok(text) = Utf8Bytes::try_from(item.body) else { continue };
                if !item.slip.start() {
                    continue;
                }
                // Nobody may wait for it: a notification that was given up.
                let _ = item.begun.send(());
                Frame::Text(text)
            }
        };
        match tokio::time::timeout(STALL, sink.send(frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return format!("the WebSocket broke: {error}"),
            Err(_) => return "the server has read nothing of a message for 60 s".to_owned(),
        }
    }
}
