//! Asking servers what they offer: once for all who want to know, again when they say that it changed, and on a schedule.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, Shared};
use futures_util::{FutureExt, StreamExt};

use super::Inner;
use super::conversation::is_list_change;
use super::forward::outcome_of;
use super::freshness::Asked;
use super::relay::{Heard, Relay};
use super::service::Place;
use crate::breaker::Outcome;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{ServerId, Status};
use crate::rpc::{Message, Shape};
use crate::transport::Session;

/// Changes within this time of each other are asked about once.
const SETTLE: Duration = Duration::from_millis(100);

type Asking = Shared<BoxFuture<'static, Result<(), Arc<Error>>>>;

/// The questions under way, by server.
#[derive(Default)]
pub(super) struct Discoveries {
    under_way: Mutex<HashMap<ServerId, Asking>>,
    asked: Asked,
}

impl Inner {
    /// Asks a server what it offers, or joins whoever is asking, and waits until the register knows.
    pub(super) async fn discover_now(self: &Arc<Self>, id: ServerId) -> Result<()> {
        self.discovery(id).await.map_err(|error| error.repeat())
    }

    /// Asks in the background.
    pub(super) fn discover_soon(self: &Arc<Self>, id: ServerId) {
        drop(self.discovery(id));
    }

    fn discovery(self: &Arc<Self>, id: ServerId) -> Asking {
        let mut under_way = self.discoveries.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asking) = under_way.get(&id) {
            return asking.clone();
        }
        let this = Arc::clone(self);
        let asking = async move {
            let result = this.ask_server(id).await;
            this.discoveries.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            result.map_err(Arc::new)
        }
        .boxed()
        .shared();
        under_way.insert(id, asking.clone());
        drop(under_way);
        // Goes on although whoever asked first gives up: others may wait, and the answer is of use anyway.
        let background = asking.clone();
        self.tasks.spawn(async move {
            if let Err(error) = background.await {
                tracing::info!(server = %id, %error, "a server could not be asked what it offers");
            }
        });
        asking
    }

    async fn ask_server(self: &Arc<Self>, id: ServerId) -> Result<()> {
        let place = self.place(id).ok_or_else(|| Error::new(ErrorKind::NotFound, "no such server"))?;
        self.discoveries.asked.note(id, self.clock.now());
        let permit = place.replica.breaker().try_acquire(self.clock.now()).map_err(|denied| {
            Error::new(ErrorKind::Unavailable, "the server's breaker is open")
                .retry_after(denied.retry_after)
                .not_sent()
        })?;
        let found = place.upstream.discover().await;
        permit.finish(found.as_ref().map_or_else(outcome_of, |_| Outcome::Success), self.clock.now());
        self.registry.set_listing(id, found?).await?;
        self.refresh();
        // The shared session hears of later changes.
        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            if let Err(error) = place.upstream.shared(|session| this.watch(id, session)).await {
                tracing::debug!(server = place.server.name, %error, "no shared session yet");
            }
        });
        Ok(())
    }

    /// Listens on the shared session for lists that changed.
    pub(super) fn watch(self: &Arc<Self>, id: ServerId, session: &Arc<Session>) {
        let (this, session) = (Arc::clone(self), Arc::clone(session));
        self.tasks.spawn(async move {
            while session.is_open() {
                let Some(mut messages) = session.listen().await else { return };
                while let Some(message) = messages.next().await {
                    let mut said = vec![message];
                    if is_list_change(&said[0]) {
                        tokio::time::sleep(SETTLE).await;
                        // A server that floods is asked once for all that it has said by now.
                        while let Some(Some(more)) = messages.next().now_or_never() {
                            if !is_list_change(&more) || said.iter().all(|one| one.method() != more.method())
                            {
                                said.push(more);
                            }
                        }
                    }
                    this.take_up(id, &session, &said).await;
                }
                // A stream that the server ended is opened again, unhurriedly.
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        });
    }

    /// Does what messages that belong to no call ask for.
    async fn take_up(self: &Arc<Self>, id: ServerId, session: &Arc<Session>, said: &[Message]) {
        for message in said.iter().filter(|message| message.shape() == Shape::Request) {
            let relay = Relay { client: None, session: Arc::clone(session) };
            if let Heard::Return(answer) = relay.hear(message, None) {
                let _ = session.notify(answer).await;
            }
        }
        let changes: Vec<_> = said.iter().filter(|message| is_list_change(message)).collect();
        if changes.is_empty() {
            return;
        }
        if self.discover_now(id).await.is_err() {
            tracing::debug!(server = %id, "a server whose lists changed could not be asked");
        }
        let Some(place) = self.place(id) else { return };
        for change in changes {
            let (tenant, service) = (&place.server.tenant_id, &place.server.service);
            self.modern.changes.tell(tenant, service, change.method().cloned());
        }
    }

    /// Asks every server that may be asked and whose time has come, a few at a time.
    pub(super) async fn rediscover(self: &Arc<Self>) {
        let due = {
            let state = self.registry.state();
            let listings: Vec<_> = state
                .servers()
                .filter(|server| server.status == Status::Active && server.auto_discover)
                .map(|server| (server.id, state.listing(server.id)))
                .collect();
            let servers = listings.iter().map(|(id, listing)| (*id, &**listing));
            self.discoveries.asked.due(servers, self.settings.refresh, self.clock.now())
        };
        futures_util::stream::iter(due)
            .for_each_concurrent(16, |id| async move {
                // It has been logged where it failed.
                let _ = self.discover_now(id).await;
            })
            .await;
    }

    pub(super) fn place(&self, id: ServerId) -> Option<Place> {
        let server = Arc::clone(self.registry.state().server(id)?);
        self.view(&server.tenant_id).services.get(&server.service)?.place(id).cloned()
    }
}
