//! `/api/v1/servers/{id}/credentials`: credentials that the gateway sends to a server, in all calls or in one caller's. Values go
//! in and never come out.

use axum::body::Body;
use axum::extract::State;
use http::{Response, StatusCode};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::extract::{Id, Json, Query};
use super::schema::{BadBody, Missing, Refused};
use crate::gateway::{Caller, CredentialScope};
use crate::server::AppState;
use crate::server::answer::{Failure, json};
use crate::views::credential::{CredentialList, CredentialView, NewCredential, whose};

/// A credential of one's own to set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnCredential {
    /// The header that the server demands, such as `Authorization` or `X-Api-Key`.
    header: String,
    /// The header's value, such as `Bearer …`. It is kept sealed and never shown.
    value: String,
}

/// Lists the credentials that the gateway sends to a server
///
/// Everything but the values.
#[utoipa::path(get, path = "/api/v1/servers/{id}/credentials", tag = "servers", params(("id" = Uuid, Path)),
    responses((status = 200, description = "The credentials", body = CredentialList), Refused, Missing))]
pub(crate) async fn list(
    State(door): State<AppState>,
    caller: Caller,
    Id(id): Id,
) -> Result<Response<Body>, Failure> {
    Ok(json(StatusCode::OK, &CredentialList::of(door.gateway.credentials(&caller, id)?)))
}

/// Sets a credential that the gateway sends to a server
///
/// Sent in one header of every request, in place of the value set for it before. It goes to the origin that the server has now:
/// set it anew when the server moves to another. With `subject` it is sent in that caller's calls alone, to a server whose
/// `configuration.credentials` is `caller`.
#[utoipa::path(post, path = "/api/v1/servers/{id}/credentials", tag = "servers", request_body = NewCredential,
    params(("id" = Uuid, Path)),
    responses((status = 201, description = "Set", body = CredentialView), Refused, Missing, BadBody))]
pub(crate) async fn set(
    State(door): State<AppState>,
    caller: Caller,
    Id(id): Id,
    Json(new): Json<NewCredential>,
) -> Result<Response<Body>, Failure> {
    Ok(json(StatusCode::CREATED, &new.set(&door.gateway, &caller, id).await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhichQuery {
    /// The header.
    header: String,
    /// The caller in whose calls it is sent; all callers if absent.
    subject: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhichOwnQuery {
    /// The header.
    header: String,
}

/// Removes credentials that the gateway sends to a server
#[utoipa::path(delete, path = "/api/v1/servers/{id}/credentials", tag = "servers",
    params(("id" = Uuid, Path), WhichQuery),
    responses((status = 204, description = "Removed"), Refused, Missing))]
pub(crate) async fn remove(
    State(door): State<AppState>,
    caller: Caller,
    Id(id): Id,
    Query(which): Query<WhichQuery>,
) -> Result<StatusCode, Failure> {
    door.gateway.remove_credential(&caller, id, whose(which.subject.as_deref()), &which.header).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the caller's own credentials for a server
///
/// Those that you have set, or an administrator for you, without the values.
#[utoipa::path(get, path = "/api/v1/servers/{id}/credentials/own", tag = "servers", params(("id" = Uuid, Path)),
    responses((status = 200, description = "The credentials", body = CredentialList), Refused, Missing))]
pub(crate) async fn list_own(
    State(door): State<AppState>,
    caller: Caller,
    Id(id): Id,
) -> Result<Response<Body>, Failure> {
    Ok(json(StatusCode::OK, &CredentialList::of(door.gateway.own_credentials(&caller, id)?)))
}

/// Sets one of the caller's own credentials for a server
///
/// For a server whose `configuration.credentials` is `caller`. Sent in one header of every request for you, in place of the value
/// set for it before; nobody else's calls carry it. It goes to the origin that the server has now.
#[utoipa::path(post, path = "/api/v1/servers/{id}/credentials/own", tag = "servers", request_body = OwnCredential,
    params(("id" = Uuid, Path)),
    responses((status = 201, description = "Set", body = CredentialView), Refused, Missing, BadBody))]
pub(crate) async fn set_own(
    State(door): State<AppState>,
    caller: Caller,
    Id(id): Id,
    Json(new): Json<OwnCredential>,
) -> Result<Response<Body>, Failure> {
    let set = door.gateway.set_credential(&caller, id, CredentialScope::Own, &new.header, &new.value).await?;
    Ok(json(StatusCode::CREATED, &CredentialView::from(set)))
}

/// Removes the caller's own credentials for a server
#[utoipa::path(delete, path = "/api/v1/servers/{id}/credentials/own", tag = "servers",
    params(("id" = Uuid, Path), WhichOwnQuery),
    responses((status = 204, description = "Removed"), Refused, Missing))]
pub(crate) async fn remove_own(
    State(door): State<AppState>,
    caller: Caller,
    Id(id): Id,
    Query(which): Query<WhichOwnQuery>,
) -> Result<StatusCode, Failure> {
    door.gateway.remove_credential(&caller, id, CredentialScope::Own, &which.header).await?;
    Ok(StatusCode::NO_CONTENT)
}
