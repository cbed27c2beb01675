//! Keeps what routing knows in step with the register, and runs what goes on in the background.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::Inner;
use super::callers::Callers;
use super::claims;
use super::freshness::LOOK;
use super::service::{Place, Service};
use super::snapshot::{Snapshot, View};
use super::upstream::Upstream;
use crate::auth::{Access, Restrictions};
use crate::breaker::Breaker;
use crate::model::{
    Configuration, Event, HealthCheck, HealthStatus, Server, ServerId, ServiceName, Status, TenantId,
};
use crate::select::Replica;

impl Inner {
    /// Makes the snapshot of what the register says now, if it says anything new. Services of which nothing changed stay the very same.
    pub(super) fn refresh(self: &Arc<Self>) {
        let _one_at_a_time = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.registry.state();
        let before = self.snapshot.load_full();
        if before.index.state().version() == state.version() {
            return;
        }
        let known = places(&before);

        let mut grouped: HashMap<TenantId, BTreeMap<ServiceName, Vec<Place>>> = HashMap::new();
        let mut gone: HashMap<ServerId, Arc<Upstream>> =
            known.iter().map(|(id, place)| (*id, Arc::clone(&place.upstream))).collect();
        for server in state.servers() {
            let listing = state.listing(server.id);
            let waits = state.entry(server.id).is_some_and(|entry| entry.waiting().is_some());
            let old = known.get(&server.id);
            let same_way = old.filter(|old| is_reached_alike(&old.server, server));
            let upstream = match same_way {
                Some(old) => {
                    gone.remove(&server.id);
                    Arc::clone(&old.upstream)
                }
                None => match (self.connect)(server) {
                    Ok(connector) => {
                        let upstream = Upstream::new(Arc::clone(server), connector, self.tasks.clone());
                        upstream.learn(&listing);
                        upstream
                    }
                    Err(error) => {
                        tracing::warn!(server = server.name, %error, "a registered server cannot be reached as it is configured");
                        continue;
                    }
                },
            };
            // What was learnt of another endpoint says nothing of this one.
            let replica = same_way.map_or_else(
                || {
                    Arc::new(Replica::new(
                        server.id,
                        server.name.as_str(),
                        Breaker::new(self.settings.breaker.clone(), self.random.next()),
                    ))
                },
                |old| Arc::clone(&old.replica),
            );
            grouped
                .entry(server.tenant_id.clone())
                .or_default()
                .entry(server.service.clone())
                .or_default()
                .push(Place { server: Arc::clone(server), upstream, replica, listing, waits });
        }
        let index = Arc::new(before.index.next(&state));

        let access = self.access.load();
        let (mut claims, mut disputes) = (HashMap::new(), Vec::new());
        let tenants = grouped.into_iter().map(|(tenant, services)| {
            let old = before.tenants.get(&tenant);
            let services = services.into_iter().map(|(name, mut places)| {
                places.sort_by_key(|place| (place.server.created_at, place.server.id));
                let old = old.and_then(|view| view.services.get(&name));
                let service = match old {
                    Some(old) if unchanged(old, &places) => Arc::clone(old),
                    old => Arc::new(Service::new(
                        name.clone(),
                        places,
                        self.balancing(&name),
                        old.map(|old| &**old),
                    )),
                };
                (name, service)
            });
            let services: BTreeMap<_, Arc<Service>> = services.collect();
            let servers = services.values().flat_map(|service| &service.places).map(|place| &*place.server);
            let restrictions = Restrictions::of(&access, &tenant, servers);
            let view = View::new(
                tenant.clone(),
                services,
                Arc::clone(&index),
                restrictions,
                self.settings.own.is_some(),
            );
            let known = before.claims.get(&tenant).cloned().unwrap_or_default();
            let (own, disputed) = claims::next(&known, old.map(|old| &**old), &view);
            claims.insert(tenant.clone(), Arc::clone(&own));
            disputes.push((tenant.clone(), disputed));
            (tenant, Arc::new(view.claimed(own)))
        });
        let tenants = tenants.collect();
        let after = Arc::new(Snapshot { tenants, index: Arc::clone(&index), claims });
        self.snapshot.store(Arc::clone(&after));
        self.announce(&before, &after);
        self.settle_claims(disputes);
        self.monitor.set_servers(
            state
                .servers()
                .filter(|server| server.status != Status::Maintenance)
                .map(|server| {
                    let enabled = server.health_check.enabled && self.settings.probing;
                    (server.id, HealthCheck { enabled, ..server.health_check.clone() })
                })
                .collect(),
        );
        self.leave(gone);
    }

    /// Judges what everybody may use by other rules, and leaves everything else as it is.
    pub(super) fn restrict(&self, access: Access) {
        let _one_at_a_time = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.snapshot.load_full();
        let tenants = before.tenants.iter().map(|(tenant, view)| {
            let places = view.services.values().flat_map(|service| &service.places);
            let restrictions = Restrictions::of(&access, tenant, places.map(|place| &*place.server));
            let (services, index) = (view.services.clone(), Arc::clone(&before.index));
            let claims = before.claims.get(tenant).cloned().unwrap_or_default();
            let view = View::new(tenant.clone(), services, index, restrictions, view.has_own).claimed(claims);
            (tenant.clone(), Arc::new(view))
        });
        let (tenants, index) = (tenants.collect(), Arc::clone(&before.index));
        let after = Snapshot { tenants, index, claims: before.claims.clone() };
        self.access.store(Arc::new(access));
        self.snapshot.store(Arc::new(after));
    }

