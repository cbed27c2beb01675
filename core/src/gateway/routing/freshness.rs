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

/// The time at which each server was last asked, and the servers that are asked again soon.
#[derive(Debug, Default)]
pub(crate) struct DiscoveryTimes {
    asked: Mutex<HashMap<ServerId, Tick>>,
    /// Servers of which a list failed, and how often in a row.
    failing: Mutex<HashMap<ServerId, u32>>,
}

impl DiscoveryTimes {
    /// Records that a server is asked now.
    pub(crate) fn note(&self, id: ServerId, now: Tick) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(id, now);
    }

    /// Records whether a list of a server failed: then it is asked again soon, and later with each failure.
    pub(crate) fn judge(&self, id: ServerId, failed: bool) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if !failed {
            failing.remove(&id);
            return;
        }
        let times = failing.entry(id).or_default();
        *times = times.saturating_add(1);
    }

    /// The time until a server is asked again.
    pub(crate) fn next(&self, id: ServerId, listing: &Listing, refresh: Duration) -> Duration {
        let failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let soon = failing.get(&id).map_or(LONGEST, |times| pause(*times));
        period(listing, refresh).min(soon)
    }

    /// Whether a server was asked before, or is being asked.
    pub(crate) fn knows(&self, id: ServerId) -> bool {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&id)
    }

    /// Those of `servers` that are due; forgets those that are not among `servers`. `refresh` is the interval for a server
    /// that states none.
    pub(crate) fn due<'a>(
        &self,
        servers: impl Iterator<Item = (ServerId, &'a Listing)>,
        refresh: Duration,
        now: Tick,
    ) -> Vec<ServerId> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = HashMap::with_capacity(asked.len());
        let mut due = Vec::new();
        for (id, listing) in servers {
            let last = asked.get(&id).copied();
            let soon = failing.get(&id).map_or(LONGEST, |times| pause(*times));
            if last.is_none_or(|last| now.since(last) >= period(listing, refresh).min(soon)) {
                due.push(id);
            }
            known.extend(last.map(|last| (id, last)));
        }
        *asked = known;
        failing.retain(|id, _| asked.contains_key(id));
        due
    }
}

/// The time until a server is asked again after so many failures of a list in a row.
fn pause(times: u32) -> Duration {
    UNHEARD * 2_u32.saturating_pow(times.saturating_sub(1).min(8))
}

/// How long the server's answer stays fresh. A server that says 0 has no preference: it is asked as often as any.
fn period(listing: &Listing, refresh: Duration) -> Duration {
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
    fn a_server_with_a_list_that_failed_is_asked_again_soon_and_then_less_and_less_often() {
        let (asked, id) = (DiscoveryTimes::default(), ServerId::random());
        let listing = Listing { initialize: Some("{}".into()), ..Listing::default() };
        let refresh = Duration::from_secs(300);
        let at = |seconds| Tick::default() + Duration::from_secs(seconds);
        asked.note(id, at(0));
        let due = |seconds| !asked.due([(id, &listing)].into_iter(), refresh, at(seconds)).is_empty();
        let wait = || {
            asked.judge(id, true);
            asked.next(id, &listing, refresh).as_secs()
        };
        assert_eq!([wait(), wait(), wait(), wait(), wait()], [30, 60, 120, 240, 300]);
        asked.judge(id, false);
        assert!(!due(299), "it works again");
        asked.judge(id, true);
        assert!(!due(29) && due(30));
    }

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
