//! One error for every face of the gateway: a kind to act on, a message to read, context to find the place.
//!
//! Callers act on [`ErrorKind`] alone; the table in [`ErrorKind::row`] is the only place that says what a
//! kind is called and which numbers stand for it on HTTP and in JSON-RPC. `Display` never prints the
//! source, so that what a dependency says about its insides does not reach a client by accident.
//!
//! Code that decides something reads typed facts: [`Error::kind`], [`Error::cause`], [`Error::upstream_status`],
//! [`Error::delivery`], [`Error::retry_delay`]. Message and context are for people: they may be reworded at any time, and
//! `tests/architecture` lets only those files read the context that write an error down.

mod cause;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

pub use cause::Cause;

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

/// A failure: kind, message, typed facts, context in the order it was added, source.
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
    facts: Facts,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Everything that stays true when the same failure is told again, or told as another kind.
#[derive(Clone, Default)]
struct Facts {
    context: Vec<(&'static str, String)>,
    /// The places in `context` of entries that are for operators alone.
    private: Vec<usize>,
    delivery: Delivery,
    retry_after: Option<Duration>,
    upstream_status: Option<u16>,
    cause: Cause,
}

impl Error {
    /// An error of `kind`; the message says what is wrong, where, and what to do.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(ErrorParts { kind, message: message.into(), facts: Facts::default(), source: None }))
    }

    /// Adds an entry to the context, which helps people to find the place. No code decides by it.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.facts.context.push((key, value.to_string()));
        self
    }

    /// As [`Error::with`], for operators: MCP clients are not told, such as where a server is and what it logs.
    #[must_use]
    pub fn with_private(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.facts.private.push(self.0.facts.context.len());
        self.with(key, value)
    }

    /// Says why it failed, for code that decides by it.
    #[must_use]
    pub fn because(mut self, cause: Cause) -> Self {
        self.0.facts.cause = cause;
        self
    }

    /// Keeps the HTTP status that a server answered with, and shows it to people as `status` in the context.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.0.facts.upstream_status = Some(status);
        self.with("status", status)
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
        self.0.facts.delivery = Delivery::NotSent;
        self
    }

    /// Says when trying again makes sense (`Retry-After`).
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.0.facts.retry_after = Some(delay);
        self
    }

    /// The same error for another who waited for the same thing; the source stays with the first.
    #[must_use]
    pub fn repeat(&self) -> Self {
        Self(Box::new(ErrorParts {
            kind: self.0.kind,
            message: self.0.message.clone(),
            facts: self.0.facts.clone(),
            source: None,
        }))
    }

    /// The same failure under another kind and message. Facts and context stay, and this error becomes the source.
    #[must_use]
    pub fn recast(self, kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        let facts = self.0.facts.clone();
        Self(Box::new(ErrorParts { kind, message: message.into(), facts, source: Some(Box::new(self)) }))
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message without its context, for people.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The context in the order it was added, for people.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.facts.context
    }

    /// The context without the entries that [`Error::with_private`] added.
    pub fn client_context(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let Facts { context, private, .. } = &self.0.facts;
        let shown = context.iter().enumerate().filter(|(at, _)| !private.contains(at));
        shown.map(|(_, (key, value))| (*key, value.as_str()))
    }

    /// Why it failed, where code decides by that.
    pub fn cause(&self) -> &Cause {
        &self.0.facts.cause
    }

    /// The HTTP status other than success that a server answered with, if that is how it failed.
    pub fn upstream_status(&self) -> Option<u16> {
        self.0.facts.upstream_status
    }

    /// Whether a server can have seen the call.
    pub fn delivery(&self) -> Delivery {
        self.0.facts.delivery
    }

    /// When trying again makes sense, if that is known.
    pub fn retry_delay(&self) -> Option<Duration> {
        self.0.facts.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        let context = self.context();
        for (i, (key, value)) in context.iter().enumerate() {
            write!(f, "{}{key}: {value}", if i == 0 { " (" } else { ", " })?;
        }
        if context.is_empty() { Ok(()) } else { f.write_str(")") }
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

    /// An error with every fact set.
    fn known() -> Error {
        Error::new(ErrorKind::BadUpstream, "m")
            .with("server", "s")
            .with_private("address", "10.0.0.1:80")
            .status(404)
            .because(Cause::Refused)
            .not_sent()
            .retry_after(Duration::from_secs(1))
    }

    fn facts(error: &Error) -> (Option<u16>, &Cause, Delivery, Option<Duration>) {
        (error.upstream_status(), error.cause(), error.delivery(), error.retry_delay())
    }

    #[test]
    fn facts_and_context_survive_when_an_error_is_repeated_or_recast() {
        let known = known();
        assert_eq!(
            facts(&known),
            (Some(404), &Cause::Refused, Delivery::NotSent, Some(Duration::from_secs(1)))
        );
        let repeated = known.repeat();
        let recast = known.repeat().recast(ErrorKind::Timeout, "late");
        assert_eq!((recast.kind(), recast.message()), (ErrorKind::Timeout, "late"));
        assert!(std::error::Error::source(&recast).is_some(), "the first error is kept for the log");
        for told in [repeated, recast] {
            assert_eq!(facts(&told), facts(&known));
            assert_eq!(told.context(), known.context());
            assert!(told.client_context().all(|(key, _)| key != "address"), "it stays private");
        }
    }

    #[test]
    fn text_in_the_context_is_no_fact() {
        let error = Error::new(ErrorKind::BadUpstream, "m").with("status", 404).with("cause", "refused");
        assert_eq!(facts(&error), (None, &Cause::Unspecified, Delivery::Unknown, None));
    }

    #[test]
    fn a_status_is_shown_to_people_and_what_is_private_to_operators_alone() {
        assert_eq!(known().to_string(), "m (server: s, address: 10.0.0.1:80, status: 404)");
        assert_eq!(known().client_context().collect::<Vec<_>>(), [("server", "s"), ("status", "404")]);
    }
}
