//! An immutable candidate set with its balancer.
//!
//! A pick looks at a view: a balancer over the members whose breakers let calls in. The view is made anew when a
//! breaker of the pool changes its answer (it raises the pool's signal) or the soonest open time has passed, so that
//! thousands of open breakers cost a pick nothing. The view is a hint only: the permit that a lease needs is asked of the
//! breaker itself, and a pick that is denied looks further. A thread that finds the view out of date makes it anew, one
//! at a time; the others do not wait but use the present one, and search all members before they give up.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock};

use arc_swap::{ArcSwap, Guard};
use foldhash::fast::RandomState;

use super::{Hold, Lease, ReplicaState, Settings};
use crate::balance::{self, Balancer, BalancerFactory, Entry};
use crate::breaker::{RawPermit, Readiness, Signal};
use crate::clock::Tick;
use crate::error::{Error, ErrorKind, Result};
use crate::model::ServerId;

/// Denials in a row after which a pick stops asking the balancer and searches.
const TRIES: usize = 8;

/// A server in a pool.
#[derive(Clone, Debug)]
pub struct Member {
    /// The server.
    pub replica: Arc<ReplicaState>,
    /// Its share; 0 is drained.
    pub weight: u32,
    /// Whether health says that it is usable.
    pub available: bool,
    /// Whether it gets no new calls, whatever else is true.
    pub drained: bool,
}

impl Member {
    fn is_drained(&self) -> bool {
        self.drained || self.weight == 0
    }
}

/// The request for one pick.
#[derive(Clone, Copy, Debug, Default)]
pub struct PickRequest<'a> {
    /// Hash of the affinity key, of [`super::key_of`]; without one, consistent hashing picks at random.
    pub key: Option<u64>,
    /// Servers not to pick, as those that were tried already.
    pub exclude: &'a [ServerId],
}

/// An immutable candidate set with its balancer.
#[derive(Debug)]
pub struct Pool {
    members: Vec<Member>,
    by_id: HashMap<ServerId, usize, RandomState>,
    spread: BalancerFactory,
    panicking: bool,
    signal: Arc<Signal>,
    /// The view at the first look. As long as nothing has changed since, which is most often, no thread has to hold on to a view.
    first: OnceLock<View>,
    view: ArcSwap<View>,
    looking: Mutex<()>,
    #[cfg(test)]
    looks: std::sync::atomic::AtomicU64,
}

/// The calls that the breakers of a pool allow, as seen at one moment.
#[derive(Debug)]
struct View {
    balancer: Box<dyn Balancer>,
    /// Members that are ready and not among the candidates: they are on trial.
    aside: Vec<usize>,
    /// The count of the signal before the breakers were looked at.
    seen: u64,
    /// When the first open breaker lets calls in again.
    until: Option<Tick>,
    /// When asking again makes sense, if no member is left.
    retry: Option<Tick>,
}

impl View {
    fn is_current(&self, signal: &Signal, now: Tick) -> bool {
        self.seen == signal.count() && self.until.is_none_or(|until| now < until)
    }
}

/// A view in use.
enum SeenReplica<'a> {
    First(&'a View),
    Later(Guard<Arc<View>>),
}

impl Deref for SeenReplica<'_> {
    type Target = View;

    #[inline]
    fn deref(&self) -> &View {
        match self {
            Self::First(view) => view,
            Self::Later(view) => view,
        }
    }
}

