//! The steps of a login, and of the renewal of its grant.

use jiff::{SignedDuration, Timestamp};
use rmcp::transport::auth::{
    AuthorizationManager, AuthorizationMetadata, CredentialStore, InMemoryCredentialStore, OAuthClientConfig,
    OAuthTokenResponse, StoredCredentials,
};
use serde_json::{Value, json};
use url::Url;

use super::redirect::{issuer_id, redirect_uri};
use super::{Challenge, Wire, check_endpoint, failed};
use crate::auth::{Grant, OauthClient};
use crate::error::{Error, ErrorKind, Result};

/// The gateway's name for itself where it registers.
const CLIENT_NAME: &str = "MCP Registry Gateway";

/// The target and the terms of a login.
pub(crate) struct Wish<'a> {
    /// The server.
    pub(crate) server: &'a Url,
    /// The page below which each authorization server has the address that it sends people back to.
    pub(crate) page: &'a str,
    /// A client that somebody registered by hand, with its secret if it has one.
    pub(crate) client: Option<(&'a str, Option<&'a str>)>,
    /// The document that describes the gateway, where it is known by such a one.
    pub(crate) client_metadata_url: Option<&'a str>,
    /// The scopes to ask for; those that the server names if there are none.
    pub(crate) scopes: &'a [String],
    /// The server's challenge when it last refused a request.
    pub(crate) challenge: Option<&'a Challenge>,
    /// The earlier grant.
    pub(crate) before: Option<&'a Grant>,
}

/// A login that waits for a person.
pub(crate) struct Login {
    manager: AuthorizationManager,
    client: OauthClient,
    metadata: AuthorizationMetadata,
    /// The scopes that are asked for.
    pub(crate) scopes: Vec<String>,
    resource: String,
    /// The name of the authorization server in the address that it sends the person back to.
    pub(crate) issuer_id: String,
    /// That address.
    pub(crate) redirect_uri: String,
    /// Where the person goes.
    pub(crate) url: String,
    /// The value that names this login in the answer, and protects it.
    pub(crate) state: String,
}

/// The parameters that the authorization server sends the person back with.
pub(crate) struct Callback<'a> {
    pub(crate) code: &'a str,
    pub(crate) state: &'a str,
    /// The issuer that answers (RFC 9207).
    pub(crate) issuer: Option<&'a str>,
}

impl Login {
    /// Finds the authorization server, gets known there, and says where to go.
    pub(crate) async fn begin(wish: &Wish<'_>, wire: Wire) -> Result<Self> {
        let mut manager = manager(wish.server.as_str(), wire).await?;
        let challenge = wish.challenge.map(|challenge| challenge.text.as_str());
        let found = manager.resolve_metadata_from_challenge(challenge).await.map_err(failed)?;
        if !found.source.is_discovered() {
            let message =
                "the server names no authorization server; set the header that it wants to see instead";
            return Err(Error::new(ErrorKind::BadUpstream, message));
        }
        let metadata = found.metadata;
        check_endpoint("authorization_endpoint", &metadata.authorization_endpoint)?;
        check_endpoint("token_endpoint", &metadata.token_endpoint)?;
        manager.set_metadata(metadata.clone());
        let mut scopes = wish.scopes.to_vec();
        if scopes.is_empty() {
            scopes = manager.select_initial_scopes(&[]).await;
        }
        let before = wish.before.filter(|before| before.issuer() == metadata.issuer.as_deref());
        // Granted scopes stay granted: a login for more does not lose the earlier ones.
        for scope in before.iter().flat_map(|before| &before.scopes) {
            if !scopes.contains(scope) {
                scopes.push(scope.clone());
            }
        }
        let asked: Vec<&str> = scopes.iter().map(String::as_str).collect();
        let issuer_id = issuer_id(&metadata);
        let redirect_uri = redirect_uri(wish.page, &issuer_id)?;
        let client = known(&mut manager, wish, &redirect_uri, &metadata, before, &asked).await?;
        let url = manager.get_authorization_url(&asked).await.map_err(failed)?;
        let unfit = || Error::new(ErrorKind::Internal, "the login has no URL");
        let parsed = Url::parse(&url).map_err(|_| unfit())?;
        let member = |name: &str| {
            let found = parsed.query_pairs().filter(|(key, _)| key == name).last();
            found.map(|(_, value)| value.into_owned())
        };
        let (state, resource) = (member("state").ok_or_else(unfit)?, member("resource").ok_or_else(unfit)?);
        Ok(Self { manager, client, metadata, scopes, resource, issuer_id, redirect_uri, url, state })
    }

    /// The issuer that will answer, if it says its name.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.metadata.issuer.as_deref()
    }

    /// Exchanges the code for a grant. An answer that is not the authorization server's leaves the login as it was.
    pub(crate) async fn finish(&self, callback: &Callback<'_>, now: Timestamp) -> Result<Grant> {
        let Callback { code, state, issuer } = *callback;
        let token =
            self.manager.exchange_code_for_token_with_issuer(code, state, issuer).await.map_err(failed)?;
        let metadata = serde_json::to_value(&self.metadata).map_err(unkept)?;
        let grant = Grant {
            access_token: String::new(),
            refresh_token: None,
            expires_at: None,
            issued_at: now,
            scopes: self.scopes.clone(),
            asked: self.scopes.clone(),
            client: self.client.clone(),
            resource: self.resource.clone(),
            metadata,
        };
        taken(grant, &token, now)
    }
}

