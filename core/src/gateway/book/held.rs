//! A grant that is in use.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use http::header::HeaderMap;
use jiff::{SignedDuration, Timestamp};

use crate::auth::Grant;
use crate::clock::Clock;
use crate::gateway::awaited::Awaited;

/// A token that a server refuses at this age was not renewed in time by somebody else: another one would be refused, too.
const YOUNG: SignedDuration = SignedDuration::from_secs(10);

/// A grant, and what goes on about it.
#[derive(Debug)]
pub(in crate::gateway) struct Held {
    pub(in crate::gateway) grant: Grant,
    /// From when on the token is not shown any more.
    until: Option<Timestamp>,
    /// The server does not take the token any more, whatever its end.
    refused: AtomicBool,
    /// The one renewal under way, for which all wait who need the token.
    pub(in crate::gateway) renewing: Mutex<Option<Awaited<Arc<HeaderMap>>>>,
}

impl Held {
    pub(super) fn new(grant: Grant) -> Arc<Self> {
        let until = grant.used_until();
        Arc::new(Self { grant, until, refused: AtomicBool::default(), renewing: Mutex::default() })
    }

    /// Whether the token is not to be shown any more.
    pub(super) fn is_over(&self, clock: &dyn Clock) -> bool {
        self.refused.load(Ordering::Acquire) || self.until.is_some_and(|until| clock.timestamp() >= until)
    }

    /// Takes note that the server does not take the token; whether another one might be taken.
    #[cfg(feature = "oauth")]
    pub(in crate::gateway) fn refuse(&self, now: Timestamp) -> bool {
        let worth = self.grant.refresh_token.is_some() && now.duration_since(self.grant.issued_at) >= YOUNG;
        if worth {
            self.refused.store(true, Ordering::Release);
        }
        worth
    }
}
