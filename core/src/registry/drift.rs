//! Definitions that differ from those that were approved: of one server from one day to the next, and between the replicas of a
//! service.
//!
//! The first definition of an item by a server is approved, and so are those that an operator approves later. A difference is
//! written to the audit trail with both definitions. Under [`Drift::Pin`] the replica that differs waits outside, with its
//! earlier definitions, until an operator approves the new ones, or it returns to the earlier ones.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::state::{RegisteredEntry, RegistryState};
use crate::model::audit::MAX_DETAIL;
use crate::model::{Capability, CapabilityKind, Drift, Listing, Server, Status};

/// Differences that the trail has of one listing, and characters of each definition in it: at most, as far as a row has room.
const SHOWN: usize = 20;
const SHOWN_CHARS: usize = 2000;

/// The difference between a server's definitions and the approved ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Drifted {
    /// The items that differ.
    pub differences: Vec<Difference>,
    /// The listing that waits for approval; `None` where the difference is only reported.
    pub waiting: Option<Arc<Listing>>,
}

/// An item that is defined in two ways.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The kind of the item.
    pub kind: CapabilityKind,
    /// Its name.
    pub name: String,
    /// The replica that defines it otherwise; `None` if it is the server itself, before.
    pub replica: Option<String>,
    /// The approved definition.
    was: Capability,
    /// The other.
    is: Capability,
}

impl Drifted {
    /// The detail for the trail.
    pub(super) fn detail(&self) -> Value {
        let (mut many, mut chars) = (SHOWN.min(self.differences.len()), SHOWN_CHARS);
        loop {
            let detail = self.told(many, chars);
            if many == 0 || detail.to_string().len() <= MAX_DETAIL {
                return detail;
            }
            if chars > 250 { chars /= 2 } else { many /= 2 }
        }
    }

    fn told(&self, many: usize, chars: usize) -> Value {
        let cut = |item: &Capability| item.definition.get().chars().take(chars).collect::<String>();
        let shown = self.differences.iter().take(many).map(|difference| {
            json!({
                "kind": difference.kind.as_str(), "name": difference.name, "replica": difference.replica,
                "was": cut(&difference.was), "is": cut(&difference.is),
            })
        });
        json!({ "waits": self.waiting.is_some(), "differences": self.differences.len(), "shown": shown.collect::<Vec<_>>() })
    }
}

/// The difference of `found`, the new listing of the server of `entry`, from its earlier one and from those of its asked
/// replicas.
pub(super) fn of(state: &RegistryState, entry: &RegisteredEntry, found: &Listing) -> Option<Drifted> {
    let replicas: Vec<&Arc<RegisteredEntry>> = state
        .of_tenant(&entry.server.tenant_id)
        .filter(|other| other.server.service == entry.server.service)
        .collect();
    let first =
        replicas.iter().map(|entry| &entry.server).min_by_key(|server| (server.created_at, server.id));
    let pins = first.is_some_and(|first| first.configuration.drift == Drift::Pin);
    // The declared listing of a server that never answered is a guess, and no definition.
    let own = Some(&*entry.listing).filter(|listing| listing.initialize.is_some());
    let mut differences = Vec::new();
    if let Some(own) = own {
        compare(own, found, None, &mut differences);
    }
    for other in &replicas {
        let heard = other.listing.initialize.is_some() && other.server.status == Status::Active;
        if heard && other.server.id != entry.server.id && other.waiting().is_none() {
            compare(&other.listing, found, Some(&other.server), &mut differences);
        }
    }
    if pins {
        // Approved definitions of this very server are approved, whatever its replicas say.
        differences.retain(|difference| {
            difference.replica.is_none() || !own.is_some_and(|own| has(own, &difference.is))
        });
    }
    if differences.is_empty() {
        return None;
    }
    Some(Drifted { differences, waiting: pins.then(|| Arc::new(found.clone())) })
}

fn has(listing: &Listing, item: &Capability) -> bool {
    listing.of(item.kind).any(|known| known.name == item.name && same(known, item))
}

fn compare(approved: &Listing, found: &Listing, replica: Option<&Server>, differences: &mut Vec<Difference>) {
    let known: HashMap<_, _> =
        approved.items.iter().map(|item| ((item.kind, item.name.as_str()), item)).collect();
    for is in &found.items {
        let told = |difference: &Difference| difference.kind == is.kind && difference.name == is.name;
        let Some(was) = known.get(&(is.kind, is.name.as_str())) else { continue };
        if !same(was, is) && !differences.iter().any(told) {
            differences.push(Difference {
                kind: is.kind,
                name: is.name.clone(),
                replica: replica.map(|server| server.name.clone()),
                was: (*was).clone(),
                is: is.clone(),
            });
        }
    }
}

/// Whether both define the same: a server may write its members in another order each time.
fn same(was: &Capability, is: &Capability) -> bool {
    let value = |item: &Capability| serde_json::from_str::<Value>(item.definition.get()).ok();
    was.definition.get() == is.definition.get() || (value(was).is_some() && value(was) == value(is))
}

#[cfg(test)]
mod tests;
