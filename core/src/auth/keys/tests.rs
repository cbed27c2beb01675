use async_trait::async_trait;
use jiff::Timestamp;

use super::*;
use crate::clock::ManualClock;
use crate::model::Grant;
use crate::store::{KeyStore, KeyUse, MemoryStore, Store};

fn tenant() -> TenantId {
    TenantId::default_tenant()
}

fn admin() -> Principal {
    Principal::local(tenant())
}

fn wish(role: Role) -> NewKey {
    NewKey {
        name: "ci".into(),
        role,
        scopes: None,
        server_id: None,
        days: DEFAULT_DAYS,
        requests_per_minute: None,
    }
}

async fn keys() -> (Arc<ManualClock>, Arc<MemoryStore>, Keys) {
    let (clock, store) = (ManualClock::shared(), Arc::new(MemoryStore::new()));
    let keys = Keys::open(store.clone(), clock.clone()).await.unwrap();
    (clock, store, keys)
}

fn kind(outcome: Result<Principal>) -> ErrorKind {
    outcome.unwrap_err().kind()
}

#[tokio::test]
async fn a_key_stands_for_what_it_was_made_for_until_it_expires() {
    let (clock, _, keys) = keys().await;
    let wish = NewKey {
        requests_per_minute: Some(7),
        scopes: Some(vec!["mcp:call".into()]),
        ..wish(Role::Developer)
    };
    let (key, secret) = keys.create(&admin(), wish, Some("c-1")).await.unwrap();
    let principal = keys.recognize(secret.reveal().as_bytes()).unwrap();
    assert_eq!((&*principal.subject, principal.role), (key.subject.as_str(), Role::Developer));
    assert_eq!(principal.key(), Some(key.id));
    assert_eq!(principal.scopes().unwrap().len(), 1);
    assert_eq!(principal.grant.unwrap().requests_per_minute, Some(7));
    assert_eq!(key.expires_at.duration_since(key.created_at).as_hours(), 90 * 24);
    clock.advance(Duration::from_hours(90 * 24));
    assert_eq!(kind(keys.recognize(secret.reveal().as_bytes())), ErrorKind::Unauthenticated);
}

/// the store holds the SHA-256 and the last four characters, and nothing else of the key.
#[tokio::test]
async fn what_is_kept_of_a_key_is_its_hash_and_its_last_four_characters() {
    let (_, store, keys) = keys().await;
    let (key, secret) = keys.create(&admin(), wish(Role::Viewer), None).await.unwrap();
    let secret = secret.reveal();
    assert_eq!(secret.len(), 64);
    assert_eq!(key.hint, secret[60..]);
    assert_eq!(key.hash.0, ring::digest::digest(&ring::digest::SHA256, secret.as_bytes()).as_ref());
    let kept =
        format!("{:?} {:?}", store.living_keys().await.unwrap(), store.audit(&tenant(), 10).await.unwrap());
    assert!(!kept.contains(&secret[..60]) && !kept.contains(&secret[4..]), "{kept}");
}

/// a key that is asked for twice under one name is one key, which is shown once.
#[tokio::test]
async fn a_key_is_made_once_under_a_name_and_shown_once() {
    let (_, store, keys) = keys().await;
    let make = async |role| keys.create_once(&admin(), wish(role), "n-1", None).await;
    let (key, secret) = make(Role::Viewer).await.unwrap();
    let again = make(Role::Viewer).await.unwrap_err();
    assert_eq!((again.kind(), again.context()), (ErrorKind::Conflict, &[("id", key.id.to_string())][..]));
    let other = make(Role::Developer).await.unwrap_err();
    assert!(other.kind() == ErrorKind::Conflict && other.message().contains("another request"), "{other}");
    assert_eq!(store.living_keys().await.unwrap().len(), 1);
    assert!(keys.recognize(secret.reveal().as_bytes()).is_ok());
    assert!(keys.create_once(&admin(), wish(Role::Viewer), "n-2", None).await.is_ok());
}

