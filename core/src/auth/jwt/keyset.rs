//! The keys of one issuer: fetched when first needed, kept, and fetched again when they are old or when a token names one that
//! is not among them. However many ask at once, one of them fetches; and nobody can make the gateway fetch without end.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use url::Url;

use super::form::Form;
use super::key::PublicKey;
use crate::auth::opaque::Question;
use crate::clock::{Clock, Tick};
use crate::error::{Error, ErrorKind, Result};

/// Largest document of an issuer, in bytes.
pub const MAX_DOCUMENT: usize = 1024 * 1024;
/// Keys of one issuer at most.
const MAX_KEYS: usize = 100;
/// Keys that are older are fetched again while those that are there are used.
const FRESH: Duration = Duration::from_hours(1);
/// Keys that are older are not used.
const USABLE: Duration = Duration::from_hours(24);
/// Time between two fetches for keys that are not there, whether the first found something or not: names of keys that are made
/// up, from however many addresses, have the issuer asked no more often.
const PAUSE: Duration = Duration::from_secs(30);
/// The same while there are no keys that can be used: until then nobody is let in.
const RETRY: Duration = Duration::from_secs(10);

/// Reads a document of an issuer: an URL in, at most [`MAX_DOCUMENT`] bytes out.
pub trait Fetch: Send + Sync + fmt::Debug {
    /// The document's bytes. Redirects are not followed.
    fn fetch<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<bytes::Bytes>>;

    /// Asks a provider of opaque tokens something; the status of its answer and at most [`MAX_DOCUMENT`] bytes.
    fn ask(&self, question: Question) -> BoxFuture<'_, Result<(u16, bytes::Bytes)>> {
        let message = "opaque tokens cannot be asked about here";
        Box::pin(async move {
            Err(Error::new(ErrorKind::Unavailable, message)
                .with("url", question.url.origin().ascii_serialization()))
        })
    }
}

/// The place where an issuer publishes its keys.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Here.
    Keys(Url),
    /// In its metadata, which is at one of `metadata` (OpenID Connect Discovery 1.0 section 4, RFC 8414 section 3.1) and must name
    /// `issuer`.
    Metadata { metadata: Vec<Url>, issuer: String },
}

pub(super) struct KeySet {
    source: Source,
    fetch: Arc<dyn Fetch>,
    clock: Arc<dyn Clock>,
    loaded: ArcSwapOption<Loaded>,
    /// Where the issuer's metadata says that its keys are, and when it did.
    place: ArcSwapOption<(Url, Tick)>,
    /// When the last fetch ended; held while one is under way.
    fetching: Mutex<Option<Tick>>,
}

struct Loaded {
    keys: Vec<PublicKey>,
    at: Tick,
    /// Counts fetches that changed something; a token that was verified by other keys has to be verified again.
    generation: u64,
    text: bytes::Bytes,
}

/// Whether a token's signature holds, as far as the keys that are there can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It does, by keys of this generation.
    Holds(u64),
    /// It does not.
    Broken,
    /// The keys have to be fetched first.
    Unknown,
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("source", &self.source).finish_non_exhaustive()
    }
}

impl KeySet {
    pub(super) fn new(source: Source, fetch: Arc<dyn Fetch>, clock: Arc<dyn Clock>) -> Self {
        let (loaded, place) = (ArcSwapOption::empty(), ArcSwapOption::empty());
        Self { source, fetch, clock, loaded, place, fetching: Mutex::default() }
    }

    /// Judges a signature by the keys that are there.
    pub(super) fn judge(&self, form: &Form<'_>) -> Finding {
        let loaded = self.loaded.load();
        let Some(loaded) = loaded.as_ref() else { return Finding::Unknown };
        if self.clock.now().since(loaded.at) >= FRESH {
            return Finding::Unknown;
        }
        loaded.judge(form)
    }

    /// Which keys are there now.
    pub(super) fn generation(&self) -> Option<u64> {
        self.loaded.load().as_ref().map(|loaded| loaded.generation)
    }

    /// Judges a signature, after fetching the keys if that can help.
    ///
    /// [`ErrorKind::Unavailable`] if there are none and they cannot be fetched.
    pub(super) async fn judge_afresh(&self, form: &Form<'_>) -> Result<Finding> {
        let mut last = match self.fetching.try_lock() {
            Ok(last) => last,
            // While somebody else fetches, keys that are old but usable do for what they can judge: only one waits.
            Err(_) => match self.usable().map(|loaded| loaded.judge(form)) {
                Some(finding @ Finding::Holds(_)) => return Ok(finding),
                _ => self.fetching.lock().await,
            },
        };
        // Somebody may have fetched while this one waited.
        match self.judge(form) {
            Finding::Unknown => {}
            known => return Ok(known),
        }
        let now = self.clock.now();
        let pause = if self.usable().is_some() { PAUSE } else { RETRY };
        let rested = last.is_none_or(|last| now.since(last) >= pause);
        let outcome = if rested {
            let outcome = self.read().await;
            *last = Some(self.clock.now());
            outcome
        } else {
            Ok(())
        };
        match (self.usable(), outcome) {
            (Some(loaded), outcome) => {
                if let Err(error) = outcome {
                    tracing::warn!(%error, "the keys of an issuer cannot be fetched; older ones are used");
                }
                Ok(loaded.judge(form))
            }
            (None, Err(error)) => {
                tracing::error!(%error, "the keys of an issuer cannot be fetched");
                Err(unavailable())
            }
            (None, Ok(())) => Err(unavailable()),
        }
    }

