//! API keys, without the keys.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::auth::NewKey;
use crate::auth::keys::{DEFAULT_DAYS, Secret};
use crate::error::Result;
use crate::gateway::{Caller, Gateway};
use crate::model::{ApiKey, Role, ServerId};
use crate::registry::Filter;

use super::between;

/// The description of a new key. It belongs to the caller's tenant.
#[derive(Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyWish {
    /// For people.
    #[cfg_attr(feature = "server", schema(min_length = 1, max_length = 100))]
    name: String,
    /// Its role: at most the caller's.
    #[serde(default = "least")]
    #[cfg_attr(feature = "server", schema(default = "viewer"))]
    role: Role,
    /// The scopes that it is narrowed to; without this, all that its role may.
    #[serde(default)]
    scopes: Option<Vec<String>>,
    /// The only server that it may be used for.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(value_type = Option<Uuid>))]
    server_id: Option<ServerId>,
    /// How long it lives.
    #[serde(default = "life")]
    #[cfg_attr(feature = "server", schema(minimum = 1, maximum = 3650, default = 90))]
    expires_in_days: u32,
    /// Requests a minute at most; without it the limit of its role.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(minimum = 1))]
    requests_per_minute: Option<u32>,
}

const fn least() -> Role {
    Role::Viewer
}

const fn life() -> u32 {
    DEFAULT_DAYS
}

/// An API key, without the key.
#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(as = ApiKey))]
pub(crate) struct KeyView {
    pub(crate) id: Uuid,
    tenant_id: String,
    name: String,
    role: Role,
    /// `null`: all that the role may.
    scopes: Option<Vec<String>>,
    server_id: Option<Uuid>,
    /// `null`: the limit of its role.
    requests_per_minute: Option<u32>,
    /// Whether it holds now.
    active: bool,
    /// The beginning of the key.
    prefix: &'static str,
    /// The last four characters of the key.
    hint: String,
    created_by: String,
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    created_at: Timestamp,
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    expires_at: Timestamp,
    /// A few seconds old at most.
    #[cfg_attr(feature = "server", schema(value_type = Option<String>, format = DateTime))]
    last_used_at: Option<Timestamp>,
    /// How often it was used, as of a few seconds ago.
    uses: u64,
    /// The key that replaced it.
    rotated_to: Option<Uuid>,
    #[cfg_attr(feature = "server", schema(value_type = Option<String>, format = DateTime))]
    revoked_at: Option<Timestamp>,
}

impl KeyView {
    pub(crate) fn new(key: ApiKey, now: Timestamp) -> Self {
        Self {
            id: *key.id.as_uuid(),
            active: key.holds(now),
            tenant_id: key.tenant_id.to_string(),
            name: key.name,
            role: key.role,
            scopes: key.scopes,
            server_id: key.server_id.map(|id| *id.as_uuid()),
            requests_per_minute: key.requests_per_minute,
            prefix: "mcp_",
            hint: key.hint,
            created_by: key.created_by,
            created_at: key.created_at,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
            uses: key.uses,
            rotated_to: key.rotated_to.map(|id| *id.as_uuid()),
            revoked_at: key.revoked_at,
        }
    }
}

/// An API key that was just made, with the key, which is shown this once.
#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct NewKeyAnswer {
    /// `mcp_` and 60 characters.
    key: String,
    #[serde(flatten)]
    pub(crate) record: KeyView,
}

/// One page of keys, newest first.
#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct KeysAnswer {
    keys: Vec<KeyView>,
    /// How many there are in all.
    total: u64,
    page: u32,
    limit: u32,
}

impl KeyWish {
    /// The key that is wished for.
    pub(crate) fn key(self) -> NewKey {
        NewKey {
            name: self.name,
            role: self.role,
            scopes: self.scopes,
            server_id: self.server_id,
            days: self.expires_in_days,
            requests_per_minute: self.requests_per_minute,
        }
    }
}

impl NewKeyAnswer {
    pub(crate) fn new((key, secret): (ApiKey, Secret), now: Timestamp) -> Self {
        Self { key: secret.reveal().to_owned(), record: KeyView::new(key, now) }
    }
}

impl KeysAnswer {
    /// One page of the keys of the caller's tenant; pages count from 1.
    pub(crate) async fn of(
        gateway: &Gateway,
        caller: &Caller,
        page: Option<u32>,
        limit: Option<u32>,
    ) -> Result<Self> {
        let page = between("page", page, 1, u32::MAX)?;
        let limit = between("limit", limit, Filter::DEFAULT_LIMIT, Filter::MAX_LIMIT)?;
        let found = gateway.keys(caller, u64::from(page - 1) * u64::from(limit), limit).await?;
        let now = gateway.clock().timestamp();
        let keys = found.keys.into_iter().map(|key| KeyView::new(key, now)).collect();
        Ok(Self { keys, total: found.total, page, limit })
    }
}
