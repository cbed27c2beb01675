mod outliers;

use std::sync::{Arc, Barrier};
use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::breaker::{self, Breaker, BreakerState, Outcome};
use crate::clock::Tick;
use crate::error::{Delivery, ErrorKind};
use crate::model::{Algorithm, ServerId};

const NO_TIME: Duration = Duration::ZERO;

fn id(number: usize) -> ServerId {
    ServerId::from_uuid(Uuid::from_u128(number as u128))
}

fn replica(number: usize) -> Arc<ReplicaState> {
    let settings = breaker::Settings { jitter: 0.0, ..breaker::Settings::default() };
    Arc::new(ReplicaState::new(id(number), format!("server-{number}"), Breaker::new(settings, number as u64)))
}

fn member(number: usize) -> Member {
    Member { replica: replica(number), weight: 1, available: true, drained: false }
}

fn members(count: usize) -> Vec<Member> {
    (0..count).map(member).collect()
}

fn pool_of(algorithm: Algorithm, members: Vec<Member>) -> Pool {
    Pool::new(Settings { algorithm, max_load: None, seed: 1, own: None }, members, None)
}

fn pool(members: Vec<Member>) -> Pool {
    pool_of(Algorithm::RoundRobin, members)
}

fn at(seconds: f64) -> Tick {
    Tick::default() + Duration::from_secs_f64(seconds)
}

fn pick(pool: &Pool, now: Tick) -> crate::Result<Lease> {
    pool.pick(&PickRequest::default(), now)
}

fn trip(member: &Member, now: Tick) {
    for _ in 0..5 {
        let permit = member.replica.breaker().try_acquire(now).expect("closed");
        permit.finish(Outcome::Failure, now);
    }
}

fn met(pool: &Pool, picks: usize, now: Tick) -> Vec<usize> {
    let mut counts = vec![0; pool.members().len()];
    for _ in 0..picks {
        counts[pick(pool, now).expect("a server").index()] += 1;
    }
    counts
}

#[test]
fn only_available_members_that_are_not_drained_are_picked() {
    for &algorithm in Algorithm::ALL {
        let mut members = members(5);
        members[1].available = false;
        members[2].drained = true;
        members[3].weight = 0;
        let pool = pool_of(algorithm, members);
        let counts = met(&pool, 300, at(0.0));
        assert!(counts[0] > 50 && counts[4] > 50 && counts[1..4] == [0; 3], "{algorithm:?}: {counts:?}");
    }
}

/// F-09: with no member left all replicas of this service are tried, and no other.
#[test]
fn if_no_member_is_available_all_that_are_not_drained_are_tried() {
    let mut members = members(4);
    for member in &mut members {
        member.available = false;
    }
    members[3].drained = true;
    let pool = pool(members);
    assert!(pool.is_panicking());
    assert_eq!(met(&pool, 30, at(0.0)), [10, 10, 10, 0]);
}

/// F-09: with no member left all replicas of this service are tried, and no other.
#[test]
fn nobody_to_pick_is_unavailable_and_says_why_and_that_nothing_was_sent() {
    let mut drained = members(2);
    drained[0].drained = true;
    drained[1].weight = 0;
    drained[1].available = false;
    let excluded = [id(0), id(1)];
    for (members, exclude, word) in [
        (vec![], &[][..], "none offers"),
        (drained, &[], "drained"),
        (self::members(2), &excluded[..], "tried"),
    ] {
        let pool = pool(members);
        assert!(!pool.is_panicking());
        let error = pool.pick(&PickRequest { key: None, exclude }, at(0.0)).expect_err("nobody");
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unavailable, Delivery::NotSent));
        assert!(error.message().contains(word), "{error}");
        assert_eq!(error.retry_delay(), None);
    }
}

