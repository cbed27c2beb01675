//! The ways to a server to which each caller shows credentials of its own: one for each caller.
//!
//! Such a way is an upstream of its own, with its own number, sessions and connections. So whatever is kept by upstream is kept
//! by caller, too, and nothing that a server remembers of one caller reaches another. The way that all other servers share is
//! then the gateway's alone: discovery and probes go over it, and a call that would is refused.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Upstream, replaced};
use crate::clock::Tick;
use crate::error::{Error, ErrorKind, Result};

/// Callers of one server at once.
const MOST: usize = 10_000;
/// How long a way stays over which no call goes: longer than most who only listen go on listening.
const IDLE: Duration = Duration::from_secs(12 * 60 * 60);

/// The ways to one server, by caller.
#[derive(Debug, Default)]
pub(crate) struct PerCallerUpstreams(Mutex<HashMap<Arc<str>, PerCallerUpstream>>);

#[derive(Debug)]
struct PerCallerUpstream {
    upstream: Arc<Upstream>,
    used: Tick,
}

impl PerCallerUpstreams {
    /// The way of this caller to the server of `own`, whose callers these are.
    ///
    /// [`ErrorKind::Unavailable`] if the server is not reached so any more, or as many callers use it as may.
    pub(crate) fn way(&self, own: &Upstream, subject: &Arc<str>, now: Tick) -> Result<Arc<Upstream>> {
        let mut ways = self.lock();
        // Looked at under the lock: whoever closes the server's way finds what is entered here.
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

    /// All of them, which are forgotten.
    pub(crate) fn take_all(&self) -> Vec<Arc<Upstream>> {
        self.lock().drain().map(|(_, way)| way.upstream).collect()
    }

    /// Those that nobody has used for long.
    pub(crate) fn expire(&self, now: Tick) -> Vec<Arc<Upstream>> {
        let idle = |way: &mut PerCallerUpstream| now.since(way.used) >= IDLE;
        self.lock().extract_if(|_, way| idle(way)).map(|(_, way)| way.upstream).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, PerCallerUpstream>> {
        // Every change is one insert or remove.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
