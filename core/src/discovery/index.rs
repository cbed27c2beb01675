//! The index: from a name to the servers that offer it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use super::card::Card;
use super::search::{self, Hit};
use super::template::Template;
use crate::error::Result;
use crate::model::{Capability, CapabilityKind, Server, ServerId, TenantId};
use crate::registry::shards::Shards;
use crate::registry::{Filter, Page, RegisteredEntry, RegistryState};

type Ids = Arc<[ServerId]>;
type Postings = Shards<Arc<str>, Ids>;

/// A server with those of its items that were asked for.
#[derive(Clone, Debug)]
pub struct Found {
    /// The server.
    pub server: Arc<Server>,
    /// One match for each name that was asked for, in that order; for a resource this can be the template.
    pub matches: Vec<Capability>,
}

/// The servers by the items that they offer, in one state of the registry.
#[derive(Clone, Debug, Default)]
pub struct Index {
    state: Arc<RegistryState>,
    tenants: HashMap<TenantId, Arc<TenantIndex>>,
    cards: Shards<ServerId, Arc<Card>>,
}

#[derive(Clone, Debug, Default)]
struct TenantIndex {
    kinds: [Postings; 4],
    tags: Postings,
    services: Postings,
    /// Templates by the text before their first expression.
    templates: Shards<Arc<str>, Arc<[Arc<Template>]>>,
    /// How many templates have such a text of this length: a URI is looked up by each of these beginnings.
    lengths: BTreeMap<usize, usize>,
    reading: Reading,
}

/// The cards that a search reads, in the order of the servers' names, and the number of documents: found once, not by each
/// search. A copy is made to be changed, and has to find it anew.
#[derive(Debug, Default)]
struct Reading(OnceLock<(Cards, usize)>);

type Cards = Vec<(Arc<RegisteredEntry>, Arc<Card>)>;

impl Clone for Reading {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Servers to be added to and removed from the lists of one map, by key.
type Edits<'a> = HashMap<&'a str, IndexEdit>;

#[derive(Default)]
struct IndexEdit {
    add: Vec<ServerId>,
    remove: Vec<ServerId>,
}

#[derive(Default)]
struct TenantEdits<'a> {
    kinds: [Edits<'a>; 4],
    tags: Edits<'a>,
    services: Edits<'a>,
}

impl Index {
    /// The index of `state`.
    pub fn build(state: &Arc<RegistryState>) -> Self {
        Self::default().next(state)
    }

    /// The index of `state`, which came after this index's own, at the price of the changes between them.
    #[must_use]
    pub fn next(&self, state: &Arc<RegistryState>) -> Self {
        let mut next = Self { state: state.clone(), ..self.clone() };
        let mut edits: HashMap<&TenantId, TenantEdits<'_>> = HashMap::new();
        let older = self.state.clone();
        for (id, before, now) in state.changes(&older) {
            if let (Some(before), Some(now)) = (before, now)
                && same_offer(before, now)
            {
                continue;
            }
            match now {
                Some(_) => next.cards.insert(id, Arc::default()),
                None => drop(next.cards.remove(&id)),
            }
            for (entry, added) in [(before, false), (now, true)] {
                if let Some(entry) = entry {
                    edits.entry(&entry.server.tenant_id).or_default().note(id, entry, added);
                }
            }
        }
        for (tenant, edits) in edits {
            let own = Arc::make_mut(next.tenants.entry(tenant.clone()).or_default());
            own.reading = Reading::default();
            own.apply(edits);
        }
        next.tenants.retain(|_, tenant| tenant.services.len() > 0);
        next
    }

    /// The state that this index follows from.
    pub fn state(&self) -> &Arc<RegistryState> {
        &self.state
    }

    /// The servers that offer an item of this kind under exactly this name, ordered by identifier.
    pub fn offering(&self, tenant: &TenantId, kind: CapabilityKind, name: &str) -> &[ServerId] {
        self.look(tenant, |own| &own.kinds[kind as usize], name)
    }

    /// The servers of a service, ordered by identifier.
    pub fn service(&self, tenant: &TenantId, service: &str) -> &[ServerId] {
        self.look(tenant, |own| &own.services, service)
    }

    /// The servers with this tag, ordered by identifier.
    pub fn tagged(&self, tenant: &TenantId, tag: &str) -> &[ServerId] {
        self.look(tenant, |own| &own.tags, tag)
    }

