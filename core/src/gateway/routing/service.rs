//! A service as routing sees it: its replicas, the items that each of them offers, and a pool for each set of candidates.
//!
//! A service is immutable. A change of the registry, of health or of a replica's listing makes a new one, which takes the
//! replicas' breakers, counters and the balancers' positions over from the old one.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::clock::{Clock, Tick};
use crate::discovery::Template;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Core;
use crate::gateway::upstream::Upstream;
use crate::model::{
    Algorithm, Capability, CapabilityKind, HealthStatus, Listing, Restriction, Server, ServerId, ServiceName,
    Status,
};
use crate::select::{
    Comparison, Hold, Lease, Member, PickRequest, Pool, ReplicaState, Settings as PoolSettings, key_of,
};

/// One replica.
#[derive(Clone, Debug)]
pub(crate) struct Replica {
    pub(crate) server: Arc<Server>,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) state: Arc<ReplicaState>,
    pub(crate) listing: Arc<Listing>,
    /// Its listing differs from the approved one, and waits for an operator.
    pub(crate) waits: bool,
}

/// A service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: ServiceName,
    /// In order of registration; the first one's configuration holds for the service.
    pub(crate) replicas: Vec<Replica>,
    by_id: HashMap<ServerId, usize, RandomState>,
    everyone: Pool,
    /// The items that only some replicas offer, and the pool of those replicas.
    partly: HashMap<(CapabilityKind, String), Arc<Pool>>,
    /// The pools in `partly`, by the replicas they consist of.
    subsets: HashMap<Vec<usize>, Arc<Pool>>,
    /// Compares how well the replicas answer.
    pub(crate) comparison: Arc<Comparison>,
    /// Its balancing as long as nothing is configured.
    balancing: PoolSettings,
    /// The part that is hidden from some callers, if this is their view of the service.
    veil: Option<Visibility>,
    /// The clock that times a picked server.
    pub(crate) clock: Arc<dyn Clock>,
}

/// Hides a part of a service from callers that may not use it: a name that is not listed is unknown, whether it exists or not.
#[derive(Debug)]
struct Visibility {
    /// The templates that are listed.
    templates: Vec<Template>,
    /// Restrictions that do not admit the caller.
    denied: Vec<Restriction>,
}

impl Service {
    /// `balancing` has the settings that the service's configuration does not have.
    pub(crate) fn new(
        name: ServiceName,
        replicas: Vec<Replica>,
        balancing: PoolSettings,
        clock: Arc<dyn Clock>,
        previous: Option<&Self>,
    ) -> Self {
        let (algorithm, max_load) = replicas.first().map_or_else(
            || (balancing.algorithm, balancing.max_load),
            |first| {
                let configuration = &first.server.configuration;
                (configuration.algorithm, configuration.max_load)
            },
        );
        let settings = PoolSettings { algorithm, max_load, ..balancing.clone() };
        let all: Vec<usize> = (0..replicas.len()).collect();
        let pool = |which: &[usize], before: Option<&Pool>| {
            Pool::new(settings.clone(), which.iter().map(|i| member(&replicas[*i])).collect(), before)
        };
        let everyone = pool(&all, previous.map(|service| &service.everyone));
        let mut subsets: HashMap<Vec<usize>, Arc<Pool>> = HashMap::new();
        let mut partly = HashMap::new();
        for (key, which) in offered_by_some(&replicas) {
            let made = subsets.entry(which).or_insert_with_key(|which| {
                Arc::new(pool(
                    which,
                    previous.and_then(|service| service.subsets.get(which)).map(|pool| &**pool),
                ))
            });
            partly.insert(key, Arc::clone(made));
        }
        let by_id = replicas.iter().enumerate().map(|(i, replica)| (replica.server.id, i)).collect();
        let comparison = previous.map_or_else(Arc::default, |service| Arc::clone(&service.comparison));
        Self { name, replicas, by_id, everyone, partly, subsets, comparison, balancing, veil: None, clock }
    }

    /// Compares the replicas with each other from now on; a single one is compared with nothing.
    pub(crate) fn compare_replicas(&self) {
        let comparison = Some(&self.comparison).filter(|_| self.replicas.len() > 1);
        for replica in &self.replicas {
            replica.state.compare_in(comparison);
        }
    }

