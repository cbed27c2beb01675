//! The feed of changes: which kind of record changed, and when.
//!
//! A change is told after it is committed. A listener that is slow misses no kind: changes that it has not received yet are told
//! together, so that a feed costs the same however many changes there are. The feed may tell more than changed, never less.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};

use crate::error::Result;

/// The kinds of records whose changes are told. Observed health, the uses of keys and rows of the audit trail are no changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ChangeKind {
    /// Servers: registered, updated or removed.
    Servers,
    /// The capabilities that servers offer.
    Listings,
    /// API keys: made, replaced or revoked.
    Keys,
    /// Credentials for servers.
    Credentials,
    /// Claims of services on resources.
    Claims,
    /// Tenants.
    Tenants,
}

impl ChangeKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Servers, Self::Listings, Self::Keys, Self::Credentials, Self::Claims, Self::Tenants];
}

/// The kinds that a registration changes: it may bring its tenant.
pub(super) const REGISTERED: &[ChangeKind] =
    &[ChangeKind::Servers, ChangeKind::Listings, ChangeKind::Tenants];
/// The kinds that a removal changes: with the server goes all that belongs to it.
pub(super) const REMOVED: &[ChangeKind] =
    &[ChangeKind::Servers, ChangeKind::Listings, ChangeKind::Keys, ChangeKind::Credentials];

/// The kinds that an update of a server changes.
pub(super) const fn updated(declares: bool) -> &'static [ChangeKind] {
    if declares { &[ChangeKind::Servers, ChangeKind::Listings] } else { &[ChangeKind::Servers] }
}

/// The changes since the listener asked last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreChange {
    /// Grows with every change that the feed tells.
    pub revision: u64,
    kinds: u8,
}

impl StoreChange {
    /// Whether records of this kind may have changed.
    pub const fn includes(self, kind: ChangeKind) -> bool {
        self.kinds & 1 << kind as u8 != 0
    }

    /// The kinds of which records may have changed.
    pub fn kinds(self) -> impl Iterator<Item = ChangeKind> {
        ChangeKind::ALL.into_iter().filter(move |kind| self.includes(*kind))
    }
}

/// The revision, and at which revision each kind changed last.
#[derive(Clone, Copy, Debug, Default)]
struct Revisions {
    newest: u64,
    kinds: [u64; ChangeKind::ALL.len()],
    closed: bool,
}

impl Revisions {
    fn since(&self, heard: u64) -> Option<StoreChange> {
        let changed = ChangeKind::ALL.into_iter().filter(|kind| self.kinds[*kind as usize] > heard);
        let kinds = changed.fold(0, |kinds, kind| kinds | 1 << kind as u8);
        (kinds != 0).then_some(StoreChange { revision: self.newest, kinds })
    }
}

/// The sending end of a feed, which a store has. Clones share it.
///
/// ```
/// use mcp_registry_gateway::store::{ChangeFeed, ChangeKind};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mcp_registry_gateway::Result<()> {
/// let feed = ChangeFeed::default();
/// let mut watch = feed.subscribe();
/// feed.tell(&[ChangeKind::Servers]);
/// feed.tell(&[ChangeKind::Keys, ChangeKind::Servers]);
///
/// let change = watch.next().await.unwrap()?;       // both at once
/// assert_eq!(change.revision, 2);
/// assert!(change.kinds().eq([ChangeKind::Servers, ChangeKind::Keys]));
/// feed.close();
/// assert!(watch.next().await.is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct ChangeFeed(watch::Sender<Revisions>);

impl ChangeFeed {
    /// Tells that records of these kinds changed; to be called once the change is committed.
    pub fn tell(&self, kinds: &[ChangeKind]) {
        if kinds.is_empty() {
            return;
        }
        self.0.send_modify(|revisions| {
            revisions.newest += 1;
            for kind in kinds {
                revisions.kinds[*kind as usize] = revisions.newest;
            }
        });
    }

    /// The changes from now on.
    pub fn subscribe(&self) -> StoreWatch {
        let changes = self.0.subscribe();
        let heard = changes.borrow().newest;
        StoreWatch { changes, heard, poll: None }
    }

    /// Ends every watch: the store is closed.
    pub fn close(&self) {
        self.0.send_modify(|revisions| revisions.closed = true);
    }
}

/// Asks the engine for a revision that other processes move, too.
type Ask = Box<dyn Fn() -> BoxFuture<'static, Result<u64>> + Send + Sync>;

struct Poll {
    kind: ChangeKind,
    ticks: Interval,
    ask: Ask,
    /// The answer before; `None` if there was none, or none that counts.
    last: Option<u64>,
    /// Whether the engine did not answer when it was asked last.
    failed: bool,
}

/// The receiving end of a feed.
pub struct StoreWatch {
    changes: watch::Receiver<Revisions>,
    heard: u64,
    poll: Option<Poll>,
}

impl fmt::Debug for StoreWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreWatch").field("heard", &self.heard).finish_non_exhaustive()
    }
}

