//! What a server wants to see before it lets the gateway in: headers that are added to a request when it is sent.
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

/// For which request headers are wanted.
#[derive(Clone, Copy, Debug)]
pub struct CredentialRequest<'a> {
    /// The server.
    pub server: ServerId,
    /// For whose calls alone, where each caller has a credential of its own; `None`: the same for everybody.
    pub subject: Option<&'a str>,
    /// Where the request goes, as `https://host:port`: what is meant for another origin is not given.
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
    /// There is nothing that this caller could show, and without it the request must not be sent.
    Missing(Error),
}

/// A server's refusal to let a request in: 401 or 403.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// Which of them.
    pub status: StatusCode,
    /// What the server says besides, such as `WWW-Authenticate`.
    pub headers: &'a HeaderMap,
    /// Whether the request is not sent again in any case.
    pub last: bool,
}

/// What can be done about it.
#[derive(Debug)]
pub enum RetryAdvice {
    /// Nothing is known.
    Unknown,
    /// The same request, sent now, is shown something else.
    Again,
    /// Somebody has to do something, which the error says.
    Because(Error),
}

/// Knows what servers want to see.
pub trait CredentialProvider: Send + Sync + fmt::Debug {
    /// The headers of a request. Asked for every request.
    fn headers(&self, wanted: CredentialRequest<'_>) -> ProvidedCredentials;

    /// Told that a server refused a request with what was supplied for it.
    fn refused(&self, _wanted: CredentialRequest<'_>, _refusal: &Refusal<'_>) -> RetryAdvice {
        RetryAdvice::Unknown
    }
}

/// Nothing for anybody.
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