#[tokio::test]
async fn a_key_that_was_replaced_lives_for_a_day_and_its_successor_is_the_same_principal() {
    let (clock, _, keys) = keys().await;
    let (old, first) = keys.create(&admin(), wish(Role::Viewer), None).await.unwrap();
    let (new, second) = keys.rotate(&admin(), old.id, None).await.unwrap();
    let old_principal = keys.recognize(first.reveal().as_bytes()).unwrap();
    assert_eq!(old_principal, keys.recognize(second.reveal().as_bytes()).unwrap());
    assert_eq!(keys.get(&tenant(), old.id).await.unwrap().rotated_to, Some(new.id));
    let again = keys.rotate(&admin(), old.id, None).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
    clock.advance(OVERLAP);
    assert_eq!(kind(keys.recognize(first.reveal().as_bytes())), ErrorKind::Unauthenticated);
    assert!(keys.recognize(second.reveal().as_bytes()).is_ok());
}

/// a revoked key does not hold any more when `revoke` returns, and a waiter for its end is notified.
#[tokio::test]
async fn a_revoked_key_ends_at_once_with_what_it_opened() {
    let (_, _, keys) = keys().await;
    let (key, secret) = keys.create(&admin(), wish(Role::Viewer), None).await.unwrap();
    let principal = keys.recognize(secret.reveal().as_bytes()).unwrap();
    keys.revoke(&admin(), key.id, None).await.unwrap();
    assert_eq!(kind(keys.recognize(secret.reveal().as_bytes())), ErrorKind::Unauthenticated);
    principal.revoked().await;
    assert!(principal.is_over(Timestamp::UNIX_EPOCH));
}

#[tokio::test]
async fn a_key_that_another_process_revoked_ends_with_the_next_look() {
    let (clock, store, keys) = keys().await;
    let other = Keys::open(store.clone(), clock.clone()).await.unwrap();
    let (key, secret) = other.create(&admin(), wish(Role::Viewer), None).await.unwrap();
    assert!(keys.recognize(secret.reveal().as_bytes()).is_err());
    keys.look().await.unwrap();
    let principal = keys.recognize(secret.reveal().as_bytes()).unwrap();
    other.revoke(&admin(), key.id, None).await.unwrap();
    keys.look().await.unwrap();
    assert_eq!(kind(keys.recognize(secret.reveal().as_bytes())), ErrorKind::Unauthenticated);
    principal.revoked().await;
}

/// nobody makes, renews or takes away a key that is above them.
#[tokio::test]
async fn nobody_gives_a_key_more_than_they_have() {
    let (_, _, keys) = keys().await;
    let manager = Principal::new(tenant(), "user:m", Role::Manager);
    let refused =
        |outcome: Result<(ApiKey, Secret)>| outcome.unwrap_err().kind() == ErrorKind::PermissionDenied;
    assert!(refused(keys.create(&manager, wish(Role::Admin), None).await));
    assert!(keys.create(&manager, wish(Role::Manager), None).await.is_ok());
    let (of_admin, _) = keys.create(&admin(), wish(Role::Admin), None).await.unwrap();
    assert!(refused(keys.rotate(&manager, of_admin.id, None).await));
    assert_eq!(
        keys.revoke(&manager, of_admin.id, None).await.unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );

    let server = ServerId::random();
    let narrow = admin().with(Grant {
        scopes: Some(["keys:write".into()].into()),
        server: Some(server),
        ..Grant::default()
    });
    let like = |scopes: Option<&str>, server_id| NewKey {
        scopes: scopes.map(|scope| vec![scope.to_owned()]),
        server_id,
        ..wish(Role::Viewer)
    };
    for (scopes, server_id) in [
        (None, Some(server)),
        (Some("admin"), Some(server)),
        (Some("keys:write"), None),
        (Some("keys:write"), Some(ServerId::random())),
    ] {
        assert!(
            refused(keys.create(&narrow, like(scopes, server_id), None).await),
            "{scopes:?} {server_id:?}"
        );
    }
    assert!(keys.create(&narrow, like(Some("keys:write"), Some(server)), None).await.is_ok());
    let other = Grant { scopes: Some(["keys:write".into()].into()), ..Grant::default() };
    keys.revoke(&admin().with(other), of_admin.id, None).await.unwrap();
}

