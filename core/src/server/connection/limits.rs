//! The connections that are open: so many in all, so many of one peer, and a reserve for callers that have shown a credential.
//!
//! A connection on which nothing is asked makes room for a new one, the one that has rested longest first: of its peer, where the
//! peer has as many as it may have; otherwise those of callers that nobody knows before those of callers that showed a credential.
//! A new connection is refused only where each of those that could make room has a request under way. Of the reserve a
//! connection that has shown no credential gets one request.
//!
//! Behind a proxy the connections are the proxy's: there the requests under way of each client are counted, by its forwarded
//! address.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio_util::sync::CancellationToken;

use super::timeouts::ActivityMonitor;
use crate::error::{Error, ErrorKind, Result};
use crate::limit;

/// File descriptors that are left for the store, for servers and for their programs.
const OTHER_FILES: u64 = 256;
/// One in so many connections is kept for callers that have shown a credential.
const RESERVE: usize = 10;
/// One in so many connections makes room at once, so that a flood does not have each of its connections looked for.
const BATCH: usize = 64;

/// The open connections of one listener. Clones share them.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    most_each: usize,
    /// Proxies, whose connections are many clients'.
    proxies: Box<[IpNet]>,
    /// The number of connections that there were: a measure of time that costs nothing to read.
    era: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: BTreeMap<u64, Arc<Slot>>,
    peers: HashMap<IpAddr, usize>,
    /// Requests under way of the clients of proxies.
    clients: HashMap<IpAddr, usize>,
    /// Of `open`, those that have shown a credential.
    known: usize,
    /// Of `open`, those that were told to close.
    leaving: usize,
}

/// One open connection.
#[derive(Debug)]
pub(crate) struct Slot {
    number: u64,
    /// `None`: a proxy's.
    peer: Option<IpAddr>,
    activity: Arc<ActivityMonitor>,
    /// The era in which it was last asked something.
    used: AtomicU64,
    known: AtomicBool,
    /// It took a place of the reserve.
    borrows: bool,
    /// It carries something else than requests now.
    upgraded: AtomicBool,
    leaves: AtomicBool,
    /// Cancelled to have it closed.
    pub(super) close: CancellationToken,
}

/// One connection's place among [`Connections`], released when dropped. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionSlot(Arc<Held>);

#[derive(Debug)]
struct Held {
    all: Connections,
    slot: Arc<Slot>,
}

/// One request's place among those of the client of a proxy, released when dropped.
#[derive(Debug)]
pub(crate) struct ClientSlot {
    all: Connections,
    client: IpAddr,
}

impl Default for Connections {
    fn default() -> Self {
        Self::new(&limit::Settings::default(), &[])
    }
}

impl Connections {
    /// None yet. Fewer are allowed than `settings` say if the process may not open as many files.
    pub(crate) fn new(settings: &limit::Settings, proxies: &[IpNet]) -> Self {
        let most = within_files(settings.max_connections);
        let each = if settings.connections_per_peer == 0 { most / 2 } else { settings.connections_per_peer };
        Self(Arc::new(Shared {
            most,
            most_each: each.clamp(1, most),
            proxies: proxies.into(),
            era: AtomicU64::new(0),
            state: Mutex::default(),
        }))
    }

    /// A place for a connection of `peer`, whose activity is `activity`. `None`: there is no room, and none could be made.
    pub(crate) fn enter(&self, peer: IpAddr, activity: &Arc<ActivityMonitor>) -> Option<ConnectionSlot> {
        let Shared { most, most_each, proxies, era, .. } = &*self.0;
        let peer = (!is_of(proxies, peer)).then(|| network(peer));
        let mut state = self.state();
        if let Some(peer) = peer
            && state.peers.get(&peer).is_some_and(|count| count >= most_each)
        {
            let of_peer = |slot: &Slot| slot.peer == Some(peer);
            state.make_room(1 + most_each / BATCH, of_peer).then_some(())?;
        }
        let open = state.open.len() - state.leaving;
        let unknown = open.saturating_sub(state.known);
        let mut borrows = false;
        if open >= *most {
            state.make_room(1 + most / BATCH, |_| true).then_some(())?;
        } else if unknown >= most - most / RESERVE {
            borrows = !state.make_room(1 + most / BATCH, |slot| !slot.is_known());
        }
        let number = era.fetch_add(1, Ordering::Relaxed);
        let slot = Arc::new(Slot {
            number,
            peer,
            activity: Arc::clone(activity),
            used: AtomicU64::new(number),
            known: AtomicBool::new(false),
            borrows,
            upgraded: AtomicBool::new(false),
            leaves: AtomicBool::new(false),
            close: CancellationToken::new(),
        });
        if let Some(peer) = peer {
            *state.peers.entry(peer).or_default() += 1;
        }
        state.open.insert(number, Arc::clone(&slot));
        Some(ConnectionSlot(Arc::new(Held { all: self.clone(), slot })))
    }

