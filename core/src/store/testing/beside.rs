//! Tenants, credentials and claims.

use std::sync::Arc;

use super::fixtures::{at, audit, credential, insert, server, tenant};
use crate::error::ErrorKind;
use crate::model::{
    Credential, CredentialKind, SealedCredential, ServiceName, Tenant, TenantId, TenantStatus,
};
use crate::store::{Claim, Store};

pub async fn a_claim_is_one_for_each_uri_of_a_tenant(store: Arc<dyn Store>) {
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

/// A credential is one tenant's: another neither changes nor removes it, and none outlives its server.
pub async fn credentials_are_one_for_each_header_and_go_with_their_server(store: Arc<dyn Store>) {
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

pub async fn a_tenant_is_written_once_and_changed_from_the_revision_that_is_stored(store: Arc<dyn Store>) {
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
    // The failures left no trace, and the rows of the tenant in the trail stay.
    assert_eq!(store.audit(&tenant("default"), 10).await.unwrap().len(), 2);
}

pub async fn a_tenant_that_has_a_server_is_known(store: Arc<dyn Store>) {
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