#[test]
fn excluded_servers_are_not_picked_also_when_the_pool_does_not_have_them() {
    for &algorithm in Algorithm::ALL {
        let pool = pool_of(algorithm, members(3));
        for _ in 0..20 {
            let ask = PickRequest { key: None, exclude: &[id(2), id(77), id(0)] };
            assert_eq!(pool.pick(&ask, at(0.0)).expect("one is left").server_id(), id(1));
        }
    }
}

#[test]
fn an_open_breaker_takes_its_member_out_and_time_brings_it_back() {
    let pool = pool(members(3));
    assert_eq!(met(&pool, 9, at(0.0)), [3, 3, 3]);
    trip(&pool.members()[1], at(0.0));
    assert_eq!(met(&pool, 8, at(0.5)), [4, 0, 4]);
    let probe = (0..3).map(|_| pick(&pool, at(1.5)).expect("a server")).find(|lease| lease.index() == 1);
    probe.expect("it is asked again").finish(Outcome::Failure, NO_TIME, at(1.5));
    assert_eq!(met(&pool, 8, at(3.0)), [4, 0, 4], "the second time it is left alone for two seconds");
    for _ in 0..30 {
        pick(&pool, at(4.0)).expect("a server").finish(Outcome::Success, NO_TIME, at(4.0));
    }
    assert_eq!(pool.members()[1].replica.breaker().state(at(4.0)), BreakerState::Closed);
    assert_eq!(met(&pool, 9, at(4.0)), [3, 3, 3]);
}

#[test]
fn when_all_breakers_are_open_the_error_says_when_the_first_lets_calls_in() {
    for &algorithm in Algorithm::ALL {
        let pool = pool_of(algorithm, members(3));
        for (index, seconds) in [0.5, 0.2, 0.4].into_iter().enumerate() {
            trip(&pool.members()[index], at(seconds));
        }
        let error = pick(&pool, at(0.7)).expect_err("all are open");
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unavailable, Delivery::NotSent));
        let delay = error.retry_delay().expect("known").as_secs_f64();
        assert!((0.5..0.506).contains(&delay), "{algorithm:?}: {delay}");
        assert_eq!(pick(&pool, at(0.7 + delay)).expect("half-open").index(), 1);
    }
}

