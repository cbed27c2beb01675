//! The one place where credentials from the network are judged, whichever entry point they came in by.

use std::net::IpAddr;
use std::sync::Arc;

use super::credentials::{Authorization, Bearer, Credentials, Forwarded};
use super::jwt::{self, Fetch, Tokens};
use super::keys::{self, Keys};
use super::local::{self, Local, LocalToken};
use super::opaque::{self, Opaque};
use super::settings::Auth;
use super::throttle::{Notice, Throttle};
use super::{Answer, Authenticator};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Principal, TenantId};

/// A failed attempt to authenticate, for the audit trail. It never holds the credential.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The address that it came from.
    pub peer: IpAddr,
    /// The reason.
    pub why: String,
    /// Whether the address is blocked from now on.
    pub closed: bool,
}

/// Is notified of failed attempts: of the first of an address in a while, and of the one after which it is blocked.
pub type FailureListener = Box<dyn Fn(Failed) + Send + Sync>;

/// Takes the credentials that the settings allow, and no others.
pub struct Checkpoint {
    settings: Auth,
    keys: Arc<Keys>,
    tokens: Tokens,
    opaque: Opaque,
    throttle: Throttle,
    clock: Arc<dyn Clock>,
    /// The principals of this machine's processes, where they need no credential.
    local: Option<Local>,
    told: FailureListener,
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoint").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Checkpoint {
    /// A checkpoint with these settings; `fetch` reads what issuers publish, `token` is the proof of this machine's processes if
    /// they need no credential.
    ///
    /// [`ErrorKind::InvalidParams`] for an URL of an issuer that is none.
    pub fn new(
        settings: Auth,
        keys: Arc<Keys>,
        fetch: &Arc<dyn Fetch>,
        clock: Arc<dyn Clock>,
        token: Arc<LocalToken>,
        told: FailureListener,
    ) -> Result<Self> {
        let local = settings.trust_loopback.then(|| Local::new(token));
        let tokens = Tokens::new(&settings.issuers, settings.canonical_url(), fetch, &clock)?;
        let opaque = Opaque::new(&settings.issuers, fetch, &clock);
        Ok(Self { settings, keys, tokens, opaque, throttle: Throttle::new(), clock, local, told })
    }

    /// The principal that is believed without an issued credential: a process of this machine, if the request is from one.
    fn sender(
        &self,
        peer: IpAddr,
        forwarded: Option<&Forwarded>,
        authorization: &Authorization,
    ) -> Result<Option<Principal>> {
        self.local.as_ref().map_or(Ok(None), |local| local.sender(peer, forwarded, authorization))
    }

    fn without_credential(&self, peer: IpAddr, forwarded: Option<&Forwarded>) -> Result<Principal> {
        if let Some(sender) = self.sender(peer, forwarded, &Authorization::Absent)? {
            return Ok(sender);
        }
        let peer = peer.to_canonical();
        if self.settings.anonymous {
            return Ok(Principal::anonymous(TenantId::default_tenant(), peer));
        }
        Err(Error::new(
            ErrorKind::Unauthenticated,
            "authentication required; send `Authorization: Bearer` with an API key or a token",
        ))
    }

    fn bearer<'a>(&'a self, peer: IpAddr, bearer: &'a Bearer) -> Answer<'a> {
        let token = bearer.token();
        if let Err(error) = self.throttle.check(peer, token, self.clock.now()) {
            return Answer::Now(Err(error));
        }
        let answer = if self.settings.api_keys && keys::has_form(token) {
            Answer::Now(self.keys.recognize(token))
        } else if jwt::has_form(token) {
            self.tokens.recognize(token)
        } else if self.opaque.is_taken() && opaque::has_form(token) {
            self.opaque.recognize(token)
        } else {
            let message = "this is no credential that is taken here";
            Answer::Now(Err(Error::new(ErrorKind::Unauthenticated, message)))
        };
        match answer {
            Answer::Now(outcome) => Answer::Now(self.conclude(peer, token, outcome)),
            Answer::Later(outcome) => {
                Answer::Later(Box::pin(async move { self.conclude(peer, token, outcome.await) }))
            }
        }
    }

    /// Counts the outcome.
    fn conclude(&self, peer: IpAddr, token: &[u8], outcome: Result<Principal>) -> Result<Principal> {
        match &outcome {
            Ok(_) => self.throttle.held(token),
            // That the store cannot be asked is not the caller's failure.
            Err(error) if error.kind() == ErrorKind::Unauthenticated => self.failed(peer, token, error),
            Err(_) => {}
        }
        outcome
    }

    #[cold]
    fn failed(&self, peer: IpAddr, token: &[u8], error: &Error) {
        let notice = self.throttle.failed(peer, token, self.clock.now());
        if notice != Notice::Repeated {
            let closed = notice == Notice::Closed;
            (self.told)(Failed { peer, why: error.message().to_owned(), closed });
        }
    }

    fn unusable(&self, peer: IpAddr, why: &'static str) -> Error {
        let error = Error::new(ErrorKind::Unauthenticated, why);
        self.failed(peer, b"", &error);
        error
    }
}

/// Nobody guesses 256 bits, so that this is not counted against the address.
#[cold]
fn no_token() -> Error {
    let message = "the local token is not taken here, because authentication is configured; use an API key or a token of an issuer";
    Error::new(ErrorKind::Unauthenticated, message)
}

impl Authenticator for Checkpoint {
    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Answer<'a> {
        let answer = match credentials {
            // A stream that is held open for a key speaks for it long after the key was sent.
            Credentials::Embedded(principal) if principal.is_over(self.clock.timestamp()) => Err(Error::new(
                ErrorKind::Unauthenticated,
                "the credential was revoked or has expired; use another one",
            )),
            Credentials::Embedded(principal) => Ok(principal.clone()),
            Credentials::Network { peer, forwarded, authorization } => match authorization {
                Authorization::Absent => self.without_credential(*peer, forwarded.as_ref()),
                Authorization::Bearer(bearer) if local::has_form(bearer.token()) => self
                    .sender(*peer, forwarded.as_ref(), authorization)
                    .and_then(|sender| sender.ok_or_else(no_token)),
                Authorization::Unusable(why) => Err(self.unusable(*peer, why)),
                Authorization::Bearer(bearer) => return self.bearer(*peer, bearer),
            },
        };
        Answer::Now(answer)
    }
}
