//! What routing knows at one moment, for each tenant. A call loads it once and keeps it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use super::names;
use super::service::Service;
use crate::discovery::Index;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{CapabilityKind, ServiceName, TenantId};

/// All tenants.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) tenants: HashMap<TenantId, Arc<View>>,
    pub(super) index: Arc<Index>,
}

/// What one tenant has.
#[derive(Debug)]
pub(super) struct View {
    tenant: TenantId,
    index: Arc<Index>,
    pub(super) services: BTreeMap<ServiceName, Arc<Service>>,
    /// Full names that were cut, and whose they are; filled when the first such name is asked for.
    cut: OnceLock<HashMap<String, (ServiceName, String)>>,
    /// The merged lists as JSON, each made when it is first asked for.
    lists: [OnceLock<String>; 4],
}

impl View {
    pub(super) fn new(
        tenant: TenantId,
        services: BTreeMap<ServiceName, Arc<Service>>,
        index: Arc<Index>,
    ) -> Self {
        Self { tenant, index, services, cut: OnceLock::new(), lists: Default::default() }
    }

    /// The service of this name; the caller learns no more from the error than that there is none for it.
    pub(super) fn service(&self, name: &str) -> Result<&Arc<Service>> {
        self.services.get(name).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "no such service").with("service", names::shown(name))
        })
    }

    /// The service and the name of a tool or prompt that the aggregated route calls `full`.
    pub(super) fn resolve(&self, full: &str) -> Option<(&Arc<Service>, String)> {
        if let Some((service, name)) = self.cut_names().get(full) {
            return Some((self.services.get(service)?, name.clone()));
        }
        let (service, name) = names::split(full)?;
        Some((self.services.get(service)?, name.to_owned()))
    }

    /// The first service, by name, that offers the resource, or has a template for it.
    pub(super) fn service_of_resource(&self, uri: &str) -> Option<&Arc<Service>> {
        let template = self.index.offering(&self.tenant, CapabilityKind::ResourceTemplate, uri);
        let ids = self.index.resource(&self.tenant, uri);
        let servers = ids.iter().chain(template).filter_map(|id| self.index.state().server(*id));
        let name = servers.map(|server| &server.service).min()?;
        self.services.get(name)
    }

    /// The merged list of this kind, made by `make` once for this view.
    pub(super) fn list(&self, kind: CapabilityKind, make: impl FnOnce() -> String) -> &str {
        let place = CapabilityKind::ALL.iter().position(|one| *one == kind).unwrap_or_default();
        self.lists[place].get_or_init(make)
    }

    fn cut_names(&self) -> &HashMap<String, (ServiceName, String)> {
        self.cut.get_or_init(|| {
            let mut cut = HashMap::new();
            for service in self.services.values() {
                for kind in [CapabilityKind::Tool, CapabilityKind::Prompt] {
                    for (_, item) in service.offers(kind) {
                        let full = service.full_name(&item.name);
                        if names::split(&full).is_none_or(|(_, name)| name != item.name) {
                            cut.insert(full, (service.name.clone(), item.name.clone()));
                        }
                    }
                }
            }
            cut
        })
    }
}