/// F-05: half-open lets exactly three in.
#[test]
fn of_fifty_calls_at_once_to_a_half_open_server_three_get_a_lease_and_the_others_are_unavailable() {
    for &algorithm in Algorithm::ALL {
        let pool = pool_of(algorithm, members(1));
        trip(&pool.members()[0], at(0.0));
        assert!(pick(&pool, at(0.0)).is_err());
        let barrier = Barrier::new(50);
        let leases: Vec<crate::Result<Lease>> = std::thread::scope(|scope| {
            let ask = || {
                barrier.wait();
                pick(&pool, at(2.0))
            };
            let threads: Vec<_> = (0..50).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        let (granted, refused): (Vec<_>, Vec<_>) = leases.into_iter().partition(Result::is_ok);
        assert_eq!(granted.len(), 3);
        for error in refused.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(error.retry_delay().is_some_and(|delay| delay > NO_TIME));
        }
        drop(granted);
        assert!((0..3).map(|_| pick(&pool, at(2.0))).collect::<Vec<_>>().iter().all(Result::is_ok));
    }
}

#[test]
fn a_full_half_open_server_does_not_keep_calls_from_the_others() {
    for &algorithm in Algorithm::ALL {
        let pool = pool_of(algorithm, members(3));
        trip(&pool.members()[0], at(0.0));
        let leases: Vec<Lease> = (0..200).map(|_| pick(&pool, at(2.0)).expect("others are closed")).collect();
        let probes = leases.iter().filter(|lease| lease.index() == 0).count();
        assert_eq!(probes, 1, "{algorithm:?}: one at a time, while others can take the calls");
    }
}

#[test]
fn a_call_is_in_flight_until_its_lease_is_dropped_and_counts_once() {
    let pool = pool(members(1));
    let replica = Arc::clone(&pool.members()[0].replica);
    let mut first = pick(&pool, at(0.0)).expect("a server");
    first.record(Outcome::Success, Duration::from_millis(10), at(0.0));
    first.record(Outcome::Failure, Duration::from_millis(90), at(0.0));
    assert_eq!(replica.in_flight(), 1, "its answer is still streaming");
    pick(&pool, at(0.0)).expect("a server").finish(Outcome::Failure, Duration::from_millis(30), at(0.0));
    drop(pick(&pool, at(0.0)).expect("a server"));
    drop(first);
    let stats = replica.stats();
    assert_eq!((stats.in_flight, stats.total, stats.successes, stats.failures), (0, 3, 1, 1));
    assert!((stats.success_rate() - 0.5).abs() < 1e-9 && (stats.error_rate() - 0.5).abs() < 1e-9);
    assert!((stats.mean_latency_ms() - 20.0).abs() < 1e-9);
    assert_eq!(replica.breaker().failure_count(), 1);
}

#[test]
fn a_server_that_was_never_called_has_a_success_rate_of_one() {
    let stats = replica(0).stats();
    assert!((stats.success_rate() - 1.0).abs() < 1e-9 && stats.mean_latency_ms() == 0.0);
}

#[test]
fn pools_that_share_replicas_share_breakers_and_loads() {
    let all = members(3);
    let some = pool_of(Algorithm::LeastConnections, all[..2].to_vec());
    let all = pool_of(Algorithm::LeastConnections, all);
    let _busy: Vec<Lease> =
        (0..4).map(|_| some.pick(&PickRequest::default(), at(0.0)).expect("a server")).collect();
    assert_eq!(pick(&all, at(0.0)).expect("a server").index(), 2);
    trip(&some.members()[0], at(0.0));
    trip(&some.members()[1], at(0.0));
    assert!(pick(&some, at(0.0)).is_err());
    assert_eq!(met(&all, 10, at(0.0)), [0, 0, 10]);
}

#[test]
fn a_pool_made_from_another_goes_on_with_its_turn() {
    let members = members(4);
    let settings = Settings { algorithm: Algorithm::RoundRobin, max_load: None, seed: 1, own: None };
    let mut pool = Pool::new(settings.clone(), members.clone(), None);
    let mut counts = [0; 4];
    for round in 0..400 {
        let mut members = members.clone();
        members[3].available = round % 2 == 0;
        pool = Pool::new(settings.clone(), members, Some(&pool));
        counts[pick(&pool, at(0.0)).expect("a server").index()] += 1;
    }
    assert!(
        counts[..3].iter().max().zip(counts[..3].iter().min()).is_some_and(|(most, least)| most - least <= 1),
        "{counts:?}"
    );
    assert!(counts[3] > 0);
}

#[test]
fn the_first_picks_of_a_pool_go_by_its_algorithm_also_when_many_come_at_once() {
    for _ in 0..200 {
        let (even, sticky) = (pool(members(4)), pool_of(Algorithm::ConsistentHash, members(4)));
        let start = Barrier::new(4);
        let (counts, homes): (Vec<_>, Vec<_>) = std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| {
                scope.spawn(|| {
                    start.wait();
                    let home = sticky
                        .pick(&PickRequest { key: Some(7), exclude: &[] }, at(0.0))
                        .expect("a server")
                        .index();
                    (met(&even, 4, at(0.0)), home)
                })
            });
            threads.into_iter().map(|thread| thread.join().expect("no panic")).unzip()
        });
        let together: Vec<usize> = (0..4).map(|i| counts.iter().map(|own| own[i]).sum()).collect();
        assert_eq!(together, [4; 4]);
        assert!(homes.iter().all(|home| *home == homes[0]), "{homes:?}");
    }
}

