//! The names on the aggregated route that are not `service__tool` as it is, and the items behind them.
//!
//! A spelling that another item has is not given a second time. The older service keeps it, so that nobody who registers a server
//! later can take over a name that is in use.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::names;
use super::service::Service;
use crate::model::{CapabilityKind, ServiceName};

/// A tool or prompt: its service, and its name there.
type Owner = (ServiceName, String);

/// The spellings of the items of a view.
#[derive(Debug, Default)]
pub(crate) struct Spellings {
    by_name: HashMap<String, Owner>,
    /// The items that have another spelling than [`names::join`] gives.
    displaced: HashMap<Owner, String>,
}

impl Spellings {
    /// The spellings of all tools and prompts of these services.
    pub(crate) fn of(services: &BTreeMap<ServiceName, Arc<Service>>) -> Self {
        let mut by_age: Vec<_> = services.values().collect();
        by_age.sort_by_key(|service| service.age());
        let mut spellings = Self::default();
        for service in by_age {
            for kind in [CapabilityKind::Tool, CapabilityKind::Prompt] {
                for (_, item) in service.offers(kind) {
                    let full = names::full(service.name.as_str(), &item.name);
                    if !names::is_plain(&full) {
                        spellings.enter(services, service, &item.name, &full);
                    }
                }
            }
        }
        spellings
    }

    fn enter(
        &mut self,
        services: &BTreeMap<ServiceName, Arc<Service>>,
        service: &Service,
        item: &str,
        full: &str,
    ) {
        let owner = (service.name.clone(), item.to_owned());
        for turn in 0.. {
            let name = names::spelled(full, turn);
            if let Some(known) = self.by_name.get(&name) {
                if *known == owner {
                    return;
                }
                continue;
            }
            if let Some((other, literal)) = literal(services, &name) {
                if other.name == service.name || other.age() < service.age() {
                    continue;
                }
                // It is younger, and gets another spelling than its own.
                self.displace(services, &other.name, literal, &name);
            }
            if turn > 0 {
                self.displaced.insert(owner.clone(), name.clone());
            }
            self.by_name.insert(name, owner);
            return;
        }
    }

    fn displace(
        &mut self,
        services: &BTreeMap<ServiceName, Arc<Service>>,
        service: &ServiceName,
        item: &str,
        full: &str,
    ) {
        let free = |name: &String| !self.by_name.contains_key(name) && literal(services, name).is_none();
        let Some(name) = (1..u32::MAX).map(|turn| names::spelled(full, turn)).find(free) else { return };
        let owner = (service.clone(), item.to_owned());
        self.displaced.insert(owner.clone(), name.clone());
        self.by_name.insert(name, owner);
    }

    /// The item that has this spelling.
    pub(crate) fn owner(&self, name: &str) -> Option<(&ServiceName, &str)> {
        self.by_name.get(name).map(|(service, item)| (service, item.as_str()))
    }

    /// The name of an item on the aggregated route.
    pub(crate) fn name_of(&self, service: &ServiceName, item: &str) -> String {
        if !self.displaced.is_empty()
            && let Some(name) = self.displaced.get(&(service.clone(), item.to_owned()))
        {
            return name.clone();
        }
        names::join(service.as_str(), item)
    }
}

/// The item whose full name is this one as it is.
fn literal<'a, 'n>(
    services: &'a BTreeMap<ServiceName, Arc<Service>>,
    name: &'n str,
) -> Option<(&'a Arc<Service>, &'n str)> {
    let (service, item) = names::split(name)?;
    let service = services.get(service)?;
    let offered = [CapabilityKind::Tool, CapabilityKind::Prompt]
        .into_iter()
        .any(|kind| service.definition(kind, item).is_some());
    offered.then_some((service, item))
}
