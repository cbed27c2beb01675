//! `/v0.1/servers…`: the read API of the official registry, so that editors can use the gateway as theirs.
//!
//! Each service is an entry whose only remote is its route here. The API is described at
//! <https://github.com/modelcontextprotocol/registry>, `docs/reference/api`; the schema of an entry is that of `server.json`.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, HOST, HeaderMap,
    HeaderValue,
};
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::extract::Query;
use super::schema::Refused;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{Caller, Published, PublishedFilter};
use crate::model::ServiceName;
use crate::server::answer;
use crate::server::answer::Failure;
use crate::server::forwarding::OwnUrl;
use crate::server::{AppState, Shared};

/// Entries a page, unless said.
const DEFAULT_LIMIT: u32 = 30;
const MAX_LIMIT: u32 = 100;
/// The limit of the schema of `server.json` for titles and descriptions.
const MAX_TEXT: usize = 100;
const SCHEMA: &str = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json";
/// The version of a service whose servers have none: the schema wants one.
const NO_VERSION: &str = "0.0.0";
/// The namespace of a gateway that is not asked under a name of the network.
const LOCAL: &str = "local.mcp-gateway";

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// `nextCursor` of the page before.
    cursor: Option<String>,
    /// Entries a page.
    #[param(minimum = 1, maximum = 100, default = 30)]
    limit: Option<u32>,
    /// Only those whose name, title or description contains this.
    search: Option<String>,
    /// Only those that were changed after this time (RFC 3339).
    #[param(format = DateTime)]
    updated_since: Option<String>,
    /// `latest`, or an exact version.
    version: Option<String>,
    /// Has no effect: routes that are gone are not listed.
    #[expect(dead_code, reason = "only its form is checked")]
    include_deleted: Option<bool>,
}

/// One page of entries.
#[derive(Serialize, ToSchema)]
pub(crate) struct RegistryPage {
    servers: Vec<RegistryEntry>,
    metadata: PageMetadata,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PageMetadata {
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// Entries of this page.
    count: usize,
}

/// One entry.
#[derive(Serialize, ToSchema)]
pub(crate) struct RegistryEntry {
    /// A `server.json`.
    #[schema(value_type = Object)]
    server: serde_json::Value,
    /// `io.modelcontextprotocol.registry/official`, and what the gateway adds under its own name.
    #[serde(rename = "_meta")]
    #[schema(value_type = Object)]
    meta: serde_json::Value,
}

/// The registry's own form of an error.
#[derive(Serialize, ToSchema)]
pub(crate) struct RegistryError {
    error: &'static str,
}

/// The gateway's address, as the client sees it.
struct Base {
    url: String,
    namespace: String,
}

impl Base {
    fn of(shared: &Shared, headers: &HeaderMap) -> Self {
        // The edge let in no other host than those that are served here.
        let host =
            headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost").to_ascii_lowercase();
        let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name);
        let labels: Vec<&str> = name.split('.').collect();
        let is_name = labels.len() >= 2
            && !labels[labels.len() - 1].bytes().all(|c| c.is_ascii_digit())
            && name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-'));
        let namespace =
            if is_name { labels.into_iter().rev().collect::<Vec<_>>().join(".") } else { LOCAL.to_owned() };
        Self { url: OwnUrl::of(headers).get(shared), namespace }
    }

    fn entry(&self, published: Published) -> RegistryEntry {
        let Published { service, title, description, version, published_at, updated_at, servers, healthy } =
            published;
        let short = |text: String| text.chars().take(MAX_TEXT).collect::<String>();
        let described = description.filter(|text| !text.trim().is_empty()).map(short);
        let mut server = json!({
            "$schema": SCHEMA,
            "name": format!("{}/{service}", self.namespace),
            "description": described.unwrap_or_else(|| format!("The service {service} of this gateway")),
            "version": version.unwrap_or_else(|| NO_VERSION.to_owned()),
            "remotes": [{ "type": "streamable-http", "url": format!("{}/mcp/{service}", self.url) }],
        });
        if let Some(title) = title.filter(|text| !text.trim().is_empty()) {
            server["title"] = short(title).into();
        }
        let meta = json!({
            "io.modelcontextprotocol.registry/official": {
                "status": "active", "publishedAt": published_at, "updatedAt": updated_at, "isLatest": true,
            },
            "io.github.mcp-registry-gateway/route": { "service": service, "servers": servers, "healthy": healthy },
        });
        RegistryEntry { server, meta }
    }

    /// The service that an entry's name stands for.
    fn service(&self, name: &str) -> Option<ServiceName> {
        let (namespace, service) = name.split_once('/')?;
        (namespace == self.namespace).then(|| ServiceName::new(service).ok()).flatten()
    }
}

/// The variable parts of a path; a part that is not UTF-8 names nothing that there is.
type Segments<T> = Result<Path<T>, PathRejection>;

/// Lists the services as the official registry lists servers
#[utoipa::path(get, path = "/v0.1/servers", tag = "registry", params(ListQuery),
    responses((status = 200, description = "One page", body = RegistryPage), Refused))]
