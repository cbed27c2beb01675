//! The credentials for servers, by caller and by origin.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::ActiveGrant;
use crate::error::Result;
use crate::model::Credential;

/// The credentials for one server.
#[derive(Clone, Debug, Default)]
pub(super) struct ServerCredentials {
    /// For everybody's calls, or for the gateway's own requests.
    pub(super) all: HeaderSet,
    /// For the calls of each of these callers alone.
    pub(super) own: HashMap<Box<str>, Arc<HeaderSet>>,
}

/// The credentials for a server in the calls of one caller, or of all.
#[derive(Clone, Default)]
pub(super) struct HeaderSet {
    pub(super) shown: Vec<Shown>,
    /// The headers for each origin for which a credential was set; one, except for servers that moved.
    together: Vec<Worn>,
}

/// The headers for one origin.
#[derive(Clone)]
pub(super) struct Worn {
    origin: String,
    pub(super) headers: Arc<HeaderMap>,
    /// Present if one of the headers is an access token.
    pub(super) held: Option<Arc<ActiveGrant>>,
}

/// One credential, unsealed.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) about: Credential,
    pub(super) name: HeaderName,
    pub(super) value: HeaderValue,
    /// Present if it is an access token.
    pub(crate) held: Option<Arc<ActiveGrant>>,
}

impl Shown {
    /// The part of it that is sealed.
    pub(super) fn secret(&self) -> Result<Vec<u8>> {
        match &self.held {
            None => Ok(self.value.as_bytes().to_vec()),
            Some(held) => held.grant.sealable(),
        }
    }
}

impl fmt::Debug for HeaderSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.shown.iter().map(|shown| &shown.about)).finish()
    }
}

impl ServerCredentials {
    pub(super) fn sheet(&self, subject: Option<&str>) -> Option<&HeaderSet> {
        match subject {
            None => Some(&self.all),
            Some(subject) => self.own.get(subject).map(|sheet| &**sheet),
        }
    }

    pub(super) fn put(&mut self, shown: Shown) {
        match shown.about.subject.as_deref() {
            None => self.all.put(shown),
            Some(subject) => Arc::make_mut(self.own.entry(subject.into()).or_default()).put(shown),
        }
    }

    pub(super) fn take(&mut self, subject: Option<&str>, header: &str) {
        let Some(subject) = subject else { return self.all.take(header) };
        if let Some(sheet) = self.own.get_mut(subject) {
            Arc::make_mut(sheet).take(header);
            if sheet.shown.is_empty() {
                self.own.remove(subject);
            }
        }
    }
}

impl HeaderSet {
    pub(super) fn told(&self) -> impl Iterator<Item = Credential> {
        self.shown.iter().map(|shown| shown.about.clone())
    }

    /// The headers for this origin.
    pub(super) fn at(&self, origin: &str) -> Option<&Worn> {
        self.together.iter().find(|worn| worn.origin == origin)
    }

    /// The grant, if there is one.
    #[cfg(feature = "oauth")]
    pub(super) fn held(&self) -> Option<&Arc<ActiveGrant>> {
        self.shown.iter().find_map(|shown| shown.held.as_ref())
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
            let here = || self.shown.iter().filter(|shown| shown.about.origin == origin);
            let headers = here().map(|shown| (shown.name.clone(), shown.value.clone())).collect();
            let held = here().find_map(|shown| shown.held.clone());
            self.together.push(Worn { origin: origin.to_owned(), headers: Arc::new(headers), held });
        }
    }
}
