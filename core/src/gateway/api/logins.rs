//! Logins: a user authorizes the gateway at a server by OAuth, in a browser of their own.
//!
//! A login begins with a request to the gateway, goes on at the authorization server, and ends at the address to which that
//! sends the browser back. Its name there (`state`) is drawn at random and good for one login.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use url::Url;

use super::credentials::fits;
use crate::auth::authority::Authority;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::upstream::credential_cache::origin_of;
use crate::gateway::upstream::granted::HEADER;
use crate::gateway::{Caller, CredentialScope, Gateway};
use crate::model::{Credential, CredentialKind, Principal, Server, ServerId};
use crate::oauth::{self, Challenge};

/// How long a person has.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// Logins at a time, and servers whose last challenge is known.
const MOST: usize = 1_000;
/// Logins of one caller at a time.
const MOST_EACH: usize = 20;

/// The parameters of a login.
#[derive(Clone, Default)]
pub struct LoginWish {
    /// The page to which authorization servers send the browser back, with the parameters that [`Gateway::finish_login`] takes. Each
    /// of them has an address of its own below it: [`LoginBegun::redirect_uri`].
    pub redirect_uri: String,
    /// A client that was registered by hand at the authorization server; without, the gateway registers itself.
    pub client_id: Option<String>,
    /// Its secret, if it has one.
    pub client_secret: Option<String>,
    /// The https URL of a document that describes this gateway (Client ID Metadata Document), for servers that take one.
    pub client_metadata_url: Option<String>,
    /// The scopes to ask for; those that the server names if there are none.
    pub scopes: Vec<String>,
}

/// A login that has begun.
#[derive(Clone, Debug)]
pub struct LoginBegun {
    /// The page that the person opens in a browser.
    pub authorization_url: String,
    /// The address to which this authorization server, and no other, sends the browser back. A client that was registered by hand
    /// is registered with it.
    pub redirect_uri: String,
    /// The time by which they have to be back.
    pub expires_at: Timestamp,
}

/// The question that a person confirms before a login ends.
#[derive(Clone, Debug)]
pub struct LoginAsked {
    /// The server's name.
    pub server: String,
    /// The origin to which the gateway will send the credential.
    pub origin: String,
    /// The issuer, if it states its name.
    pub issuer: Option<String>,
    /// The scopes that were requested.
    pub scopes: Vec<String>,
    /// The subject that began the login.
    pub begun_by: String,
    /// The subject in whose calls alone it will be used; in all calls if absent.
    pub subject: Option<String>,
}

/// The parameters with which the authorization server sent the browser back.
#[derive(Clone, Copy)]
pub struct LoginAnswer<'a> {
    /// `state`.
    pub state: &'a str,
    /// `code`.
    pub code: &'a str,
    /// `iss` (RFC 9207).
    pub issuer: Option<&'a str>,
    /// The address that the browser was sent back to, or its path: it is for the answers of one authorization server.
    pub redirect_uri: Option<&'a str>,
}

/// The logins under way, and the challenges of servers that require one.
#[derive(Default)]
pub(crate) struct Logins {
    waiting: Mutex<HashMap<String, Arc<PendingLogin>>>,
    challenges: Mutex<HashMap<(ServerId, Option<String>), Challenge>>,
}

struct PendingLogin {
    login: oauth::Login,
    caller: Caller,
    server: ServerId,
    subject: Option<String>,
    origin: String,
    ends: Timestamp,
    /// One answer after another.
    turn: tokio::sync::Mutex<()>,
}

impl PendingLogin {
    /// Whether the address that the browser was sent back to is for the answers of this login's authorization server
    /// (RFC 9700 section 4.4.2).
    fn is_at(&self, redirect_uri: Option<&str>) -> Result<()> {
        let message = match redirect_uri.map(oauth::issuer_at) {
            Some(id) if id == self.login.issuer_id => return Ok(()),
            Some(_) => {
                "this address is for the answers of another authorization server than the one that was asked, so nothing is taken from \
                 it; log in again"
            }
            None => {
                "say in `redirect_uri` to which address the browser came back: each authorization server has its own"
            }
        };
        Err(Error::new(ErrorKind::PermissionDenied, message).with("expected", &self.login.redirect_uri))
    }

    fn is_of(&self, principal: &Principal) -> bool {
        let own = &self.caller.principal;
        own.tenant == principal.tenant && own.subject == principal.subject
    }
}

impl Logins {
    /// Takes note of a server's challenge, for the next login to it.
    pub(crate) fn challenged(&self, server: ServerId, subject: Option<&str>, challenge: Challenge) {
        let mut challenges = self.challenges();
        let key = (server, subject.map(str::to_owned));
        // Without it a login asks for the scopes in the server's metadata.
        if challenges.len() < MOST || challenges.contains_key(&key) {
            challenges.insert(key, challenge);
        }
    }

