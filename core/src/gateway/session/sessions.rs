//! The table of legacy client sessions: opened, found, swept.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use foldhash::fast::RandomState;
use uuid::Uuid;

use super::client::Client;
use crate::clock::Tick;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Endpoint, Principal};
use crate::transport::Hello;

/// How long sessions live and how many there may be.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// A session without any activity for so long is ended.
    pub idle: Duration,
    /// No session lives longer, however busy.
    pub longest: Duration,
    /// The most sessions of all principals together.
    pub most: usize,
    /// The most sessions of one principal.
    pub most_each: usize,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(30 * 60),
            longest: Duration::from_secs(12 * 60 * 60),
            most: 100_000,
            most_each: 50_000,
        }
    }
}

/// The open sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    table: RwLock<SessionTable>,
}

#[derive(Debug, Default)]
struct SessionTable {
    open: HashMap<Arc<str>, Arc<Client>, RandomState>,
    each: HashMap<Principal, usize>,
}

impl Sessions {
    /// Opens a session. [`ErrorKind::RateLimited`] if the principal has too many, [`ErrorKind::Unavailable`] if there
    /// are too many in all.
    pub(crate) fn open(
        &self,
        settings: &SessionSettings,
        principal: &Principal,
        route: &Endpoint,
        hello: Hello,
        now: Tick,
    ) -> Result<Arc<Client>> {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if table.open.len() >= settings.most {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the gateway's limit of sessions is reached; try again later, or raise `session.max_sessions`",
            )
            .with("limit", settings.most)
            .retry_after(Duration::from_secs(10)));
        }
        let count = table.each.entry(principal.clone()).or_default();
        if *count >= settings.most_each {
            return Err(Error::new(
                ErrorKind::RateLimited,
                "your limit of open sessions is reached; end one with DELETE",
            )
            .with("limit", settings.most_each)
            .retry_after(Duration::from_secs(10)));
        }
        *count += 1;
        let client = Client::new(new_id(), principal.clone(), route.clone(), hello, now);
        table.open.insert(Arc::clone(&client.id), Arc::clone(&client));
        Ok(client)
    }

    /// The session of this id, if it belongs to this principal and this route; anything else is as unknown as a
    /// session that never was.
    pub(crate) fn find(&self, id: &str, principal: &Principal, route: &Endpoint) -> Result<Arc<Client>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        match table.open.get(id) {
            Some(client) if client.principal == *principal && client.route == *route => {
                Ok(Arc::clone(client))
            }
            _ => Err(Error::new(ErrorKind::SessionNotFound, "no such session; send `initialize` again")),
        }
    }

    /// Removes a session from the table. The caller ends it.
    pub(crate) fn remove(&self, client: &Client) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if table.open.remove(&client.id).is_none() {
            return;
        }
        if let Some(count) = table.each.get_mut(&client.principal) {
            *count -= 1;
            if *count == 0 {
                table.each.remove(&client.principal);
            }
        }
        // Memory that a flood of sessions allocated is freed when they are gone.
        if table.open.capacity() > 1024 && table.open.len() * 4 < table.open.capacity() {
            table.open.shrink_to_fit();
        }
    }

    /// The sessions that are past their time.
    pub(crate) fn expired(&self, settings: &SessionSettings, now: Tick) -> Vec<Arc<Client>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table
            .open
            .values()
            .filter(|client| {
                now.since(client.opened) >= settings.longest
                    || client.idle_since().is_some_and(|since| now.since(since) >= settings.idle)
            })
            .cloned()
            .collect()
    }

    /// Drops the replay streams that the open sessions have kept for too long.
    pub(crate) fn sweep(&self, now: Tick) {
        for client in self.table.read().unwrap_or_else(PoisonError::into_inner).open.values() {
            client.replays.sweep(now);
        }
    }

    /// How many sessions such principals have open.
    pub(crate) fn count_of(&self, is_such: impl Fn(&Principal) -> bool) -> usize {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.each.iter().filter(|(principal, _)| is_such(principal)).map(|(_, count)| count).sum()
    }

    /// All sessions.
    pub(crate) fn all(&self) -> Vec<Arc<Client>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).open.values().cloned().collect()
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.table.read().unwrap_or_else(PoisonError::into_inner).open.len()
    }
}

/// 244 random bits of the operating system's generator, as 64 hexadecimal digits.
fn new_id() -> Arc<str> {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TenantId;

    fn open(sessions: &Sessions, settings: &SessionSettings, now: Tick) -> Result<Arc<Client>> {
        let principal = Principal::local(TenantId::default_tenant());
        let hello =
            Hello { version: "2025-11-25".into(), capabilities: "{}".into(), client_info: "{}".into() };
        sessions.open(settings, &principal, &Endpoint::all(), hello, now)
    }

    /// T-02: ids of sessions hold 244 bits of the operating system's generator; none repeats.
    #[test]
    fn ids_of_sessions_do_not_repeat() {
        let ids: std::collections::HashSet<_> = (0..200_000).map(|_| new_id()).collect();
        assert_eq!(ids.len(), 200_000);
        assert!(ids.iter().all(|id| id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
    }

    #[test]
    fn a_session_belongs_to_its_principal_and_its_route() {
        let sessions = Sessions::default();
        let client = open(&sessions, &SessionSettings::default(), Tick::default()).unwrap();
        let other = Principal { subject: "user:b".into(), ..client.principal.clone() };
        assert!(sessions.find(&client.id, &client.principal, &Endpoint::all()).is_ok());
        let refused = sessions.find(&client.id, &other, &Endpoint::all()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::SessionNotFound);
        let route = Endpoint::of("a".parse().unwrap());
        assert!(sessions.find(&client.id, &client.principal, &route).is_err());
    }

    #[test]
    fn idle_sessions_expire_and_busy_ones_live_until_the_cap() {
        let settings = SessionSettings::default();
        let sessions = Sessions::default();
        let idle = open(&sessions, &settings, Tick::default()).unwrap();
        let busy = open(&sessions, &settings, Tick::default()).unwrap();
        let _stream = busy.outbox.attach();
        let at = Tick::default() + settings.idle;
        let expired = sessions.expired(&settings, at);
        assert_eq!(expired.iter().map(|client| &client.id).collect::<Vec<_>>(), [&idle.id]);
        assert_eq!(sessions.expired(&settings, Tick::default() + settings.longest).len(), 2);
    }

    #[test]
    fn caps_answer_differently_for_one_and_for_all() {
        let sessions = Sessions::default();
        let settings = SessionSettings { most: 2, most_each: 1, ..SessionSettings::default() };
        let first = open(&sessions, &settings, Tick::default()).unwrap();
        assert_eq!(open(&sessions, &settings, Tick::default()).unwrap_err().kind(), ErrorKind::RateLimited);
        sessions.remove(&first);
        assert_eq!(sessions.len(), 0);
        assert!(open(&sessions, &settings, Tick::default()).is_ok());
        let none = SessionSettings { most: 1, ..settings };
        assert_eq!(open(&sessions, &none, Tick::default()).unwrap_err().kind(), ErrorKind::Unavailable);
    }
}