    /// The service as seen by a caller that may use only the replicas for which `reaches` is true, and nothing that `denied` is
    /// about. Breakers, counters and the balancers' positions are shared with the whole service.
    pub(crate) fn narrowed(&self, reaches: impl Fn(&Server) -> bool, denied: &[Restriction]) -> Self {
        let shown = |item: &Capability| !denied.iter().any(|one| one.is_about(item.kind, &item.name));
        let replicas = self.replicas.iter().filter(|replica| reaches(&replica.server)).map(|replica| {
            if denied.is_empty() {
                return replica.clone();
            }
            let mut listing = (*replica.listing).clone();
            listing.items.retain(shown);
            Replica { listing: Arc::new(listing), ..replica.clone() }
        });
        let mut narrowed = Self::new(
            self.name.clone(),
            replicas.collect(),
            self.balancing.clone(),
            Arc::clone(&self.clock),
            Some(self),
        );
        if !denied.is_empty() {
            let templates = narrowed.offers(CapabilityKind::ResourceTemplate);
            let templates = templates.iter().filter_map(|(_, item)| Template::parse(&item.name)).collect();
            narrowed.veil = Some(Visibility { templates, denied: denied.to_vec() });
        }
        narrowed
    }

    /// Whether this is the view of callers that may not use all of it. Its lists are answered from memory, since its servers
    /// would list everything.
    pub(crate) fn is_veiled(&self) -> bool {
        self.veil.is_some()
    }

    /// Whether the caller may know of this name: always, unless a part of the service is hidden from the caller; then only if the
    /// name is listed or matches a listed template.
    pub(crate) fn shows(&self, kind: CapabilityKind, name: &str) -> bool {
        let Some(veil) = &self.veil else { return true };
        let listed = |kind| self.definition(kind, name).is_some();
        match kind {
            CapabilityKind::Tool | CapabilityKind::Prompt => listed(kind),
            CapabilityKind::Resource | CapabilityKind::ResourceTemplate => {
                let expands = || {
                    !veil.denied.iter().any(|one| one.is_about(kind, name))
                        && veil.templates.iter().any(|template| template.fits(name))
                };
                listed(CapabilityKind::Resource) || listed(CapabilityKind::ResourceTemplate) || expands()
            }
        }
    }

    /// Picks a replica that offers `what` and can take a call.
    pub(crate) fn pick(
        &self,
        what: Option<(CapabilityKind, &str)>,
        ask: &PickRequest<'_>,
        now: Tick,
    ) -> Result<(Lease, &Replica)> {
        let subset = match what {
            Some((kind, name)) if !self.partly.is_empty() => self.partly.get(&(kind, name.to_owned())),
            _ => None,
        };
        // The pool of all replicas has them in the order of `replicas`.
        let (lease, replica) = match subset {
            None => {
                let lease = self.everyone.pick(ask, now).map_err(|error| self.nobody(error))?;
                let replica = self.replicas.get(lease.index());
                (lease, replica)
            }
            Some(pool) => {
                let lease = pool.pick(ask, now).map_err(|error| self.nobody(error))?;
                let replica = self.replica(lease.server_id());
                (lease, replica)
            }
        };
        let replica = replica.ok_or_else(|| {
            Error::new(ErrorKind::Internal, "a pool knows a server that its service does not")
        })?;
        Ok((lease, replica))
    }

    /// Picks a replica that can take a call, whatever it offers: the one at the hold's index.
    pub(crate) fn hold_any(&self, ask: &PickRequest<'_>, now: Tick) -> Result<Hold> {
        self.everyone.hold(ask, now).map_err(|error| self.nobody(error))
    }

    /// The error with the context of this service.
    #[cold]
    fn nobody(&self, error: Error) -> Error {
        let error = error.with("service", &self.name);
        if !self.replicas.iter().any(|replica| replica.waits) {
            return error;
        }
        error.with(
            "drift",
            "a replica defines what it offers otherwise than was approved, and waits for an operator",
        )
    }

