//! The merged lists of the aggregated route: the items that discovery found, under full names, in the order of service names.
//!
//! A server that has never answered is asked now, all such servers at once, within the list budget; one whose breaker is open
//! is not. A service that did not answer is named in `_meta`, and neither empties nor delays the list of another. Right after the
//! start the items that were stored are served at once, marked as stale, while their servers are asked.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, join_all, select};
use tokio_util::sync::CancellationToken;

use super::names;
use super::service::{Replica, Service};
use super::snapshot::View;
use crate::breaker::BreakerState;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Core;
use crate::model::{Capability, CapabilityKind, Endpoint, HealthStatus, Principal, ServerId, ServiceName};
use crate::rpc::envelope::quote;
use crate::rpc::object::range_in;
use crate::rpc::{Edit, Members, Splice};
use crate::select::ReplicaState;

/// The key in `_meta` under which a list names the services that did not answer.
const UNAVAILABLE: &str = "io.github.mcp-registry-gateway/unavailable";
/// The key in `_meta` under which a list names the services whose items are those of before the start: they are asked again.
const STALE: &str = "io.github.mcp-registry-gateway/stale";
/// How long the first list after a start waits for other servers once those that were healthy before it have answered.
const AFTER_THE_KNOWN: Duration = Duration::from_millis(100);

impl Core {
    /// Whether the lists of a service are answered from memory, since the caller may not see all of it, or since it is the
    /// gateway's own.
    pub(crate) fn is_veiled(&self, principal: &Principal, service: &ServiceName) -> bool {
        self.router.with_view(principal, |view| {
            view.services.get(service).is_some_and(|service| service.is_veiled())
        }) || service.is_gateway() && self.router.view_for(principal).has_builtin(principal)
    }

