//! Pages of listed origins: the headers that a browser demands before it lets them read answers (CORS, Fetch standard).
//!
//! Only origins of `server.allowed_origins` are answered, each with its own name and never with `*`; cookies and other
//! credentials that a browser adds by itself are not asked for, since this gateway knows none.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use http::{Method, Request, Response, StatusCode};

use axum::body::Body;

/// Request headers that a page may set; `Mcp-Param-*` besides.
const ALLOWED: [&str; 14] = [
    "accept",
    "authorization",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "traceparent",
    "tracestate",
    "x-correlation-id",
];

/// Response headers that a page may read.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "ETag, Location, Mcp-Session-Id, MCP-Protocol-Version, RateLimit-Limit, RateLimit-Policy, RateLimit-Remaining, \
     RateLimit-Reset, Retry-After, WWW-Authenticate, X-Correlation-Id",
);

/// Whether a browser asks what a page may send, which needs no credentials and is no request of its own.
pub(super) fn is_preflight<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(ORIGIN)
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer that says what a page may send.
pub(super) fn preflight(headers: &HeaderMap) -> Response<Body> {
    let asked =
        headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter().filter_map(|value| value.to_str().ok());
    let may = |name: &&str| ALLOWED.contains(name) || name.starts_with("mcp-param-");
    let asked = asked.flat_map(|names| names.split(',')).map(|name| name.trim().to_ascii_lowercase());
    let granted: Vec<String> = asked.filter(|name| may(&name.as_str())).collect();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PUT, DELETE"));
    if let Ok(granted) = HeaderValue::try_from(granted.join(", ")) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, granted);
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

/// Lets a page of `origin` read the answer.
pub(super) fn share(response: &mut Response<Body>, origin: HeaderValue) {
    let headers = response.headers_mut();
    headers.entry(ACCESS_CONTROL_ALLOW_ORIGIN).or_insert(origin);
    headers.entry(ACCESS_CONTROL_EXPOSE_HEADERS).or_insert(EXPOSED);
    headers.append(VARY, HeaderValue::from_static("Origin"));
}
