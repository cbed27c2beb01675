//! The messages on the streams of one client's calls, kept so that a broken stream can be resumed.
//!
//! Legacy revisions since 2025-03-26 let a server give its events ids, and let a client request the events after the last one
//! that it saw with `Last-Event-ID`. An id here is `stream-number`: it is looked up in the client's own session, so an id of
//! another client is as unknown as one that never existed.
//!
//! Invariants: the messages of a stream are numbered without gaps, and only the oldest are ever dropped; the kept messages are
//! bounded for each stream in number and bytes, for each session in streams, and in time once the stream's call has ended.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;

use crate::clock::Tick;
use crate::model::Numbering;

/// Messages that a reader may be behind before the server is slowed down.
const BEHIND: u64 = 32;
/// Messages that are kept of one stream: of those that were already handed out, and of those that have no reader.
const KEPT: usize = 256;
/// Bytes that are kept of one stream; a single message that nobody has read yet may be larger.
const KEPT_BYTES: usize = 128 * 1024;
/// Ended streams that are kept for one session, and their bytes; a single stream may be larger.
const ENDED: usize = 16;
const ENDED_BYTES: usize = 1024 * 1024;
/// How long a stream is kept once its call has ended.
const ENDED_FOR: Duration = Duration::from_secs(60);

/// The streams of one client's calls, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Replays(Mutex<StreamTable>);

#[derive(Debug, Default)]
struct StreamTable {
    streams: VecDeque<Arc<ReplayStream>>,
    last: u64,
    over: bool,
}

/// One stream: its messages and its reader.
#[derive(Debug)]
pub(crate) struct ReplayStream {
    number: u64,
    /// The client understands an event without data, and that a stream may end before its call.
    polls: bool,
    state: Mutex<StreamState>,
}

#[derive(Debug, Default)]
struct StreamState {
    /// The number of the first message that is kept.
    first: u64,
    kept: VecDeque<Bytes>,
    bytes: usize,
    /// The number of the message that the reader gets next.
    next: u64,
    /// Counts the readers; only the latest reads.
    reader: u64,
    attached: bool,
    /// The reader must leave once it has all messages so far.
    pausing: bool,
    ended: Option<Tick>,
    /// The session is over.
    over: bool,
    to_read: Option<Waker>,
    to_write: Option<Waker>,
}

impl Replays {
    /// A new stream. `polls`: whether its client uses a revision in which a stream may end before its call.
    pub(crate) fn begin(&self, polls: bool) -> Arc<ReplayStream> {
        let mut table = self.locked();
        table.last += 1;
        let state = Mutex::new(StreamState { over: table.over, ..StreamState::default() });
        let strand = Arc::new(ReplayStream { number: table.last, polls, state });
        table.streams.push_back(Arc::clone(&strand));
        strand
    }

    /// The messages after the event of this id, past and future; `None` if this client was given no such id, or if messages
    /// after it were dropped.
    pub(crate) fn resume(&self, id: &str) -> Option<(Reader, Numbering)> {
        let (stream, number) = id.split_once('-')?;
        let (stream, number) = (stream.parse::<u64>().ok()?, number.parse::<u64>().ok()?);
        let strand = self.locked().streams.iter().find(|strand| strand.number == stream).cloned()?;
        strand.attach(number)
    }

    /// Drops the streams that are past their time.
    pub(crate) fn sweep(&self, now: Tick) {
        let mut table = self.locked();
        let late = |strand: &Arc<ReplayStream>| {
            strand.locked().ended.is_some_and(|ended| now.since(ended) >= ENDED_FOR)
        };
        table.streams.retain(|strand| !late(strand));
        if table.streams.is_empty() {
            table.streams = VecDeque::new();
        }
    }

    /// Ends all streams for good and forgets them.
    pub(crate) fn end(&self) {
        let streams = {
            let mut table = self.locked();
            table.over = true;
            std::mem::take(&mut table.streams)
        };
        for strand in streams {
            let mut state = strand.locked();
            *state = StreamState {
                over: true,
                to_read: state.to_read.take(),
                to_write: state.to_write.take(),
                ..StreamState::default()
            };
            state.wake();
        }
    }

