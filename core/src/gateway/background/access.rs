//! Authentication as configured, and the end of calls and sessions whose credential ends.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use serde_json::json;
use url::Url;

use crate::auth::jwt::Fetch;
#[cfg(feature = "http")]
use crate::auth::jwt::MAX_DOCUMENT;
#[cfg(feature = "http")]
use crate::auth::opaque::Question;
use crate::auth::{Auth, Authenticator, Checkpoint, Failed, FailureListener, Keys, LocalOnly, LocalToken};
use crate::clock::{Clock, Tick};
use crate::cluster::{Notice, Notices};
use crate::error::Result;
#[cfg(not(feature = "http"))]
use crate::error::{Error, ErrorKind};
use crate::gateway::{Core, Gateway};
use crate::model::{AuditEntry, Principal, TenantId};
use crate::store::{ChangeKind, Store, StoreWatch};
use crate::tasks::Tasks;
use crate::transport::guard::Guard;

/// The interval of checks for credentials that are over: a quarter of the second within which a revoked key ends.
const LOOK: Duration = Duration::from_millis(250);
/// The number of checks after which the uses of keys are written: 10 s.
const WRITE_EVERY: u32 = 40;
/// Failed attempts that are written to the audit trail within [`AUDIT_WINDOW`]; further ones are in the log alone.
const AUDITED: u32 = 100;
const AUDIT_WINDOW: Duration = Duration::from_mins(1);

/// The authenticator for these settings.
pub(crate) fn authenticator(
    settings: &Auth,
    keys: &Arc<Keys>,
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    tasks: &Tasks,
    guard: &Guard,
    token: &Arc<LocalToken>,
) -> Result<Arc<dyn Authenticator>> {
    let token = Arc::clone(token);
    if !settings.is_configured() {
        return Ok(Arc::new(LocalOnly::new(token)));
    }
    let told = tell(Arc::clone(store), Arc::clone(clock), tasks.clone());
    let fetch: Arc<dyn Fetch> = Arc::new(Documents(guard.clone()));
    let (settings, keys) = (settings.clone(), Arc::clone(keys));
    let checkpoint = Checkpoint::new(settings, keys, &fetch, Arc::clone(clock), token, told)?;
    Ok(Arc::new(checkpoint))
}

/// The documents of issuers. The operator named the issuers, and these name the URLs of their keys.
#[derive(Debug)]
#[cfg_attr(not(feature = "http"), expect(dead_code, reason = "without HTTP nobody is asked"))]
struct Documents(Guard);

impl Fetch for Documents {
    #[cfg(feature = "http")]
    fn fetch<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(crate::transport::http::fetch(url, self.0.for_operator(), MAX_DOCUMENT))
    }

    #[cfg(feature = "http")]
    fn ask(&self, question: Question) -> BoxFuture<'_, Result<(u16, Bytes)>> {
        Box::pin(async move {
            let Question { method, url, headers, body } = question;
            let watch = self.0.for_operator();
            let answer = crate::transport::http::ask(method, &url, headers, body, watch, MAX_DOCUMENT).await;
            answer.map(|(status, body)| (status.as_u16(), body))
        })
    }

    #[cfg(not(feature = "http"))]
    fn fetch<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<Bytes>> {
        let message = "this build cannot ask an issuer; build with the feature `http`";
        Box::pin(async move { Err(Error::new(ErrorKind::Unavailable, message).with("url", url)) })
    }
}

/// Writes failed attempts to the audit trail, without delaying any caller.
fn tell(store: Arc<dyn Store>, clock: Arc<dyn Clock>, tasks: Tasks) -> FailureListener {
    let written = Mutex::new((clock.now(), 0));
    Box::new(move |failed: Failed| {
        let Failed { peer, why, closed } = failed;
        tracing::warn!(%peer, why, closed, "authentication failed");
        if !has_room(&mut written.lock().unwrap_or_else(PoisonError::into_inner), clock.now()) {
            return;
        }
        let (entry, store) = (attempt(peer, &why, closed, &*clock), Arc::clone(&store));
        tasks.spawn(async move {
            if let Err(error) = store.append_audit(&entry).await {
                tracing::error!(%error, "a failed authentication could not be written to the audit trail");
            }
        });
    })
}

/// Whether another failed attempt may be written, by the start of the window and the number that was written since.
fn has_room((since, count): &mut (Tick, u32), now: Tick) -> bool {
    if now.since(*since) >= AUDIT_WINDOW {
        (*since, *count) = (now, 0);
    }
    *count += 1;
    *count <= AUDITED
}

