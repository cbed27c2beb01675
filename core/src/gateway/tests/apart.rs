//! Events in one tenant are neither visible nor noticeable in another.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::fake::{Fake, House, caller, read, url};
use crate::breaker::{BreakerState, Outcome};
use crate::error::ErrorKind;
use crate::gateway::{Caller, TenantPatch};
use crate::model::{
    Configuration, Patch, Principal, Registration, Restriction, Role, Server, ServerId, TenantId,
    TenantStatus,
};
use crate::select::PickRequest;

fn of(tenant: &str, role: Role) -> Principal {
    Principal::new(tenant.parse().unwrap(), format!("user:{}", role.as_str()), role)
}

/// Registers a server of this name in another tenant.
async fn add_to(house: &House, tenant: &str, name: &str, fake: &Arc<Fake>) -> Arc<Server> {
    house.replica(name, fake);
    let registration =
        Registration { name: name.into(), endpoint_url: Some(url(name)), ..Registration::default() };
    let admin = Caller::new(of(tenant, Role::Admin));
    let server = house.gateway.register(&admin, registration).await.unwrap();
    house.gateway.discover(&admin, server.id).await.unwrap();
    server
}

/// T-13: clients are notified of a changed list only if they may see it: not those of another tenant, and not a user of the
/// same one from whom the service is hidden.
#[tokio::test(start_paused = true)]
async fn a_change_is_told_only_to_those_who_may_see_it() {
    let (house, fake, other) = (House::open().await, Fake::new(&["t"]), Fake::new(&["t"]));
    let server = house.add("a", "a", &fake).await;
    add_to(&house, "b", "b", &other).await;
    let managers = Restriction { role: Some(Role::Manager), ..Restriction::default() };
    let configuration = Configuration { access: vec![managers], ..Configuration::default() };
    let patch = Patch { configuration: Some(configuration), ..Patch::default() };
    house.gateway.update(&caller(), server.id, patch, None).await.unwrap();

    let mut streams = Vec::new();
    for principal in [of("default", Role::Manager), of("default", Role::Analyst), of("b", Role::Admin)] {
        let client = house.client_of(principal, "", json!({})).await;
        streams.push(client.listen().await);
    }
    for stream in &mut streams {
        tokio::time::sleep(Duration::from_secs(1)).await;
        read(stream).await;
    }
    fake.set_tools(&["t", "u"]);
    house.gateway.discover(&caller(), server.id).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut heard = Vec::new();
    for stream in &mut streams {
        heard.push(read(stream).await.len());
    }
    assert_eq!(heard, [1, 0, 0]);
}

/// T-04: two tenants with servers, tools and calls of the same names: each sees its own list and reaches its own server,
/// however they take turns, and neither is notified of the other's change.
#[tokio::test(start_paused = true)]
async fn equal_names_of_two_tenants_never_meet() {
    let (house, one, two) = (House::open().await, Fake::new(&["t", "of_one"]), Fake::new(&["t", "of_two"]));
    let mut servers = Vec::new();
    for (tenant, fake) in [("a", &one), ("b", &two)] {
        house.replica(tenant, fake);
        let registration =
            Registration { name: "same".into(), endpoint_url: Some(url(tenant)), ..Registration::default() };
        let admin = Caller::new(of(tenant, Role::Admin));
        let server = house.gateway.register(&admin, registration).await.unwrap();
        house.gateway.discover(&admin, server.id).await.unwrap();
        servers.push((admin, server.id));
    }
    let mut clients = Vec::new();
    for tenant in ["a", "b"] {
        clients.push((
            house.client_of(of(tenant, Role::Analyst), "", json!({})).await,
            house.client_of(of(tenant, Role::Analyst), "same", json!({})).await,
        ));
    }
    let seen = async |own: &str, other: &str, replica: usize| {
        let (all, alone) = &clients[replica];
        for listed in
            [all.request(3, "tools/list", json!({})).await, alone.request(4, "tools/list", json!({})).await]
        {
            let listed = listed.last().unwrap().to_string();
            assert!(listed.contains(own) && !listed.contains(other), "{listed}");
        }
        assert!(all.call("same__t").await[0]["result"].is_object());
        assert!(alone.call("t").await[0]["result"].is_object());
    };
    for round in 1..=3 {
        seen("of_one", "of_two", 0).await;
        seen("of_two", "of_one", 1).await;
        assert_eq!((one.count("tools/call"), two.count("tools/call")), (2 * round, 2 * round));
    }
    one.set_tools(&["t", "new_one"]);
    house.gateway.discover(&servers[0].0, servers[0].1).await.unwrap();
    seen("new_one", "of_two", 0).await;
    seen("of_two", "new_one", 1).await;
}

