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
    /// Whose: two principals that choose the same key do not meet.
    pub subject: String,
    /// What the client chose.
    pub key: String,
    /// A digest of what is asked for: the same key with another one is a mistake of the client's.
    pub request: String,
    /// What is answered, now and each time that the same is asked for again.
    pub answer: String,
    /// When.
    pub at: Timestamp,
}

impl Once {
    /// What was done up to this time is forgotten.
    pub(super) fn forgotten(&self) -> Timestamp {
        self.at.checked_sub(ONCE_KEPT).unwrap_or(Timestamp::MIN)
    }
}

/// What was done under this key before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The id of what was created; it may be gone by now.
    pub made: String,
    /// What was answered.
    pub answer: String,
}

pub(super) fn key_reused(key: &str) -> Error {
    let message = "this `Idempotency-Key` was used for another request; choose a new one for each creation, and repeat \
        a creation with the same key and the same content only";
    Error::new(ErrorKind::Conflict, message).with("idempotency_key", key)
}
