//! One child: its pipes, its life, its end.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::process::Child;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::budget::Budget;
use super::group::Group;
use super::strays::Processes;
use super::tail::Tail;
use crate::clock::Tick;
use crate::model::redact::Secrets;
use crate::rpc::lines::{Line, Lines, excerpt, framed};
use crate::transport::duplex::{Conversation, Ending, Item, Receipt, Unreadable, deliver};

/// Longest line that a child may write to its standard output.
pub(super) const MAX_LINE: usize = 16 * 1024 * 1024;
/// Longest part of a line of standard error that is kept.
const MAX_ERROR_LINE: usize = 1024;
/// How long a child may take none of a message that is being written.
const STALL: Duration = Duration::from_secs(60);
/// How long a child may take to leave when its input ends, and again when it gets SIGTERM.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// How long is waited for the exit of a child that closed a pipe, and for the last output of one that exited.
const MOMENT: Duration = Duration::from_millis(500);

/// Why a child cannot go on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    LineTooLong,
    ReadsNothing,
    ClosedInput,
    ClosedOutput,
}

impl Trouble {
    const fn message(self) -> &'static str {
        match self {
            Self::LineTooLong => {
                "the server wrote a line over the limit of 16 MiB for one message; it was stopped"
            }
            Self::ReadsNothing => "the server has read nothing of a message for 60 s; it was stopped",
            Self::ClosedInput => "the server closed its standard input; it was stopped",
            Self::ClosedOutput => "the server closed its standard output; it was stopped",
        }
    }
}

/// Writes queued messages, one a line, until the child is to leave.
pub(super) async fn write(
    mut input: impl AsyncWrite + Unpin,
    mut queue: mpsc::Receiver<Item>,
    troubles: mpsc::Sender<Trouble>,
) {
    while let Some(item) = queue.recv().await {
        if !item.slip.start() {
            continue;
        }
        // Nobody may wait for it: a notification that was given up.
        let _ = item.begun.send(());
        let line = framed(&item.body);
        let mut rest = &line[..];
        while !rest.is_empty() {
            let trouble = match tokio::time::timeout(STALL, input.write(rest)).await {
                Ok(Ok(written)) if written > 0 => {
                    rest = &rest[written..];
                    continue;
                }
                Ok(_) => Trouble::ClosedInput,
                Err(_) => Trouble::ReadsNothing,
            };
            let _ = troubles.try_send(trouble);
            return;
        }
    }
}

/// Reads the child's messages and delivers them.
pub(super) async fn read(
    output: impl AsyncRead + Unpin,
    talk: Arc<Conversation>,
    troubles: mpsc::Sender<Trouble>,
    mut budget: Budget,
) {
    let mut lines = Lines::new(output, MAX_LINE);
    while let Some(line) = lines.next().await {
        let Line::Whole(line) = line else {
            let _ = troubles.try_send(Trouble::LineTooLong);
            return;
        };
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let server = &talk.name;
        let told = deliver(&talk.exchanges, &line, |receipt| match receipt {
            Receipt::Kept => {}
            Receipt::Overrun(id) => talk.cancel(id),
            Receipt::Late => {
                if let Some(suppressed) = budget.take() {
                    tracing::debug!(%server, suppressed, "dropped a message for a request that is not under way");
                }
            }
            Receipt::Displaced(dropped) => {
                if let Some(suppressed) = budget.take() {
                    tracing::warn!(%server, dropped, suppressed, "nobody reads what the server sends unasked; dropped the oldest");
                }
            }
        });
        if let Err(Unreadable { error, .. }) = told
            && let Some(suppressed) = budget.take()
        {
            let line = excerpt(&line, 200);
            tracing::warn!(%server, %error, line, suppressed, "ignored a line on standard output that is no message; log to standard error instead");
        }
    }
    let _ = troubles.try_send(Trouble::ClosedOutput);
}

/// Drains standard error, so that the child never waits for it.
pub(super) async fn drain(
    errors: impl AsyncRead + Unpin,
    server: Arc<str>,
    tail: Tail,
    secrets: Secrets,
    mut budget: Budget,
) {
    let mut lines = Lines::new(errors, MAX_ERROR_LINE);
    while let Some(Line::Whole(line) | Line::Cut(line)) = lines.next().await {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        if let Some(suppressed) = budget.take() {
            let line = excerpt(&line, MAX_ERROR_LINE);
            let line = &*secrets.hide(&line);
            tracing::debug!(%server, suppressed, line, "standard error");
        }
        // Short, because this runs for each line of a flood.
        let words = excerpt(&line[..line.len().min(512)], 512);
        tail.push(secrets.hide(&words).into_owned());
    }
}

