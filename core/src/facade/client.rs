//! An MCP client of this process.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::{Mutex, mpsc};

use super::OpenGateway;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::ClientConnection;
use crate::model::{Endpoint, ServiceName};
use crate::views;

/// The scope that a client is attached to, and its caller.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AttachRequest {
    /// The only service that it sees.
    service: Option<String>,
    /// The credential, as the header of that name has it.
    authorization: Option<String>,
    /// The address of a caller over the network; empty for one without an address, who is unidentified.
    peer: Option<String>,
    /// Whether it is offered the gateway's own service.
    builtin: bool,
}

/// A client that is attached to the gateway: JSON-RPC messages in and out, of either era. Clones share it.
#[derive(Clone, Debug)]
pub struct ClientHandle {
    attached: ClientConnection,
    heard: Arc<Mutex<mpsc::Receiver<Bytes>>>,
}

impl ClientHandle {
    pub(super) fn open(house: &OpenGateway, input: &[u8]) -> Result<Self> {
        let asked: AttachRequest = views::read(input, "the document")?;
        let credentials = house.credentials_of(asked.authorization.as_deref(), asked.peer.as_deref())?;
        let unknown = |_| Error::new(ErrorKind::NotFound, "no such service");
        let route = match &asked.service {
            Some(name) => Endpoint::of(ServiceName::asked(name).map_err(unknown)?),
            None => Endpoint::all(),
        };
        let (attached, heard) =
            ClientConnection::new(house.gateway.clone(), route, credentials, asked.builtin);
        Ok(Self { attached, heard: Arc::new(Mutex::new(heard)) })
    }

    /// Takes one message of the client's. It has begun when this ends, and goes on by itself.
    pub fn send(&self, message: Bytes) -> impl Future<Output = Result<()>> + Send + 'static {
        let attached = self.attached.clone();
        async move {
            attached.receive(message, uuid::Uuid::new_v4().to_string().into()).await;
            Ok(())
        }
    }

    /// The next message for the client; `None` once the gateway has no more to say on this line.
    pub fn receive(&self) -> impl Future<Output = Result<Option<Bytes>>> + Send + use<> {
        let Self { attached, heard } = self.clone();
        async move {
            let mut heard = heard.lock().await;
            tokio::select! {
                biased;
                message = heard.recv() => Ok(message),
                () = attached.over() => Ok(heard.try_recv().ok()),
            }
        }
    }

    /// Ends the client's session: its calls under way are cancelled.
    pub fn end(&self) -> impl Future<Output = Result<()>> + Send + 'static {
        let attached = self.attached.clone();
        async move {
            attached.end().await;
            Ok(())
        }
    }
}
