//! Many callers at once, on a clock that is moved by hand.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use tokio::task::unconstrained;

use super::*;
use crate::clock::ManualClock;
use crate::model::{Grant, Role};

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn user(tenant_id: &str, name: &str, role: Role) -> Principal {
    Principal::new(tenant(tenant_id), format!("user:{name}"), role)
}

fn limiter(settings: Settings) -> (Limiter, Arc<ManualClock>) {
    let clock = ManualClock::shared();
    (Limiter::new(settings, Arc::clone(&clock) as Arc<dyn Clock>), clock)
}

fn admit(limiter: &Limiter, principal: &Principal) -> Result<Admission> {
    limiter.admit(principal).get().now_or_never().expect("nobody has to wait")
}

fn through(limiter: &Limiter, principal: &Principal, tries: usize) -> usize {
    (0..tries).filter(|_| admit(limiter, principal).is_ok()).count()
}

/// L-05: each role has its own number of requests a minute, and a credential's own limit goes before it
#[test]
fn a_role_has_its_limit_and_a_key_its_own() {
    let (limiter, _) = limiter(Settings::default());
    let limits = [1000, 750, 500, 250, 100, 20];
    for (role, limit) in Role::ALL.into_iter().zip(limits) {
        assert_eq!(through(&limiter, &user(role.as_str(), "a", role), 1100), limit, "{role:?}");
    }
    let grant = Grant { requests_per_minute: Some(3), ..Grant::default() };
    assert_eq!(through(&limiter, &user("keyed", "k", Role::Admin).with(grant), 10), 3);
}

/// L-05: bursts around the edge of a minute: never more than 100 in any 60 s, then 429 with the time to wait
#[test]
fn a_burst_around_the_edge_of_a_minute_gets_no_more_than_the_limit() {
    let (limiter, clock) = limiter(Settings::default());
    let viewer = user("t", "v", Role::Viewer);
    clock.advance(Duration::from_millis(59_900));
    assert_eq!(through(&limiter, &viewer, 150), 100);
    clock.advance(Duration::from_millis(200));
    let error = admit(&limiter, &viewer).unwrap_err();
    assert_eq!((error.kind(), error.cause()), (ErrorKind::RateLimited, &Cause::RateLimit(100)));
    assert_eq!(error.context(), [("requests_per_minute", "100".to_owned())]);
    let wait = error.retry_delay().unwrap();
    assert!(wait > Duration::from_secs(59) && wait <= Duration::from_secs(61), "{wait:?}");
    clock.advance(wait);
    assert_eq!(through(&limiter, &viewer, 150), 100);
    assert_eq!(limiter.stats().rate_refusals, 50 + 1 + 50);
}

#[test]
fn a_process_of_this_machine_has_no_rate_and_leaves_nothing_behind() {
    let (limiter, _) = limiter(Settings { gateway: 5, ..Settings::default() });
    let local = Principal::local(TenantId::default_tenant());
    assert_eq!(through(&limiter, &local, 5000), 5000);
    assert_eq!(limiter.stats().windows, 0);
    assert_eq!(admit(&limiter, &local).unwrap().quota(), None);
}

#[test]
fn what_is_left_is_told() {
    let (limiter, clock) = limiter(Settings::default());
    let viewer = user("t", "v", Role::Viewer);
    clock.advance(Duration::from_millis(500));
    let quota = admit(&limiter, &viewer).unwrap().quota().unwrap();
    assert_eq!((quota.limit, quota.remaining), (100, 99));
    assert_eq!(quota.reset, Duration::from_millis(60_500));
}

/// T-15: a tenant that uses up its own limit leaves the limits of another as they were
#[test]
fn what_a_tenant_uses_up_is_its_own() {
    let (limiter, _) = limiter(Settings { viewer: 10, ..Settings::default() });
    let all_of_a: usize =
        (0..30).map(|n| through(&limiter, &user("a", &format!("u{n}"), Role::Viewer), 10)).sum();
    assert_eq!(all_of_a, 100, "ten times its largest user limit");
    let error = admit(&limiter, &user("a", "u99", Role::Viewer)).unwrap_err();
    assert!(error.message().contains("tenant"), "{error}");
    assert_eq!(through(&limiter, &user("b", "u0", Role::Viewer), 20), 10, "the same name in another tenant");
}

