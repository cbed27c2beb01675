//! Protection against guessing: a caller that fails too often is blocked for a while, before anything is computed for it.
//!
//! Failures are counted by address (an IPv6 network of 64 bits counts as one) and by the first characters of the token, so that
//! guesses at one key from many addresses are met, too. Tokens that held before are let through all the same: those who
//! share an address with a guesser, behind a proxy, are not locked out. Everything here has a fixed size.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Tick;
use crate::error::{Error, ErrorKind};

/// Failures of one address within [`WINDOW`] after which it is blocked.
const BY_ADDRESS: u32 = 60;
/// Failures of tokens that begin alike.
const BY_PREFIX: u32 = 20;
/// How long failures are counted together, and how long a caller with too many is blocked.
const WINDOW: Duration = Duration::from_mins(1);
/// Addresses and prefixes that are counted at once; beyond that the oldest are forgotten.
const COUNTED: usize = 16_384;
/// Tokens that held and are remembered.
const REMEMBERED: usize = 4_096;
/// How much of a token is its prefix: `mcp_` and eight characters.
const PREFIX: usize = 12;

/// Counts failures. One for each gateway.
#[derive(Debug)]
pub(super) struct Throttle {
    counts: Mutex<HashMap<u64, Count>>,
    /// The tick until which somebody is blocked, so that nobody pays for looking when there is none.
    closed_until: AtomicU64,
    /// Hashes of tokens that held, each in the slot that its hash gives.
    held: Box<[AtomicU64]>,
    /// Keyed by chance: nobody can choose what falls together.
    hasher: RandomState,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    since: Tick,
    failures: u32,
    limit: u32,
}

/// The weight of a failure for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// The first for a while: worth a line.
    First,
    /// One of many.
    Repeated,
    /// The one after which the caller is blocked.
    Closed,
}

impl Count {
    fn is_over(&self, now: Tick) -> bool {
        now.since(self.since) >= WINDOW
    }

    fn is_closed(&self) -> bool {
        self.failures >= self.limit
    }
}

