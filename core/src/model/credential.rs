//! What the gateway shows a server so that it is let in.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::{ServerId, TenantId};

/// Whose credentials calls of a server carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CredentialsOf {
    /// What is set for the server, in everybody's calls.
    #[default]
    Server,
    /// What is set for who calls; who has none there is refused. What is set for the server itself is shown only when the
    /// gateway asks for itself: what the server offers, and how it is.
    Caller,
}

impl CredentialsOf {
    /// Whether calls carry the same, whoever makes them.
    pub fn is_shared(&self) -> bool {
        *self == Self::Server
    }
}

/// What is told of a credential: everything but itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Credential {
    /// The server that it is for.
    pub server_id: ServerId,
    /// For whose calls alone; for everybody's if absent. As [`Principal::subject`](super::Principal).
    pub subject: Option<String>,
    /// The header that it is sent in, in lower case.
    pub header: String,
    /// The origin that it is sent to, and no other.
    pub origin: String,
    /// Which key it is sealed with.
    pub key_id: String,
    /// Who set it.
    pub created_by: String,
    /// When it was set.
    pub created_at: Timestamp,
}

/// A credential as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedCredential {
    /// Whose server it is for.
    pub tenant_id: TenantId,
    /// What is told of it.
    pub about: Credential,
    /// The value, sealed.
    pub sealed: Vec<u8>,
}

impl SealedCredential {
    /// The subject as stores keep it: empty for everybody.
    pub fn subject(&self) -> &str {
        self.about.subject.as_deref().unwrap_or_default()
    }
}

impl fmt::Debug for SealedCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.about.fmt(f)
    }
}
