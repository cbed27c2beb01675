//! Credentials that the gateway sends to servers. Values go in and never come out.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Result;
#[cfg(not(feature = "oauth"))]
use crate::error::{Error, ErrorKind};
use crate::gateway::{Caller, CredentialScope, Gateway};
use crate::model::{Authorized, Credential, CredentialKind, ServerId};

/// A credential to set.
#[derive(Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCredential {
    /// The header that the server wants to see, such as `Authorization` or `X-Api-Key`.
    header: String,
    /// The value that it expects there, such as `Bearer …`. It is kept sealed and never shown.
    value: String,
    /// The only subject whose calls carry it, such as `key:…` or `user:…`; all calls do if absent. Another's is set by an
    /// administrator.
    subject: Option<String>,
}

/// The calls that carry a credential.
pub(crate) fn whose(subject: Option<&str>) -> CredentialScope<'_> {
    subject.map_or(CredentialScope::All, CredentialScope::Of)
}

impl NewCredential {
    pub(crate) async fn set(
        self,
        gateway: &Gateway,
        caller: &Caller,
        server: ServerId,
    ) -> Result<CredentialView> {
        let Self { header, value, subject } = self;
        let set = gateway.set_credential(caller, server, whose(subject.as_deref()), &header, &value).await?;
        Ok(set.into())
    }
}

/// The public part of a credential.
#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(as = Credential))]
pub(crate) struct CredentialView {
    /// Where it comes from: `header` if somebody set it, `oauth` if somebody logged in.
    kind: CredentialKind,
    /// The header, in lower case.
    header: String,
    /// The only subject whose calls carry it; absent if all calls do, or the gateway's own requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// The origin that it is sent to, and no other: that of the server when it was set.
    origin: String,
    /// Which key it is sealed with.
    key_id: String,
    /// The principal that set it.
    created_by: String,
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    created_at: Timestamp,
    /// The public part of an authorization by OAuth.
    #[serde(skip_serializing_if = "Option::is_none")]
    authorized: Option<AuthorizedView>,
}

/// The public part of an authorization by OAuth: everything but its tokens.
#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(as = Authorized))]
struct AuthorizedView {
    /// The authorization server, if it says its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    /// The scopes that it grants there.
    scopes: Vec<String>,
    /// When the access token ends, if that is known.
    #[cfg_attr(feature = "server", schema(value_type = Option<String>, format = DateTime))]
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    /// Whether the gateway renews it then by itself; else somebody has to log in again.
    renewable: bool,
}

impl From<Credential> for CredentialView {
    fn from(credential: Credential) -> Self {
        let Credential { kind, authorized, header, subject, origin, key_id, created_by, created_at, .. } =
            credential;
        let authorized = authorized.map(|told| {
            let Authorized { issuer, scopes, expires_at, renewable } = told;
            AuthorizedView { issuer, scopes, expires_at, renewable }
        });
        Self { kind, header, subject, origin, key_id, created_by, created_at, authorized }
    }
}

/// A server's credentials, by subject and header.
#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct CredentialList {
    credentials: Vec<CredentialView>,
}

impl CredentialList {
    pub(crate) fn of(credentials: Vec<Credential>) -> Self {
        Self { credentials: credentials.into_iter().map(Into::into).collect() }
    }
}

/// A login that has begun.
/// The error of a login in a build without an OAuth client.
#[cfg(not(feature = "oauth"))]
pub(crate) fn without_oauth() -> Error {
    let message = "this build of the gateway cannot log in to servers; build it with the feature `oauth`";
    Error::new(ErrorKind::Unavailable, message)
}

#[cfg(feature = "oauth")]
#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct LoginView {
    /// Where a person goes, in a browser.
    authorization_url: String,
    /// Where this authorization server, and no other, sends the browser back to. A client that was registered by hand needs it there.
    redirect_uri: String,
    /// Until when they have to be back.
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    expires_at: Timestamp,
}

#[cfg(feature = "oauth")]
impl From<crate::gateway::LoginBegun> for LoginView {
    fn from(begun: crate::gateway::LoginBegun) -> Self {
        let crate::gateway::LoginBegun { authorization_url, redirect_uri, expires_at } = begun;
        Self { authorization_url, redirect_uri, expires_at }
    }
}
