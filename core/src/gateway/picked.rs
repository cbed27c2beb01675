//! One server of a service for a caller that talks to it itself.

use std::sync::Arc;

use super::service::Service;
use super::{Caller, Gateway};
use crate::auth::Operation;
use crate::breaker::Outcome;
use crate::clock::Tick;
use crate::error::Result;
use crate::model::Server;
use crate::select::{Ask, Lease, key_of};

/// A server that was picked, in flight until this is released or dropped. Released without a word of how it went, it counts as neither success
/// nor failure.
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
    lease: Option<Lease>,
    /// Its one counter holds the server and the clock.
    service: Arc<Service>,
    place: usize,
    since: Tick,
}

impl Gateway {
    /// Picks a server of `service` that can take a call now, by health, breaker and the service's algorithm; `key` is what
    /// consistent hashing goes by. It waits for nothing.
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) for an unknown service, [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where no
    /// server can take a call.
    pub fn pick(&self, caller: &Caller, service: &str, key: Option<&str>) -> Result<Picked> {
        caller.may(Operation::ToolsCall)?;
        let inner = &self.0;
        let since = inner.clock.now();
        inner.look(&caller.principal, |view| {
            let ask = Ask { key: key.map(key_of), exclude: &[] };
            let service = view.service(service)?;
            let lease = service.pick_any(&ask, since)?;
            let place = lease.index();
            Ok(Picked { lease: Some(lease), service: Arc::clone(service), place, since })
        })
    }
}

impl Picked {
    /// The server.
    pub fn server(&self) -> &Arc<Server> {
        &self.service.places[self.place].server
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
        self.lease = None;
    }

    fn record(&mut self, outcome: Outcome) {
        let Some(lease) = &mut self.lease else { return };
        let now = self.service.clock.now();
        lease.record(outcome, now.since(self.since), now);
    }
}
