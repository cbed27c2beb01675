//! `/api/v1/servers/{id}/credentials/login` and `/mcp/oauth/callback/{issuer}`: a person lets the gateway into a server by OAuth, in a
//! browser.
//!
//! The page that the authorization server sends the browser back to asks once more, and says who began the login and for whom it
//! will be used: a person who was talked into following somebody else's link can still leave it.

use std::fmt::Write;

use axum::body::Body;
use axum::extract::State;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue, REFERRER_POLICY};
use http::{Response, StatusCode, Uri};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Id, Json, Query};
use super::schema::{BadBody, ErrorAnswer, Missing, Refused, Upstream};
use crate::error::{Error, ErrorKind};
use crate::gateway::{Caller, CredentialScope, LoginAnswer, LoginAsked, LoginWish};
use crate::model::ServerId;
use crate::server::AppState;
use crate::server::answer::{Failure, json, status_of};
use crate::server::forwarding::OwnUrl;
use crate::views::credential::{LoginView, whose};

/// Adds the routes of logins.
pub(crate) fn routes(router: OpenApiRouter<AppState>) -> OpenApiRouter<AppState> {
    router.routes(routes!(begin)).routes(routes!(begin_own)).routes(routes!(ask, finish))
}

/// Authorization servers send browsers back to a path below this one, each to its own.
pub(crate) const CALLBACK: &str = "/mcp/oauth/callback";

/// Whether an authorization server sends browsers back to this path.
pub(crate) fn is_callback(path: &str) -> bool {
    path.strip_prefix(CALLBACK).and_then(|rest| rest.strip_prefix('/')).is_some_and(|id| !id.contains('/'))
}

/// How to log in. The gateway finds out members that are left out by itself.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnLogin {
    /// The client that somebody registered by hand at the authorization server. Without, the gateway registers itself.
    client_id: Option<String>,
    /// Its secret, if it has one. It is kept sealed and never shown.
    client_secret: Option<String>,
    /// The https URL of a document that describes this gateway (Client ID Metadata Document), for servers that take one.
    client_metadata_url: Option<String>,
    /// The scopes to ask for; those that the server names if there are none.
    #[serde(default)]
    scopes: Vec<String>,
}

/// The same, with the caller that it is for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewLogin {
    /// The only caller in whose calls it will be used, such as `key:…` or `user:…`; all callers if absent. Another's is begun by
    /// an administrator.
    subject: Option<String>,
    /// The client that somebody registered by hand at the authorization server. Without, the gateway registers itself.
    client_id: Option<String>,
    /// Its secret, if it has one. It is kept sealed and never shown.
    client_secret: Option<String>,
    /// The https URL of a document that describes this gateway (Client ID Metadata Document), for servers that take one.
    client_metadata_url: Option<String>,
    /// The scopes to ask for; those that the server names if there are none.
    #[serde(default)]
    scopes: Vec<String>,
}

/// Begins an OAuth login of the gateway at a server
///
/// Finds the server's authorization server, gets known there, and says where a person goes to grant access. The granted token is
/// sent to the server as `Authorization: Bearer …` from then on, and renewed when it ends.
#[utoipa::path(post, path = "/api/v1/servers/{id}/credentials/login", tag = "servers", request_body = NewLogin,
    params(("id" = Uuid, Path)),
    responses((status = 200, description = "Begun", body = LoginView), Refused, Missing, BadBody, Upstream))]
pub(crate) async fn begin(
    State(door): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    Id(id): Id,
    Json(new): Json<NewLogin>,
) -> Result<Response<Body>, Failure> {
    let NewLogin { subject, client_id, client_secret, client_metadata_url, scopes } = new;
    let own = OwnLogin { client_id, client_secret, client_metadata_url, scopes };
    begun(&door, &caller, &headers, id, whose(subject.as_deref()), own).await
}

/// Begins to let the gateway into a server in one's own calls
///
/// As for all calls, for a server whose `configuration.credentials` is `caller`.
#[utoipa::path(post, path = "/api/v1/servers/{id}/credentials/own/login", tag = "servers", request_body = OwnLogin,
    params(("id" = Uuid, Path)),
    responses((status = 200, description = "Begun", body = LoginView), Refused, Missing, BadBody, Upstream))]
pub(crate) async fn begin_own(
    State(door): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    Id(id): Id,
    Json(own): Json<OwnLogin>,
) -> Result<Response<Body>, Failure> {
    begun(&door, &caller, &headers, id, CredentialScope::Own, own).await
}

async fn begun(
    door: &AppState,
    caller: &Caller,
    headers: &HeaderMap,
    id: ServerId,
    whose: CredentialScope<'_>,
    own: OwnLogin,
) -> Result<Response<Body>, Failure> {
    let OwnLogin { client_id, client_secret, client_metadata_url, scopes } = own;
    let redirect_uri = format!("{}{CALLBACK}", OwnUrl::of(headers).get(door));
    let wish = LoginWish { redirect_uri, client_id, client_secret, client_metadata_url, scopes };
    let begun = Box::pin(door.gateway.begin_login(caller, id, whose, &wish)).await;
    let begun = begun.map_err(|error| match error.kind() {
        // The gateway works: the answer is about another party's error.
        ErrorKind::BadUpstream => Failure::status(error, StatusCode::FAILED_DEPENDENCY),
        _ => error.into(),
    })?;
    Ok(json(StatusCode::OK, &LoginView::from(begun)))
}

