//! One dead server never empties or delays a list, and a list of nothing but dead servers is an error.

use std::time::Duration;

use mcp_registry_gateway_tests::clock::eventually;
use mcp_registry_gateway_tests::fake::{Act, Fake};
use mcp_registry_gateway_tests::mcp::Client;
use mcp_registry_gateway_tests::process::Gateway;
use mcp_registry_gateway_tests::proxy::{Mode, Proxy, refused};
use serde_json::json;

use crate::quiet;

/// Ten servers, five of them good: what the rest does is accept and never answer (three), refuse, talk nonsense.
struct Ten {
    gateway: Gateway,
    good: Vec<Fake>,
    bad: Vec<String>,
    // Held so that they keep misbehaving.
    _others: (Vec<Fake>, Vec<Proxy>),
}

async fn ten() -> Ten {
    let gateway = Gateway::start().await;
    let good = Fake::start_many("good", 5).await;
    let others = Fake::start_many("other", 4).await;
    others[3].script().on("*", Act::Garbage);
    let mut holes = Vec::new();
    let mut bad = Vec::new();
    for (n, other) in others[..3].iter().enumerate() {
        let hole = Proxy::start(other.address()).await;
        hole.set(Mode::Blackhole);
        bad.push((format!("hang-{n}"), hole.url()));
        holes.push(hole);
    }
    bad.push(("refuse".to_owned(), format!("http://{}/mcp", refused())));
    bad.push(("nonsense".to_owned(), others[3].url()));
    for fake in &good {
        gateway.adopt(fake.name(), fake.name(), &fake.url()).await;
    }
    let mut ids = Vec::new();
    for (name, url) in bad {
        let server = gateway.register(&quiet(&name, &url)).await;
        ids.push(server["id"].as_str().expect("an id").to_owned());
    }
    Ten { gateway, good, bad: ids, _others: (others, holes) }
}

/// The time in which the gateway has to come to an end with a server that never answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longer than the 2 s that a list waits for its servers.
const PAST_THE_BUDGET: Duration = Duration::from_secs(3);

/// Half of the time that a list would wait for a server.
const NO_WAIT: Duration = Duration::from_secs(1);

/// Fails unless `tools/list` has the tools of the good servers and no other, and is answered before a call of the first of them
/// that takes `witness`, and begins at the same time.
async fn list_before(witness: Duration, client: &Client, good: &[Fake]) {
    let arguments = json!({ "ms": witness.as_millis(), "text": "witness" });
    let tool = format!("{}__sleep", good[0].name());
    let slow = client.call(&tool, arguments);
    let list = client.request("tools/list", json!({}));
    let answer = tokio::select! {
        biased;
        answer = list => answer.expect("an answer"),
        _ = slow => panic!("a call of {witness:?} was answered before the list"),
    };
    assert!(answer.is_result(), "{answer:?}");
    let names = answer.names("tools");
    for fake in good {
        assert!(names.contains(&format!("{}__echo", fake.name())), "{} is missing of {names:?}", fake.name());
    }
    let services: std::collections::BTreeSet<_> =
        names.iter().filter_map(|name| name.split("__").next()).collect();
    let known = |service: &&&str| good.iter().any(|fake| fake.name() == **service) || **service == "gateway";
    assert_eq!(services.iter().filter(|service| !known(service)).count(), 0, "{services:?}");
}

#[tokio::test]
async fn with_five_dead_servers_of_ten_a_list_has_the_other_five_within_its_budget() {
    let ten = ten().await;
    let client = ten.gateway.client("/mcp").await;
    list_before(PAST_THE_BUDGET, &client, &ten.good).await;
}

#[tokio::test]
async fn once_the_breakers_are_open_a_list_takes_no_time_and_keeps_its_order() {
    let ten = ten().await;
    let client = ten.gateway.client("/mcp").await;
    // They wait side by side.
    let lists = (0..6).map(|_| list_before(PAST_THE_BUDGET, &client, &ten.good));
    futures_util::future::join_all(lists).await;
    // One that refuses is asked once for all who wait at the same time, so it takes more lists to open its breaker.
    for _ in 0..5 {
        list_before(PAST_THE_BUDGET, &client, &ten.good).await;
    }
    // They may be half open again by now. Those that hang are still being asked; nobody waits for them twice.
    for id in &ten.bad[3..] {
        assert_ne!(ten.gateway.metrics(id).await["circuit_breaker_state"], "closed");
    }
    list_before(NO_WAIT, &client, &ten.good).await;
    let first = client.request("tools/list", json!({})).await.expect("a list").names("tools");
    let again = ten.gateway.client("/mcp").await.request("tools/list", json!({})).await.expect("a list");
    assert_eq!(first, again.names("tools"));
}