/// A new access token for `grant`.
///
/// [`ErrorKind::PermissionDenied`] if the authorization server says that it has ended, [`ErrorKind::BadUpstream`] for failures
/// that may pass.
pub(crate) async fn renew(grant: &Grant, wire: Wire, now: Timestamp) -> Result<Grant> {
    let mut manager = manager(&grant.resource, wire).await?;
    manager.set_metadata(serde_json::from_value(grant.metadata.clone()).map_err(unkept)?);
    manager.configure_client(configured(&grant.client)).map_err(failed)?;
    let before: OAuthTokenResponse = serde_json::from_value(json!({
        "access_token": grant.access_token,
        "token_type": "bearer",
        "refresh_token": grant.refresh_token,
    }))
    .map_err(unkept)?;
    let kept = InMemoryCredentialStore::new();
    let stored = StoredCredentials::new(grant.client.id.clone(), Some(before), grant.scopes.clone(), None);
    kept.save(stored).await.map_err(failed)?;
    manager.set_credential_store(kept);
    let token = manager.refresh_token().await.map_err(failed)?;
    taken(grant.clone(), &token, now)
}

async fn manager(base: &str, wire: Wire) -> Result<AuthorizationManager> {
    AuthorizationManager::new_with_oauth_http_client(base, std::sync::Arc::new(wire)).await.map_err(failed)
}

/// The client as which the gateway is known there, in the order of the specification (2026-07-28, "Client Registration"):
/// registered by hand, by the document that describes it, by its own registration, of before or of now.
async fn known(
    manager: &mut AuthorizationManager,
    wish: &Wish<'_>,
    redirect_uri: &str,
    metadata: &AuthorizationMetadata,
    before: Option<&Grant>,
    scopes: &[&str],
) -> Result<OauthClient> {
    let redirect_uri = redirect_uri.to_owned();
    let takes_documents = metadata.additional_fields.get("client_id_metadata_document_supported");
    let client = if let Some((id, secret)) = wish.client {
        OauthClient { id: id.to_owned(), secret: secret.map(str::to_owned), redirect_uri, registered: false }
    } else if let Some(document) = wish.client_metadata_url
        && takes_documents == Some(&Value::Bool(true))
    {
        OauthClient { id: document.to_owned(), secret: None, redirect_uri, registered: false }
    } else if let Some(before) = before
        && before.client.redirect_uri == redirect_uri
    {
        before.client.clone()
    } else {
        if let Some(endpoint) = &metadata.registration_endpoint {
            check_endpoint("registration_endpoint", endpoint)?;
        }
        let config = manager.register_client(CLIENT_NAME, &redirect_uri, scopes).await.map_err(failed)?;
        return Ok(OauthClient {
            id: config.client_id,
            secret: config.client_secret,
            redirect_uri,
            registered: true,
        });
    };
    manager.configure_client(configured(&client)).map_err(failed)?;
    Ok(client)
}

fn configured(client: &OauthClient) -> OAuthClientConfig {
    let config = OAuthClientConfig::new(&client.id, &client.redirect_uri);
    match &client.secret {
        Some(secret) => config.with_client_secret(secret),
        None => config,
    }
}

/// `grant` with the authorization server's answer (RFC 6749 section 5.1): a member that is left out stays as it was.
fn taken(grant: Grant, token: &OAuthTokenResponse, now: Timestamp) -> Result<Grant> {
    let token = serde_json::to_value(token).map_err(unkept)?;
    let text = |name: &str| token.get(name).and_then(Value::as_str).map(str::to_owned);
    let kind = text("token_type").unwrap_or_default();
    if !kind.eq_ignore_ascii_case("bearer") {
        let message = "the authorization server gives a token of a kind that the gateway cannot show";
        return Err(Error::new(ErrorKind::BadUpstream, message).with("token_type", kind));
    }
    let access_token = text("access_token").filter(|token| http::HeaderValue::from_str(token).is_ok());
    let access_token = access_token.ok_or_else(|| {
        Error::new(
            ErrorKind::BadUpstream,
            "the authorization server returned a token with characters that no header can carry",
        )
    })?;
    let life = token.get("expires_in").and_then(Value::as_i64).map(SignedDuration::from_secs);
    Ok(Grant {
        access_token,
        refresh_token: text("refresh_token").or(grant.refresh_token),
        expires_at: life.and_then(|life| now.checked_add(life).ok()),
        issued_at: now,
        scopes: text("scope")
            .map_or(grant.scopes, |scopes| scopes.split_whitespace().map(str::to_owned).collect()),
        ..grant
    })
}

fn unkept(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Internal, "a grant cannot be written as JSON").caused_by(error)
}
