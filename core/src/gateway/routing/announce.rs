//! Notifies clients that lists changed: of changed lists only, and once requests are answered with the new lists.

use super::service::Service;
use super::snapshot::{Snapshot, Touched};
use crate::gateway::Core;
use crate::gateway::session::outbox::List;
use crate::model::{CapabilityKind, ServiceName, TenantId};

/// A service whose lists changed.
#[derive(Debug)]
struct ServerChange<'a> {
    tenant: &'a TenantId,
    service: &'a ServiceName,
    lists: Vec<List>,
}

/// The services among the `touched` ones whose lists differ between two snapshots.
fn changes<'a>(before: &Snapshot, after: &Snapshot, touched: &'a Touched) -> Vec<ServerChange<'a>> {
    let touched = touched.iter().flat_map(|(tenant, names)| names.iter().map(move |name| (tenant, name)));
    let changes = touched.filter_map(|(tenant, name)| {
        let [was, now] = [before, after].map(|one| one.tenants.get(tenant)?.services.get(name));
        change(tenant, name, was.map(|was| &**was), now.map(|now| &**now))
    });
    changes.collect()
}

fn change<'a>(
    tenant: &'a TenantId,
    service: &'a ServiceName,
    was: Option<&Service>,
    now: Option<&Service>,
) -> Option<ServerChange<'a>> {
    if let (Some(was), Some(now)) = (was, now)
        && (std::ptr::eq(was, now) || was.lists_like(now))
    {
        return None;
    }
    let differs = |kind: CapabilityKind| {
        let was = was.map(|service| service.offers(kind)).unwrap_or_default();
        let now = now.map(|service| service.offers(kind)).unwrap_or_default();
        !was.iter().map(|(_, item)| item).eq(now.iter().map(|(_, item)| item))
    };
    let lists = List::ALL.into_iter().filter(|list| match list {
        List::Tools => differs(CapabilityKind::Tool),
        List::Resources => differs(CapabilityKind::Resource) || differs(CapabilityKind::ResourceTemplate),
        List::Prompts => differs(CapabilityKind::Prompt),
    });
    let lists: Vec<_> = lists.collect();
    (!lists.is_empty()).then_some(ServerChange { tenant, service, lists })
}

impl Core {
    /// Notifies the clients that are answered with other lists after than before, unless the server notifies them itself.
    pub(crate) fn announce(&self, before: &Snapshot, after: &Snapshot, touched: &Touched) {
        if self.sessions.len() == 0 && self.modern.changes.are_unheard() {
            return;
        }
        let changes = changes(before, after, touched);
        for change in &changes {
            for list in &change.lists {
                self.modern.changes.tell(change.tenant, change.service, *list, true);
            }
        }
        let clients = if changes.is_empty() { Vec::new() } else { self.sessions.all() };
        for client in clients {
            let sees = |change: &ServerChange<'_>| {
                *change.tenant == client.principal.tenant
                    && (before.shows(&client.principal, change.service)
                        || after.shows(&client.principal, change.service))
            };
            for change in changes.iter().filter(|change| sees(change)) {
                let route = &client.route;
                let concerned =
                    route.covers(change.service) && (route.is_aggregated() || client.upstreams().is_empty());
                for list in change.lists.iter().filter(|_| concerned) {
                    client.outbox.announce(*list, list.notification(), &self.tasks);
                }
            }
        }
    }
}
