//! The replicas of a service as one caller reaches them, where each caller sends a server credentials of its own.

use std::sync::Arc;

use futures_util::future::join_all;

use super::service::Replica;
use crate::clock::Tick;
use crate::error::Result;
use crate::gateway::Core;
use crate::gateway::upstream::Upstream;
use crate::gateway::upstream::credential_cache;
use crate::model::{Principal, ServerId};

impl Replica {
    /// Whether each caller has an upstream of its own there.
    pub(crate) fn is_by_caller(&self) -> bool {
        self.upstream.callers.is_some()
    }
}

impl Core {
    /// The replica as the calls of `principal` reach it: over the caller's own upstream, if each caller has one.
    ///
    /// [`ErrorKind::PermissionDenied`] if the caller has set no credential for it; [`ErrorKind::Unavailable`].
    pub(crate) fn own_way(&self, replica: &Replica, principal: &Principal) -> Result<Replica> {
        let Some(callers) = &replica.upstream.callers else { return Ok(replica.clone()) };
        if !self.book.has_for(replica.server.id, &principal.subject) {
            return Err(credential_cache::no_own(replica.server.id)
                .with("server", &replica.server.name)
                .not_sent());
        }
        let upstream = callers.way(&replica.upstream, &principal.subject, self.clock.now())?;
        Ok(Replica { upstream, ..replica.clone() })
    }

    /// Closes the upstream of a caller whose credentials have changed: a server may remember the caller that opened a session.
    pub(crate) fn leave_caller(&self, server: ServerId, subject: &str) {
        let way = self.replica(server).and_then(|replica| replica.upstream.callers.as_ref()?.take(subject));
        self.close_ways(way.into_iter().collect());
    }

    /// Closes the upstreams that no caller has used for long.
    pub(crate) fn leave_idle_callers(&self, now: Tick) {
        let snapshot = self.router.load();
        let services = snapshot.tenants.values().flat_map(|view| view.services.values());
        let replicas = services.flat_map(|service| &service.replicas);
        let callers = replicas.filter_map(|replica| replica.upstream.callers.as_ref());
        self.close_ways(callers.flat_map(|callers| callers.expire(now)).collect());
    }

    pub(crate) fn close_ways(&self, ways: Vec<Arc<Upstream>>) {
        if ways.is_empty() {
            return;
        }
        let clients: Vec<_> =
            self.sessions.all().into_iter().chain(self.modern.modern_to_legacy.pool.all()).collect();
        for way in ways {
            // Retired first: a session that is being opened either sees this or is found among the clients' sessions.
            way.retire();
            let own: Vec<_> = clients.iter().filter_map(|client| client.take_upstream(way.number)).collect();
            self.tasks.spawn_to_end(async move {
                let closing = own.iter().map(|session| session.close());
                tokio::join!(way.close(), join_all(closing));
            });
        }
    }
}
