//! The first merged lists after a start: the items that were stored, at once; dead servers delay nobody.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::fake::{Client, Fake, House, until};

const MARK: &str = "io.github.mcp-registry-gateway/stale";

async fn listed(client: &Client) -> Value {
    client.request(1, "tools/list", json!({})).await.pop().unwrap()["result"].clone()
}

fn names(list: &Value) -> Vec<&str> {
    list["tools"].as_array().unwrap().iter().filter_map(|tool| tool["name"].as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn stored_items_are_listed_at_once_and_marked_until_their_server_has_answered() {
    let (house, fake) = (House::open().await, Fake::new(&["t"]));
    house.add("good", "good", &fake).await;
    house.gateway.shutdown(Duration::ZERO).await;
    fake.hold("tools/list");
    let again = house.opened_again().await;
    let client = again.client("", json!({})).await;
    let list = tokio::time::timeout(Duration::from_millis(10), listed(&client)).await.expect("at once");
    assert_eq!((names(&list), &list["_meta"][MARK]), (vec!["good__t"], &json!(["good"])));
    fake.release("tools/list");
    until("the answer", || again.gateway.0.discoveries.are_confirmed().then_some(())).await;
    assert_eq!(listed(&client).await["_meta"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_dead_server_delays_the_first_list_by_a_tenth_of_a_second() {
    let (house, good, dead) = (House::open().await, Fake::new(&["t"]), Fake::new(&["d"]));
    house.add("good", "good", &good).await;
    dead.hold("initialize");
    house.register("dead", "dead", &dead).await;
    house.gateway.shutdown(Duration::ZERO).await;
    let again = house.opened_again().await;
    let client = again.client("", json!({})).await;
    let mut stream = client.listen().await;
    let first = tokio::time::timeout(Duration::from_millis(150), listed(&client)).await.expect("soon");
    assert_eq!(names(&first), ["good__t"]);
    assert_eq!(first["_meta"]["io.github.mcp-registry-gateway/unavailable"], json!(["dead"]));
    let next = tokio::time::timeout(Duration::from_millis(10), listed(&client)).await.expect("at once");
    assert_eq!(names(&next), ["good__t"]);
    dead.release("initialize");
    let told = tokio::time::timeout(Duration::from_secs(60), futures_util::StreamExt::next(&mut stream));
    assert_eq!(told.await.unwrap().unwrap()["method"], "notifications/tools/list_changed");
    assert_eq!(names(&listed(&client).await), ["dead__d", "good__t"]);
}

#[tokio::test(start_paused = true)]
async fn without_any_known_server_the_first_list_waits_its_whole_budget() {
    let (house, slow) = (House::open().await, Fake::new(&["t"]));
    slow.hold("initialize");
    house.register("slow", "slow", &slow).await;
    let client = house.client("", json!({})).await;
    let releasing = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        slow.release("initialize");
    };
    let (list, ()) = tokio::join!(listed(&client), releasing);
    assert_eq!(names(&list), ["slow__t"]);
}
