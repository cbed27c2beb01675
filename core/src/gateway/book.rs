//! What servers are shown before they let the gateway in: kept sealed in the store, open in memory, given to requests.
//!
//! A credential is shown to the origin that its server had when it was set: a server that is pointed elsewhere does not take
//! it along.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::Mutex;

use crate::auth::Vault;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{AuditEntry, Credential, SealedCredential, ServerId, TenantId};
use crate::store::Store;
use crate::transport::supply::{Supplied, Supply, Wanted};

/// The credentials that are in use.
#[derive(Debug, Default)]
pub(super) struct Book {
    vault: Option<Arc<Vault>>,
    /// Whether there is any at all: many gateways have none, and are asked for each request.
    any: AtomicBool,
    pages: ArcSwap<HashMap<ServerId, Page>>,
    /// Held over store and memory: one change after another.
    pub(super) writing: Mutex<()>,
}

/// What one server is shown.
#[derive(Clone, Default)]
struct Page {
    shown: Vec<Shown>,
    /// The headers for each origin that a credential was set for; one, but for servers that moved.
    together: Vec<(String, Arc<HeaderMap>)>,
}

/// One credential, opened.
#[derive(Clone)]
pub(super) struct Shown {
    about: Credential,
    name: HeaderName,
    value: HeaderValue,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.shown.iter().map(|shown| &shown.about)).finish()
    }
}

impl Book {
    /// The credentials of `store`, opened with `vault`; those sealed with an older key are sealed anew. One that cannot be
    /// opened is logged, and not shown.
    pub(super) async fn load(
        vault: Option<Arc<Vault>>,
        store: &dyn Store,
        clock: &dyn Clock,
    ) -> Result<Self> {
        let book = Self { vault, ..Self::default() };
        let mut pages: HashMap<ServerId, Page> = HashMap::new();
        for stored in store.credentials().await? {
            let about = &stored.about;
            let shown = match book.open(&stored) {
                Ok(shown) => shown,
                Err(error) => {
                    tracing::error!(server = %about.server_id, header = about.header, %error, "a credential cannot be used");
                    continue;
                }
            };
            if about.key_id != book.key_id()? {
                let sealed = book.seal(&stored.tenant_id, about, shown.value.as_bytes())?;
                let audit = AuditEntry {
                    at: clock.timestamp(),
                    tenant_id: stored.tenant_id.clone(),
                    actor: "gateway".to_owned(),
                    action: "credential.reseal".to_owned(),
                    target: about.server_id.to_string(),
                    outcome: "ok".to_owned(),
                    correlation_id: None,
                    detail: described(&sealed.about),
                };
                store.put_credential(&sealed, &audit).await?;
            }
            pages.entry(about.server_id).or_default().put(shown);
        }
        book.swap(pages);
        Ok(book)
    }

    /// The name of the key that seals. [`ErrorKind::PermissionDenied`] if there is none.
    pub(super) fn key_id(&self) -> Result<&str> {
        Ok(self.vault()?.key_id())
    }

    /// Whether anything is shown to this server.
    pub(super) fn has(&self, server: ServerId) -> bool {
        self.any.load(Ordering::Acquire) && self.pages.load().contains_key(&server)
    }

    /// What is told of a server's credentials, by header.
    pub(super) fn of(&self, server: ServerId) -> Vec<Credential> {
        let pages = self.pages.load();
        let shown = pages.get(&server).into_iter().flat_map(|page| &page.shown);
        shown.map(|shown| shown.about.clone()).collect()
    }

    /// Shows a server this, too, in the place of what was shown in the same header.
    pub(super) fn put(&self, shown: Shown) {
        self.change(shown.about.server_id, |page| page.put(shown));
    }

    /// Shows a server nothing in this header any more; with `None`, nothing at all.
    pub(super) fn take(&self, server: ServerId, header: Option<&str>) {
        self.change(server, |page| page.take(header));
    }

