//! Observations of servers, not asked for by a user: their listings, and their health.

use std::sync::Arc;

use super::{Actor, Registry, drift, micros, no_server};
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

    /// Takes up the listing of a server. `false`, without a write or an event, if it offered the same before. A definition that
    /// differs from an approved one is written to the audit trail; under [`Drift::Pin`](crate::model::Drift::Pin) it waits there
    /// for [`Registry::approve`], and the server keeps its earlier listing.
    ///
    /// Errors: [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if it was removed meanwhile, [`ErrorKind::Storage`](crate::ErrorKind::Storage).
    pub async fn set_listing(&self, id: ServerId, listing: Listing) -> Result<bool> {
        self.to_end(|inner| async move {
            let _writing = inner.writing.lock().await;
            let state = inner.state.load_full();
            let entry = state.entry(id).ok_or_else(|| no_server(id))?;
            let drift = drift::of(&state, entry, &listing).map(Arc::new);
            let told = entry.drift == drift;
            if told && (entry.waiting().is_some() || *entry.listing == listing) {
                return Ok(false);
            }
            let tenant_id = entry.server.tenant_id.clone();
            let waits = drift.as_ref().is_some_and(|drift| drift.waiting.is_some());
            let same = waits || *entry.listing == listing;
            let listing = if same { Arc::clone(&entry.listing) } else { Arc::new(listing) };
            if !same {
                inner.store.put_listing(&tenant_id, id, &listing, inner.now()).await?;
            }
            if let Some(drift) = drift.as_ref().filter(|_| !told) {
                let outcome = if drift.waiting.is_some() { "waits" } else { "told" };
                let actor = Actor { subject: "gateway".into(), correlation_id: None };
                let target = id.to_string();
                let row = inner.audit(&tenant_id, &actor, "server.drift", &target, outcome, drift.detail());
                inner.store.append_audit(&row).await?;
                let (server, count) = (&entry.server.name, drift.differences.len());
                tracing::warn!(
                    server,
                    differences = count,
                    outcome,
                    "a server defines what it offers otherwise than was approved"
                );
            }
            inner.swap(|state, tell| {
                state.set_listing(id, listing, drift);
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