    /// The page of [`RegistryState::list_where`], without looking at servers that lack one of the filter's tags.
    pub fn list(&self, tenant: &TenantId, filter: &Filter, shown: impl Fn(&Server) -> bool) -> Result<Page> {
        let lists: Vec<_> = filter.tags.iter().map(|tag| self.tagged(tenant, tag)).collect();
        if lists.is_empty() {
            return self.state.list_where(tenant, filter, shown);
        }
        let entries = in_all(&lists).filter_map(|id| self.state.entry(id));
        let mut entries: Vec<_> = entries.filter(|entry| shown(&entry.server)).collect();
        entries.sort_unstable_by(|a, b| a.server.name.cmp(&b.server.name));
        RegistryState::page(entries.into_iter(), filter)
    }

    /// The servers that have this resource, ordered by identifier: those that list its URI, or, if none does, those
    /// of which a template matches it.
    pub fn resource(&self, tenant: &TenantId, uri: &str) -> Cow<'_, [ServerId]> {
        let exact = self.offering(tenant, CapabilityKind::Resource, uri);
        if !exact.is_empty() {
            return Cow::Borrowed(exact);
        }
        let lists = |accepts| {
            let templates = self.templates(tenant, uri, accepts);
            templates.map(|template| self.offering(tenant, CapabilityKind::ResourceTemplate, template.text()))
        };
        let mut matching = lists(Template::matches).peekable();
        let mut lists = match matching.peek() {
            Some(_) => matching,
            None => lists(Template::fits).peekable(),
        };
        let Some(first) = lists.next() else { return Cow::Borrowed(&[]) };
        let mut all = Cow::Borrowed(first);
        for list in lists {
            all.to_mut().extend(list);
        }
        if let Cow::Owned(ids) = &mut all {
            ids.sort_unstable();
            ids.dedup();
        }
        all
    }

    /// The servers that offer all of `names`, healthy or not, ordered by name; none if `names` is empty.
    pub fn find_all(&self, tenant: &TenantId, kind: CapabilityKind, names: &[String]) -> Vec<Found> {
        let offering = |name: &String| match kind {
            CapabilityKind::Resource => self.resource(tenant, name),
            _ => Cow::Borrowed(self.offering(tenant, kind, name)),
        };
        let lists: Vec<_> = names.iter().map(offering).collect();
        let mut found: Vec<_> = in_all(&lists)
            .filter_map(|id| {
                let entry = self.state.entry(id)?;
                let matches = names.iter().filter_map(|name| self.item(entry, kind, name).cloned()).collect();
                Some(Found { server: entry.server.clone(), matches })
            })
            .collect();
        found.sort_by(|a, b| a.server.name.cmp(&b.server.name));
        found
    }

    /// Ranked search over the names, descriptions and tags of a tenant's servers and of their items, best first.
    /// Replicas that offer the same appear once. See [`Hit::score`] for the formula.
    ///
    /// Reads the words of every server of the tenant, and makes them anew for those that changed: with thousands of
    /// servers, keep the first search off the threads that serve calls.
    pub fn search(&self, tenant: &TenantId, query: &str, limit: usize) -> Vec<Hit> {
        self.search_where(tenant, query, limit, |_| true, |_, _| true)
    }

    /// The hits of [`Index::search`] as if there were only the servers that `shows` lets through, and of these only the items
    /// that `shows_item` does.
    pub fn search_where(
        &self,
        tenant: &TenantId,
        query: &str,
        limit: usize,
        shows: impl Fn(&Server) -> bool,
        shows_item: impl Fn(&Server, &Capability) -> bool,
    ) -> Vec<Hit> {
        let Some(own) = self.tenants.get(tenant) else { return Vec::new() };
        let (cards, documents) = own.reading.0.get_or_init(|| {
            let entries = self.state.of_tenant(tenant);
            let cards: Cards = entries
                .filter_map(|entry| Some((entry.clone(), self.cards.get(&entry.server.id)?.clone())))
                .collect();
            let documents = cards.iter().map(|(entry, _)| entry.listing.items.len() + 1).sum();
            (cards, documents)
        });
        let shown = cards.iter().filter(|(entry, _)| shows(&entry.server));
        let cards = shown.map(|(entry, card)| (&**entry, card.words(entry)));
        search::search(cards, *documents, query, limit, shows_item)
    }

    fn look(&self, tenant: &TenantId, map: impl Fn(&TenantIndex) -> &Postings, key: &str) -> &[ServerId] {
        let Some(tenant) = self.tenants.get(tenant) else { return &[] };
        // The closure borrows from the tenant, which lives as long as the index.
        map(tenant).get(key).map(|ids| &**ids).unwrap_or_default()
    }

