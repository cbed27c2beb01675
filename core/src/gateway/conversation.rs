//! What goes on in a session besides requests: introduction, log level, notifications, answers, the stream.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;

use super::client::Client;
use super::errand::Passage;
use super::pipeline::shown_method;
use super::relay::{Heard, Relay};
use super::{Inner, names};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Principal, Reply, Route, TransportType};
use crate::rpc::answer::result_response;
use crate::rpc::envelope::quote;
use crate::rpc::object::range_in;
use crate::rpc::{Members, Message, Method, Shape, Splice};
use crate::transport::Session;

const LOG_LEVELS: [&str; 8] =
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

impl Inner {
    /// The `initialize` result: of a service what its server said, of the aggregated route the gateway's own.
    pub(super) async fn introduction(
        self: &Arc<Self>,
        route: &Route,
        negotiated: &str,
        principal: &Principal,
    ) -> Result<String> {
        let Route::Service(name) = route else {
            return Ok(format!(
                concat!(
                    r#"{{"protocolVersion":"{}","capabilities":{{"tools":{{"listChanged":true}},"#,
                    r#""resources":{{"subscribe":true,"listChanged":true}},"prompts":{{"listChanged":true}},"#,
                    r#""logging":{{}},"completions":{{}}}},"serverInfo":{{"name":"mcp-gateway","version":"{}"}},"#,
                    r#""instructions":"Tools and prompts are named service__name."}}"#
                ),
                negotiated,
                env!("CARGO_PKG_VERSION"),
            ));
        };
        let view = self.view(&principal.tenant);
        let service = view.service(name.as_str())?;
        if let Some(said) = service.initialize() {
            return Ok(with_version(said, negotiated));
        }
        let asking = service.unheard().map(|place| self.discover_now(place.server.id));
        // Enough time for a server that starts only now; the client's own patience ends about here too.
        let _ = tokio::time::timeout(self.settings.introduction_budget, join_all(asking)).await;
        let view = self.view(&principal.tenant);
        let service = view.service(name.as_str())?;
        let said = service.initialize().ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, "no server of this service has answered yet")
                .with("service", names::shown(name.as_str()))
                .retry_after(std::time::Duration::from_secs(2))
        })?;
        Ok(with_version(said, negotiated))
    }

    /// Remembers the level for this client, and tells the servers with which it has sessions.
    pub(super) async fn set_level(self: &Arc<Self>, message: &Message, passage: &Passage) -> Result<Reply> {
        let level = message.params_members()?.text("level").map(std::borrow::Cow::into_owned);
        let level = level.filter(|level| LOG_LEVELS.contains(&level.as_str())).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidParams,
                format!("`params.level` must be one of {}", LOG_LEVELS.join(", ")),
            )
        })?;
        if let Some(client) = &passage.client {
            client.set_apart();
            *client.log_level.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(level);
            // A service's own route speaks for the service, so that its logs come without a call before them.
            if let Route::Service(name) = &client.route {
                let view = self.view(&passage.principal.tenant);
                let service = Arc::clone(view.service(name.as_str())?);
                let opening = service.places.iter().map(|place| self.session_for(Some(client), place));
                let _ = tokio::time::timeout(self.settings.list_budget, join_all(opening)).await;
            }
            let sessions = client.upstreams();
            join_all(sessions.iter().map(|session| tell_level(client, session))).await;
        }
        Ok(Reply::own(result_response(message.id().unwrap_or("null"), "{}")))
    }

    /// A notification or an answer of the client.
    pub(super) async fn note(&self, message: &Message, client: &Arc<Client>) {
        if message.shape() == Shape::Response {
            let asked = message.id_number().and_then(|id| client.answered(id));
            let Some(asked) = asked else {
                tracing::debug!("a client answered a question that is not open; the answer is dropped");
                return;
            };
            let answer = message.with_id(asked.raw_id).apply(message.bytes());
            if let Err(error) = asked.session.notify(answer).await {
                tracing::info!(%error, "an answer did not reach the server that asked");
            }
            return;
        }
        match message.method() {
            Some(Method::Initialized) => {}
            Some(Method::Cancelled) => cancel(message, client),
            _ => {
                for session in client.upstreams() {
                    if let Err(error) = session.notify(message.bytes().clone()).await {
                        tracing::info!(%error, method = shown_method(message), "a notification did not reach a server");
                    }
                }
            }
        }
    }

    /// Opens the client's stream, and the streams of its servers that feed it.
    pub(super) fn listen(self: &Arc<Self>, client: &Arc<Client>) -> Reply {
        let mut receiver = client.outbox.attach();
        for session in client.upstreams() {
            self.overhear(client, &session);
        }
        let messages = stream::poll_fn(move |context| receiver.poll_recv(context)).boxed();
        Reply::Stream { messages, server: None }
    }

    /// Makes a new session with a server part of the client's: level, stream.
    pub(super) async fn adopt(
        self: &Arc<Self>,
        client: &Arc<Client>,
        session: &Arc<Session>,
        transport: TransportType,
    ) {
        tell_level(client, session).await;
        // Elsewhere everything arrives anyway; over HTTP a stream costs a connection, so only where somebody listens.
        if transport != TransportType::Http || client.outbox.is_attached() {
            self.overhear(client, session);
        }
    }

    /// Brings what a server says outside of any exchange to the client.
    fn overhear(self: &Arc<Self>, client: &Arc<Client>, session: &Arc<Session>) {
        let relay = Relay { client: Some(Arc::clone(client)), session: Arc::clone(session) };
        let (client, session) = (Arc::clone(client), Arc::clone(session));
        self.tasks.spawn(async move {
            let Some(mut messages) = session.listen().await else { return };
            loop {
                let message = tokio::select! {
                    () = client.ended.cancelled() => return,
                    message = messages.next() => message,
                };
                let Some(message) = message else { return };
                if is_list_change(&message) && client.route == Route::All {
                    // The merged lists change when discovery has seen the change, and it says so itself.
                    continue;
                }
                match relay.hear(&message, None) {
                    Heard::Message(message) => client.tell(message),
                    Heard::Return(message) => {
                        if session.notify(message).await.is_err() {
                            return;
                        }
                    }
                    Heard::Nothing => {}
                }
            }
        });
    }

    pub(super) async fn end_session(&self, client: &Arc<Client>) {
        self.sessions.remove(client);
        client.end().await;
    }
}

