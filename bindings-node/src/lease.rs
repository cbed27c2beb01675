//! A server that was picked.

use std::sync::Arc;

use mcp_registry_gateway::gateway::Picked;
use mcp_registry_gateway::model::Server;
use napi_derive::napi;

/// A server that was picked, for a caller that talks to it itself; busy until it is released.
#[napi]
pub struct Lease(Option<Picked>, Arc<Server>);

#[napi]
impl Lease {
    pub(crate) fn new(picked: Picked) -> Self {
        let server = Arc::clone(picked.server());
        Self(Some(picked), server)
    }

    /// Id of the server.
    #[napi(getter)]
    pub fn server_id(&self) -> String {
        self.1.id.to_string()
    }

    /// Name of the server.
    #[napi(getter)]
    pub fn name(&self) -> &str {
        &self.1.name
    }

    /// Where the server is; null for a command.
    #[napi(getter)]
    pub fn endpoint_url(&self) -> Option<&str> {
        self.1.endpoint.url()
    }

    /// Releases the server, which answered.
    #[napi]
    pub fn succeeded(&mut self) {
        self.0.take().iter_mut().for_each(Picked::succeeded);
    }

    /// Releases the server, which failed.
    #[napi]
    pub fn failed(&mut self) {
        self.0.take().iter_mut().for_each(Picked::failed);
    }

    /// Releases the server, of which nothing is said.
    #[napi]
    pub fn release(&mut self) {
        self.0.take();
    }
}
