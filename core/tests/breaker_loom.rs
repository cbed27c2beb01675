//! The breaker's concurrent core under a model checker, which tries every interleaving that matters.
//!
//! The files under test are those that the crate compiles, over loom's atomics instead of the standard library's.

use loom::sync::Arc;
use loom::sync::atomic;
use loom::thread;

#[path = "../src/breaker/gate.rs"]
mod gate;
#[path = "../src/breaker/window.rs"]
mod window;

use gate::{DUE_SHIFT, Ending, Gate, Phase, Rules, Ticket};
use window::BUCKETS;

const OPEN: u64 = 1 << DUE_SHIFT;
const RULES: Rules =
    Rules { consecutive: 2, bucket_nanos: OPEN, minimum_calls: 1_000, failure_percent: 50, probes: 2 };

fn check(test: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(test);
}

fn enter(gate: &Gate, now: u64) -> Option<Ticket> {
    gate.enter(now, RULES.probes).ok().map(|entered| entered.ticket)
}

fn finish(gate: &Gate, ticket: Ticket, ending: Ending, now: u64) -> bool {
    gate.finish(ticket, ending, now, &RULES, |_| OPEN)
}

/// A gate that lets probes in from `OPEN` on.
fn opened() -> Gate {
    let gate = Gate::new();
    for ticket in [enter(&gate, 0), enter(&gate, 0)].into_iter().flatten() {
        finish(&gate, ticket, Ending::Failure, 0);
    }
    assert_eq!(gate.phase(), Phase::Open { due: OPEN });
    gate
}

#[test]
fn half_open_never_lets_in_more_than_its_probes() {
    check(|| {
        let gate = Arc::new(opened());
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let gate = Arc::clone(&gate);
                thread::spawn(move || gate.enter(OPEN, RULES.probes).ok().map(|entered| entered.filled))
            })
            .collect();
        let entered: Vec<bool> =
            threads.into_iter().filter_map(|thread| thread.join().expect("no panic")).collect();
        assert_eq!(entered.len(), 2);
        assert_eq!(entered.iter().filter(|filled| **filled).count(), 1, "one of them took the last place");
        assert_eq!(gate.phase(), Phase::HalfOpen { out: 2, successes: 0 });
    });
}

#[test]
fn a_dropped_probe_frees_its_place_whatever_else_happens() {
    check(|| {
        let gate = Arc::new(opened());
        let cancelled = enter(&gate, OPEN).expect("half-open");
        let other = Arc::clone(&gate);
        let dropping = thread::spawn(move || finish(&other, cancelled, Ending::Ignored, OPEN));
        let other = Arc::clone(&gate);
        let succeeding = thread::spawn(move || {
            if let Some(ticket) = enter(&other, OPEN) {
                finish(&other, ticket, Ending::Success, OPEN);
            }
        });
        dropping.join().expect("no panic");
        succeeding.join().expect("no panic");
        assert_eq!(gate.phase(), Phase::HalfOpen { out: 0, successes: 1 });
        assert!(enter(&gate, OPEN).is_some());
    });
}

#[test]
fn of_failures_at_once_one_opens_it_and_opens_it_once() {
    check(|| {
        let gate = Arc::new(Gate::new());
        let first = enter(&gate, 0).expect("closed");
        assert!(!finish(&gate, first, Ending::Failure, 0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let gate = Arc::clone(&gate);
                let ticket = enter(&gate, 0).expect("closed");
                thread::spawn(move || finish(&gate, ticket, Ending::Failure, 0))
            })
            .collect();
        let opened =
            threads.into_iter().map(|thread| thread.join().expect("no panic")).filter(|it| *it).count();
        assert_eq!(opened, 1);
        assert_eq!(gate.phase(), Phase::Open { due: OPEN });
    });
}

#[test]
fn a_late_failure_never_counts_for_the_next_generation() {
    check(|| {
        let gate = Arc::new(Gate::new());
        let late = enter(&gate, 0).expect("closed");
        let other = Arc::clone(&gate);
        let straggler = thread::spawn(move || finish(&other, late, Ending::Failure, 0));
        for _ in 0..2 {
            if let Some(ticket) = enter(&gate, 0) {
                finish(&gate, ticket, Ending::Failure, 0);
            }
        }
        for _ in 0..2 {
            let probe = enter(&gate, BUCKETS as u64 * OPEN).expect("its time has passed");
            finish(&gate, probe, Ending::Success, BUCKETS as u64 * OPEN);
        }
        straggler.join().expect("no panic");
        assert_eq!(gate.phase(), Phase::Closed);
        assert_eq!(gate.failures_in_a_row(), 0);
    });
}

#[test]
fn success_and_failure_of_probes_at_once_end_open_or_half_open_but_never_closed() {
    check(|| {
        let gate = Arc::new(opened());
        let probes: Vec<Ticket> = (0..2).filter_map(|_| enter(&gate, OPEN)).collect();
        let other = Arc::clone(&gate);
        let failing = probes[0];
        let thread = thread::spawn(move || finish(&other, failing, Ending::Failure, OPEN));
        finish(&gate, probes[1], Ending::Success, OPEN);
        thread.join().expect("no panic");
        assert_eq!(gate.phase(), Phase::Open { due: 2 * OPEN });
    });
}
