use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::model::Algorithm;

fn entry(number: usize, weight: u32) -> Entry {
    Entry {
        id: ServerId::from_uuid(Uuid::from_u128(number as u128 + 1)),
        name: format!("server-{number:03}").into(),
        weight,
        load: InFlight::default(),
    }
}

fn roster(weights: &[u32]) -> Vec<Entry> {
    weights.iter().enumerate().map(|(number, weight)| entry(number, *weight)).collect()
}

fn settings(algorithm: Algorithm) -> Settings {
    Settings { algorithm, max_load: None, seed: 42, own: None }
}

fn spread(algorithm: Algorithm, weights: &[u32]) -> BalancerFactory {
    BalancerFactory::new(settings(algorithm), roster(weights), None)
}

fn pick(balancer: &dyn Balancer) -> usize {
    balancer.pick(&BalanceRequest::default()).expect("has candidates")
}

fn tally(balancer: &dyn Balancer, members: usize, picks: usize) -> Vec<usize> {
    let mut counts = vec![0; members];
    for _ in 0..picks {
        counts[pick(balancer)] += 1;
    }
    counts
}

fn keys(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(|number| key_of(&format!("key {number}")))
}

fn homes(balancer: &dyn Balancer, count: u64) -> Vec<usize> {
    keys(count)
        .map(|key| balancer.pick(&BalanceRequest { key: Some(key), exclude: &[] }).expect("a home"))
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn worst_over_mean(counts: &[usize]) -> f64 {
    let mean = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
    counts.iter().copied().max().unwrap_or(0) as f64 / mean
}

#[test]
fn no_algorithm_picks_a_drained_unusable_or_excluded_member() {
    for &algorithm in Algorithm::ALL {
        let weights: Vec<u32> = (0..100_u32).map(|number| u32::from(!number.is_multiple_of(3))).collect();
        let balancer = spread(algorithm, &weights).over(|index| !index.is_multiple_of(5));
        let exclude = [1, 2, 4, 7, 8, 1, 99, 1000];
        for key in keys(2_000) {
            let index =
                balancer.pick(&BalanceRequest { key: Some(key), exclude: &exclude }).expect("some are left");
            let usable = !index.is_multiple_of(3) && !index.is_multiple_of(5);
            assert!(usable && !exclude.contains(&index), "{algorithm:?}: {index}");
        }
    }
}

#[test]
fn without_a_candidate_there_is_no_pick_and_no_panic() {
    for &algorithm in Algorithm::ALL {
        let some = BalanceRequest { key: Some(7), exclude: &[] };
        let all = BalanceRequest { key: None, exclude: &[0, 1, 2] };
        for ask in [BalanceRequest::default(), some, all] {
            assert_eq!(spread(algorithm, &[]).over(|_| true).pick(&ask), None);
            assert_eq!(spread(algorithm, &[0, 0, 0]).over(|_| true).pick(&ask), None);
            assert_eq!(spread(algorithm, &[1, 2, 3]).over(|_| false).pick(&ask), None);
        }
        assert_eq!(spread(algorithm, &[1, 2, 3]).over(|_| true).pick(&all), None, "{algorithm:?}");
        assert_eq!(
            spread(algorithm, &[u32::MAX; 3])
                .over(|_| true)
                .pick(&BalanceRequest { key: None, exclude: &[0, 2] }),
            Some(1)
        );
    }
}

#[test]
fn round_robin_is_exactly_even() {
    for members in [1, 2, 3, 10, 97] {
        let balancer = spread(Algorithm::RoundRobin, &vec![1; members]).over(|_| true);
        assert_eq!(tally(&*balancer, members, members * 7), vec![7; members]);
    }
}

#[test]
fn round_robin_is_even_over_threads() {
    let balancer = spread(Algorithm::RoundRobin, &[1; 5]).over(|index| index != 2);
    let counts: Vec<Vec<usize>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| tally(&*balancer, 5, 1_000))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let sum = |index: usize| counts.iter().map(|counts| counts[index]).sum::<usize>();
    assert_eq!((0..5).map(sum).collect::<Vec<_>>(), [1_000, 1_000, 0, 1_000, 1_000]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// The sets change at every pick; members 0 to 4 are in all of them.
    #[test]
    fn round_robin_is_even_over_those_that_stay_while_sets_flap(
        sets in prop::collection::vec(any::<[bool; 6]>(), 1..500),
        pools in any::<bool>(),
    ) {
        let mut spread = spread(Algorithm::RoundRobin, &[1; 11]);
        let mut counts = [0_usize; 11];
        for set in sets {
            let usable = |number: usize| number < 5 || set[number - 5];
            let index = if pools {
                // Members come and go, instead of being unusable for a while.
                let present: Vec<usize> = (0..11).filter(|number| usable(*number)).collect();
                let members = present.iter().map(|number| entry(*number, 1)).collect();
                spread = BalancerFactory::new(settings(Algorithm::RoundRobin), members, Some(&spread));
                present[pick(&*spread.over(|_| true))]
            } else {
                pick(&*spread.over(usable))
            };
            counts[index] += 1;
        }
        let (least, most) = (counts[..5].iter().min().unwrap(), counts[..5].iter().max().unwrap());
        prop_assert!(most - least <= 1, "{:?}", counts);
        prop_assert!(counts[5..].iter().all(|count| count <= most), "{:?}", counts);
    }

    #[test]
    fn weighted_is_exact_in_every_period_and_smooth_within(
        weights in prop::collection::vec(0_u32..60, 1..12),
        factor in 1_u32..1000,
        skip in 0_usize..300,
    ) {
        let weights: Vec<u32> = weights.iter().map(|weight| weight * factor).collect();
        let total: u32 = weights.iter().sum();
        prop_assume!(total > 0);
        let divisor = weights.iter().fold(0, |a, b| gcd(a, *b));
        let period = usize::try_from(total / divisor).unwrap();
        let balancer = spread(Algorithm::Weighted, &weights).over(|_| true);
        tally(&*balancer, weights.len(), skip);
        let mut counts = vec![0_usize; weights.len()];
        for picks in 1..=period {
            counts[pick(&*balancer)] += 1;
            for (count, weight) in counts.iter().zip(&weights) {
                let share = f64::from(*weight) / f64::from(total) * as_float(picks);
                prop_assert!((as_float(*count) - share).abs() < smooth(picks), "{:?} of {:?}", counts, weights);
            }
        }
        let exact: Vec<usize> = weights.iter().map(|weight| usize::try_from(weight / divisor).unwrap()).collect();
        prop_assert_eq!(counts, exact);
    }

    /// No number of slots has a step that makes bursts.
    #[test]
    fn weighted_is_smooth_for_every_sum(first in 1_u32..20_000, second in 1_u32..20_000) {
        let balancer = spread(Algorithm::Weighted, &[first, second]).over(|_| true);
        let share = f64::from(first) / f64::from(first + second);
        let mut count = 0_usize;
        for picks in 1..=2_000 {
            count += usize::from(pick(&*balancer) == 0);
            let off = (as_float(count) - share * as_float(picks)).abs();
            prop_assert!(off < smooth(picks), "{} to {}: {} off after {}", first, second, off, picks);
        }
    }

    #[test]
    fn bounded_loads_hold_at_every_assignment(
        weights in prop::collection::vec(0_u32..5, 2..20),
        steps in prop::collection::vec((0_u64..30, 0_usize..100, any::<bool>()), 1..400),
        factor in 100_u32..200,
    ) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let factor = f64::from(factor) / 100.0;
        let settings = Settings { max_load: Some(factor), ..settings(Algorithm::ConsistentHash) };
        let spread = BalancerFactory::new(settings, roster(&weights), None);
        let balancer = spread.over(|_| true);
        let total: u32 = weights.iter().sum();
        let mut held: Vec<(usize, Held)> = Vec::new();
        for (key, which, arrive) in steps {
            if arrive || held.is_empty() {
                let index = balancer.pick(&BalanceRequest { key: Some(key_of(&key.to_string())), exclude: &[] }).unwrap();
                held.push((index, hold(&spread, index)));
                let own = held.iter().filter(|(other, _)| *other == index).count();
                let mean = as_float(held.len()) * f64::from(weights[index]) / f64::from(total);
                prop_assert!(as_float(own) <= (factor * mean + 1e-9).ceil().max(1.0));
            } else {
                drop(held.swap_remove(which % held.len()));
            }
        }
    }
}

