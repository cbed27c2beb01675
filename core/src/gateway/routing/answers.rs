//! The answers of a server to a query of its lists: taken up part by part, with the problems that they show.
//!
//! A list that a server does not answer must not keep its other lists from callers, so the lists that are known after a while are
//! served before the query ends.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::introductions;
use super::service::Replica;
use crate::discovery::{Excluded, Fetched, Repaired};
use crate::error::{Error, Result};
use crate::gateway::Core;
use crate::model::{CapabilityKind, Problem, ProblemKind};

/// How long a query may take before the lists that it has are served.
const PART_AFTER: Duration = Duration::from_secs(1);

/// The lists that a query has so far.
#[derive(Default)]
struct Parts {
    latest: Mutex<Option<Fetched>>,
    told: Notify,
}

impl Parts {
    fn put(&self, part: &Fetched) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(part.clone());
        self.told.notify_one();
    }

    fn take(&self) -> Option<Fetched> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Core {
    /// Asks a server for its lists. If that takes long, the lists that are known are served meanwhile.
    pub(super) async fn listing_of(self: &Arc<Self>, replica: &Replica) -> Result<Fetched> {
        let parts = Parts::default();
        let heard = |part: &Fetched| parts.put(part);
        let (this, id) = (Arc::clone(self), replica.server.id);
        let mut asking = Box::pin(replica.upstream.discover(&heard, move |session| this.watch(id, session)));
        tokio::select! {
            biased;
            found = &mut asking => return found,
            () = tokio::time::sleep(PART_AFTER) => {}
        }
        loop {
            if let Some(part) = parts.take().filter(|part| !part.pending.is_empty())
                && self.is_reached_so(replica)
                && let Err(error) = self.serve(replica, part).await
            {
                tracing::debug!(server = replica.server.name, %error, "a part of a listing was not taken up");
            }
            tokio::select! {
                biased;
                found = &mut asking => return found,
                () = parts.told.notified() => {}
            }
        }
    }

    /// Takes up the outcome of a query.
    pub(super) async fn take_up(self: &Arc<Self>, replica: &Replica, found: Result<Fetched>) -> Result<()> {
        let fetched = found?;
        let (id, failed) = (replica.server.id, !fetched.failed.is_empty());
        self.discoveries.asked.judge(id, failed);
        self.serve(replica, fetched).await
    }

    /// Serves the lists of a server from now on; those that are missing stay as they were.
    async fn serve(self: &Arc<Self>, replica: &Replica, mut fetched: Fetched) -> Result<()> {
        let id = replica.server.id;
        fetched.keep(&self.registry.state().listing(id));
        let said = fetched.listing.initialize.as_deref();
        if let Some(mended) =
            said.and_then(|said| introductions::mended(said, &fetched.listing, &replica.server.name))
        {
            fetched.listing.initialize = Some(mended);
        }
        replica.upstream.learn(&fetched.listing);
        let found = self.problems_of(replica, &fetched);
        if self.problems.replace(id, &ProblemKind::FOUND_BY_LISTS, found) {
            self.tell_state(&replica.server);
            for problem in self.problems.of(id) {
                tracing::warn!(server = replica.server.name, kind = problem.what.as_str(), %problem, "a part of a server is not as it must be");
            }
        }
        self.registry.set_listing(id, fetched.listing).await?;
        self.discoveries.lock_unconfirmed().remove(&id);
        self.refresh();
        Ok(())
    }

    fn problems_of(&self, replica: &Replica, fetched: &Fetched) -> Vec<Problem> {
        let times = self.discoveries.asked.next(replica.server.id, &fetched.listing, self.settings.refresh);
        let next_attempt = Some(self.clock.timestamp() + times);
        let failed = fetched.failed.iter().map(|(kind, error)| {
            self.problem(ProblemKind::List, Some(kind.list_method().to_owned()), failure(*kind, error))
        });
        let excluded = fetched.excluded.iter().map(|excluded| {
            let kind = if excluded.is_list { ProblemKind::List } else { ProblemKind::Item };
            self.problem(kind, Some(item(excluded)), excluded.reason.clone())
        });
        let repaired = fetched.repaired.iter().map(|repaired| {
            let item = named(repaired.kind, &repaired.name);
            self.problem(ProblemKind::Repaired, Some(item), change(repaired))
        });
        let all = failed.chain(excluded).chain(repaired);
        all.map(|problem| Problem { next_attempt, ..problem }).collect()
    }

    fn problem(&self, what: ProblemKind, item: Option<String>, reason: String) -> Problem {
        Problem { what, item, reason, since: self.clock.timestamp(), next_attempt: None }
    }
}

fn failure(kind: CapabilityKind, error: &Error) -> String {
    format!("`{}` failed: {error}; the other lists of the server are served", kind.list_method())
}

fn change(repaired: &Repaired) -> String {
    let members: Vec<_> = repaired.members.iter().map(|member| format!("`{member}`")).collect();
    format!("clients cannot read {} as the server sends it; it was dropped or replaced", members.join(", "))
}

fn item(excluded: &Excluded) -> String {
    if excluded.is_list {
        return excluded.kind.list_method().to_owned();
    }
    named(excluded.kind, &excluded.name)
}

fn named(kind: CapabilityKind, name: &str) -> String {
    let word = match kind {
        CapabilityKind::Tool => "tool",
        CapabilityKind::Prompt => "prompt",
        CapabilityKind::Resource => "resource",
        CapabilityKind::ResourceTemplate => "resource template",
    };
    format!("{word} {}", if name.is_empty() { "without a name" } else { name })
}
