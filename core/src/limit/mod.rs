//! Whether a caller may go on now: not too often, and not too many at once.
//!
//! How often: a sliding window for each principal, its tenant and the gateway (`cluster/counters/window.rs` has the rule and why it never lets
//! more than the limit through), counted where [`Counters`] says: in this process, until replicas share a count. How many at
//! once: permits that no tenant can take from the others (`concurrency.rs`). A process of this machine, while no authentication
//! is configured, has no rate, and for that costs no lock.
//!
//! The memory in use is bounded by the number of callers within the last minutes.

mod bans;
mod concurrency;
mod settings;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;

pub use self::settings::Settings;
pub use crate::cluster::counters::{Counted, Counters, Key, LENGTH, MemoryCounters, Verdict, Want};

use self::bans::Bans;
use self::concurrency::{ConcurrencyPermit, Places, SlotGrant};
use crate::clock::{Clock, Tick};
use crate::cluster::counters::shards::Shards;
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::model::{Principal, TenantId};

/// How long a tenant's largest limit is remembered after its last call.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// Decides whether a caller may go on.
pub struct Limiter {
    settings: Settings,
    clock: Arc<dyn Clock>,
    counters: Arc<dyn Counters>,
    places: Arc<Places>,
    /// The largest limit among the callers of a tenant.
    largest: Shards<TenantId, (u32, Tick)>,
    bans: Bans,
    refused: AtomicU64,
    crowded: AtomicU64,
}

/// The rest of a caller's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Requests a minute.
    pub limit: u32,
    /// How many of them are left now.
    pub remaining: u32,
    /// Until all of them are there again.
    pub reset: Duration,
}

/// Leave to go on; releases its permit when dropped.
#[derive(Debug)]
pub struct Admission {
    quota: Option<Quota>,
    _place: ConcurrencyPermit,
}

/// Leave to go on, or somebody to wait for first.
pub enum Leave<'a> {
    /// Decided.
    Now(Result<Admission>),
    /// Decided when this ends.
    Later(BoxFuture<'a, Result<Admission>>),
}

impl Leave<'_> {
    /// The decision, waited for where it must be.
    pub async fn get(self) -> Result<Admission> {
        match self {
            Self::Now(decision) => decision,
            Self::Later(decision) => decision.await,
        }
    }
}

impl fmt::Debug for Leave<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(decision) => f.debug_tuple("Now").field(decision).finish(),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

impl Admission {
    /// The rest of the caller's window; `None` if no rate is set for it.
    pub const fn quota(&self) -> Option<Quota> {
        self.quota
    }
}

/// The counts of the limits since this process started, and their present state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct LimitStats {
    /// Calls under way.
    pub calls: u64,
    /// Calls that may be under way.
    pub max_calls: u64,
    /// Calls that wait for a permit.
    pub waiting: u64,
    /// Requests refused because there were too many within a minute.
    pub rate_refusals: u64,
    /// Requests refused because there were too many at once.
    pub crowd_refusals: u64,
    /// Callers that were banned.
    pub bans: u64,
    /// Windows that are counted in: callers and tenants of the last minutes.
    pub windows: u64,
}

