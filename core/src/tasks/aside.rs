//! Work that may wait for a disk, on threads that no shutdown waits for.
//!
//! The threads of a runtime's own pool for such work would do, but a runtime that ends waits for them: one read of a disk that is
//! gone would hold up the end of the program.

use tokio::sync::{Semaphore, oneshot};

/// Threads at once, of all gateways of the process; further work waits for one.
const MOST: usize = 16;

static FREE: Semaphore = Semaphore::const_new(MOST);

/// Runs `work` on a thread of its own; `None` if there cannot be one, or the work panicked. A caller that stops waiting stops
/// nothing, and neither does the end of the gateway.
pub async fn aside<T, F>(work: F) -> Option<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let permit = FREE.acquire().await.ok()?;
    let (done, outcome) = oneshot::channel();
    let run = move || {
        // The waiter may have gone.
        drop(done.send(work()));
        drop(permit);
    };
    std::thread::Builder::new().name("mcp-gateway-files".to_owned()).spawn(run).ok()?;
    outcome.await.ok()
}
