use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;
use crate::balance::Ask;
use crate::clock::ManualClock;
use crate::store::MemoryStore;
use crate::transport::resident::Visit;

fn wrong(builder: GatewayBuilder) -> Error {
    builder.prepare().unwrap_err()
}

fn replica(name: &str) -> Registration {
    Registration { service: Some("docs".into()), ..Registration::named(name) }
}

/// Tells its own name, whatever it is asked.
async fn host(gateway: &Gateway, name: &'static str) {
    let own = move |method: String, _: Value| async move {
        Ok(match method.as_str() {
            "initialize" => json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} },
                "serverInfo": { "name": name, "version": "1" } }),
            "tools/list" => json!({ "tools": [{ "name": "who", "inputSchema": { "type": "object" } }] }),
            "tools/call" => json!({ "content": [{ "type": "text", "text": name }] }),
            "ping" => json!({}),
            _ => return Err(Error::new(ErrorKind::MethodNotFound, "no such method")),
        })
    };
    let hosted = gateway.host(&Caller::local(), replica(name), move |visit| visit.answer(own)).await.unwrap();
    gateway.discover(&Caller::local(), hosted.server().id).await.unwrap();
}

async fn who(gateway: &Gateway) -> String {
    let answer = gateway.call_tool(&Caller::local(), "docs__who", &json!({})).await.unwrap();
    answer.text().unwrap()
}

/// The candidate whose name comes last; counts how often it was asked.
#[derive(Debug)]
struct LastByName(Arc<[Entry]>, Arc<AtomicUsize>);

impl Balancer for LastByName {
    fn pick(&self, ask: &Ask<'_>) -> Option<usize> {
        self.1.fetch_add(1, Ordering::Relaxed);
        (0..self.0.len()).filter(|place| ask.allows(*place)).max_by_key(|place| &self.0[*place].name)
    }
}

#[tokio::test]
async fn an_algorithm_of_the_programs_own_chooses_for_its_service_and_for_no_other() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let own = move |entries| Box::new(LastByName(entries, Arc::clone(&counter))) as Box<dyn Balancer>;
    let gateway = Gateway::builder().balancer("docs", own).open().await.unwrap();
    for name in ["docs-b", "docs-c", "docs-a"] {
        host(&gateway, name).await;
    }
    for _ in 0..4 {
        assert_eq!(who(&gateway).await, "docs-c");
        let picked = gateway.pick(&Caller::local(), "docs", None).unwrap();
        assert_eq!(picked.server().name, "docs-c");
    }
    assert!(asked.load(Ordering::Relaxed) >= 8);
    // Drained, it is no candidate any more.
    let us = Caller::local();
    let drained = crate::model::Patch { weight: Some(0), ..Default::default() };
    gateway.update(&us, gateway.named(&us, "docs-c").unwrap().id, drained, None).await.unwrap();
    assert_eq!(who(&gateway).await, "docs-b");

    let before = asked.load(Ordering::Relaxed);
    let other = Registration::at("other", "http://127.0.0.1:9/");
    gateway.register(&us, other).await.unwrap();
    assert!(gateway.pick(&us, "other", None).is_ok());
    assert_eq!(asked.load(Ordering::Relaxed), before);
    gateway.close().await;
}

#[tokio::test]
async fn an_own_store_keeps_what_is_registered_from_one_gateway_to_the_next() {
    let store = Arc::new(MemoryStore::new());
    let docs = Registration::at("docs", "http://127.0.0.1:9/");
    let on = || Gateway::builder().store(Arc::clone(&store) as Arc<dyn Store>);
    on().server(docs).open().await.unwrap().close().await;
    let again = on().open().await.unwrap();
    assert_eq!(again.named(&Caller::local(), "docs").unwrap().name, "docs");
    assert_eq!(store.servers().await.unwrap().len(), 1);
    again.close().await;
}

#[tokio::test]
async fn a_server_of_the_process_leaves_and_comes_back() {
    let (gateway, us) = (Gateway::builder().open().await.unwrap(), Caller::local());
    // Gives each request's id back.
    let serve = |mut visit: Visit| async move {
        let answers = visit.answers();
        while let Some(bytes) = visit.receive().await {
            let asked: Value = serde_json::from_slice(&bytes).unwrap();
            if let Some(id) = asked.get("id") {
                let answer = json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [] } });
                answers.send(answer.to_string().into()).await.unwrap();
            }
        }
    };
    let own = || Registration { auto_discover: Some(false), ..Registration::named("own") };
    let hosted = gateway.host(&us, own(), serve).await.unwrap();
    assert_eq!(
        gateway.host(&us, own(), serve).await.unwrap_err().kind(),
        ErrorKind::Conflict,
        "one of this name is here"
    );
    hosted.leave();
    let absent = async || {
        let called = gateway.call_tool(&us, "own__any", &json!({})).await;
        called.is_err_and(|error| error.kind() == ErrorKind::Unavailable)
    };
    while !absent().await {
        tokio::task::yield_now().await;
    }
    assert!(gateway.host(&us, own(), serve).await.is_ok(), "its name is free again");
    gateway.close().await;
}

#[tokio::test]
async fn a_database_is_claimed_until_the_gateway_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Gateway::builder().data_dir(folder.path()).url("sqlite:gateway.db").open();
    let gateway = open().await.unwrap();
    assert_eq!(open().await.unwrap_err().kind(), ErrorKind::Conflict);
    gateway.close().await;
    let again = open().await.unwrap();
    again.close().await;
    drop(gateway);
}

#[tokio::test]
async fn time_is_what_the_programs_clock_says() {
    let clock = ManualClock::shared();
    clock.advance(std::time::Duration::from_secs(60));
    let gateway = Gateway::builder().clock(clock).open().await.unwrap();
    assert_eq!(gateway.opened_at().to_string(), "2026-01-01T00:01:00Z");
    gateway.close().await;
}

#[test]
fn what_is_wrong_is_named_before_anything_is_opened() {
    let unknown = wrong(Gateway::builder().config_toml("[breaker]\nprobes = 0\n[sevrer]\nport = 1"));
    assert!(unknown.message().contains("2 problems"), "{unknown}");
    let mut config = Config::default();
    config.server.max_body_bytes = 1;
    config.breaker.open = std::time::Duration::from_secs(3600);
    let made = wrong(Gateway::builder().config(config));
    assert!(
        made.message().contains("server.max_body_bytes") && made.message().contains("breaker.open_seconds")
    );

    let make = |entries| Box::new(LastByName(entries, Arc::default())) as Box<dyn Balancer>;
    for name in ["Docs", "tools", "a__b", ""] {
        let refused = wrong(Gateway::builder().balancer(name, make));
        assert!(refused.context().contains(&("field", "balancer".to_owned())), "{name}: {refused}");
    }
    let configured = Gateway::builder()
        .config_toml("[servers.a]\ncommand = \"x\"\nconfiguration = { algorithm = \"nearest\" }");
    let refused = wrong(configured);
    assert!(refused.message().contains("round_robin"), "{refused}");

    let both = Gateway::builder().store(Arc::new(MemoryStore::new())).url("sqlite:x.db");
    assert_eq!(wrong(both).context(), [("field", "store".to_owned())]);
    assert_eq!(wrong(Gateway::builder().url("postgres://x")).context(), [("field", "url".to_owned())]);
    assert!(Gateway::builder().mcp_servers("[]").is_err());
}

#[test]
fn a_configuration_that_is_as_it_comes_holds_its_own_rules() {
    assert!(Config::default().check().is_ok());
}