    /// Has connections closed on which nothing is asked, for want of files.
    pub(crate) fn shed(&self) {
        self.state().make_room(1 + self.0.most / BATCH, |_| true);
    }

    /// A place for a request of a client behind a proxy.
    ///
    /// [`ErrorKind::RateLimited`] if as many of its requests are under way as one peer may have connections.
    pub(crate) fn enter_client(&self, client: IpAddr) -> Result<ClientSlot> {
        let client = network(client);
        let mut state = self.state();
        let count = state.clients.entry(client).or_default();
        if *count >= self.0.most_each {
            let message = "as many requests of your address are under way as `limits.connections_per_peer` allows; wait for some to end";
            let error = Error::new(ErrorKind::RateLimited, message).with("limit", self.0.most_each);
            return Err(error.retry_after(Duration::from_secs(1)).not_sent());
        }
        *count += 1;
        Ok(ClientSlot { all: self.clone(), client })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can leave it half changed.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Has up to `many` connections closed that rest and are `such`, the one that has rested longest first, those of unknown
    /// callers before others; whether there was one.
    fn make_room(&mut self, many: usize, such: impl Fn(&Slot) -> bool) -> bool {
        let resting = self.open.values().filter(|slot| such(slot) && slot.rests());
        let mut resting: Vec<_> =
            resting.map(|slot| (slot.is_known(), slot.used.load(Ordering::Relaxed), slot.number)).collect();
        if resting.len() > many {
            resting.select_nth_unstable(many);
            resting.truncate(many);
        }
        // Of those that are known, only as many as are needed.
        resting.sort_unstable();
        let unknown = resting.iter().take_while(|(known, ..)| !known).count();
        resting.truncate(unknown.max(1));
        for (_, _, number) in &resting {
            if let Some(slot) = self.open.get(number) {
                slot.leaves.store(true, Ordering::Relaxed);
                slot.close.cancel();
                self.leaving += 1;
                forget(&mut self.peers, slot.peer);
                self.known -= usize::from(slot.is_known());
            }
        }
        !resting.is_empty()
    }
}

fn forget(counts: &mut HashMap<IpAddr, usize>, of: Option<IpAddr>) {
    let Some(of) = of else { return };
    if let Some(count) = counts.get_mut(&of) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&of);
        }
    }
}

impl Slot {
    fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// Whether it can be closed without cutting anything.
    fn rests(&self) -> bool {
        let open = !self.leaves.load(Ordering::Relaxed) && !self.upgraded.load(Ordering::Relaxed);
        open && self.activity.can_close()
    }
}

impl ConnectionSlot {
    /// The connection's caller has shown a credential that holds.
    pub(crate) fn show_known(&self) {
        let Held { all, slot } = &*self.0;
        if slot.is_known() {
            return;
        }
        let mut state = all.state();
        if !slot.known.swap(true, Ordering::Relaxed) && !slot.leaves.load(Ordering::Relaxed) {
            state.known += 1;
        }
    }

    /// Whether the connection is to be closed after this answer: it is in the reserve, and showed no credential.
    pub(crate) fn is_on_loan(&self) -> bool {
        self.0.slot.borrows && !self.0.slot.is_known()
    }

    /// A request was answered.
    pub(crate) fn touch(&self) {
        self.0.slot.used.store(self.0.all.0.era.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// From now on the connection carries something else than requests.
    pub(crate) fn upgrade(&self) {
        self.0.slot.upgraded.store(true, Ordering::Relaxed);
    }

    /// Resolves when the connection is to make room.
    pub(crate) async fn closed(&self) {
        self.0.slot.close.cancelled().await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.all.state();
        state.open.remove(&self.slot.number);
        if self.slot.leaves.load(Ordering::Relaxed) {
            state.leaving -= 1;
            return;
        }
        forget(&mut state.peers, self.slot.peer);
        state.known -= usize::from(self.slot.is_known());
    }
}

impl Drop for ClientSlot {
    fn drop(&mut self) {
        forget(&mut self.all.state().clients, Some(self.client));
    }
}

/// Whether `peer` is in one of these networks.
pub(crate) fn is_of(networks: &[IpNet], peer: IpAddr) -> bool {
    !networks.is_empty() && networks.iter().any(|network| network.contains(&peer.to_canonical()))
}

/// The part of an address that one peer cannot choose: of IPv6 the first 64 bits.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(ip) if !ip.is_loopback() => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        other => other,
    }
}

