//! Creations under a key.

use std::sync::Arc;

use super::fixtures::{at, audit, key, server, tenant};
use crate::error::ErrorKind;
use crate::model::{Listing, Server, TenantId};
use crate::store::{Done, ONCE_KEPT, Once, Store};

fn once(tenant: &TenantId, subject: &str, key: &str) -> Once {
    Once {
        tenant_id: tenant.clone(),
        subject: subject.into(),
        key: key.into(),
        request: "digest".into(),
        answer: format!("{{\"made by\": \"{subject}\"}}"),
        at: at(10),
    }
}

async fn create(store: &dyn Store, server: &Server, once: &Once) -> crate::Result<Option<Done>> {
    let entry = audit(&server.tenant_id, "server.register");
    store.insert_server_once(server, &Listing::default(), &entry, once).await
}

pub async fn a_creation_under_a_key_is_done_once_and_answered_alike(store: Arc<dyn Store>) {
    let (t, other) = (tenant("t"), tenant("other"));
    let (first, key) = (server(&t, "calc"), once(&t, "user:ann", "k'; --"));
    assert_eq!(create(&*store, &first, &key).await.unwrap(), None);
    let done = Done { made: first.id.to_string(), answer: key.answer.clone() };
    let again = Once { answer: "another".into(), ..key.clone() };
    assert_eq!(create(&*store, &server(&t, "calc"), &again).await.unwrap(), Some(done.clone()));

    let changed = Once { request: "other digest".into(), ..key.clone() };
    let error = create(&*store, &server(&t, "calc"), &changed).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Conflict && error.to_string().contains("Idempotency-Key"), "{error}");

    let theirs = create(&*store, &server(&t, "b"), &once(&t, "user:bob", &key.key)).await.unwrap();
    let elsewhere = create(&*store, &server(&other, "c"), &once(&other, "user:ann", &key.key)).await.unwrap();
    assert_eq!((theirs, elsewhere), (None, None));
    assert_eq!(store.servers().await.unwrap().len(), 3);
    assert_eq!(store.audit(&t, 10).await.unwrap().len(), 2);

    store.remove_server(&t, first.id, at(11), &audit(&t, "server.remove")).await.unwrap();
    assert_eq!(create(&*store, &first, &key).await.unwrap(), Some(done));
}

pub async fn a_creation_that_fails_leaves_its_key_unused(store: Arc<dyn Store>) {
    let t = tenant("t");
    let (first, key) = (server(&t, "calc"), once(&t, "user:ann", "k"));
    assert_eq!(create(&*store, &first, &once(&t, "user:ann", "other")).await.unwrap(), None);
    let taken = create(&*store, &server(&t, "calc"), &key).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Conflict);
    store.remove_server(&t, first.id, at(11), &audit(&t, "server.remove")).await.unwrap();
    assert_eq!(create(&*store, &server(&t, "calc"), &key).await.unwrap(), None);
}

pub async fn an_api_key_is_made_once_under_a_key(store: Arc<dyn Store>) {
    let (t, keys) = (tenant("t"), Arc::clone(&store).api_keys());
    let (first, second, name) = (key(&t, 1), key(&t, 2), once(&t, "user:ann", "k"));
    let entry = audit(&t, "key.create");
    assert_eq!(keys.insert_key_once(&first, &entry, &name).await.unwrap(), None);
    let again = keys.insert_key_once(&second, &entry, &name).await.unwrap().unwrap();
    assert_eq!(again.made, first.id.to_string());
    let changed = Once { request: "other digest".into(), ..name };
    let error = keys.insert_key_once(&second, &entry, &changed).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(keys.living_keys().await.unwrap().len(), 1);
    assert_eq!(store.audit(&t, 10).await.unwrap().len(), 1);
}

pub async fn a_key_is_free_again_after_a_day(store: Arc<dyn Store>) {
    let t = tenant("t");
    let key = once(&t, "user:ann", "k");
    create(&*store, &server(&t, "a"), &key).await.unwrap();
    let day = key.at.checked_add(ONCE_KEPT).unwrap();
    let almost = day.checked_sub(std::time::Duration::from_secs(1)).unwrap();
    let late = Once { at: almost, ..key.clone() };
    assert!(create(&*store, &server(&t, "b"), &late).await.unwrap().is_some());
    let later = Once { at: day, ..key };
    assert_eq!(create(&*store, &server(&t, "b"), &later).await.unwrap(), None);
}

pub async fn of_two_creations_under_one_key_at_once_one_is_done(store: Arc<dyn Store>) {
    let t = tenant("t");
    let (a, b, key) = (server(&t, "calc"), server(&t, "calc"), once(&t, "user:ann", "k"));
    let (one, other) = tokio::join!(create(&*store, &a, &key), create(&*store, &b, &key));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert!(one.is_none() != other.is_none(), "{one:?} {other:?}");
    let made = store.servers().await.unwrap();
    assert_eq!((made.len(), one.or(other).unwrap().made), (1, made[0].id.to_string()));
}
