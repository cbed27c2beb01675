//! Every session that is opened at a server is used or closed there.

use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::json;

use super::fake::{Fake, House, caller, until, url};
use crate::model::{Action, Patch};

const OPEN: &str = "initialize";

/// A house with one server, and a client that has no session with it yet; the shared session is the only open one.
async fn one() -> (House, Arc<Fake>, super::fake::Client) {
    let (house, fake) = (House::open().await, Fake::new(&["t"]));
    house.add("a", "a", &fake).await;
    let client = house.client("a", json!({})).await;
    assert_eq!(fake.open_sessions(), 1);
    (house, fake, client)
}

#[tokio::test(start_paused = true)]
async fn an_opening_whose_call_was_dropped_is_brought_to_its_end_and_used_by_the_next_call() {
    let (_house, fake, client) = one().await;
    fake.hold(OPEN);
    let opened = fake.count(OPEN);
    let cut = tokio::time::timeout(Duration::from_millis(50), client.call("t")).await;
    assert!(cut.is_err());
    fake.release(OPEN);
    assert!(client.call("t").await[0]["result"].is_object());
    assert_eq!((fake.count(OPEN), fake.open_sessions()), (opened + 1, 2));
}

#[tokio::test(start_paused = true)]
async fn an_opening_whose_client_ended_meanwhile_is_closed_at_the_server() {
    let (_house, fake, client) = one().await;
    fake.hold(OPEN);
    let (call, ()) = tokio::join!(client.call("t"), async {
        until("an opening", || (fake.open_sessions() == 2).then_some(())).await;
        client.act(Action::End).await.unwrap();
        // The call is notified of the end before the server answers.
        tokio::time::sleep(Duration::from_millis(5)).await;
        fake.release(OPEN);
    });
    assert!(call[0]["error"].is_string(), "{call:?}");
    until("an end", || (fake.open_sessions() == 1).then_some(())).await;
}

#[tokio::test(start_paused = true)]
async fn an_end_that_nobody_waits_for_ends_the_sessions_at_the_servers_all_the_same() {
    let (house, fake, client) = one().await;
    let slow = Fake::new(&["t"]);
    house.add("b", "b", &slow).await;
    client.call("t").await;
    assert_eq!(fake.open_sessions(), 2);
    {
        let mut end = Box::pin(client.act(Action::End));
        assert!(futures_util::poll!(&mut end).is_pending());
    }
    until("an end", || (fake.open_sessions() == 1).then_some(())).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_moves_leaves_no_session_behind_not_even_one_that_is_being_opened() {
    let (house, old, client) = one().await;
    let new = Fake::new(&["t"]);
    house.replica("new", &new);
    old.hold(OPEN);
    let call = client.call("t");
    let moving = async {
        until("an opening", || (old.open_sessions() == 2).then_some(())).await;
        let id = house.gateway.0.registry.state().servers().next().unwrap().id;
        let patch = Patch { endpoint_url: Some(url("new")), ..Patch::default() };
        house.gateway.update(&caller(), id, patch, None).await.unwrap();
        old.release(OPEN);
    };
    let _ = tokio::join!(call, moving);
    until("an end", || (old.open_sessions() == 0).then_some(())).await;
    assert!(client.call("t").await[0]["result"].is_object());
    assert_eq!(new.count("tools/call"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_session_in_which_a_probe_was_not_answered_in_time_is_not_used_again() {
    let (house, fake, _client) = one().await;
    let gateway = &house.gateway.0;
    let id = gateway.registry.state().servers().next().unwrap().id;
    let before = gateway.replica(id).unwrap().upstream.shared_session().unwrap();
    fake.hold("ping");
    let record = house.gateway.health_check(&caller(), id).await.unwrap();
    assert!(record.error.is_some_and(|error| error.contains("no answer within")));
    fake.release("ping");
    house.gateway.health_check(&caller(), id).await.unwrap();
    let after = gateway.replica(id).unwrap().upstream.shared_session().unwrap();
    assert!(!Arc::ptr_eq(&before, &after), "the session that hangs is used again");
    until("an end", || (fake.open_sessions() == 1).then_some(())).await;
    assert!(!before.is_open() && after.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_shared_session_that_is_opened_while_its_server_goes_is_closed() {
    let (house, fake, _client) = one().await;
    let gateway = &house.gateway.0;
    let id = gateway.registry.state().servers().next().unwrap().id;
    let upstream = gateway.replica(id).unwrap().upstream;
    upstream.forget(&upstream.shared_session().unwrap());
    fake.hold(OPEN);
    let opening = upstream.shared(|_| {});
    let removing = async {
        until("an opening", || (fake.open_sessions() == 2).then_some(())).await;
        house.gateway.remove(&caller(), id, None).await.unwrap();
        fake.release(OPEN);
    };
    let (opened, ()) = tokio::join!(opening, removing);
    assert!(opened.is_err() && upstream.shared(|_| {}).await.is_err());
    until("an end", || (fake.open_sessions() == 0).then_some(())).await;
}

#[tokio::test(start_paused = true)]
async fn after_shutdown_nothing_is_open_and_nothing_of_the_gateway_lives() {
    let (house, fake, client) = one().await;
    let hanging = Fake::new(&["t"]);
    house.add("b", "b", &hanging).await;
    client.call("t").await;
    let stream = client.listen().await;
    hanging.hold("tools/list");
    let id = house.gateway.0.registry.find(&caller().principal.tenant, "b").unwrap().id;
    house.gateway.0.discover_again(id);
    until("a question", || (hanging.open_sessions() == 2).then_some(())).await;
    let gone: Weak<_> = Arc::downgrade(&house.gateway.0);
    let links = [Arc::downgrade(&fake), Arc::downgrade(&hanging)];
    house.gateway.shutdown(Duration::from_secs(1)).await;
    assert_eq!((fake.open_sessions(), hanging.open_sessions()), (0, 0));
    drop((house, client, stream, fake, hanging));
    assert_eq!(gone.strong_count(), 0, "the gateway");
    assert!(links.iter().all(|fake| fake.strong_count() == 0), "the ways to its servers");
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_a_server_that_does_not_answer() {
    let (house, fake, client) = one().await;
    fake.hold(OPEN);
    let cut = tokio::time::timeout(Duration::from_millis(50), client.call("t")).await;
    assert!(cut.is_err() && fake.open_sessions() == 2, "an opening goes on");
    let took = tokio::time::timeout(Duration::from_secs(8), house.gateway.shutdown(Duration::ZERO)).await;
    assert!(took.is_ok());
    let gone = Arc::downgrade(&house.gateway.0);
    drop((house, client));
    assert_eq!(gone.strong_count(), 0);
}
