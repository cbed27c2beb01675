//! The seam for programs that watch calls: each [`Observer`] of a gateway is told of the same events.
//!
//! Two are built in, the counts of calls ([`CallMetrics`]) and the audit trail; a program brings others with
//! [`GatewayBuilder::observer`](crate::GatewayBuilder::observer). An event costs a call of a method for each observer: nothing is
//! allocated for it, and times that only brought observers are told are not even measured without one.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Active;
use crate::auth::Credentials;
use crate::error::{Error, ErrorKind};
use crate::model::Principal;
use crate::per_thread::PerThread;

/// Is told of calls as they happen, on the way of each call: it must not wait, and must not panic.
///
/// A call that comes to its end is told of by [`call_started`](Self::call_started), [`attempt_ended`](Self::attempt_ended) for
/// each time that it was sent to a server, [`call_answered`](Self::call_answered) and [`call_ended`](Self::call_ended). One that is
/// refused is told of by [`refused`](Self::refused) instead of `call_answered`. The [`Active`] of all these is the same one, by
/// its correlation id.
pub trait Observer: Send + Sync + fmt::Debug {
    /// A call has begun; its caller is not known yet.
    fn call_started(&self, _call: &Active) {}

    /// A server has answered, or begun to answer, or has not.
    fn attempt_ended(&self, _call: &Active, _attempt: &AttemptEnd<'_>) {}

    /// An attempt was refused: for want of identity, right or patience. Not only calls are refused, but also requests to REST and
    /// to things that the embedding program answers itself.
    fn refused(&self, _attempt: &Attempt<'_>, _error: &Error) {}

    /// The call was answered or has failed. A stream has only begun.
    fn call_answered(&self, _call: &Active, _error: Option<&Error>) {}

    /// Nothing of the call is left, its stream included. `failed` is why, as far as it is known.
    fn call_ended(&self, _call: &Active, _took: Duration, _failed: Option<ErrorKind>) {}
}

/// An attempt that was refused, as an entry point saw it.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The principal, if it is known.
    pub principal: Option<&'a Principal>,
    /// The credentials that were sent, if it came so far.
    pub credentials: Option<&'a Credentials>,
    /// The attempted action: an MCP method, or method and path of a request.
    pub action: &'a str,
    /// Ties it to the log lines of the request.
    pub correlation_id: &'a str,
}

/// The end of one attempt to have a call answered by a server.
#[derive(Clone, Copy, Debug)]
pub struct AttemptEnd<'a> {
    /// The service.
    pub service: &'a str,
    /// The server that was tried.
    pub server: &'a str,
    /// How long it took to the first message of the answer, or to the failure.
    pub took: Duration,
    /// Why it failed, if it did. Errors of the server's own are answers.
    pub error: Option<&'a Error>,
}

/// The observers of one gateway. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Observers(Arc<Lists>);

#[derive(Debug, Default)]
struct Lists {
    built_in: Vec<Arc<dyn Observer>>,
    brought: Vec<Arc<dyn Observer>>,
}

impl Observers {
    /// Those that are `built_in`, and those that the program has `brought`.
    pub fn new(built_in: Vec<Arc<dyn Observer>>, brought: Vec<Arc<dyn Observer>>) -> Self {
        Self(Arc::new(Lists { built_in, brought }))
    }

    /// Whether the program has brought any. Those that are built in are notified of no attempt and no end.
    pub fn are_brought(&self) -> bool {
        !self.0.brought.is_empty()
    }

    fn all(&self) -> impl Iterator<Item = &Arc<dyn Observer>> {
        self.0.built_in.iter().chain(&self.0.brought)
    }

    /// Tells all of a call that has begun.
    pub fn started(&self, call: &Active) {
        self.all().for_each(|observer| observer.call_started(call));
    }

    /// Tells all of a refusal.
    pub fn refused(&self, attempt: &Attempt<'_>, error: &Error) {
        self.all().for_each(|observer| observer.refused(attempt, error));
    }

    /// Tells all of a call that was answered or has failed.
    pub fn answered(&self, call: &Active, error: Option<&Error>) {
        self.all().for_each(|observer| observer.call_answered(call, error));
    }

    /// Tells those that were brought of an attempt, which `end` describes; it is not asked if there are none.
    pub fn attempted<'a>(&self, call: &Active, end: impl FnOnce() -> AttemptEnd<'a>) {
        if self.are_brought() {
            let end = end();
            self.0.brought.iter().for_each(|observer| observer.attempt_ended(call, &end));
        }
    }

    /// Tells those that were brought of a call of which nothing is left; `took` is not asked if there are none.
    pub fn ended(&self, call: &Active, took: impl FnOnce() -> Duration, failed: Option<ErrorKind>) {
        if self.are_brought() {
            let took = took();
            self.0.brought.iter().for_each(|observer| observer.call_ended(call, took, failed));
        }
    }
}

/// Counts calls.
#[derive(Debug)]
pub struct CallMetrics {
    begun: PerThread<AtomicU64>,
}

impl Default for CallMetrics {
    fn default() -> Self {
        Self { begun: PerThread::new(AtomicU64::default) }
    }
}

impl CallMetrics {
    /// How many calls have begun so far.
    pub fn begun(&self) -> u64 {
        self.begun.all().map(|begun| begun.load(Ordering::Relaxed)).sum()
    }
}

impl Observer for CallMetrics {
    fn call_started(&self, _call: &Active) {
        self.begun.mine().fetch_add(1, Ordering::Relaxed);
    }
}
