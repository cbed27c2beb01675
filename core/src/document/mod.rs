//! What the gateway's records look like as JSON, for every door: the REST API and the bindings show the same documents.
//!
//! Secrets are left out or hidden here, once. Nothing here knows of HTTP.

pub(crate) mod event;
pub(crate) mod found;
pub(crate) mod health;
pub(crate) mod key;
pub(crate) mod server;
pub(crate) mod traffic;

use crate::error::{Error, ErrorKind, Result};

/// The number that was asked for, or the usual one; [`ErrorKind::InvalidParams`] beyond `max`, and for 0.
pub(crate) fn between(name: &'static str, value: Option<u32>, default: u32, max: u32) -> Result<u32> {
    match value {
        None => Ok(default),
        Some(value) if (1..=max).contains(&value) => Ok(value),
        Some(value) => {
            Err(Error::new(ErrorKind::InvalidParams, format!("expected a number from 1 to {max}"))
                .with("parameter", name)
                .with("found", value))
        }
    }
}
