//! The credentials that the gateway sends to servers: sealed in the store, unsealed in memory, added to requests.
//!
//! A credential is sent to the origin that its server had when it was set: a server that moves to another origin does not take
//! it along. A credential of one caller is sent in that caller's calls alone, and never together with those that are set for
//! all.

mod active_grant;
mod header_set;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use http::header::{HeaderName, HeaderValue};
use tokio::sync::Mutex;
use url::Url;

pub(crate) use self::active_grant::ActiveGrant;
pub(crate) use self::header_set::Shown;
use self::header_set::{HeaderSet, ServerCredentials};
use crate::auth::{Grant, Vault};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Core;
use crate::model::{AuditEntry, Credential, CredentialKind, SealedCredential, Server, ServerId, TenantId};
use crate::store::Store;
use crate::transport::credential_provider::{
    CredentialProvider, CredentialRequest, ProvidedCredentials, Refusal, RetryAdvice, origin,
};

/// The credentials that are in use.
#[derive(Debug)]
pub(crate) struct CredentialCache {
    vault: Option<Arc<Vault>>,
    clock: Arc<dyn Clock>,
    /// The gateway that owns this cache and renews its grants.
    keeper: OnceLock<Weak<Core>>,
    /// Whether there is any credential at all: many gateways have none, and this is checked for each request.
    any: AtomicBool,
    pages: ArcSwap<HashMap<ServerId, Arc<ServerCredentials>>>,
    /// Held while store and memory change: one change at a time.
    pub(crate) writing: Mutex<()>,
}