    /// The server's last challenge to this caller, or else to the gateway itself.
    fn challenge(&self, server: ServerId, subject: Option<&str>) -> Option<Challenge> {
        let challenges = self.challenges();
        let own = challenges.get(&(server, subject.map(str::to_owned)));
        own.or_else(|| challenges.get(&(server, None))).cloned()
    }

    fn settled(&self, server: ServerId, subject: Option<&str>) {
        self.challenges().remove(&(server, subject.map(str::to_owned)));
    }

    /// Forgets the challenges and logins of a server that was removed.
    pub(crate) fn forget(&self, server: ServerId) {
        self.challenges().retain(|(other, _), _| *other != server);
        self.waiting().retain(|_, waiting| waiting.server != server);
    }

    fn add(&self, state: String, waiting: PendingLogin, now: Timestamp) -> Result<()> {
        let mut all = self.waiting();
        all.retain(|_, other| other.ends > now);
        let own = all.values().filter(|other| other.is_of(&waiting.caller.principal)).count();
        let limit = if own >= MOST_EACH { MOST_EACH } else { MOST };
        if own >= MOST_EACH || all.len() >= MOST {
            let message =
                "as many logins are under way as may be at once; finish one, or wait until they end";
            return Err(Error::new(ErrorKind::Unavailable, message)
                .with("limit", limit)
                .retry_after(PATIENCE));
        }
        all.insert(state, Arc::new(waiting));
        Ok(())
    }

