//! The anchor: a record of what was acknowledged, in a file beside the data that only this user may read.
//!
//! A database cannot tell that its end is gone: with half of its log it is an older database that looks whole. So what a commit
//! made is recorded outside: the revision, how many records of each kind there are, and where each tenant's audit chain ends. The
//! record is made after the commit, and is a lower bound: a database ahead of it is normal, because a crash may come between the two; one behind
//! it has lost something, or was put back, and is refused.
//!
//! Nothing here knows which store it is. Replicas that share one database each keep a file of their own: each holds the database to
//! what that replica has acknowledged.

mod file;
mod record;
mod writer;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

pub(super) use self::file::{Reading, forget, make, put, read};
pub(super) use self::record::{Acknowledged, Counts, Tip};
use self::writer::Writer;
pub(super) use self::writer::Written;
use super::chain::Chain;
use super::signing::SigningKey;
use crate::error::Result;

/// The state of an open store's anchor.
pub(super) struct Anchor {
    key: Arc<SigningKey>,
    /// Where each audit chain ends at least.
    tips: Mutex<BTreeMap<String, Tip>>,
    /// `None` if nothing is recorded: the store was opened to look at it.
    writer: Option<Writer>,
}

impl Anchor {
    /// The anchor in the file at `path`, which says `known`.
    pub(super) fn open(path: &Path, key: Arc<SigningKey>, known: Acknowledged) -> Result<Self> {
        let tips = Mutex::new(known.chains.clone());
        let writer = Some(Writer::start(path, Arc::clone(&key), known)?);
        Ok(Self { key, tips, writer })
    }

    /// One that records nothing.
    pub(super) const fn unwritten(key: Arc<SigningKey>, tips: BTreeMap<String, Tip>) -> Self {
        Self { key, tips: Mutex::new(tips), writer: None }
    }

    /// The key that signs it, and the ends of audit chains.
    pub(super) fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Where the chain of `tenant` ended when it was last written, if `chain`, which the database has now, does not reach that end.
    pub(super) fn lost(&self, tenant: &str, chain: Option<&Chain>) -> Option<Tip> {
        let tips = self.tips.lock().unwrap_or_else(PoisonError::into_inner);
        let tip = *tips.get(tenant)?;
        drop(tips);
        let reached = chain.is_some_and(|chain| match chain.last_number.cmp(&tip.number) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => chain.last_hash == tip.hash,
            // Whether the row of that number is still the same is found by following the chain.
            std::cmp::Ordering::Greater => true,
        });
        (!reached).then_some(tip)
    }

    /// The ends of all chains.
    pub(super) fn tips(&self) -> BTreeMap<String, Tip> {
        self.tips.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes down what a commit made. Wait for the outcome before the change is acknowledged.
    pub(super) fn record(&self, made: Acknowledged) -> Written {
        let mut tips = self.tips.lock().unwrap_or_else(PoisonError::into_inner);
        record::raise(&mut tips, made.chains.clone());
        drop(tips);
        self.writer.as_ref().map_or_else(Written::nothing, |writer| writer.write(made))
    }

    /// Waits until everything is on disk.
    pub(super) async fn close(&self) {
        if let Some(writer) = &self.writer {
            writer.close().await;
        }
    }
}

impl fmt::Debug for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Anchor({:?})", self.key)
    }
}
