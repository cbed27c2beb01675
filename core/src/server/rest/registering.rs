//! `POST /api/v1/servers`: a registration, or a `server.json`; once, if the client says so.

use axum::body::Body;
use axum::extract::{FromRequest, Request, State};
use http::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use http::{Response, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;
use utoipa::ToSchema;

use super::extract::{json_body, parse};
use super::schema::{BadBody, ErrorAnswer, Refused};
use super::servers::written;
use super::tags;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Caller;
use crate::model::{Listing, Registration, Server, ServerId};
use crate::registry::server_json::{self, ServerJson};
use crate::server::AppState;
use crate::server::answer::Failure;
use crate::views::server::ServerView;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// The revision of a server that was just registered.
const FIRST_REVISION: u64 = 1;

/// The server to register.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum NewServer {
    Plain(Box<Registration>),
    ServerJson(ServerJson),
}

impl NewServer {
    fn registration(self) -> Result<Registration> {
        match self {
            Self::Plain(registration) => Ok(*registration),
            Self::ServerJson(asked) => server_json::server_json(asked),
        }
    }
}

/// Tells the two forms apart, so that an error names the place in the form that was meant.
#[derive(Deserialize)]
struct RegistrationForm {
    server_json: Option<IgnoredAny>,
}

impl FromRequest<AppState> for NewServer {
    type Rejection = Failure;

    async fn from_request(request: Request, door: &AppState) -> Result<Self, Failure> {
        let bytes = json_body(request, door).await?;
        let is_file =
            serde_json::from_slice(&bytes).is_ok_and(|form: RegistrationForm| form.server_json.is_some());
        Ok(if is_file { Self::ServerJson(parse(&bytes)?) } else { Self::Plain(parse(&bytes)?) })
    }
}

/// Registers a server
///
/// It is asked in the background what it offers; a server that is down can be registered. The body is a registration, or has a
/// `server.json` of the official registry in `server_json`.
///
/// With `Idempotency-Key`, the same registration under the same key is done once and answered in the same words for 24 hours;
/// a repeated answer has `Idempotent-Replayed: true`. A registration that fails leaves its key unused.
#[utoipa::path(post, path = "/api/v1/servers", tag = "servers", request_body = NewServer,
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$",
        description = "Chosen anew for each creation, such as a UUID")),
    responses(
        (status = 201, description = "Registered", body = ServerView,
            headers(("Location" = String), ("ETag" = String), ("Idempotent-Replayed" = Option<String>))),
        (status = 409, description = "A server of this name exists, or the key was used for another registration", body = ErrorAnswer),
        Refused, BadBody))]
pub(crate) async fn register(
    State(door): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    new: NewServer,
) -> Result<Response<Body>, Failure> {
    let registration = new.registration()?;
    if let Some(key) = idempotency_key(&headers)? {
        let render = |server: &Server, listing: &Listing| written(server, &listing.items);
        let made = door.gateway.register_once(&caller, registration, key, render).await?;
        return Ok(created(made.id, made.answer, made.server.is_none()));
    }
    let server = door.gateway.register(&caller, registration).await?;
    let offers = door.gateway.capabilities(&caller, server.id).unwrap_or_default();
    Ok(created(server.id, written(&server, &offers)?, false))
}

/// The answer to a registration.
fn created(id: ServerId, text: String, replayed: bool) -> Response<Body> {
    let mut response = tags::tagged(StatusCode::CREATED, FIRST_REVISION, text);
    let headers = response.headers_mut();
    if let Ok(place) = HeaderValue::try_from(format!("/api/v1/servers/{id}")) {
        headers.insert(LOCATION, place);
    }
    if replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// The `Idempotency-Key` of a request, in quotes as draft-ietf-httpapi-idempotency-key-header has it, or without.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let text = key.to_str().unwrap_or("");
    let text = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let fits = (1..=255).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_graphic());
    if fits && keys.next().is_none() {
        return Ok(Some(text));
    }
    Err(Error::new(
        ErrorKind::InvalidParams,
        "an `Idempotency-Key` is one text of 1 to 255 visible ASCII characters",
    )
    .with("header", "Idempotency-Key"))
}
