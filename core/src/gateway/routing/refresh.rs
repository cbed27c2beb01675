//! Keeps the state of routing in step with the registry.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures_util::future::join_all;

use super::claims;
use super::discover::is_asked;
use super::service::{Replica, Service};
use super::snapshot::{Snapshot, Touched, View};
use crate::auth::{Access, Restrictions};
use crate::breaker::Breaker;
use crate::error::Result;
use crate::gateway::Core;
use crate::gateway::upstream::Upstream;
use crate::gateway::upstream::per_caller::PerCallerUpstreams;
use crate::model::{Configuration, HealthCheck, Server, ServerId, ServiceName, Status, TenantId};
use crate::registry::{Change, RegisteredEntry};
use crate::select::ReplicaState;

impl Core {
    /// Makes the snapshot of the registry's current state, if that has changed, at a cost in proportion to the changes: unchanged
    /// tenants and services stay the very same.
    pub(crate) fn refresh(self: &Arc<Self>) {
        let changing = self.router.change();
        let state = self.registry.state();
        let before = Arc::clone(&changing.before);
        let older = before.index.state();
        if older.version() == state.version() {
            return;
        }
        let changes = state.changes(older);
        let index = Arc::new(before.index.next(&state));
        let mut gone: HashMap<ServerId, Arc<Upstream>> = changes
            .iter()
            .filter_map(|(id, then, _)| Some((*id, &before.place_of(&then.as_ref()?.server)?.upstream)))
            .map(|(id, upstream)| (id, Arc::clone(upstream)))
            .collect();
        let touched = touched(&changes, &before);
        let mut after = Snapshot {
            tenants: before.tenants.clone(),
            index: Arc::clone(&index),
            claims: before.claims.clone(),
            unreached: BTreeSet::new(),
        };
        let mut disputes = Vec::new();
        for (tenant, names) in &touched {
            disputes.extend(self.next_view(tenant, names, &before, &mut after, &mut gone));
        }
        for (tenant, view) in &after.tenants {
            if !touched.contains_key(tenant) {
                view.follow(&index);
            }
        }
        let after = Arc::new(after);
        changing.finish(Arc::clone(&after));
        self.announce(&before, &after, &touched);
        self.settle_claims(disputes);
        self.monitor.update(changes.iter().map(|(id, _, now)| {
            let server = now.map(|entry| &entry.server).filter(|server| is_probed(server));
            (*id, server.map(|server| self.check_of(server)))
        }));
        self.leave(gone);
    }

    /// Puts the tenant's view of the registry's current state into `after`, anew in the services of these `names`. Returns the
    /// disputes over claims; `None` if the tenant has no service left.
    fn next_view(
        &self,
        tenant: &TenantId,
        names: &BTreeSet<ServiceName>,
        before: &Snapshot,
        after: &mut Snapshot,
        gone: &mut HashMap<ServerId, Arc<Upstream>>,
    ) -> Option<(TenantId, claims::Disputes)> {
        let old = before.tenants.get(tenant);
        let mut services = old.map(|view| view.services.clone()).unwrap_or_default();
        for name in names {
            match self.next_service(tenant, name, before, after, gone) {
                Some(service) => services.insert(name.clone(), service),
                None => services.remove(name),
            };
        }
        if services.is_empty() {
            after.tenants.remove(tenant);
            return None;
        }
        let (access, own) = (self.access.load(), self.settings.own.is_some());
        let servers = services.values().flat_map(|service| &service.replicas).map(|replica| &*replica.server);
        let restrictions = Restrictions::of(&access, tenant, servers);
        let view = View::new(tenant.clone(), services, Arc::clone(&after.index), restrictions, own);
        let known = before.claims.get(tenant).cloned().unwrap_or_default();
        let (claims, disputed) = claims::next(&known, old.map(|old| &**old), &view, names);
        after.claims.insert(tenant.clone(), Arc::clone(&claims));
        after.tenants.insert(tenant.clone(), Arc::new(view.claimed(claims)));
        Some((tenant.clone(), disputed))
    }

    /// The service in the registry's current state; `None` if it has no replica that can be reached as it is configured.
    fn next_service(
        &self,
        tenant: &TenantId,
        name: &ServiceName,
        before: &Snapshot,
        after: &mut Snapshot,
        gone: &mut HashMap<ServerId, Arc<Upstream>>,
    ) -> Option<Arc<Service>> {
        let index = Arc::clone(&after.index);
        let mut replicas = Vec::new();
        for entry in index.service(tenant, name.as_str()).iter().filter_map(|id| index.state().entry(*id)) {
            let id = entry.server.id;
            let old = before.index.state().server(id).and_then(|old| before.place_of(old));
            match self.next_place(entry, old) {
                Ok(replica) => {
                    if old.is_some_and(|old| Arc::ptr_eq(&old.upstream, &replica.upstream)) {
                        gone.remove(&id);
                    }
                    replicas.push(replica);
                }
                Err(error) => {
                    let server = &entry.server.name;
                    tracing::warn!(server, %error, "a registered server cannot be reached as it is configured");
                    after.unreached.insert((tenant.clone(), name.clone()));
                }
            }
        }
        replicas.sort_by_key(|replica| (replica.server.created_at, replica.server.id));
        let old = before.tenants.get(tenant).and_then(|view| view.services.get(name));
        match old {
            _ if replicas.is_empty() => None,
            Some(old) if unchanged(old, &replicas) => Some(Arc::clone(old)),
            old => {
                let (balancing, old) = (self.balancing(name), old.map(|old| &**old));
                let service = Service::new(name.clone(), replicas, balancing, Arc::clone(&self.clock), old);
                service.compare_replicas();
                Some(Arc::new(service))
            }
        }
    }

