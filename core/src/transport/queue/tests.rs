use std::pin::pin;

use futures_util::FutureExt;
use futures_util::future::join_all;

use super::*;
use crate::clock::{ManualClock, Tick};
use crate::error::Delivery;

fn queue(max_connections: u32, max_queued: u32) -> ConnectionQueue {
    let configuration = Configuration { max_connections, max_queued, ..Configuration::default() };
    ConnectionQueue::new("docs", &configuration, ManualClock::shared())
}

#[expect(clippy::unnecessary_wraps, reason = "as the queue takes it")]
fn of(caller: u64) -> Option<Queued> {
    Some(Queued { caller: caller + 10, deadline: Tick::default() + Duration::from_secs(30) })
}

fn taken(queue: &ConnectionQueue, caller: u64) -> Vec<Slot> {
    std::iter::from_fn(|| queue.try_take(of(caller))).collect()
}

#[test]
fn one_caller_alone_has_four_of_five_and_leaves_the_rest_to_others() {
    for (limit, most) in [(1, 1), (2, 2), (4, 4), (5, 4), (10, 8), (50, 40), (1000, 800)] {
        let queue = queue(limit, 10);
        let held = taken(&queue, 1);
        assert_eq!(held.len(), most, "of {limit}");
        if limit > 5 {
            assert!(queue.try_take(of(2)).is_some() && queue.try_take(None).is_some(), "of {limit}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn calls_of_one_caller_are_served_in_order_and_callers_in_turn_to_the_one_with_the_fewest() {
    let queue = queue(4, 100);
    let mut held = taken(&queue, 1);
    assert_eq!(held.len(), 4);
    let waiting: Vec<_> = [1, 1, 2, 1, 3, 2].into_iter().map(|caller| queue.wait(of(caller))).collect();
    let mut waiting: Vec<_> = waiting.into_iter().map(Box::pin).collect();
    for call in &mut waiting {
        assert!(call.as_mut().now_or_never().is_none());
    }
    let mut order = Vec::new();
    while let Some(slot) = held.pop() {
        queue.release(slot);
        for (number, call) in waiting.iter_mut().enumerate() {
            if !order.contains(&number)
                && let Some(served) = call.as_mut().now_or_never()
            {
                order.push(number);
                // Kept: who was served holds it.
                std::mem::forget(served);
            }
        }
    }
    assert_eq!(order, [2, 4, 0, 5], "callers 2 and 3 first, which have none; then 1 and 2, in order");
    assert_eq!(queue.stats().waiting, 2);
    drop(waiting);
    assert_eq!(queue.stats().waiting, 0, "who gives up leaves the queue");
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_and_one_caller_has_half_of_it() {
    let queue = queue(1, 4);
    let _held = taken(&queue, 1);
    let mut first = (pin!(queue.wait(of(1))), pin!(queue.wait(of(1))));
    assert!(first.0.as_mut().now_or_never().is_none() && first.1.as_mut().now_or_never().is_none());
    let refused = queue.wait(of(1)).await.expect_err("half of it");
    assert!(refused.message().contains("half of `configuration.max_queued` (4)"), "{refused}");
    let mut second = (pin!(queue.wait(of(2))), pin!(queue.wait(None)));
    assert!(second.0.as_mut().now_or_never().is_none() && second.1.as_mut().now_or_never().is_none());
    let refused = queue.wait(of(3)).await.expect_err("full");
    for part in ["server `docs`", "4 calls wait", "`configuration.max_queued`"] {
        assert!(refused.message().contains(part), "{refused}");
    }
    assert_eq!((refused.kind(), refused.delivery()), (ErrorKind::Unavailable, Delivery::NotSent));
    assert_eq!((refused.cause(), refused.retry_delay()), (&Cause::PoolExhausted, Some(RETRY)));
    assert_eq!(queue.stats().refusals, 2);
}

#[tokio::test(start_paused = true)]
async fn a_queue_of_length_zero_refuses_at_once() {
    let queue = queue(1, 0);
    let held = taken(&queue, 1);
    assert!(queue.wait(of(2)).await.is_err());
    drop(held.into_iter().map(|slot| queue.release(slot)).collect::<Vec<_>>());
    assert!(queue.try_take(of(2)).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_until_just_before_its_deadline_and_learns_why() {
    let queue = queue(1, 4);
    let _held = taken(&queue, 1);
    let late = tokio::time::timeout(Duration::from_millis(29_995), queue.wait(of(2)));
    let late = late.await.expect("before the deadline").expect_err("none came free");
    assert!(late.message().contains("all 1 connections to server `docs`"), "{late}");
    assert!(late.message().contains("for the 30 s"), "{late}");
    assert_eq!(queue.stats().waiting, 0);
}

/// Connections come free, calls give up, on several threads: nothing is lost, and never are there more than may be.
#[test]
fn no_connection_is_lost_between_threads() {
    let (queue, most) = (queue(3, 1000), AtomicUsize::new(0));
    let at_once = AtomicUsize::new(0);
    let one = async |caller: u64, gives_up: bool| {
        let slot = match queue.try_take(of(caller)) {
            Some(slot) => slot,
            None if gives_up => {
                let mut waiting = Box::pin(queue.wait(of(caller)));
                let Some(served) = waiting.as_mut().now_or_never() else { return };
                served.expect("a connection")
            }
            None => queue.wait(of(caller)).await.expect("a connection"),
        };
        most.fetch_max(at_once.fetch_add(1, SeqCst) + 1, SeqCst);
        tokio::task::yield_now().await;
        at_once.fetch_sub(1, SeqCst);
        queue.release(slot);
    };
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let one = &one;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
                runtime.expect("a runtime").block_on(async {
                    for round in 0..200 {
                        join_all((0..5).map(|n| one(thread % 3, (n + round) % 4 == 0))).await;
                    }
                });
            });
        }
    });
    assert!(most.load(SeqCst) <= 3);
    assert_eq!((queue.free(), queue.stats().waiting), (3, 0));
    assert!(queue.slots.iter().all(|slot| slot.load(SeqCst) == 0));
}
