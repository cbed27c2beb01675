//! The content of an anchor.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::store::chain::{Hash, hex};

/// How many records of each kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct Counts {
    pub(in crate::store) servers: u64,
    pub(in crate::store) keys: u64,
    pub(in crate::store) tenants: u64,
    pub(in crate::store) credentials: u64,
}

impl Counts {
    /// Each number, with the name of what it counts: of one, and of several.
    pub(in crate::store) const fn named(self) -> [(&'static str, &'static str, u64); 4] {
        [
            ("server", "servers", self.servers),
            ("API key", "API keys", self.keys),
            ("tenant", "tenants", self.tenants),
            ("credential", "credentials", self.credentials),
        ]
    }
}

/// The end of an audit chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(u64, String)", into = "(u64, String)")]
pub(in crate::store) struct Tip {
    pub(in crate::store) number: u64,
    pub(in crate::store) hash: Hash,
}

impl From<Tip> for (u64, String) {
    fn from(tip: Tip) -> Self {
        (tip.number, hex(&tip.hash))
    }
}

impl TryFrom<(u64, String)> for Tip {
    type Error = &'static str;

    fn try_from((number, text): (u64, String)) -> Result<Self, Self::Error> {
        let mut hash = [0; 32];
        let digits = text.as_bytes();
        if digits.len() != 2 * hash.len() {
            return Err("a hash has 64 hexadecimal digits");
        }
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
            let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
                return Err("a hash has 64 hexadecimal digits");
            };
            *byte = high << 4 | low;
        }
        Ok(Self { number, hash })
    }
}

/// The changes that were acknowledged at least.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct Acknowledged {
    /// Which database it was.
    pub(in crate::store) database: String,
    /// How many changes it had had.
    pub(in crate::store) revision: u64,
    /// The records that it had then.
    pub(in crate::store) counts: Counts,
    /// Where the audit chains ended, by tenant.
    pub(in crate::store) chains: BTreeMap<String, Tip>,
}

impl Acknowledged {
    /// Whether there is nothing that a database could lack.
    pub(in crate::store) fn is_nothing(&self) -> bool {
        self.revision == 0 && self.counts == Counts::default() && self.chains.is_empty()
    }

    /// Takes in what else was acknowledged, earlier or later.
    pub(super) fn add(&mut self, other: Self) {
        if other.revision >= self.revision {
            (self.database, self.revision, self.counts) = (other.database, other.revision, other.counts);
        }
        raise(&mut self.chains, other.chains);
    }
}

/// Moves each end to the later of the two.
pub(super) fn raise(tips: &mut BTreeMap<String, Tip>, others: BTreeMap<String, Tip>) {
    for (tenant, other) in others {
        let tip = tips.entry(tenant).or_insert(other);
        if other.number > tip.number {
            *tip = other;
        }
    }
}