impl Pool {
    /// A pool of these members, which goes on where `previous` stands: the next turn, the calls in flight, the
    /// hash ring. Names and ids are unique among members.
    pub fn new(settings: Settings, members: Vec<Member>, previous: Option<&Self>) -> Self {
        let entries = members.iter().map(|member| Entry {
            id: member.replica.id(),
            name: Arc::clone(member.replica.name()),
            weight: member.weight,
            load: member.replica.load().clone(),
        });
        let spread =
            BalancerFactory::new(settings, entries.collect(), previous.map(|previous| &previous.spread));
        let by_id = members.iter().enumerate().map(|(index, member)| (member.replica.id(), index)).collect();
        let mut active = members.iter().filter(|member| !member.is_drained()).peekable();
        let panicking = active.peek().is_some() && !active.any(|member| member.available);
        let signal = previous.map_or_else(Arc::default, |previous| Arc::clone(&previous.signal));
        for member in &members {
            member.replica.breaker().watch(&signal);
        }
        let usable = |index: usize| !members[index].is_drained() && (members[index].available || panicking);
        // Out of date from the start, whatever the time: the first pick looks. Until it has, the others go by the
        // algorithm over everyone who may be usable, so that a new pool breaks neither turns nor affinities.
        let balancer = spread.over(usable);
        let view = View { balancer, aside: Vec::new(), seen: 0, until: Some(Tick::default()), retry: None };
        Self {
            members,
            by_id,
            spread,
            panicking,
            signal,
            first: OnceLock::new(),
            view: ArcSwap::from_pointee(view),
            looking: Mutex::new(()),
            #[cfg(test)]
            looks: std::sync::atomic::AtomicU64::new(0),
        }
    }

    /// A lease on one member that is available and not drained and whose breaker grants a permit. If no member that is
    /// not drained is available, they all count as available: a health check that is wrong about every member should
    /// not be the cause that stops the service.
    ///
    /// [`ErrorKind::Unavailable`] (nothing was sent) when there is none; `retry_delay` is the soonest that a
    /// breaker lets calls in again.
    pub fn pick(&self, ask: &PickRequest<'_>, now: Tick) -> Result<Lease> {
        let hold = self.hold(ask, now)?;
        Ok(Lease::new(Arc::clone(&self.members[hold.index()].replica), hold))
    }

    /// As [`Pool::pick`], for callers that have the picked member anyway.
    pub(crate) fn hold(&self, ask: &PickRequest<'_>, now: Tick) -> Result<Hold> {
        let known = ask.exclude.iter().filter_map(|id| self.by_id.get(id).copied());
        // Allocates only when something is excluded or denied.
        let mut exclude: Vec<usize> = known.collect();
        let mut denied = None;
        for turn in 0..TRIES {
            let view = self.view(now);
            if turn == 0
                && let Some(hold) = self.probe(&view.aside, &exclude, now)
            {
                return Ok(hold);
            }
            let Some(index) =
                view.balancer.pick(&balance::BalanceRequest { key: ask.key, exclude: &exclude })
            else {
                // A pick that was denied knows more than the view: a breaker tells the pool after it has changed.
                let is_all = view.aside.is_empty() && view.is_current(&self.signal, now);
                if denied.is_none() && is_all {
                    return Err(self.unavailable(view.retry, now));
                }
                break;
            };
            match self.members[index].replica.breaker().acquire_raw(now) {
                Ok(place) => return Ok(self.begin(index, place)),
                Err(why) => {
                    exclude.push(index);
                    denied = Some(sooner(denied, now + why.retry_after));
                }
            }
        }
        self.search(&exclude, denied, ask, now)
    }

    /// A hold on a member that is on trial, if it is time to find out how it is.
    #[inline]
    fn probe(&self, aside: &[usize], exclude: &[usize], now: Tick) -> Option<Hold> {
        for index in aside.iter().copied().filter(|index| !exclude.contains(index)) {
            let replica = &self.members[index].replica;
            if replica.takes_probe(now)
                && let Ok(place) = replica.breaker().acquire_raw(now)
            {
                return Some(self.begin(index, place));
            }
        }
        None
    }

    /// The members, in the order of their indexes.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Whether no member that is not drained is available, so that they all count as available.
    pub fn is_panicking(&self) -> bool {
        self.panicking
    }

