//! One server of a service for a caller that talks to it itself.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::auth::Operation;
use crate::breaker::Outcome;
use crate::clock::{Clock, Tick};
use crate::error::Result;
use crate::gateway::routing::service::Service;
use crate::gateway::routing::snapshot::{Snapshot, no_such_service};
use crate::gateway::{Caller, Gateway};
use crate::model::Server;
use crate::select::{Hold, PickRequest, ReplicaState, key_of};

/// A server that was picked, in flight until this is released or dropped. Released without a recorded outcome, it counts as
/// neither success nor failure.
///
/// ```
/// use mcp_registry_gateway::{Caller, Gateway, Picked, Registration};
///
/// # #[tokio::main]
/// # async fn main() -> mcp_registry_gateway::Result<()> {
/// let gateway = Gateway::builder().server(Registration::at("docs", "http://127.0.0.1:9000/mcp")).open().await?;
/// let mut picked: Picked = gateway.pick(&Caller::local(), "docs", None)?;
/// println!("ask {:?}", picked.server().endpoint);
/// picked.succeeded();                              // or `failed`: the server's breaker learns from it
/// # gateway.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a server that was picked counts as busy until this is dropped"]
pub struct Picked {
    /// Until it is released.
    hold: Option<Hold>,
    /// Its one counter holds the server, the replica that the hold is on, and the clock.
    service: Arc<Service>,
    replica: usize,
    since: Tick,
}

impl Gateway {
    /// Picks a server of `service` that can take a call now, by health, breaker and the service's algorithm; `key` is the key
    /// for consistent hashing. It waits for nothing.
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) for an unknown service, [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where no
    /// server can take a call.
    pub fn pick(&self, caller: &Caller, service: &str, key: Option<&str>) -> Result<Picked> {
        pick(self.0.router.snapshots(), self.0.clock.now(), caller, service, key)
    }

    /// Picks for `caller`, again and again.
    pub(crate) fn picker(&self, caller: Caller) -> Picker {
        Picker { snapshot: Arc::clone(self.0.router.snapshots()), clock: Arc::clone(&self.0.clock), caller }
    }
}

/// [`Gateway::pick`] for one caller, without holding the gateway: once that is gone, there is no service any more, and this
/// keeps next to nothing in memory.
pub(crate) struct Picker {
    snapshot: Arc<ArcSwap<Snapshot>>,
    clock: Arc<dyn Clock>,
    caller: Caller,
}

impl Picker {
    /// As [`Gateway::pick`].
    pub(crate) fn pick(&self, service: &str, key: Option<&str>) -> Result<Picked> {
        pick(&self.snapshot, self.clock.now(), &self.caller, service, key)
    }
}

fn pick(
    snapshot: &ArcSwap<Snapshot>,
    since: Tick,
    caller: &Caller,
    service: &str,
    key: Option<&str>,
) -> Result<Picked> {
    caller.may(Operation::ToolsCall)?;
    snapshot.load().with_view(&caller.principal, |view| {
        let ask = PickRequest { key: key.map(key_of), exclude: &[] };
        let service = view.ok_or_else(|| no_such_service(service))?.service(service)?;
        let hold = service.hold_any(&ask, since)?;
        let replica = hold.index();
        Ok(Picked { hold: Some(hold), service: Arc::clone(service), replica, since })
    })
}

impl Picked {
    /// The server.
    pub fn server(&self) -> &Arc<Server> {
        &self.service.replicas[self.replica].server
    }

    /// Records that the server answered. Only the first record counts.
    pub fn succeeded(&mut self) {
        self.record(Outcome::Success);
    }

    /// Records that the server failed: its breaker learns from it. Only the first record counts.
    pub fn failed(&mut self) {
        self.record(Outcome::Failure);
    }

    /// Ends the hold on the server before this is dropped.
    pub fn release(&mut self) {
        if let Some(hold) = self.hold.take() {
            hold.end(self.replica());
        }
    }

    fn replica(&self) -> &ReplicaState {
        &self.service.replicas[self.replica].state
    }

    fn record(&mut self, outcome: Outcome) {
        let Some(hold) = &mut self.hold else { return };
        let now = self.service.clock.now();
        hold.record(&self.service.replicas[self.replica].state, outcome, now.since(self.since), now);
    }
}

impl Drop for Picked {
    #[inline]
    fn drop(&mut self) {
        self.release();
    }
}
