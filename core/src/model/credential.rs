//! Credentials that the gateway sends to a server.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::{ServerId, TenantId};

/// The credentials that calls of a server carry: its own, or each caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CredentialsOf {
    /// Those that are set for the server, in everybody's calls.
    #[default]
    Server,
    /// Those that are set for the caller; a caller without any is refused. Those that are set for the server itself are sent only
    /// in the gateway's own requests: for its listing and its health.
    Caller,
}

impl CredentialsOf {
    /// Whether the calls of all callers carry the same.
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

    /// The kind of this name; `None` for a name that no version of this crate has kept.
    pub fn of(text: &str) -> Option<Self> {
        [Self::Header, Self::Oauth].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// The public part of an authorization by OAuth: everything but its tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Authorized {
    /// The authorization server (`issuer` of RFC 8414), if that is known.
    pub issuer: Option<String>,
    /// The scopes that it grants there.
    pub scopes: Vec<String>,
    /// When the access token ends, if that is known.
    pub expires_at: Option<Timestamp>,
    /// Whether the gateway can renew it then by itself; else somebody has to log in again.
    pub renewable: bool,
}

/// The public part of a credential: everything but its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Credential {
    /// Where it comes from.
    pub kind: CredentialKind,
    /// The public part of an authorization by OAuth; stores do not keep it, it is part of the sealed value.
    pub authorized: Option<Authorized>,
    /// The server that it is for.
    pub server_id: ServerId,
    /// The only principal whose calls carry it; everybody's do if absent. As [`Principal::subject`](super::Principal).
    pub subject: Option<String>,
    /// The header that it is sent in, in lower case.
    pub header: String,
    /// The origin that it is sent to, and no other.
    pub origin: String,
    /// Which key it is sealed with.
    pub key_id: String,
    /// The principal that set it.
    pub created_by: String,
    /// When it was set.
    pub created_at: Timestamp,
}

/// A credential as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedCredential {
    /// The tenant of the server.
    pub tenant_id: TenantId,
    /// The public part.
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
