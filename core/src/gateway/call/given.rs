//! URIs that a server gave in an answer, and that no list names: a link to a resource, or the page of a tool.
//!
//! On the aggregated route a URI says nothing about its server, so the gateway remembers the service that gave it to this caller.
//! The first service keeps it. If a second one gives the same URI, the route of either service is the way to read it: nobody can
//! take over what another service gave.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ring::digest::{Context, SHA256};
use serde_json::Value;

use super::context::CallContext;
use crate::gateway::Core;
use crate::gateway::routing::snapshot::page_in;
use crate::model::{Endpoint, Principal, ServerId, ServiceName};
use crate::registry::items::MAX_URI;
use crate::rpc::method::RoutingKey;
use crate::rpc::{Members, Message, Method};

/// URIs that are remembered for one caller; beyond this the oldest are forgotten.
const MOST: usize = 1024;
/// Callers whose URIs are remembered; beyond this the oldest are forgotten.
const MOST_CALLERS: usize = 4096;
/// URIs that are taken up from one answer.
const MOST_AT_ONCE: usize = 256;
/// Deepest nesting in which URIs are looked for.
const MAX_DEPTH: usize = 16;

/// A hash by which a caller or a URI is known: both can be long, and only equality matters.
type Key = [u8; 16];

/// The services that gave a URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Givers {
    /// The one that gave it first.
    pub(crate) first: ServiceName,
    /// Another one that gave it, too.
    pub(crate) second: Option<ServiceName>,
}

/// The URIs that servers gave to callers.
#[derive(Debug, Default)]
pub(crate) struct GivenUris(Mutex<Oldest<Oldest<Givers>>>);

/// A map that forgets the oldest entries.
#[derive(Debug)]
struct Oldest<T> {
    entries: HashMap<Key, T>,
    order: VecDeque<Key>,
}

impl<T> Default for Oldest<T> {
    fn default() -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new() }
    }
}

impl<T> Oldest<T> {
    fn entry(&mut self, key: Key, most: usize, make: impl FnOnce() -> T) -> &mut T {
        if !self.entries.contains_key(&key) {
            if self.order.len() >= most
                && let Some(oldest) = self.order.pop_front()
            {
                self.entries.remove(&oldest);
            }
            self.order.push_back(key);
        }
        self.entries.entry(key).or_insert_with(make)
    }
}

impl GivenUris {
    fn note(&self, caller: Key, service: &ServiceName, uris: &[String]) {
        let mut all = self.lock();
        let own = all.entry(caller, MOST_CALLERS, Oldest::default);
        for uri in uris {
            let first = || Givers { first: service.clone(), second: None };
            let givers = own.entry(key(&[uri]), MOST, first);
            if givers.first != *service && givers.second.is_none() {
                givers.second = Some(service.clone());
            }
        }
    }

