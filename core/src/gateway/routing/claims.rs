//! Claims of services to resources. A URI has no prefix, so that on the aggregated route it belongs to one service alone: of
//! those that always offered it, to the oldest. A service that offers it later displaces no other, however old it is: the owner
//! at that time claims it, and keeps it for as long as it is offered there, over restarts too. The audit trail records it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::service::Service;
use super::snapshot::View;
use crate::gateway::Core;
use crate::model::{AuditEntry, CapabilityKind, ServiceName, TenantId};
use crate::store::{Claim, Store};

const KINDS: [CapabilityKind; 2] = [CapabilityKind::Resource, CapabilityKind::ResourceTemplate];

/// The service that owns a URI, or the text of a template, although an older service offers it.
pub(crate) type Claims = HashMap<String, ServiceName>;

/// The changes of claims that follow from one change of a tenant's services.
#[derive(Debug, Default)]
pub(crate) struct Disputes {
    /// Resources that a service offers from now on and another one owns; and whether the owner needs a claim for that.
    lost: Vec<(Arc<Service>, String, ServiceName, bool)>,
    /// Claims of services that no longer offer the resource.
    ended: Vec<String>,
}

/// The claims of all tenants, as the store has them.
pub(crate) async fn load(store: &dyn Store) -> crate::error::Result<HashMap<TenantId, Arc<Claims>>> {
    let mut all: HashMap<TenantId, Claims> = HashMap::new();
    for Claim { tenant_id, uri, service } in store.claims().await? {
        all.entry(tenant_id).or_default().insert(uri, service);
    }
    Ok(all.into_iter().map(|(tenant, claims)| (tenant, Arc::new(claims))).collect())
}

/// The claims in `now`, which follows `before` and differs from it in the `touched` services at most, and the disputes to
/// record. Claims that were `known` stay as long as they hold.
pub(crate) fn next(
    known: &Arc<Claims>,
    before: Option<&View>,
    now: &View,
    touched: &BTreeSet<ServiceName>,
) -> (Arc<Claims>, Disputes) {
    let mut disputes = Disputes::default();
    let offers = |service: &ServiceName, uri: &str| {
        KINDS.into_iter().any(|kind| now.offering(kind, uri).iter().any(|one| one.name == *service))
    };
    disputes.ended =
        known.iter().filter(|(uri, service)| !offers(service, uri)).map(|(uri, _)| uri.clone()).collect();
    let Some(before) = before else { return (ended(known, &disputes), disputes) };
    for service in touched.iter().filter_map(|name| now.services.get(name)) {
        let old = before.services.get(&service.name);
        if old.is_some_and(|old| Arc::ptr_eq(old, service)) {
            continue;
        }
        for kind in KINDS {
            let had: HashSet<&str> = old.map(|old| listed(old, kind).collect()).unwrap_or_default();
            for uri in listed(service, kind).filter(|uri| !had.contains(uri)) {
                let Some(holder) = before.holder(kind, uri).filter(|holder| holder.name != service.name)
                else {
                    continue;
                };
                // Once for all replicas that list it.
                let told =
                    disputes.lost.iter().any(|(other, lost, ..)| other.name == service.name && lost == uri);
                if !told && offers(&holder.name, uri) {
                    let older = service.age() < holder.age();
                    let lost = (Arc::clone(service), uri.to_owned(), holder.name.clone(), older);
                    disputes.lost.push(lost);
                }
            }
        }
    }
    let mut claims = ended(known, &disputes);
    for (_, uri, holder, _) in disputes.lost.iter().filter(|(.., older)| *older) {
        Arc::make_mut(&mut claims).insert(uri.clone(), holder.clone());
    }
    (claims, disputes)
}

/// The known claims without those that have ended.
fn ended(known: &Arc<Claims>, disputes: &Disputes) -> Arc<Claims> {
    let mut claims = Arc::clone(known);
    for uri in &disputes.ended {
        Arc::make_mut(&mut claims).remove(uri);
    }
    claims
}

fn listed(service: &Service, kind: CapabilityKind) -> impl Iterator<Item = &str> {
    service.replicas.iter().flat_map(move |replica| replica.listing.of(kind).map(|item| &*item.name))
}

impl Core {
    /// Records changes of claims, in the background.
    pub(crate) fn settle_claims(self: &Arc<Self>, disputes: Vec<(TenantId, Disputes)>) {
        if disputes.iter().all(|(_, one)| one.lost.is_empty() && one.ended.is_empty()) {
            return;
        }
        let this = Arc::clone(self);
        self.tasks.spawn_to_end(async move {
            for (tenant, Disputes { lost, ended }) in disputes {
                for uri in ended {
                    if let Err(error) = this.store.remove_claim(&tenant, &uri).await {
                        tracing::warn!(%error, uri, "a claim that has ended is still in the store");
                    }
                }
                for (service, uri, owner, needs_claim) in lost {
                    this.exclude(&tenant, &service.name, uri, owner, needs_claim).await;
                }
            }
        });
    }

    async fn exclude(
        &self,
        tenant: &TenantId,
        service: &ServiceName,
        uri: String,
        owner: ServiceName,
        claims: bool,
    ) {
        tracing::warn!(%service, %owner, uri, "a resource is offered that another service has; on /mcp it stays there");
        let entry = AuditEntry {
            at: self.clock.timestamp(),
            tenant_id: tenant.clone(),
            actor: "gateway".to_owned(),
            action: "resource.shadowed".to_owned(),
            target: service.to_string(),
            outcome: "excluded".to_owned(),
            correlation_id: None,
            detail: serde_json::json!({ "uri": uri, "owner": owner.as_str() }),
        };
        let written = if claims {
            let claim = Claim { tenant_id: tenant.clone(), uri, service: owner };
            self.store.put_claim(&claim, &entry).await
        } else {
            self.store.append_audit(&entry).await
        };
        if let Err(error) = written {
            tracing::warn!(%error, "who has a resource was not written down");
        }
    }
}
