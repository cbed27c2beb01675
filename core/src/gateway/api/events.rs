//! Live changes of a tenant's servers, for watchers.
//!
//! All watchers read from the register's one ring of events; each keeps a position in it and nothing else. A watcher that falls
//! behind by more than the ring holds gets the number of missed events, and reads the list anew.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::auth::{Credentials, Operation};
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::session::open_streams::OpenStream;
use crate::gateway::{Caller, Core, Gateway};
use crate::model::{Event, HealthStatus, Principal, Server, ServerId, ServerState};
#[cfg(feature = "server")]
use crate::transport::unread::CallRoom;

/// The longest time for which a watcher gets nothing.
pub const SILENCE: Duration = Duration::from_secs(15);

/// An item that a watcher gets.
#[derive(Clone, Debug)]
pub enum Heard {
    /// A server changed.
    Change(Change),
    /// So many events were missed; over all tenants, so that the number is for logs and not for clients.
    Lagged(u64),
    /// Nothing happened for [`SILENCE`]: time to see whether the watcher is still there.
    Silence,
}

/// A change of one server.
#[derive(Clone, Debug)]
pub struct Change {
    /// `server.registered`, `server.updated`, `server.removed`, `server.discovered`, `server.state` or
    /// `server.health`.
    pub kind: &'static str,
    /// When it was passed on.
    pub at: Timestamp,
    /// The server's id.
    pub id: ServerId,
    /// How it is now, with what came after this change; `None` if it is gone.
    pub server: Option<Arc<Server>>,
    /// In which state it is now; `None` if it is gone.
    pub state: Option<ServerState>,
    /// For `server.health`: before, and now.
    pub health: Option<(HealthStatus, HealthStatus)>,
}

/// The changes from now on, for as long as the watcher's credentials hold. Dropping it ends the watch.
///
/// ```
/// use mcp_registry_gateway::gateway::Heard;
/// use mcp_registry_gateway::{Caller, Events, Gateway, Registration};
///
/// # #[tokio::main]
/// # async fn main() -> mcp_registry_gateway::Result<()> {
/// let (gateway, us) = (Gateway::builder().open().await?, Caller::local());
/// let mut events: Events = gateway.watch(&us)?;
/// gateway.register(&us, Registration::at("docs", "http://127.0.0.1:9000/mcp")).await?;
/// match events.next().await {
///     Some(Heard::Change(change)) => assert_eq!(change.kind, "server.registered"),
///     other => panic!("{other:?}"),
/// }
/// # gateway.close().await;
/// # Ok(())
/// # }
/// ```
pub struct Events {
    gateway: Arc<Core>,
    credentials: Credentials,
    principal: Principal,
    changes: broadcast::Receiver<Event>,
    ending: CancellationToken,
    open: OpenStream,
    /// The item that was received and not returned yet.
    held: Option<Heard>,
}

impl Gateway {
    /// The changes of the caller's servers from now on. `credentials` are those that stand for the caller: the watch ends when
    /// they do not any more.
    ///
    /// [`ErrorKind::RateLimited`] while the caller holds as many streams open as it may, [`ErrorKind::Unavailable`] if there are as
    /// many as there may be, or the gateway shuts down.
    pub fn events(&self, caller: &Caller, credentials: Credentials) -> Result<Events> {
        caller.may(Operation::EventsRead)?;
        let inner = &self.0;
        if inner.is_stopping() {
            return Err(Error::new(ErrorKind::Unavailable, "the gateway is shutting down"));
        }
        Ok(Events {
            open: inner.open_stream(&caller.principal)?,
            gateway: Arc::clone(inner),
            credentials,
            principal: caller.principal.clone(),
            changes: inner.registry.subscribe(),
            ending: inner.modern.ending.clone(),
            held: None,
        })
    }

    /// Counts a stream that the caller holds open by other means, and tells when it has to end.
    ///
    /// Errors: as of [`Gateway::events`].
    pub fn open_stream(&self, caller: &Caller) -> Result<OpenStream> {
        self.0.open_stream(&caller.principal)
    }
}

