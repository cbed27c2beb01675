//! The operator's settings of the limits: the section `[limits]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Role, server::seconds};

/// How much anybody may ask for. Rates are requests a minute: never more in any 60 s.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Requests a minute of one administrator. A process of this machine has no limit while no authentication is configured;
    /// a key may have a limit of its own.
    pub admin: u32,
    /// Requests a minute of one manager.
    pub manager: u32,
    /// Requests a minute of one developer.
    pub developer: u32,
    /// Requests a minute of one analyst.
    pub analyst: u32,
    /// Requests a minute of one viewer.
    pub viewer: u32,
    /// Requests a minute of one guest. Anonymous callers are guests.
    pub guest: u32,
    /// Requests a minute of a whole tenant, as a multiple of the largest limit among its callers.
    pub tenant_factor: u32,
    /// Requests a minute of the whole gateway; 0 for no limit.
    pub gateway: u32,
    /// Calls in flight at once over the whole gateway, open subscriptions included. The stream on which a session listens
    /// does not count.
    pub max_calls: usize,
    /// Calls in flight at once of one tenant; 0 leaves it to `share`.
    pub max_calls_per_tenant: usize,
    /// A tenant may have at most this many times as many calls in flight as there are free slots, so that with 1 a tenant
    /// alone gets half of all.
    pub share: u32,
    /// Seconds that a call waits for a slot before it is refused.
    #[serde(rename = "wait_seconds", with = "seconds")]
    #[cfg_attr(feature = "server", schema(value_type = f64))]
    pub wait: Duration,
    /// Calls of one tenant that may wait for a slot.
    pub max_waiting: usize,
    /// Connections at once. Where all are taken, those on which nothing is asked make room for new ones, the oldest first and those
    /// of unknown callers before others; a tenth is kept for callers that show a credential.
    pub max_connections: usize,
    /// Connections at once of one peer: an address, or 64 bits of an IPv6 address; 0 for half of all. Of a client behind one of
    /// `server.trusted_proxies` it is the requests at once.
    pub connections_per_peer: usize,
    /// Streams that one caller holds open at once: event streams, subscriptions, and the streams of its sessions. A process of this
    /// machine has no such limit while no authentication is configured.
    pub streams_per_principal: usize,
    /// Bytes of large answers that wait to be read by one caller; servers whose answers would be more are read later.
    pub unread_bytes_per_principal: usize,
    /// Bytes of large answers that wait to be read by all callers together.
    pub unread_bytes: usize,
    /// Refusals for too many requests within a minute after which a caller is banned; 0 for never.
    pub ban_after: u32,
    /// Seconds that a ban lasts.
    #[serde(rename = "ban_seconds", with = "seconds")]
    #[cfg_attr(feature = "server", schema(value_type = f64))]
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
            max_connections: 10_000,
            connections_per_peer: 0,
            streams_per_principal: 100,
            unread_bytes_per_principal: 64 * 1024 * 1024,
            unread_bytes: 256 * 1024 * 1024,
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