/// The parameters with which the authorization server sends the browser back (RFC 6749 section 4.1.2, RFC 9207); it may send
/// more.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Sent {
    /// Identifies the login.
    state: String,
    /// The code that the access token is given for.
    code: Option<String>,
    /// The issuer that answers.
    iss: Option<String>,
    /// Why nothing is granted.
    error: Option<String>,
}

/// Asks the person who returns from an authorization server to confirm the login
#[utoipa::path(get, path = "/mcp/oauth/callback/{issuer}", tag = "servers",
    params(Sent, ("issuer" = String, Path, description = "The name of the authorization server that sends the browser back")),
    responses((status = 200, description = "A page for people", body = String, content_type = "text/html"), Page))]
pub(crate) async fn ask(
    State(door): State<AppState>,
    uri: Uri,
    Query(sent): Query<Sent>,
) -> Result<Response<Body>, Failure> {
    if let Some(error) = &sent.error {
        // The rest of its message is left out: anybody can write such a link.
        let why = Error::new(ErrorKind::PermissionDenied, "the authorization server refused the login")
            .with("error", error);
        return Ok(refusal(&door.gateway.give_up_login(&sent.state, Some(uri.path())).err().unwrap_or(why)));
    }
    Ok(match door.gateway.login_asked(&sent.state, Some(uri.path())) {
        Ok(asked) => question(&asked, uri.path(), uri.query().unwrap_or_default()),
        Err(error) => refusal(&error),
    })
}

/// Completes a login; from now on the gateway sends the granted token to the server
#[utoipa::path(post, path = "/mcp/oauth/callback/{issuer}", tag = "servers",
    params(Sent, ("issuer" = String, Path, description = "The name of the authorization server that sends the browser back")),
    responses((status = 200, description = "A page for people", body = String, content_type = "text/html"), Page))]
pub(crate) async fn finish(
    State(door): State<AppState>,
    uri: Uri,
    Query(sent): Query<Sent>,
) -> Result<Response<Body>, Failure> {
    let code = sent.code.as_deref().ok_or_else(|| {
        Error::new(ErrorKind::InvalidParams, "the authorization server sent no code")
            .with("parameter", "code")
    })?;
    let (issuer, redirect_uri) = (sent.iss.as_deref(), Some(uri.path()));
    let answer = LoginAnswer { state: &sent.state, code, issuer, redirect_uri };
    Ok(match Box::pin(door.gateway.finish_login(&answer)).await {
        Ok(credential) => {
            let text =
                format!("<p>{} is authorized. You can close this page.</p>", escape(&credential.origin));
            page(StatusCode::OK, "Done", &text)
        }
        Err(error) => refusal(&error),
    })
}

/// The other answers of the pages of a login.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "describes what `refusal` and `answer::finish` write")]
pub(crate) enum Page {
    /// A parameter is wrong; `details` names it
    #[response(status = 400)]
    Invalid(#[to_schema] ErrorAnswer),
    /// Nothing was granted, or the answer is not the authorization server's
    #[response(status = 403, content_type = "text/html")]
    Forbidden(String),
    /// No such login is under way
    #[response(status = 404, content_type = "text/html")]
    NotFound(String),
    /// A fault of the gateway
    #[response(status = 500, content_type = "text/html")]
    Internal(String),
    /// The authorization server does not go along
    #[response(status = 502, content_type = "text/html")]
    Upstream(String),
    /// The store cannot be reached, or the gateway is shutting down; try again
    #[response(status = 503, content_type = "text/html")]
    Unavailable(String),
}

fn question(asked: &LoginAsked, path: &str, query: &str) -> Response<Body> {
    let LoginAsked { server, origin, issuer, scopes, begun_by, subject } = asked;
    let mut text = format!(
        "<p>This gateway is about to use your account{} for its server <b>{}</b>: {} will be shown an access token in {}.</p><table>",
        issuer.as_ref().map(|issuer| format!(" at <b>{}</b>", escape(issuer))).unwrap_or_default(),
        escape(server),
        escape(origin),
        subject.as_ref().map_or_else(
            || "<b>everybody's</b> calls".to_owned(),
            |subject| format!("the calls of <b>{}</b>", escape(subject)),
        ),
    );
    // Writing into a string cannot fail.
    let _ = write!(text, "<tr><th>Begun by<td>{}", escape(begun_by));
    if !scopes.is_empty() {
        let _ = write!(text, "<tr><th>Scopes<td>{}", escape(&scopes.join(" ")));
    }
    let _ = write!(
        text,
        "</table><p>If it was not you who began this, close the page.</p><form method=\"post\" action=\"{}?{}\">\
         <button>Let the gateway in</button></form>",
        escape(path),
        escape(query),
    );
    page(StatusCode::OK, "Let the gateway in?", &text)
}

fn refusal(error: &Error) -> Response<Body> {
    let mut text = format!("<p>{}.</p>", escape(error.message()));
    for (name, value) in error.context() {
        let _ = write!(text, "<p><code>{}: {}</code></p>", escape(name), escape(value));
    }
    page(status_of(error.kind()), "Not authorized", &text)
}

fn page(status: StatusCode, title: &str, text: &str) -> Response<Body> {
    let title = escape(title);
    let mut response = Response::new(Body::from(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>:root{{color-scheme:light dark}}body{{font:16px/1.5 system-ui,sans-serif;max-width:40rem;\
         margin:2rem auto;padding:0 1rem}}th{{text-align:left;padding-right:1rem}}button{{font:inherit;padding:.4rem 1rem}}</style>\
         <h1>{title}</h1>{text}</html>\n"
    )));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    // With `no-referrer` a browser would post the form from the origin `null`, which is nobody's.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
