//! Failing servers do not get much more load than healthy ones.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::super::fake::{Fake, House};

/// F-12: 500 lists a second for ten seconds, of which three of ten find no connection: second attempts stay below a fifth of
/// the calls.
#[tokio::test(start_paused = true)]
async fn unsteady_servers_are_not_asked_more_than_a_fifth_more_often() {
    const CALLS: usize = 5000;
    let (house, fakes) = (House::open().await, [Fake::new(&["t"]), Fake::new(&["t"])]);
    house.add("a0", "a", &fakes[0]).await;
    house.add("a1", "a", &fakes[1]).await;
    let client = house.client("a", json!({})).await;
    for _ in 0..2 {
        client.request(1, "tools/list", json!({})).await;
    }
    for fake in &fakes {
        fake.unsteady.store(true, Ordering::SeqCst);
    }
    let calls = (0..CALLS).map(|n| {
        let client = client.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(2 * n as u64)).await;
            // Equal lists at once would be one.
            let answer =
                client.request(n as u64 + 10, "tools/list", json!({ "cursor": n.to_string() })).await;
            usize::from(answer[0].get("result").is_some())
        }
    });
    let good: usize = join_all(calls).await.into_iter().sum();
    let attempts: usize = fakes.iter().map(|fake: &Arc<Fake>| fake.lists.load(Ordering::SeqCst)).sum();
    assert!(attempts <= CALLS * 12 / 10, "{attempts} attempts");
    assert!(attempts > CALLS * 115 / 100, "{attempts} attempts: the budget is used");
    assert!(good > CALLS * 80 / 100, "{good} of {CALLS} were answered");
}
