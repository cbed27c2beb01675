//! A service as routing sees it: its replicas, who of them offers what, and a pool for each set of candidates.
//!
//! Immutable. A change of the register, of health or of what a replica offers makes a new one, which takes the
//! replicas' breakers, counters and the balancers' positions over from the old.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::names;
use crate::clock::{Clock, Tick};
use crate::discovery::Template;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Core;
use crate::gateway::upstream::Upstream;
use crate::model::{
    Algorithm, Capability, CapabilityKind, HealthStatus, Listing, Restriction, Server, ServerId, ServiceName,
    Status,
};
use crate::select::{Hold, Lease, Member, PickRequest, Pool, ReplicaState, Settings as PoolSettings, key_of};

/// One replica.
#[derive(Clone, Debug)]
pub(crate) struct Replica {
    pub(crate) server: Arc<Server>,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) state: Arc<ReplicaState>,
    pub(crate) listing: Arc<Listing>,
    /// What it says differs from what was approved, and waits for an operator.
    pub(crate) waits: bool,
}

/// A service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: ServiceName,
    /// In order of registration; the first one's configuration speaks for the service.
    pub(crate) replicas: Vec<Replica>,
    by_id: HashMap<ServerId, usize, RandomState>,
    everyone: Pool,
    /// What only some replicas offer, and the pool of those that do.
    partly: HashMap<(CapabilityKind, String), Arc<Pool>>,
    /// The pools in `partly`, by the replicas they consist of.
    subsets: HashMap<Vec<usize>, Arc<Pool>>,
    /// How it balances as long as nothing is configured.
    balancing: PoolSettings,
    /// What some callers may not use of it, if this is how they see it.
    veil: Option<Visibility>,
    /// What a server that was picked is timed by.
    pub(crate) clock: Arc<dyn Clock>,
}

/// Keeps a part of a service from those who may not use it: what is not listed is unknown, whether it exists or not.
#[derive(Debug)]
struct Visibility {
    /// Those that are listed.
    templates: Vec<Template>,
    /// Restrictions that do not admit the caller.
    denied: Vec<Restriction>,
}

impl Service {
    /// `balancing` has what the service's configuration does not say.
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
        Self { name, replicas, by_id, everyone, partly, subsets, balancing, veil: None, clock }
    }

    /// The service as a caller sees it who may use only the replicas that `reaches` says, and nothing that `denied` is about.
    /// Breakers, counters and whose turn it is are shared with the whole one.
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

    /// Whether this is how somebody sees it who may not use all of it. Its lists are answered from what is known, since its
    /// servers would show everything.
    pub(crate) fn is_veiled(&self) -> bool {
        self.veil.is_some()
    }

    /// Whether the caller may know of this name. Always, unless something of the service is kept from the caller: then only
    /// of what is listed, and of what templates that are listed stand for.
    pub(crate) fn shows(&self, kind: CapabilityKind, name: &str) -> bool {
        let Some(veil) = &self.veil else { return true };
        let listed = |kind| self.definition(kind, name).is_some();
        match kind {
            CapabilityKind::Tool | CapabilityKind::Prompt => listed(kind),
            CapabilityKind::Resource | CapabilityKind::ResourceTemplate => {
                let expands = || {
                    !veil.denied.iter().any(|one| one.is_about(kind, name))
                        && veil.templates.iter().any(|template| template.matches(name))
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
        // The pool of all has them in the order of the places.
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

    /// Picks a replica that can take a call, whatever it offers: the one at the place of the hold's index.
    pub(crate) fn hold_any(&self, ask: &PickRequest<'_>, now: Tick) -> Result<Hold> {
        self.everyone.hold(ask, now).map_err(|error| self.nobody(error))
    }

    /// The error as it stands for this service.
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

    /// What the replicas offer together, each name once, defined as the first replica that has it defines it.
    pub(crate) fn offers(&self, kind: CapabilityKind) -> Vec<(&Replica, &Capability)> {
        let mut seen = std::collections::HashSet::new();
        let serving = self.replicas.iter().filter(|replica| replica.server.status == Status::Active);
        serving
            .flat_map(|replica| replica.listing.of(kind).map(move |item| (replica, item)))
            .filter(|(_, item)| seen.insert(item.name.as_str()))
            .collect()
    }

    /// By which services are compared that offer the same: when its first replica was registered, then its name.
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

    /// How a tool or resource is defined, if any replica offers it.
    pub(crate) fn definition(&self, kind: CapabilityKind, name: &str) -> Option<&Capability> {
        self.replicas.iter().find_map(|replica| replica.listing.of(kind).find(|item| item.name == name))
    }

    /// The replicas that were never heard of and could be asked.
    pub(crate) fn unheard(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().filter(|replica| {
            replica.server.status == Status::Active
                && replica.server.auto_discover
                && !replica.waits
                && replica.listing.initialize.is_none()
        })
    }

    /// The `initialize` result of the first replica that was heard.
    pub(crate) fn initialize(&self) -> Option<&str> {
        self.replicas.iter().find_map(|replica| replica.listing.initialize.as_deref())
    }

    /// The full name of a tool or prompt of this service.
    pub(crate) fn full_name(&self, name: &str) -> String {
        names::join(self.name.as_str(), name)
    }
}

impl Core {
    /// How a service of this name balances as long as nothing is configured.
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

/// What some replicas offer and others, that were heard, do not; with the positions of those that do. A replica that
/// was never heard counts as offering everything: it may.
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
