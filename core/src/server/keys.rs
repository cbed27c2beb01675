//! `/api/v1/api-keys`: who may call, by keys.

use axum::body::Body;
use axum::extract::State;
use http::header::{HeaderValue, LOCATION};
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::Door;
use super::answer::{Failure, json};
use super::extract::{Json, Query, Text};
use super::schema::{BadBody, ErrorAnswer, Missing, Refused};
use crate::auth::NewKey;
use crate::auth::keys::{DEFAULT_DAYS, Secret};
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Caller;
use crate::model::{ApiKey, KeyId, Role, ServerId};

/// What a new key is to be. It belongs to the caller's tenant.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyWish {
    /// For people.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// What it may do: at most what the caller may.
    #[serde(default = "least")]
    #[schema(default = "viewer")]
    role: Role,
    /// What it is narrowed to; without this, all that its role may.
    #[serde(default)]
    scopes: Option<Vec<String>>,
    /// The only server that it may be used for.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    server_id: Option<ServerId>,
    /// How long it lives.
    #[serde(default = "life")]
    #[schema(minimum = 1, maximum = 3650, default = 90)]
    expires_in_days: u32,
    /// Requests a minute at most; without it the limit of its role.
    #[serde(default)]
    #[schema(minimum = 1)]
    requests_per_minute: Option<u32>,
}

const fn least() -> Role {
    Role::Viewer
}

const fn life() -> u32 {
    DEFAULT_DAYS
}

/// An API key, without the key.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub(super) struct KeyView {
    id: Uuid,
    tenant_id: String,
    name: String,
    role: Role,
    /// `null`: all that the role may.
    scopes: Option<Vec<String>>,
    server_id: Option<Uuid>,
    /// `null`: the limit of its role.
    requests_per_minute: Option<u32>,
    /// Whether it holds now.
    active: bool,
    /// What the key begins with.
    prefix: &'static str,
    /// The last four characters of the key.
    hint: String,
    created_by: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// A few seconds old at most.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
    /// How often it was used, as of a few seconds ago.
    uses: u64,
    /// The key that replaced it.
    rotated_to: Option<Uuid>,
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
}

impl KeyView {
    fn new(key: ApiKey, now: Timestamp) -> Self {
        Self {
            id: *key.id.as_uuid(),
            active: key.holds(now),
            tenant_id: key.tenant_id.to_string(),
            name: key.name,
            role: key.role,
            scopes: key.scopes,
            server_id: key.server_id.map(|id| *id.as_uuid()),
            requests_per_minute: key.requests_per_minute,
            prefix: "mcp_",
            hint: key.hint,
            created_by: key.created_by,
            created_at: key.created_at,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
            uses: key.uses,
            rotated_to: key.rotated_to.map(|id| *id.as_uuid()),
            revoked_at: key.revoked_at,
        }
    }
}

/// An API key that was just made, with the key, which is shown this once.
#[derive(Serialize, ToSchema)]
pub(super) struct NewKeyAnswer {
    /// `mcp_` and 60 characters.
    key: String,
    #[serde(flatten)]
    record: KeyView,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct KeysQuery {
    /// Which page, from 1.
    #[param(minimum = 1, default = 1)]
    page: Option<u32>,
    /// Keys a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

/// One page of keys, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct KeysAnswer {
    keys: Vec<KeyView>,
    /// How many there are in all.
    total: u64,
    page: u32,
    limit: u32,
}

/// Lists API keys
///
/// Also those that expired or were revoked.
#[utoipa::path(get, path = "/api/v1/api-keys", tag = "keys", params(KeysQuery),
    responses((status = 200, description = "One page", body = KeysAnswer), Refused))]
