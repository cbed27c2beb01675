//! API keys: make, show, rotate, revoke.

use crate::auth::keys::Secret;
use crate::auth::{NewKey, Operation};
use crate::cluster::Notice;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{Caller, Gateway};
use crate::model::{ApiKey, KeyId};
use crate::store::KeyPage;

impl Gateway {
    /// Makes an API key for the caller's tenant. The key itself is in the answer and nowhere else.
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
        if let Some(id) = new.server_id {
            let known = self.0.registry.get(&caller.principal.tenant, id);
            let missing =
                || Error::new(ErrorKind::InvalidParams, "there is no such server").with("field", "server_id");
            known.ok_or_else(missing)?;
        }
        Ok(())
    }

    /// Replaces an API key; the old one holds for another 24 hours.
    pub async fn rotate_key(&self, caller: &Caller, id: KeyId) -> Result<(ApiKey, Secret)> {
        caller.may(Operation::KeysWrite)?;
        self.0.keys.rotate(&caller.principal, id, Some(&caller.correlation_id)).await
    }

    /// Revokes an API key: it is no longer valid when this returns, and its streams and sessions end.
    pub async fn revoke_key(&self, caller: &Caller, id: KeyId) -> Result<()> {
        caller.may(Operation::KeysWrite)?;
        self.0.keys.revoke(&caller.principal, id, Some(&caller.correlation_id)).await?;
        self.0.cluster.broadcast.publish(Notice::KeyRevoked(id)).get().await;
        Ok(())
    }

    /// One API key of the caller's tenant, also one that has ended.
    pub async fn key(&self, caller: &Caller, id: KeyId) -> Result<ApiKey> {
        caller.may(Operation::KeysRead)?;
        self.0.keys.get(&caller.principal.tenant, id).await
    }

    /// A page of the API keys of the caller's tenant, newest first.
    pub async fn keys(&self, caller: &Caller, offset: u64, limit: u32) -> Result<KeyPage> {
        caller.may(Operation::KeysRead)?;
        self.0.keys.list(&caller.principal.tenant, offset, limit).await
    }
}
