//! The items that a program offers only to clients that can be asked (sampling, elicitation, roots). The shared session declares
//! none of that, and a program is not started for discovery alone: the first session of such a client shows them.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::model::{Capability, Listing};

/// Those items of one server.
#[derive(Debug, Default)]
pub(crate) struct FurtherItems {
    asked: AtomicBool,
    items: Mutex<Vec<Capability>>,
}

impl FurtherItems {
    /// Whether the caller is the one to ask; nobody else is until [`FurtherItems::give_up`].
    pub(crate) fn begin(&self) -> bool {
        !self.asked.swap(true, Ordering::AcqRel)
    }

    /// The next session may ask.
    pub(crate) fn give_up(&self) {
        self.asked.store(false, Ordering::Release);
    }

    /// Keeps the items that a client was shown.
    pub(crate) fn keep(&self, shown: Vec<Capability>) {
        *self.items.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    /// Adds those that the shared session did not show.
    pub(crate) fn add_to(&self, listing: &mut Listing) {
        let items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        let known: HashSet<_> = listing.items.iter().map(|item| (item.kind, item.name.clone())).collect();
        let further = items.iter().filter(|item| !known.contains(&(item.kind, item.name.clone())));
        listing.items.extend(further.cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CapabilityKind;
    use crate::registry::items::items;

    fn tools(json: &str) -> Vec<Capability> {
        items(CapabilityKind::Tool, json).unwrap().items
    }

    #[test]
    fn items_that_the_shared_session_shows_are_not_repeated() {
        let further = FurtherItems::default();
        assert!(further.begin() && !further.begin());
        further.keep(tools(r#"[{"name":"a","inputSchema":{}},{"name":"ask","inputSchema":{}}]"#));
        let mut listing =
            Listing { items: tools(r#"[{"name":"a","inputSchema":{}}]"#), ..Listing::default() };
        further.add_to(&mut listing);
        let names: Vec<_> = listing.items.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(names, ["a", "ask"]);
        further.give_up();
        assert!(further.begin());
    }
}
