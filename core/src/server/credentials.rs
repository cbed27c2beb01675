//! `/api/v1/servers/{id}/credentials`: what a server is shown before it lets the gateway in. Values go in and never come out.

use axum::body::Body;
use axum::extract::State;
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Door;
use super::answer::{Failure, json};
use super::extract::{Id, Json, Query};
use super::schema::{BadBody, Missing, Refused};
use crate::gateway::Caller;
use crate::model::Credential;

/// A credential to set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCredential {
    /// The header that the server wants to see, such as `Authorization` or `X-Api-Key`.
    header: String,
    /// What it wants to see there, such as `Bearer …`. It is kept sealed and never shown.
    value: String,
}

/// What is told of a credential.
#[derive(Serialize, ToSchema)]
#[schema(as = Credential)]
pub(super) struct CredentialView {
    /// The header, in lower case.
    header: String,
    /// The origin that it is sent to, and no other: that of the server when it was set.
    origin: String,
    /// Which key it is sealed with.
    key_id: String,
    /// Who set it.
    created_by: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<Credential> for CredentialView {
    fn from(credential: Credential) -> Self {
        let Credential { header, origin, key_id, created_by, created_at, .. } = credential;
        Self { header, origin, key_id, created_by, created_at }
    }
}

/// A server's credentials, by header.
#[derive(Serialize, ToSchema)]
pub(super) struct CredentialList {
    credentials: Vec<CredentialView>,
}

/// Lists what a server is shown
///
/// Everything but the values.
#[utoipa::path(get, path = "/api/v1/servers/{id}/credentials", tag = "servers", params(("id" = Uuid, Path)),
    responses((status = 200, description = "The credentials", body = CredentialList), Refused, Missing))]
pub(super) async fn list(
    State(door): State<Door>,
    caller: Caller,
    Id(id): Id,
) -> Result<Response<Body>, Failure> {
    let credentials = door.gateway.credentials(&caller, id)?.into_iter().map(CredentialView::from).collect();
    Ok(json(StatusCode::OK, &CredentialList { credentials }))
}

/// Sets what a server is shown
///
/// In one header of every request, in the place of what was set for it before. It goes to the origin that the server has now:
/// set it anew when the server moves to another.
#[utoipa::path(post, path = "/api/v1/servers/{id}/credentials", tag = "servers", request_body = NewCredential,
    params(("id" = Uuid, Path)),
    responses((status = 201, description = "Set", body = CredentialView), Refused, Missing, BadBody))]
pub(super) async fn set(
    State(door): State<Door>,
    caller: Caller,
    Id(id): Id,
    Json(new): Json<NewCredential>,
) -> Result<Response<Body>, Failure> {
    let set = door.gateway.set_credential(&caller, id, &new.header, &new.value).await?;
    Ok(json(StatusCode::CREATED, &CredentialView::from(set)))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WhichQuery {
    /// The header.
    header: String,
}

/// Removes what a server is shown
#[utoipa::path(delete, path = "/api/v1/servers/{id}/credentials", tag = "servers",
    params(("id" = Uuid, Path), WhichQuery),
    responses((status = 204, description = "Removed"), Refused, Missing))]
pub(super) async fn remove(
    State(door): State<Door>,
    caller: Caller,
    Id(id): Id,
    Query(which): Query<WhichQuery>,
) -> Result<StatusCode, Failure> {
    door.gateway.remove_credential(&caller, id, &which.header).await?;
    Ok(StatusCode::NO_CONTENT)
}
