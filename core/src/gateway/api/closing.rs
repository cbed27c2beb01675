//! The end of a gateway: no new calls, time for those under way, then everything is given back.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;

use crate::gateway::Gateway;
use crate::store::presence::Presence;

/// How long shutdown tells servers that their sessions end.
const FAREWELL: Duration = Duration::from_secs(5);

impl Gateway {
    /// [`Gateway::shutdown`] with the grace that the configuration gives, `server.grace_seconds`.
    pub async fn close(&self) {
        self.shutdown(self.settings().server.grace).await;
    }

    /// Takes no new calls, lets those under way end for as long as `grace`, then ends everything: sessions, children,
    /// connections, the store.
    pub async fn shutdown(&self, grace: Duration) {
        let inner = &self.0;
        if inner.stopping.swap(true, Ordering::SeqCst) {
            return;
        }
        inner.modern.ending.cancel();
        let began = inner.clock.now();
        let under_way = || inner.calls.calls() + inner.calls.subscriptions() > 0;
        while under_way() && inner.clock.now().since(began) < grace {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let clients: Vec<_> =
            inner.sessions.all().into_iter().chain(inner.modern.modern_to_legacy.pool.all()).collect();
        let ending = futures_util::stream::iter(clients);
        let ending = ending.for_each_concurrent(64, |client| async move { inner.end_session(&client).await });
        // A server that does not answer any more keeps its sessions for itself.
        let _ = tokio::time::timeout(FAREWELL, ending).await;
        inner.close_upstreams().await;
        inner.write_key_uses().await;
        // An engine that does not answer forgets the leases by itself.
        let _ = tokio::time::timeout(FAREWELL, inner.cluster.leases.release_all().get()).await;
        inner.tasks.stop().await;
        inner.store.close().await;
        drop(inner.presence.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Keeps the claim on the database for as long as the gateway is open.
    pub(crate) fn keep(&self, presence: Presence) {
        *self.0.presence.lock().unwrap_or_else(PoisonError::into_inner) = Some(presence);
    }
}
