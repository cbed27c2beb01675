//! Whether a call may go on now. So far: how many are under way at once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Call, Principal};

/// Decides whether a call may go on.
pub trait Limiter: Send + Sync + fmt::Debug {
    /// Leave to go on, held until the call has ended, its stream included.
    fn admit(&self, principal: &Principal, call: &Call) -> Result<Admission>;
}

/// Leave to go on; gives its place back when dropped.
#[derive(Debug)]
pub struct Admission {
    under_way: Arc<AtomicUsize>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// At most so many calls at once over the whole gateway.
#[derive(Debug)]
pub struct Concurrency {
    most: usize,
    under_way: Arc<AtomicUsize>,
}

impl Concurrency {
    /// At most `most` calls at once.
    pub fn new(most: usize) -> Self {
        Self { most, under_way: Arc::default() }
    }
}

impl Limiter for Concurrency {
    fn admit(&self, _principal: &Principal, _call: &Call) -> Result<Admission> {
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        let admission = Admission { under_way: Arc::clone(&self.under_way) };
        if before >= self.most {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the gateway has as many calls under way as it may have",
            )
            .with("limit", self.most)
            .retry_after(Duration::from_secs(1))
            .not_sent());
        }
        Ok(admission)
    }
}
