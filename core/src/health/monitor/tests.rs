//! Virtual time: the clock of these tests is tokio's, which stands still until all tasks wait.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use tokio::time::Instant;

use super::*;
use crate::clock::Tick;
use crate::model::HealthStatus;

#[derive(Debug)]
struct TokioClock(Instant);

impl TokioClock {
    #[expect(clippy::disallowed_methods, reason = "paused time, moved by the runtime")]
    fn shared() -> Arc<dyn Clock> {
        Arc::new(Self(Instant::now()))
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Tick {
        Tick::default() + self.0.elapsed()
    }

    fn timestamp(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + self.0.elapsed()
    }
}

/// Answers after the delay of each server; those without one never answer.
#[derive(Default)]
struct Fake {
    delays: Mutex<HashMap<ServerId, Duration>>,
    failing: Mutex<HashSet<ServerId>>,
    asked: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

#[async_trait]
impl Probe for Fake {
    async fn probe(&self, id: ServerId, _kind: ProbeKind) -> Result<()> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
        let delay = self.delays.lock().unwrap().get(&id).copied();
        match delay {
            Some(delay) => tokio::time::sleep(delay).await,
            None => std::future::pending().await,
        }
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        if self.failing.lock().unwrap().contains(&id) {
            return Err(Error::new(ErrorKind::BadUpstream, "nonsense"));
        }
        Ok(())
    }
}

/// Records each conclusion with its time, and takes its time.
#[derive(Default)]
struct Ledger {
    slow: Duration,
    told: Mutex<Vec<(ServerId, HealthRecord)>>,
    batches: AtomicUsize,
}

#[async_trait]
impl Sink for Ledger {
    async fn observed(&self, records: Vec<(ServerId, HealthRecord)>) {
        self.batches.fetch_add(1, Ordering::SeqCst);
        self.told.lock().unwrap().extend(records);
        tokio::time::sleep(self.slow).await;
    }
}

impl Ledger {
    fn of(&self, id: ServerId) -> Vec<HealthRecord> {
        self.told.lock().unwrap().iter().filter(|(told, _)| *told == id).map(|(_, r)| r.clone()).collect()
    }

    fn len(&self) -> usize {
        self.told.lock().unwrap().len()
    }
}

struct Bench {
    monitor: Monitor,
    fake: Arc<Fake>,
    ledger: Arc<Ledger>,
}

fn bench(slow: Duration) -> Bench {
    let (fake, ledger) = (Arc::<Fake>::default(), Arc::new(Ledger { slow, ..Ledger::default() }));
    let random = Arc::new(Random::seeded(5));
    let monitor = Monitor::new(
        TokioClock::shared(),
        random,
        Arc::new(crate::cluster::LocalLeases),
        fake.clone(),
        ledger.clone(),
    );
    Bench { monitor, fake, ledger }
}

impl Bench {
    fn server(&self, delay: Option<Duration>) -> ServerId {
        let id = ServerId::random();
        if let Some(delay) = delay {
            self.fake.delays.lock().unwrap().insert(id, delay);
        }
        id
    }

    fn leave(&self, id: ServerId) {
        self.monitor.update([(id, None)]);
    }

    fn watch(&self, ids: &[ServerId]) {
        self.monitor.update(ids.iter().map(|id| (*id, Some(HealthCheck::default()))));
    }

