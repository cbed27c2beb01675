//! Tells a client how to authenticate: `WWW-Authenticate` (RFC 6750 section 3, RFC 9728 section 5.1), and the document that it
//! points to.

use axum::body::Body;
use axum::extract::{Path, State};
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode, Uri};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Failure, json};
use super::forwarding::OwnUrl;
use super::{AppState, Shared};
use crate::auth::permission;
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::model::ServiceName;
use crate::server::rest::logins;
use crate::server::rest::schema::Missing;

/// Where the document for a resource is: this, and the resource's path.
pub(super) const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
/// The scopes that a client asks for before it is told which ones it needs.
const FIRST_SCOPES: &str = "mcp:read mcp:call";

/// Whether a path is open to everybody.
pub(super) fn is_public(path: &str) -> bool {
    // A request that comes back from an authorization server names the login that it belongs to.
    matches!(path, "/health" | "/ready" | "/startup")
        || logins::is_callback(path)
        || path.strip_prefix(WELL_KNOWN).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The parts of a request that a refusal of it needs.
pub(super) struct ChallengeRequest {
    uri: Uri,
    own_url: OwnUrl,
    /// Whether it had a credential.
    credential: bool,
}

impl ChallengeRequest {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        Self {
            uri: request.uri().clone(),
            own_url: OwnUrl::of(request.headers()),
            credential: request.headers().contains_key(AUTHORIZATION),
        }
    }
}

/// The scopes that were missing, all that are needed together; an extension of the response.
#[derive(Clone, Debug)]
pub(super) struct Needs(String);

/// Remembers the scopes that a refusal says are needed.
pub(super) fn remember(response: &mut Response<Body>, error: &Error) {
    if let Cause::InsufficientScope(scopes) = error.cause() {
        response.extensions_mut().insert(Needs(scopes.clone()));
    }
}

/// Says in the header of a refusal how to authenticate.
pub(super) fn complete(response: &mut Response<Body>, shared: &Shared, asked: &ChallengeRequest) {
    let needs = response.extensions_mut().remove::<Needs>();
    let (error, scope) = match (response.status(), needs) {
        (StatusCode::UNAUTHORIZED, _) if asked.credential => (Some("invalid_token"), FIRST_SCOPES.to_owned()),
        (StatusCode::UNAUTHORIZED, _) => (None, FIRST_SCOPES.to_owned()),
        (StatusCode::FORBIDDEN, Some(Needs(scopes))) => (Some("insufficient_scope"), scopes),
        _ => return,
    };
    let error = error.map(|error| format!("error=\"{error}\", ")).unwrap_or_default();
    let resource = resource_path(asked.uri.path());
    let base = asked.own_url.get(shared);
    let text = format!("Bearer {error}resource_metadata=\"{base}{WELL_KNOWN}{resource}\", scope=\"{scope}\"");
    if let Ok(value) = HeaderValue::try_from(text) {
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
}

/// `/mcp`, `/mcp/{service}`, or nothing: the resource that a path belongs to.
fn resource_path(path: &str) -> &str {
    let service = path.strip_prefix("/mcp/").filter(|name| ServiceName::asked(name).is_ok());
    if path == "/mcp" || service.is_some() { path } else { "" }
}

/// The metadata that a client needs to get a token (RFC 9728 section 2).
#[derive(Serialize, ToSchema)]
pub(super) struct ResourceMetadata {
    /// The resource that tokens must be meant for (RFC 8707).
    resource: String,
    resource_name: &'static str,
    /// The servers that issue tokens; none if only API keys are taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    authorization_servers: Vec<String>,
    bearer_methods_supported: [&'static str; 1],
    scopes_supported: Vec<&'static str>,
}

fn metadata(door: &AppState, headers: &HeaderMap, path: &str) -> Result<Response<Body>, Failure> {
    if !door.gateway.demands_credentials() {
        let message = "no authentication is configured, so there is nothing to say about it";
        return Err(Error::new(ErrorKind::NotFound, message).into());
    }
    Ok(json(
        StatusCode::OK,
        &ResourceMetadata {
            resource: format!("{}{path}", OwnUrl::of(headers).get(door)),
            resource_name: "MCP Registry Gateway",
            authorization_servers: door.gateway.authorization_servers(),
            bearer_methods_supported: ["header"],
            scopes_supported: permission::scopes(),
        },
    ))
}

/// Returns the protected resource metadata of this gateway (RFC 9728)
#[utoipa::path(get, path = "/.well-known/oauth-protected-resource", tag = "operation",
    responses((status = 200, description = "RFC 9728", body = ResourceMetadata), Missing))]
pub(super) async fn whole(
    State(door): State<AppState>,
    headers: HeaderMap,
) -> Result<Response<Body>, Failure> {
    metadata(&door, &headers, "")
}

/// Returns the protected resource metadata of `/mcp`
#[utoipa::path(get, path = "/.well-known/oauth-protected-resource/mcp", tag = "operation",
    responses((status = 200, description = "RFC 9728", body = ResourceMetadata), Missing))]
pub(super) async fn all(State(door): State<AppState>, headers: HeaderMap) -> Result<Response<Body>, Failure> {
    metadata(&door, &headers, "/mcp")
}

/// Returns the protected resource metadata of `/mcp/{service}`, also for an unknown service
#[utoipa::path(get, path = "/.well-known/oauth-protected-resource/mcp/{service}", tag = "operation",
    params(("service" = String, Path)),
    responses((status = 200, description = "RFC 9728", body = ResourceMetadata), Missing))]
pub(super) async fn one(
    State(door): State<AppState>,
    Path(service): Path<String>,
    headers: HeaderMap,
) -> Result<Response<Body>, Failure> {
    let service = ServiceName::asked(&service)
        .map_err(|_| Error::new(ErrorKind::NotFound, "this is not a valid service name"))?;
    metadata(&door, &headers, &format!("/mcp/{service}"))
}
