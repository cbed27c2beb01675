//! A program has the time for its start that the operator allows, and is started once for all who want it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;

use super::super::fake::{caller, until};
use crate::breaker::BreakerState;
use crate::clock::ManualClock;
use crate::error::{Delivery, ErrorKind, Result};
use crate::gateway::*;
use crate::model::{Configuration, HealthStatus, Registration, ServerId, TransportType};
use crate::rpc::{Message, Method};
use crate::store::MemoryStore;
use crate::transport::Link;
use crate::transport::memory::{Handler, MemoryConnector, Replies};

/// A program that answers nothing before it has started.
struct Program {
    takes: Duration,
}

#[async_trait]
impl Handler for Program {
    async fn handle(&self, message: Message, replies: Replies) {
        let Some(id) = message.id() else { return };
        let result = match message.method() {
            Some(Method::Initialize) => {
                tokio::time::sleep(self.takes).await;
                r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}"#
            }
            Some(Method::Discover) => return std::future::pending().await,
            Some(Method::ToolsList) => r#"{"tools":[{"name":"t","inputSchema":{"type":"object"}}]}"#,
            _ => r#"{"content":[]}"#,
        };
        // A start that was ended has no reader.
        let _ = replies.send(crate::rpc::answer::result_response(id, result)).await;
    }
}

/// Starts the program, and counts that.
#[derive(Debug)]
struct Launcher {
    program: MemoryConnector,
    started: Arc<AtomicUsize>,
}

#[async_trait]
impl Connector for Launcher {
    async fn connect(&self, own: bool) -> Result<Arc<dyn Link>> {
        self.started.fetch_add(1, Ordering::SeqCst);
        self.program.connect(own).await
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }

    fn remembers_clients(&self) -> bool {
        false
    }

    fn starts_process(&self) -> bool {
        true
    }

    fn last_output(&self) -> Vec<String> {
        vec!["downloading".into(), "no space left".into()]
    }
}

struct World {
    gateway: Gateway,
    id: ServerId,
    started: Arc<AtomicUsize>,
}

impl World {
    /// A gateway that probes, and a program that needs this time to start.
    async fn of(takes: Duration, configuration: Configuration) -> Self {
        let started = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&started);
        let connect: Connect = Box::new(move |_| {
            let program = MemoryConnector::new(Arc::new(Program { takes }));
            Ok(Arc::new(Launcher { program, started: Arc::clone(&counted) }))
        });
        let settings = Settings { seed: Some(1), ..Settings::default() };
        let (random, tasks) = (Arc::new(Random::seeded(1)), Tasks::default());
        let store = Arc::new(MemoryStore::default());
        let (clock, book) = (ManualClock::shared(), Arc::default());
        let gateway = Gateway::open_with(settings, store, clock, random, tasks, book, connect).await.unwrap();
        let registration = Registration {
            name: "files".into(),
            command: Some("/bin/true".into()),
            transport_type: Some(TransportType::Stdio),
            configuration: Some(configuration),
            ..Registration::default()
        };
        let id = gateway.register(&caller(), registration).await.unwrap().id;
        Self { gateway, id, started }
    }

    fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }

    fn replica(&self) -> super::super::super::routing::service::Replica {
        self.gateway.0.replica(self.id).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn discovery_probe_and_calls_share_one_start_and_wait_for_it() {
    let world = World::of(Duration::from_secs(14), Configuration::default()).await;
    let (caller, arguments) = (caller(), json!({}));
    let calls = (0..3).map(|_| world.gateway.call_tool(&caller, "files__t", &arguments));
    let check = world.gateway.health_check(&caller, world.id);
    let (answers, check) = tokio::join!(futures_util::future::join_all(calls), check);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(check.unwrap().status, HealthStatus::Unknown, "a start is no failure");
    until("the tools", || (!world.gateway.capabilities(&caller, world.id).unwrap().is_empty()).then_some(()))
        .await;
    until("its health", || (world.replica().server.health_status == HealthStatus::Healthy).then_some(()))
        .await;
    assert_eq!(world.started(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_can_wait_no_longer_says_so_and_the_start_goes_on() {
    let world = World::of(Duration::from_secs(100), Configuration::default()).await;
    for _ in 0..2 {
        let error = world.gateway.call_tool(&caller(), "files__t", &json!({})).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::NotSent));
        assert!(error.message().contains("`files` is still starting"), "{error}");
        assert!(error.message().contains("`start_timeout_seconds`"), "{error}");
    }
    let replica = world.replica();
    assert_eq!(replica.state.breaker().state(world.gateway.clock().now()), BreakerState::Closed);
    assert_eq!(replica.server.health_status, HealthStatus::Unknown);
    assert!(replica.upstream.starting().is_some());
    world.gateway.discover(&caller(), world.id).await.unwrap();
    world.gateway.call_tool(&caller(), "files__t", &json!({})).await.unwrap();
    assert_eq!(world.started(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_takes_too_long_is_ended_and_the_error_names_the_setting() {
    let never = Duration::from_secs(100_000);
    let limited = Configuration { start_timeout: Some(Duration::from_secs(5)), ..Configuration::default() };
    for (configuration, seconds) in [(Configuration::default(), 120), (limited, 5)] {
        let world = World::of(never, configuration).await;
        let error = world.gateway.discover(&caller(), world.id).await.unwrap_err();
        let expected = format!(
            "`files` did not answer `initialize` within {seconds} s; raise `start_timeout_seconds` if it needs longer to start"
        );
        assert_eq!(error.message(), expected);
        let output = world.replica().upstream.startup().failure(|failure| failure.output.clone());
        assert_eq!(output.unwrap(), ["downloading", "no space left"]);
    }
}

#[tokio::test(start_paused = true)]
async fn clients_with_sessions_of_their_own_wait_for_the_first_start_and_share_its_failure() {
    let configuration = Configuration { sharing: crate::model::Sharing::Session, ..Configuration::default() };
    let world = World::of(Duration::from_secs(10), configuration).await;
    let upstream = world.replica().upstream;
    let hello = crate::gateway::upstream::era_negotiator::hello(r#"{"sampling":{}}"#);
    until("a start", || upstream.starting().map(drop)).await;
    let (one, two) = tokio::join!(upstream.own(&hello), upstream.own(&hello));
    assert!(one.is_ok() && two.is_ok());
    assert_eq!(world.started(), 3, "one after the first, then both");
}
