//! Receives the messages that servers send outside of any exchange, for as long as the session of these messages lives.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::oneshot;

use crate::gateway::Core;
use crate::gateway::call::relay::Relay;
use crate::gateway::session::client::Client;
use crate::model::ServerId;
use crate::transport::Session;

/// The pause before a stream that the server ended is opened again; doubled each time that it ended without a message.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Core {
    /// Passes the messages that a server sends outside of any exchange on to the client. `opening` is dropped as soon as the
    /// server's stream is open, or it is known that there is none.
    pub(crate) fn overhear(
        self: &Arc<Self>,
        client: &Arc<Client>,
        server: ServerId,
        session: &Arc<Session>,
        opening: Option<oneshot::Sender<()>>,
    ) {
        let (this, client) = (Arc::clone(self), Arc::clone(client));
        let relay = Relay { client: Some(Arc::clone(&client)), session: Arc::clone(session), server };
        self.tasks.spawn(async move {
            tokio::select! {
                () = client.ended.cancelled() => {}
                () = this.hear_out(&relay, opening) => {}
            }
        });
    }

    /// Listens on the shared session for changes of lists.
    pub(crate) fn watch(self: &Arc<Self>, server: ServerId, session: &Arc<Session>) {
        let this = Arc::clone(self);
        let relay = Relay { client: None, session: Arc::clone(session), server };
        self.tasks.spawn(async move { this.hear_out(&relay, None).await });
    }

    /// Passes on all messages until the session is closed. A server that refuses the first stream has none; a stream that was
    /// opened before is opened again.
    async fn hear_out(self: &Arc<Self>, relay: &Relay, mut opening: Option<oneshot::Sender<()>>) {
        let session = &relay.session;
        let (mut pause, mut heard) = (FIRST_PAUSE, false);
        while session.is_open() {
            let stream = session.listen().await;
            drop(opening.take());
            match stream {
                None if !heard => return,
                None => {}
                Some(mut messages) => {
                    heard = true;
                    while let Some(message) = messages.next().await {
                        pause = FIRST_PAUSE;
                        let passing = self.pass(relay, &message, None, None);
                        let passed = tokio::select! {
                            passed = passing => passed,
                            () = session.closed() => return,
                        };
                        if let Err(error) = passed {
                            tracing::debug!(server = %relay.server, %error, "a server does not take an answer");
                        }
                    }
                }
            }
            tokio::select! {
                () = session.closed() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