    /// Notes that the call of `strand` has ended: the stream is kept for a while, and older ones are dropped for it.
    pub(crate) fn retire(&self, strand: &ReplayStream, last: Bytes, now: Tick) {
        let mut table = self.locked();
        {
            let mut state = strand.locked();
            state.push(last);
            state.ended = Some(now);
            state.wake();
        }
        let size = |strand: &Arc<ReplayStream>| {
            let state = strand.locked();
            state.ended.map(|_| state.bytes)
        };
        let (mut count, mut bytes) = (0, 0);
        for ended in table.streams.iter().filter_map(size) {
            (count, bytes) = (count + 1, bytes + ended);
        }
        table.streams.retain(|strand| {
            let Some(size) = size(strand).filter(|_| count > ENDED || (count > 1 && bytes > ENDED_BYTES))
            else {
                return true;
            };
            (count, bytes) = (count - 1, bytes - size);
            false
        });
    }

    fn locked(&self) -> MutexGuard<'_, StreamTable> {
        // A panic elsewhere cannot leave the table half changed: every change is one insert or remove.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReplayStream {
    /// Adds a message, once the reader is not too far behind. Without a reader it is kept, and the oldest are dropped.
    pub(crate) async fn push(&self, message: Bytes) {
        let mut message = Some(message);
        poll_fn(|context| {
            let mut state = self.locked();
            let end = state.end();
            if state.attached && end.saturating_sub(state.next) >= BEHIND {
                state.to_write = Some(context.waker().clone());
                return Poll::Pending;
            }
            if let Some(message) = message.take() {
                state.push(message);
                state.wake();
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Whether the stream has a reader.
    pub(crate) fn is_attached(&self) -> bool {
        self.locked().attached
    }

    /// Ends the connection but not the stream: the server has ended its own connection and wants to be asked for the rest. A
    /// client of a revision without this feature is not affected.
    pub(crate) fn pause(&self) {
        let mut state = self.locked();
        if self.polls && state.attached {
            state.pausing = true;
            state.wake();
        }
    }

    /// Begins to read after the message `number`; an earlier reader leaves. `None` if messages after it were dropped, or if
    /// there never was such a message.
    pub(crate) fn attach(self: &Arc<Self>, number: u64) -> Option<(Reader, Numbering)> {
        let mut state = self.locked();
        if state.over || number < state.first || number > state.end() {
            return None;
        }
        state.next = number;
        state.reader += 1;
        (state.attached, state.pausing) = (true, false);
        state.wake();
        let reader = Reader { strand: Arc::clone(self), number: state.reader };
        let numbering = Numbering { stream: self.number, last: number, polls: self.polls };
        Some((reader, numbering))
    }

    fn locked(&self) -> MutexGuard<'_, StreamState> {
        // Nothing in here panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StreamState {
    /// The number after that of the last message.
    fn end(&self) -> u64 {
        self.first + self.kept.len() as u64
    }

    fn push(&mut self, message: Bytes) {
        if self.over {
            return;
        }
        self.bytes += message.len();
        self.kept.push_back(message);
        self.trim();
    }

    /// Drops the oldest messages: of those that were handed out, and of those that have no reader; but never the last unread one.
    fn trim(&mut self) {
        while self.kept.len() > KEPT || self.bytes > KEPT_BYTES {
            let read = self.first < self.next;
            if !read && (self.attached || self.kept.len() == 1) {
                return;
            }
            let Some(oldest) = self.kept.pop_front() else { return };
            self.bytes -= oldest.len();
            self.first += 1;
        }
    }

    fn wake(&mut self) {
        for waker in [self.to_read.take(), self.to_write.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

/// The reader of a stream. Once it is dropped, the stream can be resumed.
#[derive(Debug)]
pub(crate) struct Reader {
    strand: Arc<ReplayStream>,
    number: u64,
}

impl Stream for Reader {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut state = self.strand.locked();
        if state.over || state.reader != self.number {
            return Poll::Ready(None);
        }
        let at = usize::try_from(state.next.saturating_sub(state.first)).unwrap_or(usize::MAX);
        if let Some(message) = state.kept.get(at).cloned() {
            state.next += 1;
            state.trim();
            if let Some(writer) = state.to_write.take() {
                writer.wake();
            }
            return Poll::Ready(Some(message));
        }
        if state.ended.is_some() || state.pausing {
            return Poll::Ready(None);
        }
        state.to_read = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.strand.locked();
        if state.reader == self.number {
            (state.attached, state.to_read) = (false, None);
            state.trim();
            state.wake();
        }
    }
}

#[cfg(test)]
mod tests;
