//! `/api/v1/servers`: the register over HTTP.

use axum::body::Body;
use axum::extract::State;
use http::header::HeaderMap;
use http::{Response, StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Id, Json, Query, items};
use super::schema::{BadBody, ErrorAnswer, Missing, Refused};
use super::tags;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Caller;
use crate::model::{Capability, HealthStatus, Patch, Server, Status};
use crate::registry::Filter;
use crate::server::answer::{Failure, json};
use crate::server::{AppState, Shared};
use crate::store::HEALTH_HISTORY;
use crate::views::between;
use crate::views::diagnosis::DiagnosisView;
use crate::views::health::{HealthCheckAnswer, HealthHistory};
use crate::views::server::{Definitions, ListAnswer, ServerView, update_shown};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Which page, from 1.
    #[param(minimum = 1, default = 1)]
    page: Option<u32>,
    /// Servers a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// Only of this operator state.
    #[param(inline)]
    status: Option<Status>,
    /// Only of this observed health.
    #[param(inline)]
    health_status: Option<HealthStatus>,
    /// Only those with all of these tags, divided by commas.
    tags: Option<String>,
    /// Only those whose name, service, display name or description contains this.
    search: Option<String>,
    /// Shows the definitions of the tools.
    include_tools: Option<bool>,
    /// Shows the definitions of the resources.
    include_resources: Option<bool>,
}

impl ListQuery {
    fn filter(&self) -> Result<Filter> {
        Ok(Filter {
            status: self.status,
            health_status: self.health_status,
            tags: items(self.tags.as_deref().unwrap_or("")),
            search: self.search.clone().filter(|text| !text.is_empty()),
            page: between("page", self.page, 1, u32::MAX)?,
            limit: between("limit", self.limit, Filter::DEFAULT_LIMIT, Filter::MAX_LIMIT)?,
        })
    }
}

/// Lists servers
#[utoipa::path(get, path = "/api/v1/servers", tag = "servers", params(ListQuery),
    responses((status = 200, description = "One page", body = ListAnswer), Refused))]
pub(crate) async fn list(
    State(door): State<AppState>,
    caller: Caller,
    Query(asked): Query<ListQuery>,
) -> Result<Response<Body>, Failure> {
    let (tools, resources) = (asked.include_tools == Some(true), asked.include_resources == Some(true));
    Ok(json(StatusCode::OK, &ListAnswer::of(&door.gateway, &caller, &asked.filter()?, tools, resources)?))
}

/// Shows a server
#[utoipa::path(get, path = "/api/v1/servers/{id}", tag = "servers",
    params(("id" = Uuid, Path), ("If-None-Match" = Option<String>, Header, description = "The `ETag` of what is known already")),
    responses((status = 200, description = "The server", body = ServerView, headers(("ETag" = String))),
        (status = 304, description = "It is still what `If-None-Match` says", headers(("ETag" = String))), Refused, Missing))]
pub(crate) async fn get(
    State(door): State<AppState>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<Response<Body>, Failure> {
    let server = door.gateway.get(&caller, id)?;
    Ok(tags::unless_known(&headers, shown(&door, &caller, &server, StatusCode::OK)?))
}

/// Changes a server
///
/// Members that are absent stay as they are, and so do values of `env` and `configuration.headers` that are `***`,
/// and `endpoint_url` and `args` that are as they were shown.
/// With `If-Match`, only if the revision is still that.
#[utoipa::path(put, path = "/api/v1/servers/{id}", tag = "servers", request_body = Patch,
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    responses(
        (status = 200, description = "Changed", body = ServerView,
            headers(("ETag" = String))),
        (status = 409, description = "It was changed by somebody else meanwhile", body = ErrorAnswer),
        (status = 412, description = "Its revision is not what `If-Match` says", body = ErrorAnswer),
        Refused, Missing, BadBody))]
pub(crate) async fn update(
    State(door): State<AppState>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
    Json(patch): Json<Patch>,
) -> Result<Response<Body>, Failure> {
    let current = door.gateway.get(&caller, id)?;
    let demanded = tags::demanded(&headers, &current)?;
    let updated = update_shown(&door.gateway, &caller, &current, patch, demanded).await;
    let server = updated.map_err(|error| tags::overtaken(error, demanded))?;
    Ok(shown(&door, &caller, &server, StatusCode::OK)?)
}

/// Removes a server
///
/// Its name is free again, its calls end. With `If-Match`, only if the revision is still that.
#[utoipa::path(delete, path = "/api/v1/servers/{id}", tag = "servers",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    responses((status = 204, description = "Removed"),
        (status = 412, description = "Its revision is not what `If-Match` says", body = ErrorAnswer), Refused, Missing))]
