//! What every store must do. A backend runs all of it by one line: `store_contract!(name, open)`, where `open` is an
//! async block that gives an empty store and whatever must live as long as it.

mod once;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::value::RawValue;

pub(crate) use self::once::*;
use super::{Claim, HEALTH_HISTORY, HealthRecord, KeyUse, Store};
use crate::error::ErrorKind;
use crate::model::{
    Affinity, Algorithm, ApiKey, AuditEntry, AuditQuery, Capability, CapabilityKind, Configuration,
    Credential, CredentialKind, Endpoint, HealthCheck, HealthStatus, KeyHash, KeyId, Listing, ProbeKind,
    Restriction, Role, SealedCredential, Server, ServerId, ServiceName, Sharing, Status, Tenant, TenantId,
    TenantStatus, TransportType,
};

macro_rules! store_contract {
    ($backend:ident, $open:expr) => {
        store_contract!(@tests $backend, $open,
            a_server_comes_back_as_it_was_written,
            a_name_is_taken_until_its_server_is_removed,
            tenants_do_not_see_or_touch_each_other,
            an_update_needs_the_revision_that_is_stored,
            an_update_leaves_name_creation_and_observed_health,
            a_removed_server_is_gone_with_all_that_it_had,
            every_mutation_has_its_audit_row_and_no_failure_has_one,
            definitions_come_back_byte_for_byte_and_in_order,
            a_listing_replaces_the_one_before,
            servers_come_in_order_of_creation,
            health_keeps_the_newest_observations_and_no_revision_moves,
            of_two_that_register_one_name_at_once_exactly_one_succeeds,
            of_two_updates_from_one_revision_exactly_one_succeeds,
            text_is_data_and_never_a_statement,
            the_audit_trail_is_searched_followed_and_kept,
            a_creation_under_a_key_is_done_once_and_answered_alike,
            a_creation_that_fails_leaves_its_key_unused,
            a_key_is_free_again_after_a_day,
            an_api_key_is_made_once_under_a_key,
            of_two_creations_under_one_key_at_once_one_is_done,
            a_tenant_is_written_once_and_changed_from_the_revision_that_is_stored,
            a_tenant_that_has_a_server_is_known,
            keys_come_back_as_they_were_written,
            a_key_is_replaced_once_and_revoked_once,
            a_removed_server_takes_its_keys_with_it,
            a_store_that_works_says_so,
            credentials_are_one_for_each_header_and_go_with_their_server,
            a_claim_is_one_for_each_uri_of_a_tenant,
        );
    };
    (@tests $backend:ident, $open:expr, $($test:ident,)+) => {
        mod $backend {
            $(
                #[tokio::test]
                async fn $test() {
                    let (store, _guard) = $open.await;
                    $crate::store::contract::$test(store).await;
                }
            )+
        }
    };
}

mod backends {
    use std::sync::Arc;

    type Shared = Arc<dyn crate::store::Store>;

    store_contract!(memory, async {
        (std::sync::Arc::new(crate::store::MemoryStore::new()) as super::Shared, ())
    });

    #[cfg(feature = "sqlite")]
    store_contract!(sqlite, async {
        let folder = tempfile::tempdir().unwrap();
        let store = crate::store::SqliteStore::open(&folder.path().join("registry.db")).await.unwrap();
        (std::sync::Arc::new(store) as super::Shared, folder)
    });
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_microsecond(1_767_225_600_000_000 + second * 1_000_000 + 123).unwrap()
}

