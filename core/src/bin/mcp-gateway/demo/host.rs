//! The gateway of the demo.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use mcp_registry_gateway::Result;
use mcp_registry_gateway::clock::Clock;

/// dev
pub(super) struct Host {
    /// Where its HTTP surface listens.
    pub(super) address: SocketAddr,
}

impl Host {
    /// dev
    pub(super) async fn start(_folder: &Path, _clock: &Arc<dyn Clock>) -> Result<Self> {
        Ok(Self { address: "127.0.0.1:18999".parse().unwrap() })
    }
    /// dev
    pub(super) async fn stop(self) {}
}