    /// Lets the monitor run for this long.
    async fn run(&self, time: Duration) {
        assert!(tokio::time::timeout(time, self.monitor.run()).await.is_err());
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// F-19: a round ends in time, failures back off, slow is not dead.
#[tokio::test(start_paused = true)]
async fn a_round_of_200_servers_of_which_50_hang_ends_within_11_seconds() {
    let bench = bench(Duration::from_millis(20));
    let hanging: Vec<_> = (0..50).map(|_| bench.server(None)).collect();
    let answering: Vec<_> = (0..150).map(|_| bench.server(Some(Duration::from_millis(5)))).collect();
    bench.watch(&[hanging.clone(), answering.clone()].concat());
    let round = async {
        tokio::time::sleep(seconds(1)).await;
        assert_eq!(bench.ledger.len(), 150, "those that answer wait for none that hangs");
        tokio::time::sleep(seconds(10)).await;
        assert_eq!(bench.ledger.len(), 200);
    };
    tokio::select! {
        () = round => {}
        () = bench.monitor.run() => {}
    }
    assert!(bench.ledger.batches.load(Ordering::SeqCst) < 100, "results come in batches");
    for id in hanging {
        let record = &bench.ledger.of(id)[0];
        assert_eq!(record.status, HealthStatus::Degraded);
        assert_eq!(record.error.as_deref(), Some("no answer within 10 s"));
        assert!((10_000..10_010).contains(&record.latency_ms));
    }
}

/// F-19: a round ends in time, failures back off, slow is not dead.
#[tokio::test(start_paused = true)]
async fn a_slow_answer_within_the_timeout_is_healthy() {
    let bench = bench(Duration::ZERO);
    let id = bench.server(Some(seconds(9)));
    bench.watch(&[id]);
    bench.run(seconds(10)).await;
    let record = &bench.ledger.of(id)[0];
    assert_eq!((record.status, record.error.as_deref()), (HealthStatus::Healthy, None));
    assert!((9_000..9_010).contains(&record.latency_ms));
}

/// F-19: a round ends in time, failures back off, slow is not dead.
#[tokio::test(start_paused = true)]
async fn a_dead_server_is_probed_ever_more_rarely_and_a_revived_one_as_usual() {
    let bench = bench(Duration::ZERO);
    let id = bench.server(Some(Duration::ZERO));
    bench.fake.failing.lock().unwrap().insert(id);
    bench.watch(&[id]);
    // 0, 30, 90, 210, 450, 750, … 3450 s, each ± 10 %.
    bench.run(seconds(3600)).await;
    assert!((13..=18).contains(&bench.ledger.len()), "{}", bench.ledger.len());
    assert_eq!(bench.ledger.of(id).last().unwrap().status, HealthStatus::Unhealthy);
    bench.fake.failing.lock().unwrap().clear();
    bench.run(seconds(331)).await;
    let before = bench.ledger.len();
    assert_eq!(bench.ledger.of(id).last().unwrap().status, HealthStatus::Healthy);
    bench.run(seconds(300)).await;
    assert!((9..=11).contains(&(bench.ledger.len() - before)));
}

#[tokio::test(start_paused = true)]
async fn servers_come_and_go_while_the_monitor_runs() {
    let bench = bench(Duration::ZERO);
    let (first, second) = (bench.server(Some(Duration::ZERO)), bench.server(Some(seconds(5))));
    bench.watch(&[first]);
    let change = async {
        tokio::time::sleep(seconds(10)).await;
        bench.watch(&[second]);
        bench.leave(first);
        tokio::time::sleep(seconds(3)).await;
        // The probe of `second` is under way: its answer must not be reported.
        bench.leave(second);
        tokio::time::sleep(seconds(100)).await;
    };
    tokio::select! {
        () = change => {}
        () = bench.monitor.run() => {}
    }
    assert_eq!((bench.ledger.of(first).len(), bench.ledger.of(second).len()), (1, 0));
    assert_eq!(bench.fake.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_probe_on_demand_counts_like_any_other() {
    let bench = bench(Duration::ZERO);
    let id = bench.server(Some(seconds(2)));
    let off = HealthCheck { enabled: false, unhealthy_after: 1, ..HealthCheck::default() };
    bench.monitor.update([(id, Some(off))]);
    bench.run(seconds(100)).await;
    assert_eq!(bench.ledger.len(), 0, "not enabled");
    assert_eq!(bench.monitor.probe_now(id).await.unwrap().status, HealthStatus::Healthy);
    bench.fake.failing.lock().unwrap().insert(id);
    let record = bench.monitor.probe_now(id).await.unwrap();
    assert_eq!((record.status, record.latency_ms), (HealthStatus::Unhealthy, 2000));
    assert_eq!(record.error.as_deref(), Some("nonsense"));
    assert_eq!(bench.ledger.of(id).len(), 2);
    let unknown = bench.monitor.probe_now(ServerId::random()).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_512_probes_run_at_once_and_all_get_their_turn() {
    let bench = bench(Duration::ZERO);
    let ids: Vec<_> = (0..1500).map(|_| bench.server(Some(seconds(3)))).collect();
    bench.watch(&ids);
    bench.run(seconds(10)).await;
    assert_eq!(bench.fake.most_at_once.load(Ordering::SeqCst), AT_ONCE);
    assert_eq!(bench.ledger.len(), 1500);
}

#[tokio::test(start_paused = true)]
async fn a_monitor_that_was_cut_and_runs_again_forgets_no_server() {
    let bench = bench(Duration::ZERO);
    let id = bench.server(Some(seconds(5)));
    bench.watch(&[id]);
    bench.run(seconds(3)).await;
    bench.run(seconds(6)).await;
    assert_eq!(bench.ledger.of(id).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_sink_delays_no_probe() {
    let bench = bench(seconds(60));
    let ids: Vec<_> = (0..10).map(|_| bench.server(Some(seconds(1)))).collect();
    bench.watch(&ids);
    bench.run(seconds(50)).await;
    assert!(bench.fake.asked.load(Ordering::SeqCst) >= 20);
}
