//! Where API keys survive: their records and hashes, never the keys.

use async_trait::async_trait;
use jiff::Timestamp;

use super::once::{Done, Once};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{ApiKey, AuditEntry, KeyId, TenantId};

/// How often a key was used since this was last written, and when last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// Which key.
    pub id: KeyId,
    /// How often.
    pub count: u64,
    /// When last.
    pub last: Timestamp,
}

/// One page of a tenant's keys.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyPage {
    /// The keys, newest first.
    pub keys: Vec<ApiKey>,
    /// How many the tenant has in all.
    pub total: u64,
}

/// The API keys of a store. A mutation and its audit row are one transaction, and move [`KeyStore::keys_revision`].
#[async_trait]
pub trait KeyStore: Send + Sync + std::fmt::Debug {
    /// Writes a new key and the audit row.
    async fn insert_key(&self, key: &ApiKey, audit: &AuditEntry) -> Result<()>;

    /// As [`KeyStore::insert_key`], once under the key that `once` has: returns the earlier creation under it, if any, and then
    /// writes nothing. [`ErrorKind::Conflict`] if that was another one.
    async fn insert_key_once(&self, key: &ApiKey, audit: &AuditEntry, once: &Once) -> Result<Option<Done>>;

    /// Writes the key that replaces `old`, which holds until `until` at most, and the audit row.
    /// [`ErrorKind::NotFound`] if `old` is not of this tenant, [`ErrorKind::Conflict`] if it was revoked or replaced.
    async fn rotate_key(&self, old: KeyId, until: Timestamp, new: &ApiKey, audit: &AuditEntry) -> Result<()>;

    /// Revokes a key and writes the audit row. [`ErrorKind::NotFound`] if it is not of this tenant; one that was revoked
    /// stays so, without another row.
    async fn revoke_key(&self, tenant: &TenantId, id: KeyId, at: Timestamp, audit: &AuditEntry)
    -> Result<()>;

    /// All keys of all tenants that are not revoked.
    async fn living_keys(&self) -> Result<Vec<ApiKey>>;

    /// One key of this tenant, also a revoked one.
    async fn key(&self, tenant: &TenantId, id: KeyId) -> Result<Option<ApiKey>>;

    /// The tenant's keys, also revoked ones, newest first.
    async fn keys(&self, tenant: &TenantId, offset: u64, limit: u32) -> Result<KeyPage>;

    /// Changes whenever any process makes, replaces or revokes a key.
    async fn keys_revision(&self) -> Result<u64>;

    /// Adds to the counts of keys. Keys that are gone are passed over.
    async fn record_key_uses(&self, uses: &[KeyUse]) -> Result<()>;
}

pub(super) fn no_key(id: KeyId) -> Error {
    Error::new(ErrorKind::NotFound, "no such API key").with("id", id)
}

pub(super) fn replaced(id: KeyId) -> Error {
    Error::new(ErrorKind::Conflict, "this API key was revoked or replaced already; rotate the newest one")
        .with("id", id)
}