impl Limiter {
    /// Limits that are counted in this process.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Self {
        let counters = Arc::new(MemoryCounters::new(Arc::clone(&clock)));
        Self::counted_by(counters, settings, clock)
    }

    /// Limits that are counted elsewhere.
    pub fn counted_by(counters: Arc<dyn Counters>, settings: Settings, clock: Arc<dyn Clock>) -> Self {
        Self {
            places: Places::new(&settings),
            settings,
            clock,
            counters,
            largest: Shards::new(),
            bans: Bans::default(),
            refused: AtomicU64::new(0),
            crowded: AtomicU64::new(0),
        }
    }

    /// Leave to go on, held until the call has ended, its stream included. A call of a tenant may wait for its permit for as long
    /// as `limits.wait_seconds`.
    ///
    /// Errors: [`ErrorKind::RateLimited`] with the time after which the same call can succeed, [`ErrorKind::Unavailable`] if the
    /// gateway has no permit left.
    pub fn admit<'a>(&'a self, principal: &'a Principal) -> Leave<'a> {
        if principal.is_local() {
            let place = self.places.enter_local();
            return Leave::Now(self.admission(place, None));
        }
        if let Some(left) = self.bans.left(&who(principal), self.clock.now()) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Leave::Now(Err(banned(left)));
        }
        let limit = self.limit_of(principal);
        let (tenant, subject) = who(principal)();
        let wanted = [
            Want { key: Key::Principal(tenant.clone(), subject), limit },
            Want { key: Key::Tenant(tenant), limit: self.tenant_limit(&principal.tenant, limit) },
            Want { key: Key::Gateway, limit: self.settings.gateway },
        ];
        let many = if self.settings.gateway == 0 { 2 } else { 3 };
        match self.counters.take(&wanted[..many]) {
            Verdict::Now(Counted::Taken { remaining, reset }) => {
                self.enter(principal, Quota { limit, remaining, reset })
            }
            Verdict::Now(Counted::Refused { window, wait }) => {
                Leave::Later(Box::pin(
                    async move { Err(self.refuse(principal, &wanted, window, wait).await) },
                ))
            }
            Verdict::Later(counted) => Leave::Later(Box::pin(async move {
                match counted.await {
                    Counted::Taken { remaining, reset } => {
                        self.enter(principal, Quota { limit, remaining, reset }).get().await
                    }
                    Counted::Refused { window, wait } => {
                        Err(self.refuse(principal, &wanted, window, wait).await)
                    }
                }
            })),
        }
    }

    /// The requests that were refused, and the calls under way.
    pub fn stats(&self) -> LimitStats {
        let (calls, waiting) = self.places.count();
        LimitStats {
            calls: calls as u64,
            max_calls: self.settings.max_calls as u64,
            waiting: waiting as u64,
            rate_refusals: self.refused.load(Ordering::Relaxed),
            crowd_refusals: self.crowded.load(Ordering::Relaxed),
            bans: self.bans.total(),
            windows: self.counters.len() as u64,
        }
    }

    fn enter(&self, principal: &Principal, quota: Quota) -> Leave<'_> {
        match self.places.enter(&principal.tenant) {
            Ok(SlotGrant::Now(place)) => Leave::Now(self.admission(Ok(place), Some(quota))),
            Ok(SlotGrant::Later(turn)) => {
                Leave::Later(Box::pin(async move { self.admission(turn.place().await, Some(quota)) }))
            }
            Err(error) => Leave::Now(self.admission(Err(error), None)),
        }
    }

    fn admission(&self, place: Result<ConcurrencyPermit>, quota: Option<Quota>) -> Result<Admission> {
        match place {
            Ok(place) => Ok(Admission { quota, _place: place }),
            Err(error) => {
                self.crowded.fetch_add(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    async fn refuse(&self, principal: &Principal, wanted: &[Want], window: usize, wait: Duration) -> Error {
        self.refused.fetch_add(1, Ordering::Relaxed);
        if window == 0 && self.is_flood(who(principal)()).await {
            self.bans.ban(who(principal)(), self.clock.now(), self.settings.ban);
            let subject = &*principal.subject;
            tracing::warn!(tenant = %principal.tenant, subject, "banned for a flood of requests");
            return banned(self.settings.ban);
        }
        refusal(wanted, window, wait)
    }

    /// Counts a refusal; whether there were too many of them.
    async fn is_flood(&self, (tenant, subject): (TenantId, Arc<str>)) -> bool {
        let limit = self.settings.ban_after;
        let refusals = [Want { key: Key::Refused(tenant, subject), limit }];
        limit > 0 && matches!(self.counters.take(&refusals).get().await, Counted::Refused { .. })
    }

    fn limit_of(&self, principal: &Principal) -> u32 {
        principal.requests_per_minute().unwrap_or_else(|| self.settings.of_role(principal.role))
    }

    fn tenant_limit(&self, tenant: &TenantId, own: u32) -> u32 {
        let now = self.clock.now();
        let is_idle = |(_, last): &mut (u32, Tick)| now.since(*last) > REMEMBERED;
        let largest = self.largest.with(
            tenant,
            now,
            || (own, now),
            is_idle,
            |(largest, last)| {
                *last = now;
                *largest = own.max(*largest);
                *largest
            },
        );
        largest.saturating_mul(self.settings.tenant_factor)
    }
}

fn who(principal: &Principal) -> impl Fn() -> (TenantId, Arc<str>) + '_ {
    || (principal.tenant.clone(), Arc::clone(&principal.subject))
}

/// Of the gateway's own limit only the time to wait is told: the activity of others is not the caller's business.
fn refusal(wanted: &[Want], window: usize, wait: Duration) -> Error {
    let (message, shown) = match wanted.get(window).map(|want| &want.key) {
        Some(Key::Principal(..)) => ("too many requests within a minute; send them more slowly", true),
        Some(Key::Tenant(_)) => {
            ("too many requests of this tenant within a minute; send them more slowly", true)
        }
        _ => ("the gateway has more requests than it may take within a minute; try again later", false),
    };
    let error = Error::new(ErrorKind::RateLimited, message).retry_after(wait).not_sent();
    match wanted.get(window).filter(|_| shown) {
        Some(want) => error.because(Cause::RateLimit(want.limit)).with("requests_per_minute", want.limit),
        None => error,
    }
}

fn banned(left: Duration) -> Error {
    Error::new(
        ErrorKind::RateLimited,
        "this caller went on after many refusals for too many requests, and is banned for a while",
    )
    .with("banned_seconds", left.as_millis().div_ceil(1000))
    .retry_after(left)
    .not_sent()
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