    fn get(&self, state: &str, now: Timestamp) -> Result<Arc<PendingLogin>> {
        let found = self.waiting().get(state).filter(|waiting| waiting.ends > now).cloned();
        found.filter(|waiting| !waiting.caller.principal.is_over(now)).ok_or_else(|| {
            let message = "no such login is under way: it has ended, or took longer than ten minutes; begin another one";
            Error::new(ErrorKind::NotFound, message)
        })
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<String, Arc<PendingLogin>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn challenges(&self) -> MutexGuard<'_, HashMap<(ServerId, Option<String>), Challenge>> {
        self.challenges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gateway {
    /// Begins to authorize the gateway at a server by OAuth 2.1, as the specification of MCP has it ("Authorization"): finds
    /// the server's authorization server, registers there, and returns the page where a person grants access.
    ///
    /// [`ErrorKind::NotFound`], [`ErrorKind::InvalidParams`] as for [`Gateway::set_credential`],
    /// [`ErrorKind::PermissionDenied`] if this gateway has no key to seal with, [`ErrorKind::BadUpstream`] if the server names
    /// no authorization server or that does not cooperate; the error's context names the reason.
    pub async fn begin_login(
        &self,
        caller: &Caller,
        server: ServerId,
        whose: CredentialScope<'_>,
        wish: &LoginWish,
    ) -> Result<LoginBegun> {
        caller.may(whose.operation(caller))?;
        let subject = whose.subject(caller);
        let outcome = self.login(caller, server, subject, wish).await;
        self.told(caller, "credential.login", server, outcome).await
    }

    /// The question that the person who comes back confirms before the login ends.
    ///
    /// [`ErrorKind::NotFound`] if no such login is under way, [`ErrorKind::PermissionDenied`] if the browser was sent back to
    /// `redirect_uri` by another authorization server than the login's.
    pub fn login_asked(&self, state: &str, redirect_uri: Option<&str>) -> Result<LoginAsked> {
        let waiting = self.0.logins.get(state, self.0.clock.timestamp())?;
        waiting.is_at(redirect_uri)?;
        let server = self.visible(&waiting.caller, waiting.server)?;
        Ok(LoginAsked {
            server: server.name.clone(),
            origin: waiting.origin.clone(),
            issuer: waiting.login.issuer().map(str::to_owned),
            scopes: waiting.login.scopes.clone(),
            begun_by: waiting.caller.principal.subject.to_string(),
            subject: waiting.subject.clone(),
        })
    }

    /// Ends a login with the authorization server's parameters: from now on the gateway sends the granted credential to the
    /// server.
    ///
    /// [`ErrorKind::NotFound`] if no such login is under way; [`ErrorKind::PermissionDenied`] if the answer is not the authorization
    /// server's, which leaves the login as it was; [`ErrorKind::BadUpstream`], [`ErrorKind::Storage`].
    pub async fn finish_login(&self, answer: &LoginAnswer<'_>) -> Result<Credential> {
        let inner = &self.0;
        let waiting = inner.logins.get(answer.state, inner.clock.timestamp())?;
        if let Err(error) = waiting.is_at(answer.redirect_uri) {
            return self.told(&waiting.caller, "credential.login", waiting.server, Err(error)).await;
        }
        let _turn = waiting.turn.lock().await;
        // It may have ended while this answer waited.
        inner.logins.get(answer.state, inner.clock.timestamp())?;
        let outcome = self.granted(&waiting, answer).await;
        if !matches!(&outcome, Err(error) if error.kind() == ErrorKind::PermissionDenied) {
            inner.logins.waiting().remove(answer.state);
        }
        self.told(&waiting.caller, "credential.login", waiting.server, outcome).await
    }

    /// Ends a login that the person or the authorization server refused.
    ///
    /// Errors as of [`Gateway::login_asked`].
    pub fn give_up_login(&self, state: &str, redirect_uri: Option<&str>) -> Result<()> {
        self.0.logins.get(state, self.0.clock.timestamp())?.is_at(redirect_uri)?;
        self.0.logins.waiting().remove(state);
        Ok(())
    }

    async fn login(
        &self,
        caller: &Caller,
        server: ServerId,
        subject: Option<&str>,
        wish: &LoginWish,
    ) -> Result<LoginBegun> {
        let inner = &self.0;
        let server = self.visible(caller, server)?;
        if let Some(subject) = subject {
            fits(subject, &server)?;
        }
        let (origin, url) = (origin_of(&server)?, url_of(&server)?);
        inner.book.key_id()?;
        check(wish)?;
        let before = inner.book.held(server.id, subject);
        let challenge = inner.logins.challenge(server.id, subject);
        let client = wish.client_id.as_deref().map(|id| (id, wish.client_secret.as_deref()));
        let login = oauth::Login::begin(
            &oauth::Wish {
                server: &url,
                page: &wish.redirect_uri,
                client,
                client_metadata_url: wish.client_metadata_url.as_deref(),
                scopes: &wish.scopes,
                challenge: challenge.as_ref(),
                before: before.as_ref().map(|held| &held.grant),
            },
            inner.wire(&server)?,
        )
        .await
        .map_err(|error| error.with("server", &server.name))?;
        let now = inner.clock.timestamp();
        let latest = now.round(jiff::Unit::Second).unwrap_or(now) + PATIENCE;
        // A login ends with the credential that began it.
        let expires_at = Authority::of(&caller.principal).end_of(latest);
        let (state, authorization_url) = (login.state.clone(), login.url.clone());
        let redirect_uri = login.redirect_uri.clone();
        let waiting = PendingLogin {
            login,
            caller: caller.clone(),
            server: server.id,
            subject: subject.map(str::to_owned),
            origin,
            ends: expires_at,
            turn: tokio::sync::Mutex::default(),
        };
        inner.logins.add(state, waiting, now)?;
        Ok(LoginBegun { authorization_url, redirect_uri, expires_at })
    }

    async fn granted(&self, waiting: &PendingLogin, answer: &LoginAnswer<'_>) -> Result<Credential> {
        let inner = &self.0;
        let (caller, subject) = (&waiting.caller, waiting.subject.as_deref());
        let server = self.visible(caller, waiting.server)?;
        let LoginAnswer { state, code, issuer, .. } = *answer;
        let now = inner.clock.timestamp();
        let grant = waiting.login.finish(&oauth::Callback { code, state, issuer }, now).await?;
        let about = Credential {
            kind: CredentialKind::Oauth,
            authorized: None,
            server_id: server.id,
            subject: waiting.subject.clone(),
            header: HEADER.to_owned(),
            origin: waiting.origin.clone(),
            key_id: inner.book.key_id()?.to_owned(),
            created_by: caller.principal.subject.to_string(),
            created_at: now,
        };
        let kept = self.keep_credential(caller, &server, about, &grant.sealable()?).await?;
        inner.logins.settled(server.id, subject);
        Ok(kept)
    }
}

fn url_of(server: &Server) -> Result<Url> {
    let url = server.endpoint.url().and_then(|url| Url::parse(url).ok());
    url.ok_or_else(|| {
        Error::new(ErrorKind::InvalidParams, "OAuth applies to servers with a URL; this server is a command")
    })
}

/// Checks the parameters as far as possible without I/O.
fn check(wish: &LoginWish) -> Result<()> {
    let wrong = |member: &'static str, message: &'static str| {
        Err(Error::new(ErrorKind::InvalidParams, message).with("member", member))
    };
    if wish.client_secret.is_some() && wish.client_id.is_none() {
        return wrong("client_id", "a `client_secret` belongs to a `client_id`");
    }
    if wish.client_id.as_deref() == Some("") {
        return wrong("client_id", "a client has a name; leave it out if the gateway is to register itself");
    }
    let document = wish.client_metadata_url.as_deref().map(Url::parse);
    if document.is_some_and(|url| !url.is_ok_and(|url| url.scheme() == "https" && url.path() != "/")) {
        return wrong("client_metadata_url", "the document is at an URL with https and a path");
    }
    // `scope-token` of RFC 6749 section 3.3.
    let fits = |c: u8| c == b'!' || (b'#'..=b'~').contains(&c) && c != b'\\';
    if wish.scopes.iter().any(|scope| scope.is_empty() || !scope.bytes().all(fits)) {
        return wrong("scopes", "a scope has no spaces, quotes or control characters");
    }
    Ok(())
}
