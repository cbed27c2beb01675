//! `subscriptions/listen`: a stream that a client holds open to be notified of lists and resources that change.
//!
//! Lists change when discovery has seen it, or when a server notifies of it in a stream (`streams.rs`), as it does for
//! resources. Changes that come faster than ten times a second are sent once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::{self, SelectAll};
use serde::Deserialize;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc;

use super::streams;
use super::streams::Heard;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Core;
use crate::gateway::call::context::CallContext;
use crate::gateway::call::relay::changed_list;
use crate::gateway::routing::service::Service;
use crate::gateway::session::open_streams::OpenStream;
use crate::gateway::session::outbox::List;
use crate::model::{Endpoint, Reply, ServerId, ServiceName, TenantId};
use crate::rpc::answer::result_response;
use crate::rpc::envelope::quote;
use crate::rpc::{Edit, Members, Message, Method, Splice, meta};

/// Between two notifications of the same kind.
const PERIOD: Duration = Duration::from_millis(100);
/// Resources that one request may name.
const MOST: usize = 256;
/// Messages that wait for a slow reader; further changes are sent later.
const WAITING: usize = 16;
/// How long a client that is behind is waited for with the last message.
const PATIENCE: Duration = Duration::from_secs(10);

/// A list of a service of a tenant changed.
#[derive(Clone, Debug)]
struct ListedChange {
    tenant: TenantId,
    service: ServiceName,
    list: List,
    /// Whether the merged lists have it already; until then only the server reports it.
    merged: bool,
}

/// Notifies the open streams of lists that changed.
#[derive(Debug)]
pub(crate) struct Changes(broadcast::Sender<ListedChange>);

impl Default for Changes {
    fn default() -> Self {
        Self(broadcast::channel(256).0)
    }
}

impl Changes {
    /// Notifies all streams; `merged`: the merged lists have the change.
    pub(crate) fn tell(&self, tenant: &TenantId, service: &ServiceName, list: List, merged: bool) {
        // Perhaps nobody listens.
        let _ = self.0.send(ListedChange { tenant: tenant.clone(), service: service.clone(), list, merged });
    }

    /// Whether nobody listens.
    pub(crate) fn are_unheard(&self) -> bool {
        self.0.receiver_count() == 0
    }
}

/// The changes that a client asks for, and those that it is granted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ListenFilter {
    tools_list_changed: bool,
    prompts_list_changed: bool,
    resources_list_changed: bool,
    resource_subscriptions: BTreeSet<String>,
}

impl ListenFilter {
    fn of(message: &Message) -> Result<Self> {
        let raw = message.params_members()?.get("notifications");
        let raw = raw.ok_or_else(|| {
            Error::new(ErrorKind::InvalidParams, "`params` must have a member `notifications`")
        })?;
        let object = raw.starts_with('{').then(|| serde_json::from_str(raw).ok()).flatten();
        let filter: Self = object.ok_or_else(|| {
            let message = "`params.notifications` must be an object of booleans, and of strings in `resourceSubscriptions`";
            Error::new(ErrorKind::InvalidParams, message)
        })?;
        if filter.resource_subscriptions.len() > MOST {
            let message = "`resourceSubscriptions` names more resources than one stream may";
            return Err(Error::new(ErrorKind::TooLarge, message).with("limit", MOST));
        }
        Ok(filter)
    }

    fn wants(&self, list: List) -> bool {
        match list {
            List::Tools => self.tools_list_changed,
            List::Resources => self.resources_list_changed,
            List::Prompts => self.prompts_list_changed,
        }
    }