/// T-15: of the gateway's own limit a tenant learns nothing but when to come back
#[test]
fn a_refusal_for_what_others_do_tells_nothing_of_them() {
    let (limiter, _) = limiter(Settings { gateway: 7, ..Settings::default() });
    assert_eq!(through(&limiter, &user("a", "a", Role::Admin), 20), 7);
    let error = admit(&limiter, &user("b", "b", Role::Admin)).unwrap_err();
    assert!(error.context().is_empty() && error.retry_delay().is_some(), "{error}");
}

#[test]
fn whoever_goes_on_after_many_refusals_is_banned_for_a_while() {
    let (limiter, clock) = limiter(Settings { viewer: 1, ban_after: 3, ..Settings::default() });
    let (flood, other) = (user("t", "f", Role::Viewer), user("t", "o", Role::Viewer));
    assert_eq!(through(&limiter, &flood, 5), 1);
    let error = admit(&limiter, &flood).unwrap_err();
    assert!(error.message().contains("banned"), "{error}");
    clock.advance(Duration::from_secs(299));
    assert!(admit(&limiter, &flood).is_err(), "its window is empty, its ban is not over");
    assert!(admit(&limiter, &other).is_ok());
    clock.advance(Duration::from_secs(2));
    assert!(admit(&limiter, &flood).is_ok());
    assert_eq!(limiter.stats().bans, 1);
}

/// One call of a simulation: its time of arrival, its tenant, and the time that its server takes; all in milliseconds.
#[derive(Clone, Copy)]
struct Job {
    at: u64,
    tenant: usize,
    takes: u64,
}

type Turn = Pin<Box<dyn Future<Output = Result<ConcurrencyPermit>> + Send>>;

/// Runs jobs, which are in order, millisecond by millisecond; returns the time each took, by tenant, those refused left out.
fn simulate(settings: &Settings, jobs: &[Job], end: u64) -> BTreeMap<usize, Vec<u64>> {
    let places = Places::new(settings);
    let tenants: Vec<TenantId> = (0..10).map(|n| tenant(&format!("t{n}"))).collect();
    let mut context = Context::from_waker(std::task::Waker::noop());
    let (mut jobs, mut waiting, mut running) = (jobs.iter().peekable(), Vec::new(), Vec::new());
    let mut times: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
    for now in 0..end {
        running.retain(|(until, _): &(u64, ConcurrencyPermit)| *until > now);
        while let Some(job) = jobs.next_if(|job| job.at <= now) {
            match places.enter(&tenants[job.tenant]) {
                Ok(SlotGrant::Now(place)) => waiting.push((*job, ready(place))),
                Ok(SlotGrant::Later(turn)) => {
                    waiting.push((*job, Box::pin(unconstrained(turn.place())) as Turn));
                }
                Err(_) => {}
            }
        }
        waiting.retain_mut(|(job, turn)| match turn.as_mut().poll(&mut context) {
            Poll::Pending => true,
            Poll::Ready(Ok(place)) => {
                running.push((now + job.takes, place));
                times.entry(job.tenant).or_default().push(now + job.takes - job.at);
                false
            }
            Poll::Ready(Err(_)) => false,
        });
    }
    times
}

fn ready(place: ConcurrencyPermit) -> Turn {
    Box::pin(std::future::ready(Ok(place)))
}

fn p99(times: &[u64]) -> u64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() * 99 / 100]
}

/// Ten tenants on 100 places; each uses four of its ten. Tenant 0 asks `times` as much, of servers `slower` times as slow.
fn ten_tenants(times: u64, slower: u64) -> Vec<Job> {
    let every = 10;
    let mut jobs = Vec::new();
    for at in 0..2_000 {
        for tenant in 0..10_usize {
            let noisy = if tenant == 0 { times } else { 1 };
            if (at + tenant as u64).is_multiple_of(every) {
                let takes =
                    if tenant == 0 { 40 * slower } else { 35 + (at / every * 7 + tenant as u64) % 11 };
                jobs.extend((0..noisy).map(|_| Job { at, tenant, takes }));
            }
        }
    }
    jobs
}

