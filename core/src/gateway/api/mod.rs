//! The methods of a gateway besides calls, one file for each noun.

pub(super) mod audit;
pub(super) mod visible;
pub(super) mod closing;
pub(super) mod admin;
pub(super) mod keys;
pub(super) mod tenants;
pub(super) mod credentials;
#[cfg(feature = "oauth")]
pub(super) mod logins;
pub(super) mod published;
pub(super) mod reads;
pub(super) mod condition;
pub(super) mod diagnose;
pub(super) mod metrics;
pub(super) mod picked;
pub(super) mod admitted;
pub(super) mod declared;
pub(super) mod hosted;
pub(super) mod events;
pub(super) mod request;
