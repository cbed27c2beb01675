//! The thread that writes the anchor: one line for all commits that wait, so that many at once cost what one costs.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use tokio::sync::oneshot;

use super::file::AnchorFile;
use super::record::Acknowledged;
use crate::error::{Error, ErrorKind, Result};
use crate::store::signing::SigningKey;
use crate::tasks;

/// Longest time until a line is flushed after the last one.
const FLUSH: Duration = Duration::from_millis(50);
/// Lines between two flushes at most.
const LINES: u32 = 64;
/// Longest wait for a line. A change is committed already, and a database ahead of its anchor is normal.
const WAIT: Duration = Duration::from_secs(2);

enum Job {
    Write(Acknowledged, oneshot::Sender<()>),
    /// Tells when everything before it is on disk.
    Flush(oneshot::Sender<()>),
}

/// The thread's end for those who commit. The thread ends when it is dropped.
pub(super) struct Writer(Sender<Job>);

/// The outcome of a line.
#[must_use = "a change is acknowledged after it is recorded"]
pub(in crate::store) struct Written(Option<oneshot::Receiver<()>>);

impl Writer {
    pub(super) fn start(path: &Path, key: Arc<SigningKey>, known: Acknowledged) -> Result<Self> {
        let (jobs, queue) = mpsc::channel();
        let file = AnchorFile::new(path, key, known);
        tasks::dedicated("mreg-anchor", move || run(file, &queue)).map_err(|error| {
            Error::new(ErrorKind::Internal, "the system gives no thread to record changes with")
                .caused_by(error)
        })?;
        Ok(Self(jobs))
    }

    pub(super) fn write(&self, made: Acknowledged) -> Written {
        let (done, outcome) = oneshot::channel();
        // A thread that is gone has said why.
        Written(self.0.send(Job::Write(made, done)).is_ok().then_some(outcome))
    }

    pub(super) async fn close(&self) {
        let (done, outcome) = oneshot::channel();
        if self.0.send(Job::Flush(done)).is_ok() {
            let _ = tokio::time::timeout(WAIT, outcome).await;
        }
    }
}

impl Written {
    /// That of a store that records nothing.
    pub(super) const fn nothing() -> Self {
        Self(None)
    }

    /// Waits until the line would survive the end of the process.
    pub(in crate::store) async fn done(self) {
        let Some(outcome) = self.0 else { return };
        if tokio::time::timeout(WAIT, outcome).await.is_err() {
            tracing::warn!(
                "a change is committed, and was not recorded beside the database within {} s; check the disk's load",
                WAIT.as_secs()
            );
        }
    }
}

fn run(mut file: AnchorFile, queue: &Receiver<Job>) {
    let mut lines = 0;
    loop {
        let next = if lines == 0 {
            queue.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            queue.recv_timeout(FLUSH)
        };
        match next {
            Ok(first) => {
                lines += 1;
                if write(&mut file, first, queue) || lines >= LINES {
                    flush(&file, &mut lines);
                }
            }
            Err(RecvTimeoutError::Timeout) => flush(&file, &mut lines),
            Err(RecvTimeoutError::Disconnected) => return flush(&file, &mut lines),
        }
    }
}

/// Writes one line for all that wait, and tells them. Says whether it has flushed for one that waits for that.
fn write(file: &mut AnchorFile, first: Job, queue: &Receiver<Job>) -> bool {
    let (mut made, mut waiting, mut closing) = (None::<Acknowledged>, Vec::new(), Vec::new());
    for job in std::iter::once(first).chain(queue.try_iter()) {
        match job {
            Job::Write(one, done) => {
                match &mut made {
                    Some(made) => made.add(one),
                    None => made = Some(one),
                }
                waiting.push(done);
            }
            Job::Flush(done) => closing.push(done),
        }
    }
    if let Some(Err(error)) = made.map(|made| file.append(&made)) {
        tracing::error!(%error, "a change is committed, and could not be recorded beside the database; check the disk");
    }
    for done in waiting {
        // Who waited may have given up.
        let _ = done.send(());
    }
    let flushes = !closing.is_empty();
    if flushes {
        flush(file, &mut 0);
    }
    for done in closing {
        let _ = done.send(());
    }
    flushes
}

fn flush(file: &AnchorFile, lines: &mut u32) {
    *lines = 0;
    if let Err(error) = file.sync() {
        tracing::error!(%error, "the record of what was acknowledged could not be flushed; check the disk");
    }
}
