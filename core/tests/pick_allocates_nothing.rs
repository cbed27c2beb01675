//! A pick, the record of its outcome and its end touch the heap not once.

use std::sync::Arc;
use std::time::Duration;

use mcp_registry_gateway::breaker::{self, Breaker, Outcome};
use mcp_registry_gateway::clock::Tick;
use mcp_registry_gateway::model::{Algorithm, ServerId};
use mcp_registry_gateway::select::{Member, PickRequest, Pool, ReplicaState, Settings, key_of};

fn pool(algorithm: Algorithm, max_load: Option<f64>, servers: u64) -> Pool {
    let member = |number| {
        let breaker = Breaker::new(breaker::Settings::default(), number);
        let replica = Arc::new(ReplicaState::new(ServerId::random(), format!("server-{number}"), breaker));
        Member { replica, weight: 1, available: true, drained: false }
    };
    Pool::new(Settings { algorithm, max_load, seed: 1, own: None }, (0..servers).map(member).collect(), None)
}

#[test]
fn a_call_from_pick_to_end_allocates_nothing_with_any_algorithm() {
    let now = Tick::default();
    for (&algorithm, max_load) in Algorithm::ALL.iter().flat_map(|one| [(one, None), (one, Some(1.1))]) {
        for servers in [3, 100, 2_000] {
            let pool = pool(algorithm, max_load, servers);
            let ask = PickRequest { key: Some(key_of("session")), exclude: &[] };
            // The first pick of a pool looks at the breakers.
            drop(pool.pick(&ask, now));
            let used = allocation_counter::measure(|| {
                for _ in 0..100 {
                    let lease = pool.pick(&ask, now).expect("all are closed");
                    lease.finish(Outcome::Success, Duration::ZERO, now);
                    let mut lease = pool.pick(&ask, now).expect("all are closed");
                    lease.set_subject(1);
                    lease.record_answer(false, Duration::ZERO, now);
                }
            });
            assert_eq!(used.count_total, 0, "{algorithm:?}, {servers} servers");
        }
    }
}
