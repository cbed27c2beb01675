//! X-11 and the outlier rule, simulated: a bad replica that answers in 1 ms beside a good one that takes 20 ms.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

/// How the bad replica answers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// HTTP 500 without a JSON-RPC body: a failure for the breaker.
    Fails,
    /// An internal error of JSON-RPC: a well-formed answer.
    Errs,
    /// HTTP 429 without `Retry-After`; the call is tried elsewhere.
    Refuses,
    Heals,
}

struct World {
    pool: Pool,
    now: Tick,
    /// When a call ends, its caller, whether it is at the bad replica, whether it was sent before.
    ends: BinaryHeap<Reverse<(Tick, usize, bool, bool)>>,
    leases: Vec<Option<Lease>>,
    fault: Fault,
    at_bad: usize,
}

const BAD: usize = 0;
const SUBJECT: u64 = 7;

impl World {
    fn new(algorithm: Algorithm, callers: usize, fault: Fault) -> Self {
        let (members, comparison) = (members(2), Arc::<Comparison>::default());
        for member in &members {
            member.replica.compare_in(Some(&comparison));
        }
        let pool = pool_of(algorithm, members);
        let leases = (0..callers).map(|_| None).collect();
        let mut world = Self { pool, now: at(0.0), ends: BinaryHeap::new(), leases, fault, at_bad: 0 };
        for caller in 0..callers {
            world.send(caller, &[]);
        }
        world
    }

    fn send(&mut self, caller: usize, exclude: &[ServerId]) {
        let key = Some(key_of(&format!("session-{caller}")));
        let mut lease = self.pool.pick(&PickRequest { key, exclude }, self.now).expect("a replica");
        lease.set_subject(SUBJECT);
        let bad = lease.index() == BAD;
        self.at_bad += usize::from(bad);
        let took = Duration::from_millis(if bad && self.fault != Fault::Heals { 1 } else { 20 });
        self.ends.push(Reverse((self.now + took, caller, bad, !exclude.is_empty())));
        self.leases[caller] = Some(lease);
    }

    /// Ends so many calls, each of which is followed by another; returns how many succeeded.
    fn run(&mut self, calls: usize) -> usize {
        let (mut ended, mut good) = (0, 0);
        while ended < calls {
            let Reverse((now, caller, bad, again)) = self.ends.pop().expect("a call");
            self.now = now;
            let mut lease = self.leases[caller].take().expect("its lease");
            let took = Duration::from_millis(if bad { 1 } else { 20 });
            let mut elsewhere = None;
            match self.fault {
                Fault::Fails if bad => lease.record(Outcome::Failure, took, now),
                Fault::Errs if bad => lease.record_answer(true, took, now),
                Fault::Refuses if bad => {
                    lease.replica().refused(None, now);
                    lease.record(Outcome::Ignored, took, now);
                    elsewhere = (!again).then(|| lease.server_id());
                }
                _ => {
                    lease.record_answer(false, took, now);
                    good += 1;
                }
            }
            drop(lease);
            if let Some(id) = elsewhere {
                self.send(caller, &[id]);
                continue;
            }
            ended += 1;
            self.send(caller, &[]);
        }
        good
    }
}

/// The rule of "At home in the field": at least 99 of 100 calls succeed once the gateway has learned.
#[test]
fn beside_a_good_replica_a_bad_one_costs_at_most_one_call_in_a_hundred_under_every_algorithm() {
    for &algorithm in Algorithm::ALL {
        for fault in [Fault::Fails, Fault::Errs, Fault::Refuses] {
            for callers in [1, 2, 16, 64] {
                let mut world = World::new(algorithm, callers, fault);
                let first = world.run(600.max(callers * 40));
                for calls in [200, 1000, 5000] {
                    let good = world.run(calls);
                    let what = format!(
                        "{algorithm:?}, {fault:?}, {callers} callers: {good} of {calls}; first {first}"
                    );
                    assert!(good * 100 >= calls * 99, "{what}");
                }
            }
        }
    }
}

#[test]
fn refusals_are_answered_by_the_other_replica_from_the_first_call_on() {
    for &algorithm in Algorithm::ALL {
        let mut world = World::new(algorithm, 16, Fault::Refuses);
        assert_eq!(world.run(5000), 5000, "{algorithm:?}");
        assert!(world.at_bad < 60, "{algorithm:?}: {} calls were refused", world.at_bad);
    }
}

