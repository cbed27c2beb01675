//! Tells clients that lists changed: of what changed only, and once the new lists are what they would be answered with.

use super::Inner;
use super::outbox::List;
use super::service::Service;
use super::snapshot::Snapshot;
use crate::model::{CapabilityKind, Route, ServiceName, TenantId};

/// A service whose lists changed.
#[derive(Debug)]
struct Change<'a> {
    tenant: &'a TenantId,
    service: &'a ServiceName,
    lists: Vec<List>,
}

/// The services whose lists differ between two snapshots.
fn changes<'a>(before: &'a Snapshot, after: &'a Snapshot) -> Vec<Change<'a>> {
    let mut changes = Vec::new();
    for (tenant, view) in &after.tenants {
        let old = before.tenants.get(tenant);
        for (service, now) in &view.services {
            let was = old.and_then(|view| view.services.get(service));
            changes.extend(change(tenant, service, was.map(|was| &**was), Some(now)));
        }
    }
    for (tenant, view) in &before.tenants {
        let now = after.tenants.get(tenant);
        for (service, was) in &view.services {
            if now.is_none_or(|view| !view.services.contains_key(service)) {
                changes.extend(change(tenant, service, Some(was), None));
            }
        }
    }
    changes
}

fn change<'a>(
    tenant: &'a TenantId,
    service: &'a ServiceName,
    was: Option<&Service>,
    now: Option<&Service>,
) -> Option<Change<'a>> {
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
    (!lists.is_empty()).then_some(Change { tenant, service, lists })
}

impl Inner {
    /// Tells the clients that would be answered with other lists after than before, unless the server tells them itself.
    pub(super) fn announce(&self, before: &Snapshot, after: &Snapshot) {
        if self.sessions.len() == 0 && self.modern.changes.are_unheard() {
            return;
        }
        let changes = changes(before, after);
        for change in &changes {
            for list in &change.lists {
                self.modern.changes.tell(change.tenant, change.service, *list, true);
            }
        }
        let clients = if changes.is_empty() { Vec::new() } else { self.sessions.all() };
        for client in clients {
            let sees = |change: &Change<'_>| {
                *change.tenant == client.principal.tenant
                    && (before.shows(&client.principal, change.service)
                        || after.shows(&client.principal, change.service))
            };
            for change in changes.iter().filter(|change| sees(change)) {
                let concerned = match &client.route {
                    Route::All => true,
                    Route::Service(name) => name == change.service && client.upstreams().is_empty(),
                };
                for list in change.lists.iter().filter(|_| concerned) {
                    client.outbox.announce(*list, list.notification(), &self.tasks);
                }
            }
        }
    }
}
