//! The answers that every operation can return besides its own, as the OpenAPI document lists them.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::{IntoResponses, ToSchema};

/// The envelope of every error of the REST API.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `answer::finish` writes")]
pub(crate) struct ErrorAnswer {
    error: ErrorBody,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `answer::finish` writes")]
pub(crate) struct ErrorBody {
    code: ErrorCode,
    /// The fault and the next step.
    message: String,
    /// Where: the field, the parameter, the limit, as far as they are known.
    details: BTreeMap<String, String>,
    /// As in the header `X-Correlation-Id`.
    correlation_id: String,
    #[schema(format = DateTime)]
    timestamp: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(dead_code, reason = "the codes of the table in `error.rs`")]
pub(crate) enum ErrorCode {
    ValidationError,
    AuthenticationRequired,
    PermissionDenied,
    ResourceNotFound,
    DuplicateResource,
    RateLimitExceeded,
    ServerUnreachable,
    InternalError,
}

/// Any operation.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes what `answer::finish` writes")]
pub(crate) enum Refused {
    /// A parameter or a field is wrong; `details` names it
    #[response(status = 400)]
    Invalid(#[to_schema] ErrorAnswer),
    /// No credential, or one that does not hold
    #[response(status = 401)]
    Unauthenticated(#[to_schema] ErrorAnswer),
    /// `Host` or `Origin` is not allowed, or the caller may not do this
    #[response(status = 403)]
    Forbidden(#[to_schema] ErrorAnswer),
    /// Too many requests within a minute, or too many wrong credentials; see `Retry-After`
    #[response(status = 429)]
    RateLimited(#[to_schema] ErrorAnswer),
    /// A fault of the gateway
    #[response(status = 500)]
    Internal(#[to_schema] ErrorAnswer),
    /// The store cannot be reached, or the gateway is shutting down; try again
    #[response(status = 503)]
    Unavailable(#[to_schema] ErrorAnswer),
}

/// Operations on one thing.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes what `answer::finish` writes")]
pub(crate) enum Missing {
    /// There is no such thing
    #[response(status = 404)]
    NotFound(#[to_schema] ErrorAnswer),
}

/// Operations that take a body.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes what `answer::finish` writes")]
pub(crate) enum BadBody {
    /// The body is larger than `server.max_body_bytes`
    #[response(status = 413)]
    TooLarge(#[to_schema] ErrorAnswer),
    /// The body's `Content-Type` is not `application/json`
    #[response(status = 415)]
    MediaType(#[to_schema] ErrorAnswer),
}

/// Operations that send requests to another party.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes what `answer::finish` writes")]
pub(crate) enum Upstream {
    /// The server, or another party that it names, cannot be reached or does not go along
    #[response(status = 424)]
    Upstream(#[to_schema] ErrorAnswer),
}

/// One JSON-RPC 2.0 message of MCP: a request, a notification, or an answer to a request of the server's.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `mcp` reads")]
pub(crate) struct RpcMessage {
    /// `2.0`.
    jsonrpc: String,
    /// A string or an integer; absent in a notification.
    id: Option<Value>,
    method: Option<String>,
    params: Option<Value>,
    result: Option<Value>,
    error: Option<RpcError>,
}

/// An answer of JSON-RPC.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `mcp` writes")]
pub(crate) struct RpcAnswer {
    /// `2.0`.
    jsonrpc: String,
    /// The request's; `null` or absent if it could not be read.
    id: Option<Value>,
    result: Option<Value>,
    error: Option<RpcError>,
}

/// An error of JSON-RPC.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `mcp` writes")]
pub(crate) struct RpcError {
    code: i32,
    message: String,
    /// For an error of the gateway's own: `source` is `gateway`, `kind` names it, `retryable` says whether the same
    /// call can succeed later.
    data: Option<Value>,
}

/// A JSON-RPC request with routing wishes.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `proxy` reads")]
pub(crate) struct ProxyRequest {
    /// `2.0`.
    jsonrpc: String,
    /// A string or an integer.
    id: Value,
    method: String,
    params: Option<Value>,
    /// Only servers that have all of these tools.
    required_tools: Option<Vec<String>>,
    /// Only servers that have all of these resources.
    required_resources: Option<Vec<String>>,
    /// Ids or names, tried first in this order.
    preferred_servers: Option<Vec<String>>,
    /// Longest wait for the answer, in seconds.
    timeout: Option<f64>,
}

/// The answer, with the server that gave it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `proxy` writes")]
pub(crate) struct ProxyAnswer {
    /// `2.0`.
    jsonrpc: String,
    id: Option<Value>,
    result: Option<Value>,
    error: Option<RpcError>,
    /// The server that answered; `null` if none did.
    server_id: Option<String>,
    response_time_ms: f64,
    success: bool,
}

/// MCP endpoints: every refusal is an error of JSON-RPC.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes what `mcp::refuse` writes")]
pub(crate) enum RpcRefused {
    /// Not one JSON-RPC message, or one that does not fit the protocol
    #[response(status = 400)]
    Invalid(#[to_schema] RpcAnswer),
    /// No credential, or one that does not hold
    #[response(status = 401)]
    Unauthenticated(#[to_schema] RpcAnswer),
    /// `Host` or `Origin` is not allowed, or the caller may not do this
    #[response(status = 403)]
    Forbidden(#[to_schema] RpcAnswer),
    /// No such service, or the session ended: initialize again
    #[response(status = 404)]
    NotFound(#[to_schema] RpcAnswer),
    /// The body is larger than `server.max_body_bytes`
    #[response(status = 413)]
    TooLarge(#[to_schema] RpcAnswer),
    /// `Accept` does not have `text/event-stream`
    #[response(status = 406)]
    NotAcceptable(#[to_schema] RpcAnswer),
    /// `Content-Type` is not `application/json`
    #[response(status = 415)]
    MediaType(#[to_schema] RpcAnswer),
    /// A limit of calls or sessions was passed; see `Retry-After`
    #[response(status = 429)]
    RateLimited(#[to_schema] RpcAnswer),
    /// A fault of the gateway
    #[response(status = 500)]
    Internal(#[to_schema] RpcAnswer),
    /// The server broke the connection or the protocol
    #[response(status = 502)]
    BadUpstream(#[to_schema] RpcAnswer),
    /// No server can take the call now; see `Retry-After`
    #[response(status = 503)]
    Unavailable(#[to_schema] RpcAnswer),
    /// The server did not answer in time
    #[response(status = 504)]
    Timeout(#[to_schema] RpcAnswer),
}

#[cfg(test)]
mod tests {
    use utoipa::PartialSchema;

    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn every_code_that_an_error_can_have_is_documented() {
        let schema = serde_json::to_string(&ErrorCode::schema()).unwrap();
        for kind in ErrorKind::ALL {
            assert!(schema.contains(&format!("\"{}\"", kind.row().code)), "{kind:?}: {schema}");
        }
    }
}
