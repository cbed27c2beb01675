//! One error for every face of the gateway: a kind to act on, a message to read, context to find the place.
//!
//! Callers act on [`ErrorKind`] alone; the table in [`ErrorKind::row`] is the only place that says what a
//! kind is called and which numbers stand for it on HTTP and in JSON-RPC. `Display` never prints the
//! source, so that what a dependency says about its insides does not reach a client by accident.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// The result of every fallible call of this crate.
///
/// ```
/// fn weight(text: &str) -> mcp_registry_gateway::Result<u32> {
///     use mcp_registry_gateway::{Error, ErrorKind};
///     text.parse().map_err(|_| Error::new(ErrorKind::InvalidParams, "a weight is a whole number").with("found", text))
/// }
/// assert_eq!(weight("heavy").unwrap_err().to_string(), "a weight is a whole number (found: heavy)");
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the terms that a caller can act on.
///
/// ```
/// use mcp_registry_gateway::{Caller, ErrorKind, Gateway};
///
/// # #[tokio::main]
/// # async fn main() -> mcp_registry_gateway::Result<()> {
/// let gateway = Gateway::builder().open().await?;
/// match gateway.named(&Caller::local(), "docs").map_err(|error| error.kind()) {
///     Err(ErrorKind::NotFound) => {}
///     other => panic!("{other:?}"),
/// }
/// # gateway.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bytes are not JSON, or nest deeper than allowed.
    Parse,
    /// JSON, but not one JSON-RPC 2.0 request, notification or response.
    InvalidRequest,
    /// No such JSON-RPC method here.
    MethodNotFound,
    /// A parameter is missing, of the wrong form, or names something that the caller cannot use.
    InvalidParams,
    /// A header is missing or says something else than the body.
    HeaderMismatch,
    /// The request needs a client capability that the client did not declare.
    MissingCapability,
    /// This protocol version is not spoken here.
    UnsupportedVersion,
    /// `Content-Type` or `Accept` does not fit.
    MediaType,
    /// The HTTP method does not exist on this route.
    MethodNotAllowed,
    /// No credential, or one that does not hold.
    Unauthenticated,
    /// The caller is known and may not do this.
    PermissionDenied,
    /// No such thing, or none that the caller may see.
    NotFound,
    /// No such MCP resource, or none that the caller may see.
    ResourceNotFound,
    /// The session ended or never was; the client initializes again.
    SessionNotFound,
    /// A thing of that name exists, or it changed since it was read.
    Conflict,
    /// A size limit was passed; the message names the limit.
    TooLarge,
    /// A rate limit was passed.
    RateLimited,
    /// The caller gave up.
    Cancelled,
    /// A fault of the gateway itself.
    Internal,
    /// The server broke the connection or the protocol.
    BadUpstream,
    /// No server can take the call now.
    Unavailable,
    /// What must survive cannot be written or read now.
    Storage,
    /// The server did not answer in time.
    Timeout,
}

/// The names and numbers of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// `snake_case` name, as `data.kind` and in the bindings.
    pub name: &'static str,
    /// `error.code` of the REST API.
    pub code: &'static str,
    /// HTTP status.
    pub status: u16,
    /// JSON-RPC error code. Where the specifications have none it is -31000 minus the HTTP status, which
    /// lies outside the range that JSON-RPC reserves.
    pub rpc: i32,
    /// Whether the same call can succeed later without being changed.
    pub retryable: bool,
}

impl ErrorKind {
    /// Every kind, for tables and tests.
    pub const ALL: [Self; 23] = [
        Self::Parse,
        Self::InvalidRequest,
        Self::MethodNotFound,
        Self::InvalidParams,
        Self::HeaderMismatch,
        Self::MissingCapability,
        Self::UnsupportedVersion,
        Self::MediaType,
        Self::MethodNotAllowed,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::NotFound,
        Self::ResourceNotFound,
        Self::SessionNotFound,
        Self::Conflict,
        Self::TooLarge,
        Self::RateLimited,
        Self::Cancelled,
        Self::Internal,
        Self::BadUpstream,
        Self::Unavailable,
        Self::Storage,
        Self::Timeout,
    ];