impl Gateway {
    /// Room for an answer to the caller, which counts as unread until it was written.
    #[cfg(feature = "server")]
    pub(crate) fn unread_room(&self, caller: &Caller) -> Arc<CallRoom> {
        self.0.unread.room(&caller.principal)
    }
}

impl Core {
    /// One more stream that `principal` holds open.
    pub(crate) fn open_stream(&self, principal: &Principal) -> Result<OpenStream> {
        let open = self.streams.enter(principal)?;
        // Code that ends the streams of a credential or a tenant has seen this stream, or the checks below see its change.
        self.gone.check(principal)?;
        if principal.is_over(self.clock.timestamp()) {
            return Err(Error::new(
                ErrorKind::Unauthenticated,
                "the credential was revoked or has expired; use another one",
            ));
        }
        Ok(open)
    }
}

impl Gateway {
    /// [`Gateway::events`] for a caller that the program itself vouches for.
    pub fn watch(&self, caller: &Caller) -> Result<Events> {
        self.events(caller, Credentials::Embedded(caller.principal.clone()))
    }
}

impl Events {
    /// Resolves when the caller may watch no longer, also while nobody asks for the next item.
    pub async fn ended(&self) {
        self.open.ended().await;
    }

    /// The next item; `None` once the gateway shuts down, or the credentials are no longer valid. Giving up the wait loses
    /// nothing.
    pub async fn next(&mut self) -> Option<Heard> {
        if self.held.is_none() {
            self.held = Some(self.receive().await?);
        }
        // A key that was revoked meanwhile gets nothing that happened after.
        if self.holds().await { self.held.take() } else { None }
    }

    async fn receive(&mut self) -> Option<Heard> {
        let mut silence = std::pin::pin!(tokio::time::sleep(SILENCE));
        loop {
            let event = tokio::select! {
                biased;
                () = self.ending.cancelled() => return None,
                () = self.open.ended() => return None,
                event = self.changes.recv() => event,
                () = &mut silence => return Some(Heard::Silence),
            };
            match event {
                Ok(event) => {
                    if let Some(heard) = self.heard(event) {
                        return Some(heard);
                    }
                }
                Err(RecvError::Lagged(missed)) => return Some(Heard::Lagged(missed)),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    async fn holds(&self) -> bool {
        let now = self.gateway.auth.authenticate(&self.credentials).get().await;
        now.is_ok_and(|now| {
            self.gateway.gone.check(&now).is_ok()
                && (&now.tenant, &now.subject) == (&self.principal.tenant, &self.principal.subject)
                && now.may(Operation::EventsRead).is_ok()
        })
    }

    /// The event as this watcher gets it; nothing if it is another tenant's, or of a server that is hidden from the watcher.
    fn heard(&self, event: Event) -> Option<Heard> {
        let (tenant, kind, id, health) = match event {
            Event::Registered { tenant_id, id } => (tenant_id, "server.registered", id, None),
            Event::Updated { tenant_id, id } => (tenant_id, "server.updated", id, None),
            Event::Removed { tenant_id, id } => (tenant_id, "server.removed", id, None),
            Event::Discovered { tenant_id, id } => (tenant_id, "server.discovered", id, None),
            Event::State { tenant_id, id } => (tenant_id, "server.state", id, None),
            Event::Health { tenant_id, id, from, to } => (tenant_id, "server.health", id, Some((from, to))),
        };
        if tenant != self.principal.tenant {
            return None;
        }
        let (gateway, principal) = (&self.gateway, &self.principal);
        let server = gateway.registry.get(&tenant, id);
        match &server {
            Some(server) if !gateway.sees(principal, server) => return None,
            // It is no longer known whether the server was hidden from a watcher that does not see everything.
            None if !gateway.router.view(&tenant).is_whole_for(principal) => return Some(Heard::Lagged(1)),
            Some(_) | None => {}
        }
        let state = server.as_ref().map(|server| gateway.condition(server, &[]).state);
        Some(Heard::Change(Change { kind, at: gateway.clock.timestamp(), id, server, state, health }))
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("tenant", &self.principal.tenant).finish_non_exhaustive()
    }
}
