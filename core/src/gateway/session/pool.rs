//! Sessions with legacy servers that are kept for modern clients, which have none: one set of sessions for each principal,
//! set of declared capabilities and name that a client gives itself.
//!
//! So a server sees only the capabilities that the request at hand declares, and no state that a server keeps for one
//! principal reaches another. A call that must not share its connection with another call has a set to itself for as long as
//! it lasts; successive calls use the same set.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::client::Client;
use crate::clock::Tick;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Endpoint, Principal};
use crate::rpc::version::LATEST_LEGACY;
use crate::transport::Hello;

/// Sets of sessions that one principal may have. A client that declares the same in every request needs one.
const MOST_EACH: usize = 32;
/// Sets of sessions in all.
const MOST: usize = 10_000;
/// Exclusive sets of one principal, with the same capabilities and name, that calls may hold at once.
const MOST_ALONE: usize = 8;
/// How long a call waits for an exclusive set.
const TURN: Duration = Duration::from_secs(10);
/// How long an unused set of sessions is kept.
const IDLE: Duration = Duration::from_secs(300);

/// The sets of sessions, by principal.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    table: Mutex<PoolTable>,
    /// Notified when a call releases its exclusive set.
    left: Arc<Notify>,
}

#[derive(Debug, Default)]
struct PoolTable {
    open: HashMap<Principal, Vec<Arc<Pooled>>>,
    count: usize,
}

#[derive(Debug)]
struct Pooled {
    client: Arc<Client>,
    borrowed: AtomicUsize,
    /// Present if one call at a time uses it; notified when that call releases it.
    alone: Option<Arc<Notify>>,
}

/// A set of sessions in use; it is kept as long as this value.
#[derive(Debug)]
pub(crate) struct Borrowed(Arc<Pooled>);

impl Deref for Borrowed {
    type Target = Arc<Client>;

    fn deref(&self) -> &Arc<Client> {
        &self.0.client
    }
}

impl Borrowed {
    fn of(pooled: &Arc<Pooled>) -> Self {
        pooled.borrowed.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(pooled))
    }
}

impl Clone for Borrowed {
    fn clone(&self) -> Self {
        Self::of(&self.0)
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if self.0.borrowed.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(left) = &self.0.alone
        {
            left.notify_waiters();
        }
    }
}

impl Pooled {
    fn is_idle(&self) -> bool {
        self.borrowed.load(Ordering::Acquire) == 0
    }
}

impl Pool {
    /// The sessions of a client that declares `capabilities` and calls itself `client_info`, both raw objects; and the
    /// sessions that were displaced by them, which the caller ends.
    ///
    /// [`ErrorKind::RateLimited`] if the principal uses as many sets as it may have at once, [`ErrorKind::Unavailable`] if
    /// there are too many in all.
    pub(crate) fn borrow(
        &self,
        principal: &Principal,
        capabilities: &str,
        client_info: &str,
        now: Tick,
    ) -> Result<(Borrowed, Option<Arc<Client>>)> {
        let kept = self.kept(principal, capabilities, client_info, false, now)?;
        kept.ok_or_else(|| Error::new(ErrorKind::Internal, "a set of sessions for many was one call's"))
    }

    /// As [`Pool::borrow`], with sessions that no other call uses as long as they are held. Waits while calls hold the most
    /// exclusive sets that they may hold at once; [`ErrorKind::Unavailable`] if none is released for ten seconds.
    pub(crate) async fn borrow_alone(
        &self,
        principal: &Principal,
        capabilities: &str,
        client_info: &str,
        now: Tick,
    ) -> Result<(Borrowed, Option<Arc<Client>>)> {
        loop {
            // Created before the check, so that a later release is not missed.
            let mut left = std::pin::pin!(self.left.notified());
            left.as_mut().enable();
            if let Some(kept) = self.kept(principal, capabilities, client_info, true, now)? {
                return Ok(kept);
            }
            if tokio::time::timeout(TURN, left).await.is_err() {
                let message = "too many of your calls that want to hear logs are under way at servers that tell them to one \
                    call at a time";
                return Err(Error::new(ErrorKind::Unavailable, message).with("limit", MOST_ALONE).not_sent());
            }
        }
    }

    /// `None` if the set is to be used `alone`, and all exclusive sets that may exist are in use.
    fn kept(
        &self,
        principal: &Principal,
        capabilities: &str,
        client_info: &str,
        alone: bool,
        now: Tick,
    ) -> Result<Option<(Borrowed, Option<Arc<Client>>)>> {
        let mut table = self.table();
        let count = table.count;
        let own = table.open.entry(principal.clone()).or_default();
        let fits = |pooled: &&Arc<Pooled>| {
            pooled.alone.is_some() == alone
                && pooled.client.hello.capabilities == capabilities
                && pooled.client.hello.client_info == client_info
        };
        if let Some(found) = own.iter().filter(fits).find(|pooled| !alone || pooled.is_idle()) {
            found.client.touch(now);
            return Ok(Some((Borrowed::of(found), None)));
        }
        if alone && own.iter().filter(fits).count() >= MOST_ALONE {
            return Ok(None);
        }
        let left = make_room(own, count)?;
        let hello = Hello {
            version: LATEST_LEGACY.into(),
            capabilities: capabilities.into(),
            client_info: client_info.into(),
        };
        let client = Client::new("".into(), principal.clone(), Endpoint::all(), hello, now);
        let alone = alone.then(|| Arc::clone(&self.left));
        let pooled = Arc::new(Pooled { client, borrowed: AtomicUsize::new(0), alone });
        let borrowed = Borrowed::of(&pooled);
        own.push(pooled);
        table.count += usize::from(left.is_none());
        Ok(Some((borrowed, left)))
    }