/// T-15: calls of one tenant that fail open the breaker of its own server, not that of another tenant's at the same address.
#[tokio::test(start_paused = true)]
async fn a_breaker_that_one_tenant_trips_is_not_anothers() {
    let (house, fake) = (House::open().await, Fake::new(&["t"]));
    let first = add_to(&house, "a", "same", &fake).await;
    let second = add_to(&house, "b", "same", &fake).await;
    let inner = &house.gateway.0;
    let service = Arc::clone(&inner.router.view_for(&of("a", Role::Analyst)).services["same"]);
    for _ in 0..5 {
        let now = inner.clock.now();
        let (mut lease, _) = service.pick(None, &PickRequest { key: None, exclude: &[] }, now).unwrap();
        lease.record(Outcome::Failure, Duration::from_millis(1), now);
    }
    let state = |id: ServerId| inner.replica(id).unwrap().state.breaker().state(inner.clock.now());
    assert_eq!((state(first.id), state(second.id)), (BreakerState::Open, BreakerState::Closed));
    let client = house.client_of(of("b", Role::Analyst), "", json!({})).await;
    assert!(client.call("same__t").await[0]["result"].is_object());
}

/// T-14: the audit trail of a tenant has its own rows alone.
/// T-09: nothing of a deleted tenant goes on, its trail stays, and its name is never given again.
#[tokio::test(start_paused = true)]
async fn a_deleted_tenant_is_refused_and_its_trail_stays() {
    let (house, fake) = (House::open().await, Fake::new(&["t"]));
    let (gateway, operator) = (&house.gateway, caller());
    let id: TenantId = "a".parse().unwrap();
    gateway.create_tenant(&operator, id.clone(), Some("A".into())).await.unwrap();
    add_to(&house, "a", "s", &fake).await;
    let trail = |tenant: &str| {
        let tenant: TenantId = tenant.parse().unwrap();
        async move { gateway.0.registry.audit(&tenant, 100).await.unwrap() }
    };
    let own = trail("a").await;
    assert!(!own.is_empty() && own.iter().all(|row| row.tenant_id == id));
    assert!(trail("b").await.is_empty());

    let client = house.client_of(of("a", Role::Analyst), "", json!({})).await;
    let mut stream = client.listen().await;
    let disabled = TenantPatch { enabled: Some(false), ..TenantPatch::default() };
    let changed = gateway.update_tenant(&operator, &id, disabled).await.unwrap();
    assert_eq!(changed.status, TenantStatus::Disabled);
    // Open streams have ended by now, and no new call begins.
    let ended = tokio::time::timeout(Duration::from_secs(1), async {
        while futures_util::StreamExt::next(&mut stream).await.is_some() {}
    });
    assert!(ended.await.is_ok(), "the stream of a disabled tenant goes on");
    let refused = client.call("s__t").await;
    assert!(refused[0]["error"].as_str().unwrap().contains("tenant is disabled"), "{refused:?}");
    assert_eq!(fake.count("tools/call"), 0);

    gateway.delete_tenant(&operator, &id).await.unwrap();
    assert_eq!(gateway.0.registry.state().of_tenant(&id).count(), 0);
    let again = gateway.create_tenant(&operator, id.clone(), None).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
    let back = TenantPatch { enabled: Some(true), ..TenantPatch::default() };
    assert_eq!(gateway.update_tenant(&operator, &id, back).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(trail("a").await.len() > own.len(), "the trail of a deleted tenant stays and has its end");
}

/// T-10: the administrator of one tenant neither sees nor changes another, and cannot tell it from one that does not exist.
#[tokio::test(start_paused = true)]
async fn only_the_operator_governs_other_tenants() {
    let house = House::open().await;
    let (gateway, operator) = (&house.gateway, caller());
    for id in ["a", "b"] {
        gateway.create_tenant(&operator, id.parse().unwrap(), None).await.unwrap();
    }
    let all: Vec<_> =
        gateway.tenants(&operator).await.unwrap().into_iter().map(|t| t.id.to_string()).collect();
    assert_eq!(all, ["a", "b", "default"]);
    let admin = Caller::new(of("b", Role::Admin));
    let own: Vec<_> = gateway.tenants(&admin).await.unwrap().into_iter().map(|t| t.id.to_string()).collect();
    assert_eq!(own, ["b"]);
    for (other, random) in [("a", "x"), ("default", "y")] {
        let tell = |error: crate::Error| error.to_string().replace(other, "ID").replace(random, "ID");
        for (one, none) in [
            (
                gateway.tenant(&admin, &other.parse().unwrap()).await.map(drop),
                gateway.tenant(&admin, &random.parse().unwrap()).await.map(drop),
            ),
            (
                gateway.delete_tenant(&admin, &other.parse().unwrap()).await,
                gateway.delete_tenant(&admin, &random.parse().unwrap()).await,
            ),
        ] {
            assert_eq!(tell(one.unwrap_err()), tell(none.unwrap_err()));
        }
    }
    let create = gateway.create_tenant(&admin, "c".parse().unwrap(), None).await.unwrap_err();
    assert_eq!(create.kind(), ErrorKind::PermissionDenied);
    let manager = Caller::new(of("default", Role::Manager));
    assert!(gateway.tenants(&manager).await.is_err());
}
