//! One local client on standard input and output: newline-delimited JSON-RPC, through the same gateway as every other entry
//! point.
//!
//! The end of input ends the service, but not at once: earlier requests are still answered. A line that is too long or holds no
//! message is an error that the client is notified of, and the next line is read.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::auth::Credentials;
use crate::error::{Error, ErrorKind};
use crate::gateway::{ClientConnection, Gateway};
use crate::model::{Endpoint, Principal};
use crate::rpc::lines::{Line, Lines, framed};

/// How one client is served.
#[derive(Clone, Debug)]
pub struct Stdio {
    /// What it sees.
    pub route: Endpoint,
    /// For whom it acts.
    pub principal: Principal,
    /// Longest line, in bytes.
    pub max_line: usize,
    /// How long calls under way may go on after the end of input.
    pub grace: Duration,
}

/// Serves one client until its input ends, its output is closed, or `stop` is cancelled, which cuts requests under way. The
/// gateway is still open afterwards.
pub async fn serve<R, W>(gateway: &Gateway, client: Stdio, input: R, output: W, stop: CancellationToken)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let credentials = Credentials::Embedded(client.principal);
    let (attached, heard) = ClientConnection::new(gateway.clone(), client.route, credentials, true);
    let (ended, deaf) = (CancellationToken::new(), CancellationToken::new());
    let asking = async {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = deaf.cancelled() => {}
            () = attached.over() => {}
            () = listen(&attached, input, client.max_line) => {
                // Requests before the end of input are answered, unless nobody wants to wait for them.
                tokio::select! {
                    () = attached.settled() => {}
                    () = tokio::time::sleep(client.grace) => {
                        tracing::warn!("calls under way were cut: their input ended, and the time for them too");
                    }
                    () = stop.cancelled() => {}
                    () = deaf.cancelled() => {}
                }
            }
        }
        attached.end().await;
        ended.cancel();
    };
    let speaking = async {
        if let Err(error) = speak(heard, output, &ended).await {
            tracing::debug!(%error, "the client closed its end");
            deaf.cancel();
        }
    };
    let told_to_stop = async {
        stop.cancelled().await;
        ended.cancelled().await;
        tokio::time::sleep(LAST_WORD).await;
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(asking, speaking) } => {}
        // A client that reads nothing any more does not hold up the end.
        () = told_to_stop => {}
    }
}

/// How long a client may take to read the rest when the service was told to stop.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Reads messages until the input ends.
async fn listen<R: AsyncRead + Unpin>(attached: &ClientConnection, input: R, max_line: usize) {
    let mut lines = Lines::new(input, max_line);
    while let Some(line) = lines.next().await {
        match line {
            Line::Whole(line) if line.iter().all(u8::is_ascii_whitespace) => {}
            Line::Whole(line) => {
                let correlation_id: Arc<str> = Uuid::new_v4().to_string().into();
                attached.receive(line, correlation_id).await;
            }
            Line::Cut(_) => {
                let text = "the line is longer than the limit for one message; it was passed over";
                let error = Error::new(ErrorKind::TooLarge, text).with("limit_bytes", max_line);
                attached.refuse(None, &error).await;
            }
        }
    }
}

/// Writes the messages for the client, until all of them are written and no more will come.
async fn speak<W: AsyncWrite + Unpin>(
    mut heard: mpsc::Receiver<Bytes>,
    mut output: W,
    ended: &CancellationToken,
) -> std::io::Result<()> {
    loop {
        let message = tokio::select! {
            biased;
            message = heard.recv() => message,
            () = ended.cancelled() => None,
        };
        let Some(message) = message else { return Ok(()) };
        output.write_all(&framed(&message)).await?;
        output.flush().await?;
    }
}

#[cfg(test)]
mod tests;
