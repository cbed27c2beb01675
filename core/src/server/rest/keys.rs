//! `/api/v1/api-keys`: the keys by which callers may call.

use axum::body::Body;
use axum::extract::State;
use http::header::{HeaderMap, HeaderValue, LOCATION};
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Json, Query, Text};
use super::registering::idempotency_key;
use super::schema::{BadBody, ErrorAnswer, Missing, Refused};
use crate::auth::keys::Secret;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Caller;
use crate::model::{ApiKey, KeyId};
use crate::server::AppState;
use crate::server::answer::{Failure, json};
use crate::views::key::{KeyView, KeyWish, KeysAnswer, NewKeyAnswer};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct KeysQuery {
    /// Which page, from 1.
    #[param(minimum = 1, default = 1)]
    page: Option<u32>,
    /// Keys a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

/// Lists API keys
///
/// Also those that expired or were revoked.
#[utoipa::path(get, path = "/api/v1/api-keys", tag = "keys", params(KeysQuery),
    responses((status = 200, description = "One page", body = KeysAnswer), Refused))]
pub(crate) async fn list(
    State(door): State<AppState>,
    caller: Caller,
    Query(asked): Query<KeysQuery>,
) -> Result<Response<Body>, Failure> {
    Ok(json(StatusCode::OK, &KeysAnswer::of(&door.gateway, &caller, asked.page, asked.limit).await?))
}

/// Creates an API key
///
/// The answer is the only place where the key is ever shown. With `Idempotency-Key`, the same request under the same key makes one
/// API key within 24 hours; asked for again it is answered with 409 and the id of the one that there is.
#[utoipa::path(post, path = "/api/v1/api-keys", tag = "keys", request_body = KeyWish,
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$",
        description = "Chosen anew for each creation, such as a UUID")),
    responses((status = 201, description = "Made", body = NewKeyAnswer, headers(("Location" = String))),
        (status = 409, description = "It was made before, or the `Idempotency-Key` was used for something else", body = ErrorAnswer),
        Refused, BadBody))]
pub(crate) async fn create(
    State(door): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    Json(wish): Json<KeyWish>,
) -> Result<Response<Body>, Failure> {
    let new = match idempotency_key(&headers)? {
        Some(name) => door.gateway.create_key_once(&caller, wish.key(), name).await?,
        None => door.gateway.create_key(&caller, wish.key()).await?,
    };
    Ok(made(&door, new))
}

/// Returns an API key, without its secret
#[utoipa::path(get, path = "/api/v1/api-keys/{id}", tag = "keys", params(("id" = Uuid, Path)),
    responses((status = 200, description = "The key, without the key itself", body = KeyView), Refused, Missing))]
pub(crate) async fn get(
    State(door): State<AppState>,
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
pub(crate) async fn revoke(
    State(door): State<AppState>,
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
pub(crate) async fn rotate(
    State(door): State<AppState>,
    caller: Caller,
    Text(id): Text,
) -> Result<Response<Body>, Failure> {
    Ok(made(&door, door.gateway.rotate_key(&caller, id_of(&id)?).await?))
}

/// The record of an API key as answers show it, without the key.
pub fn record(key: ApiKey, now: Timestamp) -> serde_json::Value {
    serde_json::to_value(KeyView::new(key, now)).unwrap_or_default()
}

fn made(door: &AppState, made: (ApiKey, Secret)) -> Response<Body> {
    let answer = NewKeyAnswer::new(made, door.clock.timestamp());
    let place = HeaderValue::try_from(format!("/api/v1/api-keys/{}", answer.record.id));
    let mut response = json(StatusCode::CREATED, &answer);
    if let Ok(place) = place {
        response.headers_mut().insert(LOCATION, place);
    }
    response
}

fn id_of(text: &str) -> Result<KeyId> {
    text.parse().map_err(|_| Error::new(ErrorKind::NotFound, "no such API key"))
}
