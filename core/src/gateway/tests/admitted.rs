//! The embedding program's own answers are held to the same rules as calls that pass through the gateway.

use std::sync::Arc;

use crate::auth::{Access, Credentials};
use crate::clock::{Clock, ManualClock};
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{AdmissionRequest, Admitted, Gateway, Settings};
use crate::limit;
use crate::model::{AuditEntry, CapabilityKind, Principal, Role, TenantId};
use crate::rpc::Method;
use crate::store::{MemoryStore, Store};

struct House {
    gateway: Gateway,
    store: Arc<MemoryStore>,
}

impl House {
    async fn open() -> Self {
        let (clock, store): (Arc<dyn Clock>, _) = (ManualClock::shared(), Arc::new(MemoryStore::new()));
        let rules = r#"rules = [{ service = "my *", tools = ["pay*"], role = "manager" }]"#;
        let settings = Settings {
            access: toml::from_str::<Access>(rules).unwrap(),
            limits: limit::Settings { analyst: 3, ..limit::Settings::default() },
            probing: false,
            ..Settings::default()
        };
        let gateway = Gateway::open(settings, Arc::clone(&store) as _, clock).await.unwrap();
        Self { gateway, store }
    }

    async fn ask(&self, role: Role, method: Method, name: Option<&str>) -> Result<Admitted> {
        let who = Principal::new(TenantId::default_tenant(), format!("user:{}", role.as_str()), role);
        let ask = AdmissionRequest { method, service: "my server".into(), name: name.map(Into::into) };
        self.gateway.admit_call(ask, &Credentials::Embedded(who)).await
    }

    async fn call(&self, role: Role, tool: &str) -> Result<Admitted> {
        self.ask(role, Method::ToolsCall, Some(tool)).await
    }

    /// The rows of the trail, oldest first, once the gateway has ended.
    async fn trail(self) -> Vec<(String, String, String, String)> {
        self.gateway.shutdown(std::time::Duration::ZERO).await;
        let mut rows = self.store.audit(&TenantId::default_tenant(), 100).await.unwrap();
        rows.reverse();
        let told = |row: AuditEntry| (row.actor, row.action, row.target, row.outcome);
        rows.into_iter().map(told).collect()
    }
}

fn refusal(outcome: Result<Admitted>) -> Error {
    outcome.map(drop).unwrap_err()
}

fn row(actor: &str, action: &str, target: &str, outcome: &str) -> (String, String, String, String) {
    (actor.into(), action.into(), target.into(), outcome.into())
}

#[tokio::test]
async fn each_call_leaves_a_row_that_says_how_it_went() {
    let house = House::open().await;
    house.call(Role::Manager, "a").await.unwrap().succeeded();
    house.call(Role::Manager, "b").await.unwrap().failed();
    drop(house.call(Role::Manager, "c").await.unwrap());
    house.ask(Role::Manager, Method::ToolsList, None).await.unwrap().succeeded();
    house.ask(Role::Manager, Method::ResourcesRead, Some("x:y")).await.unwrap().succeeded();
    let rows = house.trail().await;
    assert_eq!(
        rows,
        [
            row("user:manager", "tools/call", "my server/a", "ok"),
            row("user:manager", "tools/call", "my server/b", "failed"),
            row("user:manager", "tools/call", "my server/c", "cancelled"),
            row("user:manager", "resources/read", "my server/x:y", "ok"),
        ],
        "a list has a row where calls have"
    );
}

#[tokio::test]
async fn what_the_rules_keep_from_a_caller_is_neither_seen_nor_called() {
    let house = House::open().await;
    let mut listing = house.ask(Role::Analyst, Method::ToolsList, None).await.unwrap();
    assert!(listing.sees(CapabilityKind::Tool, "own") && !listing.sees(CapabilityKind::Tool, "pay_all"));
    assert!(listing.sees(CapabilityKind::Prompt, "pay_all"), "the rule is about tools");
    listing.succeeded();
    drop(listing);
    assert_eq!(refusal(house.call(Role::Analyst, "pay_all").await).kind(), ErrorKind::NotFound);
    house.call(Role::Manager, "pay_all").await.unwrap().succeeded();
    let rows = house.trail().await;
    assert_eq!(rows[0], row("user:analyst", "tools/call", "my server/pay_all", "not_found"));
    assert_eq!(rows[1], row("user:manager", "tools/call", "my server/pay_all", "ok"));
}

#[tokio::test]
async fn who_may_not_or_not_so_often_is_refused_and_told_when_to_come_back() {
    let house = House::open().await;
    assert_eq!(refusal(house.call(Role::Viewer, "own").await).kind(), ErrorKind::PermissionDenied);
    for _ in 0..3 {
        house.call(Role::Analyst, "own").await.unwrap().succeeded();
    }
    let limited = refusal(house.call(Role::Analyst, "own").await);
    assert_eq!(limited.kind(), ErrorKind::RateLimited);
    assert!(limited.retry_delay().is_some_and(|delay| delay.as_secs() > 0), "{limited:?}");
    let rows = house.trail().await;
    assert_eq!(rows.iter().filter(|row| row.3 == "ok").count(), 3, "{rows:?}");
    for (actor, outcome) in [("user:viewer", "permission_denied"), ("user:analyst", "rate_limited")] {
        assert!(rows.contains(&row(actor, "tools/call", "", outcome)), "{rows:?}");
    }
}