pub(super) async fn list(
    State(door): State<Door>,
    caller: Caller,
    Query(asked): Query<KeysQuery>,
) -> Result<Response<Body>, Failure> {
    let page = super::servers::between("page", asked.page, 1, u32::MAX)?;
    let limit = super::servers::between("limit", asked.limit, 50, 200)?;
    let found = door.gateway.keys(&caller, u64::from(page - 1) * u64::from(limit), limit).await?;
    let now = door.clock.timestamp();
    let keys = found.keys.into_iter().map(|key| KeyView::new(key, now)).collect();
    Ok(json(StatusCode::OK, &KeysAnswer { keys, total: found.total, page, limit }))
}

/// Makes an API key
///
/// The answer is the only place where the key is ever shown.
#[utoipa::path(post, path = "/api/v1/api-keys", tag = "keys", request_body = KeyWish,
    responses((status = 201, description = "Made", body = NewKeyAnswer, headers(("Location" = String))),
        Refused, BadBody))]
pub(super) async fn create(
    State(door): State<Door>,
    caller: Caller,
    Json(wish): Json<KeyWish>,
) -> Result<Response<Body>, Failure> {
    let new = NewKey {
        name: wish.name,
        role: wish.role,
        scopes: wish.scopes,
        server_id: wish.server_id,
        days: wish.expires_in_days,
        requests_per_minute: wish.requests_per_minute,
    };
    Ok(made(&door, door.gateway.create_key(&caller, new).await?))
}

/// Shows an API key
#[utoipa::path(get, path = "/api/v1/api-keys/{id}", tag = "keys", params(("id" = Uuid, Path)),
    responses((status = 200, description = "The key, without the key itself", body = KeyView), Refused, Missing))]
pub(super) async fn get(
    State(door): State<Door>,
    caller: Caller,
    Text(id): Text,
) -> Result<Response<Body>, Failure> {
    let key = door.gateway.key(&caller, id_of(&id)?).await?;
    Ok(json(StatusCode::OK, &KeyView::new(key, door.clock.timestamp())))
}

/// Revokes an API key
///
/// It does not hold any more when this is answered, and its streams and sessions end.
#[utoipa::path(delete, path = "/api/v1/api-keys/{id}", tag = "keys", params(("id" = Uuid, Path)),
    responses((status = 204, description = "Revoked"), Refused, Missing))]
pub(super) async fn revoke(
    State(door): State<Door>,
    caller: Caller,
    Text(id): Text,
) -> Result<StatusCode, Failure> {
    door.gateway.revoke_key(&caller, id_of(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Replaces an API key
///
/// The new one is like it and lives as long from now on; the old one holds for another 24 hours.
#[utoipa::path(post, path = "/api/v1/api-keys/{id}/rotate", tag = "keys", params(("id" = Uuid, Path)),
    responses((status = 201, description = "The new key", body = NewKeyAnswer, headers(("Location" = String))),
        (status = 409, description = "It was replaced already, or has ended", body = ErrorAnswer), Refused, Missing))]
pub(super) async fn rotate(
    State(door): State<Door>,
    caller: Caller,
    Text(id): Text,
) -> Result<Response<Body>, Failure> {
    Ok(made(&door, door.gateway.rotate_key(&caller, id_of(&id)?).await?))
}

/// The record of an API key as answers show it, without the key.
pub fn record(key: ApiKey, now: Timestamp) -> serde_json::Value {
    serde_json::to_value(KeyView::new(key, now)).unwrap_or_default()
}

fn made(door: &Door, (key, secret): (ApiKey, Secret)) -> Response<Body> {
    let record = KeyView::new(key, door.clock.timestamp());
    let place = HeaderValue::try_from(format!("/api/v1/api-keys/{}", record.id));
    let mut response = json(StatusCode::CREATED, &NewKeyAnswer { key: secret.reveal().to_owned(), record });
    if let Ok(place) = place {
        response.headers_mut().insert(LOCATION, place);
    }
    response
}

fn id_of(text: &str) -> Result<KeyId> {
    text.parse().map_err(|_| Error::new(ErrorKind::NotFound, "no such API key"))
}
