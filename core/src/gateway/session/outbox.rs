//! The queue of messages for a client that belong to none of its requests, until its stream takes them.
//!
//! There is one queue, whether the client reads slowly or has no stream at all, and it is bounded in bytes: unread messages
//! cost the gateway no more than that. Notifications are lost first, the oldest before the others; a question, which is a
//! request of a server, is delivered or refused, so that no server waits for an answer that cannot come. Of notifications
//! that a list changed, one of each kind is enough, and each kind is sent at most ten times a second.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;

use crate::tasks::Tasks;

/// Messages that wait for a client without a stream.
const KEPT: usize = 64;
/// Messages that a reader of the stream may be behind.
const BEHIND: usize = 1024;
/// Bytes of messages that wait; a single message may be larger.
const MOST_BYTES: usize = 1024 * 1024;
/// The interval between two notifications of list changes.
const PACE: Duration = Duration::from_millis(100);

/// The lists that can change, in the order in which clients are notified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    Tools,
    Resources,
    Prompts,
}

impl List {
    pub(crate) const ALL: [Self; 3] = [Self::Tools, Self::Resources, Self::Prompts];

    /// The notification that the list changed.
    pub(crate) const fn notification(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Tools => br#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#,
            Self::Resources => br#"{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}"#,
            Self::Prompts => br#"{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}"#,
        })
    }
}

/// A client's stream, and the messages that wait for it.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    state: Arc<Mutex<OutboxState>>,
}

#[derive(Debug, Default)]
struct OutboxState {
    waiting: VecDeque<PendingReader>,
    bytes: usize,
    /// Notifications of list changes that were not queued yet, by [`List`].
    changed: [Option<Bytes>; 3],
    /// Whether a task queues the notifications in `changed`.
    pacing: bool,
    /// Counts the streams: only the latest reads.
    stream: u64,
    client: Presence,
    /// Whether a task looks for questions that no stream takes.
    minded: bool,
    /// Whether messages are being lost, so that the loss is logged once.
    losing: bool,
    reader: Option<Waker>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Presence {
    /// It has no stream.
    #[default]
    Away,
    Reading,
    /// Its session was ended.
    Gone,
}

#[derive(Debug)]
struct PendingReader {
    /// The number of the question, if it is one.
    question: Option<u64>,
    /// Whether it already waited at the last check for questions that no stream takes.
    seen: bool,
    message: Bytes,
}

impl Outbox {
    /// Opens the stream; an earlier one ends. Messages that waited come first.
    pub(crate) fn attach(&self) -> Reader {
        let mut state = locked(&self.state);
        state.stream += 1;
        if state.client == Presence::Away {
            state.client = Presence::Reading;
        }
        state.wake();
        state.tell_changes();
        Reader { state: Arc::clone(&self.state), stream: state.stream }
    }

    /// Whether a stream is open.
    pub(crate) fn is_attached(&self) -> bool {
        locked(&self.state).client == Presence::Reading
    }

    /// Ends the stream for good, and forgets the messages that wait.
    pub(crate) fn end(&self) {
        let mut state = locked(&self.state);
        state.client = Presence::Gone;
        state.waiting = VecDeque::new();
        state.changed = Default::default();
        state.wake();
    }

    /// Sends a message, or keeps it until the stream takes it. `question` is its number if it is one; false if it cannot be
    /// delivered, which only matters for a question.
    pub(crate) fn push(&self, message: Bytes, question: Option<u64>) -> bool {
        locked(&self.state).push(message, question)
    }

    /// Withdraws a question that no stream has taken yet; true if there was one.
    pub(crate) fn withdraw(&self, question: u64) -> bool {
        locked(&self.state).withdraw(question)
    }

    /// Whether the caller must look for [`Outbox::untaken`] questions from now on: one task does.
    pub(crate) fn begin_to_mind(&self) -> bool {
        !std::mem::replace(&mut locked(&self.state).minded, true)
    }

    /// Withdraws the questions that already waited at the last call; `None`, and the task that calls this is done, if none waits.
    pub(crate) fn untaken(&self) -> Option<Vec<u64>> {
        let mut state = locked(&self.state);
        let stale = |waiting: &PendingReader| waiting.question.filter(|_| waiting.seen);
        let untaken: Vec<u64> = state.waiting.iter().filter_map(stale).collect();
        for number in &untaken {
            state.withdraw(*number);
        }
        let mut left = false;
        for waiting in state.waiting.iter_mut().filter(|waiting| waiting.question.is_some()) {
            (waiting.seen, left) = (true, true);
        }
        state.minded = left || !untaken.is_empty();
        state.minded.then_some(untaken)
    }

