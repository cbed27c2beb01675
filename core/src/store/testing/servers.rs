//! Servers: registered, changed, removed.

use std::sync::Arc;

use super::fixtures::{at, audit, insert, item, listing, observation, server, tenant};
use crate::error::ErrorKind;
use crate::model::{
    CapabilityKind, Configuration, HealthCheck, HealthStatus, Listing, Server, ServerEndpoint, ServiceName,
    TransportType,
};
use crate::store::Store;

pub async fn a_server_comes_back_as_it_was_written(store: Arc<dyn Store>) {
    let full = server(&tenant("t"), "full");
    let bare = Server {
        endpoint: ServerEndpoint::Url { endpoint_url: "https://h/mcp?x=%20".into() },
        transport_type: TransportType::Http,
        version: None,
        display_name: None,
        description: None,
        tags: Vec::new(),
        health_check: HealthCheck::default(),
        configuration: Configuration::default(),
        last_health_check: None,
        ..server(&tenant("t"), "bare")
    };
    insert(&*store, &full).await;
    insert(&*store, &bare).await;
    assert_eq!(store.servers().await.unwrap(), [full, bare]);
}

pub async fn a_name_is_taken_until_its_server_is_removed(store: Arc<dyn Store>) {
    let t = tenant("t");
    let first = server(&t, "calc");
    insert(&*store, &first).await;
    let second = server(&t, "calc");
    let entry = audit(&t, "server.register");
    let error = store.insert_server(&second, &Listing::default(), &entry).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("calc"), "{error}");
    store.remove_server(&t, first.id, at(9), &audit(&t, "server.remove")).await.unwrap();
    insert(&*store, &second).await;
    assert_eq!(store.servers().await.unwrap(), [second]);
}

pub async fn tenants_do_not_see_or_touch_each_other(store: Arc<dyn Store>) {
    let (a, b) = (tenant("a"), tenant("b"));
    let of_a = server(&a, "calc");
    insert(&*store, &of_a).await;
    insert(&*store, &server(&b, "calc")).await;
    let stolen = Server { tenant_id: b.clone(), ..of_a.clone() };
    let entry = audit(&b, "x");
    let kinds = [
        store.update_server(&stolen, 4, None, &entry).await.unwrap_err().kind(),
        store.remove_server(&b, of_a.id, at(9), &entry).await.unwrap_err().kind(),
        store.put_listing(&b, of_a.id, &listing(), at(9)).await.unwrap_err().kind(),
    ];
    assert_eq!(kinds, [ErrorKind::NotFound; 3]);
    store.record_health(&[(of_a.id, observation(1))]).await.unwrap();
    assert_eq!(store.health_history(&b, of_a.id, 10).await.unwrap(), []);
    assert_eq!(store.audit(&b, 10).await.unwrap().len(), 1);
    assert_eq!(store.servers().await.unwrap().len(), 2);
}

