//! Creations that are done once however often they are asked for (`Idempotency-Key`).

use std::time::Duration;

use jiff::Timestamp;

use crate::error::{Error, ErrorKind};
use crate::model::TenantId;

/// How long the answer to a creation is kept.
pub const ONCE_KEPT: Duration = Duration::from_hours(24);
/// Answers that are kept for each tenant; beyond that the oldest go before their time.
pub const ONCE_ROWS: usize = 10_000;

/// One creation under a key that its client chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// In which tenant.
    pub tenant_id: TenantId,
    /// The principal: two that choose the same key do not meet.
    pub subject: String,
    /// The key that the client chose.
    pub key: String,
    /// A digest of the request: the same key with another one is a mistake of the client's.
    pub request: String,
    /// The answer, now and each time that the same is asked for again.
    pub answer: String,
    /// When.
    pub at: Timestamp,
}

impl Once {
    /// Creations up to this time are forgotten.
    pub(super) fn forgotten(&self) -> Timestamp {
        self.at.checked_sub(ONCE_KEPT).unwrap_or(Timestamp::MIN)
    }
}

/// An earlier creation under the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The id of the created record, which may be gone by now.
    pub made: String,
    /// The answer that it got.
    pub answer: String,
}

pub(super) fn key_reused(key: &str) -> Error {
    let message = "this `Idempotency-Key` was used for another request; choose a new one for each creation, and repeat \
        a creation with the same key and the same content only";
    Error::new(ErrorKind::Conflict, message).with("idempotency_key", key)
}
