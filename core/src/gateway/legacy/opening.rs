//! The sessions that clients have with servers: opened, assigned to the client, given up.
//!
//! Opening is a task of its own that runs to completion whatever the outcome of the call that wanted it: a session that was
//! opened at a server either becomes the client's or is closed there.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::error::Result;
use crate::gateway::Core;
use crate::gateway::routing::service::Replica;
use crate::gateway::session::client::{Client, SessionSlot, ended};
use crate::gateway::upstream::replaced;
use crate::model::{ServerId, Sharing};
use crate::rpc::Method;
use crate::rpc::envelope::quote;
use crate::tasks::awaited::Awaited;
use crate::transport::Session;

/// How long a server may take to accept a log level.
const LEVEL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a first call waits for the server's own stream. Servers without one refuse it at once; some send no head
/// before the first event.
const STREAM_TIMEOUT: Duration = Duration::from_secs(1);

impl Core {
    /// The session in which a client's calls reach a server: its own, or the shared one. `cause` is the correlation id of the
    /// request that needs it.
    pub(crate) async fn session_for(
        self: &Arc<Self>,
        client: Option<&Arc<Client>>,
        replica: &Replica,
        cause: Option<&Arc<str>>,
    ) -> Result<Arc<Session>> {
        let (upstream, server) = (&replica.upstream, replica.server.id);
        upstream.for_all()?;
        let Some(client) = client.filter(|client| apart(client, replica)) else {
            if let Some(session) = upstream.shared_session() {
                return Ok(session);
            }
            let this = Arc::clone(self);
            return upstream.shared(move |session| this.watch(server, session)).await;
        };
        match client.way_to(upstream.number, server)? {
            SessionSlot::Open(session) => Ok(session),
            SessionSlot::Opening(awaited) => awaited.outcome().await,
            SessionSlot::Begin { promise, awaited, broken } => {
                let (this, client, replica) = (Arc::clone(self), Arc::clone(client), replica.clone());
                let (opening, cause) = (awaited.clone(), cause.cloned());
                self.tasks.spawn_to_end(async move {
                    let opened = this.open_own(&client, &replica, &opening, cause.as_deref()).await;
                    if opened.is_err() {
                        client.give_up(replica.upstream.number, &opening);
                    }
                    promise.keep(opened);
                    if let Some(broken) = broken {
                        client.questions.forget(&broken);
                        broken.close().await;
                    }
                });
                awaited.outcome().await
            }
        }
    }

    async fn open_own(
        self: &Arc<Self>,
        client: &Arc<Client>,
        replica: &Replica,
        opening: &Awaited<Arc<Session>>,
        cause: Option<&str>,
    ) -> Result<Arc<Session>> {
        let upstream = &replica.upstream;
        if !client.is_pooled() {
            upstream.want_legacy();
        }
        let session = upstream.own(&client.hello).await?;
        if client.can_be_asked() {
            self.hear_first(client, replica.server.id, &session).await;
        }
        let told = tell_level(client, &session, cause).await;
        if !client.adopt(upstream.number, opening, &session, || upstream.is_closed()) {
            session.close().await;
            client.questions.forget(&session);
            return Err(if client.ended.is_cancelled() { ended() } else { replaced() });
        }
        // A level that was set before the session was the client's has not been sent to it.
        if log_level(client) != told {
            tell_level(client, &session, cause).await;
        }
        // Over one connection everything arrives anyway; otherwise a stream costs a connection, so only if the client listens.
        let hears = upstream.is_duplex() || client.outbox.is_attached();
        if hears && !client.is_pooled() && !client.can_be_asked() {
            self.overhear(client, replica.server.id, &session, None);
        }
        Ok(session)
    }

    /// Listens to a server that was told that it can send requests, before it is sent anything on which it could: a request that
    /// finds no stream is lost. One that comes before the client's own stream is open waits there.
    async fn hear_first(self: &Arc<Self>, client: &Arc<Client>, server: ServerId, session: &Arc<Session>) {
        let (opening, opened) = oneshot::channel();
        if client.is_pooled() {
            drop(self.hear(session, &client.hello.capabilities, Some(opening)));
        } else {
            self.overhear(client, server, session, Some(opening));
        }
        // Nothing is sent on the channel; it ends. A stream that opens later is read all the same.
        let _ = tokio::time::timeout(STREAM_TIMEOUT, opened).await;
    }
}

/// Sends a server the log level that the client wants, if it wants one; returns the level.
pub(crate) async fn tell_level(client: &Client, session: &Session, cause: Option<&str>) -> Option<String> {
    let level = log_level(client)?;
    if session.declares("logging") {
        let params = format!(r#"{{"level":{}}}"#, quote(&level));
        let told = tokio::select! {
            told = session.ask(&Method::SetLevel, Some(&params), LEVEL_TIMEOUT) => told.map(drop),
            () = client.ended.cancelled() => Ok(()),
        };
        if let Err(error) = told {
            tracing::info!(correlation_id = cause, ?session, %error, "a server did not take the log level");
        }
    }
    Some(level)
}

fn log_level(client: &Client) -> Option<String> {
    client.log_level.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Whether the client's calls reach the server in a session of the client's own.
pub(crate) fn apart(client: &Client, replica: &Replica) -> bool {
    match replica.server.configuration.sharing {
        Sharing::Shared => false,
        Sharing::Session => true,
        Sharing::Auto => replica.upstream.remembers_clients() || client.wants_own_session(),
    }
}
