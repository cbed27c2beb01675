//! Releases the memory that a thread's allocator keeps for a thread that rests.
//!
//! An allocator with a cache for each thread trims it as the thread allocates. So a thread that falls silent after a flood keeps
//! the most that it ever had, and each piece of that keeps a page from the system.

use std::hint::black_box;
use std::time::Duration;

/// Time between two trimmings.
const PAUSE: Duration = Duration::from_secs(5);
/// jemalloc looks at one of its some forty sizes each time a thread has allocated so many bytes.
const STEP: usize = 64 * 1024;
/// Enough to look at each size six times, each time releasing most of the unused part. Takes less than a millisecond.
const STEPS: usize = 256;

/// Trims the cache of the thread that this runs on, for ever; for a runtime with one thread.
pub async fn trim_caches() {
    loop {
        tokio::time::sleep(PAUSE).await;
        for _ in 0..STEPS {
            drop(black_box(Vec::<u8>::with_capacity(STEP)));
        }
    }
}
