//! The permission matrix in front of every route: a caller without the right to a route's operation is refused before its handler
//! runs.
//!
//! The gateway's own methods ask the same matrix, for callers that use them directly. A route that the matrix does not have is
//! nobody's.

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::IntoResponse;
use http::Response;
use http::header::{ALLOW, HeaderValue};

use super::answer::Failure;
use crate::auth::Gate;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Caller;

/// Lets a request through to its handler, or refuses it.
pub(super) async fn check(path: MatchedPath, request: Request, next: Next) -> Response<axum::body::Body> {
    let (method, path) = (request.method().as_str(), path.as_str());
    if let Some(gate) = Gate::of(method, path) {
        return match pass(gate, request.extensions().get::<Caller>()) {
            Ok(()) => next.run(request).await,
            Err(error) => Failure::from(error).into_response(),
        };
    }
    let allowed = Gate::methods(path);
    if allowed.is_empty() {
        let error = Error::new(ErrorKind::PermissionDenied, "the permission matrix has no such route");
        return Failure::from(error).into_response();
    }
    let mut response = super::answer::no_method().await.into_response();
    if let Ok(allowed) = HeaderValue::try_from(allowed.join(",")) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}

fn pass(gate: Gate, caller: Option<&Caller>) -> Result<()> {
    let operation = match gate {
        Gate::Public => return Ok(()),
        Gate::Operation(operation) => operation,
        // Such a route stands before the router; here nobody would ask the pipeline.
        Gate::Mcp => {
            return Err(Error::new(ErrorKind::PermissionDenied, "this route is not served on this listener"));
        }
    };
    let unknown =
        || Error::new(ErrorKind::Unauthenticated, "the request did not pass the server's first checks");
    caller.ok_or_else(unknown)?.may(operation)
}
