//! The gateway discovers servers' capabilities as of the last change, and clients are notified of changes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::fake::{Fake, House, caller, read, until, url};
use crate::breaker::{BreakerState, Outcome};
use crate::model::{Patch, Registration, ServerId};

fn changed(list: &str) -> Value {
    json!({ "jsonrpc": "2.0", "method": format!("notifications/{list}/list_changed") })
}

fn tools(house: &House, id: ServerId) -> Vec<String> {
    let items = house.gateway.capabilities(&caller(), id).unwrap();
    items.into_iter().map(|item| item.name).collect()
}

#[tokio::test(start_paused = true)]
async fn a_change_that_comes_while_the_server_is_asked_is_followed_by_another_question() {
    let (house, fake) = (House::open().await, Fake::new(&["old"]));
    let id = house.add("a", "a", &fake).await.id;
    let shared = fake.opened.load(Ordering::SeqCst) - 1;
    // The tools are read, then the resources hang: the answer about the tools is already old.
    fake.hold("resources/list");
    let asked = fake.count("resources/list");
    house.gateway.0.discover_soon(id);
    until("a question", || (fake.count("resources/list") > asked).then_some(())).await;
    fake.set_tools(&["new"]);
    assert!(fake.say(shared, changed("tools")));
    tokio::time::sleep(Duration::from_millis(300)).await;
    fake.release("resources/list");
    until("the new tools", || (tools(&house, id) == ["new"]).then_some(())).await;
}