    /// The one table: kind to name, REST code, HTTP status, JSON-RPC code, retryable.
    pub const fn row(self) -> Row {
        const fn row(name: &'static str, code: &'static str, status: u16, rpc: i32, retryable: bool) -> Row {
            Row { name, code, status, rpc, retryable }
        }
        match self {
            Self::Parse => row("parse", "VALIDATION_ERROR", 400, -32700, false),
            Self::InvalidRequest => row("invalid_request", "VALIDATION_ERROR", 400, -32600, false),
            Self::MethodNotFound => row("method_not_found", "RESOURCE_NOT_FOUND", 404, -32601, false),
            Self::InvalidParams => row("invalid_params", "VALIDATION_ERROR", 400, -32602, false),
            Self::HeaderMismatch => row("header_mismatch", "VALIDATION_ERROR", 400, -32020, false),
            Self::MissingCapability => row("missing_capability", "VALIDATION_ERROR", 400, -32021, false),
            Self::UnsupportedVersion => row("unsupported_version", "VALIDATION_ERROR", 400, -32022, false),
            Self::MediaType => row("media_type", "VALIDATION_ERROR", 415, -32600, false),
            Self::MethodNotAllowed => row("method_not_allowed", "VALIDATION_ERROR", 405, -32600, false),
            Self::Unauthenticated => row("unauthenticated", "AUTHENTICATION_REQUIRED", 401, -31401, false),
            Self::PermissionDenied => row("permission_denied", "PERMISSION_DENIED", 403, -31403, false),
            Self::NotFound => row("not_found", "RESOURCE_NOT_FOUND", 404, -31404, false),
            Self::ResourceNotFound => row("resource_not_found", "RESOURCE_NOT_FOUND", 404, -32602, false),
            Self::SessionNotFound => row("session_not_found", "RESOURCE_NOT_FOUND", 404, -31404, true),
            Self::Conflict => row("conflict", "DUPLICATE_RESOURCE", 409, -31409, false),
            Self::TooLarge => row("too_large", "VALIDATION_ERROR", 413, -31413, false),
            Self::RateLimited => row("rate_limited", "RATE_LIMIT_EXCEEDED", 429, -31429, true),
            Self::Cancelled => row("cancelled", "INTERNAL_ERROR", 499, -31499, false),
            Self::Internal => row("internal", "INTERNAL_ERROR", 500, -32603, false),
            Self::BadUpstream => row("bad_upstream", "SERVER_UNREACHABLE", 502, -31502, false),
            Self::Unavailable => row("unavailable", "SERVER_UNREACHABLE", 503, -31503, true),
            Self::Storage => row("storage", "INTERNAL_ERROR", 503, -31503, true),
            Self::Timeout => row("timeout", "SERVER_UNREACHABLE", 504, -31504, false),
        }
    }
}

/// Whether the server can have seen the call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Delivery {
    /// No byte of the call was written: it is safe to send elsewhere.
    NotSent,
    /// Something was written: what the server did with it is unknown.
    #[default]
    Unknown,
}

/// A failure: kind, message, context in the order it was added, source.
///
/// ```
/// use mcp_registry_gateway::{Error, ErrorKind};
/// let error = Error::new(ErrorKind::NotFound, "no server `x`").with("server", "x");
/// assert_eq!(error.to_string(), "no server `x` (server: x)");
/// assert_eq!(error.kind().row().status, 404);
/// ```
pub struct Error(Box<ErrorParts>);

struct ErrorParts {
    kind: ErrorKind,
    message: Cow<'static, str>,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    delivery: Delivery,
    retry_after: Option<Duration>,
}

impl Error {
    /// An error of `kind`; the message says what is wrong, where, and what to do.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(ErrorParts {
            kind,
            message: message.into(),
            context: Vec::new(),
            source: None,
            delivery: Delivery::default(),
            retry_after: None,
        }))
    }

    /// Adds a fact that helps to find the place.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Keeps the cause, for logs alone.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says that no byte of the call reached a server.
    #[must_use]
    pub fn not_sent(mut self) -> Self {
        self.0.delivery = Delivery::NotSent;
        self
    }

    /// Says when trying again makes sense (`Retry-After`).
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// The same error for another who waited for the same thing; the source stays with the first.
    #[must_use]
    pub fn repeat(&self) -> Self {
        Self(Box::new(ErrorParts {
            kind: self.0.kind,
            message: self.0.message.clone(),
            context: self.0.context.clone(),
            source: None,
            delivery: self.0.delivery,
            retry_after: self.0.retry_after,
        }))
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message without its context.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The context, in the order it was added.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    /// Whether a server can have seen the call.
    pub fn delivery(&self) -> Delivery {
        self.0.delivery
    }

    /// When trying again makes sense, if that is known.
    pub fn retry_delay(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        for (i, (key, value)) in self.0.context.iter().enumerate() {
            write!(f, "{}{key}: {value}", if i == 0 { " (" } else { ", " })?;
        }
        if self.0.context.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)?;
        match &self.0.source {
            Some(source) => write!(f, ": {source:?}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_outside_the_reserved_range_or_allowed_ones() {
        for kind in ErrorKind::ALL {
            let code = kind.row().rpc;
            let allowed = [-32700, -32600, -32601, -32602, -32603, -32020, -32021, -32022];
            assert!(allowed.contains(&code) || code > -32000, "{kind:?} has {code}");
        }
    }

    #[test]
    fn display_never_prints_the_source() {
        let error = Error::new(ErrorKind::Internal, "boom").caused_by("secret");
        assert_eq!(error.to_string(), "boom");
    }
}
