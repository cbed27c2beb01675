use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
/// The resolution of an open breaker's deadline.
const GRAIN: Duration = Duration::from_nanos(1 << gate::DUE_SHIFT);

fn exact() -> Settings {
    Settings { jitter: 0.0, ..Settings::default() }
}

fn breaker(settings: Settings) -> Breaker {
    Breaker::new(settings, 7)
}

fn at(seconds: f64) -> Tick {
    Tick::default() + Duration::from_secs_f64(seconds)
}

fn call(breaker: &Breaker, outcome: Outcome, now: Tick) {
    breaker.try_acquire(now).expect("lets calls in").finish(outcome, now);
}

/// Fails it until it is open.
fn trip(breaker: &Breaker, now: Tick) {
    for _ in 0..5 {
        call(breaker, Outcome::Failure, now);
    }
    assert_eq!(breaker.state(now), BreakerState::Open);
}

#[test]
fn five_failures_in_a_row_open_it_and_four_do_not() {
    let breaker = breaker(exact());
    for count in 1..=4 {
        call(&breaker, Outcome::Failure, at(0.0));
        assert_eq!((breaker.state(at(0.0)), breaker.failure_count()), (BreakerState::Closed, count));
    }
    call(&breaker, Outcome::Failure, at(0.0));
    assert_eq!((breaker.state(at(0.0)), breaker.failure_count()), (BreakerState::Open, 5));
}

#[test]
fn a_success_ends_the_row_of_failures() {
    let breaker = breaker(Settings { minimum_calls: 1000, ..exact() });
    for _ in 0..4 {
        for _ in 0..4 {
            call(&breaker, Outcome::Failure, at(0.0));
        }
        call(&breaker, Outcome::Success, at(0.0));
        assert_eq!((breaker.state(at(0.0)), breaker.failure_count()), (BreakerState::Closed, 0));
    }
}

#[test]
fn half_of_twenty_calls_failing_within_ten_seconds_opens_it() {
    let breaker = breaker(exact());
    for second in 0..9 {
        call(&breaker, Outcome::Success, at(f64::from(second)));
        call(&breaker, Outcome::Failure, at(f64::from(second)));
    }
    call(&breaker, Outcome::Success, at(9.5));
    assert_eq!(breaker.state(at(9.5)), BreakerState::Closed, "nineteen calls say nothing");
    call(&breaker, Outcome::Failure, at(9.5));
    assert_eq!(breaker.state(at(9.5)), BreakerState::Open);
}

#[test]
fn failures_that_left_the_window_do_not_count() {
    let breaker = breaker(exact());
    for second in 0..100 {
        // Nineteen calls in any ten seconds.
        let both = second % 10 != 0;
        call(&breaker, Outcome::Success, at(f64::from(second)));
        if both {
            call(&breaker, Outcome::Failure, at(f64::from(second)));
        }
    }
    assert_eq!(breaker.state(at(100.0)), BreakerState::Closed);
}

#[test]
fn a_server_that_was_idle_for_months_counts_from_nothing() {
    let breaker = breaker(exact());
    for idle in [61.0, 122.0, 400.0] {
        let now = at(idle * 86_400.0);
        for _ in 0..10 {
            call(&breaker, Outcome::Success, now);
        }
        for _ in 0..3 {
            call(&breaker, Outcome::Failure, now);
            call(&breaker, Outcome::Success, now);
        }
        assert_eq!(breaker.state(now), BreakerState::Closed);
    }
    let now = at(500.0 * 86_400.0);
    for _ in 0..10 {
        call(&breaker, Outcome::Success, now);
        call(&breaker, Outcome::Failure, now);
    }
    assert_eq!(breaker.state(now), BreakerState::Open, "ten of twenty failed");
}

/// F-04: an outcome that is no failure of the server does not count.
#[test]
fn ignored_calls_change_nothing_however_many() {
    let breaker = breaker(exact());
    for _ in 0..4 {
        call(&breaker, Outcome::Failure, at(0.0));
    }
    for _ in 0..1000 {
        call(&breaker, Outcome::Ignored, at(0.0));
        drop(breaker.try_acquire(at(0.0)));
    }
    assert_eq!((breaker.state(at(0.0)), breaker.failure_count()), (BreakerState::Closed, 4));
}

