//! A server that was picked.

use mcp_registry_gateway::gateway::Picked;
use napi_derive::napi;

/// A server that was picked, for a caller that talks to it itself; in flight until it is released.
#[napi]
pub struct Lease(Option<Picked>);

#[napi]
impl Lease {
    pub(crate) fn new(picked: Picked) -> Self {
        Self(Some(picked))
    }

    /// Id of the server.
    #[napi(getter)]
    pub fn id(&self) -> Option<String> {
        self.0.as_ref().map(|picked| picked.server().id.to_string())
    }

    /// Name of the server.
    #[napi(getter)]
    pub fn name(&self) -> Option<String> {
        self.0.as_ref().map(|picked| picked.server().name.clone())
    }

    /// Where the server is; null for a command.
    #[napi(getter)]
    pub fn url(&self) -> Option<String> {
        self.0.as_ref().and_then(|picked| picked.server().endpoint.url().map(str::to_owned))
    }

    /// The server answered.
    #[napi]
    pub fn succeeded(&mut self) {
        self.0.iter_mut().for_each(Picked::succeeded);
    }

    /// The server failed.
    #[napi]
    pub fn failed(&mut self) {
        self.0.iter_mut().for_each(Picked::failed);
    }

    /// Nothing more is under way at it.
    #[napi]
    pub fn release(&mut self) {
        self.0.take();
    }
}
