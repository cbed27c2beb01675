//! B-16: a resource stays with the service that had it first, even if others offer it later.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::fake::{Fake, House, caller, until};
use crate::model::{Server, TenantId};
use crate::store::{ClaimStore as _, Store as _};

const SHARED: &str = "x://shared";

struct Two {
    house: House,
    old: (Arc<Fake>, Arc<Server>),
    young: (Arc<Fake>, Arc<Server>),
}

/// A service that is older, and one that alone offers the resource.
async fn two() -> Two {
    let (house, old, young) = (House::open().await, Fake::new(&["t"]), Fake::new(&["t"]));
    young.set_resources(&[SHARED]);
    let first = house.add("old", "old", &old).await;
    let second = house.add("young", "young", &young).await;
    Two { house, old: (old, first), young: (young, second) }
}

impl Two {
    async fn offer(&self, of: &(Arc<Fake>, Arc<Server>), uris: &[&str]) {
        of.0.set_resources(uris);
        self.house.gateway.discover(&caller(), of.1.id).await.unwrap();
    }

    /// Reads the resource on the aggregated route; returns the number of requests to the old one and the young one so far.
    async fn read(&self, house: &House) -> [usize; 2] {
        let client = house.client("", json!({})).await;
        client.request(1, "resources/read", json!({ "uri": SHARED })).await;
        [self.old.0.count("resources/read"), self.young.0.count("resources/read")]
    }

    async fn actions(&self) -> Vec<(String, Value)> {
        let rows = self.house.store.audit(&TenantId::default_tenant(), 50).await.unwrap();
        let rows = rows.into_iter().filter(|row| row.action == "resource.shadowed");
        rows.map(|row| (row.target, row.detail)).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_service_that_offers_a_resource_later_does_not_get_it() {
    let two = two().await;
    assert_eq!(two.read(&two.house).await, [0, 1]);
    two.offer(&two.old, &[SHARED, "x://own"]).await;
    assert_eq!(two.read(&two.house).await, [0, 2]);
    let list = two.house.client("", json!({})).await.request(2, "resources/list", json!({})).await;
    let uris: Vec<_> =
        list[0]["result"]["resources"].as_array().unwrap().iter().map(|one| &one["uri"]).collect();
    assert_eq!(uris, ["x://own", SHARED], "it is listed once");
    while two.actions().await.is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(two.actions().await, [("old".to_owned(), json!({ "uri": SHARED, "owner": "young" }))]);

    let again = two.house.opened_again().await;
    assert_eq!(two.read(&again).await, [0, 3], "nor after a restart");
}

#[tokio::test(start_paused = true)]
async fn who_stops_offering_a_resource_has_lost_it() {
    let two = two().await;
    two.offer(&two.old, &[SHARED]).await;
    two.offer(&two.young, &[]).await;
    assert_eq!(two.read(&two.house).await, [1, 0]);
    two.offer(&two.young, &[SHARED]).await;
    assert_eq!(two.read(&two.house).await, [2, 0], "nothing is given back silently");
    let claims = || futures_util::FutureExt::now_or_never(two.house.store.claims()).unwrap().unwrap();
    until("the end of the claim", || claims().is_empty().then_some(())).await;
}