    fn find(&self, caller: Key, uri: &str) -> Option<Givers> {
        self.lock().entries.get(&caller)?.entries.get(&key(&[uri])).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Oldest<Oldest<Givers>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// Remembers the URIs that `answer` of `server` gives to the caller.
    pub(crate) fn note_given(&self, context: &CallContext, answer: &Message, server: ServerId) {
        let Some(result) = answer.result().filter(|result| may_give(result.as_bytes())) else { return };
        let uris = given(result);
        if uris.is_empty() {
            return;
        }
        if let Some(server) = self.registry.state().server(server) {
            let caller = caller(&context.principal, context);
            self.given_uris.note(caller, &server.service, &uris);
        }
    }

    /// The services that gave the URI which the request names, on a route that does not say which service it is.
    pub(crate) fn givers_of(
        &self,
        route: &Endpoint,
        context: &CallContext,
        message: &Message,
    ) -> Option<Givers> {
        if !route.is_aggregated() || message.method().map(Method::routing_key) != Some(RoutingKey::Uri) {
            return None;
        }
        let uri = Members::parse(message.params()?).ok()?.text("uri")?.into_owned();
        self.given_uris.find(caller(&context.principal, context), &uri)
    }
}

/// The caller by tenant and subject, and by session where there is one.
fn caller(principal: &Principal, context: &CallContext) -> Key {
    let session = context.client.as_ref().map_or("", |client| &*client.id);
    key(&[principal.tenant.as_str(), &principal.subject, session])
}

fn key(texts: &[&str]) -> Key {
    let mut context = Context::new(&SHA256);
    for text in texts {
        context.update(&text.len().to_le_bytes());
        context.update(text.as_bytes());
    }
    let mut key = Key::default();
    key.copy_from_slice(&context.finish().as_ref()[..16]);
    key
}

/// Whether there can be a URI in a result: a search is cheaper than reading every answer.
fn may_give(result: &[u8]) -> bool {
    let has = |text: &str| memchr::memmem::find(result, text.as_bytes()).is_some();
    has(r#""resource_link""#) || has(r#""resource""#) || has(r#"resourceUri""#)
}

/// The URIs that a result gives.
fn given(result: &str) -> Vec<String> {
    let mut uris = Vec::new();
    if let Ok(value) = serde_json::from_str(result) {
        collect(&value, 0, &mut uris);
    }
    uris.truncate(MOST_AT_ONCE);
    uris
}

fn collect(value: &Value, depth: usize, uris: &mut Vec<String>) {
    if depth > MAX_DEPTH || uris.len() > MOST_AT_ONCE {
        return;
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, depth + 1, uris)),
        Value::Object(members) => {
            let uri = match members.get("type").and_then(Value::as_str) {
                Some("resource_link") => members.get("uri"),
                Some("resource") => value.pointer("/resource/uri"),
                _ => None,
            };
            let page = members.get("_meta").and_then(page_in);
            let found = uri.and_then(Value::as_str).into_iter().chain(page);
            uris.extend(found.filter(|uri| uri.len() <= MAX_URI).map(str::to_owned));
            // Data of a tool's own says nothing about resources.
            let others = members.iter().filter(|(key, _)| *key != "structuredContent");
            others.for_each(|(_, inner)| collect(inner, depth + 1, uris));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> ServiceName {
        ServiceName::new(name).unwrap()
    }

    #[test]
    fn links_embedded_resources_and_pages_are_found_and_data_is_not() {
        let result = r#"{"content":[{"type":"resource_link","uri":"a:1","name":"x"},{"type":"text","text":"\"resource_link\""},
            {"type":"resource","resource":{"uri":"a:2","text":"t"}}],"structuredContent":{"type":"resource_link","uri":"a:3"},
            "_meta":{"ui":{"resourceUri":"ui://page"}},"messages":[{"content":{"type":"resource_link","uri":"a:4"},"_meta":{"ui/resourceUri":"ui://old"}}]}"#;
        assert!(may_give(result.as_bytes()));
        let mut uris = given(result);
        uris.sort();
        assert_eq!(uris, ["a:1", "a:2", "a:4", "ui://old", "ui://page"]);
        assert!(!may_give(br#"{"content":[{"type":"text","text":"a resource_link \"resource\""}]}"#));
    }

    #[test]
    fn the_first_service_keeps_a_uri_and_a_second_one_is_remembered_beside_it() {
        let (uris, me, you) = (GivenUris::default(), key(&["me"]), key(&["you"]));
        uris.note(me, &service("a"), &["x:1".to_owned()]);
        uris.note(me, &service("a"), &["x:1".to_owned()]);
        assert_eq!(uris.find(me, "x:1"), Some(Givers { first: service("a"), second: None }));
        assert_eq!(uris.find(you, "x:1"), None);
        uris.note(me, &service("b"), &["x:1".to_owned()]);
        uris.note(me, &service("c"), &["x:1".to_owned()]);
        assert_eq!(uris.find(me, "x:1"), Some(Givers { first: service("a"), second: Some(service("b")) }));
        assert_ne!(key(&["a", "b"]), key(&["ab", ""]));
    }

    #[test]
    fn the_oldest_of_too_many_uris_and_callers_are_forgotten() {
        let uris = GivenUris::default();
        let many: Vec<_> = (0..=MOST).map(|n| format!("x:{n}")).collect();
        uris.note(key(&["me"]), &service("a"), &many);
        assert_eq!(uris.find(key(&["me"]), "x:0"), None);
        assert!(uris.find(key(&["me"]), "x:1").is_some());
        for n in 0..MOST_CALLERS {
            uris.note(key(&[&n.to_string()]), &service("a"), &["x:1".to_owned()]);
        }
        assert_eq!(uris.find(key(&["me"]), "x:1"), None);
    }
}