    /// Notifies the client that a list changed: at once, or with the other changes of the next tenth of a second. A client
    /// without a stream is notified when it opens one.
    pub(crate) fn announce(&self, list: List, message: Bytes, tasks: &Tasks) {
        let mut state = locked(&self.state);
        if state.client == Presence::Gone {
            return;
        }
        state.changed[list as usize] = Some(message);
        if state.client == Presence::Away || std::mem::replace(&mut state.pacing, true) {
            return;
        }
        drop(state);
        let state = Arc::clone(&self.state);
        tasks.spawn(async move {
            while locked(&state).tell_changes() {
                tokio::time::sleep(PACE).await;
            }
        });
    }
}

impl OutboxState {
    fn push(&mut self, message: Bytes, question: Option<u64>) -> bool {
        if self.client == Presence::Gone || !self.make_room(message.len()) {
            return false;
        }
        self.bytes += message.len();
        self.waiting.push_back(PendingReader { question, seen: false, message });
        self.wake();
        true
    }

    /// Queues the notifications in `changed`; true if there were any, and the next change has to wait.
    fn tell_changes(&mut self) -> bool {
        let reads = self.client == Presence::Reading;
        let changed = if reads { std::mem::take(&mut self.changed) } else { Default::default() };
        let mut told = false;
        for message in changed.into_iter().flatten() {
            told = true;
            self.push(message, None);
        }
        self.pacing &= told;
        told
    }

    /// Drops notifications, the oldest first, until `more` bytes fit; false, and none is dropped, if questions leave too
    /// little space.
    fn make_room(&mut self, more: usize) -> bool {
        let most = if self.client == Presence::Reading { BEHIND } else { KEPT };
        let fits = |count: usize, bytes: usize| count < most && (count == 0 || bytes + more <= MOST_BYTES);
        if fits(self.waiting.len(), self.bytes) {
            return true;
        }
        let questions = || self.waiting.iter().filter(|waiting| waiting.question.is_some());
        if !fits(questions().count(), questions().map(|waiting| waiting.message.len()).sum()) {
            self.say_that_some_are_lost();
            return false;
        }
        self.say_that_some_are_lost();
        let mut at = 0;
        while at < self.waiting.len() && !fits(self.waiting.len(), self.bytes) {
            if self.waiting[at].question.is_some() {
                at += 1;
            } else {
                self.take(at);
            }
        }
        true
    }

    fn withdraw(&mut self, question: u64) -> bool {
        let at = self.waiting.iter().position(|waiting| waiting.question == Some(question));
        at.and_then(|at| self.take(at)).is_some()
    }

    fn say_that_some_are_lost(&mut self) {
        if !std::mem::replace(&mut self.losing, true) {
            tracing::warn!("a client does not read its stream, or too slowly; messages to it are lost");
        }
    }

    fn take(&mut self, at: usize) -> Option<Bytes> {
        let taken = self.waiting.remove(at)?;
        self.bytes -= taken.message.len();
        if self.waiting.is_empty() {
            self.losing = false;
            // Memory that a burst allocated is freed when the burst is read.
            if self.waiting.capacity() > KEPT {
                self.waiting = VecDeque::new();
            }
        }
        Some(taken.message)
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// The stream. Dropping it detaches the client.
#[derive(Debug)]
pub(crate) struct Reader {
    state: Arc<Mutex<OutboxState>>,
    stream: u64,
}

impl Stream for Reader {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut state = locked(&self.state);
        if state.client == Presence::Gone || state.stream != self.stream {
            return Poll::Ready(None);
        }
        if let Some(message) = state.take(0) {
            return Poll::Ready(Some(message));
        }
        state.reader = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = locked(&self.state);
        if state.stream == self.stream && state.client == Presence::Reading {
            (state.client, state.reader) = (Presence::Away, None);
        }
    }
}

fn locked(state: &Mutex<OutboxState>) -> MutexGuard<'_, OutboxState> {
    // A panic elsewhere cannot leave a state half changed: nothing in here panics between two changes that belong together.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _};

    use super::*;