    /// A replica in the registry's current state. Knowledge of another endpoint is not carried over to this one.
    fn next_place(&self, entry: &RegisteredEntry, old: Option<&Replica>) -> Result<Replica> {
        let RegisteredEntry { server, listing, .. } = entry;
        let (upstream, state) = if let Some(old) = old.filter(|old| is_reached_alike(&old.server, server)) {
            (Arc::clone(&old.upstream), Arc::clone(&old.state))
        } else {
            let upstream = Upstream::new(
                Arc::clone(server),
                (self.connect)(server)?,
                Arc::clone(&self.clock),
                self.settings.start_timeout,
                self.tasks.clone(),
            );
            upstream.learn(listing);
            let breaker = Breaker::new(self.settings.breaker.clone(), self.random.next());
            (upstream, Arc::new(ReplicaState::new(server.id, server.name.as_str(), breaker)))
        };
        let (server, listing) = (Arc::clone(server), Arc::clone(listing));
        Ok(Replica { server, upstream, state, listing, waits: entry.waiting().is_some() })
    }

    fn check_of(&self, server: &Server) -> HealthCheck {
        let enabled = server.health_check.enabled && self.settings.probing;
        HealthCheck { enabled, ..server.health_check.clone() }
    }

    /// Replaces the rules of access, and leaves everything else as it is.
    pub(crate) fn restrict(&self, access: Access) {
        let changing = self.router.change();
        let before = &changing.before;
        let tenants = before.tenants.iter().map(|(tenant, view)| {
            let replicas = view.services.values().flat_map(|service| &service.replicas);
            let restrictions = Restrictions::of(&access, tenant, replicas.map(|replica| &*replica.server));
            let (services, index) = (view.services.clone(), Arc::clone(&before.index));
            let claims = before.claims.get(tenant).cloned().unwrap_or_default();
            let view =
                View::new(tenant.clone(), services, index, restrictions, view.has_builtin).claimed(claims);
            (tenant.clone(), Arc::new(view))
        });
        let (tenants, index) = (tenants.collect(), Arc::clone(&before.index));
        let (claims, unreached) = (before.claims.clone(), before.unreached.clone());
        let after = Snapshot { tenants, index, claims, unreached };
        self.access.store(Arc::new(access));
        changing.finish(Arc::new(after));
    }

    /// Closes the upstreams of servers that are gone or reached otherwise now, and asks the latter again.
    fn leave(self: &Arc<Self>, gone: HashMap<ServerId, Arc<Upstream>>) {
        if gone.is_empty() {
            return;
        }
        let clients: Vec<_> =
            self.sessions.all().into_iter().chain(self.modern.modern_to_legacy.pool.all()).collect();
        for (id, upstream) in gone {
            // Retired first: a session that is being opened either sees this or is found among the clients' sessions.
            upstream.retire();
            self.close_ways(upstream.callers.iter().flat_map(PerCallerUpstreams::take_all).collect());
            let own: Vec<_> =
                clients.iter().filter_map(|client| client.take_upstream(upstream.number)).collect();
            self.tasks.spawn_to_end(async move {
                let closing = own.iter().map(|session| session.close());
                tokio::join!(upstream.close(), join_all(closing));
            });
            self.meet_again(id);
        }
    }

    /// Asks a server what it offers and how it is: it is reached otherwise than before, or sent other credentials.
    pub(crate) fn meet_again(self: &Arc<Self>, id: ServerId) {
        let Some(replica) = self.replica(id) else { return };
        if is_asked(&replica.server) {
            self.discover_again(id);
        }
        if self.settings.probing && replica.server.health_check.enabled && is_probed(&replica.server) {
            let this = Arc::clone(self);
            // The next probe may be minutes away, if the server could not be reached before.
            self.tasks.spawn(async move { drop(this.monitor.probe_anew(id).await) });
        }
    }
}

/// The services, by tenant, that must be checked: those with a server that changed, and those with a server that could not be
/// reached as it is configured, since the obstacle may be gone now.
fn touched(changes: &[Change<'_>], before: &Snapshot) -> Touched {
    let mut touched = Touched::new();
    let entries = changes.iter().flat_map(|(_, then, now)| [then, now]).flatten();
    let changed = entries.map(|entry| (&entry.server.tenant_id, &entry.server.service));
    for (tenant, service) in changed.chain(before.unreached.iter().map(|(tenant, service)| (tenant, service)))
    {
        touched.entry(tenant.clone()).or_default().insert(service.clone());
    }
    touched
}

/// Whether two states of a server are reached over the same connections: settings for the spread of calls may differ.
pub(crate) fn is_reached_alike(old: &Server, new: &Server) -> bool {
    let (is, was) = (&new.configuration, &old.configuration);
    let spread_alike = Configuration {
        algorithm: is.algorithm,
        max_load: is.max_load,
        max_timeout: is.max_timeout,
        affinity: is.affinity.clone(),
        trusted: is.trusted,
        access: is.access.clone(),
        ..was.clone()
    };
    old.endpoint == new.endpoint && old.transport_type == new.transport_type && spread_alike == *is
}

fn unchanged(old: &Service, replicas: &[Replica]) -> bool {
    old.replicas.len() == replicas.len()
        && old.replicas.iter().zip(replicas).all(|(old, new)| {
            // A probe that changed nothing but its own time is no reason to build anything anew.
            old.server.revision == new.server.revision
                && old.server.health_status == new.server.health_status
                && Arc::ptr_eq(&old.listing, &new.listing)
                && old.waits == new.waits
                && Arc::ptr_eq(&old.upstream, &new.upstream)
        })
}

/// Whether a server is probed: one that is switched off is left alone, and its program is not started to be asked how it is.
fn is_probed(server: &Server) -> bool {
    matches!(server.status, Status::Active | Status::Error)
}
