//! Threads that each run a scheduler of their own, for work that comes as many independent connections.
//!
//! A scheduler that moves tasks between threads wakes another thread for nearly every message of a proxied call; that cost
//! a quarter of the gateway's CPU. A connection that stays on one thread, with the upstream connections that its calls
//! opened, is woken by that thread's own poll.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

use super::trim_caches;
use crate::error::{Error, ErrorKind, Result};

/// A fixed set of threads. Their tasks are cut when this is dropped, so it outlives everything that was spawned there:
/// connections, and the gateway whose calls came in by them.
#[derive(Debug)]
pub struct Workers {
    handles: Vec<Handle>,
    next: AtomicUsize,
    stop: CancellationToken,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts `count` threads; for 0, as many as this machine runs at once. [`ErrorKind::Internal`] if the system gives none.
    pub fn start(count: usize) -> Result<Self> {
        let refused = |error: std::io::Error| {
            Error::new(ErrorKind::Internal, "the system gives no thread to serve with").caused_by(error)
        };
        let mut workers = Self {
            handles: Vec::new(),
            next: AtomicUsize::new(0),
            stop: CancellationToken::new(),
            threads: Vec::new(),
        };
        let machine = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        for number in 0..if count == 0 { machine() } else { count } {
            let runtime = Builder::new_current_thread().enable_all().build().map_err(refused)?;
            workers.handles.push(runtime.handle().clone());
            let stop = workers.stop.clone();
            let body = move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = trim_caches() => {}
                    }
                });
            };
            let thread = std::thread::Builder::new()
                .name(format!("mcp-worker-{number}"))
                .spawn(body)
                .map_err(refused)?;
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    /// The threads in turn.
    pub fn next(&self) -> &Handle {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        &self.handles[turn % self.handles.len()]
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.cancel();
        for thread in self.threads.drain(..) {
            // A worker that panicked has said so.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_stays_on_the_thread_that_it_was_given_to_and_ends_with_the_workers() {
        let workers = Workers::start(2).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        for _ in 0..4 {
            let sender = sender.clone();
            drop(workers.next().spawn(async move {
                let before = std::thread::current().id();
                tokio::task::yield_now().await;
                sender.send((before, std::thread::current().id())).unwrap();
                std::future::pending::<()>().await;
            }));
        }
        drop(sender);
        let seen: Vec<_> = (0..4).map(|_| receiver.recv().unwrap()).collect();
        assert!(seen.iter().all(|(before, after)| before == after));
        assert_eq!(seen.iter().map(|(thread, _)| thread).collect::<std::collections::HashSet<_>>().len(), 2);
        drop(workers);
        assert!(receiver.recv().is_err(), "nothing holds the sender any more");
    }
}
