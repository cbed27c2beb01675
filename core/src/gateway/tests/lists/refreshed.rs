//! A change of the register changes the routing data of that, and nothing else.

use std::sync::Arc;

use super::super::fake::{Fake, House, caller};
use crate::gateway::Caller;
use crate::gateway::routing::snapshot::View;
use crate::model::{CapabilityKind, Patch, Principal, Role, TenantId};

fn view(house: &House, tenant: &TenantId) -> Arc<View> {
    house.gateway.0.router.load().tenants.get(tenant).cloned().unwrap()
}

fn services(house: &House) -> Vec<String> {
    view(house, &TenantId::default_tenant()).services.keys().map(ToString::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn what_a_change_is_not_about_stays_the_very_same() {
    let (house, fake) = (House::open().await, Fake::new(&["t"]));
    house.add("a", "a", &fake).await;
    let other: TenantId = "other".parse().unwrap();
    let admin = Caller::new(Principal::new(other.clone(), "user:admin", Role::Admin));
    house.replica("b", &fake);
    let registration =
        serde_json::from_str(r#"{"name": "b", "endpoint_url": "http://127.0.0.1:9/b"}"#).unwrap();
    let foreign = house.gateway.register(&admin, registration).await.unwrap();
    house.gateway.discover(&admin, foreign.id).await.unwrap();

    let own = TenantId::default_tenant();
    let (foreigners, before) = (view(&house, &other), view(&house, &own).services["a"].clone());
    let added = house.add("c", "c", &fake).await;
    assert_eq!(services(&house), ["a", "c"]);
    assert!(Arc::ptr_eq(&before, &view(&house, &own).services["a"]));
    assert!(Arc::ptr_eq(&foreigners, &view(&house, &other)));
    assert!(foreigners.holder(CapabilityKind::Tool, "t").is_some());

    let upstream = Arc::clone(&house.gateway.0.replica(added.id).unwrap().upstream);
    let patch = Patch { service: Some("a".parse().unwrap()), ..Patch::default() };
    house.gateway.update(&caller(), added.id, patch, None).await.unwrap();
    assert_eq!(services(&house), ["a"]);
    let moved = house.gateway.0.replica(added.id).unwrap();
    assert!(Arc::ptr_eq(&moved.upstream, &upstream), "it is reached as before");
    assert_eq!(view(&house, &own).services["a"].replicas.len(), 2);

    house.gateway.remove(&caller(), added.id, None).await.unwrap();
    assert!(house.gateway.0.replica(added.id).is_none());
    assert_eq!(view(&house, &own).services["a"].replicas.len(), 1);
    assert!(Arc::ptr_eq(&foreigners, &view(&house, &other)));
    house.gateway.remove(&admin, foreign.id, None).await.unwrap();
    assert!(!house.gateway.0.router.load().tenants.contains_key(&other));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_could_not_be_reached_as_configured_is_tried_again_at_the_next_change() {
    let (house, fake) = (House::open().await, Fake::new(&["t"]));
    let late =
        serde_json::from_str(r#"{"name": "late", "endpoint_url": "http://127.0.0.1:9/late"}"#).unwrap();
    let late = house.gateway.register(&caller(), late).await.unwrap();
    assert!(house.gateway.0.replica(late.id).is_none());
    house.replica("late", &fake);
    house.add("a", "a", &fake).await;
    assert_eq!(services(&house), ["a", "late"]);
    assert!(house.gateway.0.replica(late.id).is_some());
}
