//! Definitions that change under the same name (B-17).

use std::time::Duration;

use serde_json::json;

use super::super::items::{Items, items};
use super::super::{Actor, Registry};
use super::*;
use crate::clock::ManualClock;
use crate::error::ErrorKind;
use crate::model::{AuditEntry, Patch, Registration, ServerId, TenantId};
use crate::store::MemoryStore;

fn tenant() -> TenantId {
    TenantId::new("t").unwrap()
}

fn ann() -> Actor {
    Actor { subject: "user:ann".into(), correlation_id: None }
}

/// The listing of a server that has the tool `t` with this description, and more tools.
fn says(description: &str, more: &[&str]) -> Listing {
    let tool = |name: &str, text: &str| json!({ "name": name, "description": text, "inputSchema": { "type": "object" } });
    let tools: Vec<_> =
        [tool("t", description)].into_iter().chain(more.iter().map(|name| tool(name, "more"))).collect();
    let Items { items, excluded, .. } = items(CapabilityKind::Tool, &json!(tools).to_string()).unwrap();
    assert!(excluded.is_empty());
    Listing { items, initialize: Some("{}".into()), modern: None }
}

struct House {
    clock: std::sync::Arc<ManualClock>,
    registry: Registry,
}

impl House {
    async fn new() -> Self {
        let clock = ManualClock::shared();
        let registry = Registry::open(Arc::new(MemoryStore::new()), clock.clone()).await.unwrap();
        Self { clock, registry }
    }

    /// A replica of the service `s`.
    async fn replica(&self, name: &str, drift: &str) -> ServerId {
        self.clock.advance(Duration::from_secs(1));
        let registration = json!({ "name": name, "service": "s", "endpoint_url": format!("http://127.0.0.1:1/{name}"),
            "configuration": { "drift": drift } });
        let registration: Registration = serde_json::from_str(&registration.to_string()).unwrap();
        self.registry.register(&tenant(), &ann(), registration).await.unwrap().id
    }

    async fn hear(&self, id: ServerId, listing: Listing) -> bool {
        self.registry.set_listing(id, listing).await.unwrap()
    }

    fn waits(&self, id: ServerId) -> bool {
        self.registry.state().entry(id).unwrap().waiting().is_some()
    }

    fn described(&self, id: ServerId) -> String {
        self.registry.state().listing(id).items[0].description.clone().unwrap()
    }

    /// The rows about drift, oldest first.
    async fn rows(&self) -> Vec<AuditEntry> {
        let rows = self.registry.audit(&tenant(), 100).await.unwrap();
        rows.into_iter()
            .rev()
            .filter(|row| ["server.drift", "server.approve"].contains(&&*row.action))
            .collect()
    }
}

/// B-17: by default a change is told, with both definitions, and taken up.
#[tokio::test]
async fn a_changed_definition_is_told_once_and_taken_up() {
    let house = House::new().await;
    let id = house.replica("a", "report").await;
    assert!(house.hear(id, says("good", &[])).await);
    assert!(house.hear(id, says("good", &["new"])).await, "a new tool differs from nothing");
    assert!(house.rows().await.is_empty());
    assert!(house.hear(id, says("evil", &["new"])).await);
    assert_eq!((house.described(id).as_str(), house.waits(id)), ("evil", false));
    let rows = house.rows().await;
    assert_eq!((rows.len(), rows[0].outcome.as_str(), rows[0].target.clone()), (1, "told", id.to_string()));
    let shown = &rows[0].detail["shown"][0];
    assert_eq!((&shown["name"], &shown["kind"]), (&json!("t"), &json!("tool")));
    assert!(
        shown["was"].as_str().unwrap().contains("good") && shown["is"].as_str().unwrap().contains("evil")
    );
    house.hear(id, says("evil", &["new"])).await;
    assert_eq!(house.rows().await.len(), 1);
}

/// B-17: however long the definitions are, the row of the trail has the beginning of both.
#[tokio::test]
async fn a_change_of_long_definitions_is_told_with_their_beginnings() {
    let house = House::new().await;
    let id = house.replica("a", "report").await;
    for word in ["good", "evil"] {
        house.hear(id, says(&format!("{word} {}", "\u{1f600}".repeat(3000)), &[])).await;
    }
    let shown = &house.rows().await[0].detail["shown"][0];
    assert!(
        shown["was"].as_str().unwrap().contains("good") && shown["is"].as_str().unwrap().contains("evil")
    );
}

