//! The present activity: the calls under way, and a log line for each that ended; the audit trail of actions outside of
//! mutations.

mod audit;
mod observer;
pub mod export;
mod refusals;

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use slab::Slab;
use tokio_util::sync::CancellationToken;

pub use self::audit::{AuditSettings, AuditStats, Noted, Trail};
pub use self::observer::{Attempt, AttemptEnd, CallMetrics, Observer, Observers};
use crate::clock::{Clock, Tick};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Action, Call, Principal};
use crate::per_thread::PerThread;
use crate::rpc::Method;
use crate::transport::unread::{CallRoom, HasRoom, SMALL, UnreadBytes};

/// The calls under way.
#[derive(Debug)]
pub struct ActiveCalls {
    tables: PerThread<Arc<CallTable>>,
}

/// The calls that began on some of the threads.
#[derive(Debug)]
struct CallTable {
    clock: Arc<dyn Clock>,
    observers: Observers,
    unread: Arc<UnreadBytes>,
    under_way: Mutex<Slab<Arc<Active>>>,
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
    /// The caller; unknown until authenticated.
    pub principal: std::sync::OnceLock<Principal>,
    /// Cancelled to end the call.
    pub cancel: CancellationToken,
    /// Why, in the client's words: a raw JSON string.
    pub reason: std::sync::OnceLock<String>,
    /// Its target, where calls have audit rows: a service, and the item of it.
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
    table: Arc<CallTable>,
    key: usize,
    active: Arc<Active>,
    failed: std::sync::OnceLock<ErrorKind>,
    /// Whether its answer counts until it was read.
    counts: bool,
    room: std::sync::OnceLock<Arc<CallRoom>>,
    kept: Mutex<Option<Box<dyn Any + Send>>>,
}

impl ActiveCalls {
    /// None yet; `observers` are told of their beginnings and ends, and large answers count among the `unread`.
    pub fn new(clock: &Arc<dyn Clock>, observers: &Observers, unread: Arc<UnreadBytes>) -> Self {
        let (clock, observers) = (Arc::clone(clock), observers.clone());
        let table = move || {
            let (clock, observers, unread) = (Arc::clone(&clock), observers.clone(), Arc::clone(&unread));
            Arc::new(CallTable { clock, observers, unread, under_way: Mutex::default() })
        };
        Self { tables: PerThread::new(table) }
    }

    /// Begins the record of `call`.
    pub fn begin(&self, call: &Call) -> Arc<Record> {
        let method = match &call.action {
            Action::Send(message) => {
                message.method().cloned().unwrap_or_else(|| Method::Other("response".into()))
            }
            Action::Listen | Action::Resume(_) => Method::Other("GET".into()),
            Action::End => Method::Other("DELETE".into()),
        };
        let table = Arc::clone(self.tables.mine());
        let active = Arc::new(Active {
            correlation_id: Arc::clone(&call.correlation_id),
            method,
            since: table.clock.now(),
            principal: std::sync::OnceLock::new(),
            cancel: CancellationToken::new(),
            reason: std::sync::OnceLock::new(),
            target: std::sync::OnceLock::new(),
        });
        let key = table.calls().insert(Arc::clone(&active));
        table.observers.started(&active);
        Arc::new(Record {
            table,
            key,
            active,
            failed: std::sync::OnceLock::new(),
            counts: call.over_network,
            room: std::sync::OnceLock::new(),
            kept: Mutex::default(),
        })
    }

    /// The calls under way, oldest first.
    pub fn active(&self) -> Vec<Arc<Active>> {
        let mut all = Vec::new();
        for table in self.tables.all() {
            all.extend(table.calls().iter().map(|(_, active)| Arc::clone(active)));
        }
        all.sort_by_key(|active| active.since);
        all
    }

    /// How many calls are under way.
    pub fn count(&self) -> usize {
        self.tables.all().map(|table| table.calls().len()).sum()
    }

    /// How many of the calls under way are such.
    pub fn count_of(&self, is_such: impl Fn(&Active) -> bool) -> usize {
        let count = |table: &CallTable| table.calls().iter().filter(|(_, active)| is_such(active)).count();
        self.tables.all().map(|table| count(table)).sum()
    }

    /// How many calls are under way that end by themselves: all but the streams that clients hold open.
    pub fn calls(&self) -> usize {
        self.count_of(|active| !active.is_held_open())
    }

    /// How many streams clients hold open that end with an answer when the gateway stops.
    pub fn subscriptions(&self) -> usize {
        self.count_of(|active| active.method == Method::Listen)
    }
}

impl CallTable {
    fn calls(&self) -> MutexGuard<'_, Slab<Arc<Active>>> {
        // A panic elsewhere cannot leave it half changed: every change is one insert or remove.
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

    /// Whether the call's time ran out while it waited for its caller to read other answers.
    pub fn is_starved(&self) -> bool {
        self.room.get().is_some_and(|room| room.is_starved())
    }

    /// The guards that are kept until the last byte of the answer was written.
    pub fn keep<K: Send + 'static>(&self, kept: K) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(kept));
    }

    /// The answer, which counts as unread until its last byte was written, if it is large.
    ///
    /// [`ErrorKind::RateLimited`] if its caller left too much unread.
    pub async fn counted(&self, answer: Bytes) -> Result<Bytes> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        match self.room().filter(|_| answer.len() > SMALL) {
            Some(room) => room.hold(answer, kept).await,
            None => Ok(answer),
        }
    }

    /// Says how the call went. A call that goes on as a stream keeps its record until the stream is dropped.
    pub fn outcome(&self, error: Option<&Error>) {
        if let Some(error) = error {
            // The first is the cause; later failures follow from it.
            let _ = self.failed.set(error.kind());
        }
        // An ordinary call pays for its line only if somebody reads it.
        if error.is_none() && !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let millis = self.table.clock.now().since(self.active.since).as_secs_f64() * 1000.0;
        let (method, id) = (self.active.method.as_str(), &*self.active.correlation_id);
        match error {
            None => tracing::debug!(method, correlation_id = id, millis, "call"),
            Some(error) if error.kind() == ErrorKind::Internal => {
                let (service, server) = (fact(error, "service"), fact(error, "server"));
                tracing::error!(method, correlation_id = id, service, server, millis, error = %error.in_full(), "call failed");
            }
            Some(error) => {
                let (service, server) = (fact(error, "service"), fact(error, "server"));
                tracing::info!(method, correlation_id = id, service, server, millis, %error, "call refused or failed");
            }
        }
    }
}

/// The fact of this name in the context of an error.
fn fact<'a>(error: &'a Error, name: &str) -> Option<&'a str> {
    error.context().iter().find(|(key, _)| *key == name).map(|(_, fact)| fact.as_str())
}

impl HasRoom for Record {
    fn room(&self) -> Option<Arc<CallRoom>> {
        let principal = self.active.principal.get().filter(|_| self.counts)?;
        Some(Arc::clone(self.room.get_or_init(|| self.table.unread.room(principal))))
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.table.calls().try_remove(self.key);
        let took = || self.table.clock.now().since(self.active.since);
        self.table.observers.ended(&self.active, took, self.failed.get().copied());
    }
}