    /// Closes the ways to servers that are gone or reached otherwise now, and asks the latter again.
    fn leave(self: &Arc<Self>, gone: HashMap<ServerId, Arc<Upstream>>) {
        if gone.is_empty() {
            return;
        }
        let clients: Vec<_> =
            self.sessions.all().into_iter().chain(self.modern.downward.pool.all()).collect();
        for (id, upstream) in gone {
            // First of all: a session that is being opened either sees this or is found among the clients' sessions.
            upstream.retire();
            self.close_ways(upstream.callers.iter().flat_map(Callers::take_all).collect());
            let own: Vec<_> =
                clients.iter().filter_map(|client| client.take_upstream(upstream.number)).collect();
            self.tasks.spawn_to_end(async move {
                let closing = own.iter().map(|session| session.close());
                tokio::join!(upstream.close(), join_all(closing));
            });
            let Some(place) = self.place(id) else { continue };
            if place.server.auto_discover {
                self.discover_again(id);
            }
            if self.settings.probing && place.server.health_check.enabled {
                let this = Arc::clone(self);
                // The next probe may be minutes away, if the server could not be reached where it was.
                self.tasks.spawn(async move { drop(this.monitor.probe_now(id).await) });
            }
        }
    }

    /// Starts what runs until shutdown.
    pub(super) fn run_background(self: &Arc<Self>) {
        let this = Arc::clone(self);
        self.tasks.spawn(async move { this.monitor.run().await });

        let this = Arc::clone(self);
        self.tasks.spawn(async move { this.follow_events().await });

        if self.settings.auth.is_configured() {
            let this = Arc::clone(self);
            self.tasks.spawn(async move { this.watch_credentials().await });
        }

        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            let pause =
                (this.settings.sessions.idle / 4).clamp(Duration::from_millis(250), Duration::from_secs(30));
            loop {
                tokio::time::sleep(pause).await;
                let now = this.clock.now();
                let mut expired = this.sessions.expired(&this.settings.sessions, now);
                this.sessions.sweep(now);
                this.leave_idle_callers(now);
                expired.extend(this.modern.downward.pool.expire(now));
                let ending = futures_util::stream::iter(&expired);
                ending.for_each_concurrent(64, |client| this.end_session(client)).await;
                if !expired.is_empty() {
                    this.tasks.drop_aside(expired);
                }
            }
        });

        let this = Arc::clone(self);
        self.tasks.spawn(async move { this.keep_audit().await });

        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            loop {
                this.rediscover().await;
                tokio::time::sleep((this.settings.refresh / 4).clamp(Duration::from_millis(250), LOOK)).await;
            }
        });
    }

    async fn follow_events(self: Arc<Self>) {
        let mut events = self.registry.subscribe();
        loop {
            let mut changes = match events.recv().await {
                Ok(event) => vec![event],
                Err(RecvError::Lagged(_)) => Vec::new(),
                Err(RecvError::Closed) => return,
            };
            // Thousands of servers change at once when a network comes back: one snapshot for all of them.
            loop {
                match events.try_recv() {
                    Ok(event) => changes.push(event),
                    Err(TryRecvError::Lagged(_)) => {}
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
            self.refresh();
            for change in changes {
                if let Event::Health { id, from, to: HealthStatus::Healthy, .. } = change {
                    self.is_back(id, from);
                }
            }
        }
    }

    /// Asks a server that has become healthy, unless what it offers is known.
    fn is_back(self: &Arc<Self>, id: ServerId, from: HealthStatus) {
        if from != HealthStatus::Unknown {
            // Whoever comes back may be another version.
            self.discover_again(id);
        } else if self.place(id).is_some_and(|place| place.listing.initialize.is_none()) {
            self.discover_soon(id);
        }
    }

    pub(super) async fn close_upstreams(&self) {
        let places = places(&self.snapshot.load_full());
        join_all(places.values().map(|place| place.upstream.close())).await;
    }
}

fn places(snapshot: &Snapshot) -> HashMap<ServerId, Place> {
    let services = snapshot.tenants.values().flat_map(|view| view.services.values());
    services.flat_map(|service| &service.places).map(|place| (place.server.id, place.clone())).collect()
}

/// Whether two states of a server are reached over the same connections: what only says how calls are spread may differ.
pub(super) fn is_reached_alike(old: &Server, new: &Server) -> bool {
    let (is, was) = (&new.configuration, &old.configuration);
    let spread_alike = Configuration {
        algorithm: is.algorithm,
        max_load: is.max_load,
        affinity: is.affinity.clone(),
        trusted: is.trusted,
        access: is.access.clone(),
        ..was.clone()
    };
    old.endpoint == new.endpoint && old.transport_type == new.transport_type && spread_alike == *is
}

fn unchanged(old: &Service, places: &[Place]) -> bool {
    old.places.len() == places.len()
        && old.places.iter().zip(places).all(|(old, new)| {
            // A probe that changed nothing but its own time is no reason to build anything anew.
            old.server.revision == new.server.revision
                && old.server.health_status == new.server.health_status
                && Arc::ptr_eq(&old.listing, &new.listing)
                && old.waits == new.waits
                && Arc::ptr_eq(&old.upstream, &new.upstream)
        })
}
