//! Messages of servers and clients outside of requests reach their recipient, or the sender is notified that they do not.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::fake::{Client, Fake, House, STREAM, is_question, read, until};
use crate::model::Action;

fn question(id: &Value, token: &Value, fill: usize) -> Value {
    let params = json!({ "_meta": { "progressToken": token }, "text": "x".repeat(fill) });
    json!({ "jsonrpc": "2.0", "id": id, "method": "sampling/createMessage", "params": params })
}

/// A house with two servers, `a` and `b`, and a client on the aggregated route with a session of its own with each:
/// the numbers of their links.
async fn two() -> (House, [Arc<Fake>; 2], Client, [usize; 2]) {
    let (house, fakes) = (House::open().await, [Fake::new(&["t"]), Fake::new(&["t"])]);
    house.add("a", "a", &fakes[0]).await;
    house.add("b", "b", &fakes[1]).await;
    let client = house.client("", json!({ "sampling": {} })).await;
    client.call("a__t").await;
    client.call("b__t").await;
    let links = fakes.each_ref().map(|fake| fake.opened.load(Ordering::SeqCst) - 1);
    (house, fakes, client, links)
}

#[tokio::test(start_paused = true)]
async fn progress_on_a_servers_question_reaches_that_server_under_its_own_token_and_no_other() {
    let (_house, fakes, client, links) = two().await;
    let mut stream = client.listen().await;
    until("streams", || (fakes[0].listened(links[0]) + fakes[1].listened(links[1]) == 2).then_some(())).await;
    for (fake, link) in fakes.iter().zip(links) {
        fake.say(link, question(&json!("q"), &json!("same"), 0));
    }
    let asked = read(&mut stream).await;
    assert_eq!(asked.len(), 2);
    let token = |n: usize| asked[n]["params"]["_meta"]["progressToken"].clone();
    assert_ne!(token(0), token(1));
    client.notify("notifications/progress", json!({ "progressToken": token(1), "progress": 1 })).await;
    client.notify("notifications/progress", json!({ "progressToken": "foreign", "progress": 1 })).await;
    let heard = fakes.each_ref().map(|fake| fake.received("notifications/progress"));
    let heard: Vec<_> = heard.iter().flatten().collect();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!(heard[0].1["params"], json!({ "progressToken": "same", "progress": 1 }));
    client.notify("notifications/roots/list_changed", json!({})).await;
    assert!(fakes.iter().all(|fake| fake.count("notifications/roots/list_changed") == 1));
    for question in &asked {
        client.send(json!({ "jsonrpc": "2.0", "id": question["id"], "result": {} })).await.unwrap();
    }
    assert!(
        fakes.iter().all(|fake| fake.answers() == [json!({ "jsonrpc": "2.0", "id": "q", "result": {} })])
    );
}

#[tokio::test(start_paused = true)]
async fn a_question_that_finds_no_room_is_answered_with_an_error() {
    let (_house, fakes, client, links) = two().await;
    drop(client.listen().await);
    until("a stream", || (fakes[0].listened(links[0]) == 1).then_some(())).await;
    for id in 0..2 {
        fakes[0].say(links[0], question(&json!(id), &json!(id), 700_000));
    }
    let answers = until("an answer", || Some(fakes[0].answers()).filter(|answers| !answers.is_empty())).await;
    assert_eq!((answers.len(), &answers[0]["id"]), (1, &json!(1)), "{answers:?}");
    assert!(answers[0]["error"].is_object());
    let waiting = read(&mut client.listen().await).await;
    assert!(waiting.len() == 1 && is_question(&waiting[0]));
}

#[tokio::test(start_paused = true)]
async fn a_question_for_which_no_stream_is_opened_is_answered_with_an_error_in_the_end() {
    let (_house, fakes, client, links) = two().await;
    drop(client.listen().await);
    until("a stream", || (fakes[0].listened(links[0]) == 1).then_some(())).await;
    fakes[0].say(links[0], question(&json!(1), &json!(1), 0));
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert!(fakes[0].answers().is_empty());
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(fakes[0].answers().len(), 1);
    assert!(read(&mut client.listen().await).await.is_empty(), "the client is not asked any more");
}

#[tokio::test(start_paused = true)]
async fn a_question_within_a_call_whose_client_left_waits_on_the_clients_own_stream() {
    let (_house, fakes, client, _) = two().await;
    let script = fakes[0].script();
    script.send(json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": {} })).unwrap();
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "a__t" } });
    drop(client.send(body).await.unwrap());
    script.send(question(&json!("q"), &json!(1), 0)).unwrap();
    let mut stream = client.listen().await;
    let asked = until("a question", || {
        futures_util::FutureExt::now_or_never(futures_util::StreamExt::next(&mut stream)).flatten()
    })
    .await;
    assert!(is_question(&asked));
}