impl CredentialCache {
    /// The credentials of `store`, unsealed with `vault`; those sealed with an older key are sealed anew. One that cannot be
    /// unsealed is logged, and not sent.
    pub(crate) async fn load(
        vault: Option<Arc<Vault>>,
        store: &dyn Store,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self> {
        let book = Self::empty(vault, clock);
        let mut pages: HashMap<ServerId, ServerCredentials> = HashMap::new();
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
                let sealed = book.seal(&stored.tenant_id, about, &shown.secret()?)?;
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

    /// A cache without credentials.
    pub(crate) fn empty(vault: Option<Arc<Vault>>, clock: &Arc<dyn Clock>) -> Self {
        Self {
            vault,
            clock: Arc::clone(clock),
            keeper: OnceLock::new(),
            any: AtomicBool::default(),
            pages: ArcSwap::default(),
            writing: Mutex::default(),
        }
    }

    /// The name of the key that seals. [`ErrorKind::PermissionDenied`] if there is none.
    pub(crate) fn key_id(&self) -> Result<&str> {
        Ok(self.vault()?.key_id())
    }

    /// Whether any credential is sent to this server.
    pub(crate) fn has(&self, server: ServerId) -> bool {
        self.any.load(Ordering::Acquire) && self.pages.load().contains_key(&server)
    }

    /// The descriptions of a server's credentials, by subject and header: those for all callers first.
    pub(crate) fn of(&self, server: ServerId) -> Vec<Credential> {
        let pages = self.pages.load();
        let Some(page) = pages.get(&server) else { return Vec::new() };
        let mut own: Vec<_> = page.own.iter().collect();
        own.sort_unstable_by_key(|(subject, _)| *subject);
        let sheets = std::iter::once(&page.all).chain(own.into_iter().map(|(_, sheet)| &**sheet));
        sheets.flat_map(HeaderSet::told).collect()
    }

    /// The descriptions of a caller's own credentials for a server, by header; with `None`, of those for all callers.
    pub(crate) fn of_caller(&self, server: ServerId, subject: Option<&str>) -> Vec<Credential> {
        let pages = self.pages.load();
        pages
            .get(&server)
            .and_then(|page| page.sheet(subject))
            .into_iter()
            .flat_map(HeaderSet::told)
            .collect()
    }

    /// Whether a credential is set for this caller's calls of a server.
    pub(crate) fn has_for(&self, server: ServerId, subject: &str) -> bool {
        self.has(server) && self.pages.load().get(&server).is_some_and(|page| page.own.contains_key(subject))
    }

    /// The number of callers that have credentials of their own for a server.
    pub(crate) fn callers(&self, server: ServerId) -> usize {
        self.pages.load().get(&server).map_or(0, |page| page.own.len())
    }

    /// Adds a credential for a server; it replaces the one in the same header.
    pub(crate) fn put(&self, shown: Shown) {
        self.change(shown.about.server_id, |page| page.put(shown));
    }

    /// Removes a server's credential in this header, for the calls of `subject`, or for those of all.
    pub(crate) fn take(&self, server: ServerId, subject: Option<&str>, header: &str) {
        self.change(server, |page| page.take(subject, header));
    }

    /// Removes all credentials for a server.
    pub(crate) fn forget(&self, server: ServerId) {
        self.change(server, |page| *page = ServerCredentials::default());
    }

    pub(crate) fn seal(
        &self,
        tenant: &TenantId,
        about: &Credential,
        value: &[u8],
    ) -> Result<SealedCredential> {
        let vault = self.vault()?;
        let about = Credential { key_id: vault.key_id().to_owned(), ..about.clone() };
        let bound = bound(tenant, &about);
        let sealed = vault.seal(&bound.iter().map(String::as_str).collect::<Vec<_>>(), value)?;
        Ok(SealedCredential { tenant_id: tenant.clone(), about, sealed })
    }

    pub(crate) fn open(&self, stored: &SealedCredential) -> Result<Shown> {
        let (vault, about) = (self.vault()?, &stored.about);
        let bound = bound(&stored.tenant_id, about);
        let parts: Vec<_> = bound.iter().map(String::as_str).collect();
        let value = vault.open(&about.key_id, &parts, &stored.sealed)?;
        let unusable = || Error::new(ErrorKind::Storage, "a stored credential is not a valid header");
        let name = HeaderName::from_bytes(about.header.as_bytes()).map_err(|_| unusable())?;
        let (value, held) = match about.kind {
            CredentialKind::Header => (HeaderValue::from_bytes(&value), None),
            CredentialKind::Oauth => {
                let grant: Grant = serde_json::from_slice(&value).map_err(|_| unusable())?;
                (
                    HeaderValue::try_from(format!("Bearer {}", grant.access_token)),
                    Some(ActiveGrant::new(grant)),
                )
            }
        };
        let mut value = value.map_err(|_| unusable())?;
        value.set_sensitive(true);
        let authorized = held.as_ref().map(|held| held.grant.told());
        let about = Credential { key_id: vault.key_id().to_owned(), authorized, ..about.clone() };
        Ok(Shown { about, name, value, held })
    }

    /// Sets the gateway that owns this cache.
    pub(crate) fn kept_by(&self, keeper: Weak<Core>) {
        // A cache is loaded for one gateway.
        let _ = self.keeper.set(keeper);
    }

    fn keeper(&self) -> Option<Arc<Core>> {
        self.keeper.get()?.upgrade()
    }

    fn renewed(&self, wanted: &CredentialRequest<'_>, held: &Arc<ActiveGrant>) -> ProvidedCredentials {
        match self.keeper() {
            Some(keeper) => keeper.renewed(wanted, held),
            None => ProvidedCredentials::Missing(Error::new(
                ErrorKind::Unavailable,
                "the gateway is shutting down",
            )),
        }
    }

    fn vault(&self) -> Result<&Vault> {
        self.vault.as_deref().ok_or_else(|| {
            let message = "this gateway has no key to seal credentials with; configure `credentials.key` or `credentials.key_file`";
            Error::new(ErrorKind::PermissionDenied, message)
        })
    }

    fn change(&self, server: ServerId, change: impl FnOnce(&mut ServerCredentials)) {
        let mut pages = HashMap::clone(&self.pages.load());
        let page = Arc::make_mut(pages.entry(server).or_default());
        change(page);
        if page.all.shown.is_empty() && page.own.is_empty() {
            pages.remove(&server);
        }
        self.swap(pages);
    }

    fn swap(&self, pages: HashMap<ServerId, Arc<ServerCredentials>>) {
        let any = !pages.is_empty();
        self.pages.store(Arc::new(pages));
        self.any.store(any, Ordering::Release);
    }
}

#[cfg(feature = "oauth")]
impl CredentialCache {
    /// The grant for a server that is used in the calls of `subject`, or in those of all.
    pub(crate) fn held(&self, server: ServerId, subject: Option<&str>) -> Option<Arc<ActiveGrant>> {
        self.pages.load().get(&server)?.sheet(subject)?.held().cloned()
    }

    /// The credential that is sent in this header.
    pub(crate) fn shown(&self, server: ServerId, subject: Option<&str>, header: &str) -> Option<Shown> {
        let pages = self.pages.load();
        let sheet = pages.get(&server)?.sheet(subject)?;
        sheet.shown.iter().find(|shown| shown.about.header == header).cloned()
    }

    /// The current headers for this origin.
    pub(crate) fn worn(
        &self,
        server: ServerId,
        subject: Option<&str>,
        origin: &str,
    ) -> Option<Arc<http::HeaderMap>> {
        let pages = self.pages.load();
        Some(Arc::clone(&pages.get(&server)?.sheet(subject)?.at(origin)?.headers))
    }
}

impl CredentialProvider for CredentialCache {
    fn headers(&self, wanted: CredentialRequest<'_>) -> ProvidedCredentials {
        let CredentialRequest { server, subject, origin } = wanted;
        let missing = |error: fn(ServerId) -> Error| match subject {
            None => ProvidedCredentials::Nothing,
            Some(_) => ProvidedCredentials::Missing(error(server)),
        };
        if !self.any.load(Ordering::Acquire) {
            return missing(no_own);
        }
        let pages = self.pages.load();
        let Some(sheet) = pages.get(&server).and_then(|page| page.sheet(subject)) else {
            return missing(no_own);
        };
        match sheet.at(origin) {
            None => missing(elsewhere),
            Some(worn) => match &worn.held {
                Some(held) if held.is_over(&*self.clock) => self.renewed(&wanted, held),
                _ => ProvidedCredentials::Now(Arc::clone(&worn.headers)),
            },
        }
    }

    fn refused(&self, wanted: CredentialRequest<'_>, refusal: &Refusal<'_>) -> RetryAdvice {
        self.keeper().map_or(RetryAdvice::Unknown, |keeper| keeper.server_refused(&wanted, refusal))
    }
}

/// The error for a caller that has no credential of its own for a server that requires one.
pub(crate) fn no_own(server: ServerId) -> Error {
    let message = "the server wants a credential of yours, and you have set none; set it with \
        `POST /api/v1/servers/{id}/credentials/own` or `mcp-gateway credentials set --own`, or log in with \
        `mcp-gateway credentials login --own`";
    Error::new(ErrorKind::PermissionDenied, message).with("server_id", server)
}

fn elsewhere(server: ServerId) -> Error {
    let message = "the server has moved to another origin since you set your credential for it; set it anew with \
        `POST /api/v1/servers/{id}/credentials/own`, or `mcp-gateway credentials set --own`";
    Error::new(ErrorKind::PermissionDenied, message).with("server_id", server)
}

/// The data that a sealed value is bound to: the value cannot be unsealed with any other.
fn bound(tenant: &TenantId, about: &Credential) -> Vec<String> {
    let subject = about.subject.clone().unwrap_or_default();
    let mut bound = vec![
        tenant.to_string(),
        about.server_id.to_string(),
        subject,
        about.header.clone(),
        about.origin.clone(),
    ];
    if about.kind != CredentialKind::Header {
        bound.push(about.kind.as_str().to_owned());
    }
    bound
}

/// The description of a credential in the audit trail.
pub(crate) fn described(about: &Credential) -> serde_json::Value {
    let mut detail =
        serde_json::json!({ "header": about.header, "origin": about.origin, "key_id": about.key_id });
    if let Some(subject) = &about.subject {
        detail["subject"] = subject.as_str().into();
    }
    if let Some(authorized) = &about.authorized {
        detail["issuer"] = authorized.issuer.as_deref().into();
        detail["scopes"] = authorized.scopes.as_slice().into();
    }
    detail
}

/// The origin to which a server's requests go.
///
/// [`ErrorKind::InvalidParams`] for a command, which has no requests.
pub(crate) fn origin_of(server: &Server) -> Result<String> {
    let url = server.endpoint.url().and_then(|url| Url::parse(url).ok());
    url.as_ref().map(origin).ok_or_else(|| {
        let message = "a server that is a command has no headers; give it a variable with `env`";
        Error::new(ErrorKind::InvalidParams, message)
    })
}

#[cfg(test)]
impl Default for CredentialCache {
    fn default() -> Self {
        Self::empty(None, &crate::clock::SystemClock::shared())
    }
}
