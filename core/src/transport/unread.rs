//! The bytes of large answers that their readers have not taken: so many of one caller, and so many in all.
//!
//! Room for a large answer is taken before it is read from its server, so that a server whose answers nobody reads is read later,
//! and it is released when the last byte was written to the client. An answer is in memory as a whole, so that it counts as a
//! whole until then. Answers up to [`SMALL`] are not counted: a connection holds one at a time.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};
use crate::model::Principal;

/// Answers of up to so many bytes are not counted.
pub const SMALL: usize = 64 * 1024;

/// Bytes are counted in pieces of this size.
const PIECE: usize = 1024;

/// How long an answer that has come in already waits for room.
const WAIT: Duration = Duration::from_secs(1);

/// How long one that has not come in waits once the gateway stops.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// The unread bytes of all callers.
#[derive(Debug)]
pub struct UnreadBytes {
    most: u32,
    most_each: u32,
    all: Arc<Semaphore>,
    each: Mutex<HashMap<Principal, Weak<Semaphore>>>,
    stop: CancellationToken,
}

/// The room that the answers of one call take. The rest of the room is released when this is dropped.
#[derive(Debug)]
pub struct CallRoom {
    /// The largest part that it takes: an answer may be larger than all the room there is.
    most: u32,
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
    stop: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: u32,
    /// Of `held`, that for which an answer is still to come.
    unclaimed: u32,
    /// It waits for room, or gave up the wait.
    starved: bool,
}

/// A call, which knows the room of its caller.
pub trait HasRoom: Send + Sync + fmt::Debug {
    /// The room for its answers; `None` if nobody counts them.
    fn room(&self) -> Option<Arc<CallRoom>>;
}

impl UnreadBytes {
    /// None yet; a caller may leave `most_each` bytes unread, and all together `most`. `stop` is cancelled when the gateway stops.
    pub fn new(most_each: usize, most: usize, stop: CancellationToken) -> Self {
        let (most_each, most) = (pieces(most_each), pieces(most));
        let all = Arc::new(Semaphore::new(most as usize));
        Self { most, most_each, all, each: Mutex::default(), stop }
    }

    /// Room for a call of `principal`: none is taken yet.
    pub fn room(&self, principal: &Principal) -> Arc<CallRoom> {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        let known = each.get(principal).and_then(Weak::upgrade);
        let own = known.unwrap_or_else(|| {
            each.retain(|_, other| other.strong_count() > 0);
            let own = Arc::new(Semaphore::new(self.most_each as usize));
            each.insert(principal.clone(), Arc::downgrade(&own));
            own
        });
        let most = self.most.min(self.most_each);
        let (all, stop) = (Arc::clone(&self.all), self.stop.clone());
        Arc::new(CallRoom { most, own, all, stop, state: Mutex::default() })
    }
}

fn pieces(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(PIECE)).unwrap_or(u32::MAX / 2).min(u32::MAX / 2)
}

impl CallRoom {
    /// Takes room for an answer of `bytes`, as soon as there is.
    ///
    /// [`ErrorKind::Unavailable`] if there is none two seconds after the gateway was told to stop.
    pub async fn reserve(&self, bytes: usize) -> Result<()> {
        let wanted = self.part(bytes);
        self.state().starved = true;
        let taking = async {
            // They are never closed.
            let (own, all) = (self.own.acquire_many(wanted).await, self.all.acquire_many(wanted).await);
            [own, all].into_iter().flatten().for_each(SemaphorePermit::forget);
        };
        let stopped = async {
            self.stop.cancelled().await;
            tokio::time::sleep(LAST_WAIT).await;
        };
        tokio::select! {
            biased;
            () = taking => {}
            () = stopped => return Err(Error::new(ErrorKind::Unavailable, "the gateway stops, and you have not read other answers")),
        }
        let mut state = self.state();
        state.starved = false;
        state.held += wanted;
        state.unclaimed += wanted;
        Ok(())
    }

    /// An answer for which room of `reserved` bytes was taken has only `bytes`.
    pub fn settle(&self, reserved: usize, bytes: usize) {
        let spare = self.part(reserved) - self.part(bytes.min(reserved));
        self.state().unclaimed -= spare;
        self.give_back(spare);
    }

    /// Whether the call waits for its caller to read other answers, or has given up that wait.
    pub fn is_starved(&self) -> bool {
        self.state().starved
    }

