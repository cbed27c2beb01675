//! An API key as it is kept: everything but the key itself.

use std::fmt;

use jiff::Timestamp;

use super::ids::{KeyId, ServerId, TenantId};
use super::principal::Role;

/// The SHA-256 of a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyHash(pub [u8; 32]);

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(***)")
    }
}

/// The record of an API key.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiKey {
    /// Identifies it; no secret.
    pub id: KeyId,
    /// The tenant that it acts in.
    pub tenant_id: TenantId,
    /// For people.
    pub name: String,
    /// The name of its principal: `key:` and the id of the first of the keys that replaced one another.
    pub subject: String,
    /// Its role.
    pub role: Role,
    /// The scopes that it is narrowed to; `None`: all that the role may.
    pub scopes: Option<Vec<String>>,
    /// The only server that it may be used for.
    pub server_id: Option<ServerId>,
    /// Requests a minute, if it has a limit of its own instead of its role's.
    pub requests_per_minute: Option<u32>,
    /// The last four characters of the key, for people.
    pub hint: String,
    /// The SHA-256 of the key.
    pub hash: KeyHash,
    /// The principal that made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it does not hold any more.
    pub expires_at: Timestamp,
    /// When it was last used, as far as was written.
    pub last_used_at: Option<Timestamp>,
    /// How often it was used, as far as was written.
    pub uses: u64,
    /// The key that replaced it.
    pub rotated_to: Option<KeyId>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl ApiKey {
    /// Whether it holds at `now`.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }
}