#[test]
fn an_open_breaker_denies_and_says_how_long() {
    let breaker = breaker(exact());
    trip(&breaker, at(0.0));
    let denied = breaker.try_acquire(at(0.25)).expect_err("open");
    assert!((SECOND * 3 / 4..SECOND * 3 / 4 + GRAIN).contains(&denied.retry_after), "{denied:?}");
    assert_eq!(breaker.retry_after(at(0.25)), Some(denied.retry_after));
    assert_eq!(breaker.state(at(0.25) + denied.retry_after), BreakerState::HalfOpen);
    assert_eq!(breaker.retry_after(at(0.25) + denied.retry_after), None);
    assert!(breaker.try_acquire(at(0.25) + denied.retry_after).is_ok());
}

#[test]
fn each_failed_probe_doubles_the_open_time_up_to_a_minute() {
    let breaker = breaker(exact());
    trip(&breaker, at(0.0));
    let mut now = at(0.0);
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
        let wait = breaker.retry_after(now).expect("open");
        assert!((SECOND * seconds..SECOND * seconds + GRAIN).contains(&wait), "{wait:?} for {seconds} s");
        now = now + wait;
        call(&breaker, Outcome::Failure, now);
    }
}

#[test]
fn closing_starts_the_open_time_from_the_beginning() {
    let breaker = breaker(exact());
    trip(&breaker, at(0.0));
    call(&breaker, Outcome::Failure, at(1.1));
    for _ in 0..3 {
        call(&breaker, Outcome::Success, at(4.0));
    }
    assert_eq!((breaker.state(at(4.0)), breaker.failure_count()), (BreakerState::Closed, 0));
    trip(&breaker, at(4.0));
    assert!(breaker.retry_after(at(4.0)).is_some_and(|wait| wait < SECOND + GRAIN));
}

#[test]
fn the_open_time_is_spread_by_a_fifth_either_way_and_by_the_seed_alone() {
    let wait = |seed| {
        let breaker = Breaker::new(Settings::default(), seed);
        trip(&breaker, at(0.0));
        breaker.retry_after(at(0.0)).expect("open")
    };
    let waits: Vec<Duration> = (0..100).map(wait).collect();
    assert!(waits.iter().all(|wait| (SECOND * 4 / 5..=SECOND * 6 / 5 + GRAIN).contains(wait)));
    assert!(waits.iter().max() > waits.iter().min().map(|least| *least + SECOND / 4).as_ref());
    assert_eq!(waits, (0..100).map(wait).collect::<Vec<_>>());
}

/// F-05: half-open lets exactly three in.
#[test]
fn of_fifty_threads_that_ask_at_once_half_open_lets_in_exactly_three() {
    let breaker = breaker(exact());
    trip(&breaker, at(0.0));
    let granted = AtomicUsize::new(0);
    let barrier = std::sync::Barrier::new(50);
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                barrier.wait();
                let permit = breaker.try_acquire(at(2.0));
                granted.fetch_add(usize::from(permit.is_ok()), Ordering::SeqCst);
                barrier.wait();
            });
        }
    });
    assert_eq!(granted.into_inner(), 3);
}

#[test]
fn a_probe_that_succeeds_does_not_make_room_for_a_fourth() {
    let breaker = breaker(exact());
    trip(&breaker, at(0.0));
    let probes: Vec<Permit> = (0..3).filter_map(|_| breaker.try_acquire(at(2.0)).ok()).collect();
    for probe in probes {
        assert_eq!(breaker.state(at(2.0)), BreakerState::HalfOpen);
        assert!(breaker.try_acquire(at(2.0)).is_err());
        probe.finish(Outcome::Success, at(2.0));
    }
    assert_eq!(breaker.state(at(2.0)), BreakerState::Closed);
}

/// F-06: a probe that goes away releases its permit.
#[test]
fn cancelled_and_panicking_probes_free_their_places() {
    let breaker = breaker(exact());
    trip(&breaker, at(0.0));
    for _ in 0..100 {
        let probes: Vec<Permit> = (0..3).filter_map(|_| breaker.try_acquire(at(2.0)).ok()).collect();
        assert_eq!(probes.len(), 3);
        assert_eq!(breaker.readiness(at(2.0)), Readiness::Full);
        let task = std::thread::spawn(move || {
            let _probes = probes;
            panic!("the task of a probe dies (expected in this test)");
        });
        assert!(task.join().is_err());
        assert_eq!(breaker.state(at(2.0)), BreakerState::HalfOpen);
    }
    for _ in 0..3 {
        call(&breaker, Outcome::Success, at(2.0));
    }
    assert_eq!(breaker.state(at(2.0)), BreakerState::Closed);
}

