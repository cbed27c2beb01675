//! An algorithm of the embedding program's own, in the place of one of the five.
//!
//! It is asked within a frame that it cannot leave: it sees the candidates alone, and its picks are checked against them. So one
//! that is wrong costs its service balance, never a call of a server that is drained, broken or tried already.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use super::candidates::Candidates;
use super::{BalanceRequest, Balancer, Entry};

type Make = dyn Fn(Arc<[Entry]>) -> Box<dyn Balancer> + Send + Sync;

/// Makes a balancer for each set of candidates of a service: those that are active, healthy as far as is known, let in by their
/// breakers, and of a weight above 0. State that outlives a set of candidates is the maker's to keep. Clones share it.
#[derive(Clone)]
pub struct CustomBalancer(Arc<Make>);

impl CustomBalancer {
    /// A maker of balancers. `make` is called whenever a server comes, goes, or changes, and when a breaker opens or closes; it
    /// must not wait, and must not panic.
    pub fn new(make: impl Fn(Arc<[Entry]>) -> Box<dyn Balancer> + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }

    pub(super) fn over(&self, candidates: Candidates) -> Framed {
        let entries = candidates.list.iter().filter_map(|index| candidates.roster.get(*index)).cloned();
        Framed { inner: (self.0)(entries.collect()), candidates }
    }
}

impl PartialEq for CustomBalancer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for CustomBalancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Maker")
    }
}

/// A balancer of the program's own over the candidates, translated from their places to those of all members.
#[derive(Debug)]
pub(super) struct Framed {
    inner: Box<dyn Balancer>,
    candidates: Candidates,
}

impl Balancer for Framed {
    fn pick(&self, ask: &BalanceRequest<'_>) -> Option<usize> {
        let list = &self.candidates.list;
        let excluded = ask.exclude.iter().filter_map(|index| list.binary_search(index).ok());
        let exclude: SmallVec<[usize; 8]> = excluded.collect();
        if exclude.len() >= list.len() {
            return None;
        }
        let place = self.inner.pick(&BalanceRequest { key: ask.key, exclude: &exclude })?;
        // An algorithm need not look at the exclusions: the next member that may be picked takes the place of an excluded one.
        list.get(place).and_then(|_| self.candidates.allowed_from(place, ask))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::{BalancerFactory, InFlight, Settings};
    use crate::model::{Algorithm, ServerId};

    #[derive(Debug)]
    struct Always(usize);

    impl Balancer for Always {
        fn pick(&self, _: &BalanceRequest<'_>) -> Option<usize> {
            Some(self.0)
        }
    }

    /// A spread over four members, the second of which is drained, by one that always picks the same place.
    fn spread(place: usize) -> BalancerFactory {
        let entry = |(number, weight): (usize, u32)| Entry {
            id: ServerId::random(),
            name: format!("server-{number}").into(),
            weight,
            load: InFlight::default(),
        };
        let roster = [1, 0, 1, 1].into_iter().enumerate().map(entry).collect();
        let own = Some(CustomBalancer::new(move |_| Box::new(Always(place))));
        BalancerFactory::new(
            Settings { algorithm: Algorithm::Random, max_load: None, seed: 1, own },
            roster,
            None,
        )
    }

    fn excluding(exclude: &[usize]) -> BalanceRequest<'_> {
        BalanceRequest { key: None, exclude }
    }

    #[test]
    fn a_place_among_the_candidates_is_the_server_that_stands_there() {
        let picks = [0, 1, 2].map(|place| spread(place).over(|_| true).pick(&BalanceRequest::default()));
        assert_eq!(picks, [Some(0), Some(2), Some(3)], "the drained one is no candidate");
        assert_eq!(spread(1).over(|index| index != 2).pick(&BalanceRequest::default()), Some(3));
    }

    #[test]
    fn what_may_not_be_picked_is_not_picked_whatever_the_algorithm_says() {
        let balancer = spread(0).over(|_| true);
        assert_eq!(balancer.pick(&excluding(&[0])), Some(2));
        assert_eq!(balancer.pick(&excluding(&[0, 2])), Some(3));
        assert_eq!(balancer.pick(&excluding(&[0, 2, 3])), None);
        assert_eq!(
            spread(3).over(|_| true).pick(&BalanceRequest::default()),
            None,
            "there is no fourth candidate"
        );
        assert_eq!(spread(0).over(|_| false).pick(&BalanceRequest::default()), None);
    }

    #[test]
    fn it_sees_the_candidates_and_what_is_excluded_by_their_own_places() {
        #[derive(Debug)]
        struct Last(Arc<[Entry]>);

        impl Balancer for Last {
            fn pick(&self, ask: &BalanceRequest<'_>) -> Option<usize> {
                (0..self.0.len()).rev().find(|place| ask.allows(*place))
            }
        }

        let mut spread = spread(0);
        spread.set_own(CustomBalancer::new(|entries| Box::new(Last(entries))));
        let balancer = spread.over(|_| true);
        assert_eq!(balancer.pick(&BalanceRequest::default()), Some(3));
        assert_eq!(balancer.pick(&excluding(&[3])), Some(2));
        assert_eq!(balancer.pick(&excluding(&[3, 2])), Some(0));
    }
}