pub(super) fn is_list_change(message: &Message) -> bool {
    matches!(message.method(), Some(Method::ToolsChanged | Method::ResourcesChanged | Method::PromptsChanged))
}

async fn tell_level(client: &Client, session: &Session) {
    let level = client.log_level.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    let Some(level) = level.filter(|_| session.declares("logging")) else { return };
    let params = format!(r#"{{"level":{}}}"#, quote(&level));
    if let Err(error) = session.ask(&Method::SetLevel, Some(&params), std::time::Duration::from_secs(5)).await
    {
        tracing::info!(%error, "a server did not take the log level");
    }
}

/// Cancels the request that the client names; the server hears of it from the request itself.
fn cancel(message: &Message, client: &Client) {
    let params = message.params().and_then(|params| Members::parse(params).ok());
    let named = params.as_ref().and_then(|params| Some((params.get("requestId")?, params.get("reason"))));
    if !named.is_some_and(|(raw_id, reason)| client.cancel(raw_id, reason)) {
        tracing::debug!("a client cancelled a request that is not under way");
    }
}

/// The server's own words with the version that was agreed with this client.
fn with_version(said: &str, negotiated: &str) -> String {
    let replaced = || {
        let members = Members::parse(said).ok()?;
        let mut splice = Splice::new();
        splice.replace(range_in(said, members.get("protocolVersion")?), quote(negotiated));
        String::from_utf8(splice.apply(said.as_bytes()).to_vec()).ok()
    };
    replaced().unwrap_or_else(|| said.to_owned())
}
