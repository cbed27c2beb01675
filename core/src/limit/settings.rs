//! What an operator can set of the limits: the section `[limits]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Role, server::seconds};

/// How much anybody may ask for. Rates are requests a minute: never more in any 60 s.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Requests a minute of an administrator. A process of this machine has no limit while no authentication is configured.
    pub admin: u32,
    /// Requests a minute of a manager.
    pub manager: u32,
    /// Requests a minute of a developer.
    pub developer: u32,
    /// Requests a minute of an analyst.
    pub analyst: u32,
    /// Requests a minute of a viewer.
    pub viewer: u32,
    /// Requests a minute of a guest, which is whoever has no name.
    pub guest: u32,
    /// Requests a minute of a whole tenant, as a multiple of the largest limit among those who call for it.
    pub tenant_factor: u32,
    /// Requests a minute of the whole gateway; 0: no such limit.
    pub gateway: u32,
    /// Calls under way at once over the whole gateway, with what clients subscribe to. The stream on which a session listens is none:
    /// a session has one.
    pub max_calls: usize,
    /// Calls under way at once of one tenant; 0: what the share below leaves it.
    pub max_calls_per_tenant: usize,
    /// A tenant may have at most this many times as many calls under way as there are places free.
    pub share: u32,
    /// How long a call waits for a place before it is refused.
    #[serde(rename = "wait_seconds", with = "seconds")]
    pub wait: Duration,
    /// Calls of one tenant that may wait for a place.
    pub max_waiting: usize,
    /// Refusals for too many requests within a minute after which a caller is banned; 0: never.
    pub ban_after: u32,
    /// How long a ban lasts.
    #[serde(rename = "ban_seconds", with = "seconds")]
    pub ban: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            admin: 1000,
            manager: 750,
            developer: 500,
            analyst: 250,
            viewer: 100,
            guest: 20,
            tenant_factor: 10,
            gateway: 0,
            max_calls: 10_000,
            max_calls_per_tenant: 0,
            share: 1,
            wait: Duration::from_millis(500),
            max_waiting: 1000,
            ban_after: 0,
            ban: Duration::from_mins(5),
        }
    }
}

impl Settings {
    /// Requests a minute that the role alone allows.
    pub const fn of_role(&self, role: Role) -> u32 {
        match role {
            Role::Admin => self.admin,
            Role::Manager => self.manager,
            Role::Developer => self.developer,
            Role::Analyst => self.analyst,
            Role::Viewer => self.viewer,
            Role::Guest => self.guest,
        }
    }
}
