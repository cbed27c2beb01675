//! equal reads at once are one fetch; a caller that may not have the same answer asks alone.

use std::sync::Arc;

use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use super::super::fake::{Client, Fake, House, until};
use crate::model::{Principal, Role};

async fn one() -> (House, Arc<Fake>, Client) {
    let (house, fake) = (House::open().await, Fake::new(&["t"]));
    fake.set_resources(&["test://a"]);
    house.add("a", "a", &fake).await;
    let client = house.client("a", json!({})).await;
    // Opens the session.
    client.call("t").await;
    (house, fake, client)
}

/// Makes the requests at once, lets the server answer once `fetches` of them arrived, and returns the answers.
async fn at_once(
    fake: &Arc<Fake>,
    method: &'static str,
    fetches: usize,
    requests: impl IntoIterator<Item = (Client, u64, Value)>,
) -> Vec<Value> {
    let before = fake.count(method);
    fake.hold(method);
    let asking = join_all(requests.into_iter().map(|(client, id, params)| async move {
        client.request(id, method, params).await.pop().expect("an answer")
    }));
    let release = async {
        until("fetch", || (fake.count(method) - before >= fetches).then_some(())).await;
        // Everybody has had the time to ask.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert_eq!(fake.count(method) - before, fetches, "{method}");
        fake.release(method);
    };
    join(asking, release).await.0
}

#[tokio::test(start_paused = true)]
async fn a_thousand_equal_lists_are_one_fetch_and_each_client_gets_its_own_id_back() {
    let (_house, fake, client) = one().await;
    for method in ["tools/list", "resources/list", "resources/templates/list"] {
        let requests = (0..1000).map(|n| (client.clone(), n + 100, json!({})));
        let answers = at_once(&fake, method, 1, requests).await;
        for (n, answer) in answers.iter().enumerate() {
            assert_eq!(answer["id"], json!(n + 100), "{method}");
            assert!(answer["result"].is_object(), "{answer}");
        }
    }
    let answers = at_once(
        &fake,
        "resources/read",
        1,
        (0..50).map(|n| (client.clone(), n, json!({ "uri": "test://a" }))),
    )
    .await;
    assert!(answers.iter().all(|answer| answer["result"].is_object()), "{answers:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_once_the_answer_is_there() {
    let (_house, fake, client) = one().await;
    let before = fake.count("tools/list");
    for n in 0..3 {
        client.request(n, "tools/list", json!({})).await;
    }
    assert_eq!(fake.count("tools/list") - before, 3);
}

#[tokio::test(start_paused = true)]
async fn other_cursors_sessions_and_callers_and_requests_with_progress_ask_alone() {
    let (house, fake, client) = one().await;
    let other_session = house.client("a", json!({})).await;
    let someone = Principal::new(super::super::fake::caller().principal.tenant, "user:else", Role::Admin);
    let somebody_else = house.client_of(someone, "a", json!({})).await;
    for each in [&other_session, &somebody_else] {
        each.call("t").await;
    }
    let requests = vec![
        (client.clone(), 1, json!({})),
        (client.clone(), 2, json!({ "cursor": "x" })),
        (client.clone(), 3, json!({ "_meta": { "progressToken": 1 } })),
        (client.clone(), 4, json!({ "_meta": { "progressToken": 1 } })),
        (client.clone(), 5, json!({ "_meta": { "traceparent": "00-1-1-1" } })),
        (client.clone(), 6, json!({ "cursor": "x", "_meta": { "traceparent": "00-2-2-2" } })),
        (other_session, 7, json!({})),
        (somebody_else, 8, json!({})),
    ];
    let answers = at_once(&fake, "tools/list", 6, requests).await;
    assert!(answers.iter().all(|answer| answer["result"].is_object()), "{answers:?}");
}

/// A server may ask the reader of a resource something in the middle.
#[tokio::test(start_paused = true)]
async fn a_resource_is_fetched_for_each_reader_that_can_be_asked() {
    let (house, fake, _) = one().await;
    let client = house.client("a", json!({ "sampling": {} })).await;
    client.call("t").await;
    let requests = (0..3).map(|n| (client.clone(), n, json!({ "uri": "test://a" })));
    at_once(&fake, "resources/read", 3, requests).await;
}

#[tokio::test(start_paused = true)]
async fn a_read_that_is_cancelled_cancels_no_other() {
    let (_house, fake, client) = one().await;
    let before = fake.count("tools/list");
    fake.hold("tools/list");
    let asking = join_all((1..=5).map(|id| {
        let client = client.clone();
        async move { client.request(id, "tools/list", json!({})).await.pop().expect("an answer") }
    }));
    let acting = async {
        until("fetch", || (fake.count("tools/list") > before).then_some(())).await;
        // The first is the one that was sent; the third only waits.
        for id in [1, 3] {
            client.notify("notifications/cancelled", json!({ "requestId": id })).await;
        }
        until("second fetch", || (fake.count("tools/list") == before + 2).then_some(())).await;
        fake.release("tools/list");
    };
    let (answers, ()) = join(asking, acting).await;
    let answered: Vec<bool> = answers.iter().map(|answer| answer["result"].is_object()).collect();
    assert_eq!(answered, [false, true, false, true, true], "{answers:?}");
    assert_eq!(fake.count("tools/list") - before, 2, "one of the others asks for all of them");
}

/// A read that begins after a call was answered sees the state that the call left.
#[tokio::test(start_paused = true)]
async fn no_read_joins_a_fetch_that_began_before_a_call_was_answered_or_the_list_changed() {
    let (_house, fake, client) = one().await;
    let before = fake.count("tools/list");
    fake.hold("tools/list");
    let first = client.request(1, "tools/list", json!({}));
    let after = async {
        until("fetch", || (fake.count("tools/list") == before + 1).then_some(())).await;
        client.call("t").await;
        let second = client.request(2, "tools/list", json!({}));
        let release = async {
            until("second fetch", || (fake.count("tools/list") == before + 2).then_some(())).await;
            fake.release("tools/list");
        };
        join(second, release).await.0
    };
    let (first, second) = join(first, after).await;
    assert!(first[0]["result"].is_object() && second[0]["result"].is_object(), "{first:?} {second:?}");
}

#[tokio::test(start_paused = true)]
async fn those_that_wait_share_a_failure_and_keep_their_own_time_limit() {
    let (_house, fake, client) = one().await;
    let before = fake.count("tools/list");
    fake.hold("tools/list");
    let asking = (0..20).map(|n| {
        let client = client.clone();
        async move { client.request(n, "tools/list", json!({})).await.pop().expect("an answer") }
    });
    let answers = join_all(asking).await;
    assert!(answers.iter().all(|answer| answer["code"] == -31504), "{answers:?}");
    assert!(fake.count("tools/list") - before <= 2, "not one after the other");
    fake.release("tools/list");
}