    /// How often all breakers were looked at.
    #[cfg(test)]
    pub(super) fn looks(&self) -> u64 {
        self.looks.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn is_usable(&self, index: usize) -> bool {
        let member = &self.members[index];
        !member.is_drained() && (member.available || self.panicking)
    }

    fn begin(&self, index: usize, place: RawPermit) -> Hold {
        Hold::begin(&self.members[index].replica, index, place, self.spread.book(index))
    }

    /// The view, made anew if it is out of date and no other thread is at it.
    fn view(&self, now: Tick) -> SeenReplica<'_> {
        if let Some(first) = self.first.get().filter(|first| first.is_current(&self.signal, now)) {
            return SeenReplica::First(first);
        }
        let view = self.view.load();
        if view.is_current(&self.signal, now) {
            return SeenReplica::Later(view);
        }
        if let Ok(_only_one) = self.looking.try_lock()
            && let Err(later) = self.first.set(self.look(now))
        {
            self.view.store(Arc::new(later));
        }
        match self.first.get() {
            Some(first) if first.is_current(&self.signal, now) => SeenReplica::First(first),
            _ => SeenReplica::Later(self.view.load()),
        }
    }

    fn look(&self, now: Tick) -> View {
        #[cfg(test)]
        self.looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let seen = self.signal.count();
        let mut ready = vec![false; self.members.len()];
        let (mut until, mut retry): (Option<Tick>, Option<Tick>) = (None, None);
        for index in (0..self.members.len()).filter(|index| self.is_usable(*index)) {
            let breaker = self.members[index].replica.breaker();
            let readiness = breaker.readiness(now);
            ready[index] = readiness == Readiness::Ready;
            if let Readiness::Until(due) = readiness {
                until = Some(sooner(until, due));
            }
            if let Some(delay) = breaker.retry_after(now) {
                retry = Some(sooner(retry, now + delay));
            }
        }
        let is_aside = |index: &usize| ready[*index] && self.members[*index].replica.is_on_trial(now);
        let mut aside: Vec<usize> = (0..self.members.len()).filter(is_aside).collect();
        if aside.len() == ready.iter().filter(|ready| **ready).count() {
            // With no other left, those that are on trial take the calls.
            aside.clear();
        }
        for index in &aside {
            ready[*index] = false;
        }
        View { balancer: self.spread.over(|index| ready[index]), aside, seen, until, retry }
    }

    /// Asks every member that is left, for when the view could not be trusted.
    fn search(
        &self,
        exclude: &[usize],
        mut denied: Option<Tick>,
        ask: &PickRequest<'_>,
        now: Tick,
    ) -> Result<Hold> {
        let tried = |index: usize| ask.exclude.contains(&self.members[index].replica.id());
        let start = exclude.last().map_or(0, |index| index + 1);
        let usable = (start..self.members.len()).chain(0..start).filter(|index| self.is_usable(*index));
        for index in usable.filter(|index| !tried(*index)) {
            match self.members[index].replica.breaker().acquire_raw(now) {
                Ok(place) => return Ok(self.begin(index, place)),
                Err(why) => denied = Some(sooner(denied, now + why.retry_after)),
            }
        }
        Err(self.unavailable(denied, now))
    }

    fn unavailable(&self, retry: Option<Tick>, now: Tick) -> Error {
        let message = if self.members.is_empty() {
            "no server can take the call: none offers it"
        } else if self.members.iter().all(Member::is_drained) {
            "no server can take the call: all are drained; give one a weight above 0 or make it active"
        } else if retry.is_some() {
            "no server can take the call now: those that failed too often are left alone for a while"
        } else {
            "no server can take the call: each was tried already"
        };
        let error = Error::new(ErrorKind::Unavailable, message).not_sent();
        match retry {
            Some(retry) => error.retry_after(retry.since(now)),
            None => error,
        }
    }
}

fn sooner(known: Option<Tick>, other: Tick) -> Tick {
    known.map_or(other, |known| known.min(other))
}
