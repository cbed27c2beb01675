//! What is going on: the calls under way, and a log line for each that ended; the audit trail of what belongs to no mutation.

mod audit;
pub mod export;
mod refusals;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

pub use self::audit::{AuditSettings, AuditStats, Noted, Trail};
use crate::clock::{Clock, Tick};
use crate::error::{Error, ErrorKind};
use crate::model::{Action, Call, Principal};
use crate::rpc::Method;

/// Watches calls from beginning to end.
#[derive(Debug)]
pub struct Observer {
    clock: Arc<dyn Clock>,
    next: AtomicU64,
    under_way: Mutex<BTreeMap<u64, Arc<Active>>>,
}

/// A call under way.
#[derive(Debug)]
pub struct Active {
    /// Its correlation id.
    pub correlation_id: Arc<str>,
    /// Its MCP method, `GET` or `DELETE`.
    pub method: Method,
    /// When it began.
    pub since: Tick,
    /// Who calls; unknown until authenticated.
    pub principal: std::sync::OnceLock<Principal>,
    /// Cancelled to end the call.
    pub cancel: CancellationToken,
    /// Why, in the client's words: a raw JSON string.
    pub reason: std::sync::OnceLock<String>,
    /// What it is done to, where calls have audit rows: a service, and what of it.
    pub target: std::sync::OnceLock<Box<str>>,
}

impl Active {
    /// Whether it ends only when its client or the gateway does.
    pub fn is_held_open(&self) -> bool {
        is_held_open(&self.method)
    }
}

/// The record of one call; it ends when it is finished or, for a stream, when it is dropped with the stream.
#[derive(Debug)]
pub struct Record {
    observer: Arc<Observer>,
    id: u64,
    active: Arc<Active>,
}

impl Observer {
    /// Nothing seen yet.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, next: AtomicU64::new(0), under_way: Mutex::default() })
    }

    /// Begins the record of `call`.
    pub fn begin(self: &Arc<Self>, call: &Call) -> Arc<Record> {
        let method = match &call.action {
            Action::Send(message) => {
                message.method().cloned().unwrap_or_else(|| Method::Other("response".into()))
            }
            Action::Listen | Action::Resume(_) => Method::Other("GET".into()),
            Action::End => Method::Other("DELETE".into()),
        };
        let active = Arc::new(Active {
            correlation_id: Arc::clone(&call.correlation_id),
            method,
            since: self.clock.now(),
            principal: std::sync::OnceLock::new(),
            cancel: CancellationToken::new(),
            reason: std::sync::OnceLock::new(),
            target: std::sync::OnceLock::new(),
        });
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.table().insert(id, Arc::clone(&active));
        Arc::new(Record { observer: Arc::clone(self), id, active })
    }

    /// The calls under way, oldest first.
    pub fn active(&self) -> Vec<Arc<Active>> {
        let mut calls: Vec<_> = self.table().values().cloned().collect();
        calls.sort_by_key(|active| active.since);
        calls
    }

    /// How many calls have begun so far.
    pub fn begun(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// How many calls are under way.
    pub fn count(&self) -> usize {
        self.table().len()
    }

    /// How many of the calls under way are such.
    pub fn count_of(&self, is_such: impl Fn(&Active) -> bool) -> usize {
        self.table().values().filter(|active| is_such(active)).count()
    }

    /// How many calls are under way that end by themselves: all but the streams that clients hold open.
    pub fn calls(&self) -> usize {
        self.table().values().filter(|active| !active.is_held_open()).count()
    }

    /// How many streams clients hold open that end with an answer when the gateway stops.
    pub fn subscriptions(&self) -> usize {
        self.table().values().filter(|active| active.method == Method::Listen).count()
    }

    fn table(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<Active>>> {
        // A panic elsewhere cannot leave the map half changed: every change is one insert or remove.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a call of this method ends only when its client or the gateway does.
fn is_held_open(method: &Method) -> bool {
    *method == Method::Listen || method.as_str() == "GET"
}

impl Record {
    /// The call that is recorded.
    pub fn active(&self) -> &Arc<Active> {
        &self.active
    }

    /// Says how the call went. A call that goes on as a stream keeps its record until the stream is dropped.
    pub fn outcome(&self, error: Option<&Error>) {
        // An ordinary call pays for its line only if somebody reads it.
        if error.is_none() && !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let millis = self.observer.clock.now().since(self.active.since).as_secs_f64() * 1000.0;
        let (method, id) = (self.active.method.as_str(), &*self.active.correlation_id);
        match error {
            None => tracing::debug!(method, correlation_id = id, millis, "call"),
            Some(error) if error.kind() == ErrorKind::Internal => {
                let (service, server) = (fact(error, "service"), fact(error, "server"));
                tracing::error!(method, correlation_id = id, service, server, millis, ?error, "call failed");
            }
            Some(error) => {
                let (service, server) = (fact(error, "service"), fact(error, "server"));
                tracing::info!(method, correlation_id = id, service, server, millis, %error, "call refused or failed");
            }
        }
    }
}

/// What is known of an error under this name.
fn fact<'a>(error: &'a Error, name: &str) -> Option<&'a str> {
    error.context().iter().find(|(key, _)| *key == name).map(|(_, fact)| fact.as_str())
}

impl Drop for Record {
    fn drop(&mut self) {
        self.observer.table().remove(&self.id);
    }
}