    /// The keys that are there, if they are not too old.
    fn usable(&self) -> Option<Arc<Loaded>> {
        self.loaded.load_full().filter(|loaded| self.clock.now().since(loaded.at) < USABLE)
    }

    async fn read(&self) -> Result<()> {
        let url = match &self.source {
            Source::Keys(url) => url.clone(),
            Source::Metadata { metadata, issuer } => self.place(metadata, issuer).await?,
        };
        let outcome = self.keys_at(&url).await;
        if outcome.is_err() {
            // They may have moved.
            self.place.store(None);
        }
        outcome
    }

    /// Where the keys are, as the metadata says: asked for as seldom as the keys themselves need be.
    async fn place(&self, documents: &[Url], issuer: &str) -> Result<Url> {
        let now = self.clock.now();
        if let Some((url, at)) = self.place.load().as_deref()
            && now.since(*at) < FRESH
        {
            return Ok(url.clone());
        }
        let url = self.keys_of(documents, issuer).await?;
        self.place.store(Some(Arc::new((url.clone(), now))));
        Ok(url)
    }

    async fn keys_at(&self, url: &Url) -> Result<()> {
        let text = self.fetch.fetch(url).await?;
        let wrong = || {
            Error::new(ErrorKind::BadUpstream, "the issuer's `jwks_uri` did not return a JWK set")
                .with("url", url)
        };
        let document: Value = serde_json::from_slice(&text).map_err(|error| wrong().caused_by(error))?;
        let keys = document["keys"].as_array().filter(|keys| keys.len() <= MAX_KEYS).ok_or_else(wrong)?;
        let keys: Vec<_> = keys.iter().cloned().filter_map(PublicKey::read).collect();
        let before = self.loaded.load();
        let generation =
            before.as_ref().map_or(0, |before| before.generation + u64::from(before.text != text));
        self.loaded.store(Some(Arc::new(Loaded { keys, at: self.clock.now(), generation, text })));
        Ok(())
    }

    /// Where the keys are by the first of these documents that can be used; the error is that of the first.
    async fn keys_of(&self, documents: &[Url], issuer: &str) -> Result<Url> {
        let mut first = None;
        for metadata in documents {
            match self.discover(metadata, issuer).await {
                Ok(keys) => return Ok(keys),
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        Err(first.unwrap_or_else(unavailable))
    }

    async fn discover(&self, metadata: &Url, issuer: &str) -> Result<Url> {
        let text = self.fetch.fetch(metadata).await?;
        let wrong = |what: &'static str| Error::new(ErrorKind::BadUpstream, what).with("url", metadata);
        let document: Value = serde_json::from_slice(&text)
            .map_err(|error| wrong("the issuer's metadata is no JSON").caused_by(error))?;
        // Compared as text, without any normalisation.
        if document["issuer"].as_str() != Some(issuer) {
            return Err(wrong("the issuer's metadata names another issuer"));
        }
        if let Some(odd) = document.as_object().and_then(odd_endpoint) {
            return Err(
                wrong("the issuer's metadata has an endpoint that is no web address").with("member", odd)
            );
        }
        let url = document["jwks_uri"].as_str().and_then(|text| Url::parse(text).ok());
        url.ok_or_else(|| wrong("the issuer's metadata has no `jwks_uri`"))
    }
}

/// The name of an endpoint in an issuer's metadata (RFC 8414 section 2, OpenID Connect Discovery 1.0 section 3) that is no http or
/// https URL. Nobody publishes such a one who means well, whether it is asked for anything here or not.
fn odd_endpoint(metadata: &Map<String, Value>) -> Option<&str> {
    let endpoints = metadata.iter().filter(|(name, _)| name.ends_with("_endpoint") || *name == "jwks_uri");
    let is_web = |value: &Value| {
        let url = value.as_str().and_then(|text| Url::parse(text).ok());
        url.is_some_and(|url| matches!(url.scheme(), "https" | "http"))
    };
    endpoints.filter(|(_, value)| !is_web(value)).map(|(name, _)| name.as_str()).next()
}

impl Loaded {
    fn judge(&self, form: &Form<'_>) -> Finding {
        let mut candidates = self.keys.iter().filter(|key| match &form.kid {
            Some(kid) => key.kid.as_ref() == Some(kid),
            None => key.algorithm() == form.algorithm,
        });
        let key = match (candidates.next(), candidates.next()) {
            (Some(key), None) => key,
            (Some(_), Some(_)) => return Finding::Broken,
            (None, _) => return Finding::Unknown,
        };
        let holds = key.is_of(&form.claims)
            && key.algorithm() == form.algorithm
            && key.verifies(form.signed, &form.signature);
        if holds { Finding::Holds(self.generation) } else { Finding::Broken }
    }
}

fn unavailable() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the issuer's keys cannot be fetched, so its tokens cannot be verified; try again",
    )
    .retry_after(RETRY)
    .not_sent()
}
