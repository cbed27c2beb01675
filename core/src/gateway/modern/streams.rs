//! The sources for listening clients: a stream of each modern server, sessions of the pool with legacy ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, BoxStream, SelectAll};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Core;
use crate::gateway::call::context::CallContext;
use crate::gateway::routing::service::{Replica, Service};
use crate::gateway::session::pool::Borrowed;
use crate::gateway::upstream::era_negotiator::hello;
use crate::model::{CapabilityKind, Endpoint};
use crate::rpc::envelope::quote;
use crate::rpc::{Members, Message, Method, Shape};
use crate::select::PickRequest;
use crate::tasks::Tasks;
use crate::transport::{Exchange, Outgoing, Session};

/// How long a server may take to accept a subscription.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long an acknowledgement waits for a server that is to notify of its lists.
const SOON: Duration = Duration::from_secs(2);

/// Subscriptions that one request waits for at one server at once.
const AT_ONCE: usize = 8;

/// Messages of a server; `None` when no more will come.
pub(super) type Heard = BoxStream<'static, Option<Message>>;

/// The member of a filter for these resources, raw.
pub(super) fn resources(uris: &BTreeSet<String>) -> String {
    let uris: Vec<_> = uris.iter().map(|uri| quote(uri)).collect();
    format!(r#""resourceSubscriptions":[{}]"#, uris.join(","))
}

/// A server's notifications of its lists; `wanted` are raw members of a filter. Returns once the server's stream is open, since
/// a change after the acknowledgement must not be missed; but no server is waited for longer than [`SOON`].
pub(super) async fn of_lists(
    gateway: Arc<Core>,
    replica: Replica,
    pooled: Borrowed,
    wanted: String,
) -> Heard {
    let opening = async move {
        let replica = gateway.own_way(&replica, &pooled.principal).ok()?;
        if let Ok(Some(session)) = gateway.session_across(&replica).await {
            let opened = across(&session, &gateway.tasks, &format!("{{{wanted}}}")).await;
            return opened.ok().map(|(_, heard)| heard);
        }
        // The shared session gets most of them, too. But some legacy servers notify of changes only the sessions in which they
        // came about.
        let session = gateway.session_for(Some(&pooled), &replica, None).await.ok()?;
        if !session.is_own() {
            return None;
        }
        let (opening, opened) = oneshot::channel();
        let heard = followed(gateway.hear(&session, &pooled.hello.capabilities, Some(opening)));
        // Nothing is sent on the channel; it ends.
        let _ = opened.await;
        Some(heard)
    };
    let nothing = || stream::pending().boxed();
    let mut opening = opening.boxed();
    match tokio::time::timeout(SOON, &mut opening).await {
        Ok(heard) => heard.unwrap_or_else(nothing),
        Err(_) => stream::once(opening).flat_map(move |heard| heard.unwrap_or_else(nothing)).boxed(),
    }
}

impl Core {
    /// Subscribes to resources and adds their notifications to `heard`; returns the resources of which servers will notify.
    pub(super) async fn subscribe(
        self: &Arc<Self>,
        route: &Endpoint,
        wanted: BTreeSet<String>,
        context: &CallContext,
        heard: &mut SelectAll<Heard>,
    ) -> Result<BTreeSet<String>> {
        let view = self.router.view_for(&context.principal);
        let mut by_service: BTreeMap<_, (Arc<Service>, BTreeSet<String>)> = BTreeMap::new();
        for uri in wanted {
            let service = view.service_at(route)?.or_else(|| view.service_of_resource(&uri));
            if let Some(service) = service.filter(|service| service.shows(CapabilityKind::Resource, &uri)) {
                let entry = by_service.entry(service.name.clone());
                entry.or_insert_with(|| (Arc::clone(service), BTreeSet::new())).1.insert(uri);
            }
        }
        let subscribing = by_service.into_values().map(|(service, uris)| async move {
            let told = self.subscribe_across(&service, &uris, context).await;
            if told.is_empty() { self.subscribe_below(&service, uris, context).await } else { told }
        });
        let mut granted = BTreeSet::new();
        for (uris, messages) in join_all(subscribing).await.into_iter().flatten() {
            granted.extend(uris);
            heard.push(messages);
        }
        Ok(granted)
    }

    /// At a modern service every replica is asked: any of them may see the change. Nothing, if none is modern.
    async fn subscribe_across(
        self: &Arc<Self>,
        service: &Service,
        uris: &BTreeSet<String>,
        context: &CallContext,
    ) -> Vec<(Vec<String>, Heard)> {
        let filter = format!("{{{}}}", resources(uris));
        let asking = service.replicas.iter().map(|replica| async {
            let replica = self.own_way(replica, &context.principal).ok()?;
            let session = self.session_across(&replica).await.ok()??;
            across(&session, &self.tasks, &filter).await.ok()
        });
        let asked = tokio::time::timeout(PATIENCE, join_all(asking)).await.unwrap_or_default();
        asked.into_iter().flatten().collect()
    }

    /// At a legacy service, one by one; a subscription that a server does not accept in time is not granted.
    async fn subscribe_below(
        self: &Arc<Self>,
        service: &Service,
        uris: BTreeSet<String>,
        context: &CallContext,
    ) -> Vec<(Vec<String>, Heard)> {
        let asking = stream::iter(uris)
            .map(|uri| async move { (self.subscribe_at(service, &uri, context).await, uri) })
            .buffer_unordered(AT_ONCE);
        let mut asking = std::pin::pin!(asking.take_until(tokio::time::sleep(PATIENCE)));
        let mut told = Vec::new();
        while let Some((outcome, uri)) = asking.next().await {
            match outcome {
                Ok(messages) => told.push((vec![uri], messages)),
                Err(error) => tracing::debug!(%error, "a resource cannot be subscribed to"),
            }
        }
        told
    }

    /// Subscribes to a resource at a legacy server, once for all listeners in the same session.
    async fn subscribe_at(
        self: &Arc<Self>,
        service: &Service,
        uri: &str,
        context: &CallContext,
    ) -> Result<Heard> {
        let unavailable = || Error::new(ErrorKind::Unavailable, "no session with the server");
        let (_lease, replica) =
            service.pick(None, &PickRequest { key: None, exclude: &[] }, self.clock.now())?;
        let modern = context.modern.as_ref().ok_or_else(unavailable)?;
        let client = self.pooled(&context.principal, modern)?;
        client.set_apart();
        let replica = self.own_way(replica, &context.principal)?;
        let opening = self.session_for(Some(client), &replica, Some(&context.correlation_id));
        let opening = tokio::time::timeout(PATIENCE, opening).await;
        let session = opening.map_err(|_| unavailable())??;
        let messages = followed(self.hear(&session, &client.hello.capabilities, None));
        let first = self.modern.ears.want(&session, uri);
        let subscribed =
            Subscribed { gateway: Arc::clone(self), session, uri: uri.to_owned(), _pooled: client.clone() };
        if first {
            let params = format!(r#"{{"uri":{}}}"#, quote(uri));
            let asked = subscribed.session.ask(&Method::ResourcesSubscribe, Some(&params), PATIENCE).await?;
            if asked.error().is_some() {
                return Err(Error::new(ErrorKind::InvalidParams, "the server refused the subscription"));
            }
        }
        Ok(kept(messages, subscribed))
    }
}

/// A subscription at a legacy server that ends when nobody wants it any more.
struct Subscribed {
    gateway: Arc<Core>,
    session: Arc<Session>,
    uri: String,
    _pooled: Borrowed,
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        if self.gateway.modern.ears.leave(&self.session, &self.uri) && self.session.is_open() {
            let (session, params) = (Arc::clone(&self.session), format!(r#"{{"uri":{}}}"#, quote(&self.uri)));
            self.gateway.tasks.spawn(async move {
                let _ = session.ask(&Method::ResourcesUnsubscribe, Some(&params), PATIENCE).await;
            });
        }
    }
}

/// A stream of a modern server, which is notified when nobody reads it any more.
struct Opened {
    session: Arc<Session>,
    id: u64,
    tasks: Tasks,
}

impl Drop for Opened {
    fn drop(&mut self) {
        if self.session.cancels_when_dropped() || !self.session.is_open() {
            return;
        }
        let params = format!(r#"{{"requestId":{}}}"#, self.id);
        let message = Message::request(None, Method::Cancelled.as_str(), Some(&params));
        let session = Arc::clone(&self.session);
        self.tasks.spawn(async move { drop(session.notify(message).await) });
    }
}

/// Opens a stream of a modern server for `filter`, a raw object; returns the resources that it covers, and its messages.
async fn across(session: &Arc<Session>, tasks: &Tasks, filter: &str) -> Result<(Vec<String>, Heard)> {
    let id = session.next_id();
    let params = hello("{}").dress(Some(&format!(r#"{{"notifications":{filter}}}"#)))?;
    let body = Message::request(Some(id), Method::Listen.as_str(), Some(&params));
    let outgoing = Outgoing {
        id,
        method: Method::Listen,
        body,
        correlation_id: None,
        headers: None,
        pauses: None,
        queued: None,
        call: None,
    };
    let refused = || Error::new(ErrorKind::BadUpstream, "the server does not send notifications of changes");
    let opened = Opened { session: Arc::clone(session), id, tasks: tasks.clone() };
    let opening = async {
        let Exchange::Many(mut messages) = session.request(outgoing).await? else { return Err(refused()) };
        let first = messages.next().await.ok_or_else(refused)??;
        Ok((first, messages))
    };
    let (first, messages) = tokio::time::timeout(PATIENCE, opening).await.map_err(|_| refused())??;
    if first.method() != Some(&Method::Acknowledged) {
        return Err(refused());
    }
    let granted = || {
        let granted = Members::parse(Members::parse(first.params()?).ok()?.get("notifications")?).ok()?;
        serde_json::from_str(granted.get("resourceSubscriptions")?).ok()
    };
    let messages =
        messages.map(|message| message.ok().filter(|message| message.shape() == Shape::Notification));
    let ended = stream::once(std::future::ready(None));
    Ok((granted().unwrap_or_default(), kept(messages.chain(ended).boxed(), opened)))
}

/// The same messages; `with` lasts as long as they do.
fn kept<T: Send + 'static>(messages: Heard, with: T) -> Heard {
    stream::unfold((messages, with), |(mut messages, with)| async move {
        Some((messages.next().await?, (messages, with)))
    })
    .boxed()
}

/// The messages of a session; `None` when it has ended.
fn followed(receiver: Receiver<Message>) -> Heard {
    stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        loop {
            match receiver.recv().await {
                Ok(message) => return Some((Some(message), Some(receiver))),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Some((None, None)),
            }
        }
    })
    .boxed()
}
