//! The register at one moment: immutable, so that readers need no lock.

use std::collections::HashMap;
use std::sync::Arc;

use super::drift::Drifted;
use super::query::{Filter, Page};
use super::shards::Shards;
use crate::error::Result;
use crate::model::{Event, Listing, Server, ServerId, TenantId};
use crate::store::HealthRecord;

/// One living server and its listing.
#[derive(Clone, Debug)]
pub struct RegisteredEntry {
    /// The server.
    pub server: Arc<Server>,
    /// The listing; the same allocation until it changes.
    pub listing: Arc<Listing>,
    /// The difference between its definitions and the approved ones, if there is one.
    pub drift: Option<Arc<Drifted>>,
    /// The text that a list's `search` looks into, in lower case: it is made when the server changes, not at every search.
    folded: Arc<str>,
}

impl RegisteredEntry {
    /// The listing that waits for an operator's approval.
    pub fn waiting(&self) -> Option<&Arc<Listing>> {
        self.drift.as_ref()?.waiting.as_ref()
    }
}

type Names = Vec<(Arc<str>, ServerId)>;

/// All living servers at one moment, with the listing of each.
#[derive(Clone, Debug, Default)]
pub struct RegistryState {
    version: u64,
    entries: Shards<ServerId, Arc<RegisteredEntry>>,
    /// By tenant, ordered by name.
    names: HashMap<TenantId, Arc<Names>>,
    empty: Arc<Listing>,
}

/// How one server differs between two states: before, and now.
pub(crate) type Change<'a> = (ServerId, Option<&'a Arc<RegisteredEntry>>, Option<&'a Arc<RegisteredEntry>>);

impl RegistryState {
    /// Counts changes since the registry was opened; differs between any two states of one registry.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many servers live, over all tenants.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no server lives.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// A server and its listing.
    pub fn entry(&self, id: ServerId) -> Option<&Arc<RegisteredEntry>> {
        self.entries.get(&id)
    }

    /// A server, of any tenant.
    pub fn server(&self, id: ServerId) -> Option<&Arc<Server>> {
        self.entries.get(&id).map(|entry| &entry.server)
    }

    /// The listing of a server; an empty one if it does not live.
    pub fn listing(&self, id: ServerId) -> Arc<Listing> {
        self.entries.get(&id).map_or(&self.empty, |entry| &entry.listing).clone()
    }

    /// The server of this name.
    pub fn find(&self, tenant: &TenantId, name: &str) -> Option<&Arc<Server>> {
        let names = self.names.get(tenant)?;
        let place = names.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        self.server(names[place].1)
    }

    /// All servers of all tenants, in no order that means anything.
    pub fn servers(&self) -> impl Iterator<Item = &Arc<Server>> {
        self.entries.values().map(|entry| &entry.server)
    }

    /// The servers of one tenant and their listings, ordered by name.
    pub fn of_tenant(&self, tenant: &TenantId) -> impl Iterator<Item = &Arc<RegisteredEntry>> {
        let names = self.names.get(tenant).map(|names| names.as_slice()).unwrap_or_default();
        names.iter().filter_map(|(_, id)| self.entries.get(id))
    }

