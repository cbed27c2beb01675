//! Tokens that say nothing by themselves and that nobody signed: their provider is asked for the principals that they stand for.
//!
//! GitHub gives such tokens to people and to the apps that act for them. One that held is remembered by its SHA-256 for `HOLDS`,
//! one that did not for `BROKEN`; however many calls send the same at once, one of them asks; no more than `AT_ONCE` questions
//! are under way, and none lasts longer than `PATIENCE`. A token that cannot be asked about is 503, never anonymous.

mod github;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::sync::Semaphore;
use url::Url;

use super::Answer;
use super::jwt::{Fetch, Issuer, Preset, Remembered};
use crate::clock::{Clock, Tick};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Principal;

pub(super) use self::github::has_form;

/// How long a token that held is not asked about again: a token that is revoked there ends here within this time.
const HOLDS: Duration = Duration::from_secs(60);
/// How long one that did not is refused without asking.
const BROKEN: Duration = Duration::from_secs(10);
/// Refused tokens that are remembered at most.
const MOST_BROKEN: usize = 4096;
/// Questions under way at most.
const AT_ONCE: usize = 32;
/// Longest wait for a turn and all that is asked about one token.
const PATIENCE: Duration = Duration::from_secs(5);

type Hash = [u8; 32];

/// Something that a provider is asked.
#[derive(Debug)]
pub struct Question {
    /// The method.
    pub method: Method,
    /// The URL.
    pub url: Url,
    /// The headers that it is sent; secrets among them are marked as such.
    pub headers: HeaderMap,
    /// JSON, or nothing.
    pub body: Bytes,
}

/// The tokens of the provider that is configured, if one is.
pub(super) struct Opaque {
    provider: Option<Issuer>,
    ask: Arc<dyn Fetch>,
    clock: Arc<dyn Clock>,
    held: Remembered,
    broken: Mutex<HashMap<Hash, Tick>>,
    /// The locks by which one call asks about a token, and others with the same token wait.
    turns: Mutex<HashMap<Hash, Weak<tokio::sync::Mutex<()>>>>,
    room: Semaphore,
}

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opaque").field("provider", &self.provider).finish_non_exhaustive()
    }
}

impl Opaque {
    /// Takes the tokens of the first of these issuers that gives such; the configuration has at most one, since a token that one
    /// provider gave is no other's to see.
    pub(super) fn new(issuers: &[Issuer], ask: &Arc<dyn Fetch>, clock: &Arc<dyn Clock>) -> Self {
        let provider = issuers.iter().find(|issuer| issuer.preset == Preset::GithubUsers).cloned();
        Self {
            provider,
            ask: Arc::clone(ask),
            clock: Arc::clone(clock),
            held: Remembered::default(),
            broken: Mutex::default(),
            turns: Mutex::default(),
            room: Semaphore::new(AT_ONCE),
        }
    }

    /// Whether any such token is taken.
    pub(super) fn is_taken(&self) -> bool {
        self.provider.is_some()
    }

    /// The principal that a token stands for.
    ///
    /// [`ErrorKind::Unauthenticated`] if it does not hold, [`ErrorKind::PermissionDenied`] if it holds and nobody here is meant,
    /// [`ErrorKind::Unavailable`] if its provider cannot be asked.
    pub(super) fn recognize<'a>(&'a self, token: &'a [u8]) -> Answer<'a> {
        let hash = Remembered::hash(token);
        match self.known(&hash) {
            Some(known) => Answer::Now(known),
            None => Answer::Later(Box::pin(self.find_out(token, hash))),
        }
    }

    fn known(&self, hash: &Hash) -> Option<Result<Principal>> {
        if let Some((principal, ..)) = self.held.find(hash, self.clock.timestamp()) {
            return Some(Ok(principal));
        }
        let broken = locked(&self.broken).get(hash).is_some_and(|at| self.clock.now().since(*at) < BROKEN);
        broken.then(|| Err(refused("the token does not hold at its provider")))
    }

    async fn find_out(&self, token: &[u8], hash: Hash) -> Result<Principal> {
        let asking = async {
            let turn = self.turn(hash);
            let _turn = turn.lock().await;
            // Somebody may have asked while this one waited.
            if let Some(known) = self.known(&hash) {
                return known;
            }
            let _room = self.room.acquire().await.map_err(|error| unavailable().caused_by(error))?;
            let outcome = self.judge(token).await;
            self.remember(hash, &outcome);
            outcome
        };
        tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| Err(unavailable()))
    }

    async fn judge(&self, token: &[u8]) -> Result<Principal> {
        let provider = self.provider.as_ref().ok_or_else(|| refused("no such token is taken here"))?;
        let token = str::from_utf8(token).map_err(|_| refused("the token is not plain text"))?;
        github::whom(provider, &*self.ask, token, self.clock.timestamp()).await
    }

    fn remember(&self, hash: Hash, outcome: &Result<Principal>) {
        match outcome {
            Ok(principal) => {
                let now = self.clock.timestamp();
                let soon = now.checked_add(HOLDS).unwrap_or(now);
                let end = principal.grant.as_ref().and_then(|grant| grant.expires_at);
                self.held.keep(hash, principal.clone(), end.map_or(soon, |end| end.min(soon)), 0, 0, now);
            }
            Err(error) if error.kind() == ErrorKind::Unauthenticated => {
                let (mut broken, now) = (locked(&self.broken), self.clock.now());
                if broken.len() >= MOST_BROKEN {
                    broken.retain(|_, at| now.since(*at) < BROKEN);
                }
                if broken.len() < MOST_BROKEN {
                    broken.insert(hash, now);
                }
            }
            // A token that could not be asked about, or that the configuration or an organization may let in at any time, is
            // asked about anew.
            Err(_) => {}
        }
    }

    fn turn(&self, hash: Hash) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = locked(&self.turns);
        if let Some(turn) = turns.get(&hash).and_then(Weak::upgrade) {
            return turn;
        }
        if turns.len() >= MOST_BROKEN {
            turns.retain(|_, turn| turn.strong_count() > 0);
        }
        let turn = Arc::default();
        turns.insert(hash, Arc::downgrade(&turn));
        turn
    }
}

/// Every change of these maps is one insert, or forgets what is old.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refused(message: &'static str) -> Error {
    Error::new(ErrorKind::Unauthenticated, message)
}

fn unavailable() -> Error {
    let message = "the token's provider cannot be asked whom it stands for; try again";
    Error::new(ErrorKind::Unavailable, message).retry_after(PATIENCE).not_sent()
}
