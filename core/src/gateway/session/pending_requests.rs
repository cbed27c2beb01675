//! The requests of servers to one client that wait for an answer, under the numbers by which the client knows them.
//!
//! Ids and progress tokens of different servers may be equal, so both are replaced by the request's number, and restored in
//! messages to the server that sent the request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::transport::Session;

/// Requests that may wait for one client.
const MOST: usize = 256;
/// Longest id or progress token of a server's request, in bytes.
const LONGEST: usize = 256;

/// A request of a server to the client.
#[derive(Clone, Debug)]
pub(crate) struct PendingRequest {
    pub(crate) session: Arc<Session>,
    /// The server's id of the request, byte for byte.
    pub(crate) raw_id: Box<str>,
    /// The server's progress token, byte for byte.
    pub(crate) raw_token: Option<Box<str>>,
}

impl PendingTable {
    /// The oldest request of this session or, if it has none, of all.
    fn oldest(&self, session: &Arc<Session>) -> Option<u64> {
        let own = self.open.iter().find(|(_, asked)| Arc::ptr_eq(&asked.session, session));
        own.or_else(|| self.open.first_key_value()).map(|(number, _)| *number)
    }
}

/// The open requests.
#[derive(Debug, Default)]
pub(crate) struct PendingRequests {
    table: Mutex<PendingTable>,
}

#[derive(Debug, Default)]
struct PendingTable {
    last: u64,
    /// The lowest number is the oldest request.
    open: BTreeMap<u64, PendingRequest>,
}

impl PendingRequests {
    /// Enters a request and returns its number, and the request that was displaced by it and is owed an answer: the server's
    /// own oldest, which the server has likely given up, so that no server crowds out the others. `None` if the id or the
    /// token is longer than any has to be.
    pub(crate) fn enter(
        &self,
        session: &Arc<Session>,
        raw_id: &str,
        raw_token: Option<&str>,
    ) -> Option<(u64, Option<PendingRequest>)> {
        if raw_id.len() > LONGEST || raw_token.is_some_and(|token| token.len() > LONGEST) {
            return None;
        }
        let mut table = self.table();
        let oldest = if table.open.len() >= MOST { table.oldest(session) } else { None };
        let oldest = oldest.and_then(|number| table.open.remove(&number));
        table.last += 1;
        let number = table.last;
        let asked = PendingRequest {
            session: Arc::clone(session),
            raw_id: raw_id.into(),
            raw_token: raw_token.map(Into::into),
        };
        table.open.insert(number, asked);
        Some((number, oldest))
    }

    /// Removes a request: each is answered once.
    pub(crate) fn take(&self, number: u64) -> Option<PendingRequest> {
        self.table().open.remove(&number)
    }

    /// The open request of this number.
    pub(crate) fn get(&self, number: u64) -> Option<PendingRequest> {
        self.table().open.get(&number).cloned()
    }

    /// The number of the request that has the server's id `raw_id`.
    pub(crate) fn number(&self, session: &Arc<Session>, raw_id: &str) -> Option<u64> {
        let table = self.table();
        let mut open = table.open.iter();
        open.find(|(_, asked)| Arc::ptr_eq(&asked.session, session) && *asked.raw_id == *raw_id)
            .map(|(number, _)| *number)
    }

    /// Forgets the requests of a session that has ended.
    pub(crate) fn forget(&self, session: &Arc<Session>) {
        self.table().open.retain(|_, asked| !Arc::ptr_eq(&asked.session, session));
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.table().open.clear();
    }

    fn table(&self) -> MutexGuard<'_, PendingTable> {
        // A panic elsewhere cannot leave the table half changed: every change is one insert or remove.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
