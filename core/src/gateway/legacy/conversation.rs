//! The traffic of a session besides requests: introduction, log level, notifications, answers, the stream.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::time::error::Elapsed;

use super::opening::tell_level;
use crate::auth::Operation;
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::gateway::Core;
use crate::gateway::call::builtin;
use crate::gateway::call::context::CallContext;
use crate::gateway::call::relay::{TAKING, client_progress};
use crate::gateway::routing::names;
use crate::gateway::routing::names::shown_method;
use crate::gateway::routing::service::Service;
use crate::gateway::session::client::Client;
use crate::model::{Endpoint, Principal, Reply};
use crate::rpc::answer::result_response;
use crate::rpc::envelope::quote;
use crate::rpc::meta::LOG_LEVELS;
use crate::rpc::object::range_in;
use crate::rpc::{Members, Message, Method, Shape, Splice};
use crate::tasks::awaited::promise;
use crate::transport::Session;

impl Core {
    /// The `initialize` result: for a service that of its server, for the aggregated route the gateway's own.
    pub(crate) async fn introduction(
        self: &Arc<Self>,
        route: &Endpoint,
        negotiated: &str,
        principal: &Principal,
    ) -> Result<String> {
        let Some(name) = route.service() else {
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
        let view = self.router.view_for(principal);
        if view.is_own(route, principal) {
            return Ok(builtin::introduction(negotiated));
        }
        let service = view.service(name.as_str())?;
        if let Some(said) = service.initialize() {
            return Ok(with_version(said, negotiated));
        }
        let mut asking: FuturesUnordered<_> =
            service.unheard().map(|replica| self.discover_now(replica.server.id)).collect();
        // This error needs action, so the client's user is told of it; all others may pass.
        let mut needed = None;
        let first = async {
            while let Some(Err(error)) = asking.next().await {
                needed = Some(error)
                    .filter(|error| *error.cause() == Cause::AuthorizationRequired)
                    .or(needed.take());
            }
        };
        // Enough time for a server that starts only now; the client's own timeout ends about here too.
        let _ = self.while_starting(service, first).await;
        let view = self.router.view_for(principal);
        let service = view.service(name.as_str())?;
        let may_read = principal.may(Operation::ServersDiagnose).is_ok();
        let unheard = || self.unheard(&service.replicas, may_read);
        let said = service
            .initialize()
            .ok_or_else(|| needed.unwrap_or_else(unheard).with("service", names::shown(name.as_str())))?;
        Ok(with_version(said, negotiated))
    }

    /// Waits for the first answer of a service: within the budget for introductions, and for a program that is still starting
    /// then as long as its calls would.
    async fn while_starting(
        &self,
        service: &Service,
        first: impl Future<Output = ()>,
    ) -> Result<(), Elapsed> {
        let mut first = std::pin::pin!(first);
        let budget = self.settings.introduction_budget;
        if tokio::time::timeout(budget, &mut first).await.is_ok() {
            return Ok(());
        }
        let starting = service.unheard().filter(|replica| replica.upstream.starting().is_some());
        let wait = starting.map(|replica| replica.server.configuration.timeout).max().unwrap_or_default();
        tokio::time::timeout(wait.saturating_sub(budget), first).await
    }

    /// Has the servers of a service that were only met in the modern era say how they introduce themselves to legacy clients, if
    /// they do: now one wants to know.
    pub(crate) async fn meet_as_legacy(self: &Arc<Self>, route: &Endpoint, principal: &Principal) {
        let Some(name) = route.service() else { return };
        let view = self.router.view(&principal.tenant);
        let Ok(service) = view.service(name.as_str()) else { return };
        let strangers = service.replicas.iter().filter(|replica| replica.upstream.want_legacy());
        let asking: Vec<_> = strangers.map(|replica| self.discover_afresh(replica.server.id)).collect();
        if !asking.is_empty() {
            // Failures have been logged, and an answer that comes too late is there for the next client.
            let _ = tokio::time::timeout(self.settings.introduction_budget, join_all(asking)).await;
        }
    }

    /// Remembers the level for this client, and sends it to the servers with which the client has sessions.
    pub(crate) async fn set_level(
        self: &Arc<Self>,
        message: &Message,
        context: &CallContext,
    ) -> Result<Reply> {
        let level = message.params_members()?.text("level").map(std::borrow::Cow::into_owned);
        let level = level.filter(|level| LOG_LEVELS.contains(&level.as_str())).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidParams,
                format!("`params.level` must be one of {}", LOG_LEVELS.join(", ")),
            )
        })?;
        if let Some(client) = &context.client {
            let cause = &context.correlation_id;
            client.set_apart();
            *client.log_level.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(level);
            // A service's own route speaks for the service, so that its logs come without a call before them.
            let view = self.router.view_for(&context.principal);
            if let Some(service) = view.service_at(&client.route)? {
                let service = Arc::clone(service);
                let opening = service.replicas.iter().map(|replica| async move {
                    let replica = self.own_way(replica, &context.principal)?;
                    self.session_for(Some(client), &replica, Some(cause)).await
                });
                let _ = tokio::time::timeout(self.settings.list_budget, join_all(opening)).await;
            }
            let sessions = client.upstreams();
            join_all(sessions.iter().map(|(_, session)| tell_level(client, session, Some(cause)))).await;
        }
        Ok(Reply::own(result_response(message.id().unwrap_or("null"), "{}")))
    }

    /// A notification or an answer of the client.
    pub(crate) async fn note(&self, message: &Message, client: &Arc<Client>, correlation_id: &Arc<str>) {
        let to = if message.shape() == Shape::Response {
            let asked = message.id_number().and_then(|id| client.questions.take(id));
            let Some(asked) = asked else {
                tracing::debug!(
                    correlation_id = &**correlation_id,
                    "a client answered a question that is not open; the answer is dropped"
                );
                return;
            };
            vec![(asked.session, message.with_id(&*asked.raw_id).apply(message.bytes()))]
        } else {
            match message.method() {
                Some(Method::Initialized) => return,
                Some(Method::Cancelled) => return cancel(message, client),
                // Progress belongs to the one server that asked for it.
                Some(Method::Progress) => client_progress(message, client).into_iter().collect(),
                _ => {
                    let all = client.upstreams().into_iter();
                    all.map(|(_, session)| (session, message.bytes().clone())).collect()
                }
            }
        };
        self.deliver(to, shown_method(message), Arc::clone(correlation_id)).await;
    }

    /// Delivers messages to servers, all at once, also if the client does not wait for it.
    async fn deliver(&self, to: Vec<(Arc<Session>, Bytes)>, method: String, correlation_id: Arc<str>) {
        if to.is_empty() {
            return;
        }
        let (promise, done) = promise();
        self.tasks.spawn(async move {
            let correlation_id = &*correlation_id;
            let bringing = to.into_iter().map(async |(session, message)| {
                match tokio::time::timeout(TAKING, session.notify(message)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        tracing::info!(correlation_id, %error, method, "a client's message did not reach a server");
                    }
                    Err(_) => tracing::info!(correlation_id, method, "a server did not take a client's message in time"),
                }
            });
            join_all(bringing).await;
            promise.keep(Ok(()));
        });
        // It fails only when the gateway stops.
        let _ = done.outcome().await;
    }

    /// Opens the client's stream, and the streams of its servers that feed it.
    pub(crate) fn listen(self: &Arc<Self>, client: &Arc<Client>) -> Reply {
        let messages = client.outbox.attach().boxed();
        for (server, session) in client.upstreams() {
            self.overhear(client, server, &session, None);
        }
        Reply::Stream { messages, server: None, numbering: None }
    }

    /// Ends a client's session. The end is completed also if no caller waits for it.
    pub(crate) async fn end_session(&self, client: &Arc<Client>) {
        self.sessions.remove(client);
        client.ended.cancel();
        let (ending, directory) = (Arc::clone(client), Arc::clone(&self.cluster.sessions));
        let (promise, done) = promise();
        self.tasks.spawn_to_end(async move {
            ending.end().await;
            // The sessions that are pooled for modern clients have no id.
            if !ending.id.is_empty() {
                directory.release(&ending.id).get().await;
            }
            promise.keep(Ok(()));
        });
        // It fails only when the runtime goes.
        let _ = done.outcome().await;
    }
}