    /// The templates that match `uri`, longest first text first.
    fn templates<'a>(
        &'a self,
        tenant: &TenantId,
        uri: &'a str,
        accepts: fn(&Template, &str) -> bool,
    ) -> impl Iterator<Item = &'a Arc<Template>> {
        self.tenants.get(tenant).into_iter().flat_map(move |own| {
            let beginnings = own.lengths.keys().rev().filter_map(|length| uri.get(..*length));
            let templates = beginnings.filter_map(|beginning| own.templates.get(beginning));
            templates.flat_map(|list| list.iter()).filter(move |template| accepts(template, uri))
        })
    }

    /// The item of a server's listing that `name` stands for.
    fn item<'a>(
        &self,
        entry: &'a RegisteredEntry,
        kind: CapabilityKind,
        name: &str,
    ) -> Option<&'a Capability> {
        let exact = entry.listing.of(kind).find(|item| item.name == name);
        if exact.is_some() || kind != CapabilityKind::Resource {
            return exact;
        }
        let templates = |accepts| self.templates(&entry.server.tenant_id, name, accepts);
        templates(Template::matches).chain(templates(Template::fits)).find_map(|template| {
            entry.listing.of(CapabilityKind::ResourceTemplate).find(|item| *item.name == **template.text())
        })
    }
}

/// The servers in every one of the `lists`, each of which is ordered; none if there are no lists.
fn in_all<L: AsRef<[ServerId]>>(lists: &[L]) -> impl Iterator<Item = ServerId> {
    let shortest = lists.iter().map(AsRef::as_ref).min_by_key(|list| list.len()).unwrap_or_default();
    let in_others = |id: &&ServerId| lists.iter().all(|list| list.as_ref().binary_search(id).is_ok());
    shortest.iter().filter(in_others).copied()
}

/// Whether the index and the search say the same of both: a change of health, weight or endpoint is not their concern.
fn same_offer(a: &RegisteredEntry, b: &RegisteredEntry) -> bool {
    let (one, other) = (&a.server, &b.server);
    Arc::ptr_eq(&a.listing, &b.listing)
        && one.service == other.service
        && one.display_name == other.display_name
        && one.description == other.description
        && one.tags == other.tags
}

impl<'a> TenantEdits<'a> {
    fn note(&mut self, id: ServerId, entry: &'a RegisteredEntry, added: bool) {
        let note = |edits: &mut Edits<'a>, key: &'a str| {
            let edit = edits.entry(key).or_default();
            if added { edit.add.push(id) } else { edit.remove.push(id) }
        };
        for item in &entry.listing.items {
            note(&mut self.kinds[item.kind as usize], &item.name);
        }
        for tag in &entry.server.tags {
            note(&mut self.tags, tag);
        }
        note(&mut self.services, entry.server.service.as_str());
    }
}

impl TenantIndex {
    fn apply(&mut self, edits: TenantEdits<'_>) {
        let [tools, resources, templates, prompts] = edits.kinds;
        for (kind, edits) in [
            (CapabilityKind::Tool, tools),
            (CapabilityKind::Resource, resources),
            (CapabilityKind::Prompt, prompts),
        ] {
            for (key, edit) in edits {
                apply(&mut self.kinds[kind as usize], key, edit);
            }
        }
        for (key, edit) in templates {
            let postings = &mut self.kinds[CapabilityKind::ResourceTemplate as usize];
            let (had, has) = apply(postings, key, edit);
            if had != has
                && let Some(template) = Template::parse(key)
            {
                self.set_template(template, has);
            }
        }
        for (key, edit) in edits.tags {
            apply(&mut self.tags, key, edit);
        }
        for (key, edit) in edits.services {
            apply(&mut self.services, key, edit);
        }
    }

    fn set_template(&mut self, template: Template, has: bool) {
        let prefix: Arc<str> = template.prefix().into();
        let mut list = self.templates.get(&prefix).map(|list| list.to_vec()).unwrap_or_default();
        let count = self.lengths.entry(prefix.len()).or_default();
        if has {
            *count += 1;
            list.push(Arc::new(template));
            // Independent of the order of the edits, which is that of a hash map.
            list.sort_by(|a, b| a.text().cmp(b.text()));
        } else {
            *count -= 1;
            list.retain(|known| known.text() != template.text());
        }
        if *count == 0 {
            self.lengths.remove(&prefix.len());
        }
        if list.is_empty() {
            self.templates.remove(&prefix);
        } else {
            self.templates.insert(prefix, list.into());
        }
    }
}

/// Makes one edit; whether there was a list before, and whether there is one now.
fn apply(postings: &mut Postings, key: &str, mut edit: IndexEdit) -> (bool, bool) {
    let old = postings.get(key).cloned().unwrap_or_default();
    edit.remove.sort_unstable();
    let stay = old.iter().copied().filter(|id| edit.remove.binary_search(id).is_err());
    let mut ids: Vec<_> = stay.chain(edit.add).collect();
    ids.sort_unstable();
    ids.dedup();
    let has = !ids.is_empty();
    if has {
        postings.insert(key.into(), ids.into());
    } else {
        postings.remove(key);
    }
    (!old.is_empty(), has)
}
