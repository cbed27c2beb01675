//! The ways to a server to which each caller shows credentials of its own: one for each caller.
//!
//! Such a way is an upstream of its own, with its own number, sessions and connections. So whatever is kept by upstream is kept
//! by caller, too, and nothing that a server remembers of one caller reaches another. The way that all other servers share is
//! then the gateway's alone: discovery and probes go over it, and a call that would is refused.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;

use super::book;
use super::{Upstream, replaced};
use crate::clock::Tick;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Inner;
use crate::gateway::routing::service::Place;
use crate::model::{Principal, ServerId};

/// Callers of one server at once.
const MOST: usize = 10_000;
/// How long a way stays over which no call goes: longer than most who only listen go on listening.
const IDLE: Duration = Duration::from_secs(12 * 60 * 60);

/// The ways to one server, by caller.
#[derive(Debug, Default)]
pub(crate) struct Callers(Mutex<HashMap<Arc<str>, Way>>);

#[derive(Debug)]
struct Way {
    upstream: Arc<Upstream>,
    used: Tick,
}

impl Callers {
    /// The way of this caller to the server of `own`, whose callers these are.
    ///
    /// [`ErrorKind::Unavailable`] if the server is not reached so any more, or as many callers use it as may.
    fn way(&self, own: &Upstream, subject: &Arc<str>, now: Tick) -> Result<Arc<Upstream>> {
        let mut ways = self.lock();
        // Looked at under the lock: whoever closes the server's way finds what is entered here.
        if own.is_closed() {
            return Err(replaced());
        }
        if let Some(way) = ways.get_mut(subject) {
            way.used = now;
            return Ok(Arc::clone(&way.upstream));
        }
        if ways.len() >= MOST {
            let message = "as many callers use the server with credentials of their own as may at once";
            return Err(Error::new(ErrorKind::Unavailable, message)
                .with("limit", MOST)
                .retry_after(Duration::from_secs(60))
                .not_sent());
        }
        let upstream = own.for_caller(subject)?;
        ways.insert(Arc::clone(subject), Way { upstream: Arc::clone(&upstream), used: now });
        Ok(upstream)
    }

    fn take(&self, subject: &str) -> Option<Arc<Upstream>> {
        self.lock().remove(subject).map(|way| way.upstream)
    }

    /// All of them, which are forgotten.
    pub(crate) fn take_all(&self) -> Vec<Arc<Upstream>> {
        self.lock().drain().map(|(_, way)| way.upstream).collect()
    }

    /// Those that nobody has used for long.
    fn expire(&self, now: Tick) -> Vec<Arc<Upstream>> {
        let idle = |way: &mut Way| now.since(way.used) >= IDLE;
        self.lock().extract_if(|_, way| idle(way)).map(|(_, way)| way.upstream).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Way>> {
        // Every change is one insert or remove.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Whether each caller has a way of its own there.
    pub(crate) fn is_by_caller(&self) -> bool {
        self.upstream.callers.is_some()
    }
}

impl Inner {
    /// The replica as the calls of `principal` reach it, where each caller has a way of its own.
    ///
    /// [`ErrorKind::PermissionDenied`] if the caller has set no credential for it; [`ErrorKind::Unavailable`].
    pub(crate) fn own_way(&self, place: &Place, principal: &Principal) -> Result<Place> {
        let Some(callers) = &place.upstream.callers else { return Ok(place.clone()) };
        if !self.book.has_for(place.server.id, &principal.subject) {
            return Err(book::no_own(place.server.id).with("server", &place.server.name).not_sent());
        }
        let upstream = callers.way(&place.upstream, &principal.subject, self.clock.now())?;
        Ok(Place { upstream, ..place.clone() })
    }

    /// Gives up the way of a caller, whose credentials are others now: a server may remember for whom it opened a session.
    pub(crate) fn leave_caller(&self, server: ServerId, subject: &str) {
        let way = self.place(server).and_then(|place| place.upstream.callers.as_ref()?.take(subject));
        self.close_ways(way.into_iter().collect());
    }

    /// Gives up the ways that no caller has used for long.
    pub(crate) fn leave_idle_callers(&self, now: Tick) {
        let snapshot = self.snapshot.load();
        let services = snapshot.tenants.values().flat_map(|view| view.services.values());
        let places = services.flat_map(|service| &service.places);
        let callers = places.filter_map(|place| place.upstream.callers.as_ref());
        self.close_ways(callers.flat_map(|callers| callers.expire(now)).collect());
    }

    pub(crate) fn close_ways(&self, ways: Vec<Arc<Upstream>>) {
        if ways.is_empty() {
            return;
        }
        let clients: Vec<_> =
            self.sessions.all().into_iter().chain(self.modern.downward.pool.all()).collect();
        for way in ways {
            // First of all: a session that is being opened either sees this or is found among the clients' sessions.
            way.retire();
            let own: Vec<_> = clients.iter().filter_map(|client| client.take_upstream(way.number)).collect();
            self.tasks.spawn_to_end(async move {
                let closing = own.iter().map(|session| session.close());
                tokio::join!(way.close(), join_all(closing));
            });
        }
    }
}