    /// The `result` of a list that the gateway answers itself.
    pub(crate) async fn own_list(
        self: &Arc<Self>,
        route: &Endpoint,
        principal: &Principal,
        kind: CapabilityKind,
    ) -> Result<String> {
        let Some(name) = route.service() else { return self.merged_list(principal, kind).await };
        let view = self.router.view_for(principal);
        if view.is_own(route, principal) {
            return Ok(format!(
                r#"{{"{}":[{}]}}"#,
                kind.list_member(),
                self.builtin_items(route, principal, kind)
            ));
        }
        let offers = view.service(name.as_str())?.offers(kind);
        let items: Vec<_> = offers.iter().map(|(_, item)| item.definition.get()).collect();
        Ok(format!(r#"{{"{}":[{}]}}"#, kind.list_member(), items.join(",")))
    }

    /// The `result` of a list on the aggregated route.
    pub(crate) async fn merged_list(
        self: &Arc<Self>,
        principal: &Principal,
        kind: CapabilityKind,
    ) -> Result<String> {
        let silent = self.hear_everyone(principal).await;
        let view = self.router.view_for(principal);
        // The earlier declarations of a silent service count until it answers; no data at all is not an empty list.
        let nothing = || view.services.values().all(|service| service.offers(kind).is_empty());
        if !view.services.is_empty() && silent.len() == view.services.len() && nothing() {
            return Err(Error::new(ErrorKind::Unavailable, "no service answered")
                .with("services", silent.into_iter().collect::<Vec<_>>().join(", "))
                .retry_after(Duration::from_secs(1)));
        }
        let stale = self.stale(&view);
        Ok(render(&view, kind, &self.builtin_items(&Endpoint::all(), principal, kind), &silent, &stale))
    }

    /// Asks every server that has never answered, within the list budget; returns the services that stay silent.
    async fn hear_everyone(self: &Arc<Self>, principal: &Principal) -> BTreeSet<String> {
        let view = self.router.view_for(principal);
        let unheard: Vec<_> =
            view.services.values().filter(|service| service.initialize().is_none()).collect();
        if unheard.is_empty() {
            return BTreeSet::new();
        }
        // The rest of the time is for making the list from the answers.
        let time_limit = self.settings.list_budget.mul_f64(0.95);
        let is_known = |replica: &Replica| replica.server.health_status == HealthStatus::Healthy;
        let answered = view
            .services
            .values()
            .any(|service| service.initialize().is_some() || service.unheard().any(is_known));
        // Right after the start, servers that were not healthy before it do not delay the list of those that were.
        let unheard: Vec<_> = unheard.iter().flat_map(|service| service.unheard()).collect();
        let (awaited, others): (Vec<_>, Vec<_>) = unheard.into_iter().partition(|replica| {
            is_known(replica) || !answered || !self.discoveries.is_first(replica.server.id)
        });
        let cut = CancellationToken::new();
        let hear =
            |replica: &Replica| self.hear_server(replica.server.id, replica.state.clone(), time_limit, &cut);
        let known = std::pin::pin!(join_all(awaited.into_iter().map(hear)));
        let rest = std::pin::pin!(join_all(others.into_iter().map(hear)));
        match select(known, rest).await {
            Either::Left((_, mut rest)) => {
                if tokio::time::timeout(AFTER_THE_KNOWN, rest.as_mut()).await.is_err() {
                    cut.cancel();
                    rest.await;
                }
            }
            Either::Right((_, known)) => drop(known.await),
        }
        let view = self.router.view_for(principal);
        let silent =
            |service: &&Arc<Service>| service.initialize().is_none() && service.unheard().next().is_some();
        view.services.values().filter(silent).map(|service| service.name.to_string()).collect()
    }

    /// Asks one server that has never answered, for as long as a list waits for it.
    async fn hear_server(
        self: &Arc<Self>,
        id: ServerId,
        state: Arc<ReplicaState>,
        time_limit: Duration,
        cut: &CancellationToken,
    ) {
        if state.breaker().state(self.clock.now()) != BreakerState::Closed || self.overdue.has(id) {
            // A query in the background finds out whether it is back; no list waits for that.
            return self.discover_soon(id);
        }
        // The outcome of the query is counted where the query ends, once for all callers that wait for it.
        let is_heard = tokio::select! {
            asked = tokio::time::timeout(time_limit, self.discover_now(id)) => asked.is_ok(),
            () = cut.cancelled() => false,
        };
        if !is_heard && self.overdue.enter(id) {
            let this = Arc::clone(self);
            self.tasks.spawn(async move {
                // It has been logged where it failed.
                let _ = this.discover_now(id).await;
                this.overdue.leave(id);
            });
        }
    }

    /// The services whose items were stored before the start, and have not been confirmed since.
    fn stale(&self, view: &View) -> BTreeSet<String> {
        let stale = |service: &&Arc<Service>| {
            service.replicas.iter().any(|replica| self.discoveries.is_unconfirmed(replica.server.id))
        };
        if self.discoveries.are_confirmed() {
            return BTreeSet::new();
        }
        view.services.values().filter(stale).map(|service| service.name.to_string()).collect()
    }
}

/// The servers that are being asked and have not answered within the budget of a list: no other list waits for them.
#[derive(Debug, Default)]
pub(crate) struct Overdue(Mutex<HashSet<ServerId>>);

impl Overdue {
    fn has(&self, id: ServerId) -> bool {
        self.all().contains(&id)
    }

    /// False if it was entered before.
    fn enter(&self, id: ServerId) -> bool {
        self.all().insert(id)
    }

    fn leave(&self, id: ServerId) {
        self.all().remove(&id);
    }

    fn all(&self) -> MutexGuard<'_, HashSet<ServerId>> {
        // A panic elsewhere cannot leave the set half changed: every change is one insert or remove.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The list as JSON; `own` are the gateway's own items, separated by commas.
fn render(
    view: &View,
    kind: CapabilityKind,
    own: &str,
    silent: &BTreeSet<String>,
    stale: &BTreeSet<String>,
) -> String {
    let items = array(view.list(kind, || items(view, kind)), own);
    let mut out = format!(r#"{{"{}":{items}"#, kind.list_member());
    let marks: Vec<_> = [(UNAVAILABLE, silent), (STALE, stale)]
        .into_iter()
        .filter(|(_, services)| !services.is_empty())
        .map(|(mark, services)| {
            let names: Vec<_> = services.iter().map(|name| quote(name)).collect();
            format!(r#""{mark}":[{}]"#, names.join(","))
        })
        .collect();
    if !marks.is_empty() {
        let _ = write!(out, r#","_meta":{{{}}}"#, marks.join(","));
    }
    out.push('}');
    out
}

/// Both together as an array; items are separated by commas.
pub(crate) fn array(items: &str, more: &str) -> String {
    let comma = if items.is_empty() || more.is_empty() { "" } else { "," };
    format!("[{items}{comma}{more}]")
}

/// The items of a list, separated by commas.
fn items(view: &View, kind: CapabilityKind) -> String {
    let all: Vec<_> = items_of(view, kind).iter().map(Item::render).collect();
    all.join(",")
}

/// An item of a merged list.
pub(crate) struct Item<'a> {
    view: &'a View,
    service: &'a Service,
    capability: &'a Capability,
}

impl<'a> Item<'a> {
    /// The service that has it, and the name there.
    pub(crate) fn key(&self) -> (&'a str, &'a str) {
        (self.service.name.as_str(), &self.capability.name)
    }

    /// The definition under its full name.
    pub(crate) fn render(&self) -> String {
        under_full_name(self.view, self.service, self.capability)
    }
}

/// The items of a merged list, in order.
pub(crate) fn items_of(view: &View, kind: CapabilityKind) -> Vec<Item<'_>> {
    let all = view.services.values().flat_map(|service| {
        service.offers(kind).into_iter().map(move |(_, capability)| Item { view, service, capability })
    });
    if !matches!(kind, CapabilityKind::Resource | CapabilityKind::ResourceTemplate) {
        return all.collect();
    }
    // A resource keeps its URI, so the service that had it first has it for all.
    let mut owners: HashMap<&str, &Service> = HashMap::new();
    let all: Vec<_> = all.collect();
    for item in &all {
        let owner = owners.entry(item.capability.name.as_str()).or_insert(item.service);
        let uri = item.capability.name.as_str();
        if view.rank(item.service, uri) < view.rank(owner, uri) {
            *owner = item.service;
        }
    }
    let mut kept = all;
    kept.retain(|item| {
        owners.get(item.capability.name.as_str()).is_some_and(|owner| owner.name == item.service.name)
    });
    kept
}

/// The definition, byte for byte but for its name. If that is spelled otherwise than the service spells it, the title has the
/// original, for people.
fn under_full_name(view: &View, service: &Service, item: &Capability) -> String {
    let raw = item.definition.get();
    if matches!(item.kind, CapabilityKind::Resource | CapabilityKind::ResourceTemplate) {
        return raw.to_owned();
    }
    let name = view.name_of(service, &item.name);
    if name == names::full(service.name.as_str(), &item.name) {
        return under_name(raw, &name);
    }
    let titled = Edit::of(raw).map(|mut edit| {
        edit.set("name", quote(&name)).set_if_absent("title", quote(&item.name));
        edit.apply()
    });
    titled.unwrap_or_else(|_| under_name(raw, &name))
}

/// A definition under another name, byte for byte but for that.
pub(crate) fn under_name(raw: &str, full: &str) -> String {
    let renamed = || {
        let members = Members::parse(raw).ok()?;
        let name = members.get("name")?;
        let mut splice = Splice::new();
        splice.replace(range_in(raw, name), quote(full));
        String::from_utf8(splice.apply(raw.as_bytes()).to_vec()).ok()
    };
    renamed().unwrap_or_else(|| raw.to_owned())
}