#[test]
fn late_results_of_an_older_generation_change_nothing() {
    let breaker = breaker(exact());
    let late: Vec<Permit> = (0..20).filter_map(|_| breaker.try_acquire(at(0.0)).ok()).collect();
    trip(&breaker, at(0.0));
    let probe = breaker.try_acquire(at(2.0)).expect("half-open");
    let mut outcomes = [Outcome::Success, Outcome::Failure, Outcome::Ignored].into_iter().cycle();
    for permit in late {
        permit.finish(outcomes.next().expect("endless"), at(2.0));
        assert_eq!(breaker.state(at(2.0)), BreakerState::HalfOpen);
    }
    let others: Vec<Permit> = (0..5).filter_map(|_| breaker.try_acquire(at(2.0)).ok()).collect();
    assert_eq!(others.len(), 2, "no late result took or freed a place");
    probe.finish(Outcome::Failure, at(2.0));
    let wait = breaker.retry_after(at(2.0));
    drop(others);
    assert_eq!((breaker.state(at(2.0)), breaker.retry_after(at(2.0))), (BreakerState::Open, wait));
}

#[test]
fn watchers_hear_of_every_change_of_the_answer() {
    let breaker = breaker(exact());
    let signal = Arc::new(Signal::default());
    breaker.watch(&signal);
    breaker.watch(&signal);
    let mut heard = 0;
    let mut changes = |what: &str, expected: u64| {
        assert_eq!(signal.count() - heard, expected, "{what}");
        heard = signal.count();
    };
    call(&breaker, Outcome::Success, at(0.0));
    changes("a call of a closed breaker", 0);
    trip(&breaker, at(0.0));
    changes("it opened", 1);
    let mut probes: Vec<Permit> = (0..3).filter_map(|_| breaker.try_acquire(at(2.0)).ok()).collect();
    changes("the last place was taken", 1);
    drop(probes.pop());
    changes("a place became free", 1);
    drop(probes.pop());
    changes("another place became free", 0);
    drop(probes);
    for _ in 0..3 {
        call(&breaker, Outcome::Success, at(2.0));
    }
    assert_eq!(breaker.state(at(2.0)), BreakerState::Closed);
    assert!(signal.count() > heard, "it closed");
}

/// The breaker as one would tell it: no packing, no atomics, a list of calls.
#[derive(Debug)]
struct Model {
    settings: Settings,
    state: ModelState,
    generation: u64,
    trips: u32,
    row: u32,
    calls: VecDeque<(u64, bool)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum ModelState {
    Closed,
    Open(u64),
    HalfOpen { out: u16, successes: u16 },
}

impl Model {
    fn enter(&mut self, now: u64) -> Option<u64> {
        match self.state {
            ModelState::Closed => Some(self.generation),
            ModelState::Open(due) if now < due => None,
            ModelState::Open(_) => {
                self.state = ModelState::HalfOpen { out: 1, successes: 0 };
                self.generation += 1;
                Some(self.generation)
            }
            ModelState::HalfOpen { out, successes } if out + successes >= self.settings.probes => None,
            ModelState::HalfOpen { out, successes } => {
                self.state = ModelState::HalfOpen { out: out + 1, successes };
                Some(self.generation)
            }
        }
    }

    fn open(&mut self, now: u64, trips: u32) {
        let time = self.settings.open.saturating_mul(1 << trips).min(self.settings.open_max);
        let due = now + u64::try_from(time.as_nanos()).unwrap();
        let grain = u64::try_from(GRAIN.as_nanos()).unwrap();
        self.state = ModelState::Open(due.div_ceil(grain) * grain);
        self.trips = trips;
        self.generation += 1;
    }