pub async fn an_update_needs_the_revision_that_is_stored(store: Arc<dyn Store>) {
    let t = tenant("t");
    let old = server(&t, "calc");
    insert(&*store, &old).await;
    let new = Server { revision: 5, weight: 0, ..old.clone() };
    let error = store.update_server(&new, 3, None, &audit(&t, "server.update")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(store.servers().await.unwrap(), [old]);
    store.update_server(&new, 4, Some(&listing()), &audit(&t, "server.update")).await.unwrap();
    assert_eq!(store.servers().await.unwrap(), std::slice::from_ref(&new));
    assert_eq!(store.listings().await.unwrap(), [(new.id, listing())]);
    let unknown = server(&t, "other");
    let error = store.update_server(&unknown, 4, None, &audit(&t, "server.update")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

pub async fn an_update_leaves_name_creation_and_observed_health(store: Arc<dyn Store>) {
    let t = tenant("t");
    let old = server(&t, "calc");
    insert(&*store, &old).await;
    let new = Server {
        name: "other".into(),
        created_at: at(100),
        health_status: HealthStatus::Healthy,
        last_health_check: None,
        service: ServiceName::new("moved").unwrap(),
        endpoint: ServerEndpoint::Url { endpoint_url: "https://h/".into() },
        updated_at: at(50),
        revision: 5,
        ..old.clone()
    };
    store.update_server(&new, 4, None, &audit(&t, "server.update")).await.unwrap();
    let expected = Server {
        name: old.name,
        created_at: old.created_at,
        health_status: old.health_status,
        last_health_check: old.last_health_check,
        ..new
    };
    assert_eq!(store.servers().await.unwrap(), [expected]);
}

pub async fn a_removed_server_is_gone_with_all_that_it_had(store: Arc<dyn Store>) {
    let t = tenant("t");
    let gone = server(&t, "calc");
    insert(&*store, &gone).await;
    store.put_listing(&t, gone.id, &listing(), at(6)).await.unwrap();
    store.record_health(&[(gone.id, observation(1))]).await.unwrap();
    store.remove_server(&t, gone.id, at(9), &audit(&t, "server.remove")).await.unwrap();
    let again = store.remove_server(&t, gone.id, at(9), &audit(&t, "server.remove")).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::NotFound);
    store.record_health(&[(gone.id, observation(2))]).await.unwrap();
    let late = store.put_listing(&t, gone.id, &listing(), at(10)).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::NotFound);
    assert_eq!(store.servers().await.unwrap(), []);
    assert_eq!(store.listings().await.unwrap(), []);
    assert_eq!(store.health_history(&t, gone.id, 10).await.unwrap(), []);
}

pub async fn servers_come_in_order_of_creation(store: Arc<dyn Store>) {
    let mut all = Vec::new();
    for n in 0..20 {
        let one = server(&tenant(if n % 2 == 0 { "a" } else { "b" }), &format!("s{}", 19 - n));
        insert(&*store, &one).await;
        all.push(one);
    }
    assert_eq!(store.servers().await.unwrap(), all);
    let ids: Vec<_> = store.listings().await.unwrap().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, all.iter().map(|one| one.id).collect::<Vec<_>>());
}

pub async fn of_two_that_register_one_name_at_once_exactly_one_succeeds(store: Arc<dyn Store>) {
    let t = tenant("t");
    let (a, b) = (server(&t, "calc"), server(&t, "calc"));
    let (entry, none) = (audit(&t, "server.register"), Listing::default());
    let (one, other) =
        tokio::join!(store.insert_server(&a, &none, &entry), store.insert_server(&b, &none, &entry));
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    assert_eq!(one.and(other).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(store.servers().await.unwrap().len(), 1);
    assert_eq!(store.audit(&t, 10).await.unwrap().len(), 1);
}

pub async fn of_two_updates_from_one_revision_exactly_one_succeeds(store: Arc<dyn Store>) {
    let t = tenant("t");
    let old = server(&t, "calc");
    insert(&*store, &old).await;
    let a = Server { weight: 1, revision: 5, ..old.clone() };
    let b = Server { weight: 2, revision: 5, ..old };
    let entry = audit(&t, "server.update");
    let (one, other) =
        tokio::join!(store.update_server(&a, 4, None, &entry), store.update_server(&b, 4, None, &entry));
    let expected = if one.is_ok() { a } else { b };
    assert_eq!(one.and(other).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(store.servers().await.unwrap(), [expected]);
}

pub async fn text_is_data_and_never_a_statement(store: Arc<dyn Store>) {
    let t = tenant("t");
    let evil = "x'); DROP TABLE mcp_servers; --";
    let one = Server { description: Some(evil.into()), ..server(&t, evil) };
    insert(&*store, &one).await;
    let odd = Listing {
        items: vec![item(CapabilityKind::Tool, evil, "{}")],
        initialize: Some(evil.into()),
        ..Listing::default()
    };
    store.put_listing(&t, one.id, &odd, at(1)).await.unwrap();
    assert_eq!(store.servers().await.unwrap(), std::slice::from_ref(&one));
    assert_eq!(store.listings().await.unwrap(), [(one.id, odd)]);
}

pub async fn a_store_that_works_says_so(store: Arc<dyn Store>) {
    store.check().await.unwrap();
    store.record_health(&[]).await.unwrap();
    store.close().await;
}
