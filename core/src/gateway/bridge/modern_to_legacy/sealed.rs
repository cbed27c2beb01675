//! `requestState`: names the parked call that a retry resumes, sealed so that only this gateway can write it and only the
//! request that it was given to can use it.
//!
//! ChaCha20-Poly1305 with a key derived from that of the sealed credentials (HKDF, RFC 5869), so that all processes of one
//! gateway read each other's states and a restart changes nothing; without one, with a key of the operating system's generator.
//! The bond of a state (principal, route, method, target, arguments) is not in it but authenticated with it: presented with
//! anything else, it does not open. It is used once, since a call is parked under each number once. A call waits in the process
//! that parked it, and no other takes its number for one of its own.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use jiff::Timestamp;

use crate::auth::Vault;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Endpoint, Principal};

/// The prefix of every state of this gateway; one of a server's own hardly has it.
const MARK: &str = "mreg.2.";

/// The purpose for which the keys are derived.
const PURPOSE: &[u8] = b"mcp requestState 1";

/// The content of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The number under which the call is parked.
    pub(crate) number: u64,
    /// The end of the parking, to the millisecond.
    pub(crate) until: Timestamp,
}

/// A ticket that a client presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The content.
    pub(crate) ticket: Ticket,
    /// Whether this very process made it.
    pub(crate) own: bool,
}

/// The binding of a state, as a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bond([u8; 32]);

impl Bond {
    /// The bond of a request: who sends it where, what it asks for, and `parts` of its params.
    pub(crate) fn new(principal: &Principal, route: &Endpoint, method: &str, parts: &[&str]) -> Self {
        let mut digest = Context::new(&SHA256);
        let (server, service) = principal.reach();
        let server = server.map(|id| id.to_string()).unwrap_or_default();
        let reach = [&*server, service.map_or("", |name| name.as_str())];
        let fixed =
            [principal.tenant.as_str(), &*principal.subject, reach[0], reach[1], route.describe(), method];
        for part in fixed.iter().chain(parts) {
            digest.update(&(part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.finish().as_ref());
        Self(bytes)
    }
}

/// The keys.
pub(crate) struct Seal {
    /// The first one seals.
    keys: Vec<LessSafeKey>,
    /// This process.
    node: u64,
    random: SystemRandom,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seal").finish_non_exhaustive()
    }
}

impl Seal {
    /// Keys derived from those of `vault`, or a new one. [`ErrorKind::Internal`] if the operating system returned no random bytes.
    pub(crate) fn new(vault: Option<&Vault>) -> Result<Self> {
        let random = SystemRandom::new();
        let (mut fresh, mut node) = ([0; 32], [0; 8]);
        random.fill(&mut fresh).and_then(|()| random.fill(&mut node)).map_err(no_random)?;
        let raw = vault.map_or_else(|| Ok(vec![fresh]), |vault| vault.derived(PURPOSE))?;
        let keys = raw.iter().map(|raw| UnboundKey::new(&CHACHA20_POLY1305, raw).map(LessSafeKey::new));
        let keys = keys.collect::<std::result::Result<_, _>>().map_err(no_random)?;
        Ok(Self { keys, node: u64::from_be_bytes(node), random })
    }

    /// The state for `ticket`, bound to `bond`.
    pub(crate) fn seal(&self, ticket: Ticket, bond: &Bond) -> Result<String> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(no_random)?;
        let until = ticket.until.as_millisecond();
        let mut sealed = [self.node.to_be_bytes(), ticket.number.to_be_bytes(), until.to_be_bytes()].concat();
        let unsealable = || Error::new(ErrorKind::Internal, "a requestState cannot be sealed");
        self.keys
            .first()
            .ok_or_else(unsealable)?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bond.0), &mut sealed)
            .map_err(|_| unsealable())?;
        let whole = [&nonce[..], &sealed].concat();
        Ok(format!("{MARK}{}", URL_SAFE_NO_PAD.encode(whole)))
    }

    /// The ticket in `state`.
    ///
    /// [`ErrorKind::InvalidParams`] if it was not made here, was made for another request or principal, or is too old; the
    /// error does not say which.
    pub(crate) fn open(&self, state: &str, bond: &Bond, now: Timestamp) -> Result<Shown> {
        let whole = state.strip_prefix(MARK).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let opened = |whole: &Vec<u8>, key: &LessSafeKey| {
            let mut whole = whole.clone();
            let (nonce, sealed) = whole.split_at_mut_checked(NONCE_LEN)?;
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let plain = key.open_in_place(nonce, Aad::from(bond.0), sealed).ok()?;
            let (node, rest) = plain.split_first_chunk::<8>()?;
            let (number, until) = rest.split_first_chunk::<8>()?;
            let until = Timestamp::from_millisecond(i64::from_be_bytes(until.try_into().ok()?)).ok()?;
            let ticket = Ticket { number: u64::from_be_bytes(*number), until };
            Some(Shown { ticket, own: u64::from_be_bytes(*node) == self.node })
        };
        let shown = whole.and_then(|whole| self.keys.iter().find_map(|key| opened(&whole, key)));
        shown.filter(|shown| now < shown.ticket.until).ok_or_else(refused)
    }
}

