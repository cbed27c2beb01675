//! One error for every face of the gateway: a kind to act on, a message to read, context to find the place.
//!
//! Callers act on [`ErrorKind`] alone; the table of `kinds!` is the only place that has the
//! name of a kind and its numbers on HTTP and in JSON-RPC. `Display` never prints the
//! source, so that a dependency's message about its insides does not reach a client by accident.
//!
//! Code that decides something reads typed facts: [`Error::kind`], [`Error::cause`], [`Error::upstream_status`],
//! [`Error::delivery`], [`Error::retry_delay`]. Message and context are for people: they may be reworded at any time, and
//! `tests/architecture` lets only those files read the context that write an error down.

mod cause;
mod in_full;

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

macro_rules! kinds {
    (
        $(#[$attribute:meta])*
        pub enum ErrorKind {
            $($(#[doc = $meaning:literal])+ $kind:ident ($name:literal, $code:literal, $status:literal, $rpc:literal, $retryable:literal): $advice:literal;)+
        }
    ) => {
        $(#[$attribute])*
        pub enum ErrorKind {
            $($(#[doc = $meaning])+ $kind,)+
        }

        impl ErrorKind {
            /// Every kind, for tables and tests.
            pub const ALL: [Self; 23] = [$(Self::$kind,)+];

            /// The one table: kind to name, REST code, HTTP status, JSON-RPC code, retryable.
            pub const fn row(self) -> Row {
                match self {
                    $(Self::$kind => Row { name: $name, code: $code, status: $status, rpc: $rpc, retryable: $retryable },)+
                }
            }

            /// The meaning of the kind, and the advice to a person who meets it, for the page of reference.
            pub const fn explained(self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$kind => (concat!($($meaning),+), $advice),)+
                }
            }
        }
    };
}

kinds! {
    /// The failure, in the terms that a caller can act on.
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
        Parse ("parse", "VALIDATION_ERROR", 400, -32700, false):
            "Send one valid JSON document, nested at most 128 deep; `message` has the position.";
        /// JSON, but not one JSON-RPC 2.0 request, notification or response.
        InvalidRequest ("invalid_request", "VALIDATION_ERROR", 400, -32600, false):
            "Send one JSON-RPC 2.0 message: `jsonrpc`, `method`, `params`, and `id` for a request. Batches are refused.";
        /// No such JSON-RPC method here.
        MethodNotFound ("method_not_found", "RESOURCE_NOT_FOUND", 404, -32601, false):
            "Check the method's name, and whether the endpoint offers it: a method is offered when a server behind the endpoint declares it.";
        /// A parameter is missing, of the wrong form, or names something that the caller cannot use.
        InvalidParams ("invalid_params", "VALIDATION_ERROR", 400, -32602, false):
            "Correct the parameter that `data` or `details` names. An unknown tool counts as a parameter: list the tools first.";
        /// A header is missing or says something else than the body.
        HeaderMismatch ("header_mismatch", "VALIDATION_ERROR", 400, -32020, false):
            "Make the `Mcp-*` headers say the same as the body, or send the call with a client library of 2026-07-28.";
        /// The request needs a client capability that the client did not declare.
        MissingCapability ("missing_capability", "VALIDATION_ERROR", 400, -32021, false):
            "Declare the capability that the message names in the client, or call a tool that does not need it.";
        /// This protocol version is not spoken here.
        UnsupportedVersion ("unsupported_version", "VALIDATION_ERROR", 400, -32022, false):
            "Use one of the protocol versions that `data.supported` lists.";
        /// `Content-Type` or `Accept` does not fit.
        MediaType ("media_type", "VALIDATION_ERROR", 415, -32600, false):
            "Send `Content-Type: application/json`, and accept `application/json` and `text/event-stream`.";
        /// The HTTP method does not exist on this route.
        MethodNotAllowed ("method_not_allowed", "VALIDATION_ERROR", 405, -32600, false):
            "Use one of the methods in the header `Allow`.";
        /// No credential, or one that does not hold.
        Unauthenticated ("unauthenticated", "AUTHENTICATION_REQUIRED", 401, -31401, false):
            "Send `Authorization: Bearer …` with an API key or a token of a configured issuer. `mcp-gateway keys create` makes a key.";
        /// The caller is known and may not do this.
        PermissionDenied ("permission_denied", "PERMISSION_DENIED", 403, -31403, false):
            "Use a credential with the role or the scopes that the message names, or ask an administrator; permissions.md lists them.";
        /// No such thing, or none that the caller may see.
        NotFound ("not_found", "RESOURCE_NOT_FOUND", 404, -31404, false):
            "Check the name or the id. A thing that the caller may not see is answered alike.";
        /// No such MCP resource, or none that the caller may see.
        ResourceNotFound ("resource_not_found", "RESOURCE_NOT_FOUND", 404, -32602, false):
            "List the resources again; the URI is unknown, or the caller may not see it.";
        /// The session ended or never was; the client initializes again.
        SessionNotFound ("session_not_found", "RESOURCE_NOT_FOUND", 404, -31404, true):
            "Send `initialize` again. The session ran out, was ended, or the gateway was restarted.";
        /// A thing of that name exists, or it changed since it was read.
        Conflict ("conflict", "DUPLICATE_RESOURCE", 409, -31409, false):
            "Choose another name, or read the thing again and repeat the change with its new `ETag`.";
        /// A size limit was passed; the message names the limit.
        TooLarge ("too_large", "VALIDATION_ERROR", 413, -31413, false):
            "Send less, or raise the limit that the message names.";
        /// A rate limit was passed.
        RateLimited ("rate_limited", "RATE_LIMIT_EXCEEDED", 429, -31429, true):
            "Wait as long as `Retry-After` says. `limits.*` sets the rates; a key may have a limit of its own.";
        /// The caller gave up.
        Cancelled ("cancelled", "INTERNAL_ERROR", 499, -31499, false):
            "Nothing: the caller, or an administrator, ended the call.";
        /// A fault of the gateway itself.
        Internal ("internal", "INTERNAL_ERROR", 500, -32603, false):
            "Look for the correlation id in the gateway's log, and report it.";
        /// The server broke the connection or the protocol.
        BadUpstream ("bad_upstream", "SERVER_UNREACHABLE", 502, -31502, false):
            "Look at the server that the message names: it broke the connection or the protocol. `data.outcome` says whether it may have executed the call.";
        /// No server can take the call now.
        Unavailable ("unavailable", "SERVER_UNREACHABLE", 503, -31503, true):
            "Wait as long as the message says, or bring up a replica. `GET /api/v1/servers/{id}/health` has the last probes.";
        /// The database cannot be written or read now.
        Storage ("storage", "INTERNAL_ERROR", 503, -31503, true):
            "Look at the disk and the database of the gateway; `mcp-gateway healthcheck` tells whether it works again.";
        /// The server did not answer in time.
        Timeout ("timeout", "SERVER_UNREACHABLE", 504, -31504, false):
            "Raise `configuration.timeout_seconds` of the server, or call a faster tool. `data.outcome` says whether the server may have executed the call.";
    }
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

/// Whether the server can have seen the call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Delivery {
    /// No byte of the call was written, or the server refused it unread: it is safe to send elsewhere.
    NotSent,
    /// Something was written: its effect on the server is unknown.
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
    /// An error of `kind`; the message says the fault, the place, and the remedy.
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

    /// The same error with each of its texts, and that of its source, as `change` makes them.
    #[must_use]
    pub fn map_texts(mut self, change: impl Fn(&str) -> String) -> Self {
        let parts = &mut *self.0;
        parts.message = change(&parts.message).into();
        for (_, value) in &mut parts.facts.context {
            *value = change(value);
        }
        if let Some(source) = parts.source.take() {
            let mut texts = vec![source.to_string()];
            let mut next = source.source();
            while let Some(cause) = next {
                texts.push(cause.to_string());
                next = cause.source();
            }
            parts.source = Some(change(&texts.join(": ")).into());
        }
        self
    }

    /// The same error for another waiter for the same thing; the source stays with the first.
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

    /// The kind of the failure.
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
