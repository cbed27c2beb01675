//! Requests about the state that one replica keeps for a client go to that replica.

use std::sync::Arc;

use serde_json::json;

use super::super::fake::{Client, Fake, House};

async fn pair() -> (House, [Arc<Fake>; 2], Client) {
    let (house, fakes) = (House::open().await, [Fake::new(&["t"]), Fake::new(&["t"])]);
    house.add("a0", "a", &fakes[0]).await;
    house.add("a1", "a", &fakes[1]).await;
    let client = house.client("a", json!({})).await;
    (house, fakes, client)
}

#[tokio::test(start_paused = true)]
async fn a_subscription_is_ended_at_the_replica_that_has_it() {
    let (_house, fakes, client) = pair().await;
    for n in 0..5 {
        let params = json!({ "uri": format!("test://{n}") });
        client.request(1, "resources/subscribe", params.clone()).await;
        // Other calls in between, so that the turn moves on.
        for _ in 0..n {
            client.call("t").await;
        }
        client.request(2, "resources/unsubscribe", params).await;
    }
    for fake in &fakes {
        let uris = |method: &str| -> Vec<_> {
            fake.received(method).into_iter().map(|(_, message)| message["params"]["uri"].clone()).collect()
        };
        assert_eq!(uris("resources/subscribe"), uris("resources/unsubscribe"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_is_asked_for_at_the_replica_that_made_it() {
    let (_house, fakes, client) = pair().await;
    for n in 0..4 {
        let id = format!("task-{n}");
        for fake in &fakes {
            let task = json!({ "task": { "taskId": id, "status": "working" } });
            fake.script().send(json!({ "jsonrpc": "2.0", "id": {}, "result": task })).unwrap();
        }
        client.call("t").await;
        let params = json!({ "taskId": id });
        for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
            client.request(2, method, params.clone()).await;
        }
        client.request(3, "tasks/list", json!({})).await;
        client.call("t").await;
    }
    for fake in &fakes {
        let calls = fake.count("tools/call");
        assert_eq!(calls, 4);
    }
    let asked = fakes.each_ref().map(|fake| {
        ["tasks/get", "tasks/result", "tasks/cancel", "tasks/list"].map(|method| fake.count(method))
    });
    assert!(asked.iter().all(|counts| counts.iter().all(|count| *count == counts[0])), "{asked:?}");
    assert_eq!(asked[0][0] + asked[1][0], 4);
}

/// The gateway remembers which service made a task, since the task's id does not name it.
#[tokio::test(start_paused = true)]
async fn on_the_aggregated_route_a_task_is_asked_for_at_the_service_that_made_it() {
    let (house, fakes) = (House::open().await, [Fake::new(&["t"]), Fake::new(&["t"])]);
    house.add("a", "a", &fakes[0]).await;
    house.add("b", "b", &fakes[1]).await;
    let client = house.client("", json!({})).await;
    for (name, fake) in ["a", "b"].into_iter().zip(&fakes) {
        let task = json!({ "task": { "taskId": format!("of-{name}"), "status": "working" } });
        fake.script().send(json!({ "jsonrpc": "2.0", "id": {}, "result": task })).unwrap();
        client.call(&format!("{name}__t")).await;
    }
    for (name, made, other) in [("a", 0, 1), ("b", 1, 0)] {
        let params = json!({ "taskId": format!("of-{name}") });
        for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
            let before = fakes[other].count(method);
            let answer = client.request(2, method, params.clone()).await;
            assert!(answer[0].get("result").is_some(), "{answer:?}");
            assert_eq!(fakes[made].received(method).pop().unwrap().1["params"], params);
            assert_eq!(fakes[other].count(method), before);
        }
    }
    let unknown = client.request(3, "tasks/get", json!({ "taskId": "of-nobody" })).await;
    assert!(unknown[0]["error"].as_str().unwrap().contains("you have no task with this id"), "{unknown:?}");
}
