//! Tasks reach the server that made them, and those for whom they were made, on every route and in both eras.

use serde_json::{Value, json};

use super::super::fake::{Fake, House};
use crate::model::{Principal, Role, TenantId};

fn who(name: &str) -> Principal {
    Principal::new(TenantId::default_tenant(), format!("user:{name}"), Role::Analyst)
}

/// Has the next call answered with a task of this id.
fn will_make(fake: &Fake, id: &str) {
    let result = json!({ "resultType": "task", "taskId": id, "status": "working" });
    fake.script().send(json!({ "jsonrpc": "2.0", "id": {}, "result": result })).unwrap();
}

async fn house() -> (House, [std::sync::Arc<Fake>; 2]) {
    let (house, fakes) = (House::open().await, [Fake::new(&["t"]), Fake::new(&["t"])]);
    house.add("a", "a", &fakes[0]).await;
    house.add("b", "b", &fakes[1]).await;
    (house, fakes)
}

/// T-03: on the aggregated route a modern client's task is asked for where it was made, and is unknown to others.
#[tokio::test(start_paused = true)]
async fn a_modern_clients_task_is_found_on_the_aggregated_route_by_who_made_it() {
    let (house, [a, b]) = house().await;
    let ask = async |who: &Principal, method: &str, id: &str| -> Value {
        house.modern(who, "", method, json!({ "taskId": id })).await.pop().unwrap()
    };
    let call = |tool: &str| json!({ "name": tool, "arguments": {} });
    will_make(&b, "t1");
    house.modern(&who("x"), "", "tools/call", call("b__t")).await;
    will_make(&a, "t2");
    house.modern(&who("y"), "", "tools/call", call("a__t")).await;
    for (who, id, made, other) in [(who("x"), "t1", &b, &a), (who("y"), "t2", &a, &b)] {
        for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
            let answer = ask(&who, method, id).await;
            assert!(answer.get("result").is_some(), "{method} {answer}");
            assert_eq!(made.received(method).last().unwrap().1["params"]["taskId"], id);
            assert!(other.received(method).iter().all(|(_, sent)| sent["params"]["taskId"] != id));
        }
    }
    for (who, id) in [(who("y"), "t1"), (who("x"), "t2"), (who("x"), "never")] {
        assert_eq!(ask(&who, "tasks/get", id).await["code"], -32602);
    }
    assert_eq!((a.count("tasks/get"), b.count("tasks/get")), (1, 1));
}

/// T-03: a list of tasks shows nobody else's; tasks of unknown owner are shown only where the server keeps clients apart.
#[tokio::test(start_paused = true)]
async fn a_list_of_tasks_shows_nobody_elses() {
    let (house, [a, _]) = house().await;
    let [x, y] =
        [house.client_of(who("x"), "a", json!({})).await, house.client_of(who("y"), "a", json!({})).await];
    for (client, id) in [(&x, "t1"), (&y, "t2")] {
        will_make(&a, id);
        client.call("t").await;
    }
    let ids = |answer: &[Value]| -> Vec<Value> {
        answer[0]["result"]["tasks"].as_array().unwrap().iter().map(|task| task["taskId"].clone()).collect()
    };
    assert_eq!(
        ids(&x.request(9, "tasks/list", json!({})).await),
        ["t1", "t3"],
        "its session with the server is its own"
    );
    assert_eq!(ids(&y.request(9, "tasks/list", json!({})).await), ["t2", "t3"]);
}