    /// All clients for which sessions are kept.
    pub(crate) fn all(&self) -> Vec<Arc<Client>> {
        self.table().open.values().flatten().map(|pooled| Arc::clone(&pooled.client)).collect()
    }

    /// Removes the sets that were not used for a while; the caller ends them.
    pub(crate) fn expire(&self, now: Tick) -> Vec<Arc<Client>> {
        let mut table = self.table();
        let mut expired = Vec::new();
        table.open.retain(|_, own| {
            own.retain(|pooled| {
                let idle = pooled.client.idle_since().is_some_and(|since| now.since(since) >= IDLE);
                let stays = !(pooled.is_idle() && idle);
                if !stays {
                    expired.push(Arc::clone(&pooled.client));
                }
                stays
            });
            !own.is_empty()
        });
        table.count -= expired.len();
        expired
    }

    fn table(&self) -> MutexGuard<'_, PoolTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Admits one more set of sessions of a principal, with `count` sets in all: if the principal has as many as it may have,
/// removes the one that was idle longest, which the caller ends.
fn make_room(own: &mut Vec<Arc<Pooled>>, count: usize) -> Result<Option<Arc<Client>>> {
    if own.len() < MOST_EACH {
        if count < MOST {
            return Ok(None);
        }
        let message = "the gateway has as many sessions with servers as it may have";
        let full = Error::new(ErrorKind::Unavailable, message).with("limit", MOST);
        return Err(full.retry_after(Duration::from_secs(10)));
    }
    let idle = own.iter().enumerate().filter(|(_, pooled)| pooled.is_idle());
    let oldest = idle.min_by_key(|(_, pooled)| pooled.client.idle_since());
    let replica = oldest.map(|(replica, _)| replica).ok_or_else(|| {
        let message = "your requests declare too many different capabilities or names at once";
        Error::new(ErrorKind::RateLimited, message)
            .with("limit", MOST_EACH)
            .retry_after(Duration::from_secs(1))
    })?;
    Ok(Some(Arc::clone(&own.swap_remove(replica).client)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TenantId;

    fn principal(subject: &str) -> Principal {
        Principal { subject: subject.into(), ..Principal::local(TenantId::default_tenant()) }
    }

    /// T-04: pooled sessions are keyed by tenant, principal and declared capabilities; nobody else gets one.
    #[test]
    fn sessions_are_shared_only_by_requests_of_one_principal_that_declare_the_same() {
        let pool = Pool::default();
        let now = Tick::default();
        let borrow =
            |who: &str, capabilities: &str| pool.borrow(&principal(who), capabilities, "{}", now).unwrap().0;
        let (first, again) = (borrow("a", "{}"), borrow("a", "{}"));
        assert!(Arc::ptr_eq(&first, &again));
        assert!(!Arc::ptr_eq(&first, &borrow("b", "{}")));
        assert!(!Arc::ptr_eq(&first, &borrow("a", r#"{"roots":{}}"#)));
        assert_eq!(pool.all().len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_must_be_alone_shares_with_none_and_waits_where_too_many_are() {
        let (pool, who, now) = (Pool::default(), principal("a"), Tick::default());
        let alone = async || pool.borrow_alone(&who, "{}", "{}", now).await.unwrap().0;
        let (shared, first, second) =
            (pool.borrow(&who, "{}", "{}", now).unwrap().0, alone().await, alone().await);
        assert!(!Arc::ptr_eq(&shared, &first) && !Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&shared, &pool.borrow(&who, "{}", "{}", now).unwrap().0));
        let before = Arc::clone(&first);
        drop(first);
        let first = alone().await;
        assert!(Arc::ptr_eq(&before, &first), "calls one after another use the same");
        let mut held = vec![first, second];
        for _ in held.len()..MOST_ALONE {
            held.push(alone().await);
        }
        let mut late = std::pin::pin!(alone());
        assert!(futures_util::poll!(&mut late).is_pending());
        let clone = held[0].clone();
        drop(held.remove(0));
        assert!(futures_util::poll!(&mut late).is_pending(), "a clone of it is in use");
        let refused = pool.borrow_alone(&who, "{}", "{}", now).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        drop(clone);
        let late = late.await;
        assert!(Arc::ptr_eq(&before, &late));
    }

    #[test]
    fn what_is_in_use_stays_and_what_is_not_expires() {
        let pool = Pool::default();
        let (used, _) = pool.borrow(&principal("a"), "{}", "{}", Tick::default()).unwrap();
        drop(pool.borrow(&principal("b"), "{}", "{}", Tick::default()).unwrap());
        let later = Tick::default() + IDLE;
        assert_eq!(pool.expire(later).len(), 1);
        drop(used);
        assert_eq!(pool.expire(later).len(), 1);
        assert!(pool.all().is_empty());
    }

    #[test]
    fn a_principal_with_too_many_sets_loses_one_it_does_not_use_or_is_refused() {
        let pool = Pool::default();
        let borrow = |n: usize| pool.borrow(&principal("a"), &n.to_string(), "{}", Tick::default());
        let mut held: Vec<_> = (0..MOST_EACH).map(|n| borrow(n).unwrap().0).collect();
        assert_eq!(borrow(99).unwrap_err().kind(), ErrorKind::RateLimited);
        assert!(pool.borrow(&principal("b"), "{}", "{}", Tick::default()).is_ok());
        held.pop();
        let (_borrowed, left) = borrow(99).unwrap();
        assert_eq!(left.unwrap().hello.capabilities, (MOST_EACH - 1).to_string());
        assert_eq!(pool.all().len(), MOST_EACH + 1);
    }
}
