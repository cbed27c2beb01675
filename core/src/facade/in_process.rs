//! An MCP server of this process.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc};

use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{Caller, Gateway};
use crate::transport::in_process::{InProcessServer, ServerConnection};
use crate::views;

/// A server of this process that is connected and registered. Clones share it; dropped, the server is disconnected, but stays
/// registered.
#[derive(Clone, Debug)]
pub struct RegisteredServer(Arc<Mutex<InProcessServer>>);

impl RegisteredServer {
    pub(super) async fn open(gateway: &Gateway, caller: &Caller, registration: &[u8]) -> Result<Self> {
        let registration = views::read(registration, "the registration")?;
        let resident = gateway.settle(caller, registration).await?;
        Ok(Self(Arc::new(Mutex::new(resident))))
    }

    /// The next link that the gateway opens to the server; `None` once the gateway is closed. The caller must not wait for the
    /// end of a link that it serves before receiving the next.
    pub fn receive(&self) -> impl Future<Output = Result<Option<Hosted>>> + Send + use<> {
        let resident = Arc::clone(&self.0);
        async move { Ok(resident.lock().await.receive().await.map(Hosted::new)) }
    }
}

/// One link of the gateway to a server of this process, from the server's side. Clones share it; dropped, the server has hung up.
#[derive(Clone, Debug)]
pub struct Hosted {
    answers: mpsc::Sender<Bytes>,
    visit: Arc<Mutex<ServerConnection>>,
}

impl Hosted {
    fn new(visit: ServerConnection) -> Self {
        Self { answers: visit.answers(), visit: Arc::new(Mutex::new(visit)) }
    }

    /// The next message for the server; `None` once the link is closed.
    pub fn receive(&self) -> impl Future<Output = Result<Option<Bytes>>> + Send + use<> {
        let visit = Arc::clone(&self.visit);
        async move { Ok(visit.lock().await.receive().await) }
    }

    /// Takes a message of the server's; [`ErrorKind::Cancelled`] once the link is closed.
    pub fn send(&self, message: Bytes) -> impl Future<Output = Result<()>> + Send + 'static {
        let answers = self.answers.clone();
        async move {
            let closed = |_| Error::new(ErrorKind::Cancelled, "the gateway closed this connection");
            answers.send(message).await.map_err(closed)
        }
    }
}