#[tokio::test(start_paused = true)]
async fn the_answer_of_a_server_that_moved_meanwhile_is_not_taken_for_that_of_the_new_one() {
    let (house, old, new) = (House::open().await, Fake::new(&["old"]), Fake::new(&["new"]));
    let id = house.add("a", "a", &old).await.id;
    house.replica("new", &new);
    old.hold("tools/list");
    let asked = old.count("tools/list");
    house.gateway.0.discover_soon(id);
    until("a question", || (old.count("tools/list") > asked).then_some(())).await;
    old.set_tools(&["older"]);
    let patch = Patch { endpoint_url: Some(url("new")), ..Patch::default() };
    house.gateway.update(&caller(), id, patch, None).await.unwrap();
    until("the new tools", || (tools(&house, id) == ["new"]).then_some(())).await;
    old.release("tools/list");
    for _ in 0..1000 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(tools(&house, id), ["new"]);
    }
    assert_eq!(old.open_sessions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_question_asked_now_is_not_answered_with_what_was_asked_before() {
    let (house, fake) = (House::open().await, Fake::new(&["old"]));
    let id = house.add("a", "a", &fake).await.id;
    fake.hold("resources/list");
    let asked = fake.count("resources/list");
    house.gateway.0.discover_soon(id);
    until("a question", || (fake.count("resources/list") > asked).then_some(())).await;
    fake.set_tools(&["new"]);
    let caller = caller();
    let (items, ()) = tokio::join!(house.gateway.discover(&caller, id), async {
        fake.release("resources/list");
    });
    assert_eq!(items.unwrap()[0].name, "new");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_changes_is_asked_about_a_few_times_and_told_at_most_ten_times_a_second() {
    let (house, fake) = (House::open().await, Fake::new(&["t0"]));
    house.add("a", "a", &fake).await;
    let shared = fake.opened.load(Ordering::SeqCst) - 1;
    let client = house.client("", json!({})).await;
    let mut stream = client.listen().await;
    let asked = fake.count("tools/list");
    for n in 0..1000 {
        fake.set_tools(&[&format!("t{n}")]);
        for _ in 0..10 {
            assert!(fake.say(shared, changed("tools")));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let told = read(&mut stream).await;
    assert!((1..=10).contains(&told.len()), "{}", told.len());
    assert!(told.iter().all(|message| *message == changed("tools")), "{told:?}");
    assert!(fake.count("tools/list") - asked <= 10);
    let list = client.request(1, "tools/list", json!({})).await;
    assert_eq!(list[0]["result"]["tools"][0]["name"], "a__t999", "the last change counts");
}

#[tokio::test(start_paused = true)]
async fn clients_hear_of_the_lists_that_changed_and_of_no_others() {
    let (house, fake) = (House::open().await, Fake::new(&["t"]));
    let id = house.add("a", "a", &fake).await.id;
    let (all, one) = (house.client("", json!({})).await, house.client("a", json!({})).await);
    let (mut all, mut one) = (all.listen().await, one.listen().await);
    house.gateway.discover(&caller(), id).await.unwrap();
    assert_eq!((read(&mut all).await.len(), read(&mut one).await.len()), (0, 0), "nothing changed");
    fake.set_tools(&["u"]);
    house.gateway.discover(&caller(), id).await.unwrap();
    assert_eq!(read(&mut all).await, [changed("tools")]);
    assert_eq!(read(&mut one).await, [changed("tools")]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    house.gateway.remove(&caller(), id, None).await.unwrap();
    assert_eq!(read(&mut all).await, [changed("tools")], "what is gone is a change, too");
}

#[tokio::test(start_paused = true)]
async fn a_change_told_within_a_call_is_told_on_the_aggregated_route_once_the_merged_list_has_it() {
    let (house, fake) = (House::open().await, Fake::new(&["t"]));
    house.add("a", "a", &fake).await;
    let (all, one) = (house.client("", json!({})).await, house.client("a", json!({})).await);
    let mut stream = all.listen().await;
    let script = |client_hears: usize| {
        fake.set_tools(&["t", &format!("more{client_hears}")]);
        let script = fake.script();
        script.send(changed("tools")).unwrap();
        script.send(json!({ "jsonrpc": "2.0", "id": {}, "result": {} })).unwrap();
    };
    script(0);
    assert_eq!(all.call("a__t").await.len(), 1, "not before the list has changed");
    let told = until("the change", || {
        futures_util::FutureExt::now_or_never(futures_util::StreamExt::next(&mut stream)).flatten()
    });
    assert_eq!(told.await, changed("tools"));
    let list = all.request(1, "tools/list", json!({})).await;
    assert_eq!(list[0]["result"]["tools"][1]["name"], "a__more0");
    script(1);
    assert_eq!(one.call("t").await[0], changed("tools"), "the service's own list has changed");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(read(&mut stream).await, [changed("tools")]);
}

#[tokio::test(start_paused = true)]
async fn a_service_introduces_itself_as_soon_as_one_of_its_servers_was_heard() {
    let (house, silent, quick) = (House::open().await, Fake::new(&["t"]), Fake::new(&["t"]));
    silent.hold("initialize");
    house.register("a0", "a", &silent).await;
    house.register("a1", "a", &quick).await;
    let introduced = tokio::time::timeout(Duration::from_secs(1), house.client("a", json!({}))).await;
    assert!(introduced.is_ok(), "it waits for the server that is silent");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_moved_is_not_held_to_what_happened_where_it_was() {
    let (house, old, new) = (House::open().await, Fake::new(&["old"]), Fake::new(&["new"]));
    let id = house.add("a", "a", &old).await.id;
    let client = house.client("a", json!({})).await;
    let gateway = &house.gateway.0;
    let (state, now) = (gateway.replica(id).unwrap().state, gateway.clock.now());
    while state.breaker().state(now) == BreakerState::Closed {
        state.breaker().try_acquire(now).unwrap().finish(Outcome::Failure, now);
    }
    house.replica("new", &new);
    let patch = Patch { endpoint_url: Some(url("new")), ..Patch::default() };
    house.gateway.update(&caller(), id, patch, None).await.unwrap();
    assert!(client.call("new").await[0]["result"].is_object());
    until("the new tools", || (tools(&house, id) == ["new"]).then_some(())).await;
}

/// The startup probe: the gateway has started once each server that it knew was asked, whatever came of it, and stays started.
#[tokio::test(start_paused = true)]
async fn the_start_waits_for_the_first_question_to_each_server_that_is_declared() {
    let (house, fake) = (House::open().await, Fake::new(&["a"]));
    house.replica("a", &fake);
    fake.hold("tools/list");
    let declared = |name: &str| Registration::at(name, url(name));
    house.gateway.declare(&caller(), &[declared("a"), declared("nobody")]).await.unwrap();
    until("an answer about the server that is not there", || {
        (house.gateway.awaited_servers() == 1).then_some(())
    })
    .await;
    fake.release("tools/list");
    until("the other one", || (house.gateway.awaited_servers() == 0).then_some(())).await;

    fake.hold("tools/list");
    house.replica("late", &fake);
    house.gateway.declare(&caller(), &[declared("late")]).await.unwrap();
    assert_eq!(house.gateway.awaited_servers(), 0, "a start is over once");
    fake.release("tools/list");
}

#[tokio::test(start_paused = true)]
async fn the_start_waits_for_no_server_that_was_removed() {
    let (house, fake) = (House::open().await, Fake::new(&["a"]));
    house.replica("a", &fake);
    fake.hold("tools/list");
    house.gateway.declare(&caller(), &[Registration::at("a", url("a"))]).await.unwrap();
    assert_eq!(house.gateway.awaited_servers(), 1);
    let id = house.gateway.named(&caller(), "a").unwrap().id;
    house.gateway.remove(&caller(), id, None).await.unwrap();
    assert_eq!(house.gateway.awaited_servers(), 0);
    fake.release("tools/list");
}
