//! API keys: make, show, rotate, revoke.

use super::visible::Object;
use crate::auth::keys::{Secret, unknown_key};
use crate::auth::{NewKey, Operation};
use crate::cluster::Notice;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{Caller, Gateway};
use crate::model::{ApiKey, KeyId};
use crate::store::KeyPage;

impl Gateway {
    /// Creates an API key for the caller's tenant. The key itself is in the answer and nowhere else.
    ///
    /// [`ErrorKind::PermissionDenied`] for a role, a scope or a server beyond the caller's own.
    pub async fn create_key(&self, caller: &Caller, new: NewKey) -> Result<(ApiKey, Secret)> {
        caller.may(Operation::KeysWrite)?;
        self.may_be_for(caller, &new)?;
        self.0.keys.create(&caller.principal, new, Some(&caller.correlation_id)).await
    }

    /// As [`Gateway::create_key`], once under a `name` that the caller chose; see [`Keys::create_once`](crate::auth::Keys::create_once).
    pub async fn create_key_once(
        &self,
        caller: &Caller,
        new: NewKey,
        name: &str,
    ) -> Result<(ApiKey, Secret)> {
        caller.may(Operation::KeysWrite)?;
        self.may_be_for(caller, &new)?;
        self.0.keys.create_once(&caller.principal, new, name, Some(&caller.correlation_id)).await
    }

    fn may_be_for(&self, caller: &Caller, new: &NewKey) -> Result<()> {
        let Some(id) = new.server_id else { return Ok(()) };
        // One that is hidden from the caller, or out of its reach, is as unknown as one that never was.
        self.visible(caller, id).map(|_| ()).map_err(|_| {
            Error::new(ErrorKind::InvalidParams, "there is no such server").with("field", "server_id")
        })
    }

    /// A key that is within the caller's reach; any other is as unknown as one that never was.
    async fn key_in_reach(&self, caller: &Caller, id: KeyId) -> Result<ApiKey> {
        let key = self.0.keys.get(&caller.principal.tenant, id).await?;
        if self.0.reaches(&caller.principal, Object::Key(&key)) { Ok(key) } else { Err(unknown_key(id)) }
    }

    /// Replaces an API key; the old one holds for another 24 hours.
    pub async fn rotate_key(&self, caller: &Caller, id: KeyId) -> Result<(ApiKey, Secret)> {
        caller.may(Operation::KeysWrite)?;
        self.key_in_reach(caller, id).await?;
        self.0.keys.rotate(&caller.principal, id, Some(&caller.correlation_id)).await
    }

    /// Revokes an API key: it is no longer valid when this returns, and its streams and sessions end.
    pub async fn revoke_key(&self, caller: &Caller, id: KeyId) -> Result<()> {
        caller.may(Operation::KeysWrite)?;
        self.key_in_reach(caller, id).await?;
        self.0.keys.revoke(&caller.principal, id, Some(&caller.correlation_id)).await?;
        self.0.cluster.broadcast.publish(Notice::KeyRevoked(id)).get().await;
        Ok(())
    }

    /// One API key of the caller's tenant, also one that has ended.
    pub async fn key(&self, caller: &Caller, id: KeyId) -> Result<ApiKey> {
        caller.may(Operation::KeysRead)?;
        self.key_in_reach(caller, id).await
    }

    /// A page of the API keys of the caller's tenant that are within its reach, newest first.
    pub async fn keys(&self, caller: &Caller, offset: u64, limit: u32) -> Result<KeyPage> {
        caller.may(Operation::KeysRead)?;
        let (tenant, principal) = (&caller.principal.tenant, &caller.principal);
        if !principal.is_narrowed() {
            return self.0.keys.list(tenant, offset, limit).await;
        }
        let mut own = Vec::new();
        let mut seen = 0;
        loop {
            let page = self.0.keys.list(tenant, seen, PAGE).await?;
            seen += page.keys.len() as u64;
            let ends = page.keys.is_empty() || seen >= page.total;
            own.extend(page.keys.into_iter().filter(|key| self.0.reaches(principal, Object::Key(key))));
            if ends {
                break;
            }
        }
        let total = own.len() as u64;
        let (skip, take) = (usize::try_from(offset).unwrap_or(usize::MAX), limit as usize);
        Ok(KeyPage { keys: own.into_iter().skip(skip).take(take).collect(), total })
    }
}

/// Keys that are read at a time where a part of them is shown.
const PAGE: u32 = 200;
