//! `/api/v1/servers`: the register over HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::header::HeaderMap;
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::{Failure, json};
use super::extract::{Id, Json, Query, items};
use super::schema::{BadBody, ErrorAnswer, Missing, Refused};
use super::view::{Definitions, HIDDEN, HealthCheckAnswer, HealthHistory, ServerView};
use super::{Door, Shared, tags};
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Caller;
use crate::model::{Capability, Endpoint, HealthStatus, Patch, Server, Status, redact};
use crate::registry::Filter;
use crate::store::HEALTH_HISTORY;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
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

pub(super) fn between(name: &'static str, value: Option<u32>, default: u32, max: u32) -> Result<u32> {
    match value {
        None => Ok(default),
        Some(value) if (1..=max).contains(&value) => Ok(value),
        Some(value) => {
            Err(Error::new(ErrorKind::InvalidParams, format!("expected a number from 1 to {max}"))
                .with("parameter", name)
                .with("found", value))
        }
    }
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

/// One page of servers, ordered by name.
#[derive(Serialize, ToSchema)]
pub(super) struct ListAnswer {
    servers: Vec<ServerView>,
    /// How many match in all.
    total: u64,
    page: u32,
    limit: u32,
}

/// Lists servers
#[utoipa::path(get, path = "/api/v1/servers", tag = "servers", params(ListQuery),
    responses((status = 200, description = "One page", body = ListAnswer), Refused))]
pub(super) async fn list(
    State(door): State<Door>,
    caller: Caller,
    Query(asked): Query<ListQuery>,
) -> Result<Response<Body>, Failure> {
    let page = door.gateway.list(&caller, &asked.filter()?)?;
    let (tools, resources) = (asked.include_tools == Some(true), asked.include_resources == Some(true));
    let view = |server: &Arc<Server>| match door.gateway.capabilities(&caller, server.id) {
        Ok(offers) => {
            let drift = door.gateway.drift(&caller, server.id).ok().flatten();
            let shown = ServerView::new(server, &offers).with(&offers, tools, resources);
            Some(Ok(shown.drifted(drift.as_deref())))
        }
        // Removed since the page was cut.
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => Some(Err(error)),
    };
    let servers = page.servers.iter().filter_map(view).collect::<Result<_>>()?;
    Ok(json(StatusCode::OK, &ListAnswer { servers, total: page.total, page: page.page, limit: page.limit }))
}

/// Shows a server
#[utoipa::path(get, path = "/api/v1/servers/{id}", tag = "servers",
    params(("id" = Uuid, Path), ("If-None-Match" = Option<String>, Header, description = "The `ETag` of what is known already")),
    responses((status = 200, description = "The server", body = ServerView, headers(("ETag" = String))),
        (status = 304, description = "It is still what `If-None-Match` says", headers(("ETag" = String))), Refused, Missing))]
pub(super) async fn get(
    State(door): State<Door>,
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
pub(super) async fn update(
    State(door): State<Door>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
    Json(mut patch): Json<Patch>,
) -> Result<Response<Body>, Failure> {
    let current = door.gateway.get(&caller, id)?;
    let demanded = tags::demanded(&headers, &current)?;
    let hidden = patch.configuration.iter().any(|given| given.headers.values().any(|value| value == HIDDEN));
    if hidden {
        door.gateway.stays_where_it_is(&caller, &current, &patch).await?;
    }
    // What is kept was read from this revision, so it must still be this one.
    let kept = keep_hidden(&mut patch, &current)?.then_some(current.revision);
    let updated = door.gateway.update(&caller, id, patch, demanded.or(kept)).await;
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
pub(super) async fn remove(
    State(door): State<Door>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    let demanded = tags::demanded(&headers, &*door.gateway.get(&caller, id)?)?;
    let removed = door.gateway.remove(&caller, id, demanded).await;
    removed.map_err(|error| tags::overtaken(error, demanded))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Approves what a server defines otherwise than it did
///
/// Where `configuration.drift` is `pin`, such a server gets no calls until this.
#[utoipa::path(post, path = "/api/v1/servers/{id}/approve", tag = "servers", params(("id" = Uuid, Path)),
    responses((status = 200, description = "The server as it is called from now on", body = ServerView),
        (status = 409, description = "Nothing of it waits", body = ErrorAnswer), Refused, Missing))]
pub(super) async fn approve(
    State(door): State<Door>,
    caller: Caller,
    Id(id): Id,
) -> Result<Response<Body>, Failure> {
    let server = door.gateway.approve(&caller, id).await?;
    Ok(shown(&door, &caller, &server, StatusCode::OK)?)
}

/// Probes a server now
#[utoipa::path(post, path = "/api/v1/servers/{id}/health-check", tag = "servers", params(("id" = Uuid, Path)),
    responses((status = 200, description = "What the probe found", body = HealthCheckAnswer), Refused, Missing))]
