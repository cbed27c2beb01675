//! Signed tokens of issuers (RFC 7519, RFC 9068): a token counts if one of the configured issuers signed it, for this gateway,
//! for now.
//!
//! The checks: the form, the algorithm (which the key decides, never the token), the signature, `iss` as text, `aud`, `exp` and
//! `nbf` with [`LEEWAY`]. A token that held is remembered by its SHA-256 until it ends, so that a call costs one hash.

mod form;
pub(super) mod identity;
mod issuer;
mod key;
mod keyset;
mod remembered;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};
use url::Url;

use self::form::Form;
pub(super) use self::form::has_form;
#[cfg(feature = "oauth")]
pub(crate) use self::issuer::is_safe;
pub use self::issuer::{Issuer, Preset};
pub use self::keyset::{Fetch, MAX_DOCUMENT};
use self::keyset::{Finding, KeySet, Source};
pub(super) use self::remembered::Remembered;
use super::Answer;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Grant, Principal, ServiceName};

/// How far the clocks of an issuer and of this machine may be apart.
pub const LEEWAY: Duration = Duration::from_secs(60);

/// The tokens that are taken here.
#[derive(Debug)]
pub(super) struct Tokens {
    trusted: Vec<Trusted>,
    /// This gateway's own URL, without a slash at its end.
    url: Option<String>,
    remembered: Remembered,
    clock: Arc<dyn Clock>,
}

/// An issuer, or one directory of one.
#[derive(Debug)]
struct Trusted {
    issuer: Arc<Issuer>,
    /// Values of `iss`.
    names: Vec<String>,
    /// Shared by those whose keys are at the same place.
    keys: Arc<KeySet>,
}

impl Tokens {
    /// Takes the tokens of these issuers, for the gateway at `url`.
    pub(super) fn new(
        issuers: &[Issuer],
        url: Option<String>,
        fetch: &Arc<dyn Fetch>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self> {
        let mut trusted = Vec::new();
        for issuer in issuers {
            let issuer = Arc::new(issuer.clone());
            let shared = issuer.jwks_url.is_some();
            let mut known: Option<Arc<KeySet>> = None;
            for (names, source) in sources(&issuer)? {
                let new = || Arc::new(KeySet::new(source, Arc::clone(fetch), Arc::clone(clock)));
                let keys = known.take().filter(|_| shared).unwrap_or_else(new);
                known = Some(Arc::clone(&keys));
                trusted.push(Trusted { issuer: Arc::clone(&issuer), names, keys });
            }
        }
        Ok(Self { trusted, url, remembered: Remembered::default(), clock: Arc::clone(clock) })
    }

    /// The principal that a token stands for.
    ///
    /// [`ErrorKind::Unauthenticated`] if it does not hold, [`ErrorKind::PermissionDenied`] if it holds and nobody here is meant,
    /// [`ErrorKind::Unavailable`] if its issuer's keys cannot be fetched.
    pub(super) fn recognize<'a>(&'a self, token: &'a [u8]) -> Answer<'a> {
        let hash = Remembered::hash(token);
        if let Some((principal, index, generation)) = self.remembered.find(&hash, self.clock.timestamp()) {
            // A key that the issuer took back takes its tokens with it.
            if self.trusted.get(index).is_some_and(|trusted| trusted.keys.generation() == Some(generation)) {
                return Answer::Now(Ok(principal));
            }
        }
        let form = match Form::read(token) {
            Ok(form) => form,
            Err(error) => return Answer::Now(Err(error)),
        };
        let named = form.claims.get("iss").and_then(Value::as_str).unwrap_or_default();
        let found = self.trusted.iter().position(|trusted| trusted.names.iter().any(|name| name == named));
        let Some((index, trusted)) = found.and_then(|index| Some((index, self.trusted.get(index)?))) else {
            return Answer::Now(Err(refused("the token is of an issuer that is not taken here")));
        };
        match trusted.keys.judge(&form) {
            Finding::Unknown => Answer::Later(Box::pin(async move {
                let finding = trusted.keys.judge_afresh(&form).await?;
                self.conclude(&form, index, trusted, finding, hash)
            })),
            finding => Answer::Now(self.conclude(&form, index, trusted, finding, hash)),
        }
    }

    fn conclude(
        &self,
        form: &Form<'_>,
        index: usize,
        trusted: &Trusted,
        finding: Finding,
        hash: [u8; 32],
    ) -> Result<Principal> {
        let Finding::Holds(generation) = finding else {
            return Err(refused("the token's signature is not that of its issuer"));
        };
        if form.claims.contains_key("cnf") {
            // RFC 7800: only who proves to have a key may use it, which a bearer does not.
            return Err(refused("the token is bound to a key (`cnf`), and is not taken from a bearer"));
        }
        let now = self.clock.timestamp();
        let service = self.audience(&trusted.issuer, &form.claims)?;
        let end = end_of(&form.claims, now)?;
        // A key that it makes ends with the token itself; the leeway is for the difference of two clocks alone.
        let grant = Grant { service, expires_at: Some(end), ..Grant::default() };
        let principal = identity::principal(&trusted.issuer, &form.claims, grant)?;
        self.remembered.keep(hash, principal.clone(), later(end), index, generation, now);
        Ok(principal)
    }

    /// Whether the token is meant for this gateway; the service, if it is meant for one alone.
    fn audience(&self, issuer: &Issuer, claims: &Map<String, Value>) -> Result<Option<ServiceName>> {
        let meant: Vec<&str> = match claims.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if meant.iter().any(|aud| issuer.audience.iter().any(|own| own == aud)) {
            return Ok(None);
        }
        let within =
            |aud: &&str| self.url.as_deref().and_then(|url| aud.strip_prefix(url).map(str::to_owned));
        let mut services = Vec::new();
        for path in meant.iter().filter_map(within) {
            match path.as_str() {
                "" | "/" | "/mcp" => return Ok(None),
                path => {
                    let service = path.strip_prefix("/mcp/").and_then(|name| ServiceName::asked(name).ok());
                    services.extend(service);
                }
            }
        }
        services
            .into_iter()
            .next()
            .map(Some)
            .ok_or_else(|| refused("the token is not meant for this gateway"))
    }
}

/// When a token ends, if it holds now.
fn end_of(claims: &Map<String, Value>, now: Timestamp) -> Result<Timestamp> {
    let time = |name: &'static str| match claims.get(name) {
        None => Ok(None),
        // Seconds since 1970, whole or not (RFC 7519 section 2).
        Some(value) => value
            .as_f64()
            .filter(|seconds| (0.0..=253_402_207_200.0).contains(seconds))
            .and_then(|seconds| Timestamp::UNIX_EPOCH.checked_add(Duration::from_secs_f64(seconds)).ok())
            .map(Some)
            .ok_or_else(|| refused("a time of the token is no time").with("claim", name)),
    };
    let end = time("exp")?.ok_or_else(|| refused("the token has no end").with("claim", "exp"))?;
    if later(end) <= now {
        return Err(refused("the token has expired"));
    }
    for name in ["nbf", "iat"] {
        if time(name)?.is_some_and(|start| start > later(now)) {
            return Err(refused("the token does not hold yet").with("claim", name));
        }
    }
    Ok(end)
}