    /// The replica of this id.
    pub(crate) fn replica(&self, id: ServerId) -> Option<&Replica> {
        self.by_id.get(&id).map(|i| &self.replicas[*i])
    }

    /// The items that the replicas offer together: each name once, with the definition of the first replica that has it.
    pub(crate) fn offers(&self, kind: CapabilityKind) -> Vec<(&Replica, &Capability)> {
        let mut seen = std::collections::HashSet::new();
        let serving = self.replicas.iter().filter(|replica| replica.server.status == Status::Active);
        serving
            .flat_map(|replica| replica.listing.of(kind).map(move |item| (replica, item)))
            .filter(|(_, item)| seen.insert(item.name.as_str()))
            .collect()
    }

    /// The sort key of services that offer the same: the time at which the first replica was registered, then the name.
    pub(crate) fn age(&self) -> (Option<jiff::Timestamp>, &ServiceName) {
        (self.replicas.first().map(|replica| replica.server.created_at), &self.name)
    }

    /// Whether both list the same, as far as can be told without reading the lists.
    pub(crate) fn lists_like(&self, other: &Self) -> bool {
        let alike = |(a, b): (&Replica, &Replica)| {
            a.server.id == b.server.id
                && a.server.status == b.server.status
                && Arc::ptr_eq(&a.listing, &b.listing)
        };
        self.replicas.len() == other.replicas.len() && self.replicas.iter().zip(&other.replicas).all(alike)
    }

    /// The definition of a tool or resource, if any replica offers it.
    pub(crate) fn definition(&self, kind: CapabilityKind, name: &str) -> Option<&Capability> {
        self.replicas.iter().find_map(|replica| replica.listing.of(kind).find(|item| item.name == name))
    }

    /// The replicas that have never answered and can be asked.
    pub(crate) fn unheard(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().filter(|replica| {
            replica.server.status == Status::Active
                && replica.server.auto_discover
                && !replica.waits
                && replica.listing.initialize.is_none()
        })
    }

    /// The `initialize` result of the first replica that has answered.
    pub(crate) fn initialize(&self) -> Option<&str> {
        self.replicas.iter().find_map(|replica| replica.listing.initialize.as_deref())
    }
}

impl Core {
    /// The balancing of a service of this name as long as nothing is configured.
    pub(crate) fn balancing(&self, service: &ServiceName) -> PoolSettings {
        PoolSettings {
            algorithm: Algorithm::RoundRobin,
            max_load: None,
            seed: self.seed ^ key_of(service.as_str()),
            own: self.settings.balancers.get(service).cloned(),
        }
    }
}

fn member(replica: &Replica) -> Member {
    let server = &replica.server;
    Member {
        replica: Arc::clone(&replica.state),
        weight: server.weight,
        available: !matches!(server.health_status, HealthStatus::Unhealthy | HealthStatus::Unreachable),
        drained: server.status != Status::Active || server.weight == 0 || replica.waits,
    }
}

/// The items that some replicas offer and others, which have answered, do not; with the positions of the replicas that offer
/// them. A replica that has never answered counts as offering everything: it may.
fn offered_by_some(replicas: &[Replica]) -> HashMap<(CapabilityKind, String), Vec<usize>> {
    let mut by: HashMap<(CapabilityKind, &str), Vec<usize>> = HashMap::new();
    if replicas.len() < 2 {
        return HashMap::new();
    }
    let unheard =
        |replica: &Replica| replica.listing.initialize.is_none() && replica.listing.items.is_empty();
    for (i, replica) in replicas.iter().enumerate() {
        for item in &replica.listing.items {
            let which = by.entry((item.kind, item.name.as_str())).or_default();
            if which.last() != Some(&i) {
                which.push(i);
            }
        }
    }
    let silent: Vec<usize> = (0..replicas.len()).filter(|i| unheard(&replicas[*i])).collect();
    by.into_iter()
        .filter(|(_, which)| which.len() + silent.len() < replicas.len())
        .map(|((kind, name), mut which)| {
            which.extend(&silent);
            which.sort_unstable();
            ((kind, name.to_owned()), which)
        })
        .collect()
}