#[tokio::test]
async fn lists_that_wait_for_the_same_server_count_its_silence_once_and_later_ones_do_not_wait() {
    let gateway = Gateway::start().await;
    let (good, other) = (Fake::start("good").await, Fake::start("other").await);
    let hole = Proxy::start(other.address()).await;
    hole.set(Mode::Blackhole);
    gateway.adopt("good", "good", &good.url()).await;
    let server = gateway.register(&quiet("hang", &hole.url())).await;
    let id = server["id"].as_str().expect("an id");
    let client = gateway.client("/mcp").await;
    let good = [good];
    futures_util::future::join_all((0..6).map(|_| list_before(PAST_THE_BUDGET, &client, &good))).await;
    // The server is late already: the list does not wait for it again.
    list_before(NO_WAIT, &client, &good).await;
    let failures = async || gateway.metrics(id).await["failure_count"].as_u64().filter(|count| *count > 0);
    let failures = eventually("the end of the question", Duration::from_secs(15), failures).await;
    assert_eq!(failures, 1, "one question, one failure");
}

#[tokio::test]
async fn a_list_names_the_servers_that_are_missing_in_its_meta_and_not_among_its_tools() {
    let ten = ten().await;
    let client = ten.gateway.client("/mcp").await;
    let answer = client.request("tools/list", json!({})).await.expect("an answer");
    let meta = answer.response["result"]["_meta"].to_string();
    for name in ["hang-0", "hang-1", "hang-2", "refuse", "nonsense"] {
        assert!(meta.contains(name), "{name} is not named in {meta}");
        assert!(!answer.response["result"]["tools"].to_string().contains(name));
    }
}

#[tokio::test]
async fn a_list_of_nothing_but_a_dead_server_is_an_error_and_never_empty() {
    let gateway = Gateway::start().await;
    gateway.register(&quiet("dead", &format!("http://{}/mcp", refused()))).await;
    let client =
        Client::connect(gateway.address(), "/mcp").await.expect("the aggregate has no one to ask yet");
    let answer = client.request("tools/list", json!({})).await.expect("an answer");
    assert!([502, 503, 504].contains(&answer.status), "{answer:?}");
    assert_eq!(answer.response["error"]["data"]["source"], "gateway", "{answer:?}");
    assert!(answer.response.get("result").is_none());
}

#[tokio::test]
async fn on_the_route_of_one_service_a_server_that_never_answers_is_an_error_and_never_an_empty_list() {
    let (gateway, fake) = (Gateway::start().await, Fake::start("hole").await);
    let hole = Proxy::start(fake.address()).await;
    let mut server = quiet("hole", &hole.url());
    server["configuration"] = json!({ "timeout_seconds": 1.0 });
    let id = gateway.register(&server).await["id"].as_str().expect("an id").to_owned();
    gateway.offers(&id, "echo").await;
    let client = gateway.client("/mcp/hole").await;
    hole.set(Mode::Blackhole);
    for method in ["tools/list", "resources/list", "prompts/list"] {
        let answer = client.request(method, json!({}));
        let answer = tokio::time::timeout(PATIENCE, answer).await.expect("an end").expect("an answer");
        assert!([503, 504].contains(&answer.status), "{method}: {answer:?}");
        assert_eq!(answer.response["error"]["data"]["source"], "gateway", "{method}: {answer:?}");
        assert!(answer.response.get("result").is_none(), "{method}: {answer:?}");
    }
}

#[tokio::test]
async fn a_service_that_was_never_heard_refuses_a_session_or_answers_its_list_with_an_error() {
    let (gateway, fake) = (Gateway::start().await, Fake::start("hole").await);
    let hole = Proxy::start(fake.address()).await;
    hole.set(Mode::Blackhole);
    gateway.register(&quiet("hole", &hole.url())).await;
    let opening = Client::connect(gateway.address(), "/mcp/hole");
    match tokio::time::timeout(PATIENCE, opening).await.expect("an end") {
        Err(error) => assert!(error.to_string().contains("gateway"), "{error}"),
        Ok(client) => {
            let list = client.request("tools/list", json!({}));
            let answer = tokio::time::timeout(PATIENCE, list).await.expect("an end").expect("an answer");
            assert!([502, 503, 504].contains(&answer.status), "{answer:?}");
            assert!(answer.response.get("result").is_none(), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_list_fails_over_to_a_replica_that_works() {
    let gateway = Gateway::start().await;
    let pair = Fake::start_many("replica", 2).await;
    for fake in &pair {
        gateway.adopt(fake.name(), "pair", &fake.url()).await;
    }
    let client = gateway.client("/mcp/pair").await;
    pair[0].script().on("tools/list", Act::ResetBefore);
    for _ in 0..10 {
        let answer = client.request("tools/list", json!({})).await.expect("an answer");
        assert!(answer.names("tools").contains(&"echo".to_owned()), "{answer:?}");
    }
}