/// `time` by a clock that is behind by the leeway.
fn later(time: Timestamp) -> Timestamp {
    time.checked_add(LEEWAY).unwrap_or(Timestamp::MAX)
}

/// The names that tokens of an issuer have, and where its keys are: once, or for each directory.
fn sources(issuer: &Issuer) -> Result<Vec<(Vec<String>, Source)>> {
    let parse = |text: &str| {
        Url::parse(text).map_err(|_| {
            Error::new(ErrorKind::InvalidParams, "an URL of an issuer cannot be read")
                .with("issuer", &issuer.name)
        })
    };
    let own = issuer.jwks_url.as_deref().map(parse).transpose()?;
    let name = issuer.issuer.clone().unwrap_or_default();
    match issuer.preset {
        Preset::Entra => {
            let of = |directory: &String| {
                let keys = format!("https://login.microsoftonline.com/{directory}/discovery/v2.0/keys");
                let url = own.clone().map_or_else(|| parse(&keys), Ok)?;
                Ok((identity::issuers_of(directory).to_vec(), Source::Keys(url)))
            };
            issuer.directories.iter().map(of).collect()
        }
        Preset::Google => {
            let keys = own.map_or_else(|| parse("https://www.googleapis.com/oauth2/v3/certs"), Ok)?;
            let names = ["https://accounts.google.com", "accounts.google.com"].map(str::to_owned);
            Ok(vec![(names.to_vec(), Source::Keys(keys))])
        }
        Preset::Github => {
            let host = "https://token.actions.githubusercontent.com";
            let keys = own.map_or_else(|| parse(&format!("{host}/.well-known/jwks")), Ok)?;
            Ok(vec![(vec![host.to_owned()], Source::Keys(keys))])
        }
        // Nobody signs its tokens: see `auth::opaque`.
        Preset::GithubUsers => Ok(Vec::new()),
        Preset::BetterAuth => {
            let keys = format!("{}/api/auth/jwks", name.trim_end_matches('/'));
            Ok(vec![(vec![name], Source::Keys(own.map_or_else(|| parse(&keys), Ok)?))])
        }
        Preset::Oidc => {
            let source = if let Some(keys) = own {
                Source::Keys(keys)
            } else {
                let openid = format!("{}/.well-known/openid-configuration", name.trim_end_matches('/'));
                let metadata = vec![parse(&openid)?, authorization_server(parse(&name)?)];
                Source::Metadata { metadata, issuer: name.clone() }
            };
            Ok(vec![(vec![name], source)])
        }
    }
}

/// Where the metadata of an issuer is by RFC 8414 (section 3.1): the well-known part stands in front of its path.
fn authorization_server(mut issuer: Url) -> Url {
    let path = issuer.path().trim_end_matches('/').to_owned();
    issuer.set_path(&format!("/.well-known/oauth-authorization-server{path}"));
    issuer
}

fn refused(message: &'static str) -> Error {
    Error::new(ErrorKind::Unauthenticated, message)
}
