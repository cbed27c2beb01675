//! What a pick costs: from a pool to a lease and back, with each algorithm and 3, 100 and 10,000 servers.
//!
//! `cargo bench -p mcp-registry-gateway --bench pick` (add `--no-default-features` to build less). The cost should
//! not grow with the number of servers but for caches that no longer hold it all, and the hash ring's logarithm.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use divan::{Bencher, black_box};
use mcp_registry_gateway::breaker::{self, Breaker, Outcome};
use mcp_registry_gateway::clock::Tick;
use mcp_registry_gateway::model::{Algorithm, ServerId};
use mcp_registry_gateway::select::{Member, PickRequest, Pool, ReplicaState, Settings, key_of};

const SERVERS: [usize; 3] = [3, 100, 10_000];
const NOW: Tick = Tick::from_nanos(0);

fn main() {
    divan::main();
}

fn members(count: usize) -> Vec<Member> {
    let member = |number: usize| {
        let breaker = Breaker::new(breaker::Settings::default(), number as u64);
        let replica = Arc::new(ReplicaState::new(ServerId::random(), format!("server-{number}"), breaker));
        Member {
            replica,
            weight: u32::from(number.is_multiple_of(5)) * 9 + 1,
            available: true,
            drained: false,
        }
    };
    (0..count).map(member).collect()
}

fn settings(algorithm: Algorithm, max_load: Option<f64>) -> Settings {
    Settings { algorithm, max_load, seed: 1, own: None }
}

fn picks(bencher: Bencher<'_, '_>, settings: Settings, servers: usize) {
    let pool = Pool::new(settings, members(servers), None);
    let keys: Vec<u64> = (0..4096).map(|number| key_of(&format!("session {number}"))).collect();
    let turn = AtomicU64::new(0);
    bencher.bench(|| {
        let turn = usize::try_from(turn.fetch_add(1, Ordering::Relaxed)).unwrap_or(0);
        let ask = PickRequest { key: Some(keys[turn % keys.len()]), exclude: &[] };
        black_box(pool.pick(black_box(&ask), NOW))
    });
}

#[divan::bench(args = SERVERS)]
fn round_robin(bencher: Bencher<'_, '_>, servers: usize) {
    picks(bencher, settings(Algorithm::RoundRobin, None), servers);
}

#[divan::bench(args = SERVERS)]
fn weighted(bencher: Bencher<'_, '_>, servers: usize) {
    picks(bencher, settings(Algorithm::Weighted, None), servers);
}

#[divan::bench(args = SERVERS)]
fn least_connections(bencher: Bencher<'_, '_>, servers: usize) {
    picks(bencher, settings(Algorithm::LeastConnections, None), servers);
}

#[divan::bench(args = SERVERS)]
fn random(bencher: Bencher<'_, '_>, servers: usize) {
    picks(bencher, settings(Algorithm::Random, None), servers);
}

#[divan::bench(args = SERVERS)]
fn consistent_hash(bencher: Bencher<'_, '_>, servers: usize) {
    picks(bencher, settings(Algorithm::ConsistentHash, None), servers);
}

#[divan::bench(args = SERVERS)]
fn consistent_hash_bounded(bencher: Bencher<'_, '_>, servers: usize) {
    picks(bencher, settings(Algorithm::ConsistentHash, Some(1.1)), servers);
}

/// Two threads on one pool.
#[divan::bench(args = SERVERS, threads = 2)]
fn round_robin_shared(bencher: Bencher<'_, '_>, servers: usize) {
    picks(bencher, settings(Algorithm::RoundRobin, None), servers);
}

/// A pick, the record of its success, and its end.
#[divan::bench(args = SERVERS)]
fn whole_call(bencher: Bencher<'_, '_>, servers: usize) {
    let pool = Pool::new(settings(Algorithm::Weighted, None), members(servers), None);
    bencher.bench(|| {
        if let Ok(lease) = pool.pick(&PickRequest::default(), NOW) {
            lease.finish(Outcome::Success, std::time::Duration::from_micros(300), NOW);
        }
    });
}

/// What a new pool costs when health flips: the ring is kept.
#[divan::bench(args = SERVERS)]
fn new_pool_same_servers(bencher: Bencher<'_, '_>, servers: usize) {
    let members = members(servers);
    let pool = Pool::new(settings(Algorithm::ConsistentHash, None), members.clone(), None);
    bencher
        .bench_local(|| Pool::new(settings(Algorithm::ConsistentHash, None), members.clone(), Some(&pool)));
}

/// What a new ring costs when a server comes or goes.
#[divan::bench(args = SERVERS, sample_count = 5, sample_size = 1)]
fn new_pool_other_servers(bencher: Bencher<'_, '_>, servers: usize) {
    let members = members(servers);
    bencher.bench_local(|| Pool::new(settings(Algorithm::ConsistentHash, None), members.clone(), None));
}