    /// Keeps only the lists of whose changes a server declares to notify; `said` are their `initialize` results.
    fn keep_lists<'a>(&mut self, said: impl Iterator<Item = &'a str>) {
        let (mut tools, mut prompts, mut resources) = (false, false, false);
        for said in said {
            let capabilities =
                Members::parse(said).ok().and_then(|said| Members::parse(said.get("capabilities")?).ok());
            let tells = |name| {
                let of = capabilities.as_ref().and_then(|all| Members::parse(all.get(name)?).ok());
                of.is_some_and(|of| of.get("listChanged") == Some("true"))
            };
            tools |= tells("tools");
            prompts |= tells("prompts");
            resources |= tells("resources");
        }
        self.tools_list_changed &= tools;
        self.prompts_list_changed &= prompts;
        self.resources_list_changed &= resources;
    }

    /// The members for lists, raw.
    fn lists(&self) -> String {
        let lists = [
            (self.tools_list_changed, r#""toolsListChanged":true"#),
            (self.prompts_list_changed, r#""promptsListChanged":true"#),
            (self.resources_list_changed, r#""resourcesListChanged":true"#),
        ];
        let wanted: Vec<_> =
            lists.into_iter().filter(|(wanted, _)| *wanted).map(|(_, member)| member).collect();
        wanted.join(",")
    }

    fn acknowledgement(&self) -> String {
        let mut members = self.lists();
        if !self.resource_subscriptions.is_empty() {
            if !members.is_empty() {
                members.push(',');
            }
            members.push_str(&streams::resources(&self.resource_subscriptions));
        }
        format!("{{{members}}}")
    }
}

/// Changes that were not sent yet.
#[derive(Debug, Default)]
struct Due {
    lists: [bool; 3],
    resources: BTreeMap<String, Message>,
}

impl Due {
    fn is_empty(&self) -> bool {
        !self.lists.contains(&true) && self.resources.is_empty()
    }

    fn list(&mut self, list: List, filter: &ListenFilter) {
        self.lists[list as usize] |= filter.wants(list);
    }

    /// Takes a server's notification in, if the client asked for it.
    fn take(&mut self, message: Message, filter: &ListenFilter) {
        match message.method() {
            Some(Method::ResourceUpdated) => {
                let uri =
                    message.params_members().ok().and_then(|params| params.text("uri").map(String::from));
                let wanted =
                    |uri: &String| filter.resource_subscriptions.iter().any(|own| is_part_of(uri, own));
                if let Some(uri) = uri.filter(wanted) {
                    self.resources.insert(uri, message);
                }
            }
            _ => {
                if let Some(list) = changed_list(&message) {
                    self.list(list, filter);
                }
            }
        }
    }

    /// The messages for all these changes, for the subscription `id`.
    fn told(self, id: &str) -> Vec<Bytes> {
        let lists = List::ALL.into_iter().filter(|list| self.lists[*list as usize]);
        let lists = lists.filter_map(|list| Message::parse(list.notification()).ok());
        lists.chain(self.resources.into_values()).filter_map(|message| tagged(&message, id).ok()).collect()
    }
}

/// Whether `uri` is `whole`, or a part of it: "this MAY be a sub-resource of the one that the client actually subscribed to".
fn is_part_of(uri: &str, whole: &str) -> bool {
    let parts = |rest: &str| rest.is_empty() || whole.ends_with('/') || rest.starts_with(['/', '?', '#']);
    uri.strip_prefix(whole).is_some_and(parts)
}

/// The notification with the subscription that it belongs to.
fn tagged(message: &Message, id: &str) -> Result<Bytes> {
    let mut splice = Splice::new();
    if let Some(params) = message.params() {
        let mut edit = Edit::of(params)?;
        meta::set(&mut edit, &[(meta::SUBSCRIPTION_ID, id)])?;
        edit.write(&mut splice, message.range_of(params).start);
    } else {
        let mut edit = Edit::of(message.text())?;
        edit.set("params", format!(r#"{{"_meta":{}}}"#, meta_of(id)));
        edit.write(&mut splice, 0);
    }
    Ok(splice.apply(message.bytes()))
}

fn meta_of(id: &str) -> String {
    format!("{{{}:{id}}}", quote(meta::SUBSCRIPTION_ID))
}

/// An open stream.
struct Listening {
    gateway: Arc<Core>,
    id: Box<str>,
    filter: ListenFilter,
    tenant: TenantId,
    route: Endpoint,
    changes: broadcast::Receiver<ListedChange>,
    heard: SelectAll<Heard>,
    sender: mpsc::Sender<Bytes>,
    context: CallContext,
    open: OpenStream,
}

impl Core {
    /// Notifies the streams of its service that a server reports a changed list.
    pub(crate) fn tell_change(&self, server: ServerId, list: List) {
        if self.modern.changes.are_unheard() {
            return;
        }
        if let Some(replica) = self.replica(server) {
            self.modern.changes.tell(&replica.server.tenant_id, &replica.server.service, list, false);
        }
    }

    /// Opens the stream of a `subscriptions/listen` request.
    ///
    /// [`ErrorKind::MediaType`] if the client takes no stream; errors for a request that cannot be read.
    pub(super) async fn listen_modern(
        self: &Arc<Self>,
        route: &Endpoint,
        message: &Message,
        context: CallContext,
    ) -> Result<Reply> {
        if !context.streams {
            let message = "the answer is a stream: send `Accept: application/json, text/event-stream`";
            return Err(Error::new(ErrorKind::MediaType, message));
        }
        let mut filter = ListenFilter::of(message)?;
        let open = self.open_stream(&context.principal)?;
        let changes = self.modern.changes.0.subscribe();
        let tenant = context.principal.tenant.clone();
        let view = self.router.view_for(&context.principal);
        let mut heard = SelectAll::new();
        if let Some(service) = view.service_at(route)?.map(Arc::clone) {
            filter.keep_lists(
                service.replicas.iter().filter_map(|replica| replica.listing.initialize.as_deref()),
            );
            if List::ALL.into_iter().any(|list| filter.wants(list)) {
                heard.extend(self.lists_of(&service, &filter, &context).await?);
            }
        }
        let wanted = std::mem::take(&mut filter.resource_subscriptions);
        filter.resource_subscriptions = self.subscribe(route, wanted, &context, &mut heard).await?;
        let id: Box<str> = message.id().unwrap_or("null").into();
        let params = format!(r#"{{"_meta":{},"notifications":{}}}"#, meta_of(&id), filter.acknowledgement());
        let first = Message::request(None, Method::Acknowledged.as_str(), Some(&params));
        let (sender, mut receiver) = mpsc::channel(WAITING);
        let listening = Listening {
            gateway: Arc::clone(self),
            id,
            filter,
            tenant,
            route: route.clone(),
            changes,
            heard,
            sender,
            context,
            open,
        };
        self.tasks.spawn(listening.run());
        let rest = stream::poll_fn(move |context| receiver.poll_recv(context));
        let messages = stream::once(std::future::ready(first)).chain(rest).boxed();
        Ok(Reply::Stream { messages, server: None, numbering: None })
    }

    /// The streams of a service's servers for the lists that the client asked for.
    async fn lists_of(
        self: &Arc<Self>,
        service: &Service,
        filter: &ListenFilter,
        context: &CallContext,
    ) -> Result<Vec<Heard>> {
        let wanted = filter.lists();
        let modern = context.modern.as_ref();
        let pooled = modern.map(|modern| self.pooled(&context.principal, modern)).transpose()?.cloned();
        let opening = service.replicas.iter().cloned().zip(pooled.into_iter().cycle());
        let opening = opening
            .map(|(replica, pooled)| streams::of_lists(Arc::clone(self), replica, pooled, wanted.clone()));
        Ok(join_all(opening).await)
    }
}

impl Listening {
    async fn run(mut self) {
        let mut due = Due::default();
        let mut pause = std::pin::pin!(tokio::time::sleep(Duration::ZERO));
        let ending = self.gateway.modern.ending.clone();
        loop {
            tokio::select! {
                biased;
                () = self.sender.closed() => return,
                () = ending.cancelled() => break,
                () = self.context.cancel().cancelled() => break,
                () = self.open.ended() => break,
                () = &mut pause, if !due.is_empty() => {
                    for message in std::mem::take(&mut due).told(&self.id) {
                        if self.sender.send(message).await.is_err() {
                            return;
                        }
                    }
                    pause.set(tokio::time::sleep(PERIOD));
                }
                change = self.changes.recv() => match change {
                    Ok(change) if self.concerns(&change) => due.list(change.list, &self.filter),
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => {
                        for list in List::ALL {
                            due.list(list, &self.filter);
                        }
                    }
                    Err(RecvError::Closed) => break,
                },
                Some(message) = self.heard.next() => match message {
                    Some(message) => due.take(message, &self.filter),
                    // A session ended, and with it its subscriptions: the client begins anew.
                    None => break,
                },
            }
        }
        let result = format!(r#"{{"resultType":"complete","_meta":{}}}"#, meta_of(&self.id));
        let last = result_response(&self.id, &result);
        let _ = tokio::time::timeout(PATIENCE, self.sender.send(last)).await;
    }

    fn concerns(&self, change: &ListedChange) -> bool {
        let seen = || {
            let principal = &self.context.principal;
            self.gateway.router.with_view(principal, |view| {
                // The removal of a service concerns callers that see everything.
                view.services.contains_key(&change.service) || view.is_whole_for(principal)
            })
        };
        change.tenant == self.tenant
            && self.route.covers(&change.service)
            && (change.merged || !self.route.is_aggregated())
            && seen()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: &str) -> Message {
        Message::parse(Bytes::copy_from_slice(json.as_bytes())).unwrap()
    }

    #[test]
    fn a_part_of_what_was_subscribed_to_is_told_and_a_longer_name_is_not() {
        for (uri, whole) in
            [("x://a", "x://a"), ("x://a/b", "x://a"), ("x://a/b", "x://a/"), ("x://a#b", "x://a")]
        {
            assert!(is_part_of(uri, whole), "{uri} {whole}");
        }
        assert!(!is_part_of("x://ab", "x://a"));
        assert!(!is_part_of("x://a", "x://a/"));
    }

    #[test]
    fn only_what_was_granted_is_told_once_each_and_under_the_subscriptions_id() {
        let mut filter = ListenFilter {
            tools_list_changed: true,
            prompts_list_changed: true,
            resource_subscriptions: BTreeSet::from(["x://a".to_owned()]),
            ..ListenFilter::default()
        };
        filter.keep_lists([r#"{"capabilities":{"tools":{"listChanged":true},"prompts":{}}}"#].into_iter());
        assert_eq!(
            filter.acknowledgement(),
            r#"{"toolsListChanged":true,"resourceSubscriptions":["x://a"]}"#
        );
        let mut due = Due::default();
        for _ in 0..1000 {
            for text in [
                r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#,
                r#"{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}"#,
                r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"x://a","v":1.0}}"#,
                r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"x://b"}}"#,
            ] {
                due.take(message(text), &filter);
            }
        }
        let told = due.told("\"s\"");
        assert_eq!(told.len(), 2);
        assert_eq!(
            told[0],
            concat!(
                r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed","#,
                r#""params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"s"}}}"#
            )
        );
        assert_eq!(
            told[1],
            concat!(
                r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"x://a","v":1.0,"#,
                r#""_meta":{"io.modelcontextprotocol/subscriptionId":"s"}}}"#
            )
        );
    }

    #[test]
    fn a_filter_of_the_wrong_form_is_refused() {
        for params in ["{}", r#"{"notifications":{"toolsListChanged":1}}"#, r#"{"notifications":[]}"#] {
            let text =
                format!(r#"{{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{params}}}"#);
            assert_eq!(
                ListenFilter::of(&message(&text)).unwrap_err().kind(),
                ErrorKind::InvalidParams,
                "{params}"
            );
        }
    }
}
