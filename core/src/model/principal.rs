//! Who calls.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::TenantId;

/// A role; each includes those after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    Admin,
    /// Registers and removes servers.
    Manager,
    /// Updates and calls servers.
    Developer,
    /// Calls servers and reads metrics.
    Analyst,
    /// Reads.
    Viewer,
    /// What is public.
    Guest,
}

impl Role {
    /// Every role; each includes those after it.
    pub const ALL: [Self; 6] =
        [Self::Admin, Self::Manager, Self::Developer, Self::Analyst, Self::Viewer, Self::Guest];

    /// The name, as in JSON and configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Manager => "manager",
            Self::Developer => "developer",
            Self::Analyst => "analyst",
            Self::Viewer => "viewer",
            Self::Guest => "guest",
        }
    }
}

/// A caller whose identity holds. There is no default: a principal exists only because something vouched for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal {
    /// The tenant it acts in.
    pub tenant: TenantId,
    /// What it is called, unique within the tenant: `user:…`, `key:…` or `local`.
    pub subject: Arc<str>,
    /// What it may do.
    pub role: Role,
}

impl Principal {
    /// A process of this machine while no authentication is configured: administrator of `tenant`.
    pub fn local(tenant: TenantId) -> Self {
        Self { tenant, subject: "local".into(), role: Role::Admin }
    }
}
