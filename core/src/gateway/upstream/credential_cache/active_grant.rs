//! A grant that is in use.

use std::sync::Arc;
#[cfg(feature = "oauth")]
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(feature = "oauth")]
use http::header::HeaderMap;
#[cfg(feature = "oauth")]
use jiff::SignedDuration;
use jiff::Timestamp;

use crate::auth::Grant;
use crate::clock::Clock;
#[cfg(feature = "oauth")]
use crate::tasks::awaited::Awaited;

/// A token that a server refuses at a younger age is not renewed again: another one would be refused, too, or the server refused
/// an older one.
#[cfg(feature = "oauth")]
const YOUNG: SignedDuration = SignedDuration::from_secs(10);

/// A grant, and the state of its renewal.
#[derive(Debug)]
pub(crate) struct ActiveGrant {
    pub(crate) grant: Grant,
    /// The time from which the token is no longer sent.
    until: Option<Timestamp>,
    /// The server no longer accepts the token, whatever its expiry.
    refused: AtomicBool,
    /// The one renewal in progress, for which every request that needs the token waits.
    #[cfg(feature = "oauth")]
    pub(crate) renewing: Mutex<Option<Awaited<Arc<HeaderMap>>>>,
}

impl ActiveGrant {
    pub(super) fn new(grant: Grant) -> Arc<Self> {
        let until = grant.used_until();
        Arc::new(Self {
            grant,
            until,
            refused: AtomicBool::default(),
            #[cfg(feature = "oauth")]
            renewing: Mutex::default(),
        })
    }

    /// Whether the token must no longer be sent.
    pub(super) fn is_over(&self, clock: &dyn Clock) -> bool {
        self.refused.load(Ordering::Acquire) || self.until.is_some_and(|until| clock.timestamp() >= until)
    }

    /// Records that the server refused the token, or the one before it; true if the next token may be accepted.
    #[cfg(feature = "oauth")]
    pub(crate) fn refuse(&self, now: Timestamp) -> bool {
        if self.grant.refresh_token.is_none() {
            return false;
        }
        if now.duration_since(self.grant.issued_at) >= YOUNG {
            self.refused.store(true, Ordering::Release);
        }
        true
    }
}
