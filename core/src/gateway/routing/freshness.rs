//! The times at which a server is asked again what it offers: at the configured interval, or when the answer of a modern
//! server is stale.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Tick;
use crate::model::{Listing, ServerId};

/// The interval of checks for servers that must be asked again; no server is asked more often.
pub(crate) const LOOK: Duration = Duration::from_secs(10);
/// The interval at which a server is asked that has not answered yet.
const UNHEARD: Duration = Duration::from_secs(30);
/// No answer is kept longer, whatever its server says.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The time at which each server was last asked.
#[derive(Debug, Default)]
pub(crate) struct DiscoveryTimes(Mutex<HashMap<ServerId, Tick>>);

impl DiscoveryTimes {
    /// Records that a server is asked now.
    pub(crate) fn note(&self, id: ServerId, now: Tick) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, now);
    }

    /// Whether a server was asked before, or is being asked.
    pub(crate) fn knows(&self, id: ServerId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&id)
    }

    /// Those of `servers` that are due; forgets those that are not among `servers`. `refresh` is the interval for a server
    /// that states none.
    pub(crate) fn due<'a>(
        &self,
        servers: impl Iterator<Item = (ServerId, &'a Listing)>,
        refresh: Duration,
        now: Tick,
    ) -> Vec<ServerId> {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = HashMap::with_capacity(asked.len());
        let mut due = Vec::new();
        for (id, listing) in servers {
            let last = asked.get(&id).copied();
            if last.is_none_or(|last| now.since(last) >= period(listing, refresh)) {
                due.push(id);
            }
            known.extend(last.map(|last| (id, last)));
        }
        *asked = known;
        due
    }
}

/// How long the server's answer stays fresh. A server that says 0 has no preference: it is asked as often as any.
pub(crate) fn period(listing: &Listing, refresh: Duration) -> Duration {
    if listing.initialize.is_none() && listing.modern.is_none() {
        return refresh.min(UNHEARD);
    }
    let lists = listing.modern.iter().flat_map(|modern| modern.lists.iter().flatten());
    let shortest = lists.map(|list| list.ttl_ms).filter(|ttl| *ttl > 0).min();
    shortest.map_or(refresh, |ttl| Duration::from_millis(ttl).clamp(LOOK, LONGEST))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Freshness, ModernListing};

    #[test]
    fn a_server_is_asked_when_the_shortest_of_its_lists_is_stale_and_not_before() {
        let kept = |ttl_ms| Some(Freshness { ttl_ms, public: true });
        let modern = |lists| Listing {
            modern: Some(Arc::new(ModernListing { discover: "{}".into(), lists })),
            ..Listing::default()
        };
        let listings = [
            modern([kept(60_000), kept(20_000), None, kept(0)]),
            modern([kept(1), None, None, None]),
            modern([kept(0), None, None, None]),
            Listing { initialize: Some("{}".into()), ..Listing::default() },
            Listing::default(),
        ];
        let ids: Vec<_> = listings.iter().map(|_| ServerId::random()).collect();
        let asked = DiscoveryTimes::default();
        let at = |seconds| Tick::default() + Duration::from_secs(seconds);
        let due = |seconds| {
            let servers = ids.iter().copied().zip(&listings);
            let due = asked.due(servers, Duration::from_secs(300), at(seconds));
            ids.iter().map(|id| due.contains(id)).collect::<Vec<_>>()
        };
        assert_eq!(due(0), [true; 5]);
        for id in &ids {
            asked.note(*id, at(0));
        }
        assert_eq!(due(9), [false; 5]);
        assert_eq!(due(10), [false, true, false, false, false]);
        assert_eq!(due(20), [true, true, false, false, false]);
        assert_eq!(due(30), [true, true, false, false, true], "one that never answered is not waited for");
        assert_eq!(due(300), [true; 5]);
    }
}
