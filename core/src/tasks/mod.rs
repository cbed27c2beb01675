//! The only place that spawns: every background task has a token that stops it, and is awaited on shutdown.

pub(crate) mod awaited;
mod aside;
#[cfg(feature = "sqlite")]
mod dedicated;
mod inline;
mod cache_trim;
mod workers;

use std::future::Future;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use aside::aside;
pub use cache_trim::trim_caches;
#[cfg(feature = "sqlite")]
pub(crate) use dedicated::dedicated;
pub use inline::InlineTask;
pub use workers::Workers;

/// The background tasks of one gateway. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    token: CancellationToken,
}

impl Tasks {
    /// Runs `work` until it ends or [`Tasks::stop`] is called.
    ///
    /// Must be called within a tokio runtime.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn<F>(&self, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // A token of its own: looking at the shared one at every poll would make the threads wait for each other.
        let token = self.token.child_token();
        drop(tokio::spawn(self.tracker.track_future(async move {
            tokio::select! {
                biased;
                () = token.cancelled() => {}
                () = work => {}
            }
        })));
    }

    /// Runs `work` like [`Tasks::spawn`], on the runtime of `handle`.
    pub fn spawn_on<F>(&self, handle: &Handle, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let _entered = handle.enter();
        self.spawn(work);
    }

    /// Runs `work` to its end, also past [`Tasks::stop`]: for work that must not be cut, such as reaping a child.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn_to_end<F>(&self, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        drop(tokio::spawn(self.tracker.track_future(work)));
    }

    /// Drops `much` on a thread that ends soon after. A thread's allocator keeps some of the memory that it frees, and each such
    /// piece keeps a page of memory; it releases all of it when the thread ends.
    pub fn drop_aside<T: Send + 'static>(&self, much: T) {
        drop(self.tracker.spawn_blocking(move || drop(much)));
    }

    /// The token that is cancelled when the gateway stops.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Waits until every task has ended by itself.
    pub async fn finish(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Cancels every task and waits until all have ended.
    pub async fn stop(&self) {
        self.token.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