#[expect(clippy::disallowed_methods, reason = "the paused time of a test")]
fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

#[tokio::test(start_paused = true)]
async fn a_question_that_a_first_call_causes_outside_of_it_waits_for_the_clients_own_stream() {
    let (house, fake) = (House::open().await, Fake::new(&["t"]));
    house.add("a", "a", &fake).await;
    let client = house.client("a", json!({ "elicitation": {} })).await;
    let script = fake.script();
    let meanwhile = async {
        until("a call", || (fake.count("tools/call") == 1).then_some(())).await;
        let link = fake.opened.load(Ordering::SeqCst) - 1;
        assert_eq!(fake.listened(link), 1, "what the server asks from here on is heard");
        fake.say(link, question(&json!("q"), &json!(1), 0));
        script.send(json!({ "jsonrpc": "2.0", "id": {}, "result": { "content": [] } })).unwrap();
    };
    tokio::join!(client.call("t"), meanwhile);
    let asked = read(&mut client.listen().await).await;
    assert!(asked.len() == 1 && is_question(&asked[0]), "{asked:?}");
    assert!(fake.answers().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_stream_does_not_open_delays_a_first_call_by_a_second_and_only_for_who_can_be_asked() {
    let (house, fake) = (House::open().await, Fake::new(&["t"]));
    house.add("a", "a", &fake).await;
    fake.hold(STREAM);
    for (capabilities, seconds) in [(json!({ "roots": {} }), 1), (json!({}), 0)] {
        let client = house.client("a", capabilities).await;
        for seconds in [seconds, 0] {
            let begun = now();
            client.call("t").await;
            assert_eq!(begun.elapsed().as_secs(), seconds);
        }
        let link = fake.opened.load(Ordering::SeqCst) - 1;
        assert_eq!(fake.listened(link), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_servers_stream_that_ended_is_opened_again_until_the_session_ends() {
    let (_house, fakes, client, links) = two().await;
    let mut stream = client.listen().await;
    for round in 1..4 {
        until("a stream", || (fakes[0].listened(links[0]) == round).then_some(())).await;
        let news =
            json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "round": round } });
        fakes[0].say(links[0], news.clone());
        assert_eq!(read(&mut stream).await, [news]);
        fakes[0].end_stream(links[0]);
    }
    client.act(Action::End).await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(fakes[0].listened(links[0]) <= 4);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_no_notification_delays_no_other_and_not_for_ever() {
    let (_house, fakes, client, _) = two().await;
    let method = "notifications/roots/list_changed";
    fakes[0].hold(method);
    let note = tokio::time::timeout(Duration::from_secs(15), client.notify(method, json!({}))).await;
    assert!(note.is_ok());
    assert_eq!(fakes[1].count(method), 1);
}

#[tokio::test(start_paused = true)]
async fn a_log_level_set_while_a_session_is_opened_reaches_its_server() {
    let (house, fake) = (House::open().await, Fake::new(&["t"]));
    house.add("a", "a", &fake).await;
    let client = house.client("", json!({ "sampling": {} })).await;
    fake.hold("initialize");
    let level = async {
        until("an opening", || (fake.open_sessions() == 2).then_some(())).await;
        client.request(1, "logging/setLevel", json!({ "level": "error" })).await;
        fake.release("initialize");
    };
    tokio::join!(client.call("a__t"), level);
    assert_eq!(fake.count("logging/setLevel"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_of_too_many_questions_is_answered_with_an_error_and_the_newest_is_asked() {
    let (_house, fakes, client, links) = two().await;
    let mut stream = client.listen().await;
    until("a stream", || (fakes[0].listened(links[0]) == 1).then_some(())).await;
    let mut asked = 0;
    for id in 0..300 {
        fakes[0].say(links[0], question(&json!(id), &json!(id), 0));
        asked += read(&mut stream).await.len();
    }
    assert_eq!(asked, 300);
    fakes[1].say(links[1], question(&json!("other"), &json!(1), 0));
    fakes[0].say(links[0], question(&json!("last"), &json!(1), 0));
    assert_eq!(read(&mut stream).await.len(), 2);
    let answers = fakes[0].answers();
    assert_eq!((answers.len(), &answers[0]["id"]), (302 - 256, &json!(0)));
    assert!(fakes[1].answers().is_empty(), "no server crowds out the others");
}