pub(super) async fn health_check(
    State(door): State<Door>,
    caller: Caller,
    Id(id): Id,
) -> Result<Response<Body>, Failure> {
    let record = door.gateway.health_check(&caller, id).await?;
    Ok(json(StatusCode::OK, &HealthCheckAnswer::new(*id.as_uuid(), record)))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HealthQuery {
    /// Observations at most; 100 are kept.
    #[param(minimum = 1, maximum = 100, default = 100)]
    limit: Option<u32>,
}

/// Shows how a server was
///
/// What probes found, newest first.
#[utoipa::path(get, path = "/api/v1/servers/{id}/health", tag = "servers", params(("id" = Uuid, Path), HealthQuery),
    responses((status = 200, description = "The observations", body = HealthHistory), Refused, Missing))]
pub(super) async fn health(
    State(door): State<Door>,
    caller: Caller,
    Id(id): Id,
    Query(asked): Query<HealthQuery>,
) -> Result<Response<Body>, Failure> {
    let limit = between("limit", asked.limit, HEALTH_HISTORY, HEALTH_HISTORY)?;
    let records = door.gateway.health_history(&caller, id, limit).await?;
    Ok(json(StatusCode::OK, &HealthHistory::new(*id.as_uuid(), records)))
}

/// Shows what a server offers
#[utoipa::path(get, path = "/api/v1/servers/{id}/capabilities", tag = "servers", params(("id" = Uuid, Path)),
    responses((status = 200, description = "The definitions as the server gave them", body = Definitions),
        Refused, Missing))]
pub(super) async fn capabilities(
    State(door): State<Door>,
    caller: Caller,
    Id(id): Id,
) -> Result<Response<Body>, Failure> {
    Ok(json(StatusCode::OK, &Definitions::of(&door.gateway.capabilities(&caller, id)?)))
}

fn shown(door: &Shared, caller: &Caller, server: &Server, status: StatusCode) -> Result<Response<Body>> {
    // A server that is removed this very moment offers nothing.
    let offers = door.gateway.capabilities(caller, server.id).unwrap_or_default();
    let drift = door.gateway.drift(caller, server.id).ok().flatten();
    let view = ServerView::new(server, &offers).drifted(drift.as_deref());
    Ok(tags::tagged(status, server.revision, text_of(&view)?))
}

pub(super) fn written(server: &Server, offers: &[Capability]) -> Result<String> {
    text_of(&ServerView::new(server, offers))
}

fn text_of(view: &ServerView) -> Result<String> {
    serde_json::to_string(view).map_err(|error| {
        Error::new(ErrorKind::Internal, "the answer cannot be written as JSON").caused_by(error)
    })
}

/// Puts the stored secrets where the patch has `***`; says whether there were any.
fn keep_hidden(patch: &mut Patch, current: &Server) -> Result<bool> {
    let nothing = BTreeMap::new();
    let stored = match &current.endpoint {
        Endpoint::Command { env, .. } => env,
        Endpoint::Url { .. } => &nothing,
    };
    let mut kept = false;
    match &current.endpoint {
        Endpoint::Url { endpoint_url } => {
            if patch.endpoint_url.as_ref().is_some_and(|new| *new == redact::url(endpoint_url)) {
                kept |= patch.endpoint_url.as_ref().is_some_and(|new| new.contains(HIDDEN));
                patch.endpoint_url = Some(endpoint_url.clone());
            }
        }
        Endpoint::Command { args, .. } => {
            if patch.args.as_ref().is_some_and(|new| *new == redact::args(args)) {
                kept |= patch.args.iter().flatten().any(|arg| arg.contains(HIDDEN));
                patch.args = Some(args.clone());
            }
        }
    }
    if let Some(env) = &mut patch.env {
        kept |= keep(env, stored, "env")?;
    }
    if let Some(configuration) = &mut patch.configuration {
        kept |= keep(&mut configuration.headers, &current.configuration.headers, "configuration.headers")?;
    }
    Ok(kept)
}

fn keep(new: &mut BTreeMap<String, String>, stored: &BTreeMap<String, String>, field: &str) -> Result<bool> {
    let mut kept = false;
    for (key, value) in new.iter_mut().filter(|(_, value)| *value == HIDDEN) {
        let Some(secret) = stored.get(key) else {
            let message = "`***` keeps a value that is there already; this one is new, so give it";
            return Err(Error::new(ErrorKind::InvalidParams, message).with("field", format!("{field}.{key}")));
        };
        value.clone_from(secret);
        kept = true;
    }
    Ok(kept)
}
