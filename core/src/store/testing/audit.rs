//! The audit trail.

use std::sync::Arc;

use super::fixtures::{at, audit, insert, server, tenant};
use crate::model::{AuditEntry, AuditQuery, Listing, Server, ServerId, TenantId};
use crate::store::Store;

pub async fn every_mutation_has_its_audit_row_and_no_failure_has_one(store: Arc<dyn Store>) {
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

pub async fn the_audit_trail_is_searched_followed_and_kept(store: Arc<dyn Store>) {
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