#[test]
fn a_pool_and_the_one_made_from_it_take_turns_while_both_are_in_use() {
    let before = pool(members(4));
    let after = Pool::new(
        Settings { algorithm: Algorithm::RoundRobin, max_load: None, seed: 1, own: None },
        before.members().to_vec(),
        Some(&before),
    );
    let mut counts = [0; 4];
    for pool in [&before, &before, &after, &before, &after, &after, &after, &before] {
        counts[pick(pool, at(0.0)).expect("a server").index()] += 1;
    }
    assert_eq!(counts, [2; 4]);
}

#[test]
fn ten_thousand_open_breakers_cost_a_pick_no_search() {
    let pool = pool(members(10_000));
    for member in &pool.members()[1..] {
        trip(member, at(0.0));
    }
    let before = pool.looks();
    assert_eq!(met(&pool, 1_000, at(0.5))[0], 1_000);
    assert_eq!(pool.looks() - before, 1, "looked at all breakers once, not once a pick");
    trip(&pool.members()[0], at(0.5));
    for _ in 0..1_000 {
        assert!(pick(&pool, at(0.6)).is_err());
    }
    assert_eq!(pool.looks() - before, 2);
}

#[test]
fn threads_that_pick_while_breakers_open_and_close_always_find_the_one_that_works() {
    let pool = pool(members(6));
    std::thread::scope(|scope| {
        for thread in 0_u32..4 {
            let pool = &pool;
            scope.spawn(move || {
                for round in 0..3_000_u32 {
                    let now = at(f64::from(round) / 100.0);
                    let lease = pick(pool, now).expect("server 0 always works");
                    let works = lease.index() == 0 || (round / 300 + thread) % 3 == 0;
                    let outcome = if works { Outcome::Success } else { Outcome::Failure };
                    lease.finish(outcome, NO_TIME, now);
                }
            });
        }
    });
    assert!(pool.members().iter().all(|member| member.replica.in_flight() == 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// In any state: a pick fails exactly when no usable member's breaker lets calls in.
    #[test]
    fn a_pick_fails_only_if_nobody_is_left(
        algorithm in prop::sample::select(Algorithm::ALL),
        flags in prop::collection::vec((any::<bool>(), prop::bool::weighted(0.2)), 1..6),
        steps in prop::collection::vec((0_u8..10, 0_usize..50, 0_u64..800, any::<u64>()), 1..150),
    ) {
        let flagged = flags.into_iter().enumerate().map(|(number, (available, drained))| {
            Member { available, drained, ..member(number) }
        });
        let pool = pool_of(algorithm, flagged.collect());
        let mut now = at(0.0);
        let mut out: Vec<Lease> = Vec::new();
        for (what, which, time, key) in steps {
            match what {
                0 => now = now + Duration::from_millis(time),
                1..=4 => {
                    let usable = |member: &&Member| !member.drained && (member.available || pool.is_panicking());
                    let ready = |member: &Member| member.replica.breaker().readiness(now) == breaker::Readiness::Ready;
                    let expected = pool.members().iter().filter(usable).any(ready);
                    let lease = pool.pick(&PickRequest { key: Some(key), exclude: &[] }, now);
                    prop_assert_eq!(lease.is_ok(), expected);
                    if let Ok(lease) = lease {
                        let member = &pool.members()[lease.index()];
                        prop_assert!(usable(&member));
                        out.push(lease);
                    }
                }
                _ if out.is_empty() => {}
                5 => drop(out.swap_remove(which % out.len())),
                6 => out.swap_remove(which % out.len()).finish(Outcome::Success, NO_TIME, now),
                _ => out.swap_remove(which % out.len()).finish(Outcome::Failure, NO_TIME, now),
            }
        }
    }
}

#[test]
fn a_lease_that_is_given_back_counts_as_no_call_and_frees_its_place() {
    let members = members(1);
    let pool = pool(members.clone());
    pick(&pool, at(0.0)).expect("a server").give_back();
    let stats = members[0].replica.stats();
    assert_eq!((stats.total, stats.in_flight), (0, 0));
}
