//! API keys: made, looked up, replaced, revoked.
//!
//! All keys that hold are in memory, so that a call asks no database. A change of keys writes the store first and then has memory
//! read it again; [`Keys::look`] notices another process's changes. While the store cannot be asked, known keys go on and unknown
//! ones are answered with [`ErrorKind::Storage`]: it cannot be told that they do not hold.

mod cache;
mod secret;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::json;
use tokio::sync::{Mutex, Notify};

use self::cache::Cache;
pub(crate) use self::secret::has_form;
pub use self::secret::{LENGTH, PREFIX, Secret};
use super::authority::Authority;
use super::matrix::MATRIX;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{ApiKey, AuditEntry, KeyId, Principal, Role, ServerId, TenantId};
use crate::store::{KeyPage, KeyStore, Once};

/// How long a key lives unless said otherwise, in days.
pub const DEFAULT_DAYS: u32 = 90;
/// How long a key lives at most, in days.
pub const MOST_DAYS: u32 = 3650;
/// How long a key that was replaced lives on.
pub const OVERLAP: Duration = Duration::from_hours(24);

/// The properties of a new key.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// For people: 1 to 100 characters.
    pub name: String,
    /// Its role; at most its maker's.
    pub role: Role,
    /// The scopes that it is narrowed to; `None`: all that the role may.
    pub scopes: Option<Vec<String>>,
    /// The only server that it may be used for.
    pub server_id: Option<ServerId>,
    /// How long it lives, in days.
    pub days: u32,
    /// Requests a minute, if it is to have a limit of its own instead of its role's.
    pub requests_per_minute: Option<u32>,
}

/// The API keys of one gateway.
#[derive(Debug)]
pub struct Keys {
    store: Arc<dyn KeyStore>,
    clock: Arc<dyn Clock>,
    cache: ArcSwap<Cache>,
    /// Held while memory is read anew, so that nobody puts something older in its place.
    reading: Mutex<()>,
    /// Whether the store could not be asked when it last was.
    unsure: AtomicBool,
    changed: Notify,
}

impl Keys {
    /// Reads the keys of `store`.
    pub async fn open(store: Arc<dyn KeyStore>, clock: Arc<dyn Clock>) -> Result<Self> {
        let keys = Self {
            store,
            clock,
            cache: ArcSwap::default(),
            reading: Mutex::default(),
            unsure: AtomicBool::new(false),
            changed: Notify::new(),
        };
        keys.read().await?;
        Ok(keys)
    }

    /// The principal that a key stands for. [`ErrorKind::Unauthenticated`] if it does not hold, [`ErrorKind::Storage`] if that
    /// cannot be told now.
    pub fn recognize(&self, token: &[u8]) -> Result<Principal> {
        match self.cache.load().find(token) {
            Some(entry) => entry.used(self.clock.timestamp()),
            None if self.unsure.load(Ordering::Relaxed) => Err(Error::new(
                ErrorKind::Storage,
                "the store cannot be asked whether this API key holds; try again",
            )
            .retry_after(Duration::from_secs(1))),
            None => Err(Error::new(ErrorKind::Unauthenticated, "this API key is unknown or was revoked")),
        }
    }

    /// Makes a key for `maker`'s tenant; the key itself is in the answer and nowhere else. It ends when the maker's own credential
    /// does, if that is earlier.
    ///
    /// [`ErrorKind::InvalidParams`] for a value out of range, [`ErrorKind::PermissionDenied`] for more than `maker` has.
    pub async fn create(
        &self,
        maker: &Principal,
        new: NewKey,
        correlation: Option<&str>,
    ) -> Result<(ApiKey, Secret)> {
        self.make(maker, new, None, correlation).await
    }

    /// As [`Keys::create`], once under a `name` that the maker chose: asked for again, nothing is made, and since a key is shown
    /// once alone the answer is an error that says which key there is.
    ///
    /// [`ErrorKind::Conflict`] if it was made before, or the name was used for something else.
    pub async fn create_once(
        &self,
        maker: &Principal,
        new: NewKey,
        name: &str,
        correlation: Option<&str>,
    ) -> Result<(ApiKey, Secret)> {
        self.make(maker, new, Some(name), correlation).await
    }