/// `wanted`, or as many as the process may open files for.
fn within_files(wanted: usize) -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let room = files.map_or(u64::MAX, |files| files.saturating_sub(OTHER_FILES).max(files / 4));
    let most = wanted.min(usize::try_from(room).unwrap_or(usize::MAX)).max(1);
    if most < wanted {
        tracing::warn!(
            most,
            wanted,
            "fewer connections than `limits.max_connections` can be open: raise the limit of open files (`ulimit -n`, LimitNOFILE)"
        );
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(most: usize, each: usize) -> Connections {
        let settings = limit::Settings {
            max_connections: most,
            connections_per_peer: each,
            ..limit::Settings::default()
        };
        Connections::new(&settings, &["10.9.0.0/16".parse().unwrap()])
    }

    /// A connection that rests.
    fn open(all: &Connections, peer: &str) -> Option<(ConnectionSlot, Arc<ActivityMonitor>)> {
        let activity = ActivityMonitor::new();
        Some((all.enter(peer.parse().unwrap(), &activity)?, activity))
    }

    fn is_closing(slot: &ConnectionSlot) -> bool {
        slot.0.slot.close.is_cancelled()
    }

    /// a peer has its share of the connections; of those the one that has rested longest makes room, and no busy one.
    #[test]
    fn one_peer_gets_its_share_and_the_longest_rest_of_its_own_makes_room() {
        let all = connections(100, 3);
        let other = open(&all, "192.0.2.9").unwrap().0;
        let own: Vec<_> = (0..3).filter_map(|_| open(&all, "192.0.2.1")).collect();
        own[0].0.touch();
        let fourth = open(&all, "192.0.2.1").unwrap();
        let closing: Vec<_> = own.iter().map(|(slot, _)| is_closing(slot)).collect();
        assert_eq!((closing, is_closing(&other)), (vec![false, true, false], false));
        // Each has a request under way now: none makes room.
        let busy: Vec<_> = own.iter().chain([&fourth]).map(|(_, a)| a.begin()).collect();
        assert!(open(&all, "192.0.2.1").is_none() && open(&all, "192.0.2.2").is_some());
        drop(busy);
        // Addresses of one IPv6 network are one peer's.
        let six: Vec<_> = (1..=3).filter_map(|n| open(&all, &format!("2001:db8::{n}"))).collect();
        let _more = open(&all, "2001:db8:0:0:1::").unwrap();
        assert!(is_closing(&six[0].0));
    }

    /// where all are taken unknown callers make room before known ones, and the reserve is for known ones.
    #[test]
    fn callers_that_are_known_keep_their_place_and_have_a_reserve() {
        let all = connections(10, 10);
        let known = open(&all, "192.0.2.1").unwrap();
        known.0.show_known();
        let crowd: Vec<_> = (0..8).filter_map(|_| open(&all, "192.0.2.2")).collect();
        let busy: Vec<_> = crowd.iter().map(|(_, a)| a.begin()).collect();
        let newcomer = open(&all, "192.0.2.3").unwrap();
        assert!(!newcomer.0.is_on_loan(), "the ninth of ten is not of the reserve");
        let last = newcomer.1.begin();
        drop(known);
        let on_loan = open(&all, "192.0.2.4").unwrap();
        assert!(on_loan.0.is_on_loan());
        on_loan.0.show_known();
        assert!(!on_loan.0.is_on_loan() && !is_closing(&on_loan.0));
        drop((busy, last));
        let _next = (0..3).filter_map(|_| open(&all, "192.0.2.5")).collect::<Vec<_>>();
        assert!(crowd.iter().any(|(slot, _)| is_closing(slot)) && !is_closing(&on_loan.0));
    }

    /// the connections of a proxy are not counted as one peer's, but the requests of its clients are.
    #[test]
    fn behind_a_proxy_the_forwarded_client_counts() {
        let all = connections(100, 2);
        let proxy: Vec<_> = (0..20).filter_map(|_| open(&all, "10.9.8.7")).collect();
        assert!(proxy.len() == 20 && proxy.iter().all(|(slot, _)| !is_closing(slot)));
        let (one, other) = ("198.51.100.1".parse().unwrap(), "198.51.100.2".parse().unwrap());
        let held = (all.enter_client(one).unwrap(), all.enter_client(one).unwrap());
        assert_eq!(all.enter_client(one).unwrap_err().kind(), ErrorKind::RateLimited);
        assert!(all.enter_client(other).is_ok());
        drop(held);
        assert!(all.enter_client(one).is_ok());
        assert!(all.state().clients.is_empty());
    }
}