    fn text(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    fn large(fill: u8, size: usize) -> Bytes {
        vec![fill; size].into()
    }

    /// The messages that the stream has now.
    fn read(reader: &mut Reader) -> Vec<Bytes> {
        std::iter::from_fn(|| reader.next().now_or_never().flatten()).collect()
    }

    #[tokio::test]
    async fn what_waited_comes_first_and_a_new_stream_ends_the_old_one() {
        let outbox = Outbox::default();
        outbox.push(text("1"), None);
        let mut first = outbox.attach();
        outbox.push(text("2"), None);
        assert_eq!(read(&mut first), ["1", "2"]);
        let mut second = outbox.attach();
        assert!(first.next().await.is_none());
        drop(first);
        assert!(outbox.is_attached(), "the old stream's end is not the new one's");
        outbox.push(text("3"), None);
        assert_eq!(second.next().await.unwrap(), "3");
        drop(second);
        assert!(!outbox.is_attached());
        outbox.push(text("4"), None);
        assert_eq!(outbox.attach().next().await.unwrap(), "4");
        outbox.end();
        assert!(outbox.attach().next().await.is_none() && !outbox.is_attached());
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken_by_a_message_and_by_the_end() {
        let outbox = Outbox::default();
        let mut reader = outbox.attach();
        let (next, _) = tokio::join!(reader.next(), async { outbox.push(text("1"), None) });
        assert_eq!(next.unwrap(), "1");
        let (next, ()) = tokio::join!(reader.next(), async { outbox.end() });
        assert!(next.is_none());
    }

    #[test]
    fn what_waits_is_bounded_in_bytes_and_the_oldest_notifications_go_first() {
        let outbox = Outbox::default();
        let third = MOST_BYTES / 3;
        assert!(outbox.push(large(b'q', third), Some(1)));
        for fill in [b'a', b'b', b'c'] {
            assert!(outbox.push(large(fill, third), None));
        }
        let mut reader = outbox.attach();
        let kept: Vec<u8> = read(&mut reader).iter().map(|message| message[0]).collect();
        assert_eq!(kept, *b"qbc");
        // The same limit holds for a reader that is behind, and a single message may be larger than the limit.
        for fill in [b'd', b'e'] {
            assert!(outbox.push(large(fill, MOST_BYTES), None));
        }
        assert_eq!(read(&mut reader).iter().map(|message| message[0]).collect::<Vec<_>>(), *b"e");
        for fill in [b'f', b'g'] {
            assert!(outbox.push(large(fill, 2 * MOST_BYTES), None));
        }
        assert_eq!(read(&mut reader).iter().map(|message| message[0]).collect::<Vec<_>>(), *b"g");
    }

    #[test]
    fn a_question_is_refused_only_when_questions_leave_no_room_and_costs_no_notification_then() {
        let outbox = Outbox::default();
        for number in 1..KEPT {
            assert!(outbox.push(text("?"), Some(number as u64)));
        }
        assert!(outbox.push(text("n"), None));
        let last = KEPT as u64;
        assert!(outbox.push(text("!"), Some(last)), "it takes the place of the notification");
        assert!(!outbox.push(text("?"), Some(last + 1)));
        assert!(outbox.withdraw(last) && !outbox.withdraw(last));
        let read = read(&mut outbox.attach());
        assert_eq!((read.len(), read.iter().all(|message| message == "?")), (KEPT - 1, true));
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_changes_a_second_are_told_ten_times_in_a_fixed_order() {
        let (outbox, tasks) = (Outbox::default(), Tasks::default());
        let mut reader = outbox.attach();
        for n in 0..10_000 {
            outbox.announce(List::ALL[(n + 1) % 2], text(["t", "r"][(n + 1) % 2]), &tasks);
            if n % 10 == 9 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        let told = read(&mut reader);
        assert!((10..=22).contains(&told.len()), "{}", told.len());
        assert_eq!(told[..4], ["t", "r", "t", "r"], "tools first, although resources changed first");
        tokio::time::sleep(PACE).await;
        assert!(read(&mut reader).len() <= 2, "the last change is not lost");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_without_a_stream_hears_of_changes_once_when_it_opens_one() {
        let (outbox, tasks) = (Outbox::default(), Tasks::default());
        for _ in 0..3 {
            outbox.announce(List::Prompts, text("p"), &tasks);
            outbox.announce(List::Tools, text("t"), &tasks);
        }
        let mut reader = outbox.attach();
        assert_eq!(read(&mut reader), ["t", "p"]);
        outbox.announce(List::Tools, text("t"), &tasks);
        tokio::task::yield_now().await;
        assert_eq!(read(&mut reader), ["t"]);
    }
}