pub(crate) async fn list(
    State(door): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    Query(asked): Query<ListQuery>,
) -> Result<Response<Body>, Failure> {
    let limit = asked.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(invalid("expected a number from 1 to 100", "limit").into());
    }
    let after = asked.cursor.as_deref().filter(|cursor| !cursor.is_empty()).map(ServiceName::new);
    let after =
        after.transpose().map_err(|_| invalid("this is no `nextCursor` of a page from here", "cursor"))?;
    let since = asked.updated_since.as_deref().map(str::parse::<Timestamp>).transpose();
    let updated_since =
        since.map_err(|_| invalid("expected a time such as 2026-01-01T00:00:00Z", "updated_since"))?;
    let filter = PublishedFilter {
        after,
        search: asked.search.filter(|text| !text.is_empty()),
        updated_since,
        version: asked.version.filter(|version| version != "latest"),
    };
    let (found, more) = door.gateway.published(&caller, &filter, limit as usize)?;
    let base = Base::of(&door, &headers);
    let next_cursor = found.last().filter(|_| more).map(|last| last.service.to_string());
    let servers: Vec<_> = found.into_iter().map(|published| base.entry(published)).collect();
    let metadata = PageMetadata { next_cursor, count: servers.len() };
    Ok(open(answer::json(StatusCode::OK, &RegistryPage { servers, metadata })))
}

/// Lists the versions of an entry: there is one
#[utoipa::path(get, path = "/v0.1/servers/{name}/versions", tag = "registry",
    params(("name" = String, Path, description = "The entry's name, with `%2F` for its slash")),
    responses((status = 200, description = "The version", body = RegistryPage),
        (status = 404, description = "There is no such entry", body = RegistryError), Refused))]
pub(crate) async fn versions(
    State(door): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    path: Segments<String>,
) -> Result<Response<Body>, Failure> {
    let base = Base::of(&door, &headers);
    let name = path.map(|Path(name)| name).unwrap_or_default();
    let Some(published) = find(&door, &caller, &base, &name)? else { return Ok(missing()) };
    let servers = vec![base.entry(published)];
    let metadata = PageMetadata { next_cursor: None, count: servers.len() };
    Ok(open(answer::json(StatusCode::OK, &RegistryPage { servers, metadata })))
}

/// Shows one version of an entry
#[utoipa::path(get, path = "/v0.1/servers/{name}/versions/{version}", tag = "registry",
    params(("name" = String, Path, description = "The entry's name, with `%2F` for its slash"),
        ("version" = String, Path, description = "`latest`, or the exact version")),
    responses((status = 200, description = "The entry", body = RegistryEntry),
        (status = 404, description = "There is no such entry, or not of this version", body = RegistryError), Refused))]
pub(crate) async fn version(
    State(door): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    path: Segments<(String, String)>,
) -> Result<Response<Body>, Failure> {
    let base = Base::of(&door, &headers);
    let (name, version) = path.map(|Path(both)| both).unwrap_or_default();
    let found = find(&door, &caller, &base, &name)?;
    let is_wanted = |published: &Published| {
        version == "latest" || version == published.version.as_deref().unwrap_or(NO_VERSION)
    };
    let Some(published) = found.filter(is_wanted) else { return Ok(missing()) };
    Ok(open(answer::json(StatusCode::OK, &base.entry(published))))
}

/// Answers a browser's preflight request (CORS)
#[utoipa::path(options, path = "/v0.1/servers", tag = "registry",
    responses((status = 204, description = "See the headers"), Refused))]
pub(crate) async fn list_options() -> Response<Body> {
    preflight()
}

/// Answers a browser's preflight request (CORS)
#[utoipa::path(options, path = "/v0.1/servers/{name}/versions", tag = "registry", params(("name" = String, Path)),
    responses((status = 204, description = "See the headers"), Refused))]
pub(crate) async fn versions_options() -> Response<Body> {
    preflight()
}

/// Answers a browser's preflight request (CORS)
#[utoipa::path(options, path = "/v0.1/servers/{name}/versions/{version}", tag = "registry",
    params(("name" = String, Path), ("version" = String, Path)),
    responses((status = 204, description = "See the headers"), Refused))]
pub(crate) async fn version_options() -> Response<Body> {
    preflight()
}

fn find(door: &AppState, caller: &Caller, base: &Base, name: &str) -> Result<Option<Published>> {
    match base.service(name) {
        Some(service) => door.gateway.published_one(caller, &service),
        None => Ok(None),
    }
}

fn missing() -> Response<Body> {
    open(answer::json(StatusCode::NOT_FOUND, &RegistryError { error: "Server not found" }))
}

fn preflight() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    open(response)
}

/// Lets pages of any origin that passed the edge read the answer. The caller must still authenticate: cookies mean nothing here.
fn open(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, OPTIONS"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Authorization, Content-Type"));
    response
}

fn invalid(message: &'static str, parameter: &'static str) -> Error {
    Error::new(ErrorKind::InvalidParams, message).with("parameter", parameter)
}