impl StoreWatch {
    /// The same watch, which besides asks the engine every `period` for a revision: for an engine that does not notify of changes
    /// by other processes. An answer that differs from the one before, and the first, counts as a change of `kind`.
    ///
    /// Must be called within a tokio runtime.
    #[must_use]
    pub fn polling(
        mut self,
        period: Duration,
        kind: ChangeKind,
        ask: impl Fn() -> BoxFuture<'static, Result<u64>> + Send + Sync + 'static,
    ) -> Self {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.poll = Some(Poll { kind, ticks, ask: Box::new(ask), last: None, failed: false });
        self
    }

    /// The changes that were not received yet, waited for where there are none; `None` once the store is closed. No change is
    /// lost if the wait is given up.
    ///
    /// Fails with [`ErrorKind::Storage`](crate::ErrorKind::Storage) when the engine cannot be asked. The first change after that
    /// includes every kind: the changes meanwhile are unknown.
    pub async fn next(&mut self) -> Option<Result<StoreChange>> {
        loop {
            let now = *self.changes.borrow_and_update();
            if now.closed {
                return None;
            }
            if let Some(change) = now.since(self.heard) {
                self.heard = change.revision;
                return Some(Ok(change));
            }
            let asked = match &mut self.poll {
                None => {
                    self.changes.changed().await.ok()?;
                    continue;
                }
                Some(poll) => tokio::select! {
                    biased;
                    told = self.changes.changed() => { told.ok()?; continue }
                    asked = poll.changed() => asked,
                },
            };
            if let Some(kinds) = asked.transpose() {
                return Some(kinds.map(|kinds| StoreChange { revision: self.heard, kinds }));
            }
        }
    }
}

impl Poll {
    /// Asks at the next tick; the kinds that may have changed, if any may.
    async fn changed(&mut self) -> Result<Option<u8>> {
        self.ticks.tick().await;
        let answer = (self.ask)().await;
        let failed = std::mem::replace(&mut self.failed, answer.is_err());
        let before = self.last.replace(answer?);
        Ok(if failed {
            Some(ChangeKind::ALL.into_iter().fold(0, |kinds, kind| kinds | 1 << kind as u8))
        } else {
            (before != self.last).then_some(1 << self.kind as u8)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::FutureExt as _;

    use super::*;
    use crate::error::{Error, ErrorKind};

    const DOWN: u64 = u64::MAX;

    fn polled(feed: &ChangeFeed, engine: &Arc<AtomicU64>) -> StoreWatch {
        let engine = Arc::clone(engine);
        feed.subscribe().polling(Duration::from_millis(250), ChangeKind::Keys, move || {
            let revision = engine.load(Ordering::SeqCst);
            let down = || Err(Error::new(ErrorKind::Storage, "down"));
            std::future::ready(if revision == DOWN { down() } else { Ok(revision) }).boxed()
        })
    }

    #[tokio::test]
    async fn a_listener_hears_of_what_changed_after_it_began_to_listen() {
        let feed = ChangeFeed::default();
        feed.tell(&[ChangeKind::Servers]);
        let mut watch = feed.subscribe();
        assert!(watch.next().now_or_never().is_none());
        feed.tell(&[]);
        assert!(watch.next().now_or_never().is_none());
        feed.tell(&[ChangeKind::Claims]);
        let change = watch.next().await.unwrap().unwrap();
        assert_eq!((change.revision, change.kinds().collect::<Vec<_>>()), (2, vec![ChangeKind::Claims]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_by_another_process_is_found_by_asking_and_an_own_one_is_told() {
        let (feed, engine) = (ChangeFeed::default(), Arc::new(AtomicU64::new(7)));
        let mut watch = polled(&feed, &engine);
        assert!(watch.next().await.unwrap().unwrap().includes(ChangeKind::Keys), "the first answer");
        let second = Duration::from_secs(1);
        assert!(tokio::time::timeout(second, watch.next()).await.is_err(), "the same answer is no change");
        engine.store(8, Ordering::SeqCst);
        let change = tokio::time::timeout(second, watch.next()).await.unwrap().unwrap().unwrap();
        assert!(change.kinds().eq([ChangeKind::Keys]));
        feed.tell(&[ChangeKind::Tenants]);
        assert!(watch.next().now_or_never().unwrap().unwrap().unwrap().includes(ChangeKind::Tenants));
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_engine_was_down_everything_may_have_changed() {
        let (feed, engine) = (ChangeFeed::default(), Arc::new(AtomicU64::new(7)));
        let mut watch = polled(&feed, &engine);
        watch.next().await.unwrap().unwrap();
        engine.store(DOWN, Ordering::SeqCst);
        for _ in 0..3 {
            assert_eq!(watch.next().await.unwrap().unwrap_err().kind(), ErrorKind::Storage);
        }
        engine.store(7, Ordering::SeqCst);
        assert!(watch.next().await.unwrap().unwrap().kinds().eq(ChangeKind::ALL));
    }
}
