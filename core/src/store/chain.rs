//! The chain of a tenant's audit rows: each row's hash covers the row and the hash before it, and where the chain begins and
//! ends is signed. So a change, a removal, a reordering or a cut by someone who can only write the database is found out.
//!
//! A hash is the SHA-256 of the hash before, the row's number and its members, each with its length before it, so that no two rows
//! have the same form. The first row of all follows the hash of the tenant's name. Retention removes rows from the beginning
//! alone: the hash of the last one that it removed stays, so that the rest can still be followed.
//!
//! This cannot show that the whole database and its key were put back to an earlier state. Keep the last number and
//! hash of an export elsewhere, and compare.

use ring::digest::{Context, SHA256};

use crate::model::{AuditEntry, TenantId};

/// A SHA-256.
pub(super) type Hash = [u8; 32];

/// Where the rows of a tenant begin and end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    /// The number of the first row that is kept.
    pub(super) first_number: u64,
    /// The hash of the row before it.
    pub(super) first_hash: Hash,
    /// The number of the last row; one less than the first if none is kept.
    pub(super) last_number: u64,
    pub(super) last_hash: Hash,
    /// Whether nothing of it may be removed (legal hold).
    pub(super) hold: bool,
}

/// The members of a row as they are stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw<'a> {
    /// Microseconds since 1970.
    pub(super) at: i64,
    pub(super) tenant: &'a str,
    pub(super) actor: &'a str,
    pub(super) action: &'a str,
    pub(super) target: &'a str,
    pub(super) outcome: &'a str,
    pub(super) correlation_id: Option<&'a str>,
    pub(super) detail: &'a str,
}

impl<'a> Raw<'a> {
    pub(super) fn of(entry: &'a AuditEntry, detail: &'a str) -> Self {
        Self {
            at: entry.at.as_microsecond(),
            tenant: entry.tenant_id.as_str(),
            actor: &entry.actor,
            action: &entry.action,
            target: &entry.target,
            outcome: &entry.outcome,
            correlation_id: entry.correlation_id.as_deref(),
            detail,
        }
    }

    /// The hash of this row as number `number` after `previous`.
    pub(super) fn hash(&self, previous: &Hash, number: u64) -> Hash {
        let mut context = Context::new(&SHA256);
        context.update(previous);
        context.update(&number.to_be_bytes());
        context.update(&self.at.to_be_bytes());
        for text in [self.tenant, self.actor, self.action, self.target, self.outcome] {
            part(&mut context, text.as_bytes());
        }
        context.update(&[u8::from(self.correlation_id.is_some())]);
        part(&mut context, self.correlation_id.unwrap_or_default().as_bytes());
        part(&mut context, self.detail.as_bytes());
        finish(context)
    }
}

impl Chain {
    /// The chain of a tenant of which nothing is written yet.
    pub(super) fn new(tenant: &TenantId) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(b"mcp-registry-gateway audit 1\0");
        context.update(tenant.as_str().as_bytes());
        let origin = finish(context);
        Self { first_number: 1, first_hash: origin, last_number: 0, last_hash: origin, hold: false }
    }

    /// The number and hash of the next row.
    pub(super) fn push(&mut self, row: &Raw<'_>) -> (u64, Hash) {
        self.last_number += 1;
        self.last_hash = row.hash(&self.last_hash, self.last_number);
        (self.last_number, self.last_hash)
    }

    /// Lets the next row follow the row `number`, whose hash is `hash`.
    #[cfg(feature = "sqlite")]
    pub(super) fn end_at(&mut self, number: u64, hash: Hash) {
        (self.last_number, self.last_hash) = (number, hash);
    }

    /// Lets the chain begin after the row `number`, whose hash is `hash`.
    pub(super) fn begin_after(&mut self, number: u64, hash: Hash) {
        (self.first_number, self.first_hash) = (number + 1, hash);
    }

    /// The signed text: everything above, the tenant and the place among the chains.
    #[cfg(feature = "sqlite")]
    pub(super) fn statement(&self, tenant: &str, ordinal: u64) -> Vec<u8> {
        let mut statement = b"mcp-registry-gateway audit chain 1\0".to_vec();
        for number in [ordinal, self.first_number, self.last_number, u64::from(self.hold)] {
            statement.extend(number.to_be_bytes());
        }
        statement.extend(self.first_hash);
        statement.extend(self.last_hash);
        statement.extend(tenant.as_bytes());
        statement
    }
}

/// Follows a chain row by row.
#[derive(Debug)]
pub(super) struct Follower {
    number: u64,
    hash: Hash,
}

impl Follower {
    pub(super) fn new(chain: &Chain) -> Self {
        Self { number: chain.first_number - 1, hash: chain.first_hash }
    }

    /// Takes the next row that is stored; an error names the row that is wrong and says how.
    pub(super) fn take(
        &mut self,
        number: u64,
        row: &Raw<'_>,
        stored: &[u8],
    ) -> Result<(), (u64, &'static str)> {
        let expected = self.number + 1;
        if number != expected {
            let what =
                if number > expected { "is missing" } else { "stands before the beginning of the chain" };
            return Err((expected.min(number), what));
        }
        let hash = row.hash(&self.hash, number);
        if hash != stored {
            return Err((number, "was changed, or the row before it and its hash were"));
        }
        (self.number, self.hash) = (number, hash);
        Ok(())
    }

    /// Whether the chain ends here, as it says that it does.
    pub(super) fn finish(&self, chain: &Chain) -> Result<(), (u64, &'static str)> {
        if self.number < chain.last_number {
            return Err((self.number + 1, "is missing: the end of the chain was cut off"));
        }
        if self.number > chain.last_number {
            return Err((chain.last_number + 1, "stands after the end of the chain"));
        }
        if self.hash != chain.last_hash {
            return Err((self.number, "and its hash were changed"));
        }
        Ok(())
    }
}

/// The signed text for the trail as a whole: the number of chains.
#[cfg(feature = "sqlite")]
pub(super) fn trail_statement(chains: u64) -> Vec<u8> {
    let mut statement = b"mcp-registry-gateway audit trail 1\0".to_vec();
    statement.extend(chains.to_be_bytes());
    statement
}

/// In hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn part(context: &mut Context, bytes: &[u8]) {
    context.update(&(bytes.len() as u64).to_be_bytes());
    context.update(bytes);
}

fn finish(context: Context) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<'a>(actor: &'a str, action: &'a str) -> Raw<'a> {
        let (target, outcome, detail) = ("t", "ok", "{}");
        Raw { at: 5, tenant: "a", actor, action, target, outcome, correlation_id: None, detail }
    }

    #[test]
    fn rows_whose_members_only_meet_elsewhere_have_different_hashes() {
        let previous = [0; 32];
        assert_ne!(row("ab", "c").hash(&previous, 1), row("a", "bc").hash(&previous, 1));
        assert_ne!(row("a", "b").hash(&previous, 1), row("a", "b").hash(&previous, 2));
        let named = Raw { correlation_id: Some(""), ..row("a", "b") };
        assert_ne!(row("a", "b").hash(&previous, 1), named.hash(&previous, 1));
    }

    #[test]
    fn the_hash_of_a_row_is_the_same_in_every_version() {
        let mut chain = Chain::new(&TenantId::default_tenant());
        assert_eq!(chain.push(&row("a", "b")).0, 1);
        assert_eq!(hex(&chain.last_hash), "772ba75328648f6ccb1531b743278cec4655814032b4b1529a9b89920238ca4b");
    }
}