    async fn make(
        &self,
        maker: &Principal,
        new: NewKey,
        once: Option<&str>,
        correlation: Option<&str>,
    ) -> Result<(ApiKey, Secret)> {
        check(&new)?;
        let authority = Authority::of(maker);
        authority.covers(&Authority::wished(&new))?;
        let once = once.map(|name| Once {
            tenant_id: maker.tenant.clone(),
            subject: maker.subject.to_string(),
            key: name.to_owned(),
            request: digest(&new),
            // The key itself is shown once, and kept nowhere.
            answer: String::new(),
            at: self.clock.timestamp(),
        });
        let (now, secret, id) = (self.clock.timestamp(), Secret::random()?, KeyId::random());
        let key = ApiKey {
            id,
            tenant_id: maker.tenant.clone(),
            name: new.name,
            subject: format!("key:{id}"),
            role: new.role,
            scopes: new.scopes,
            server_id: new.server_id,
            requests_per_minute: authority.rate_of(new.requests_per_minute),
            hint: secret.hint().to_owned(),
            hash: secret.hash(),
            created_by: maker.subject.to_string(),
            created_at: now,
            expires_at: lasting(authority.end_of(after(now, days(new.days))), now)?,
            last_used_at: None,
            uses: 0,
            rotated_to: None,
            revoked_at: None,
        };
        let audit = self.audit(maker, "key.create", id, correlation, Some(&key));
        match &once {
            None => self.store.insert_key(&key, &audit).await?,
            Some(once) => {
                if let Some(done) = self.store.insert_key_once(&key, &audit, once).await? {
                    return Err(made_already(&done.made));
                }
            }
        }
        self.read_after_change().await;
        Ok((key, secret))
    }

    /// Replaces a key by another that is like it and lives as long as it was to live, but no longer than the maker's own
    /// credential; the old one lives for [`OVERLAP`] on.
    pub async fn rotate(
        &self,
        maker: &Principal,
        id: KeyId,
        correlation: Option<&str>,
    ) -> Result<(ApiKey, Secret)> {
        let old = self.get(&maker.tenant, id).await?;
        let authority = Authority::of(maker);
        authority.covers(&Authority::of_key(&old))?;
        let now = self.clock.timestamp();
        if !old.holds(now) {
            return Err(
                Error::new(ErrorKind::Conflict, "this API key has ended; make another one").with("id", id)
            );
        }
        let (secret, life) =
            (Secret::random()?, old.expires_at.duration_since(old.created_at).unsigned_abs());
        let key = ApiKey {
            id: KeyId::random(),
            hint: secret.hint().to_owned(),
            hash: secret.hash(),
            created_by: maker.subject.to_string(),
            created_at: now,
            requests_per_minute: authority.rate_of(old.requests_per_minute),
            expires_at: lasting(authority.end_of(after(now, life)), now)?,
            last_used_at: None,
            uses: 0,
            rotated_to: None,
            ..old
        };
        let audit = self.audit(maker, "key.rotate", id, correlation, Some(&key));
        self.store.rotate_key(id, after(now, OVERLAP), &key, &audit).await?;
        self.read_after_change().await;
        Ok((key, secret))
    }

    /// Revokes a key: it does not hold any more when this returns, and what it opened ends.
    pub async fn revoke(&self, maker: &Principal, id: KeyId, correlation: Option<&str>) -> Result<()> {
        let old = self.get(&maker.tenant, id).await?;
        // To take a key away from somebody is to have power over them.
        if !maker.role.includes(old.role) && maker.key() != Some(id) {
            return Err(Error::new(ErrorKind::PermissionDenied, "this API key has a role above your own"));
        }
        let audit = self.audit(maker, "key.revoke", id, correlation, None);
        self.store.revoke_key(&maker.tenant, id, self.clock.timestamp(), &audit).await?;
        // At once, even if the keys cannot be read again now.
        self.cache.load().end(id);
        self.read_after_change().await;
        Ok(())
    }

    /// One key of this tenant, also one that has ended. [`ErrorKind::NotFound`] if there is none.
    pub async fn get(&self, tenant: &TenantId, id: KeyId) -> Result<ApiKey> {
        let found = self.store.key(tenant, id).await?;
        found.ok_or_else(|| unknown_key(id))
    }

    /// The tenant's keys, also those that have ended, newest first.
    pub async fn list(&self, tenant: &TenantId, offset: u64, limit: u32) -> Result<KeyPage> {
        self.store.keys(tenant, offset, limit).await
    }

    /// Reads the keys again if any changed since, in this process or another.
    pub async fn look(&self) -> Result<()> {
        let asked = self.store.keys_revision().await;
        self.unsure.store(asked.is_err(), Ordering::Relaxed);
        if asked? == self.cache.load().revision { Ok(()) } else { self.read().await }
    }

    /// Whether the store could not be asked when it last was.
    pub(crate) fn is_unsure(&self) -> bool {
        self.unsure.load(Ordering::Relaxed)
    }

