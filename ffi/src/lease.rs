//! A server that was picked.

use std::sync::{Mutex, PoisonError};

use mcp_registry_gateway::gateway::Picked;

/// A server that was picked, in flight until it is released or dropped.
#[derive(Debug, uniffi::Object)]
pub struct Lease {
    id: String,
    name: String,
    url: Option<String>,
    picked: Mutex<Option<Picked>>,
}

impl Lease {
    pub(crate) fn new(picked: Picked) -> Self {
        let server = picked.server();
        Self {
            id: server.id.to_string(),
            name: server.name.clone(),
            url: server.endpoint.url().map(str::to_owned),
            picked: Mutex::new(Some(picked)),
        }
    }

    fn each(&self, with: impl FnMut(&mut Picked)) {
        self.picked.lock().unwrap_or_else(PoisonError::into_inner).iter_mut().for_each(with);
    }
}

#[uniffi::export]
impl Lease {
    /// Id of the server.
    pub fn id(&self) -> String {
        self.id.clone()
    }

    /// Name of the server.
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// Where the server is; nothing for a command.
    pub fn url(&self) -> Option<String> {
        self.url.clone()
    }

    /// The server answered. Only the first word counts.
    pub fn succeeded(&self) {
        self.each(Picked::succeeded);
    }

    /// The server failed: its breaker learns from it.
    pub fn failed(&self) {
        self.each(Picked::failed);
    }

    /// Nothing more is under way at it.
    pub fn release(&self) {
        self.picked.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