/// A server of which every member differs from its default.
pub(crate) fn server(tenant_id: &TenantId, name: &str) -> Server {
    Server {
        id: ServerId::random(),
        tenant_id: tenant_id.clone(),
        name: name.into(),
        service: ServiceName::new("calc").unwrap(),
        endpoint: Endpoint::Command {
            command: "python3".into(),
            args: vec!["-m".into(), "calc".into()],
            env: BTreeMap::from([("KEY".into(), "väl=ue".into())]),
            cwd: Some("/srv".into()),
        },
        transport_type: TransportType::Stdio,
        version: Some("1.2.3".into()),
        display_name: Some("Rechner 🧮".into()),
        description: Some("Adds.\nAlso subtracts.".into()),
        tags: vec!["math".into(), "a,b".into()],
        weight: 7,
        auto_discover: false,
        health_check: HealthCheck {
            enabled: false,
            kind: ProbeKind::Connect,
            interval: Duration::from_millis(1500),
            timeout: Duration::from_millis(100),
            unhealthy_after: 5,
            healthy_after: 2,
        },
        configuration: Configuration {
            credentials: crate::model::CredentialsOf::Server,
            cache_scope: crate::model::CacheScope::Private,
            drift: crate::model::Drift::Pin,
            algorithm: Algorithm::ConsistentHash,
            max_load: Some(1.25),
            affinity: Affinity::Header("X-Who".into()),
            timeout: Duration::from_secs(3),
            max_connections: 9,
            sharing: Sharing::Session,
            era: crate::model::EraWish::Modern,
            trusted: true,
            ca_file: Some("/etc/ca.pem".into()),
            headers: BTreeMap::from([("Authorization".into(), "Bearer x".into())]),
            access: vec![Restriction {
                tools: vec!["t*".into()],
                subjects: vec!["key:1".into()],
                ..Restriction::default()
            }],
        },
        status: Status::Inactive,
        health_status: HealthStatus::Degraded,
        last_health_check: Some(at(3)),
        created_at: at(1),
        updated_at: at(2),
        revision: 4,
    }
}

pub(crate) fn audit(tenant_id: &TenantId, action: &str) -> AuditEntry {
    AuditEntry {
        at: at(5),
        tenant_id: tenant_id.clone(),
        actor: "user:ann".into(),
        action: action.into(),
        target: "calc".into(),
        outcome: "ok".into(),
        correlation_id: Some("c-1".into()),
        detail: serde_json::json!({"weight": [1, 7], "why": "ü"}),
    }
}

fn item(kind: CapabilityKind, name: &str, definition: &str) -> Capability {
    let definition = Arc::from(RawValue::from_string(definition.to_owned()).unwrap());
    Capability { kind, name: name.into(), description: Some(format!("about {name}")), definition }
}