/// L-07: a tenant at ten times its share, on slow servers besides, leaves the others' p99 within 10 %
#[tokio::test(start_paused = true)]
async fn a_noisy_tenant_leaves_the_others_as_they_were() {
    let settings = Settings { max_calls: 100, share: 1, max_waiting: 20, ..Settings::default() };
    let others = |times: &BTreeMap<usize, Vec<u64>>| -> Vec<u64> {
        times.iter().filter(|(tenant, _)| **tenant != 0).flat_map(|(_, times)| times.clone()).collect()
    };
    let quiet = simulate(&settings, &ten_tenants(1, 1), 2_500);
    let noisy = simulate(&settings, &ten_tenants(10, 5), 2_500);
    let (before, after) = (others(&quiet), others(&noisy));
    assert_eq!(before.len(), after.len(), "none of theirs is refused");
    assert!(p99(&after) * 10 <= p99(&before) * 11, "p99 {} ms, was {} ms", p99(&after), p99(&before));

    let unfair = Settings { share: 1_000_000, ..settings };
    let crowded = others(&simulate(&unfair, &ten_tenants(10, 5), 2_500));
    assert!(
        crowded.len() < before.len() || p99(&crowded) * 10 > p99(&before) * 11,
        "without shares the noisy one would have been felt: p99 {} ms",
        p99(&crowded)
    );
}

/// L-07: tenants that all want everything get equal parts
#[tokio::test(start_paused = true)]
async fn tenants_that_want_everything_get_equal_parts() {
    let settings = Settings { max_calls: 100, share: 8, max_waiting: 20, ..Settings::default() };
    let jobs: Vec<Job> =
        (0..3_000).flat_map(|at| [0, 1, 1, 1, 2, 2].map(|tenant| Job { at, tenant, takes: 50 })).collect();
    let times = simulate(&settings, &jobs, 3_000);
    let done: Vec<usize> = times.values().map(Vec::len).collect();
    let (least, most) = (done.iter().min().unwrap(), done.iter().max().unwrap());
    assert!(done.len() == 3 && most * 10 <= least * 11, "{done:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_too_long_is_refused_and_leaves_its_place_in_the_queue() {
    let (limiter, _) = limiter(Settings { max_calls: 4, share: 1, max_waiting: 1, ..Settings::default() });
    let ann = user("t", "a", Role::Admin);
    let held: Vec<_> = (0..2).map(|_| admit(&limiter, &ann).unwrap()).collect();
    let late = limiter.admit(&ann).get();
    let mut late = std::pin::pin!(late);
    assert!(futures_util::poll!(&mut late).is_pending());
    assert_eq!(limiter.stats().waiting, 1);
    let error = admit(&limiter, &ann).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited, "the queue is full: {error}");
    assert_eq!(late.await.unwrap_err().kind(), ErrorKind::RateLimited);
    assert_eq!((limiter.stats().calls, limiter.stats().waiting), (2, 0));
    drop(held);
    assert_eq!(limiter.stats().calls, 0);
    assert!(admit(&limiter, &ann).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_place_that_comes_free_goes_to_whoever_waits_and_not_to_whoever_comes() {
    let (limiter, _) = limiter(Settings { max_calls: 2, share: 1, ..Settings::default() });
    let ann = user("t", "a", Role::Admin);
    let held = admit(&limiter, &ann).unwrap();
    let first = limiter.admit(&ann).get();
    let mut first = std::pin::pin!(first);
    assert!(futures_util::poll!(&mut first).is_pending());
    drop(held);
    let second = limiter.admit(&ann).get();
    let mut second = std::pin::pin!(second);
    assert!(futures_util::poll!(&mut second).is_pending());
    let got = first.await.unwrap();
    drop(got);
    assert!(second.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_while_a_place_is_on_its_way_gives_it_back() {
    let (limiter, _) = limiter(Settings { max_calls: 2, share: 1, ..Settings::default() });
    let ann = user("t", "a", Role::Admin);
    let held = admit(&limiter, &ann).unwrap();
    let Leave::Later(mut waits) = limiter.admit(&ann) else { panic!("there is no place") };
    assert!(futures_util::poll!(&mut waits).is_pending());
    drop(held);
    assert_eq!(limiter.stats().calls, 1, "given to the one that waits");
    drop(waits);
    assert_eq!((limiter.stats().calls, limiter.stats().waiting), (0, 0));
}

#[test]
fn a_full_gateway_says_so_to_processes_of_this_machine() {
    let (limiter, _) = limiter(Settings { max_calls: 1, ..Settings::default() });
    let local = Principal::local(TenantId::default_tenant());
    let held = admit(&limiter, &local).unwrap();
    assert_eq!(admit(&limiter, &local).unwrap_err().kind(), ErrorKind::Unavailable);
    drop(held);
    assert!(admit(&limiter, &local).is_ok());
    assert_eq!((limiter.stats().calls, limiter.stats().crowd_refusals), (0, 1));
}
