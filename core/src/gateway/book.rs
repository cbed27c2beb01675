//! What servers are shown before they let the gateway in: kept sealed in the store, open in memory, given to requests.
//!
//! A credential is shown to the origin that its server had when it was set: a server that is pointed elsewhere does not take
//! it along. What is set for one caller is shown in that caller's calls alone, and never together with what is set for all.

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
    pages: ArcSwap<HashMap<ServerId, Arc<Page>>>,
    /// Held over store and memory: one change after another.
    pub(super) writing: Mutex<()>,
}

/// What one server is shown.
#[derive(Clone, Debug, Default)]
struct Page {
    /// In everybody's calls, or when the gateway asks for itself.
    all: Sheet,
    /// In the calls of each of these callers alone.
    own: HashMap<Box<str>, Arc<Sheet>>,
}

/// What a server is shown in some calls.
#[derive(Clone, Default)]
struct Sheet {
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

impl fmt::Debug for Sheet {
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
        book.swap(pages.into_iter().map(|(id, page)| (id, Arc::new(page))).collect());
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

    /// What is told of a server's credentials, by subject and header: everybody's first.
    pub(super) fn of(&self, server: ServerId) -> Vec<Credential> {
        let pages = self.pages.load();
        let Some(page) = pages.get(&server) else { return Vec::new() };
        let mut own: Vec<_> = page.own.iter().collect();
        own.sort_unstable_by_key(|(subject, _)| *subject);
        let sheets = std::iter::once(&page.all).chain(own.into_iter().map(|(_, sheet)| &**sheet));
        sheets.flat_map(Sheet::told).collect()
    }

    /// What is told of a caller's own credentials for a server, by header; of those for all with `None`.
    pub(super) fn of_caller(&self, server: ServerId, subject: Option<&str>) -> Vec<Credential> {
        let pages = self.pages.load();
        pages.get(&server).and_then(|page| page.sheet(subject)).into_iter().flat_map(Sheet::told).collect()
    }

    /// Whether something is set for this caller's calls of a server.
    pub(super) fn has_for(&self, server: ServerId, subject: &str) -> bool {
        self.has(server) && self.pages.load().get(&server).is_some_and(|page| page.own.contains_key(subject))
    }

    /// Callers that have something of their own for a server.
    pub(super) fn callers(&self, server: ServerId) -> usize {
        self.pages.load().get(&server).map_or(0, |page| page.own.len())
    }

    /// Shows a server this, too, in the place of what was shown in the same header.
    pub(super) fn put(&self, shown: Shown) {
        self.change(shown.about.server_id, |page| page.put(shown));
    }

    /// Shows a server nothing in this header any more, in the calls of `subject`, or in those of all.
    pub(super) fn take(&self, server: ServerId, subject: Option<&str>, header: &str) {
        self.change(server, |page| page.take(subject, header));
    }

    /// Shows a server nothing at all any more.
    pub(super) fn forget(&self, server: ServerId) {
        self.change(server, |page| *page = Page::default());
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
        let page = Arc::make_mut(pages.entry(server).or_default());
        change(page);
        if page.all.shown.is_empty() && page.own.is_empty() {
            pages.remove(&server);
        }
        self.swap(pages);
    }

    fn swap(&self, pages: HashMap<ServerId, Arc<Page>>) {
        let any = !pages.is_empty();
        self.pages.store(Arc::new(pages));
        self.any.store(any, Ordering::Release);
    }
}

impl Page {
    fn sheet(&self, subject: Option<&str>) -> Option<&Sheet> {
        match subject {
            None => Some(&self.all),
            Some(subject) => self.own.get(subject).map(|sheet| &**sheet),
        }
    }

    fn put(&mut self, shown: Shown) {
        match shown.about.subject.as_deref() {
            None => self.all.put(shown),
            Some(subject) => Arc::make_mut(self.own.entry(subject.into()).or_default()).put(shown),
        }
    }

    fn take(&mut self, subject: Option<&str>, header: &str) {
        let Some(subject) = subject else { return self.all.take(header) };
        if let Some(sheet) = self.own.get_mut(subject) {
            Arc::make_mut(sheet).take(header);
            if sheet.shown.is_empty() {
                self.own.remove(subject);
            }
        }
    }
}

impl Sheet {
    fn told(&self) -> impl Iterator<Item = Credential> {
        self.shown.iter().map(|shown| shown.about.clone())
    }

    /// What goes to this origin.
    fn at(&self, origin: &str) -> Option<&Arc<HeaderMap>> {
        self.together.iter().find(|(own, _)| own == origin).map(|(_, headers)| headers)
    }

    fn put(&mut self, shown: Shown) {
        self.shown.retain(|other| other.about.header != shown.about.header);
        self.shown.push(shown);
        self.join();
    }

    fn take(&mut self, header: &str) {
        self.shown.retain(|shown| shown.about.header != header);
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
        let Wanted { server, subject, origin } = wanted;
        let missing = |error: fn(ServerId) -> Error| match subject {
            None => Supplied::Nothing,
            Some(_) => Supplied::Missing(error(server)),
        };
        if !self.any.load(Ordering::Acquire) {
            return missing(no_own);
        }
        let pages = self.pages.load();
        let Some(sheet) = pages.get(&server).and_then(|page| page.sheet(subject)) else {
            return missing(no_own);
        };
        sheet.at(origin).map_or_else(|| missing(elsewhere), |headers| Supplied::Now(Arc::clone(headers)))
    }
}

/// What a caller hears who has nothing to show a server that wants each caller's own.
pub(super) fn no_own(server: ServerId) -> Error {
    let message = "the server wants a credential of yours, and you have set none; set it with \
        `POST /api/v1/servers/{id}/credentials/own`, or `mcp-gateway credentials set --own`";
    Error::new(ErrorKind::PermissionDenied, message).with("server_id", server)
}

fn elsewhere(server: ServerId) -> Error {
    let message = "the server has moved to another origin since you set your credential for it; set it anew with \
        `POST /api/v1/servers/{id}/credentials/own`, or `mcp-gateway credentials set --own`";
    Error::new(ErrorKind::PermissionDenied, message).with("server_id", server)
}

/// What a value is sealed together with: it opens for nothing else.
fn bound(tenant: &TenantId, about: &Credential) -> [String; 5] {
    let subject = about.subject.clone().unwrap_or_default();
    [tenant.to_string(), about.server_id.to_string(), subject, about.header.clone(), about.origin.clone()]
}

/// What the trail says of a credential.
pub(super) fn described(about: &Credential) -> serde_json::Value {
    let mut detail =
        serde_json::json!({ "header": about.header, "origin": about.origin, "key_id": about.key_id });
    if let (Some(subject), Some(members)) = (&about.subject, detail.as_object_mut()) {
        members.insert("subject".to_owned(), subject.as_str().into());
    }
    detail
}
