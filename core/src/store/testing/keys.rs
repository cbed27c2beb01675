//! API keys.

use std::sync::Arc;

use super::fixtures::{at, audit, insert, key, server, tenant};
use crate::error::ErrorKind;
use crate::model::{ApiKey, KeyId};
use crate::store::{KeyUse, Store};

pub async fn keys_come_back_as_they_were_written(store: Arc<dyn Store>) {
    let (t, other) = (tenant("t"), tenant("other"));
    let keys = Arc::clone(&store).api_keys();
    let (a, b) = (key(&t, 1), ApiKey { scopes: None, requests_per_minute: None, ..key(&t, 2) });
    let before = keys.keys_revision().await.unwrap();
    for one in [&a, &b] {
        keys.insert_key(one, &audit(&t, "key.create")).await.unwrap();
    }
    assert!(keys.keys_revision().await.unwrap() > before);
    assert_eq!(keys.key(&t, a.id).await.unwrap(), Some(a.clone()));
    assert_eq!(keys.key(&other, a.id).await.unwrap(), None);
    let page = keys.keys(&t, 0, 1).await.unwrap();
    assert_eq!((page.keys, page.total), (vec![b.clone()], 2));
    assert_eq!(keys.keys(&t, 1, 5).await.unwrap().keys, std::slice::from_ref(&a));
    assert_eq!(keys.keys(&other, 0, 5).await.unwrap().total, 0);
    let changed = keys.keys_revision().await.unwrap();
    let used = |count, second| KeyUse { id: a.id, count, last: at(second) };
    let gone = KeyUse { id: KeyId::random(), count: 1, last: at(1) };
    keys.record_key_uses(&[used(2, 9), gone]).await.unwrap();
    keys.record_key_uses(&[used(3, 8)]).await.unwrap();
    let kept = keys.key(&t, a.id).await.unwrap().unwrap();
    assert_eq!((kept.uses, kept.last_used_at), (5, Some(at(9))));
    assert_eq!(keys.keys_revision().await.unwrap(), changed, "a use is no change");
}

pub async fn a_key_is_replaced_once_and_revoked_once(store: Arc<dyn Store>) {
    let (t, other) = (tenant("t"), tenant("other"));
    let keys = Arc::clone(&store).api_keys();
    let (old, new) = (key(&t, 1), key(&t, 2));
    let entry = audit(&t, "key");
    keys.insert_key(&old, &entry).await.unwrap();
    keys.rotate_key(old.id, at(50), &new, &entry).await.unwrap();
    let kept = keys.key(&t, old.id).await.unwrap().unwrap();
    assert_eq!((kept.rotated_to, kept.expires_at), (Some(new.id), at(50)));
    let kind = |outcome: crate::Result<()>| outcome.unwrap_err().kind();
    assert_eq!(kind(keys.rotate_key(old.id, at(9), &key(&t, 3), &entry).await), ErrorKind::Conflict);
    assert_eq!(kind(keys.rotate_key(KeyId::random(), at(9), &key(&t, 3), &entry).await), ErrorKind::NotFound);
    assert_eq!(kind(keys.rotate_key(new.id, at(9), &key(&other, 3), &entry).await), ErrorKind::NotFound);
    assert_eq!(kind(keys.revoke_key(&other, new.id, at(5), &entry).await), ErrorKind::NotFound);
    let before = keys.keys_revision().await.unwrap();
    keys.revoke_key(&t, new.id, at(5), &entry).await.unwrap();
    keys.revoke_key(&t, new.id, at(6), &entry).await.unwrap();
    assert_eq!(keys.key(&t, new.id).await.unwrap().unwrap().revoked_at, Some(at(5)));
    assert!(keys.keys_revision().await.unwrap() > before);
    let living: Vec<KeyId> = keys.living_keys().await.unwrap().iter().map(|key| key.id).collect();
    assert_eq!(living, [old.id]);
    assert_eq!(store.audit(&t, 10).await.unwrap().len(), 3, "made, replaced, revoked");
}

pub async fn a_removed_server_takes_its_keys_with_it(store: Arc<dyn Store>) {
    let t = tenant("t");
    let keys = Arc::clone(&store).api_keys();
    let one = server(&t, "a");
    insert(&*store, &one).await;
    let (of_it, free) = (ApiKey { server_id: Some(one.id), ..key(&t, 1) }, key(&t, 2));
    for one in [&of_it, &free] {
        keys.insert_key(one, &audit(&t, "key.create")).await.unwrap();
    }
    let before = keys.keys_revision().await.unwrap();
    store.remove_server(&t, one.id, at(7), &audit(&t, "server.remove")).await.unwrap();
    assert_eq!(keys.living_keys().await.unwrap(), [free]);
    assert_eq!(keys.key(&t, of_it.id).await.unwrap().unwrap().revoked_at, Some(at(7)));
    assert!(keys.keys_revision().await.unwrap() > before);
}
