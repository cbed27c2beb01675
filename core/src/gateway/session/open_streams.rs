//! The streams that callers hold open, of every kind: event streams, subscriptions, the streams of sessions, exports. One that
//! opens many leaves room for the others, and each ends at once when its caller may hold nothing open any more.
//!
//! A caller has so many; a tenant may have as many as are free (the rule of `limit/concurrency.rs`), so that there is always one
//! for another tenant. This machine's operator stands outside of both.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slab::Slab;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Principal, TenantId};

/// Streams at most over all callers: each has a connection.
pub(crate) const MOST: usize = 10_000;

/// All open streams. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct OpenStreams(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    most_each: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: Slab<(Principal, CancellationToken)>,
    principals: HashMap<Principal, usize>,
    tenants: HashMap<TenantId, usize>,
}

/// One open stream; it is open until this is dropped.
#[derive(Debug)]
#[must_use = "a stream that is dropped is no longer counted, and nobody ends it"]
pub struct OpenStream {
    all: OpenStreams,
    key: usize,
    principal: Principal,
    end: CancellationToken,
}

impl OpenStreams {
    /// None yet; a caller may have `most_each`, and all together `most`.
    pub(crate) fn new(most_each: usize, most: usize) -> Self {
        Self(Arc::new(Shared { most, most_each, state: Mutex::default() }))
    }

    /// One more. [`ErrorKind::RateLimited`] if the caller or its tenant has as many as it may have, [`ErrorKind::Unavailable`] if
    /// there are as many as there may be.
    pub(crate) fn enter(&self, principal: &Principal) -> Result<OpenStream> {
        let mut state = self.state();
        let free = self.0.most.saturating_sub(state.open.len());
        if free == 0 {
            return Err(refused(
                ErrorKind::Unavailable,
                "the limit of open streams is reached; close one and try again",
                self.0.most,
            ));
        }
        if !principal.is_local() {
            let own = state.principals.get(principal).copied().unwrap_or_default();
            if own >= self.0.most_each {
                let message =
                    "you hold as many streams open as `limits.streams_per_principal` allows; close some";
                return Err(refused(ErrorKind::RateLimited, message, self.0.most_each));
            }
            let of_tenant = state.tenants.get(&principal.tenant).copied().unwrap_or_default();
            if of_tenant >= free {
                let message =
                    "this tenant holds as many streams open as its share of the gateway allows; close some";
                return Err(refused(ErrorKind::RateLimited, message, of_tenant));
            }
        }
        *state.principals.entry(principal.clone()).or_default() += 1;
        *state.tenants.entry(principal.tenant.clone()).or_default() += 1;
        let end = CancellationToken::new();
        let key = state.open.insert((principal.clone(), end.clone()));
        Ok(OpenStream { all: self.clone(), key, principal: principal.clone(), end })
    }

    /// Ends the streams of the principals that are `over`.
    pub(crate) fn end(&self, over: impl Fn(&Principal) -> bool) {
        let ending: Vec<_> = {
            let state = self.state();
            let over = state.open.iter().filter(|(_, (principal, _))| over(principal));
            over.map(|(_, (_, end))| end.clone()).collect()
        };
        // Without the lock: what waits for the end may close its stream at once.
        for end in ending {
            end.cancel();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics between two changes that belong together.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(kind: ErrorKind, message: &'static str, limit: usize) -> Error {
    Error::new(kind, message).with("limit", limit).retry_after(Duration::from_secs(10)).not_sent()
}

impl OpenStream {
    /// Resolves when the caller may hold the stream open no longer: its credential was revoked or has ended, or its tenant was
    /// disabled.
    pub async fn ended(&self) {
        tokio::select! {
            () = self.end.cancelled() => {}
            () = self.principal.revoked() => {}
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut state = self.all.state();
        state.open.try_remove(self.key);
        let State { principals, tenants, .. } = &mut *state;
        release(principals, &self.principal);
        release(tenants, &self.principal.tenant);
    }
}

fn release<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, of: &K) {
    if let Some(count) = counts.get_mut(of) {
        *count -= 1;
        if *count == 0 {
            counts.remove(of);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::model::{Grant, Role};

    fn who(tenant: &str, subject: &str) -> Principal {
        Principal::new(tenant.parse().unwrap(), subject, Role::Analyst)
    }

    /// a caller with too many streams is refused, and no other is.
    #[test]
    fn a_principal_with_too_many_streams_is_refused_and_no_other_is() {
        let all = OpenStreams::new(2, 100);
        let first = all.enter(&who("t", "a")).unwrap();
        let second = all.enter(&who("t", "a")).unwrap();
        let refused = all.enter(&who("t", "a")).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::RateLimited);
        assert!(refused.message().contains("limits.streams_per_principal"), "{refused}");
        assert!(all.enter(&who("t", "b")).is_ok() && all.enter(&who("u", "a")).is_ok());
        let own = Principal::local(TenantId::default_tenant());
        let own: Vec<_> = (0..3).filter_map(|_| all.enter(&own).ok()).collect();
        assert_eq!(own.len(), 3);
        drop(first);
        let third = all.enter(&who("t", "a")).unwrap();
        drop((second, third, own));
        let state = all.state();
        assert!(state.open.is_empty() && state.principals.is_empty() && state.tenants.is_empty());
    }

    /// however many callers a tenant has, there is a stream for another tenant.
    #[test]
    fn a_tenant_leaves_streams_to_the_others() {
        let all = OpenStreams::new(2, 10);
        let open: Vec<_> = (0..20).map_while(|n| all.enter(&who("t", &n.to_string())).ok()).collect();
        assert_eq!(open.len(), 5);
        assert!(all.enter(&who("u", "a")).is_ok());
    }

    /// what is held open ends at once with its caller's rights.
    #[test]
    fn a_stream_ends_with_its_credential_or_its_tenant_and_no_other_does() {
        let all = OpenStreams::new(10, 100);
        let token = CancellationToken::new();
        let grant = Grant { revoked: token.clone(), ..Grant::default() };
        let revoked = all.enter(&who("t", "a").with(grant)).unwrap();
        let (same, other) = (all.enter(&who("t", "b")).unwrap(), all.enter(&who("u", "a")).unwrap());
        let ended = |stream: &OpenStream| stream.ended().now_or_never().is_some();
        assert!(!ended(&revoked));
        token.cancel();
        assert!(ended(&revoked) && !ended(&same));
        all.end(|principal| principal.tenant.as_str() == "t");
        assert!(ended(&same) && !ended(&other));
    }
}