    pub(super) fn seal(
        &self,
        tenant: &TenantId,
        about: &Credential,
        value: &[u8],
    ) -> Result<SealedCredential> {
        let vault = self.vault()?;
        let about = Credential { key_id: vault.key_id().to_owned(), ..about.clone() };
        let sealed = vault.seal(&bound(tenant, &about).each_ref().map(String::as_str), value)?;
        Ok(SealedCredential { tenant_id: tenant.clone(), about, sealed })
    }

    pub(super) fn open(&self, stored: &SealedCredential) -> Result<Shown> {
        let (vault, about) = (self.vault()?, &stored.about);
        let bound = bound(&stored.tenant_id, about);
        let value = vault.open(&about.key_id, &bound.each_ref().map(String::as_str), &stored.sealed)?;
        let unusable = || Error::new(ErrorKind::Storage, "what was sealed is no header");
        let name = HeaderName::from_bytes(about.header.as_bytes()).map_err(|_| unusable())?;
        let mut value = HeaderValue::from_bytes(&value).map_err(|_| unusable())?;
        value.set_sensitive(true);
        let about = Credential { key_id: vault.key_id().to_owned(), ..about.clone() };
        Ok(Shown { about, name, value })
    }

    fn vault(&self) -> Result<&Vault> {
        self.vault.as_deref().ok_or_else(|| {
            let message = "this gateway has no key to seal credentials with; an embedding program gives one in its settings";
            Error::new(ErrorKind::PermissionDenied, message)
        })
    }

    fn change(&self, server: ServerId, change: impl FnOnce(&mut Page)) {
        let mut pages = HashMap::clone(&self.pages.load());
        let page = pages.entry(server).or_default();
        change(page);
        if page.shown.is_empty() {
            pages.remove(&server);
        }
        self.swap(pages);
    }

    fn swap(&self, pages: HashMap<ServerId, Page>) {
        let any = !pages.is_empty();
        self.pages.store(Arc::new(pages));
        self.any.store(any, Ordering::Release);
    }
}

impl Page {
    fn put(&mut self, shown: Shown) {
        self.take(Some(&shown.about.header.clone()));
        self.shown.push(shown);
        self.join();
    }

    fn take(&mut self, header: Option<&str>) {
        self.shown.retain(|shown| header.is_some_and(|header| shown.about.header != header));
        self.join();
    }

    fn join(&mut self) {
        self.shown.sort_by(|a, b| a.about.header.cmp(&b.about.header));
        self.together.clear();
        let mut origins: Vec<&str> = self.shown.iter().map(|shown| shown.about.origin.as_str()).collect();
        origins.sort_unstable();
        origins.dedup();
        for origin in origins {
            let here = self.shown.iter().filter(|shown| shown.about.origin == origin);
            let headers = here.map(|shown| (shown.name.clone(), shown.value.clone())).collect();
            self.together.push((origin.to_owned(), Arc::new(headers)));
        }
    }
}

impl Supply for Book {
    fn headers(&self, wanted: Wanted<'_>) -> Supplied {
        if !self.any.load(Ordering::Acquire) {
            return Supplied::Nothing;
        }
        let pages = self.pages.load();
        let found = pages.get(&wanted.server).into_iter().flat_map(|page| &page.together);
        let mut found = found.filter(|(origin, _)| origin == wanted.origin);
        found.next().map_or(Supplied::Nothing, |(_, headers)| Supplied::Now(Arc::clone(headers)))
    }
}

/// What a value is sealed together with: it opens for nothing else.
fn bound(tenant: &TenantId, about: &Credential) -> [String; 5] {
    let subject = about.subject.clone().unwrap_or_default();
    [tenant.to_string(), about.server_id.to_string(), subject, about.header.clone(), about.origin.clone()]
}

/// What the trail says of a credential.
pub(super) fn described(about: &Credential) -> serde_json::Value {
    serde_json::json!({ "header": about.header, "origin": about.origin, "key_id": about.key_id })
}