/// A call in flight, as a lease counts it.
struct Held {
    load: InFlight,
    _booked: Option<InFlightGuard>,
}

fn hold(spread: &BalancerFactory, index: usize) -> Held {
    let load = spread.roster()[index].load.clone();
    load.add();
    Held { load, _booked: spread.book(index) }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.load.sub();
    }
}

/// How far a count may be from its share after so many picks.
fn smooth(picks: usize) -> f64 {
    1.5 + as_float(picks).ln()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn as_float(count: usize) -> f64 {
    count as f64
}

#[test]
fn weighted_meets_everyone_also_when_two_sets_alternate() {
    let spread = spread(Algorithm::Weighted, &[1, 1, 1]);
    let mut counts = [[0_usize; 3]; 2];
    for number in 0..1_000 {
        let all = number % 2 == 0;
        counts[number % 2][pick(&*spread.over(|index| all || index < 2))] += 1;
    }
    assert!(counts[0].iter().all(|count| (160..=173).contains(count)), "{counts:?}");
    assert!(counts[1][..2].iter().all(|count| (245..=255).contains(count)), "{counts:?}");
}

#[test]
fn weighted_stays_exact_when_the_balancer_is_made_anew_at_every_pick() {
    let mut spread = spread(Algorithm::Weighted, &[4, 2, 1, 1]);
    let mut counts = [0; 4];
    for _ in 0..16 {
        counts[pick(&*spread.over(|_| true))] += 1;
        spread = BalancerFactory::new(settings(Algorithm::Weighted), roster(&[4, 2, 1, 1]), Some(&spread));
    }
    assert_eq!(counts, [8, 4, 2, 2]);
}

#[test]
fn weighted_does_not_send_bursts_to_the_heaviest() {
    let balancer = spread(Algorithm::Weighted, &[90, 10]).over(|_| true);
    let picks: Vec<usize> = (0..100).map(|_| pick(&*balancer)).collect();
    let longest = picks.split(|index| *index == 1).map(<[usize]>::len).max();
    assert!(longest <= Some(14), "an even spacing has nine: {picks:?}");
}

#[test]
fn least_connections_takes_the_exact_minimum_and_breaks_ties_at_random() {
    let spread = spread(Algorithm::LeastConnections, &[1; 8]);
    let balancer = spread.over(|_| true);
    let busy: Vec<Held> = [0, 0, 3, 5, 6].into_iter().map(|index| hold(&spread, index)).collect();
    let counts = tally(&*balancer, 8, 4_000);
    for (index, count) in counts.iter().enumerate() {
        let idle = [1, 2, 4, 7].contains(&index);
        assert!(if idle { (880..1_120).contains(count) } else { *count == 0 }, "{counts:?}");
    }
    drop(busy);
    assert!(tally(&*balancer, 8, 4_000).iter().all(|count| *count > 400));
}

#[test]
fn least_connections_keeps_calls_in_flight_level_until_they_end() {
    let small = spread(Algorithm::LeastConnections, &[1; 7]);
    let balancer = small.over(|_| true);
    let held: Vec<Held> = (0..70).map(|_| hold(&small, pick(&*balancer))).collect();
    assert!(small.roster().iter().all(|entry| entry.load.get() == 10));
    drop(held);
    assert!(small.roster().iter().all(|entry| entry.load.get() == 0));

    let large = spread(Algorithm::LeastConnections, &[1; 1_000]);
    let balancer = large.over(|_| true);
    let _held: Vec<Held> = (0..10_000).map(|_| hold(&large, pick(&*balancer))).collect();
    let most = large.roster().iter().map(|entry| entry.load.get()).max();
    // One random choice would give about 22 at most; two give about 10 + log2 ln 1000.
    assert!(most <= Some(14), "{most:?}");
}

#[test]
fn random_is_uniform_within_three_sigma_and_repeats_with_its_seed() {
    for exclude in [&[][..], &[3, 7][..]] {
        let picks = || {
            let balancer = spread(Algorithm::Random, &[1; 10]).over(|_| true);
            (0..100_000)
                .filter_map(|_| balancer.pick(&BalanceRequest { key: None, exclude }))
                .collect::<Vec<_>>()
        };
        let run = picks();
        assert_eq!(run, picks());
        let share = 1.0 / (10.0 - as_float(exclude.len()));
        let sigma = (100_000.0 * share * (1.0 - share)).sqrt();
        for index in (0..10).filter(|index| !exclude.contains(index)) {
            let count = run.iter().filter(|other| **other == index).count();
            assert!((as_float(count) - 100_000.0 * share).abs() < 3.0 * sigma, "{index}: {count}");
        }
    }
}

#[test]
fn the_worst_of_a_hundred_equal_servers_has_at_most_15_percent_over_the_mean() {
    for weight in [1, 100] {
        let balancer = spread(Algorithm::ConsistentHash, &[weight; 100]).over(|_| true);
        let mut counts = vec![0; 100];
        for home in homes(&*balancer, 200_000) {
            counts[home] += 1;
        }
        let worst = worst_over_mean(&counts);
        assert!(worst <= 1.15, "{worst} with weight {weight}");
    }
}

#[test]
fn shares_of_the_ring_follow_the_weights() {
    let balancer = spread(Algorithm::ConsistentHash, &[5, 3, 2, 0]).over(|_| true);
    let homes = homes(&*balancer, 50_000);
    for (index, share) in [0.5, 0.3, 0.2, 0.0].into_iter().enumerate() {
        let count = as_float(homes.iter().filter(|home| **home == index).count());
        assert!((count / 50_000.0 - share).abs() <= share * 0.12, "{index}: {count}");
    }
}

#[test]
fn when_one_of_n_leaves_at_most_one_and_a_half_nths_of_the_keys_move() {
    for servers in [2_usize, 3, 10, 100] {
        let before = homes(&*spread(Algorithm::ConsistentHash, &vec![1; servers]).over(|_| true), 50_000);
        for gone in [0, servers / 2, servers - 1] {
            let rest: Vec<Entry> =
                (0..servers).filter(|number| *number != gone).map(|number| entry(number, 1)).collect();
            let after = BalancerFactory::new(settings(Algorithm::ConsistentHash), rest, None).over(|_| true);
            let after = homes(&*after, 50_000).into_iter().map(|home| home + usize::from(home >= gone));
            let moved: Vec<usize> =
                before.iter().zip(after).filter(|(old, new)| **old != *new).map(|(old, _)| *old).collect();
            assert!(moved.iter().all(|old| *old == gone), "only the keys of the one that left move");
            assert!(
                as_float(moved.len()) <= 1.5 / as_float(servers) * 50_000.0,
                "{} of {servers}",
                moved.len()
            );
        }
    }
}

#[test]
fn a_server_that_is_out_for_a_while_gets_its_own_keys_back_and_only_they_move() {
    let spread = spread(Algorithm::ConsistentHash, &[1; 20]);
    let before = homes(&*spread.over(|_| true), 20_000);
    let during = homes(&*spread.over(|index| index != 7), 20_000);
    assert!(before.iter().zip(&during).all(|(old, new)| if *old == 7 { *new != 7 } else { old == new }));
    let heirs: std::collections::HashSet<_> =
        before.iter().zip(&during).filter(|(old, _)| **old == 7).map(|(_, new)| new).collect();
    assert_eq!(heirs.len(), 19, "its keys spread over all others");
    assert_eq!(homes(&*spread.over(|_| true), 20_000), before);
}

#[test]
fn the_ring_is_kept_while_names_and_weights_stay() {
    let settings = settings(Algorithm::ConsistentHash);
    let first = BalancerFactory::new(settings.clone(), roster(&[1, 2]), None);
    let same = BalancerFactory::new(settings.clone(), roster(&[1, 2]), Some(&first));
    let other = BalancerFactory::new(settings, roster(&[1, 3]), Some(&first));
    let points =
        |spread: &BalancerFactory| spread.over(|_| true).pick(&BalanceRequest { key: Some(1), exclude: &[] });
    assert!(first.shares_ring(&same));
    assert!(!first.shares_ring(&other));
    assert_eq!(points(&first), points(&same));
}

#[test]
fn with_nearly_everyone_out_a_key_still_finds_one_of_the_rest_and_the_same_each_time() {
    let spread = spread(Algorithm::ConsistentHash, &[1; 1_000]);
    let balancer = spread.over(|index| index == 17 || index == 800);
    let found = homes(&*balancer, 1_000);
    assert_eq!(found, homes(&*balancer, 1_000));
    let share = found.iter().filter(|home| **home == 17).count();
    assert!((400..600).contains(&share), "{share}");
}

#[test]
fn bounded_loads_go_on_with_the_calls_in_flight_when_the_pool_changes() {
    let settings = Settings { max_load: Some(1.0), ..settings(Algorithm::ConsistentHash) };
    let ask = BalanceRequest { key: Some(key_of("hot")), exclude: &[] };
    let mut spread = BalancerFactory::new(settings.clone(), roster(&[1; 4]), None);
    let mut held = Vec::new();
    for calls in 1..=40_u64 {
        spread = BalancerFactory::new(settings.clone(), roster(&[1; 4]), Some(&spread));
        let index = spread.over(|_| true).pick(&ask).expect("room");
        held.push((index, hold(&spread, index)));
        let most = (0..4).map(|index| held.iter().filter(|(other, _)| *other == index).count()).max();
        assert!(most <= usize::try_from(calls.div_ceil(4)).ok());
    }
}

#[test]
fn keys_reach_the_servers_that_the_golden_vectors_name() {
    #[derive(serde::Deserialize)]
    struct Vectors {
        seed: u64,
        cases: Vec<Case>,
    }
    #[derive(serde::Deserialize)]
    struct Case {
        name: String,
        servers: Vec<Named>,
        keys: Vec<Row>,
    }
    #[derive(serde::Deserialize)]
    struct Named {
        name: String,
        weight: u32,
    }
    #[derive(serde::Deserialize)]
    struct Row {
        key: String,
        hash: String,
        servers: Vec<String>,
    }
    let text = include_str!("../../../tests/vectors/decisions/consistent_hash.json");
    let vectors: Vectors = serde_json::from_str(text).expect("well-formed vectors");
    assert_eq!(vectors.seed, HASH_SEED);
    for case in vectors.cases {
        let entry = |(number, named): (usize, &Named)| Entry {
            name: named.name.as_str().into(),
            ..entry(number, named.weight)
        };
        // The order in which members are given is of no account.
        let mut members: Vec<Entry> = case.servers.iter().enumerate().map(entry).collect();
        members.reverse();
        let spread = BalancerFactory::new(settings(Algorithm::ConsistentHash), members, None);
        let balancer = spread.over(|_| true);
        for row in case.keys {
            assert_eq!(format!("{:016x}", key_of(&row.key)), row.hash, "hash of {:?}", row.key);
            let mut exclude = Vec::new();
            for expected in &row.servers {
                let ask = BalanceRequest { key: Some(key_of(&row.key)), exclude: &exclude };
                let index = balancer.pick(&ask).expect("a server");
                assert_eq!(&*spread.roster()[index].name, expected.as_str(), "{}: {:?}", case.name, row.key);
                exclude.push(index);
            }
        }
    }
}