/// B-17: pinned, the approved definitions stay until an operator approves the change.
#[tokio::test]
async fn a_pinned_server_that_changes_waits_until_it_is_approved() {
    let house = House::new().await;
    let id = house.replica("a", "pin").await;
    assert!(house.hear(id, says("good", &[])).await && !house.waits(id));
    let nothing = house.registry.approve(&tenant(), &ann(), id).await.unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::Conflict);
    assert!(house.hear(id, says("evil", &["new"])).await);
    assert!(!house.hear(id, says("evil", &["new"])).await, "nothing new");
    assert_eq!((house.described(id).as_str(), house.waits(id)), ("good", true));
    let stranger = TenantId::new("other").unwrap();
    assert_eq!(house.registry.approve(&stranger, &ann(), id).await.unwrap_err().kind(), ErrorKind::NotFound);

    let approved = house.registry.approve(&tenant(), &ann(), id).await.unwrap();
    assert_eq!((approved.revision, house.described(id).as_str(), house.waits(id)), (2, "evil", false));
    assert!(!house.hear(id, says("evil", &["new"])).await);
    let rows = house.rows().await;
    let told: Vec<_> =
        rows.iter().map(|row| (row.action.as_str(), row.outcome.as_str(), row.actor.as_str())).collect();
    let expected = [
        ("server.approve", "conflict", "user:ann"),
        ("server.drift", "waits", "gateway"),
        ("server.approve", "ok", "user:ann"),
    ];
    assert_eq!(told, expected, "what another tenant tried is in its own trail");
}

/// B-17: a server that takes its change back is let in again.
#[tokio::test]
async fn a_pinned_server_that_says_again_what_it_said_waits_no_longer() {
    let house = House::new().await;
    let id = house.replica("a", "pin").await;
    house.hear(id, says("good", &[])).await;
    house.hear(id, says("evil", &[])).await;
    assert!(house.waits(id));
    assert!(house.hear(id, says("good", &[])).await && !house.waits(id));
}

/// B-17: a replica that differs from the others waits from the start, by the word of the service's first.
#[tokio::test]
async fn a_replica_that_differs_from_the_others_waits_and_stays_once_it_is_approved() {
    let house = House::new().await;
    let (first, second) = (house.replica("a", "pin").await, house.replica("b", "report").await);
    house.hear(first, says("one", &[])).await;
    assert!(house.hear(second, says("two", &[])).await && house.waits(second) && !house.waits(first));
    let state = house.registry.state();
    let drift = state.entry(second).unwrap().drift.clone().unwrap();
    assert_eq!((drift.differences.len(), drift.differences[0].replica.as_deref()), (1, Some("a")));
    assert!(state.listing(second).items.is_empty());
    house.registry.approve(&tenant(), &ann(), second).await.unwrap();
    assert!(!house.hear(second, says("two", &[])).await && !house.waits(second), "it was approved as it is");
    assert!(!house.hear(first, says("one", &[])).await && !house.waits(first), "and so was the first");
}

/// B-17: replicas that differ are told of for as long as they do.
#[tokio::test]
async fn replicas_that_differ_while_a_service_is_upgraded_show_it() {
    let house = House::new().await;
    let (first, second) = (house.replica("a", "report").await, house.replica("b", "report").await);
    house.hear(first, says("one", &[])).await;
    house.hear(second, says("two", &[])).await;
    let differs = |id| house.registry.state().entry(id).unwrap().drift.is_some();
    assert!(differs(second) && !house.waits(second));
    assert!(!house.hear(second, says("two", &[])).await && differs(second), "still");
    house.hear(first, says("two", &[])).await;
    house.hear(second, says("two", &[])).await;
    assert!(!differs(second), "the upgrade is over");
}

/// B-17: neither the order of members nor white space is a difference.
#[tokio::test]
async fn the_same_definition_written_otherwise_is_no_difference() {
    let house = House::new().await;
    let id = house.replica("a", "pin").await;
    let listing = |text: &str| {
        let items = items(CapabilityKind::Tool, text).unwrap().items;
        Listing { items, initialize: Some("{}".into()), modern: None }
    };
    house.hear(id, listing(r#"[{"name":"t","inputSchema":{"type":"object"},"x":1}]"#)).await;
    house.hear(id, listing(r#"[{"x" : 1,"inputSchema":{"type":"object"},"name":"\u0074"}]"#)).await;
    assert!(!house.waits(id));
    // A weight is nothing that a client sees.
    let patch: Patch = serde_json::from_str(r#"{"weight":2}"#).unwrap();
    house.registry.update(&tenant(), &ann(), id, patch, None).await.unwrap();
    house.hear(id, listing(r#"[{"name":"t","inputSchema":{"type":"object","required":[]},"x":1}]"#)).await;
    assert!(house.waits(id));
}
