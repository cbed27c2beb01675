//! Calls of modern clients that wait for their retry: a server sent a request in the middle of a call, the client got it, and
//! the call stands still until the client comes back with the answers.
//!
//! Invariant: a slot is given once and taken once; the call that waits in it is notified of at most one retry.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind, Result};
use crate::gateway::routing::service::Replica;
use crate::model::{Principal, ServerId};

/// Calls that wait in all.
const MOST: usize = 4096;
/// Calls of one principal that wait.
const MOST_EACH: usize = 128;

/// The server at which a call waits, and how many may wait there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lot {
    server: ServerId,
    most: usize,
}

impl Lot {
    /// At this server. Where each exchange has a connection of its own, a parked call keeps one: half of the connections are
    /// for the calls that do not wait.
    pub(crate) fn at(replica: &Replica) -> Self {
        let server = &replica.server;
        let connections = usize::try_from(server.configuration.max_connections).unwrap_or(usize::MAX);
        let most = if replica.upstream.is_duplex() { usize::MAX } else { (connections / 2).max(1) };
        Self { server: server.id, most }
    }
}

/// The calls that wait, each for a `T`.
#[derive(Debug)]
pub(crate) struct Parked<T>(Mutex<ParkedTable<T>>);

#[derive(Debug)]
struct ParkedTable<T> {
    waiting: HashMap<u64, (Principal, ServerId, oneshot::Sender<T>)>,
    each: HashMap<Principal, usize>,
    there: HashMap<ServerId, usize>,
}

impl<T> Default for Parked<T> {
    fn default() -> Self {
        let (waiting, each, there) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self(Mutex::new(ParkedTable { waiting, each, there }))
    }
}

impl<T> Parked<T> {
    /// Has a call wait at `number`, a number that no other call has.
    ///
    /// [`ErrorKind::RateLimited`] if too many calls of the principal wait, [`ErrorKind::Unavailable`] if too many do at that
    /// server, or in all.
    pub(crate) fn enter(&self, principal: &Principal, lot: Lot, number: u64) -> Result<oneshot::Receiver<T>> {
        let mut table = self.table();
        let wait = std::time::Duration::from_secs(10);
        if table.waiting.len() >= MOST {
            let message = "too many calls wait for the answers of their clients";
            return Err(Error::new(ErrorKind::Unavailable, message).with("limit", MOST).retry_after(wait));
        }
        if table.there.get(&lot.server).is_some_and(|count| *count >= lot.most) {
            let message = "too many calls at this server wait for the answers of their clients";
            return Err(Error::new(ErrorKind::Unavailable, message)
                .with("limit", lot.most)
                .retry_after(wait));
        }
        let count = table.each.entry(principal.clone()).or_default();
        if *count >= MOST_EACH {
            let message = "too many of your calls wait for your answers";
            return Err(Error::new(ErrorKind::RateLimited, message)
                .with("limit", MOST_EACH)
                .retry_after(wait));
        }
        *count += 1;
        *table.there.entry(lot.server).or_default() += 1;
        let (sender, receiver) = oneshot::channel();
        table.waiting.insert(number, (principal.clone(), lot.server, sender));
        Ok(receiver)
    }

    /// Takes the call that waits at `number`, to resume it or to leave it; `None` if there is none any more.
    pub(crate) fn take(&self, number: u64) -> Option<oneshot::Sender<T>> {
        let mut table = self.table();
        let (principal, server, sender) = table.waiting.remove(&number)?;
        leave(&mut table.each, &principal);
        leave(&mut table.there, &server);
        Some(sender)
    }

    fn table(&self) -> MutexGuard<'_, ParkedTable<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn leave<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TenantId;

    #[test]
    fn a_place_is_taken_once_and_each_principal_has_so_many() {
        let parked = Parked::<u8>::default();
        let one = Principal::local(TenantId::default_tenant());
        let other = Principal { subject: "b".into(), ..one.clone() };
        let lot = Lot { server: ServerId::random(), most: usize::MAX };
        let most = MOST_EACH as u64;
        let _waiting: Vec<_> = (1..=most).map(|number| parked.enter(&one, lot, number).unwrap()).collect();
        assert_eq!(parked.enter(&one, lot, most + 1).unwrap_err().kind(), ErrorKind::RateLimited);
        assert!(parked.enter(&other, lot, most + 2).is_ok());
        assert!(parked.take(1).is_some());
        assert!(parked.take(1).is_none());
        let mut waiting = parked.enter(&one, lot, most + 3).unwrap();
        parked.take(most + 3).unwrap().send(5).unwrap();
        assert_eq!(waiting.try_recv().unwrap(), 5);
    }

    #[test]
    fn a_server_has_so_many_whoever_called_it() {
        let parked = Parked::<u8>::default();
        let one = Principal::local(TenantId::default_tenant());
        let other = Principal { subject: "b".into(), ..one.clone() };
        let lot = Lot { server: ServerId::random(), most: 2 };
        let _first = parked.enter(&one, lot, 1).unwrap();
        let _second = parked.enter(&other, lot, 2).unwrap();
        assert_eq!(parked.enter(&other, lot, 3).unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(parked.enter(&other, Lot { server: ServerId::random(), most: 2 }, 4).is_ok());
        parked.take(1);
        assert!(parked.enter(&other, lot, 5).is_ok());
    }
}
