//! Calls of modern clients that wait for their retry: a server asked something in the middle of a call, the client was
//! told so, and the call stands still until the client comes back with the answers.
//!
//! Invariant: a place is given once and taken once; whoever waits in it is told of at most one retry.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind, Result};
use crate::model::Principal;

/// Calls that wait in all.
const MOST: usize = 4096;
/// Calls of one principal that wait.
const MOST_EACH: usize = 128;

/// The calls that wait, each for a `T`.
#[derive(Debug)]
pub(in crate::gateway) struct Parked<T>(Mutex<Table<T>>);

#[derive(Debug)]
struct Table<T> {
    next: u64,
    waiting: HashMap<u64, (Principal, oneshot::Sender<T>)>,
    each: HashMap<Principal, usize>,
}

impl<T> Default for Parked<T> {
    fn default() -> Self {
        Self(Mutex::new(Table { next: 1, waiting: HashMap::new(), each: HashMap::new() }))
    }
}

impl<T> Parked<T> {
    /// A place to wait in.
    ///
    /// [`ErrorKind::RateLimited`] if too many calls of the principal wait, [`ErrorKind::Unavailable`] if too many do in all.
    pub(in crate::gateway) fn enter(&self, principal: &Principal) -> Result<(u64, oneshot::Receiver<T>)> {
        let mut table = self.table();
        let wait = std::time::Duration::from_secs(10);
        if table.waiting.len() >= MOST {
            let message = "too many calls wait for the answers of their clients";
            return Err(Error::new(ErrorKind::Unavailable, message).with("limit", MOST).retry_after(wait));
        }
        let count = table.each.entry(principal.clone()).or_default();
        if *count >= MOST_EACH {
            let message = "too many of your calls wait for your answers";
            return Err(Error::new(ErrorKind::RateLimited, message)
                .with("limit", MOST_EACH)
                .retry_after(wait));
        }
        *count += 1;
        let place = table.next;
        table.next += 1;
        let (sender, receiver) = oneshot::channel();
        table.waiting.insert(place, (principal.clone(), sender));
        Ok((place, receiver))
    }

    /// Takes the call that waits at `place`, to resume it or to leave it; `None` if there is none any more.
    pub(in crate::gateway) fn take(&self, place: u64) -> Option<oneshot::Sender<T>> {
        let mut table = self.table();
        let (principal, sender) = table.waiting.remove(&place)?;
        if let Some(count) = table.each.get_mut(&principal) {
            *count -= 1;
            if *count == 0 {
                table.each.remove(&principal);
            }
        }
        Some(sender)
    }

    fn table(&self) -> MutexGuard<'_, Table<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        let places: Vec<_> = (0..MOST_EACH).map(|_| parked.enter(&one).unwrap()).collect();
        assert_eq!(parked.enter(&one).unwrap_err().kind(), ErrorKind::RateLimited);
        assert!(parked.enter(&other).is_ok());
        assert!(parked.take(places[0].0).is_some());
        assert!(parked.take(places[0].0).is_none());
        let (place, mut waiting) = parked.enter(&one).unwrap();
        assert!(places.iter().all(|(taken, _)| *taken != place));
        parked.take(place).unwrap().send(5).unwrap();
        assert_eq!(waiting.try_recv().unwrap(), 5);
    }
}