/// Whether a state was made by a gateway, not by a server.
pub(crate) fn is_ours(state: &str) -> bool {
    state.starts_with(MARK)
}

/// The answer to a state that another process of this gateway gave, or this one before it was started anew.
pub(crate) fn elsewhere() -> Error {
    let message = "`requestState` belongs to a call that waits in another process of this gateway, or did before a restart; \
        send the call anew without it";
    Error::new(ErrorKind::InvalidParams, message)
}

/// The one answer to every state that resumes nothing.
pub(crate) fn refused() -> Error {
    let message =
        "`requestState` belongs to no call that waits for this request; send the call anew without it";
    Error::new(ErrorKind::InvalidParams, message)
}

fn no_random(_: ring::error::Unspecified) -> Error {
    Error::new(ErrorKind::Internal, "the operating system returned no random bytes")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::TenantId;
    use proptest::prelude::*;

    fn bond(subject: &str, route: &Endpoint, method: &str, parts: &[&str]) -> Bond {
        let principal = Principal { subject: subject.into(), ..Principal::local(TenantId::default_tenant()) };
        Bond::new(&principal, route, method, parts)
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn ticket() -> Ticket {
        Ticket { number: 7, until: now() + Duration::from_secs(60) }
    }

    /// T-06: sealed state fits one principal, route and request, and only in time.
    #[test]
    fn a_state_opens_only_for_the_request_it_was_given_to_and_only_in_time() {
        let seal = Seal::new(None).unwrap();
        let service = Endpoint::of("s".parse().unwrap());
        let own = bond("a", &service, "tools/call", &["x", "{}"]);
        let state = seal.seal(ticket(), &own).unwrap();
        assert!(is_ours(&state));
        assert_eq!(seal.open(&state, &own, now()).unwrap(), Shown { ticket: ticket(), own: true });
        for other in [
            bond("b", &service, "tools/call", &["x", "{}"]),
            bond("a", &Endpoint::all(), "tools/call", &["x", "{}"]),
            bond("a", &service, "prompts/get", &["x", "{}"]),
            bond("a", &service, "tools/call", &["y", "{}"]),
            bond("a", &service, "tools/call", &["x", "{\"a\":1}"]),
            bond("a", &service, "tools/call", &["x{", "}"]),
        ] {
            let error = seal.open(&state, &other, now()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidParams);
        }
        assert!(seal.open(&state, &own, ticket().until).is_err());
        assert!(Seal::new(None).unwrap().open(&state, &own, now()).is_err());
    }

    /// T-06: through another replica, which has the same key, a state opens, and is known to be another's.
    #[test]
    fn processes_with_one_key_read_each_others_states_and_those_of_a_key_that_was_renewed() {
        let (old, new) = (Vault::new_key().unwrap(), Vault::new_key().unwrap());
        let seal = |keys: &str| Seal::new(Some(&Vault::of(keys).unwrap())).unwrap();
        let own = bond("a", &Endpoint::all(), "tools/call", &[]);
        let state = seal(&old).seal(ticket(), &own).unwrap();
        let shown = Shown { ticket: ticket(), own: false };
        assert_eq!(seal(&old).open(&state, &own, now()).unwrap(), shown);
        assert_eq!(seal(&format!("{new},{old}")).open(&state, &own, now()).unwrap(), shown);
        assert!(seal(&new).open(&state, &own, now()).is_err());
    }

    proptest! {
        /// T-06: no bit of sealed state can be changed.
        #[test]
        fn no_changed_state_opens(at in 0_usize..80, flip in 1_u8..64, cut in any::<bool>()) {
            let seal = Seal::new(None).unwrap();
            let own = bond("a", &Endpoint::all(), "tools/call", &[]);
            let state = seal.seal(ticket(), &own).unwrap();
            let at = at % state.len();
            let mut bytes = state.clone().into_bytes();
            if cut { bytes.truncate(at); } else { bytes[at] ^= flip; }
            let changed = String::from_utf8_lossy(&bytes).into_owned();
            prop_assume!(changed != state);
            prop_assert!(seal.open(&changed, &own, now()).is_err());
        }
    }
}
