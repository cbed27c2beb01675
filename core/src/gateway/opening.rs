//! The sessions that clients have with servers: opened, made the client's, given up.
//!
//! Opening is a task of its own that is brought to its end whatever becomes of the call that wanted it: what was opened at
//! a server either becomes the client's or is closed there.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Inner;
use super::awaited::Awaited;
use super::client::{Client, Way, ended};
use super::forward::apart;
use super::service::Place;
use super::upstream::replaced;
use crate::error::Result;
use crate::model::TransportType;
use crate::rpc::Method;
use crate::rpc::envelope::quote;
use crate::transport::Session;

/// How long a server may take to accept a log level.
const LEVEL_TIMEOUT: Duration = Duration::from_secs(5);

impl Inner {
    /// The session in which a client's calls reach a server: its own, or the one that is shared.
    pub(super) async fn session_for(
        self: &Arc<Self>,
        client: Option<&Arc<Client>>,
        place: &Place,
    ) -> Result<Arc<Session>> {
        let (upstream, server) = (&place.upstream, place.server.id);
        let Some(client) = client.filter(|client| apart(client, place)) else {
            if let Some(session) = upstream.shared_session() {
                return Ok(session);
            }
            let this = Arc::clone(self);
            return upstream.shared(move |session| this.watch(server, session)).await;
        };
        match client.way_to(upstream.number, server)? {
            Way::Open(session) => Ok(session),
            Way::Opening(awaited) => awaited.outcome().await,
            Way::Begin { promise, awaited, broken } => {
                let (this, client, place) = (Arc::clone(self), Arc::clone(client), place.clone());
                let opening = awaited.clone();
                self.tasks.spawn_to_end(async move {
                    let opened = this.open_own(&client, &place, &opening).await;
                    if opened.is_err() {
                        client.give_up(place.upstream.number, &opening);
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
        place: &Place,
        opening: &Awaited<Arc<Session>>,
    ) -> Result<Arc<Session>> {
        let upstream = &place.upstream;
        if !client.is_pooled() {
            upstream.want_legacy();
        }
        let session = upstream.own(&client.hello).await?;
        let told = tell_level(client, &session).await;
        if !client.adopt(upstream.number, opening, &session, || upstream.is_closed()) {
            session.close().await;
            return Err(if client.ended.is_cancelled() { ended() } else { replaced() });
        }
        // What changed while the session was nobody's yet was not told to it.
        if log_level(client) != told {
            tell_level(client, &session).await;
        }
        // Over stdio everything arrives anyway; over HTTP a stream costs a connection, so only where somebody listens.
        let hears = place.server.transport_type != TransportType::Http || client.outbox.is_attached();
        if client.is_pooled() {
            // A server that was told that it can ask may do so at any time.
            if client.can_be_asked() {
                drop(self.hear(&session, &client.hello.capabilities));
            }
        } else if hears {
            self.overhear(client, place.server.id, &session);
        }
        Ok(session)
    }
}

/// Tells a server the log level that the client wants, if it wants one; gives the level.
pub(super) async fn tell_level(client: &Client, session: &Session) -> Option<String> {
    let level = log_level(client)?;
    if session.declares("logging") {
        let params = format!(r#"{{"level":{}}}"#, quote(&level));
        let told = tokio::select! {
            told = session.ask(&Method::SetLevel, Some(&params), LEVEL_TIMEOUT) => told.map(drop),
            () = client.ended.cancelled() => Ok(()),
        };
        if let Err(error) = told {
            tracing::info!(%error, "a server did not take the log level");
        }
    }
    Some(level)
}

fn log_level(client: &Client) -> Option<String> {
    client.log_level.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