/// a key ends when its maker's credential does, and has at most its rate; so does one that replaces another, also its own.
#[tokio::test]
async fn a_key_has_no_more_life_and_no_more_rate_than_its_maker() {
    let (clock, _, keys) = keys().await;
    let in_days = |days: u32| clock.timestamp() + Duration::from_hours(24 * u64::from(days));
    let end = in_days(30);
    let short =
        admin().with(Grant { expires_at: Some(end), requests_per_minute: Some(7), ..Grant::default() });
    for (days, rate, at_most) in [(MOST_DAYS, None, 7), (31, Some(8), 7), (20, Some(6), 6)] {
        let lives = in_days(days).min(end);
        let (made, secret) = keys
            .create(&short, NewKey { days, requests_per_minute: rate, ..wish(Role::Admin) }, None)
            .await
            .unwrap();
        assert_eq!((made.expires_at, made.requests_per_minute), (lives, Some(at_most)));
        // One in its own place lives no longer, either.
        let itself = keys.recognize(secret.reveal().as_bytes()).unwrap();
        clock.advance(Duration::from_hours(1));
        let (next, secret) = keys.rotate(&itself, made.id, None).await.unwrap();
        assert_eq!((next.expires_at, next.requests_per_minute), (lives, Some(at_most)));
        let itself = keys.recognize(secret.reveal().as_bytes()).unwrap();
        let (more, _) =
            keys.create(&itself, NewKey { days: MOST_DAYS, ..wish(Role::Viewer) }, None).await.unwrap();
        assert_eq!(more.expires_at, lives);
        clock.advance(Duration::from_hours(1));
        let (renewed, _) = keys.rotate(&admin(), next.id, None).await.unwrap();
        assert!(renewed.expires_at >= lives, "who is not bound by it gives it a new life");
    }
    let (other, _) = keys.create(&admin(), wish(Role::Viewer), None).await.unwrap();
    assert_eq!(keys.rotate(&short, other.id, None).await.unwrap().0.expires_at, end);
    clock.advance(Duration::from_hours(24 * 30));
    let late = keys.create(&short, wish(Role::Viewer), None).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Unauthenticated);
}