impl Throttle {
    pub(super) fn new() -> Self {
        Self {
            counts: Mutex::default(),
            closed_until: AtomicU64::new(0),
            held: (0..REMEMBERED).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Refuses with [`ErrorKind::RateLimited`] a caller that failed too often, unless the token held before.
    pub(super) fn check(&self, peer: IpAddr, token: &[u8], now: Tick) -> Result<(), Error> {
        if self.closed_until.load(Ordering::Relaxed) <= now.as_nanos() {
            return Ok(());
        }
        let wait = {
            let counts = self.counts();
            let closed = |key: u64| counts.get(&key).filter(|count| count.is_closed() && !count.is_over(now));
            let waits =
                [Some(self.address(peer)), self.prefix(token)].into_iter().flatten().filter_map(closed);
            waits.map(|count| WINDOW.saturating_sub(now.since(count.since))).max()
        };
        match wait {
            Some(wait) if !self.held_before(token) => Err(Error::new(
                ErrorKind::RateLimited,
                "too many failed authentication attempts from this address; try again later",
            )
            .retry_after(wait)),
            _ => Ok(()),
        }
    }

    /// Remembers that a token held.
    pub(super) fn held(&self, token: &[u8]) {
        let (place, hash) = self.place(token);
        if place.load(Ordering::Relaxed) != hash {
            place.store(hash, Ordering::Relaxed);
        }
    }

    /// Counts a failure.
    pub(super) fn failed(&self, peer: IpAddr, token: &[u8], now: Tick) -> Notice {
        let (place, hash) = self.place(token);
        if place.load(Ordering::Relaxed) == hash {
            place.store(0, Ordering::Relaxed);
        }
        let mut counts = self.counts();
        if counts.len() + 2 > COUNTED {
            counts.retain(|_, count| !count.is_over(now));
            if counts.len() + 2 > COUNTED {
                // So many at once are a flood from everywhere: those that are blocked stay, the others begin anew.
                counts.retain(|_, count| count.is_closed());
                if counts.len() + 2 > COUNTED {
                    counts.clear();
                }
            }
        }
        let by_prefix = self.prefix(token).map_or(0, |prefix| count(&mut counts, prefix, BY_PREFIX, now));
        let by_address = count(&mut counts, self.address(peer), BY_ADDRESS, now);
        if by_address == BY_ADDRESS || by_prefix == BY_PREFIX {
            self.closed_until.fetch_max((now + WINDOW).as_nanos(), Ordering::Relaxed);
            return Notice::Closed;
        }
        if by_address == 1 { Notice::First } else { Notice::Repeated }
    }

    fn held_before(&self, token: &[u8]) -> bool {
        let (place, hash) = self.place(token);
        place.load(Ordering::Relaxed) == hash
    }

    fn place(&self, token: &[u8]) -> (&AtomicU64, u64) {
        let hash = self.hasher.hash_one((b'h', token)).max(1);
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are as good as any")]
        let index = hash as usize % self.held.len();
        (&self.held[index], hash)
    }

    fn address(&self, peer: IpAddr) -> u64 {
        match peer.to_canonical() {
            IpAddr::V4(address) => self.hasher.hash_one((b'4', address.octets())),
            IpAddr::V6(address) => self.hasher.hash_one((b'6', &address.octets()[..8])),
        }
    }

    /// Only keys are guessed piece by piece; all signed tokens of one issuer begin alike.
    fn prefix(&self, token: &[u8]) -> Option<u64> {
        let is_key = token.starts_with(super::keys::PREFIX);
        is_key.then(|| self.hasher.hash_one((b'p', &token[..token.len().min(PREFIX)])))
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<u64, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(counts: &mut HashMap<u64, Count>, key: u64, limit: u32, now: Tick) -> u32 {
    let fresh = Count { since: now, failures: 0, limit };
    let count = counts.entry(key).or_insert(fresh);
    if count.is_over(now) {
        *count = fresh;
    }
    count.failures = count.failures.saturating_add(1);
    if count.failures == limit {
        // A blocked caller waits the whole time from now on.
        count.since = now;
    }
    count.failures
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUESSER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
    const START: Tick = Tick::from_nanos(1);

    fn guess(throttle: &Throttle, peer: IpAddr, tokens: std::ops::Range<u32>) {
        for n in tokens {
            throttle.failed(peer, format!("mcp_{n:08}").as_bytes(), START);
        }
    }

    #[test]
    fn an_address_that_guesses_is_not_listened_to_for_a_minute_and_others_are() {
        let throttle = Throttle::new();
        guess(&throttle, GUESSER, 0..BY_ADDRESS - 1);
        assert!(throttle.check(GUESSER, b"mcp_x", START).is_ok());
        guess(&throttle, GUESSER, 100..101);
        let refused = throttle.check(GUESSER, b"mcp_x", START).unwrap_err();
        assert_eq!((refused.kind(), refused.retry_delay()), (ErrorKind::RateLimited, Some(WINDOW)));
        assert!(throttle.check(OTHER, b"mcp_x", START).is_ok());
        assert!(throttle.check(GUESSER, b"mcp_x", START + WINDOW).is_ok());
    }

    #[test]
    fn guesses_at_one_key_from_many_addresses_are_met() {
        let throttle = Throttle::new();
        for n in 0..BY_PREFIX {
            let peer = IpAddr::from([10, 1, 0, u8::try_from(n).unwrap()]);
            throttle.failed(peer, format!("mcp_abcdefgh{n}").as_bytes(), START);
        }
        assert!(throttle.check(OTHER, b"mcp_abcdefghX", START).is_err());
        assert!(throttle.check(OTHER, b"mcp_abcdefgiX", START).is_ok());
    }

    #[test]
    fn a_token_that_held_is_let_through_from_where_others_guess_until_it_fails() {
        let throttle = Throttle::new();
        throttle.held(b"good");
        guess(&throttle, GUESSER, 0..BY_ADDRESS);
        assert!(throttle.check(GUESSER, b"good", START).is_ok());
        assert!(throttle.check(GUESSER, b"bad", START).is_err());
        throttle.failed(GUESSER, b"good", START);
        assert!(throttle.check(GUESSER, b"good", START).is_err());
    }

    #[test]
    fn the_neighbours_in_a_network_of_ipv6_count_as_one_and_signed_tokens_are_not_alike() {
        let throttle = Throttle::new();
        for n in 0..BY_ADDRESS {
            let peer: IpAddr = format!("2001:db8::{n:x}").parse().unwrap();
            throttle.failed(peer, b"eyJhbGciOiJSUzI1NiJ9.a.b", START);
        }
        assert!(throttle.check("2001:db8::ffff".parse().unwrap(), b"x", START).is_err());
        assert!(throttle.check("2001:db9::1".parse().unwrap(), b"eyJhbGciOiJSUzI1NiJ9.c.d", START).is_ok());
    }

    #[test]
    fn a_flood_from_everywhere_keeps_what_is_remembered_within_its_size() {
        let throttle = Throttle::new();
        for n in 0..40_000_u32 {
            let [_, a, b, c] = n.to_be_bytes();
            throttle.failed(IpAddr::from([10, a, b, c]), format!("mcp_{n:08}").as_bytes(), START);
        }
        assert!(throttle.counts().len() <= COUNTED);
    }
}