    /// The tenants that have servers, in no order that means anything.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantId> {
        self.names.keys()
    }

    /// One page of a tenant's servers. Without a condition only those of the page are looked at.
    ///
    /// Errors: [`ErrorKind::InvalidParams`](crate::error::ErrorKind::InvalidParams) for a limit above [`Filter::MAX_LIMIT`].
    pub fn list(&self, tenant: &TenantId, filter: &Filter) -> Result<Page> {
        if filter.restricts() {
            return self.list_where(tenant, filter, |_| true);
        }
        let (page, limit, skip) = filter.place()?;
        let names = self.names.get(tenant).map(|names| names.as_slice()).unwrap_or_default();
        let skipped = usize::try_from(skip).unwrap_or(usize::MAX);
        let servers = names.iter().skip(skipped).take(limit as usize).filter_map(|(_, id)| self.server(*id));
        Ok(Page { servers: servers.cloned().collect(), total: names.len() as u64, page, limit })
    }

    /// One page of those of a tenant's servers that `shown` lets through; the others do not count either. Errors as of
    /// [`RegistryState::list`].
    pub fn list_where(
        &self,
        tenant: &TenantId,
        filter: &Filter,
        shown: impl Fn(&Server) -> bool,
    ) -> Result<Page> {
        Self::page(self.of_tenant(tenant).filter(|entry| shown(&entry.server)), filter)
    }

    /// One page of `entries`, which are in the order of the list.
    pub(crate) fn page<'a>(
        entries: impl Iterator<Item = &'a Arc<RegisteredEntry>>,
        filter: &Filter,
    ) -> Result<Page> {
        let (page, limit, skip) = filter.place()?;
        let search = filter.search.as_ref().map(|text| text.to_lowercase());
        let finder = search.as_ref().map(memchr::memmem::Finder::new);
        let matches = |entry: &RegisteredEntry| {
            let server = &entry.server;
            filter.status.is_none_or(|status| server.status == status)
                && filter.health_status.is_none_or(|health| server.health_status == health)
                && filter.tags.iter().all(|tag| server.tags.contains(tag))
                && finder.as_ref().is_none_or(|finder| finder.find(entry.folded.as_bytes()).is_some())
        };
        let mut total = 0;
        let mut servers = Vec::new();
        for entry in entries.filter(|entry| matches(entry)) {
            if total >= skip && servers.len() < limit as usize {
                servers.push(entry.server.clone());
            }
            total += 1;
        }
        Ok(Page { servers, total, page, limit })
    }

    /// How this state differs from `older`.
    pub(crate) fn changes<'a>(&'a self, older: &'a Self) -> Vec<Change<'a>> {
        self.entries.changes(&older.entries, Arc::ptr_eq)
    }

    /// Adds a server, or replaces it: then its observed health stays, since that changes without a revision.
    pub(super) fn put(&mut self, mut server: Server, listing: Arc<Listing>) -> Arc<Server> {
        self.version += 1;
        if let Some(now) = self.server(server.id) {
            server.health_status = now.health_status;
            server.last_health_check = now.last_health_check;
        }
        let names = Arc::make_mut(self.names.entry(server.tenant_id.clone()).or_default());
        match names.binary_search_by(|(known, _)| (**known).cmp(server.name.as_str())) {
            Ok(place) => names[place].1 = server.id,
            Err(place) => names.insert(place, (server.name.as_str().into(), server.id)),
        }
        let server = Arc::new(server);
        let drift = self.entry(server.id).and_then(|entry| entry.drift.clone());
        let entry = RegisteredEntry { folded: folded(&server), listing, drift, server: server.clone() };
        self.entries.insert(server.id, Arc::new(entry));
        server
    }

    /// Many at once: sorts the names once instead of moving them for each.
    pub(super) fn load(servers: Vec<(Server, Listing)>) -> Self {
        let mut state = Self::default();
        let mut names: HashMap<TenantId, Names> = HashMap::new();
        for (server, listing) in servers {
            let (server, listing) = (Arc::new(server), Arc::new(listing));
            let own = names.entry(server.tenant_id.clone()).or_default();
            own.push((server.name.as_str().into(), server.id));
            let entry = RegisteredEntry { folded: folded(&server), listing, drift: None, server };
            state.entries.insert(entry.server.id, Arc::new(entry));
        }
        for (tenant, mut names) in names {
            names.sort_unstable();
            state.names.insert(tenant, Arc::new(names));
        }
        state.version = 1;
        state
    }

    pub(super) fn remove(&mut self, id: ServerId) {
        let Some(entry) = self.entries.remove(&id) else { return };
        self.version += 1;
        let tenant = &entry.server.tenant_id;
        let Some(names) = self.names.get_mut(tenant) else { return };
        Arc::make_mut(names).retain(|(_, known)| *known != id);
        if names.is_empty() {
            self.names.remove(tenant);
        }
    }

    pub(super) fn set_listing(&mut self, id: ServerId, listing: Arc<Listing>, drift: Option<Arc<Drifted>>) {
        if let Some(entry) = self.entries.get(&id) {
            let entry = RegisteredEntry { listing, drift, ..(**entry).clone() };
            self.version += 1;
            self.entries.insert(id, Arc::new(entry));
        }
    }

    /// Takes up an observation; the event if the observed health changed.
    pub(super) fn observe(&mut self, id: ServerId, record: &HealthRecord) -> Option<Event> {
        let entry = self.entries.get(&id)?;
        let from = entry.server.health_status;
        let mut server = (*entry.server).clone();
        server.health_status = record.status;
        server.last_health_check = Some(record.at);
        let tenant_id = server.tenant_id.clone();
        let entry = RegisteredEntry { server: Arc::new(server), ..(**entry).clone() };
        self.version += 1;
        self.entries.insert(id, Arc::new(entry));
        (from != record.status).then_some(Event::Health { tenant_id, id, from, to: record.status })
    }
}

fn folded(server: &Server) -> Arc<str> {
    let mut text = format!("{}\n{}", server.name, server.service);
    for part in [&server.display_name, &server.description].into_iter().flatten() {
        text.push('\n');
        text.push_str(part);
    }
    text.to_lowercase().into()
}
