//! The state of routing at one moment, for each tenant, and for each class of callers in it that may not use all of it. A call
//! loads it once and keeps it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use serde_json::Value;

use super::claims::Claims;
use super::names;
use super::service::{Replica, Service};
use super::spellings::Spellings;
use crate::auth::Restrictions;
use crate::auth::access::Denied;
use crate::discovery::Index;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{CapabilityKind, Principal, Role, Server, ServerId, ServiceName, TenantId};

/// The most callers whose views are remembered; beyond that they are looked up anew.
const MOST_REMEMBERED: usize = 4096;

/// All tenants.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) tenants: HashMap<TenantId, Arc<View>, RandomState>,
    pub(crate) index: Arc<Index>,
    pub(crate) claims: HashMap<TenantId, Arc<Claims>>,
    /// Services with a server that cannot be reached as it is configured.
    pub(crate) unreached: BTreeSet<(TenantId, ServiceName)>,
}

/// Services, by tenant, that may have changed between two snapshots.
pub(crate) type Touched = BTreeMap<TenantId, BTreeSet<ServiceName>>;

impl Snapshot {
    /// The replica to which calls to this server go.
    pub(crate) fn place_of(&self, server: &Server) -> Option<&Replica> {
        self.tenants.get(&server.tenant_id)?.services.get(&server.service)?.replica(server.id)
    }

    /// The view that `principal` has of its tenant, for as long as `with` runs; `None` if the tenant is unknown. It shares no
    /// counter with other threads, unless something is hidden from the principal.
    #[inline]
    pub(crate) fn with_view<T>(&self, principal: &Principal, with: impl FnOnce(Option<&View>) -> T) -> T {
        match self.tenants.get(&principal.tenant) {
            Some(view) if view.is_whole_for(principal) => with(Some(view)),
            Some(view) => with(Some(&view.for_principal(principal))),
            None => with(None),
        }
    }

    /// Whether `principal` sees this service of its tenant.
    pub(crate) fn shows(&self, principal: &Principal, service: &ServiceName) -> bool {
        let view = self.tenants.get(&principal.tenant);
        view.is_some_and(|view| view.for_principal(principal).services.contains_key(service))
    }
}

/// The services of one tenant, and the state that routing derives from them.
#[derive(Debug)]
pub(crate) struct View {
    tenant: TenantId,
    index: ArcSwap<Index>,
    pub(crate) services: BTreeMap<ServiceName, Arc<Service>>,
    /// The names on the aggregated route that differ from `service__tool`; filled when a name is first looked up.
    spellings: OnceLock<Spellings>,
    /// The services of which a tool names this page; filled when one is first looked up.
    pages: OnceLock<HashMap<String, Vec<ServiceName>>>,
    /// The merged lists as JSON, each made when it is first asked for.
    lists: [OnceLock<String>; 4],
    restrictions: Restrictions,
    narrowed: RwLock<Narrowed>,
    /// Whether it has the gateway's own service.
    pub(crate) has_builtin: bool,
    claims: Arc<Claims>,
}

/// The views of callers that may not use all of it.
#[derive(Debug, Default)]
struct Narrowed {
    callers: HashMap<CallerKey, Arc<View>>,
    classes: HashMap<Class, Arc<View>>,
}

/// The key of a caller's view: subject and role, and the server and service that its credential is for.
type CallerKey = (Arc<str>, Role, Option<ServerId>, Option<ServiceName>);

/// Callers with the same restrictions see the same.
type Class = (Box<[usize]>, Option<ServerId>, Option<ServiceName>);

impl View {
    pub(crate) fn new(
        tenant: TenantId,
        services: BTreeMap<ServiceName, Arc<Service>>,
        index: Arc<Index>,
        restrictions: Restrictions,
        has_builtin: bool,
    ) -> Self {
        let narrowed = RwLock::default();
        Self {
            tenant,
            index: ArcSwap::new(index),
            services,
            spellings: OnceLock::new(),
            pages: OnceLock::new(),
            lists: Default::default(),
            restrictions,
            narrowed,
            has_builtin,
            claims: Arc::default(),
        }
    }

