//! `/api/v1/tenants`: tenants over HTTP.

use axum::body::Body;
use axum::extract::State;
use http::header::{HeaderValue, LOCATION};
use http::{Response, StatusCode};

use super::extract::{Json, Text};
use super::schema::{BadBody, ErrorAnswer, Missing, Refused};
use crate::gateway::Caller;
use crate::server::AppState;
use crate::server::answer::{Failure, json};
use crate::views::tenant::{ChangedTenant, NewTenant, TenantList, TenantView, known};

/// Lists tenants
///
/// Administrators of `default` see all, others their own.
#[utoipa::path(get, path = "/api/v1/tenants", tag = "tenants",
    responses((status = 200, description = "The tenants", body = TenantList), Refused))]
pub(crate) async fn list(State(door): State<AppState>, caller: Caller) -> Result<Response<Body>, Failure> {
    Ok(json(StatusCode::OK, &TenantList::of(&door.gateway, &caller).await?))
}

/// Makes a tenant
#[utoipa::path(post, path = "/api/v1/tenants", tag = "tenants", request_body = NewTenant,
    responses((status = 201, description = "Made", body = TenantView, headers(("Location" = String))),
        (status = 409, description = "A tenant of this id exists or existed", body = ErrorAnswer), Refused, BadBody))]
pub(crate) async fn create(
    State(door): State<AppState>,
    caller: Caller,
    Json(new): Json<NewTenant>,
) -> Result<Response<Body>, Failure> {
    let tenant = new.make(&door.gateway, &caller).await?;
    let place = HeaderValue::try_from(format!("/api/v1/tenants/{}", tenant.id));
    let mut response = json(StatusCode::CREATED, &tenant);
    if let Ok(place) = place {
        response.headers_mut().insert(LOCATION, place);
    }
    Ok(response)
}

/// Shows a tenant
#[utoipa::path(get, path = "/api/v1/tenants/{id}", tag = "tenants", params(("id" = String, Path)),
    responses((status = 200, description = "The tenant", body = TenantView), Refused, Missing))]
pub(crate) async fn get(
    State(door): State<AppState>,
    caller: Caller,
    Text(text): Text,
) -> Result<Response<Body>, Failure> {
    let tenant = door.gateway.tenant(&caller, &known(&text)?).await?;
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
pub(crate) async fn update(
    State(door): State<AppState>,
    caller: Caller,
    Text(text): Text,
    Json(changed): Json<ChangedTenant>,
) -> Result<Response<Body>, Failure> {
    let tenant = door.gateway.update_tenant(&caller, &known(&text)?, changed.into()).await?;
    Ok(json(StatusCode::OK, &TenantView::from(tenant)))
}

/// Deletes a tenant
///
/// Its principals are refused, its servers removed. Its id stays taken, and its audit trail stays.
#[utoipa::path(delete, path = "/api/v1/tenants/{id}", tag = "tenants", params(("id" = String, Path)),
    responses((status = 204, description = "Deleted"),
        (status = 409, description = "It was changed by somebody else meanwhile", body = ErrorAnswer), Refused, Missing))]
pub(crate) async fn delete(
    State(door): State<AppState>,
    caller: Caller,
    Text(text): Text,
) -> Result<StatusCode, Failure> {
    door.gateway.delete_tenant(&caller, &known(&text)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