    /// The answer `bytes`, counted until the last of it was dropped; `kept` is dropped with it. Room that was taken for it before it
    /// was read counts.
    ///
    /// [`ErrorKind::RateLimited`] if there is none within a second.
    pub async fn hold<K: Send + 'static>(self: &Arc<Self>, bytes: Bytes, kept: K) -> Result<Bytes> {
        let wanted = self.part(bytes.len());
        if !self.claim(wanted) {
            self.make(bytes.len()).await?;
            self.claim(wanted);
        }
        Ok(self.counted(bytes, kept))
    }

    /// Takes room for a body of `bytes` that has come in already, whose pieces [`CallRoom::piece`] counts.
    ///
    /// [`ErrorKind::RateLimited`] if there is none within a second.
    pub async fn make(&self, bytes: usize) -> Result<()> {
        tokio::time::timeout(WAIT, self.reserve(bytes)).await.unwrap_or_else(|_| Err(unread()))
    }

    /// A piece of a body for which room was taken.
    pub fn piece(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        if self.claim(self.part(bytes.len())) { self.counted(bytes, ()) } else { bytes }
    }

    /// As [`CallRoom::hold`], for a message that is waited with for as long as need be.
    pub async fn hold_in_time(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        let wanted = self.part(bytes.len());
        if self.claim(wanted) || (self.reserve(bytes.len()).await.is_ok() && self.claim(wanted)) {
            return self.counted(bytes, ());
        }
        bytes
    }

    fn counted<K: Send + 'static>(self: &Arc<Self>, bytes: Bytes, kept: K) -> Bytes {
        let kept = Mutex::new(kept);
        Bytes::from_owner(Counted {
            part: self.part(bytes.len()),
            room: Arc::clone(self),
            bytes,
            _kept: kept,
        })
    }

    fn claim(&self, wanted: u32) -> bool {
        let mut state = self.state();
        let enough = state.unclaimed >= wanted;
        if enough {
            state.unclaimed -= wanted;
        }
        enough
    }

    fn part(&self, bytes: usize) -> u32 {
        pieces(bytes).min(self.most)
    }

    fn give_back(&self, part: u32) {
        self.state().held -= part;
        self.own.add_permits(part as usize);
        self.all.add_permits(part as usize);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `bytes`, with which `kept` is dropped.
pub fn keeping<K: Send + 'static>(bytes: Bytes, kept: K) -> Bytes {
    struct Keeping<K>(Bytes, Mutex<K>);
    impl<K> AsRef<[u8]> for Keeping<K> {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    Bytes::from_owner(Keeping(bytes, Mutex::new(kept)))
}

/// The error of a call whose answer finds no room.
pub fn unread() -> Error {
    let message = "answers to you that you have not read fill `limits.unread_bytes_per_principal`, or those to all callers \
                   `limits.unread_bytes`; read them, then call again";
    Error::new(ErrorKind::RateLimited, message).retry_after(Duration::from_secs(1))
}

impl Drop for CallRoom {
    fn drop(&mut self) {
        let held = self.state().held;
        self.give_back(held);
    }
}

/// An answer that is counted.
struct Counted<K> {
    bytes: Bytes,
    part: u32,
    room: Arc<CallRoom>,
    /// Locked by nobody: it makes this something that threads may share.
    _kept: Mutex<K>,
}

impl<K> AsRef<[u8]> for Counted<K> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<K> Drop for Counted<K> {
    fn drop(&mut self) {
        self.room.give_back(self.part);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::model::{Role, TenantId};

    const MIB: usize = 1024 * 1024;

    fn who(subject: &str) -> Principal {
        Principal::new(TenantId::default_tenant(), subject, Role::Viewer)
    }

    fn answer() -> Bytes {
        vec![b'x'; MIB].into()
    }

    /// one caller's unread answers leave room for another's, and room comes back with the last byte that is dropped.
    #[tokio::test(start_paused = true)]
    async fn a_caller_that_reads_nothing_is_refused_and_no_other_is() {
        let unread = UnreadBytes::new(2 * MIB, 3 * MIB, CancellationToken::new());
        let (one, other) = (unread.room(&who("a")), unread.room(&who("b")));
        let kept = Arc::new(());
        let first = one.hold(answer(), Arc::clone(&kept)).await.unwrap();
        let part = first.slice(10..20);
        let _second = one.hold(answer(), ()).await.unwrap();
        let refused = one.hold(answer(), ()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::RateLimited);
        assert!(other.hold(answer(), ()).await.is_ok());
        drop(first);
        assert_eq!(Arc::strong_count(&kept), 2, "a part is still there");
        drop(part);
        assert_eq!(Arc::strong_count(&kept), 1);
        assert!(one.hold(answer(), ()).await.is_ok());
    }

    /// a server is read only when there is room for its answer, and what was taken too much is given back.
    #[tokio::test(start_paused = true)]
    async fn room_that_was_taken_before_reading_counts_for_the_answer() {
        let stop = CancellationToken::new();
        let unread = UnreadBytes::new(2 * MIB, 8 * MIB, stop.clone());
        let (first, second) = (unread.room(&who("a")), unread.room(&who("a")));
        // More than there is at all: as much as there is.
        first.reserve(16 * MIB).await.unwrap();
        let mut reserving = Box::pin(second.reserve(MIB));
        assert!(reserving.as_mut().now_or_never().is_none() && second.is_starved());
        first.settle(16 * MIB, MIB);
        let held = first.hold(answer(), ()).await.unwrap();
        reserving.await.unwrap();
        assert!(!second.is_starved());
        drop((first, second));
        let third = unread.room(&who("a"));
        assert!(
            third.reserve(2 * MIB).now_or_never().is_none(),
            "the answer of the first call is still unread"
        );
        drop(held);
        assert!(third.reserve(2 * MIB).now_or_never().is_some());
        // Nobody waits for dead readers when the gateway stops.
        let last = unread.room(&who("a"));
        stop.cancel();
        assert_eq!(last.reserve(MIB).await.unwrap_err().kind(), ErrorKind::Unavailable);
        drop((third, last));
        assert_eq!((unread.all.available_permits(), unread.most), (8 * 1024, 8 * 1024));
    }
}
