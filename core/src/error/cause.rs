//! The reasons for a failure that code acts on, beyond its kind.

/// The reason of a failure, where code decides by it. An error whose kind says enough has [`Cause::Unspecified`].
///
/// ```
/// use mcp_registry_gateway::error::{Cause, Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Unavailable, "no connection came free within 1 s").because(Cause::PoolExhausted);
/// assert_eq!(error.cause(), &Cause::PoolExhausted);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// No reason that code acts on.
    #[default]
    Unspecified,
    /// The server answered with a JSON-RPC error of its own.
    Refused,
    /// The server sent more than a limit of the gateway lets through; the server is not at fault.
    LimitExceeded,
    /// As many connections to the server, or processes of it, are open as `configuration.max_connections` allows.
    PoolExhausted,
    /// The call took as long as it may.
    DeadlinePassed,
    /// The gateway puts the attempt off, after failures before it.
    PutOff,
    /// The server's program has been started, and has not introduced itself yet; the server is not at fault.
    Starting,
    /// The server did not introduce itself within the time that it has for its start.
    StartTimeout,
    /// A person has to authorize the gateway at the server.
    AuthorizationRequired,
    /// The caller's credential lacks scopes. The value names all that are needed, separated by spaces (RFC 6750, section 3).
    InsufficientScope(String),
    /// The caller passed a rate limit of its own. The value is the limit in requests a minute.
    RateLimit(u32),
    /// The client did not declare capabilities that the server needs. The value is the JSON object that
    /// `data.requiredCapabilities` tells the client (MCP 2026-07-28).
    MissingCapabilities(String),
}
