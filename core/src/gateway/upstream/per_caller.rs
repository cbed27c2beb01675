//! The upstreams of a server to which each caller sends credentials of its own: one for each caller.
//!
//! Each upstream has its own number, sessions and connections. So all state that is kept by upstream is kept by caller, too, and
//! no state that a server keeps for one caller reaches another. The upstream that callers of other servers share is then the
//! gateway's alone: discovery and probes go over it, and a call that would is refused.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Upstream, replaced};
use crate::clock::Tick;
use crate::error::{Error, ErrorKind, Result};

/// Callers of one server at once.
const MOST: usize = 10_000;
/// How long an upstream without calls is kept: longer than most clients that only listen go on listening.
const IDLE: Duration = Duration::from_secs(12 * 60 * 60);

/// The upstreams of one server, by caller.
#[derive(Debug, Default)]
pub(crate) struct PerCallerUpstreams(Mutex<HashMap<Arc<str>, PerCallerUpstream>>);

#[derive(Debug)]
struct PerCallerUpstream {
    upstream: Arc<Upstream>,
    used: Tick,
}

impl PerCallerUpstreams {
    /// The upstream of this caller to the server of `own`, to which these callers belong.
    ///
    /// [`ErrorKind::Unavailable`] if `own` was closed, or as many callers use the server as may.
    pub(crate) fn way(&self, own: &Upstream, subject: &Arc<str>, now: Tick) -> Result<Arc<Upstream>> {
        let mut ways = self.lock();
        // Checked under the lock: a close of the server's upstream finds the entry that is made here.
        if own.is_closed() {
            return Err(replaced());
        }
        if let Some(way) = ways.get_mut(subject) {
            way.used = now;
            return Ok(Arc::clone(&way.upstream));
        }
        if ways.len() >= MOST {
            let message = "as many callers use the server with credentials of their own as may at once";
            return Err(Error::new(ErrorKind::Unavailable, message)
                .with("limit", MOST)
                .retry_after(Duration::from_secs(60))
                .not_sent());
        }
        let upstream = own.for_caller(subject)?;
        ways.insert(Arc::clone(subject), PerCallerUpstream { upstream: Arc::clone(&upstream), used: now });
        Ok(upstream)
    }

    pub(crate) fn take(&self, subject: &str) -> Option<Arc<Upstream>> {
        self.lock().remove(subject).map(|way| way.upstream)
    }

    /// Removes and returns all of them.
    pub(crate) fn take_all(&self) -> Vec<Arc<Upstream>> {
        self.lock().drain().map(|(_, way)| way.upstream).collect()
    }

    /// Removes and returns those that were not used for long.
    pub(crate) fn expire(&self, now: Tick) -> Vec<Arc<Upstream>> {
        let idle = |way: &mut PerCallerUpstream| now.since(way.used) >= IDLE;
        self.lock().extract_if(|_, way| idle(way)).map(|(_, way)| way.upstream).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, PerCallerUpstream>> {
        // Every change is one insert or remove.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
