//! The boundary of isolation.

use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::TenantId;
use crate::error::{Error, ErrorKind};

/// The state that an operator sets for a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TenantStatus {
    /// Its principals may do what their roles allow.
    Active,
    /// Its principals are refused; its records stay.
    Disabled,
    /// Its principals are refused, its servers are removed. Its name stays taken and its audit trail stays.
    Deleted,
}

impl TenantStatus {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Deleted => "deleted",
        }
    }
}

impl FromStr for TenantStatus {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let all = [Self::Active, Self::Disabled, Self::Deleted];
        all.into_iter().find(|status| status.as_str() == text).ok_or_else(|| {
            Error::new(ErrorKind::InvalidParams, "expected one of active, disabled, deleted")
                .with("found", text)
        })
    }
}

/// A tenant. One exists by being created, by having a server, or by being named by a credential that holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its name, for ever.
    pub id: TenantId,
    /// For people.
    pub display_name: Option<String>,
    /// The state that the operator sets.
    pub status: TenantStatus,
    /// When it came to be.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts its changes, from 1.
    pub revision: u64,
}

impl Tenant {
    /// A new tenant.
    pub fn new(id: TenantId, display_name: Option<String>, now: Timestamp) -> Self {
        Self { id, display_name, status: TenantStatus::Active, created_at: now, updated_at: now, revision: 1 }
    }
}
