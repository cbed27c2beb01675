//! Errors.

use mcp_registry_gateway::{Error, facade};

/// What the gateway says went wrong. Act on `kind`.
#[derive(Debug, uniffi::Error)]
pub enum GatewayError {
    /// The only variant: kinds are words, so that a new one breaks nobody.
    Failed {
        /// Such as `not_found`; the list is that of the REST API.
        kind: String,
        /// For people.
        reason: String,
        /// Whether the same call can succeed later without being changed.
        retryable: bool,
        /// The whole of it as JSON: `{kind, message, retryable, context}`.
        document: String,
    },
}

impl std::fmt::Display for GatewayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self::Failed { kind, reason, .. } = self;
        write!(f, "{kind}: {reason}")
    }
}

impl std::error::Error for GatewayError {}

impl From<Error> for GatewayError {
    fn from(error: Error) -> Self {
        let row = error.kind().row();
        Self::Failed {
            kind: row.name.to_owned(),
            reason: error.message().to_owned(),
            retryable: row.retryable,
            document: String::from_utf8_lossy(&facade::error_document(&error)).into_owned(),
        }
    }
}
