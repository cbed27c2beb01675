//! What is seen of servers, not asked for by a user: what they offer, and how they are.

use std::sync::Arc;

use super::{Registry, micros, no_server};
use crate::error::Result;
use crate::model::{Event, Listing, ServerId, TenantId};
use crate::store::HealthRecord;

impl Registry {
    /// The newest observations of a server's health first.
    ///
    /// Errors: [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), [`ErrorKind::Storage`](crate::ErrorKind::Storage).
    pub async fn health_history(
        &self,
        tenant: &TenantId,
        id: ServerId,
        limit: u32,
    ) -> Result<Vec<HealthRecord>> {
        self.get(tenant, id).ok_or_else(|| no_server(id))?;
        self.inner.store.health_history(tenant, id, limit).await
    }

    /// Takes up what a server offers. `false`, without a write or an event, if it offered the same before.
    ///
    /// Errors: [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if it was removed meanwhile, [`ErrorKind::Storage`](crate::ErrorKind::Storage).
    pub async fn set_listing(&self, id: ServerId, listing: Listing) -> Result<bool> {
        self.to_end(|inner| async move {
            let _writing = inner.writing.lock().await;
            let state = inner.state.load_full();
            let entry = state.entry(id).ok_or_else(|| no_server(id))?;
            if *entry.listing == listing {
                return Ok(false);
            }
            let tenant_id = entry.server.tenant_id.clone();
            inner.store.put_listing(&tenant_id, id, &listing, inner.now()).await?;
            inner.swap(|state, tell| {
                state.set_listing(id, Arc::new(listing));
                tell(Event::Discovered { tenant_id, id });
            });
            Ok(true)
        })
        .await
    }

    /// Takes up observations of health, in order; an event for each change. Give many at once: each call is one commit.
    /// Servers that are gone are passed over.
    ///
    /// Errors: [`ErrorKind::Storage`](crate::ErrorKind::Storage). Memory has taken up the observations also then: that the disk is full must
    /// not keep calls going to a server that is down.
    pub async fn record_health(&self, mut records: Vec<(ServerId, HealthRecord)>) -> Result<()> {
        self.to_end(|inner| async move {
            let _observing = inner.observing.lock().await;
            for (_, record) in &mut records {
                record.at = micros(record.at);
            }
            inner.swap(|state, tell| {
                records.iter().filter_map(|(id, record)| state.observe(*id, record)).for_each(tell);
            });
            inner.store.record_health(&records).await
        })
        .await
    }
}
