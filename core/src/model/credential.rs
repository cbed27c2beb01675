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

/// Where a credential comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// Somebody set the value of the header.
    #[default]
    Header,
    /// Somebody authorized the gateway by OAuth: an access token, which the gateway renews by itself where it can.
    Oauth,
}

impl CredentialKind {
    /// As stores keep it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Oauth => "oauth",
        }
    }

    /// The other way; `None` for what no version of this crate has kept.
    pub fn of(text: &str) -> Option<Self> {
        [Self::Header, Self::Oauth].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What is told of an authorization by OAuth: everything but its tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Authorized {
    /// Who gave it (`issuer` of RFC 8414), if that is known.
    pub issuer: Option<String>,
    /// What it lets the gateway do there.
    pub scopes: Vec<String>,
    /// When the access token ends, if that is known.
    pub expires_at: Option<Timestamp>,
    /// Whether the gateway can renew it then by itself; else somebody has to log in again.
    pub renewable: bool,
}

/// What is told of a credential: everything but itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Credential {
    /// Where it comes from.
    pub kind: CredentialKind,
    /// What is told of an authorization by OAuth; not what stores keep, but what they keep sealed.
    pub authorized: Option<Authorized>,
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