pub(crate) fn listing() -> Listing {
    Listing {
        items: vec![
            item(
                CapabilityKind::Tool,
                "z",
                r#"{ "name":"z", "big": 12345678901234567890123, "b":1, "a":1.0 }"#,
            ),
            item(CapabilityKind::Tool, "a", r#"{"name":"\u0061","x":"\ud83e\uddee 🧮"}"#),
            item(CapabilityKind::Resource, "file:///a", r#"{"uri":"file:///a"}"#),
            item(CapabilityKind::ResourceTemplate, "file:///{p}", r#"{"uriTemplate":"file:///{p}"}"#),
            item(CapabilityKind::Prompt, "a", r#"{"name":"a"}"#),
        ],
        initialize: Some(r#"{"protocolVersion":"2025-11-25", "capabilities":{}}"#.into()),
        ..Listing::default()
    }
}

async fn insert(store: &dyn Store, server: &Server) {
    let entry = audit(&server.tenant_id, "server.register");
    store.insert_server(server, &Listing::default(), &entry).await.unwrap();
}

pub(crate) async fn a_server_comes_back_as_it_was_written(store: Arc<dyn Store>) {
    let full = server(&tenant("t"), "full");
    let bare = Server {
        endpoint: Endpoint::Url { endpoint_url: "https://h/mcp?x=%20".into() },
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

pub(crate) async fn a_name_is_taken_until_its_server_is_removed(store: Arc<dyn Store>) {
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

pub(crate) async fn tenants_do_not_see_or_touch_each_other(store: Arc<dyn Store>) {
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

pub(crate) async fn an_update_needs_the_revision_that_is_stored(store: Arc<dyn Store>) {
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

pub(crate) async fn an_update_leaves_name_creation_and_observed_health(store: Arc<dyn Store>) {
    let t = tenant("t");
    let old = server(&t, "calc");
    insert(&*store, &old).await;
    let new = Server {
        name: "other".into(),
        created_at: at(100),
        health_status: HealthStatus::Healthy,
        last_health_check: None,
        service: ServiceName::new("moved").unwrap(),
        endpoint: Endpoint::Url { endpoint_url: "https://h/".into() },
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

pub(crate) async fn a_removed_server_is_gone_with_all_that_it_had(store: Arc<dyn Store>) {
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

pub(crate) async fn every_mutation_has_its_audit_row_and_no_failure_has_one(store: Arc<dyn Store>) {
    let t = tenant("t");
    let one = server(&t, "calc");
    insert(&*store, &one).await;
    let taken = server(&t, "calc");
    store.insert_server(&taken, &Listing::default(), &audit(&t, "bad")).await.unwrap_err();
    store.update_server(&one, 99, None, &audit(&t, "bad")).await.unwrap_err();
    store.remove_server(&t, ServerId::random(), at(9), &audit(&t, "bad")).await.unwrap_err();
    let refused = AuditEntry { outcome: "conflict".into(), correlation_id: None, ..audit(&t, "refused") };
    store.append_audit(&refused).await.unwrap();
    let new = Server { revision: 5, ..one.clone() };
    store.update_server(&new, 4, None, &audit(&t, "server.update")).await.unwrap();
    store.remove_server(&t, one.id, at(9), &audit(&t, "server.remove")).await.unwrap();
    let rows = store.audit(&t, 10).await.unwrap();
    let expected =
        [audit(&t, "server.remove"), audit(&t, "server.update"), refused, audit(&t, "server.register")];
    assert_eq!(rows, expected);
    assert_eq!(store.audit(&t, 2).await.unwrap(), expected[..2]);
}

pub(crate) async fn the_audit_trail_is_searched_followed_and_kept(store: Arc<dyn Store>) {
    let (a, b) = (tenant("a"), tenant("b"));
    let row = |of: &TenantId, second| AuditEntry { at: at(second), ..audit(of, &format!("act.{second}")) };
    let rows: Vec<_> = (1..=6).flat_map(|second| [row(&a, second), row(&b, second)]).collect();
    store.append_audits(&rows).await.unwrap();
    let query = AuditQuery { from: Some(at(2)), to: Some(at(5)), ..AuditQuery::newest(2) };
    let found = store.find_audit(&a, &query).await.unwrap();
    assert_eq!(found.iter().map(|row| row.number).collect::<Vec<_>>(), [4, 3]);
    let next = AuditQuery { before: Some(3), ..query };
    assert_eq!(store.find_audit(&a, &next).await.unwrap()[0].entry, row(&a, 2));
    let named =
        AuditQuery { action: Some("act.6".into()), actor: Some("user:ann".into()), ..AuditQuery::newest(9) };
    assert_eq!(store.find_audit(&a, &named).await.unwrap().len(), 1);
    let nobody = AuditQuery { actor: Some("user:bob".into()), ..AuditQuery::newest(9) };
    assert_eq!(store.find_audit(&a, &nobody).await.unwrap(), []);

    store.hold_audit(true, &row(&b, 7)).await.unwrap();
    assert_eq!(store.retain_audit(at(4), 2).await.unwrap(), 2);
    assert_eq!(store.retain_audit(at(4), 2).await.unwrap(), 1);
    assert_eq!(store.retain_audit(at(4), 2).await.unwrap(), 0);
    let reports = store.verify_audit(None).await.unwrap();
    let ends: Vec<_> = reports.iter().map(|one| (&*one.tenant_id, one.first, one.last, one.hold)).collect();
    assert_eq!(ends, [("a", 4, 6, false), ("b", 1, 7, true)]);
    assert!(reports.iter().all(|one| one.problem.is_none()), "{reports:?}");
}

pub(crate) async fn definitions_come_back_byte_for_byte_and_in_order(store: Arc<dyn Store>) {
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

pub(crate) async fn a_listing_replaces_the_one_before(store: Arc<dyn Store>) {
    let t = tenant("t");
    let one = server(&t, "a");
    insert(&*store, &one).await;
    store.put_listing(&t, one.id, &listing(), at(6)).await.unwrap();
    let less = Listing { items: listing().items[..1].to_vec(), initialize: None, ..Listing::default() };
    store.put_listing(&t, one.id, &less, at(7)).await.unwrap();
    assert_eq!(store.listings().await.unwrap(), [(one.id, less)]);
    assert_eq!(store.servers().await.unwrap(), [one]);
}

pub(crate) async fn servers_come_in_order_of_creation(store: Arc<dyn Store>) {
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

fn observation(n: i64) -> HealthRecord {
    let error = (n % 2 == 0).then(|| format!("refused {n}"));
    let status = if error.is_some() { HealthStatus::Unreachable } else { HealthStatus::Healthy };
    HealthRecord { at: at(n), status, latency_ms: u64::try_from(n).unwrap(), error }
}

pub(crate) async fn health_keeps_the_newest_observations_and_no_revision_moves(store: Arc<dyn Store>) {
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

pub(crate) async fn of_two_that_register_one_name_at_once_exactly_one_succeeds(store: Arc<dyn Store>) {
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

pub(crate) async fn of_two_updates_from_one_revision_exactly_one_succeeds(store: Arc<dyn Store>) {
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

pub(crate) async fn text_is_data_and_never_a_statement(store: Arc<dyn Store>) {
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

pub(crate) async fn a_store_that_works_says_so(store: Arc<dyn Store>) {
    store.check().await.unwrap();
    store.record_health(&[]).await.unwrap();
    store.close().await;
}

fn credential(server: &Server, header: &str, sealed: &[u8]) -> SealedCredential {
    SealedCredential {
        tenant_id: server.tenant_id.clone(),
        about: Credential {
            kind: CredentialKind::Header,
            authorized: None,
            server_id: server.id,
            subject: None,
            header: header.into(),
            origin: "https://tools.example:443".into(),
            key_id: "0a1b2c3d".into(),
            created_by: "user:ann".into(),
            created_at: at(4),
        },
        sealed: sealed.to_vec(),
    }
}

/// A credential is one tenant's: another neither changes nor removes it, and none outlives its server.
pub(crate) async fn a_claim_is_one_for_each_uri_of_a_tenant(store: Arc<dyn Store>) {
    let (one, other) = (tenant("one"), tenant("other"));
    let claim = |tenant: &TenantId, uri: &str, service: &str| Claim {
        tenant_id: tenant.clone(),
        uri: uri.into(),
        service: ServiceName::new(service).unwrap(),
    };
    for (tenant, uri, service) in [
        (&one, "x://b", "s"),
        (&other, "x://a", "s"),
        (&one, "x://a'; --", "old"),
        (&one, "x://a'; --", "new"),
    ] {
        store.put_claim(&claim(tenant, uri, service), &audit(tenant, "resource.shadowed")).await.unwrap();
    }
    let all = [claim(&one, "x://a'; --", "new"), claim(&one, "x://b", "s"), claim(&other, "x://a", "s")];
    assert_eq!(store.claims().await.unwrap(), all);
    assert_eq!(store.audit(&one, 10).await.unwrap().len(), 3);
    store.remove_claim(&one, "x://b").await.unwrap();
    store.remove_claim(&one, "x://never").await.unwrap();
    store.remove_claim(&one, "x://a").await.unwrap();
    assert_eq!(store.claims().await.unwrap(), [all[0].clone(), all[2].clone()]);
}

pub(crate) async fn credentials_are_one_for_each_header_and_go_with_their_server(store: Arc<dyn Store>) {
    let (t, row) = (tenant("t"), audit(&tenant("t"), "credential.set"));
    let (one, other) = (server(&t, "a"), server(&t, "b"));
    insert(&*store, &one).await;
    insert(&*store, &other).await;
    let own = SealedCredential {
        about: Credential {
            subject: Some("user:bob".into()),
            kind: CredentialKind::Oauth,
            ..credential(&one, "x-key", b"").about
        },
        ..credential(&one, "x-key", b"\x00bob\xff")
    };
    for new in [credential(&one, "x-key", b"old"), own.clone(), credential(&other, "x-key", b"other")] {
        store.put_credential(&new, &row).await.unwrap();
    }
    store.put_credential(&credential(&one, "x-key", b"new"), &row).await.unwrap();
    let mut expected = vec![credential(&one, "x-key", b"new"), own, credential(&other, "x-key", b"other")];
    let sorted = |mut all: Vec<SealedCredential>| {
        all.sort_by_key(|one| (one.about.server_id.to_string(), one.about.subject.clone()));
        all
    };
    expected = sorted(expected);
    assert_eq!(sorted(store.credentials().await.unwrap()), expected);

    let before = store.audit(&t, 100).await.unwrap().len();
    let foreign = SealedCredential { tenant_id: tenant("u"), ..credential(&one, "x-key", b"evil") };
    assert_eq!(store.put_credential(&foreign, &row).await.unwrap_err().kind(), ErrorKind::NotFound);
    for (whose, header) in [(tenant("u"), "x-key"), (t.clone(), "x-other")] {
        let removed = store.remove_credential(&whose, one.id, "", header, &row).await;
        assert_eq!(removed.unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert_eq!(store.audit(&t, 100).await.unwrap().len(), before, "what failed left no row");
    assert_eq!(sorted(store.credentials().await.unwrap()), expected);

    store.remove_credential(&t, one.id, "user:bob", "x-key", &row).await.unwrap();
    store.remove_server(&t, other.id, at(9), &row).await.unwrap();
    assert_eq!(store.credentials().await.unwrap(), [credential(&one, "x-key", b"new")]);
}

pub(crate) async fn a_tenant_is_written_once_and_changed_from_the_revision_that_is_stored(
    store: Arc<dyn Store>,
) {
    let new = Tenant::new(tenant("a"), Some("A".into()), at(1));
    store.put_tenant(&new, None, &audit(&tenant("default"), "tenant.create")).await.unwrap();
    assert_eq!(store.tenants().await.unwrap(), std::slice::from_ref(&new));
    let row = audit(&tenant("default"), "x");
    let again = store.put_tenant(&new, None, &row).await.unwrap_err();
    let gone = Tenant {
        status: TenantStatus::Deleted,
        display_name: None,
        updated_at: at(5),
        revision: 2,
        ..new.clone()
    };
    let stale = store.put_tenant(&gone, Some(7), &row).await.unwrap_err();
    assert_eq!((again.kind(), stale.kind()), (ErrorKind::Conflict, ErrorKind::Conflict));
    store.put_tenant(&gone, Some(1), &audit(&tenant("default"), "tenant.delete")).await.unwrap();
    assert_eq!(store.tenants().await.unwrap(), [gone]);
    // The failures left no trace, and what the trail has of the tenant stays.
    assert_eq!(store.audit(&tenant("default"), 10).await.unwrap().len(), 2);
}

pub(crate) async fn a_tenant_that_has_a_server_is_known(store: Arc<dyn Store>) {
    let own = tenant("a");
    insert(&*store, &server(&own, "calc")).await;
    let known = store.tenants().await.unwrap();
    assert_eq!(known.len(), 1);
    assert_eq!((&known[0].id, known[0].status, known[0].revision), (&own, TenantStatus::Active, 1));
    let disabled =
        Tenant { status: TenantStatus::Disabled, updated_at: at(9), revision: 2, ..known[0].clone() };
    store.put_tenant(&disabled, Some(1), &audit(&own, "tenant.update")).await.unwrap();
    // Another server of it changes nothing of it.
    insert(&*store, &server(&own, "other")).await;
    assert_eq!(store.tenants().await.unwrap(), [disabled]);
}

/// A key of which every member differs from its default.
fn key(tenant_id: &TenantId, second: i64) -> ApiKey {
    let id = KeyId::random();
    let mut hash = [7; 32];
    hash[..16].copy_from_slice(id.as_uuid().as_bytes());
    ApiKey {
        id,
        tenant_id: tenant_id.clone(),
        name: "ci's \"key\"".into(),
        subject: format!("key:{id}"),
        role: Role::Developer,
        scopes: Some(vec!["mcp:call".into()]),
        server_id: None,
        requests_per_minute: Some(9),
        hint: "wxyz".into(),
        hash: KeyHash(hash),
        created_by: "user:a".into(),
        created_at: at(second),
        expires_at: at(second + 1000),
        last_used_at: None,
        uses: 0,
        rotated_to: None,
        revoked_at: None,
    }
}

pub(crate) async fn keys_come_back_as_they_were_written(store: Arc<dyn Store>) {
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

pub(crate) async fn a_key_is_replaced_once_and_revoked_once(store: Arc<dyn Store>) {
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

pub(crate) async fn a_removed_server_takes_its_keys_with_it(store: Arc<dyn Store>) {
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