fn attempt(peer: IpAddr, why: &str, closed: bool, clock: &dyn Clock) -> AuditEntry {
    AuditEntry {
        at: clock.timestamp(),
        tenant_id: TenantId::default_tenant(),
        actor: format!("address:{}", peer.to_canonical()),
        action: "auth.fail".into(),
        target: "gateway".into(),
        outcome: "unauthenticated".into(),
        correlation_id: None,
        detail: json!({ "why": why, "not_listened_to_for_a_minute": closed }),
    }
}

impl Gateway {
    /// Whether callers must send a credential: whether any authentication is configured.
    pub fn demands_credentials(&self) -> bool {
        self.0.settings.auth.is_configured()
    }

    /// The token by which processes of this machine prove that they are local; `None` if they need a credential like every
    /// caller. For the program that runs the gateway, which may hand it to processes that it trusts with everything.
    pub fn local_token(&self) -> Option<&LocalToken> {
        self.0.settings.local_token.as_deref().filter(|_| self.0.settings.auth.trusts_loopback())
    }

    /// The gateway's own URL, without a trailing slash, if it is configured.
    pub fn url(&self) -> Option<String> {
        self.0.settings.auth.canonical_url()
    }

    /// The issuers whose tokens are accepted.
    pub fn authorization_servers(&self) -> Vec<String> {
        self.0.settings.auth.authorization_servers()
    }
}

impl Core {
    /// Reads the API keys again when the store or another replica reports that they changed, until the gateway stops.
    pub(crate) async fn watch_keys(self: Arc<Self>, mut changes: StoreWatch, mut notices: Notices) {
        // For changes between the reading of the keys and the start of the watch. Errors were logged where they came from.
        let _ = self.keys.look().await;
        let mut hears = true;
        loop {
            tokio::select! {
                change = changes.next() => match change {
                    Some(Ok(change)) if !change.includes(ChangeKind::Keys) => {
                        if change.includes(ChangeKind::Tenants) {
                            self.hear_of_tenants().await;
                        }
                        continue;
                    }
                    // While the store cannot be asked, the keys must know it, so that unknown ones are answered with 503.
                    Some(_) => {}
                    None => return,
                },
                notice = notices.next(), if hears => match notice {
                    Some(Notice::KeyRevoked(id)) => self.keys.end(id),
                    Some(_) => {}
                    None => {
                        hears = false;
                        continue;
                    }
                },
                () = tokio::time::sleep(LOOK), if self.keys.is_unsure() => {}
            }
            let _ = self.keys.look().await;
            self.hear_of_tenants().await;
        }
    }

    /// Another replica, or a command on the database, may have disabled a tenant.
    async fn hear_of_tenants(&self) {
        if let Err(error) = self.take_up_tenants().await {
            tracing::warn!(%error, "the state of the tenants could not be read; it is read again with the next change");
        }
    }

    /// Applies changes of keys and ends of credentials, until the gateway stops.
    pub(crate) async fn watch_credentials(self: Arc<Self>) {
        let mut looks = 0;
        loop {
            let changed = tokio::time::timeout(LOOK, self.keys.changed()).await.is_ok();
            looks += u32::from(!changed);
            self.end_what_is_over();
            if changed {
                self.end_revoked_sessions().await;
            }
            if looks >= WRITE_EVERY {
                looks = 0;
                self.write_key_uses().await;
            }
        }
    }

    /// Ends calls whose credential was revoked, and streams held open by a credential that was revoked or expired. A call that
    /// began while its credential was valid goes on past its expiry.
    fn end_what_is_over(&self) {
        let now = self.clock.timestamp();
        self.streams.end(|principal| principal.is_over(now));
        for active in self.calls.active() {
            let Some(principal) = active.principal.get() else { continue };
            if is_revoked(principal) || (active.is_held_open() && principal.is_over(now)) {
                active.cancel.cancel();
            }
        }
    }

    async fn end_revoked_sessions(&self) {
        let sessions = self.sessions.all().into_iter().chain(self.modern.modern_to_legacy.pool.all());
        let revoked: Vec<_> = sessions.filter(|client| is_revoked(&client.principal)).collect();
        let ending = futures_util::stream::iter(&revoked);
        ending.for_each_concurrent(64, |client| async move { self.end_session(client).await }).await;
    }

    pub(crate) async fn write_key_uses(&self) {
        if let Err(error) = self.keys.write_uses().await {
            tracing::warn!(%error, "the uses of API keys could not be written; they are kept and written later");
        }
    }
}

fn is_revoked(principal: &Principal) -> bool {
    principal.grant.as_ref().is_some_and(|grant| grant.revoked.is_cancelled())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_failed_attempts_writes_a_hundred_rows_a_minute() {
        let mut window = (Tick::default(), 0);
        let written = (0..1000).filter(|_| has_room(&mut window, Tick::default())).count();
        assert_eq!(written, 100);
        assert!(has_room(&mut window, Tick::default() + AUDIT_WINDOW));
    }
}