#[test]
fn a_replica_that_answers_well_again_gets_its_share_back() {
    for &algorithm in Algorithm::ALL {
        for fault in [Fault::Fails, Fault::Errs, Fault::Refuses] {
            let mut world = World::new(algorithm, 16, fault);
            world.run(3000);
            let probes = world.at_bad;
            world.fault = Fault::Heals;
            world.run(20_000);
            let before = world.at_bad;
            world.run(1000);
            let share = world.at_bad - before;
            let fair = if algorithm == Algorithm::ConsistentHash { 100..=900 } else { 400..=600 };
            assert!(fair.contains(&share), "{algorithm:?}, {fault:?}: {share} of 1000, {probes} before");
        }
    }
}

#[test]
fn a_single_replica_is_never_set_aside_and_neither_are_all() {
    let (member, comparison) = (member(0), Arc::<Comparison>::default());
    member.replica.compare_in(Some(&comparison));
    let alone = pool(vec![member.clone()]);
    for _ in 0..200 {
        let mut lease = pick(&alone, at(0.0)).expect("the only one");
        lease.record_answer(true, NO_TIME, at(0.0));
    }
    assert!(!member.replica.is_outlier() && comparison.ejections() == 0);
    assert_eq!(
        member.replica.breaker().state(at(0.0)),
        BreakerState::Closed,
        "well-formed answers open no breaker"
    );

    let members = members(3);
    for member in &members {
        member.replica.compare_in(Some(&comparison));
    }
    let pool = pool(members.clone());
    for n in 0..2000 {
        let now = at(f64::from(n) / 100.0);
        pick(&pool, now).expect("a replica").record_answer(true, NO_TIME, now);
        assert!(members.iter().any(|member| !member.replica.is_set_aside()), "after {n}");
    }
    assert_eq!(comparison.ejections(), 0, "they are all alike");
    // All refuse calls: they all get them, as before.
    for member in &members {
        member.replica.refused(None, at(30.0));
    }
    assert_eq!(met(&pool, 30, at(30.1)), [10, 10, 10]);
}

#[test]
fn replicas_are_compared_by_subject_with_enough_answers_of_each() {
    let (members, comparison) = (members(2), Arc::<Comparison>::default());
    for member in &members {
        member.replica.compare_in(Some(&comparison));
    }
    let answer = |replica: usize, subject: u64, bad: bool| {
        members[replica].replica.compare(subject, bad, at(0.0));
    };
    // The first is asked for what fails everywhere, the second for what works everywhere.
    for _ in 0..100 {
        answer(0, 1, true);
        answer(1, 2, false);
    }
    assert!(!members[0].replica.is_outlier() || comparison.ejections() == 0, "it cannot be compared");
    for _ in 0..20 {
        answer(1, 1, true);
    }
    assert_eq!(comparison.ejections(), 0, "the other one fails in that, too");
    assert!(!members[0].replica.is_set_aside(), "the doubt is gone");
    for _ in 0..20 {
        answer(0, 3, false);
        answer(1, 3, true);
    }
    assert!(members[1].replica.is_outlier() && !members[0].replica.is_outlier());
    assert_eq!(comparison.ejections(), 1);
    for _ in 0..5 {
        answer(1, 1, false);
    }
    assert!(members[1].replica.is_outlier(), "another subject proves nothing");
    for _ in 0..5 {
        answer(1, 3, false);
    }
    assert!(!members[1].replica.is_set_aside());
}

/// Nobody asks any more for what it answered badly.
#[test]
fn an_outlier_is_forgotten_with_its_subject() {
    let (members, comparison) = (members(2), Arc::<Comparison>::default());
    for member in &members {
        member.replica.compare_in(Some(&comparison));
    }
    for _ in 0..20 {
        members[0].replica.compare(1, false, at(0.0));
        members[1].replica.compare(1, true, at(0.0));
    }
    assert!(members[1].replica.is_outlier());
    members[0].replica.compare(2, false, at(299.0));
    assert!(members[1].replica.is_outlier());
    members[0].replica.compare(2, false, at(301.0));
    assert!(!members[1].replica.is_set_aside());
}
