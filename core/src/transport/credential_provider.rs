//! Credentials that the gateway sends to a server: headers that are added to a request when it is sent.
//!
//! They are asked for each time, since they may change or expire, and are no part of a connection.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{HeaderMap, StatusCode};
use url::Url;

use crate::error::{Error, Result};
use crate::model::ServerId;

/// The origin of a server's URL. That of a WebSocket is the one of its handshake, which is HTTP.
pub fn origin(url: &Url) -> String {
    let scheme = match url.scheme() {
        "ws" => "http",
        "wss" => "https",
        other => other,
    };
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{scheme}://{}:{port}", url.host_str().unwrap_or_default())
}

/// The request for which headers are wanted.
#[derive(Clone, Copy, Debug)]
pub struct CredentialRequest<'a> {
    /// The server.
    pub server: ServerId,
    /// The caller, where each caller has a credential of its own; `None`: one credential for everybody.
    pub subject: Option<&'a str>,
    /// The request's destination, as `https://host:port`: a credential for another origin is not returned.
    pub origin: &'a str,
}

/// The headers.
pub enum ProvidedCredentials {
    /// None.
    Nothing,
    /// Known.
    Now(Arc<HeaderMap>),
    /// Known when this ends.
    Later(BoxFuture<'static, Result<Arc<HeaderMap>>>),
    /// This caller has no credential, and the request must not be sent without one.
    Missing(Error),
}

/// A server's refusal to let a request in: 401 or 403.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// The status.
    pub status: StatusCode,
    /// The headers of the refusal, such as `WWW-Authenticate`.
    pub headers: &'a HeaderMap,
    /// Whether the request is not sent again in any case.
    pub last: bool,
}

/// The advice on a refusal.
#[derive(Debug)]
pub enum RetryAdvice {
    /// Nothing is known.
    Unknown,
    /// The same request, sent now, carries other credentials.
    Again,
    /// Somebody has to act; the error says how.
    Because(Error),
}

/// Provides the credentials that servers demand.
pub trait CredentialProvider: Send + Sync + fmt::Debug {
    /// The headers of a request. Asked for every request.
    fn headers(&self, wanted: CredentialRequest<'_>) -> ProvidedCredentials;

    /// Is notified that a server refused a request with the credentials that were supplied for it.
    fn refused(&self, _wanted: CredentialRequest<'_>, _refusal: &Refusal<'_>) -> RetryAdvice {
        RetryAdvice::Unknown
    }
}

/// Provides no credentials.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;

impl CredentialProvider for Nothing {
    fn headers(&self, _: CredentialRequest<'_>) -> ProvidedCredentials {
        ProvidedCredentials::Nothing
    }
}

impl fmt::Debug for ProvidedCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Supplied")
    }
}