    /// Ends a key that another replica revoked, before the store is read.
    pub(crate) fn end(&self, id: KeyId) {
        self.cache.load().end(id);
        self.changed.notify_one();
    }

    /// Writes how often keys were used since this was last called.
    pub async fn write_uses(&self) -> Result<()> {
        let cache = self.cache.load_full();
        let uses = cache.take_uses();
        let written = self.store.record_key_uses(&uses).await;
        if written.is_err() {
            cache.give_back(&uses);
        }
        written
    }

    /// Whether a key is for this server alone.
    pub fn has_any_for(&self, server: ServerId) -> bool {
        self.cache.load().entries().any(|entry| entry.is_for(server))
    }

    /// Ends when keys changed since this was last waited for.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Reads the keys again after a change of the store's that touched them, such as the removal of a server.
    pub(crate) async fn read_after_change(&self) {
        if let Err(error) = self.read().await {
            // The change is written; `look` tries again.
            tracing::error!(%error, "the API keys could not be read again");
            self.unsure.store(true, Ordering::Relaxed);
        }
    }

    async fn read(&self) -> Result<()> {
        let _reading = self.reading.lock().await;
        // Before the keys: a change in between is read once more, not missed.
        let revision = self.store.keys_revision().await?;
        let keys = self.store.living_keys().await?;
        let now = self.clock.timestamp();
        let keys = keys.into_iter().filter(|key| key.holds(now)).collect();
        let cache = Cache::new(keys, revision, &self.cache.load());
        self.cache.store(Arc::new(cache));
        self.changed.notify_one();
        Ok(())
    }

    fn audit(
        &self,
        maker: &Principal,
        action: &str,
        id: KeyId,
        correlation: Option<&str>,
        made: Option<&ApiKey>,
    ) -> AuditEntry {
        let detail = made.map_or_else(|| json!({}), |key| {
            json!({
                "key": key.id, "name": key.name, "role": key.role, "scopes": key.scopes, "server_id": key.server_id,
                "expires_at": key.expires_at,
            })
        });
        AuditEntry {
            at: self.clock.timestamp(),
            tenant_id: maker.tenant.clone(),
            actor: maker.subject.to_string(),
            action: action.to_owned(),
            target: id.to_string(),
            outcome: "ok".into(),
            correlation_id: correlation.map(str::to_owned),
            detail,
        }
    }
}

fn check(new: &NewKey) -> Result<()> {
    let invalid = |field: &'static str, message: &'static str| {
        Err(Error::new(ErrorKind::InvalidParams, message).with("field", field))
    };
    if !(1..=100).contains(&new.name.chars().count()) || new.name.chars().any(char::is_control) {
        return invalid("name", "a name has 1 to 100 characters and no control characters");
    }
    if !(1..=MOST_DAYS).contains(&new.days) {
        return invalid("expires_in_days", "a key lives 1 to 3650 days");
    }
    if new.requests_per_minute == Some(0) {
        return invalid("requests_per_minute", "a limit is at least 1; leave it out for none");
    }
    let scopes = new.scopes.as_deref().unwrap_or_default();
    if !scopes.iter().all(|scope| MATRIX.implies(scope, scope)) {
        return invalid(
            "scopes",
            "there is no such scope; core/docs/reference/permissions.md lists them all",
        );
    }
    Ok(())
}

/// Tells the requested key from everything else that is created.
fn digest(new: &NewKey) -> String {
    let NewKey { name, role, scopes, server_id, days, requests_per_minute } = new;
    let asked = json!(["api key", name, role, scopes, server_id, days, requests_per_minute]);
    STANDARD_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, asked.to_string().as_bytes()))
}

fn made_already(id: &str) -> Error {
    let message = "this API key was made when it was asked for first, and is shown once alone; rotate it to get another in its \
        place, or revoke it";
    Error::new(ErrorKind::Conflict, message).with("id", id)
}

/// The error for a key that there is not, or that the caller may not know of.
pub(crate) fn unknown_key(id: KeyId) -> Error {
    Error::new(ErrorKind::NotFound, "no such API key").with("id", id)
}

fn ended(message: &'static str) -> Error {
    Error::new(ErrorKind::Unauthenticated, message)
}

fn days(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * 24 * 60 * 60)
}

/// The end of a key that is to live from `now` on.
fn lasting(end: jiff::Timestamp, now: jiff::Timestamp) -> Result<jiff::Timestamp> {
    if end > now {
        Ok(end)
    } else {
        Err(ended("your own credential has ended, and what it makes ends with it"))
    }
}

fn after(now: jiff::Timestamp, life: Duration) -> jiff::Timestamp {
    now.checked_add(life).unwrap_or(jiff::Timestamp::MAX)
}
