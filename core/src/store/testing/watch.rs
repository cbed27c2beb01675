//! The feed of changes.

use std::sync::Arc;
use std::time::Duration;

use super::fixtures::{at, audit, credential, insert, key, listing, observation, server, tenant};
use crate::model::{Listing, Server, Tenant};
use crate::store::{ChangeKind, Claim, Store, StoreWatch};

/// Longest wait for a change that must be told at once.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Waits until the feed has told every one of `kinds`.
async fn told(watch: &mut StoreWatch, kinds: &[ChangeKind]) -> u64 {
    let mut missing = kinds.to_vec();
    let mut revision = 0;
    while !missing.is_empty() {
        let next = tokio::time::timeout(AT_ONCE, watch.next()).await;
        let change = next.unwrap_or_else(|_| panic!("{missing:?}: not told")).unwrap().unwrap();
        missing.retain(|kind| !change.includes(*kind));
        revision = change.revision;
    }
    revision
}

pub async fn every_change_is_told_with_its_kind(store: Arc<dyn Store>) {
    let (t, row) = (tenant("t"), audit(&tenant("t"), "x"));
    let keys = Arc::clone(&store).api_keys();
    let mut watch = store.watch();
    let one = server(&t, "calc");
    store.insert_server(&one, &listing(), &row).await.unwrap();
    let first = told(&mut watch, &[ChangeKind::Servers, ChangeKind::Listings]).await;
    store.update_server(&Server { revision: 5, ..one.clone() }, 4, None, &row).await.unwrap();
    let second = told(&mut watch, &[ChangeKind::Servers]).await;
    assert!(second > first, "revisions grow: {first}, {second}");
    store.put_listing(&t, one.id, &Listing::default(), at(1)).await.unwrap();
    told(&mut watch, &[ChangeKind::Listings]).await;
    let (old, new) = (key(&t, 1), key(&t, 2));
    keys.insert_key(&old, &row).await.unwrap();
    told(&mut watch, &[ChangeKind::Keys]).await;
    keys.rotate_key(old.id, at(50), &new, &row).await.unwrap();
    told(&mut watch, &[ChangeKind::Keys]).await;
    keys.revoke_key(&t, new.id, at(5), &row).await.unwrap();
    told(&mut watch, &[ChangeKind::Keys]).await;
    store.put_credential(&credential(&one, "x-key", b"sealed"), &row).await.unwrap();
    told(&mut watch, &[ChangeKind::Credentials]).await;
    store.remove_credential(&t, one.id, "", "x-key", &row).await.unwrap();
    told(&mut watch, &[ChangeKind::Credentials]).await;
    let claim = Claim { tenant_id: t.clone(), uri: "x://a".into(), service: one.service.clone() };
    store.put_claim(&claim, &row).await.unwrap();
    told(&mut watch, &[ChangeKind::Claims]).await;
    store.remove_claim(&t, "x://a").await.unwrap();
    told(&mut watch, &[ChangeKind::Claims]).await;
    store.put_tenant(&Tenant::new(tenant("u"), None, at(1)), None, &row).await.unwrap();
    told(&mut watch, &[ChangeKind::Tenants]).await;
    store.remove_server(&t, one.id, at(9), &row).await.unwrap();
    told(&mut watch, &[ChangeKind::Servers]).await;
}

pub async fn two_listeners_hear_the_same_change_and_one_that_is_late_hears_all_at_once(
    store: Arc<dyn Store>,
) {
    let (t, row) = (tenant("t"), audit(&tenant("t"), "x"));
    let (mut one, mut other) = (store.watch(), store.watch());
    insert(&*store, &server(&t, "calc")).await;
    Arc::clone(&store).api_keys().insert_key(&key(&t, 1), &row).await.unwrap();
    told(&mut one, &[ChangeKind::Servers, ChangeKind::Keys]).await;
    told(&mut other, &[ChangeKind::Servers, ChangeKind::Keys]).await;
}

pub async fn a_failed_change_and_an_observation_are_not_told(store: Arc<dyn Store>) {
    let (t, row) = (tenant("t"), audit(&tenant("t"), "x"));
    let one = server(&t, "calc");
    insert(&*store, &one).await;
    let mut watch = store.watch();
    store.insert_server(&server(&t, "calc"), &listing(), &row).await.unwrap_err();
    store.update_server(&one, 99, None, &row).await.unwrap_err();
    store.record_health(&[(one.id, observation(1))]).await.unwrap();
    store.append_audit(&row).await.unwrap();
    store.remove_claim(&t, "x://never").await.unwrap();
    // The next change of another kind is the first one received, but for keys, which a store may ask for as it begins.
    let last = [ChangeKind::Claims];
    loop {
        let change = tokio::time::timeout(AT_ONCE, watch.next()).await.unwrap().unwrap().unwrap();
        assert!(
            !change.includes(ChangeKind::Servers) && !change.includes(ChangeKind::Listings),
            "{change:?}"
        );
        if change.kinds().any(|kind| last.contains(&kind)) {
            return;
        }
    }
}
