//! Capabilities and observed health.

use std::sync::Arc;

use super::fixtures::{at, audit, insert, listing, observation, server, tenant};
use crate::model::{Listing, Server};
use crate::store::{HEALTH_HISTORY, Store};

pub async fn definitions_come_back_byte_for_byte_and_in_order(store: Arc<dyn Store>) {
    let t = tenant("t");
    let (declared, asked) = (server(&t, "a"), server(&t, "b"));
    store.insert_server(&declared, &listing(), &audit(&t, "server.register")).await.unwrap();
    insert(&*store, &asked).await;
    let found = store.listings().await.unwrap();
    assert_eq!(found, [(declared.id, listing()), (asked.id, Listing::default())]);
    for (found, expected) in found[0].1.items.iter().zip(&listing().items) {
        assert_eq!(found.description, expected.description);
    }
}

pub async fn a_listing_replaces_the_one_before(store: Arc<dyn Store>) {
    let t = tenant("t");
    let one = server(&t, "a");
    insert(&*store, &one).await;
    store.put_listing(&t, one.id, &listing(), at(6)).await.unwrap();
    let less = Listing { items: listing().items[..1].to_vec(), initialize: None, ..Listing::default() };
    store.put_listing(&t, one.id, &less, at(7)).await.unwrap();
    assert_eq!(store.listings().await.unwrap(), [(one.id, less)]);
    assert_eq!(store.servers().await.unwrap(), [one]);
}

pub async fn health_keeps_the_newest_observations_and_no_revision_moves(store: Arc<dyn Store>) {
    let t = tenant("t");
    let (one, other) = (server(&t, "a"), server(&t, "b"));
    insert(&*store, &one).await;
    insert(&*store, &other).await;
    let kept = i64::from(HEALTH_HISTORY);
    let records: Vec<_> = (1..=kept + 7).map(|n| (one.id, observation(n))).collect();
    store.record_health(&records[..5]).await.unwrap();
    store.record_health(&records[5..]).await.unwrap();
    store.record_health(&[(other.id, observation(1))]).await.unwrap();
    let newest_first: Vec<_> = (8..=kept + 7).rev().map(observation).collect();
    assert_eq!(store.health_history(&t, one.id, 1000).await.unwrap(), newest_first);
    assert_eq!(store.health_history(&t, one.id, 3).await.unwrap(), newest_first[..3]);
    assert_eq!(store.health_history(&t, other.id, 3).await.unwrap(), [observation(1)]);
    let last = observation(kept + 7);
    let expected = Server { health_status: last.status, last_health_check: Some(last.at), ..one };
    assert_eq!(store.servers().await.unwrap()[0], expected);
}
