//! `/api/v1/tenants`: tenants over HTTP.

use axum::body::Body;
use axum::extract::State;
use http::header::{HeaderValue, LOCATION};
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Door;
use super::answer::{Failure, json};
use super::extract::{Json, Text};
use super::schema::{BadBody, ErrorAnswer, Missing, Refused};
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{Caller, TenantPatch};
use crate::model::{Tenant, TenantId, TenantStatus};

/// A tenant.
#[derive(Serialize, ToSchema)]
pub(super) struct TenantView {
    id: String,
    display_name: Option<String>,
    #[schema(inline)]
    status: TenantStatus,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<Tenant> for TenantView {
    fn from(tenant: Tenant) -> Self {
        let Tenant { id, display_name, status, created_at, updated_at, .. } = tenant;
        Self { id: id.to_string(), display_name, status, created_at, updated_at }
    }
}

/// The tenants that the caller may know of, ordered by id.
#[derive(Serialize, ToSchema)]
pub(super) struct TenantList {
    tenants: Vec<TenantView>,
    total: usize,
}

/// A new tenant.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTenant {
    /// 1 to 63 of `a-z 0-9 _ . -`, beginning and ending with a letter or digit, without `__`.
    id: String,
    display_name: Option<String>,
}

/// What is to be changed; members that are absent stay as they are.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangedTenant {
    display_name: Option<String>,
    /// Whether its principals are let in.
    enabled: Option<bool>,
}

/// An id of a path: what cannot be one is not there.
fn id(text: &str) -> Result<TenantId> {
    TenantId::new(text).map_err(|_| Error::new(ErrorKind::NotFound, "no such tenant"))
}

/// Lists tenants
///
/// Administrators of `default` see all, others their own.
#[utoipa::path(get, path = "/api/v1/tenants", tag = "tenants",
    responses((status = 200, description = "The tenants", body = TenantList), Refused))]
pub(super) async fn list(State(door): State<Door>, caller: Caller) -> Result<Response<Body>, Failure> {
    let tenants: Vec<TenantView> = door.gateway.tenants(&caller).await?.into_iter().map(Into::into).collect();
    Ok(json(StatusCode::OK, &TenantList { total: tenants.len(), tenants }))
}

/// Makes a tenant
#[utoipa::path(post, path = "/api/v1/tenants", tag = "tenants", request_body = NewTenant,
    responses((status = 201, description = "Made", body = TenantView, headers(("Location" = String))),
        (status = 409, description = "A tenant of this id exists or existed", body = ErrorAnswer), Refused, BadBody))]
pub(super) async fn create(
    State(door): State<Door>,
    caller: Caller,
    Json(new): Json<NewTenant>,
) -> Result<Response<Body>, Failure> {
    let id = TenantId::new(&new.id)?;
    let tenant = door.gateway.create_tenant(&caller, id, new.display_name).await?;
    let place = HeaderValue::try_from(format!("/api/v1/tenants/{}", tenant.id));
    let mut response = json(StatusCode::CREATED, &TenantView::from(tenant));
    if let Ok(place) = place {
        response.headers_mut().insert(LOCATION, place);
    }
    Ok(response)
}

/// Shows a tenant
#[utoipa::path(get, path = "/api/v1/tenants/{id}", tag = "tenants", params(("id" = String, Path)),
    responses((status = 200, description = "The tenant", body = TenantView), Refused, Missing))]
pub(super) async fn get(
    State(door): State<Door>,
    caller: Caller,
    Text(text): Text,
) -> Result<Response<Body>, Failure> {
    let tenant = door.gateway.tenant(&caller, &id(&text)?).await?;
    Ok(json(StatusCode::OK, &TenantView::from(tenant)))
}

/// Changes a tenant
///
/// One that is disabled has its principals refused, and what they hold open ended, when this is answered.
#[utoipa::path(put, path = "/api/v1/tenants/{id}", tag = "tenants", request_body = ChangedTenant,
    params(("id" = String, Path)),
    responses((status = 200, description = "Changed", body = TenantView),
        (status = 409, description = "It was changed by somebody else meanwhile", body = ErrorAnswer),
        Refused, Missing, BadBody))]
pub(super) async fn update(
    State(door): State<Door>,
    caller: Caller,
    Text(text): Text,
    Json(changed): Json<ChangedTenant>,
) -> Result<Response<Body>, Failure> {
    let patch = TenantPatch { display_name: changed.display_name, enabled: changed.enabled };
    let tenant = door.gateway.update_tenant(&caller, &id(&text)?, patch).await?;
    Ok(json(StatusCode::OK, &TenantView::from(tenant)))
}

/// Deletes a tenant
///
/// Its principals are refused, its servers removed. Its id stays taken, and its audit trail stays.
#[utoipa::path(delete, path = "/api/v1/tenants/{id}", tag = "tenants", params(("id" = String, Path)),
    responses((status = 204, description = "Deleted"),
        (status = 409, description = "It was changed by somebody else meanwhile", body = ErrorAnswer), Refused, Missing))]
pub(super) async fn delete(
    State(door): State<Door>,
    caller: Caller,
    Text(text): Text,
) -> Result<StatusCode, Failure> {
    door.gateway.delete_tenant(&caller, &id(&text)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