/// The rest of the stream of one of the client's calls.
///
/// [`ErrorKind::InvalidRequest`] for an id that the client was not given, or after which nothing is kept any more.
pub(crate) fn take_up(client: &Client, id: &str) -> Result<Reply> {
    let (messages, numbering) = client.replays.resume(id).ok_or_else(|| {
        let message =
            "there is nothing behind this Last-Event-ID: the stream is over, or was never this session's";
        Error::new(ErrorKind::InvalidRequest, message)
    })?;
    Ok(Reply::Stream { messages: messages.boxed(), server: None, numbering: Some(numbering) })
}

/// Cancels the request that the client names; the server is notified of it by the request itself.
fn cancel(message: &Message, client: &Client) {
    let params = message.params().and_then(|params| Members::parse(params).ok());
    let named = params.as_ref().and_then(|params| Some((params.get("requestId")?, params.get("reason"))));
    if !named.is_some_and(|(raw_id, reason)| client.cancel(raw_id, reason)) {
        tracing::debug!("a client cancelled a request that is not under way");
    }
}

/// The server's own introduction with the version that was negotiated with this client.
fn with_version(said: &str, negotiated: &str) -> String {
    let replaced = || {
        let members = Members::parse(said).ok()?;
        let mut splice = Splice::new();
        splice.replace(range_in(said, members.get("protocolVersion")?), quote(negotiated));
        String::from_utf8(splice.apply(said.as_bytes()).to_vec()).ok()
    };
    replaced().unwrap_or_else(|| said.to_owned())
}
