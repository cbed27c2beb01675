//! The keys that hold, in memory: looked up by hash, without a lock and without the store.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use jiff::Timestamp;
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

use super::secret;
use crate::error::Result;
use crate::model::{ApiKey, Grant, KeyHash, KeyId, Principal, ServerId};
use crate::store::KeyUse;

/// The keys at one moment. Immutable, but for the counts.
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// By the first 64 bits of the hash.
    by_hash: HashMap<u64, Vec<Arc<Entry>>>,
    pub(super) revision: u64,
}

/// One key.
#[derive(Debug)]
pub(super) struct Entry {
    id: KeyId,
    hash: KeyHash,
    principal: Principal,
    expires_at: Timestamp,
    used: Arc<Used>,
}

/// The use of one key, however often the keys are read again.
#[derive(Debug, Default)]
struct Used {
    /// Since it was last written.
    count: AtomicU64,
    /// Microseconds since 1970.
    last: AtomicI64,
}

impl Cache {
    /// The keys as the store has them. The known state of a key is kept; a key that is gone has ended.
    pub(super) fn new(keys: Vec<ApiKey>, revision: u64, before: &Self) -> Self {
        let mut known: HashMap<KeyId, &Arc<Entry>> =
            before.entries().map(|entry| (entry.id, entry)).collect();
        let mut by_hash: HashMap<u64, Vec<Arc<Entry>>> = HashMap::with_capacity(keys.len());
        for key in keys {
            let entry = Entry::new(&key, known.remove(&key.id).map(|entry| &**entry));
            by_hash.entry(slot(&key.hash)).or_default().push(Arc::new(entry));
        }
        for gone in known.into_values() {
            gone.end();
        }
        Self { by_hash, revision }
    }

    /// The key of this text, if there is one. How long this takes tells nothing of how near a wrong one was.
    pub(super) fn find(&self, token: &[u8]) -> Option<&Arc<Entry>> {
        let hash = secret::hash(token);
        let candidates = self.by_hash.get(&slot(&hash))?;
        candidates.iter().find(|entry| entry.hash.0.ct_eq(&hash.0).into())
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.by_hash.values().flatten()
    }

    /// Ends a key before the keys are read again.
    pub(super) fn end(&self, id: KeyId) {
        for entry in self.entries().filter(|entry| entry.id == id) {
            entry.end();
        }
    }

    /// The uses that were counted since this was last asked.
    pub(super) fn take_uses(&self) -> Vec<KeyUse> {
        let used = |entry: &Arc<Entry>| {
            let count = entry.used.count.swap(0, Ordering::Relaxed);
            let last = Timestamp::from_microsecond(entry.used.last.load(Ordering::Relaxed)).ok()?;
            (count > 0).then_some(KeyUse { id: entry.id, count, last })
        };
        self.entries().filter_map(used).collect()
    }

    /// Counts again the uses that could not be written.
    pub(super) fn give_back(&self, uses: &[KeyUse]) {
        let counts: HashMap<KeyId, u64> = uses.iter().map(|used| (used.id, used.count)).collect();
        for entry in self.entries() {
            if let Some(count) = counts.get(&entry.id) {
                entry.used.count.fetch_add(*count, Ordering::Relaxed);
            }
        }
    }
}

impl Entry {
    fn new(key: &ApiKey, before: Option<&Self>) -> Self {
        let revoked = before.and_then(|entry| entry.principal.grant.as_ref());
        let revoked = revoked.map_or_else(CancellationToken::new, |grant| grant.revoked.clone());
        let scopes =
            key.scopes.as_ref().map(|scopes| scopes.iter().map(|scope| scope.as_str().into()).collect());
        let grant = Grant {
            key: Some(key.id),
            scopes,
            server: key.server_id,
            service: None,
            requests_per_minute: key.requests_per_minute,
            expires_at: Some(key.expires_at),
            revoked,
        };
        let principal = Principal::new(key.tenant_id.clone(), key.subject.as_str(), key.role).with(grant);
        Self {
            id: key.id,
            hash: key.hash,
            principal,
            expires_at: key.expires_at,
            used: before.map(|entry| Arc::clone(&entry.used)).unwrap_or_default(),
        }
    }

    /// The principal that it stands for, while it holds; counts the use.
    pub(super) fn used(&self, now: Timestamp) -> Result<Principal> {
        if now >= self.expires_at {
            return Err(super::ended("this API key has expired; make another one, or rotate it in time"));
        }
        if self.principal.is_over(now) {
            return Err(super::ended("this API key was revoked"));
        }
        self.used.count.fetch_add(1, Ordering::Relaxed);
        self.used.last.store(now.as_microsecond(), Ordering::Relaxed);
        Ok(self.principal.clone())
    }

    pub(super) fn is_for(&self, server: ServerId) -> bool {
        self.principal.grant.as_ref().is_some_and(|grant| grant.server == Some(server))
    }

    fn end(&self) {
        if let Some(grant) = &self.principal.grant {
            grant.revoked.cancel();
        }
    }
}

fn slot(hash: &KeyHash) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&hash.0[..8]);
    u64::from_le_bytes(first)
}