pub(crate) async fn remove(
    State(door): State<AppState>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    let demanded = tags::demanded(&headers, &*door.gateway.get(&caller, id)?)?;
    let removed = door.gateway.remove(&caller, id, demanded).await;
    removed.map_err(|error| tags::overtaken(error, demanded))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Approves the changed definitions of a server
///
/// Where `configuration.drift` is `pin`, such a server gets no calls until this.
#[utoipa::path(post, path = "/api/v1/servers/{id}/approve", tag = "servers", params(("id" = Uuid, Path)),
    responses((status = 200, description = "The server as it is called from now on", body = ServerView),
        (status = 409, description = "Nothing of it waits", body = ErrorAnswer), Refused, Missing))]
pub(crate) async fn approve(
    State(door): State<AppState>,
    caller: Caller,
    Id(id): Id,
) -> Result<Response<Body>, Failure> {
    let server = door.gateway.approve(&caller, id).await?;
    Ok(shown(&door, &caller, &server, StatusCode::OK)?)
}

/// Probes a server now
#[utoipa::path(post, path = "/api/v1/servers/{id}/health-check", tag = "servers", params(("id" = Uuid, Path)),
    responses((status = 200, description = "What the probe found", body = HealthCheckAnswer), Refused, Missing))]
pub(crate) async fn health_check(
    State(door): State<AppState>,
    caller: Caller,
    Id(id): Id,
) -> Result<Response<Body>, Failure> {
    let record = door.gateway.health_check(&caller, id).await?;
    Ok(json(StatusCode::OK, &HealthCheckAnswer::new(*id.as_uuid(), record)))
}

/// Examines a server step by step
///
/// It is resolved, connected to or started, initialized, asked for each of its lists, and pinged; each step says what was found
/// and what a person should do. A server that is switched off is not started. The start of a program may take two minutes.
#[utoipa::path(get, path = "/api/v1/servers/{id}/diagnosis", tag = "servers", params(("id" = Uuid, Path)),
    responses((status = 200, description = "What was found", body = DiagnosisView), Refused, Missing))]
pub(crate) async fn diagnosis(
    State(door): State<AppState>,
    caller: Caller,
    Id(id): Id,
) -> Result<Response<Body>, Failure> {
    Ok(json(StatusCode::OK, &DiagnosisView::from(door.gateway.diagnose(&caller, id).await?)))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HealthQuery {
    /// Observations at most; 100 are kept.
    #[param(minimum = 1, maximum = 100, default = 100)]
    limit: Option<u32>,
}

/// Shows how a server was
///
/// The findings of probes, newest first.
#[utoipa::path(get, path = "/api/v1/servers/{id}/health", tag = "servers", params(("id" = Uuid, Path), HealthQuery),
    responses((status = 200, description = "The observations", body = HealthHistory), Refused, Missing))]
pub(crate) async fn health(
    State(door): State<AppState>,
    caller: Caller,
    Id(id): Id,
    Query(asked): Query<HealthQuery>,
) -> Result<Response<Body>, Failure> {
    let limit = between("limit", asked.limit, HEALTH_HISTORY, HEALTH_HISTORY)?;
    let records = door.gateway.health_history(&caller, id, limit).await?;
    Ok(json(StatusCode::OK, &HealthHistory::new(*id.as_uuid(), records)))
}

/// Lists the tools, resources and prompts of a server
#[utoipa::path(get, path = "/api/v1/servers/{id}/capabilities", tag = "servers", params(("id" = Uuid, Path)),
    responses((status = 200, description = "The definitions as the server gave them", body = Definitions),
        Refused, Missing))]
pub(crate) async fn capabilities(
    State(door): State<AppState>,
    caller: Caller,
    Id(id): Id,
) -> Result<Response<Body>, Failure> {
    Ok(json(StatusCode::OK, &Definitions::of(&door.gateway.capabilities(&caller, id)?)))
}

fn shown(door: &Shared, caller: &Caller, server: &Server, status: StatusCode) -> Result<Response<Body>> {
    let view = ServerView::shown(&door.gateway, caller, server);
    Ok(tags::tagged(status, server.revision, text_of(&view)?))
}

pub(crate) fn written(server: &Server, offers: &[Capability]) -> Result<String> {
    text_of(&ServerView::of_new(server, offers))
}

fn text_of(view: &ServerView) -> Result<String> {
    serde_json::to_string(view).map_err(|error| {
        Error::new(ErrorKind::Internal, "the answer cannot be written as JSON").caused_by(error)
    })
}
