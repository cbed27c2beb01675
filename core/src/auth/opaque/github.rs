//! Tokens that GitHub gives to people (`ghp_…`, `github_pat_…`) and to apps that act for them (`gho_…`, `ghu_…`).
//!
//! A token of an app is sent to `POST /applications/{client_id}/token`, which only knows the tokens of that app: one that a
//! person gave to another app is not taken here, whatever that app does with it (RFC 9700 section 2.3). A personal token is no
//! app's, so that it is asked `GET /user` with it, and only where `personal_tokens` says so.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use url::Url;

use super::{Question, refused, unavailable};
use crate::auth::jwt::{Fetch, Issuer, identity};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Grant, Principal};

/// Where GitHub's own interface is; that of an Enterprise Server is at `https://HOST/api/v3`.
const HOME: &str = "https://api.github.com";
/// The longest token, in bytes; theirs have at most 255.
const LONGEST: usize = 255;
/// After which time streams that such a token opened end, if it does not end before: GitHub's own tokens of apps live so long.
const LIFE: SignedDuration = SignedDuration::from_hours(8);
/// Organizations of one person that are looked at.
const MOST_ORGANIZATIONS: usize = 100;

/// Whether it has the form of such a token, as far as anybody but GitHub can tell.
pub(in crate::auth) fn has_form(token: &[u8]) -> bool {
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    (of_app(token) || of_person(token)) && token.len() <= LONGEST && token.iter().all(word)
}

fn of_app(token: &[u8]) -> bool {
    token.starts_with(b"gho_") || token.starts_with(b"ghu_")
}

fn of_person(token: &[u8]) -> bool {
    token.starts_with(b"ghp_") || token.starts_with(b"github_pat_")
}

/// The principal that the token stands for.
pub(super) async fn whom(issuer: &Issuer, ask: &dyn Fetch, token: &str, now: Timestamp) -> Result<Principal> {
    let github = GitHub { issuer, ask, token };
    let (user, end) =
        if of_app(token.as_bytes()) { github.by_app().await? } else { github.by_itself().await? };
    let latest = now.checked_add(LIFE).unwrap_or(now);
    let end = end.map_or(latest, |end| end.min(latest));
    if end <= now {
        return Err(refused("the token has expired"));
    }
    let id = user["id"].as_u64().ok_or_else(strange)?.to_string();
    if user["type"] != "User" {
        return Err(Error::new(
            ErrorKind::PermissionDenied,
            "the GitHub token belongs to an application, not to a user; use a token of a user",
        ));
    }
    let mut claims = Map::new();
    let known =
        issuer.directories.contains(&id) && (issuer.roles.is_empty() || issuer.roles.contains_key(&id));
    if !known {
        claims.insert("orgs".to_owned(), github.organizations().await?.into());
    }
    claims.insert("id".to_owned(), id.into());
    identity::principal(issuer, &claims, Grant { expires_at: Some(end), ..Grant::default() })
}

struct GitHub<'a> {
    issuer: &'a Issuer,
    ask: &'a dyn Fetch,
    token: &'a str,
}

impl GitHub<'_> {
    /// The person behind a token of the configured app, and when it ends.
    async fn by_app(&self) -> Result<(Value, Option<Timestamp>)> {
        let (Some(id), Some(secret)) = (&self.issuer.client_id, &self.issuer.client_secret) else {
            return Err(refused("tokens of apps are not taken here: no app is configured"));
        };
        let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{}", secret.expose())));
        let body = json!({ "access_token": self.token }).to_string();
        let path = ["applications", id, "token"];
        let (status, found) = self.send(Method::POST, &path, &basic, body).await?;
        match status {
            200 if found["app"]["client_id"] == id.as_str() => {
                let end = match &found["expires_at"] {
                    Value::String(text) => Some(text.parse().map_err(|_| strange())?),
                    _ => None,
                };
                Ok((found["user"].clone(), end))
            }
            200 => Err(refused("the token was given to another app")),
            404 | 422 => Err(refused("the token does not hold at GitHub, or was given to another app")),
            401 => {
                tracing::error!("GitHub does not take the `client_id` and `client_secret` of its issuer");
                Err(unavailable())
            }
            status => Err(self.silent(status)),
        }
    }

    /// The person behind a token that identifies its owner by itself.
    async fn by_itself(&self) -> Result<(Value, Option<Timestamp>)> {
        if !self.issuer.personal_tokens {
            return Err(refused("personal tokens of GitHub are not taken here"));
        }
        let (status, user) = self.send(Method::GET, &["user"], &self.bearer(), String::new()).await?;
        match status {
            200 => Ok((user, None)),
            401 => Err(refused("the token does not hold at GitHub")),
            status => Err(self.silent(status)),
        }
    }

    /// The ids of the organizations in which GitHub says the person is, as far as the token lets see them.
    async fn organizations(&self) -> Result<Vec<String>> {
        let (status, found) =
            self.send(Method::GET, &["user", "orgs"], &self.bearer(), String::new()).await?;
        match (status, found.as_array()) {
            (200, Some(all)) => {
                let ids = all.iter().take(MOST_ORGANIZATIONS).filter_map(|one| one["id"].as_u64());
                Ok(ids.map(|id| id.to_string()).collect())
            }
            (403, _) if found["message"].as_str().is_some_and(|text| text.contains("rate limit")) => {
                Err(self.silent(status))
            }
            // It has no scope `read:org`: then it tells of none.
            (403 | 404, _) => Ok(Vec::new()),
            (200, None) => Err(strange()),
            (401, _) => Err(refused("the token does not hold at GitHub")),
            _ => Err(self.silent(status)),
        }
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    async fn send(&self, method: Method, path: &[&str], shown: &str, body: String) -> Result<(u16, Value)> {
        let mut url = Url::parse(self.issuer.issuer.as_deref().unwrap_or(HOME)).map_err(|_| unavailable())?;
        // Such an URL has a path: it begins with http.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if path.last() == Some(&"orgs") {
            url.set_query(Some("per_page=100"));
        }
        let mut shown = HeaderValue::from_str(shown).map_err(|_| unavailable())?;
        shown.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, shown);
        headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
        headers
            .insert(USER_AGENT, HeaderValue::from_static(concat!("mcp-gateway/", env!("CARGO_PKG_VERSION"))));
        headers.insert("x-github-api-version", HeaderValue::from_static("2022-11-28"));
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let question = Question { method, url, headers, body: Bytes::from(body) };
        let (status, text) = self.ask.ask(question).await.map_err(|error| {
            tracing::warn!(%error, "GitHub cannot be asked about a token");
            unavailable()
        })?;
        Ok((status, serde_json::from_slice(&text).unwrap_or_default()))
    }

    /// It answers, and tells nothing of the token: it limits our rate, or is broken.
    fn silent(&self, status: u16) -> Error {
        tracing::warn!(issuer = self.issuer.name, status, "GitHub does not say whose a token is");
        unavailable()
    }
}

fn strange() -> Error {
    tracing::warn!("GitHub's answer about a token is of another form than it was");
    unavailable()
}