/// Sees to a child from its start until it is reaped.
pub(super) struct Supervisor {
    pub(super) child: Child,
    pub(super) group: Group,
    pub(super) talk: Arc<Conversation>,
    pub(super) troubles: mpsc::Receiver<Trouble>,
    pub(super) stop: CancellationToken,
    /// Standard output and standard error were read to their ends.
    pub(super) heard: [CancellationToken; 2],
    /// Cancelled when the child may see the end of its input: its descendants were looked for.
    pub(super) looked: CancellationToken,
    pub(super) tail: Tail,
    pub(super) backoff: Arc<Backoff>,
    pub(super) started: Tick,
    pub(super) permit: OwnedSemaphorePermit,
}

impl Supervisor {
    pub(super) async fn run(mut self) {
        let asked = tokio::select! {
            biased;
            () = self.talk.closing.cancelled() => true,
            () = self.stop.cancelled() => true,
            status = self.child.wait() => {
                self.exited(status.ok()).await;
                false
            }
            Some(trouble) = self.troubles.recv() => {
                self.failed(trouble).await;
                false
            }
        };
        // While their parents live.
        let mut descendants = Processes::default();
        if asked {
            self.end("the connection was closed", None, true);
            descendants = self.child.id().map(Processes::below).unwrap_or_default();
            self.looked.cancel();
            self.see_out().await;
        }
        self.looked.cancel();
        self.group.kill();
        // Waiting cannot fail for a child that was not reaped, and returns at once for one that was.
        let _ = self.child.wait().await;
        self.group.sweep(&descendants, GRACE).await;
        drop(self.group);
        drop(self.permit);
        self.talk.finish();
    }

    /// The child ended by itself.
    async fn exited(&mut self, status: Option<ExitStatus>) {
        // Its last answers may still be in the pipe; processes that it started may keep the pipe open for ever.
        let [output, errors] = &self.heard;
        let heard = async { tokio::join!(output.cancelled(), errors.cancelled()) };
        let _ = tokio::time::timeout(MOMENT, heard).await;
        self.end("the server's process ended", status, false);
    }

    /// The child cannot go on; a closed pipe is usually the beginning of an exit, which tells more.
    async fn failed(&mut self, trouble: Trouble) {
        if matches!(trouble, Trouble::ClosedInput | Trouble::ClosedOutput)
            && let Ok(status) = tokio::time::timeout(MOMENT, self.child.wait()).await
        {
            return self.exited(status.ok()).await;
        }
        self.end(trouble.message(), None, false);
        self.kill();
    }

    /// Asks the child to leave: end of input, SIGTERM, SIGKILL.
    async fn see_out(&mut self) {
        // The writer drops its end of the pipe.
        self.talk.leave();
        for step in [Group::terminate, Group::kill] {
            let gone = async {
                let _ = self.child.wait().await;
                self.group.gone().await;
            };
            if tokio::time::timeout(GRACE, gone).await.is_ok() {
                return;
            }
            step(&self.group);
        }
        self.kill();
    }

    fn kill(&mut self) {
        self.group.kill();
        // Reaches the child where there are no groups; an error means that it is gone.
        let _ = self.child.start_kill();
    }

    fn end(&self, message: &'static str, status: Option<ExitStatus>, asked: bool) {
        // It may have been asked to leave while its exit was awaited.
        let asked = asked || self.talk.closing.is_cancelled();
        let last_words = self.tail.last();
        let status = status.map(|status| status.to_string());
        if !asked {
            let (server, reason) = (&self.talk.name, last_words.as_deref());
            tracing::warn!(%server, status, last_stderr = reason, "{message}");
        }
        // First, so that a caller that is notified of the end and connects again finds it.
        self.backoff.ended(self.started, asked);
        let last_words = if asked { None } else { last_words };
        self.talk.exchanges.end(Ending { message: message.into(), status, last_words });
    }
}
