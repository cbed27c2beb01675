//! What every operation can answer besides what it is for, as the OpenAPI document says it.

use std::collections::BTreeMap;

use utoipa::{IntoResponses, ToSchema};

/// The envelope of every error of the REST API.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `answer::finish` writes")]
pub(super) struct ErrorAnswer {
    error: ErrorBody,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `answer::finish` writes")]
pub(super) struct ErrorBody {
    code: ErrorCode,
    /// What is wrong and what to do.
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
pub(super) enum ErrorCode {
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
pub(super) enum Refused {
    /// A parameter or a field is wrong; `details` names it
    #[response(status = 400)]
    Invalid(#[to_schema] ErrorAnswer),
    /// No credential, or one that does not hold
    #[response(status = 401)]
    Unauthenticated(#[to_schema] ErrorAnswer),
    /// `Host` or `Origin` is not allowed, or the caller may not do this
    #[response(status = 403)]
    Forbidden(#[to_schema] ErrorAnswer),
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
pub(super) enum Missing {
    /// There is no such thing
    #[response(status = 404)]
    NotFound(#[to_schema] ErrorAnswer),
}

/// Operations that take a body.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes what `answer::finish` writes")]
pub(super) enum BadBody {
    /// The body is larger than `server.max_body_bytes`
    #[response(status = 413)]
    TooLarge(#[to_schema] ErrorAnswer),
    /// The body's `Content-Type` is not `application/json`
    #[response(status = 415)]
    MediaType(#[to_schema] ErrorAnswer),
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
