//! The gateway as the OAuth client of the servers behind it: a person logs in once, and their grant is sent to the server from
//! then on, renewed when it ends.
//!
//! The protocol (discovery by RFC 9728 and 8414, registration by RFC 7591 or a metadata document, PKCE, resource indicators by
//! RFC 8707, `iss` by RFC 9207) is the official SDK's, `rmcp`. This module's own part: every request goes through the
//! gateway's guard, and an authorization becomes a grant that can be sealed.

mod challenge;
mod login;
mod redirect;
mod wire;

pub(crate) use challenge::Challenge;
pub(crate) use login::{Callback, Login, Wish, renew};
pub(crate) use redirect::issuer_at;
pub(crate) use wire::Wire;

use rmcp::transport::auth::AuthError;

use crate::error::{Error, ErrorKind};

/// Where servers' metadata may send a person or a token: by https, or to this machine.
fn check_endpoint(name: &'static str, url: &str) -> crate::error::Result<()> {
    if url::Url::parse(url).is_ok_and(|url| crate::auth::is_safe(&url)) {
        return Ok(());
    }
    let message = "the authorization server names an endpoint that is no URL with https";
    Err(Error::new(ErrorKind::BadUpstream, message).with("endpoint", name))
}

/// The error of a failed login, for the person who began it.
#[expect(clippy::needless_pass_by_value, reason = "every `map_err` gives it")]
fn failed(error: AuthError) -> Error {
    let (kind, message) = match &error {
        AuthError::AuthorizationServerMismatch { .. }
        | AuthError::AuthorizationServerMissingIssuer { .. } => (
            ErrorKind::PermissionDenied,
            "the answer does not come from the authorization server that was asked (RFC 9207); log in again",
        ),
        AuthError::RegistrationFailed(_) => (
            ErrorKind::BadUpstream,
            "the authorization server does not let the gateway register itself; register it there by hand, and log in with its \
             `client_id`",
        ),
        AuthError::TokenRefreshRejected(_) | AuthError::AuthorizationRequired => {
            (ErrorKind::PermissionDenied, "the authorization has ended; log in again")
        }
        AuthError::TokenRefreshFailed(_) => {
            (ErrorKind::BadUpstream, "the authorization server does not renew the access token")
        }
        AuthError::TokenExchangeFailed(_) => {
            (ErrorKind::BadUpstream, "the authorization server gives no access token for the code")
        }
        AuthError::ProtectedResourceMetadataInvalid { .. } => (
            ErrorKind::BadUpstream,
            "the server's metadata is not about the server (RFC 9728 section 3.3), so nothing is authorized",
        ),
        _ => (ErrorKind::BadUpstream, "the server cannot be authorized by OAuth"),
    };
    Error::new(kind, message).with("reason", reason(&error)).not_sent()
}

/// The SDK's error and its causes, in one line of bounded length.
fn reason(error: &AuthError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(500).collect()
}
