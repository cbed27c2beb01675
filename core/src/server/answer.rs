//! Answers: the envelope of errors, and the headers that every response carries.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use serde::Serialize;

use super::edge::CORRELATION_ID;
use crate::clock::Clock;
use crate::error::{Cause, Error, ErrorKind};
use crate::gateway::{Caller, Gateway};
use crate::limit::{self, Quota};
use crate::rpc::answer::error_response;
use crate::rpc::version::Era;
use crate::transport::unread::SMALL;

/// Which form an error takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorFormat {
    /// A JSON-RPC error.
    Mcp,
    /// The envelope of the REST API.
    Rest,
}

/// A handler's error. The response is written by [`finish`], which knows the correlation id and the time.
#[derive(Debug)]
pub(super) struct Failure {
    error: Error,
    status: Option<StatusCode>,
}

impl Failure {
    /// With another status than the error's kind has.
    pub(super) fn status(error: Error, status: StatusCode) -> Self {
        Self { error, status: Some(status) }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, status: None }
    }
}

#[derive(Clone)]
struct Failed(Arc<Error>);

impl IntoResponse for Failure {
    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status.unwrap_or_else(|| status_of(self.error.kind()));
        response.extensions_mut().insert(Failed(Arc::new(self.error)));
        response
    }
}

/// The response that [`finish`] fills with `error`.
pub(super) fn refuse(error: Error) -> Response<Body> {
    Failure::from(error).into_response()
}

/// The error that [`finish`] will write, if the response is one.
pub(super) fn failure(response: &Response<Body>) -> Option<&Error> {
    response.extensions().get::<Failed>().map(|Failed(error)| &**error)
}

/// For paths that are not served here.
pub(super) fn unexposed() -> Error {
    let message = "no such route; a program that mounts the gateway serves MCP, and other parts where its `expose` names them";
    Error::new(ErrorKind::NotFound, message)
}

/// For paths that no route has.
pub(super) async fn no_route() -> Failure {
    Error::new(ErrorKind::NotFound, "no such route; `/docs` lists them all").into()
}

/// For routes that do not have the method.
pub(super) async fn no_method() -> Failure {
    Error::new(ErrorKind::MethodNotAllowed, "this route does not have this method; see `Allow`").into()
}

/// A body of JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => {
            let mut response = Response::new(Body::from(bytes));
            *response.status_mut() = status;
            response.headers_mut().insert(header::CONTENT_TYPE, JSON);
            response
        }
        Err(error) => {
            refuse(Error::new(ErrorKind::Internal, "the answer cannot be written as JSON").caused_by(error))
        }
    }
}

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The response, whose body counts as unread until it was written, if it is large. One that comes in pieces is made as it is read.
pub(super) async fn counted(response: Response<Body>, gateway: &Gateway, caller: &Caller) -> Response<Body> {
    let size = http_body::Body::size_hint(response.body()).exact().unwrap_or_default();
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size <= SMALL {
        return response;
    }
    let room = gateway.unread_room(caller);
    match room.make(size).await {
        Ok(()) => response
            .map(|body| Body::new(body.map_frame(move |frame| frame.map_data(|bytes| room.piece(bytes))))),
        Err(error) => refuse(error),
    }
}

/// Writes the error, if it is one, and the headers that every response has.
pub(super) fn finish(
    mut response: Response<Body>,
    place: ErrorFormat,
    correlation_id: &str,
    clock: &dyn Clock,
) -> Response<Body> {
    if let Some(Failed(error)) = response.extensions_mut().remove::<Failed>() {
        log(&error, response.status());
        let body = match place {
            ErrorFormat::Mcp => error_response(None, &error, Era::Legacy),
            ErrorFormat::Rest => rest_body(&error, correlation_id, clock).to_string().into(),
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, JSON);
        // The router has counted the empty body that stood here before.
        headers.remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::from(body);
        retry_after(&mut response, &error);
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(correlation_id) {
        headers.insert(CORRELATION_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // MCP answers are JSON or events, and `nosniff` keeps them that; these headers are for answers that a browser might show.
    if place == ErrorFormat::Rest {
        let policy = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
        headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(policy);
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers.entry(header::REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// `Retry-After`, where the error says when, and the caller's remaining quota if it is a limit of the caller's; and the scopes
/// that the error says the caller needs.
pub(super) fn retry_after(response: &mut Response<Body>, error: &Error) {
    super::challenge::remember(response, error);
    let Some(delay) = error.retry_delay() else { return };
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds(delay)));
    if let Cause::RateLimit(limit) = *error.cause() {
        tell_quota(headers, Quota { limit, remaining: 0, reset: delay });
    }
}

/// The caller's remaining quota, as draft-ietf-httpapi-ratelimit-headers-06 spells it: the form that clients in use read.
pub(super) fn tell_quota(headers: &mut HeaderMap, quota: Quota) {
    headers.insert("ratelimit-limit", HeaderValue::from(quota.limit));
    headers.insert("ratelimit-remaining", HeaderValue::from(quota.remaining));
    headers.insert("ratelimit-reset", HeaderValue::from(seconds(quota.reset)));
    if let Ok(policy) = HeaderValue::try_from(format!("{};w={}", quota.limit, limit::LENGTH.as_secs())) {
        headers.insert("ratelimit-policy", policy);
    }
}

/// In whole seconds, never too early.
fn seconds(delay: Duration) -> u64 {
    u64::try_from(delay.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
}

pub(super) fn status_of(kind: ErrorKind) -> StatusCode {
    StatusCode::from_u16(kind.row().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn log(error: &Error, status: StatusCode) {
    if status.is_server_error() {
        tracing::error!(status = status.as_u16(), error = %error.in_full(), "request failed");
    } else {
        tracing::debug!(status = status.as_u16(), %error, "request refused");
    }
}

/// The facts by name; of several under one name, such as two problems of one member, none is lost.
fn details(error: &Error) -> BTreeMap<&'static str, String> {
    let mut details: BTreeMap<&'static str, String> = BTreeMap::new();
    for (key, value) in error.context() {
        let text = details.entry(key).or_default();
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str(value);
    }
    details
}

fn rest_body(error: &Error, correlation_id: &str, clock: &dyn Clock) -> serde_json::Value {
    serde_json::json!({ "error": {
        "code": error.kind().row().code,
        "message": error.message(),
        "details": details(error),
        "correlation_id": correlation_id,
        "timestamp": clock.timestamp(),
    }})
}
