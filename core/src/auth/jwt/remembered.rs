//! Tokens that held, by their SHA-256, until they end: bounded, and in pieces, so that callers seldom wait for each other.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use jiff::Timestamp;
use ring::digest::{SHA256, digest};

use crate::model::Principal;

const PIECES: usize = 16;
/// Tokens of one piece at most; all together are 16,384.
const EACH: usize = 1024;

type Hash = [u8; 32];

#[derive(Debug, Default)]
pub(in crate::auth) struct Remembered {
    pieces: [RwLock<HashMap<Hash, CachedToken>>; PIECES],
}

#[derive(Debug)]
struct CachedToken {
    principal: Principal,
    until: Timestamp,
    /// The issuer, and which of its keys were there.
    issuer: usize,
    generation: u64,
}

impl Remembered {
    pub(in crate::auth) fn hash(token: &[u8]) -> Hash {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token).as_ref());
        hash
    }

    /// The principal of a token that held before and has not ended, with its issuer and the generation of the keys.
    pub(in crate::auth) fn find(&self, hash: &Hash, now: Timestamp) -> Option<(Principal, usize, u64)> {
        let piece = self.piece(hash).read().unwrap_or_else(PoisonError::into_inner);
        let held = piece.get(hash).filter(|held| now < held.until)?;
        Some((held.principal.clone(), held.issuer, held.generation))
    }

    pub(in crate::auth) fn keep(
        &self,
        hash: Hash,
        principal: Principal,
        until: Timestamp,
        issuer: usize,
        generation: u64,
        now: Timestamp,
    ) {
        let mut piece = self.piece(&hash).write().unwrap_or_else(PoisonError::into_inner);
        if piece.len() >= EACH && !piece.contains_key(&hash) {
            piece.retain(|_, held| now < held.until);
            if piece.len() >= EACH {
                // Which one goes does not matter: it is verified once more.
                let victim = piece.keys().next().copied();
                victim.and_then(|victim| piece.remove(&victim));
            }
        }
        piece.insert(hash, CachedToken { principal, until, issuer, generation });
    }

    fn piece(&self, hash: &Hash) -> &RwLock<HashMap<Hash, CachedToken>> {
        &self.pieces[usize::from(hash[0]) % PIECES]
    }
}
