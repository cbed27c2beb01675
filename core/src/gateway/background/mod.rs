//! The background tasks that run until the gateway is closed.

pub(super) mod access;
pub(super) mod probe;
pub(super) mod retention;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::Core;
use crate::gateway::routing::freshness::LOOK;
use crate::model::{Event, HealthStatus, ServerId};

impl Core {
    /// Starts the tasks that run until shutdown.
    pub(crate) fn run_background(self: &Arc<Self>) {
        let this = Arc::clone(self);
        self.tasks.spawn(async move { this.monitor.run().await });

        let this = Arc::clone(self);
        self.tasks.spawn(async move { this.follow_events().await });

        // The credentials that an authenticator of the program's own judges end, too.
        if self.settings.auth.is_configured() || self.settings.authenticator.is_some() {
            // Begun here, so that no change is missed before the task runs.
            let (changes, notices) = (self.store.watch(), self.cluster.broadcast.subscribe());
            self.tasks.spawn(Arc::clone(self).watch_keys(changes, notices));
            self.tasks.spawn(Arc::clone(self).watch_credentials());
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
                expired.extend(this.modern.modern_to_legacy.pool.expire(now));
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

    /// Asks a server that has become healthy what it offers, unless that is known.
    fn is_back(self: &Arc<Self>, id: ServerId, from: HealthStatus) {
        if from != HealthStatus::Unknown {
            // A server that comes back may be another version.
            self.discover_again(id);
        } else if self.replica(id).is_some_and(|replica| replica.listing.initialize.is_none()) {
            self.discover_soon(id);
        }
    }

    pub(crate) async fn close_upstreams(&self) {
        let snapshot = Arc::clone(&self.router.load());
        let services = snapshot.tenants.values().flat_map(|view| view.services.values());
        join_all(services.flat_map(|service| &service.replicas).map(|replica| replica.upstream.close()))
            .await;
    }
}