/// a credential for one service makes no key for the whole tenant.
#[tokio::test]
async fn a_credential_for_one_service_makes_no_key_for_everything() {
    let (_, _, keys) = keys().await;
    let narrow = admin().with(Grant { service: Some("up".parse().unwrap()), ..Grant::default() });
    let refused = keys.create(&narrow, wish(Role::Viewer), None).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    assert!(refused.message().contains("`server_id`") && refused.message().contains("`up`"), "{refused}");
    let (wide, _) = keys.create(&admin(), wish(Role::Viewer), None).await.unwrap();
    assert_eq!(keys.rotate(&narrow, wide.id, None).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn a_key_of_another_tenant_is_as_unknown_as_none() {
    let (_, _, keys) = keys().await;
    let (key, _) = keys.create(&admin(), wish(Role::Viewer), None).await.unwrap();
    let stranger = Principal::local(TenantId::new("other").unwrap());
    assert_eq!(keys.rotate(&stranger, key.id, None).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(keys.revoke(&stranger, key.id, None).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(keys.list(&stranger.tenant, 0, 10).await.unwrap().total, 0);
}

#[tokio::test]
async fn uses_are_counted_in_memory_and_written_together() {
    let (clock, _, keys) = keys().await;
    let (key, secret) = keys.create(&admin(), wish(Role::Viewer), None).await.unwrap();
    for _ in 0..3 {
        keys.recognize(secret.reveal().as_bytes()).unwrap();
    }
    keys.create(&admin(), wish(Role::Viewer), None).await.unwrap();
    assert_eq!(keys.get(&tenant(), key.id).await.unwrap().uses, 0);
    clock.advance(Duration::from_secs(1));
    keys.recognize(secret.reveal().as_bytes()).unwrap();
    keys.write_uses().await.unwrap();
    keys.write_uses().await.unwrap();
    let kept = keys.get(&tenant(), key.id).await.unwrap();
    assert_eq!((kept.uses, kept.last_used_at), (4, Some(clock.timestamp())));
}

/// A store whose keys cannot be read any more.
#[derive(Debug)]
struct Broken(MemoryStore, AtomicBool);

impl Broken {
    fn pass(&self) -> Result<()> {
        let broken = self.1.load(Ordering::SeqCst);
        if broken { Err(Error::new(ErrorKind::Storage, "the disk is gone")) } else { Ok(()) }
    }
}

#[async_trait]
impl KeyStore for Broken {
    async fn insert_key(&self, key: &ApiKey, audit: &AuditEntry) -> Result<()> {
        self.0.insert_key(key, audit).await
    }
    async fn insert_key_once(
        &self,
        key: &ApiKey,
        audit: &AuditEntry,
        once: &Once,
    ) -> Result<Option<crate::store::Done>> {
        self.0.insert_key_once(key, audit, once).await
    }
    async fn rotate_key(&self, old: KeyId, until: Timestamp, new: &ApiKey, audit: &AuditEntry) -> Result<()> {
        self.0.rotate_key(old, until, new, audit).await
    }
    async fn revoke_key(&self, t: &TenantId, id: KeyId, at: Timestamp, audit: &AuditEntry) -> Result<()> {
        self.0.revoke_key(t, id, at, audit).await
    }
    async fn living_keys(&self) -> Result<Vec<ApiKey>> {
        self.pass()?;
        self.0.living_keys().await
    }
    async fn key(&self, tenant: &TenantId, id: KeyId) -> Result<Option<ApiKey>> {
        self.0.key(tenant, id).await
    }
    async fn keys(&self, tenant: &TenantId, offset: u64, limit: u32) -> Result<KeyPage> {
        self.0.keys(tenant, offset, limit).await
    }
    async fn keys_revision(&self) -> Result<u64> {
        self.pass()?;
        self.0.keys_revision().await
    }
    async fn record_key_uses(&self, uses: &[KeyUse]) -> Result<()> {
        self.pass()?;
        self.0.record_key_uses(uses).await
    }
}

/// while the store cannot be asked, a known key goes on and an unknown one is answered with 503, never let in.
#[tokio::test]
async fn a_store_that_fails_makes_nobody_of_anybody() {
    let broken = Arc::new(Broken(MemoryStore::new(), AtomicBool::new(false)));
    let store: Arc<dyn KeyStore> = broken.clone();
    let keys = Keys::open(store, ManualClock::shared()).await.unwrap();
    let (_, secret) = keys.create(&admin(), wish(Role::Viewer), None).await.unwrap();
    broken.1.store(true, Ordering::SeqCst);
    assert!(keys.look().await.is_err());
    let unknown = "mcp_".to_owned() + &"a".repeat(60);
    let refused = keys.recognize(unknown.as_bytes()).unwrap_err();
    assert_eq!((refused.kind(), refused.kind().row().status), (ErrorKind::Storage, 503));
    assert!(keys.recognize(secret.reveal().as_bytes()).is_ok());
    assert!(keys.write_uses().await.is_err());
    broken.1.store(false, Ordering::SeqCst);
    keys.write_uses().await.unwrap();
    assert_eq!(keys.list(&tenant(), 0, 1).await.unwrap().keys[0].uses, 1, "nothing that was counted is lost");
    broken.1.store(true, Ordering::SeqCst);
    let key = keys.list(&tenant(), 0, 1).await.unwrap().keys.remove(0);
    keys.revoke(&admin(), key.id, None).await.unwrap();
    assert_eq!(
        kind(keys.recognize(secret.reveal().as_bytes())),
        ErrorKind::Unauthenticated,
        "revoked at once all the same"
    );
    broken.1.store(false, Ordering::SeqCst);
    keys.look().await.unwrap();
    assert_eq!(kind(keys.recognize(unknown.as_bytes())), ErrorKind::Unauthenticated);
}