    /// Takes a newer index, in which nothing of this tenant differs: otherwise the older one would stay in memory for as long as
    /// nothing of this tenant changes.
    pub(crate) fn follow(&self, index: &Arc<Index>) {
        self.index.store(Arc::clone(index));
        let narrowed = self.narrowed.read().unwrap_or_else(PoisonError::into_inner);
        narrowed.classes.values().for_each(|view| view.index.store(Arc::clone(index)));
    }

    /// Whether `principal` sees all of it.
    pub(crate) fn is_whole_for(&self, principal: &Principal) -> bool {
        (principal.role == Role::Admin || self.restrictions.is_empty()) && !principal.is_narrowed()
    }

    /// Whether there is anything that not everybody may use.
    pub(crate) fn is_restricted(&self) -> bool {
        !self.restrictions.is_empty()
    }

    /// The parts that `principal` may not use.
    pub(crate) fn denied_to(&self, principal: &Principal) -> Denied<'_> {
        self.restrictions.denied_to(principal)
    }

    /// The view as `principal` sees it: without the parts that it may not use.
    pub(crate) fn for_principal(self: &Arc<Self>, principal: &Principal) -> Arc<Self> {
        if self.is_whole_for(principal) {
            return Arc::clone(self);
        }
        let (server, service) =
            principal.grant.as_ref().map_or((None, None), |grant| (grant.server, grant.service.clone()));
        let key = (Arc::clone(&principal.subject), principal.role, server, service.clone());
        {
            let narrowed = self.narrowed.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(view) = narrowed.callers.get(&key) {
                return Arc::clone(view);
            }
        }
        let denied = self.denied_to(principal);
        let class = (denied.class(), server, service);
        let mut narrowed = self.narrowed.write().unwrap_or_else(PoisonError::into_inner);
        if narrowed.callers.len() >= MOST_REMEMBERED {
            *narrowed = Narrowed::default();
        }
        let view =
            narrowed.classes.entry(class).or_insert_with(|| Arc::new(self.without(&denied, principal)));
        let view = Arc::clone(view);
        narrowed.callers.insert(key, Arc::clone(&view));
        view
    }

    fn without(&self, denied: &Denied<'_>, principal: &Principal) -> Self {
        let services = self.services.iter().filter(|(name, _)| !denied.service(name));
        let services = services.filter_map(|(name, service)| {
            let reaches = |id| principal.reaches(id, name);
            let all = service.replicas.iter().all(|replica| reaches(replica.server.id));
            if all && !denied.partly(name) {
                return Some((name.clone(), Arc::clone(service)));
            }
            let restrictions: Vec<_> = denied.about(name).cloned().collect();
            let narrowed = service.narrowed(|server| reaches(server.id), &restrictions);
            (!narrowed.replicas.is_empty()).then(|| (name.clone(), Arc::new(narrowed)))
        });
        let bound =
            principal.grant.as_deref().filter(|grant| grant.server.is_some() || grant.service.is_some());
        let own = bound.is_none_or(|grant| grant.service.as_ref().is_some_and(ServiceName::is_gateway));
        let seen = Self::new(
            self.tenant.clone(),
            services.collect(),
            self.index.load_full(),
            Restrictions::default(),
            self.has_builtin && own,
        );
        seen.claimed(Arc::clone(&self.claims))
    }

    /// The service of this name; the error says no more than that there is none for the caller.
    pub(crate) fn service(&self, name: &str) -> Result<&Arc<Service>> {
        self.services.get(name).ok_or_else(|| no_such_service(name))
    }

    /// The service and the name of a tool or prompt that the aggregated route calls `full`.
    pub(crate) fn resolve(&self, full: &str) -> Option<(&Arc<Service>, String)> {
        if let Some((service, name)) = self.spellings().owner(full) {
            return Some((self.services.get(service)?, name.to_owned()));
        }
        let (service, name) = names::split(full)?;
        Some((self.services.get(service)?, name.to_owned()))
    }

    /// The first service that offers the resource, or has a template for it: one that comes later displaces no other.
    pub(crate) fn service_of_resource(&self, uri: &str) -> Option<&Arc<Service>> {
        let index = self.index.load();
        let template = index.offering(&self.tenant, CapabilityKind::ResourceTemplate, uri);
        let ids = index.resource(&self.tenant, uri);
        let servers = ids.iter().chain(template).filter_map(|id| index.state().server(*id));
        let services = servers.filter_map(|server| self.services.get(&server.service));
        let services = services.filter(|service| service.shows(CapabilityKind::Resource, uri));
        services.min_by_key(|service| self.rank(service, uri))
    }

    /// The services with a replica that lists this, whatever its status.
    pub(crate) fn offering(&self, kind: CapabilityKind, name: &str) -> Vec<&Arc<Service>> {
        let index = self.index.load();
        let servers = index.offering(&self.tenant, kind, name).iter();
        let servers = servers.filter_map(|id| index.state().server(*id));
        servers.filter_map(|server| self.services.get(&server.service)).collect()
    }

    /// The one of these services that owns it.
    pub(crate) fn holder(&self, kind: CapabilityKind, name: &str) -> Option<&Arc<Service>> {
        self.offering(kind, name).into_iter().min_by_key(|service| self.rank(service, name))
    }

    /// The sort key of services that offer the same resource: the claim to it, then the age.
    pub(crate) fn rank<'a>(&self, service: &'a Service, uri: &str) -> impl Ord + use<'a> {
        (self.claims.get(uri) != Some(&service.name), service.age())
    }

    /// The same view with these claims.
    pub(crate) fn claimed(self, claims: Arc<Claims>) -> Self {
        Self { claims, ..self }
    }

    /// The merged list of this kind, made by `make` once for this view.
    pub(crate) fn list(&self, kind: CapabilityKind, make: impl FnOnce() -> String) -> &str {
        let replica = CapabilityKind::ALL.iter().position(|one| *one == kind).unwrap_or_default();
        self.lists[replica].get_or_init(make)
    }

    /// The name of a tool or prompt of a service on the aggregated route.
    pub(crate) fn name_of(&self, service: &Service, item: &str) -> String {
        self.spellings().name_of(&service.name, item)
    }

    fn spellings(&self) -> &Spellings {
        self.spellings.get_or_init(|| Spellings::of(&self.services))
    }

    /// The service that lists this resource, or this template by its text: of several, the one that owns it.
    pub(crate) fn lister(&self, uri: &str) -> Option<&Arc<Service>> {
        let kinds = [CapabilityKind::Resource, CapabilityKind::ResourceTemplate];
        let listers = kinds.into_iter().flat_map(|kind| self.offering(kind, uri));
        let shown = listers.filter(|service| service.shows(CapabilityKind::Resource, uri));
        shown.min_by_key(|service| self.rank(service, uri))
    }

    /// The services of which a tool names this URI as its page.
    pub(crate) fn services_of_page(&self, uri: &str) -> &[ServiceName] {
        let pages = self.pages.get_or_init(|| {
            let mut pages: HashMap<String, Vec<ServiceName>> = HashMap::new();
            for service in self.services.values() {
                for (_, tool) in service.offers(CapabilityKind::Tool) {
                    let Some(uri) = page_of(tool.definition.get()) else { continue };
                    let all = pages.entry(uri).or_default();
                    if !all.contains(&service.name) {
                        all.push(service.name.clone());
                    }
                }
            }
            pages
        });
        pages.get(uri).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The page that shows a tool, as MCP Apps name it in the definition.
fn page_of(definition: &str) -> Option<String> {
    memchr::memmem::find(definition.as_bytes(), b"resourceUri")?;
    let tool: Value = serde_json::from_str(definition).ok()?;
    page_in(tool.get("_meta")?).map(str::to_owned)
}

/// The page that `_meta` of a tool or of its result names.
pub(crate) fn page_in(meta: &Value) -> Option<&str> {
    meta.pointer("/ui/resourceUri").or_else(|| meta.get("ui/resourceUri"))?.as_str()
}

/// The error for a caller for which a service does not exist.
#[cold]
pub(crate) fn no_such_service(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, "no such service").with("service", names::shown(name))
}