    fn finish(&mut self, generation: u64, outcome: Outcome, now: u64) {
        if generation != self.generation {
            return;
        }
        match (self.state, outcome) {
            (ModelState::Open(_), _) => unreachable!("nobody holds a permit of an open breaker"),
            (ModelState::Closed, Outcome::Ignored) => {}
            (ModelState::Closed, Outcome::Success) => {
                self.row = 0;
                self.calls.push_back((now, false));
            }
            (ModelState::Closed, Outcome::Failure) => {
                self.row += 1;
                self.calls.push_back((now, true));
                let part = u64::try_from(self.settings.window.as_nanos()).unwrap() / 10;
                let recent = self.calls.iter().filter(|(then, _)| now / part - then / part < 10);
                let (total, failed) = (recent.clone().count(), recent.filter(|(_, failed)| *failed).count());
                let enough = total >= usize::try_from(self.settings.minimum_calls).unwrap();
                if self.row >= self.settings.consecutive_failures || enough && failed * 2 >= total {
                    self.open(now, 0);
                }
            }
            (ModelState::HalfOpen { .. }, Outcome::Failure) => self.open(now, self.trips + 1),
            (ModelState::HalfOpen { out, successes }, Outcome::Ignored) => {
                self.state = ModelState::HalfOpen { out: out - 1, successes };
            }
            (ModelState::HalfOpen { out, successes }, Outcome::Success) => {
                self.state = ModelState::HalfOpen { out: out - 1, successes: successes + 1 };
                if successes + 1 == self.settings.probes {
                    self.state = ModelState::Closed;
                    self.generation += 1;
                    (self.row, self.trips) = (0, 0);
                    self.calls.clear();
                }
            }
        }
    }

    fn state(&self, now: u64) -> BreakerState {
        match self.state {
            ModelState::Closed => BreakerState::Closed,
            ModelState::Open(due) if now < due => BreakerState::Open,
            _ => BreakerState::HalfOpen,
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Acquire,
    Finish(usize, Outcome),
    Drop(usize),
    Advance(Duration),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        3 => Just(Outcome::Success),
        4 => Just(Outcome::Failure),
        1 => Just(Outcome::Ignored)
    ];
    let step = prop_oneof![
        8 => Just(Step::Acquire),
        8 => (any::<usize>(), outcome).prop_map(|(which, outcome)| Step::Finish(which, outcome)),
        1 => any::<usize>().prop_map(Step::Drop),
        2 => (0_u64..3000).prop_map(|ms| Step::Advance(Duration::from_millis(ms))),
        1 => (3000_u64..100_000).prop_map(|ms| Step::Advance(Duration::from_millis(ms))),
    ];
    prop::collection::vec(step, 1..400)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_behaves_as_the_model_in_any_sequence(steps in steps(), row in 3_u32..30, probes in 1_u16..5) {
        let settings = Settings { consecutive_failures: row, probes, ..exact() };
        let breaker = breaker(settings.clone());
        let mut model = Model {
            settings, state: ModelState::Closed, generation: 0, trips: 0, row: 0, calls: VecDeque::new(),
        };
        let mut now = Tick::default();
        let mut out: Vec<(Permit, u64)> = Vec::new();
        for step in steps {
            match step {
                Step::Acquire => {
                    let (real, expected) = (breaker.try_acquire(now), model.enter(now.as_nanos()));
                    prop_assert_eq!(real.is_ok(), expected.is_some());
                    out.extend(real.ok().zip(expected));
                }
                Step::Finish(which, outcome) if !out.is_empty() => {
                    let (permit, generation) = out.swap_remove(which % out.len());
                    permit.finish(outcome, now);
                    model.finish(generation, outcome, now.as_nanos());
                }
                Step::Drop(which) if !out.is_empty() => {
                    let (permit, generation) = out.swap_remove(which % out.len());
                    drop(permit);
                    model.finish(generation, Outcome::Ignored, now.as_nanos());
                }
                Step::Finish(..) | Step::Drop(_) => {}
                Step::Advance(by) => now = now + by,
            }
            prop_assert_eq!(breaker.state(now), model.state(now.as_nanos()));
            if model.state == ModelState::Closed {
                prop_assert_eq!(breaker.failure_count(), model.row);
            }
            if let ModelState::Open(due) = model.state && model.state(now.as_nanos()) == BreakerState::Open {
                prop_assert_eq!(breaker.retry_after(now), Some(Tick::from_nanos(due).since(now)));
            }
        }
    }
}
